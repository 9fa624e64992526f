//! Others that meddle with a number while its key is changed, and a store that does not take the new one.

use pilotgate::admin::numbers::{Import, Outcome};
use tokio::task::yield_now;

use super::*;

fn named(name: &str) -> NumberName {
    NumberName::from_text(name).unwrap()
}

/// The double's second number.
fn shop(house: &House) -> Number {
    let second = house.world.double.account().numbers[1].clone();
    Number { name: named("shop"), upstream_id: Some(second.id), ..number(&second.key) }
}

async fn with_two() -> House {
    let world = World::with(two_numbers()).await;
    let settings = settings_of(&world, true);
    House::open(world, settings).await
}

async fn seen(house: &House, path: &str) {
    let control = house.world.double.control();
    until(|| control.requests().iter().any(|seen| seen.method == "GET" && seen.path.starts_with(path))).await;
}

#[tokio::test]
async fn an_import_does_not_bring_back_a_key_that_was_changed_meanwhile() {
    let house = with_two().await;
    house.register(Number { key: key("ps_live_long-dead-0123456789"), ..house.number() }).await;
    house.register(shop(&house)).await;
    // It comes first, and the import waits for it with the list of keys in its hand.
    let right = house.gateway.keys().exclusive(&name()).await;
    let admin = house.admin().clone();
    let importing = tokio::spawn(async move { admin.import_numbers(&acting(), Import::default()).await.unwrap() });
    seen(&house, "/v1/api-keys").await;
    let new = house.admin().rotate_number_key(&acting(), &named("shop"), None).await.unwrap();
    drop(right);
    let imported = importing.await.unwrap();
    assert_eq!(imported[0].outcome, Outcome::KeyUpdated);
    assert_eq!(imported[1].outcome, Outcome::AlreadyRegistered);
    let now = house.gateway.keys().get(&named("shop")).unwrap();
    assert_eq!((now.generation, now.key.expose(), house.standing(&now.key).await), (2, new.key.expose(), 200));
    house.end().await;
}

#[tokio::test]
async fn an_import_gives_no_number_the_key_of_another_one() {
    let house = with_two().await;
    let second = shop(&house);
    let phone = house.world.double.account().numbers[1].phone.parse().unwrap();
    // It has a phone that is the other one's by now.
    let main = house.register(Number { phone: Some(phone), ..house.number() }).await;
    let imported = house.admin().import_numbers(&acting(), Import::default()).await.unwrap();
    let now = house.now();
    assert_eq!((now.generation, now.key.expose()), (1, main.key.expose()), "{imported:?}");
    assert_eq!(imported[0].outcome, Outcome::AlreadyRegistered);
    assert!(
        matches!(&imported[1].outcome, Outcome::Invalid(why) if why.contains("already stands for")),
        "{imported:?}"
    );
    // One that nobody has told its id is known by its phone.
    house.register(Number { upstream_id: None, ..Number::clone(&now) }).await;
    let only = [second.upstream_id.unwrap()].into();
    let import = Import { only, ..Import::default() };
    let imported = house.admin().import_numbers(&acting(), import).await.unwrap();
    assert_eq!(imported[0].outcome, Outcome::KeyUpdated);
    house.end().await;
}

#[tokio::test]
async fn a_key_that_was_accepted_before_a_change_is_not_set_after_it() {
    let house = House::new(false).await;
    let old = house.now();
    // Whoever waits first goes first.
    let right = house.gateway.keys().exclusive(&name()).await;
    let (rotating, setting) = (house.admin().clone(), house.admin().clone());
    let rotation = tokio::spawn(async move { rotating.rotate_number_key(&acting(), &name(), None).await });
    for _ in 0..20 {
        yield_now().await;
    }
    let key = old.key.clone();
    let set = tokio::spawn(async move { setting.set_number_key(&acting(), &name(), None, key, true).await });
    seen(&house, "/v1/messages/history").await;
    drop(right);
    let new = rotation.await.unwrap().unwrap();
    assert_eq!(set.await.unwrap().unwrap_err(), AdminError::Changed(format!("number/{NUMBER}")));
    assert_eq!((house.now().generation, house.now().key.expose()), (2, new.key.expose()));
    house.assert_sends().await;
    house.end().await;
}

#[tokio::test]
async fn a_new_key_that_the_store_does_not_take_is_held_until_it_does() {
    let house = House::new(false).await;
    let control = house.world.double.control();
    control.add_fault(Fault { times: Some(1), ms: Some(1_000), ..Fault::new(On::Keys, FaultKind::Delay) }).unwrap();
    let admin = house.admin().clone();
    let rotation = tokio::spawn(async move { admin.rotate_number_key(&acting(), &name(), None).await });
    house.until(KeyState::Rotating).await;
    let file = house.world.settings().store.directory.join("pilotgate.db");
    let database = rusqlite::Connection::open(file).unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON records BEGIN SELECT RAISE(ABORT, 'full'); END";
    database.execute_batch(full).unwrap();
    let answer = rotation.await.unwrap();
    assert!(matches!(answer, Err(AdminError::Unavailable(_))), "{answer:?}");
    assert_eq!((house.now().generation, house.now().key_state()), (1, KeyState::Rotating));
    database.execute_batch("DROP TRIGGER full").unwrap();
    let new = house.until_it(&name(), |number| number.key_state() != KeyState::Rotating).await;
    assert_eq!((new.generation, new.key_state()), (2, KeyState::Settled));
    assert_eq!((house.standing(&new.key).await, house.changes_asked_for()), (200, 1));
    house.assert_sends().await;
    drop(database);
    house.end().await;
}

/// The process died, or the call timed out, long after it had begun, and Pilot Status carries it out only now.
#[tokio::test]
async fn a_change_that_is_carried_out_late_is_noticed() {
    let world = World::new().await;
    let mut settings = settings_of(&world, false);
    settings.upstream.base_url = "http://127.0.0.1:1".to_owned();
    let house = House::open(world, settings).await;
    let begun = Sources::system().now() - Duration::from_secs(60);
    let half = Rotation { begun, actor: "somebody".to_owned(), lost: false };
    house.register(Number { rotation: Some(half), ..house.number() }).await;
    let house = house.again(false).await;
    seen(&house, "/v1/messages/history").await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/v1/api-keys/regenerate", house.world.double.base_url());
    let answer = http.post(url).header("x-api-key", house.now().key.expose()).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let number = house.until_it(&name(), |number| number.key_state() != KeyState::Rotating).await;
    assert_eq!(number.key_state(), KeyState::Lost);
    house.end().await;
}
