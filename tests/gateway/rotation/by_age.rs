//! Keys that have reached their age are changed without anybody asking.

use super::*;

#[tokio::test]
async fn a_key_is_changed_at_its_age_and_not_before() {
    let world = World::with(two_numbers()).await;
    let settings = settings_of(&world, true);
    let house = House::open(world, settings).await;
    let hour = Duration::from_secs(3600);
    let aged = |number: Number, age: Duration| Number {
        rotate_every: Some(hour),
        key_time: Some(Sources::system().now() - age),
        ..number
    };
    let young = house.register(aged(house.number(), hour / 2)).await;
    let second = NumberName::from_text("wn_second").unwrap();
    let other = &house.world.double.account().numbers[1];
    let old = Number { name: second.clone(), upstream_id: Some(other.id.clone()), ..number(&other.key) };
    let old = house.register(aged(old, hour + Duration::from_secs(1))).await;

    let changed = house.until_it(&second, |number| number.generation == 2 && number.rotation.is_none()).await;
    assert!(changed.key_time > old.key_time);
    assert_eq!((house.standing(&old.key).await, house.standing(&changed.key).await), (401, 200));
    // It comes first in the order of names, so that its turn has passed.
    assert_eq!((house.now().generation, house.now().key.expose()), (1, young.key.expose()));
    assert_eq!(house.changes_asked_for(), 1);
    let acts = house.acts(&second).await;
    let told: Vec<_> =
        acts.iter().map(|act| (act.actor.as_str(), act.outcome.as_str(), act.reason.as_deref().unwrap())).collect();
    let why = "the key has reached its age";
    assert_eq!(told, [("pilotgate", "begun", why), ("pilotgate", "done", why)]);
    house.end().await;
}
