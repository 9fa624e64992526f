//! Keys that are changed again and again under load, by gateways that are killed at every step of it and at any moment.

use std::{collections::BTreeSet, env, fs, sync::Arc, time::Duration};

use pilotgate::{
    admin::Admin,
    domain::{ids::NumberName, quota::Quota, secret::NumberKey},
    identity::{Acting, ManageNumbers},
    keys::{KeyRing, KeyState, Number, Pacing, Source},
    proto::v1::{self, Handoff, MessageStatus, messaging_service_client::MessagingServiceClient},
    sandbox::{self, Answered, Sandbox, Switches},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use secrecy::SecretString;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    caller::{self, Bearer, Now, Send},
    place::{self, Doors, Gateway, House, MACHINE, NUMBERS as COUNT, PATIENCE, Place, eventually},
    plan,
};

/// Tells a doomed gateway its numbers and their keys at first, `ID=KEY` each...
pub const NUMBERS: &str = "PILOTGATE_CHAOS_NUMBERS";
/// ...to which generation it is to bring their keys...
const GENERATION: &str = "PILOTGATE_CHAOS_GENERATION";
/// ...and the file that it makes when all are there.
const DONE: &str = "PILOTGATE_CHAOS_DONE";

/// What such a gateway writes to its log.
pub const LOG: &str = "pilotgate=trace,reqwest=trace,hyper_util=trace,info";

/// A moment that does not come.
const NEVER: &str = "after change 1000000";

/// How many senders there are.
const LANES: usize = 4;

/// Registers the numbers that are not there yet, and changes their keys one after the other until all are old enough.
pub async fn rotate_all(admin: Admin, keys: Arc<KeyRing>) {
    let generation: u32 = env::var(GENERATION).unwrap().parse().unwrap();
    let acting = Acting::<ManageNumbers>::of_the_gateway("a storm");
    let numbers = env::var(NUMBERS).unwrap();
    for (index, number) in numbers.split(',').enumerate() {
        let name = NumberName::from_text(&place::number_name(index)).unwrap();
        if keys.get(&name).is_none() {
            let right = keys.exclusive(&name).await;
            admin.store_number(&right, registered(name, number), Vec::new()).await.unwrap();
        }
    }
    let mut changes = keys.changes();
    loop {
        changes.borrow_and_update();
        let behind = keys.all().into_iter().find(|number| number.generation < generation);
        let Some(number) = behind else { break };
        match number.key_state() {
            KeyState::Settled => {
                // An earlier process may have begun it.
                let _ = admin.rotate_number_key(&acting, &number.name, None).await;
            }
            KeyState::Rotating => changes.changed().await.unwrap(),
            KeyState::Lost => break,
        }
    }
    fs::write(env::var_os(DONE).unwrap(), "").unwrap();
}

fn registered(name: NumberName, number: &str) -> Number {
    let (id, key) = number.split_once('=').unwrap();
    Number {
        name,
        description: String::new(),
        upstream_id: Some(id.to_owned()),
        phone: None,
        key: NumberKey::from_secret(SecretString::from(key)).unwrap(),
        generation: 1,
        key_time: None,
        rotate_every: None,
        rotation: None,
        disabled: false,
        webhook: None,
        pacing: Pacing::default(),
        quota: Quota::NONE,
        read_back: None,
        source: Source::Declared,
    }
}

/// What gateways are told that change keys.
struct Told {
    numbers: String,
    generation: String,
    done: String,
}

impl Told {
    fn of(place: &Place, double: &Sandbox, generation: u32) -> Self {
        let numbers = double.account().numbers;
        let numbers: Vec<_> = numbers.iter().map(|number| format!("{}={}", number.id, number.key)).collect();
        let done = place.file("all-changed").into_os_string().into_string().unwrap();
        Self { numbers: numbers.join(","), generation: generation.to_string(), done }
    }

    fn serve(&self, place: &Place, moment: &str) -> Gateway {
        place.serve_with(moment, &[(NUMBERS, &self.numbers), (GENERATION, &self.generation), (DONE, &self.done)])
    }

    fn is_done(&self) -> bool {
        fs::exists(&self.done).unwrap()
    }

    async fn done(&self) {
        eventually("all keys are changed", async || self.is_done().then_some(())).await;
    }
}

async fn place_with(double: &Sandbox, account_wide: bool) -> Place {
    let key = double.account().tenant_key;
    let upstream = if account_wide { format!("tenant_key = \"{key}\"\n") } else { String::new() };
    Place::with(double, &House { doors: Doors::None, upstream, undeclared: true, ..House::default() }).await
}

/// Moments between the changes that a gateway makes of its store, of which the first three are the vault's digest key, the
/// registration of a number and the beginning of its rotation; and whether its key is to be had after a kill even without the account-wide key.
const STEPS: &[(&str, bool)] = &[
    ("before change 3", true),
    ("after change 3", true),
    // The key is changed, and nobody has written the new one down.
    ("before change 4", false),
    ("after change 4", true),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_step_of_a_rotation_loses_no_key_that_can_be_shown() {
    for account_wide in [true, false] {
        for (moment, kept) in STEPS {
            let case = format!("account-wide key: {account_wide}, killed {moment}");
            let double =
                sandbox::open(sandbox::Options { more_numbers: Vec::new(), ..place::double(Switches::default()) });
            let double = double.await.unwrap();
            let place = place_with(&double, account_wide).await;
            let told = Told::of(&place, &double, 2);
            told.serve(&place, moment).killed(&place).await;

            let gateway = told.serve(&place, NEVER);
            told.done().await;
            if *kept || account_wide {
                assert_sends_with_the_last_key(&place, &double, &case).await;
            } else {
                assert!(place.whole_log().contains(LOST), "{case}\n{}", place.log());
            }
            assert_no_key(&place);
            drop(gateway);
        }
    }
}

/// What an operator reads when a key is lost.
const LOST: &str = "the new one is lost; set a key";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_that_cannot_be_written_down_is_not_used() {
    // Once, which is got over; and as often as it is tried before the key is held for later.
    for (account_wide, failures, held) in [(false, 1, false), (true, 5, true), (false, 5, true)] {
        let case = format!("account-wide key: {account_wide}, {failures} failures");
        let double = sandbox::open(one_number()).await.unwrap();
        let place = place_with(&double, account_wide).await;
        let told = Told::of(&place, &double, 2);
        let gateway = told.serve(&place, &format!("fail change 4 {failures}"));
        told.done().await;
        let mut asked = double.requests();
        asked.retain(|seen| seen.method == "POST" && seen.path.starts_with("/v1/api-keys"));
        assert_eq!(asked.len(), 1, "{case}");
        let log = place.whole_log();
        assert_eq!(log.contains("a new key that could not be stored and is not used"), held, "{case}");
        assert!(!log.contains(LOST), "{case}");
        assert_sends_with_the_last_key(&place, &double, &case).await;
        assert_no_key(&place);
        drop(gateway);
    }
}

fn one_number() -> sandbox::Options {
    sandbox::Options { more_numbers: Vec::new(), ..place::double(Switches::default()) }
}

async fn assert_sends_with_the_last_key(place: &Place, double: &Sandbox, case: &str) {
    let client = watch::channel(place.client().await).1;
    caller::send(&client, &Send { handoff: Handoff::Direct, ..send_from(0, 0) }).await;
    let last = &double.account().numbers[0].key;
    let sent = sends(double).pop().unwrap();
    assert_eq!(sent.key_last4.as_deref(), Some(&last[last.len() - 4..]), "{case}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_number_is_rotated_ten_times_under_load_and_kills_and_no_send_fails() {
    let _machine = MACHINE.lock().await;
    let double = sandbox::open(place::double(Switches::default())).await.unwrap();
    let place = place_with(&double, true).await;
    let mut told = Told::of(&place, &double, 1);
    let registering = told.serve(&place, NEVER);
    told.done().await;
    registering.kill();
    fs::remove_file(&told.done).unwrap();
    told.generation = "11".to_owned();
    let channel = place.endpoint().connect_lazy();
    let client = watch::channel(MessagingServiceClient::with_interceptor(channel, Bearer)).1;
    let (over, ends) = watch::channel(false);
    let mut senders = JoinSet::new();
    for lane in 0..LANES {
        senders.spawn(send_until(client.clone(), lane, ends.clone()));
    }
    let ((gateway, kills), seen) = tokio::join!(
        async {
            let killed = kill_again_and_again(&place, &double, &told).await;
            over.send_replace(true);
            killed
        },
        keys_seen(&double, ends)
    );
    let sent = timeout(PATIENCE, senders.join_all()).await.expect("callers are answered").into_iter().sum::<usize>();
    eprintln!("{sent} sent, {kills} kills, {} keys", seen.len());
    assert!(kills >= 5, "only {kills} kills");
    assert!(!place.whole_log().contains(LOST), "{}", place.log());
    assert_no_key(&place);

    // Every message went once, and none failed.
    let mut now = client.borrow().clone();
    eventually("all messages are taken", async || {
        let here = caller::list(&mut now).await;
        let open = |message: &v1::Message| matches!(message.status(), MessageStatus::Pending | MessageStatus::InDoubt);
        for message in here.values() {
            assert_ne!(message.status(), MessageStatus::Failed, "{message:?}");
        }
        let taken = double.control().messages().len();
        (here.len() == sent && taken == sent && !here.values().any(open)).then_some(())
    })
    .await;
    assert!(double.control().messages().iter().all(|message| message.accepted == 1));

    // Every number sends with its last key, and every other one that it had is dead.
    let numbers = double.account().numbers;
    assert!(seen.len() > COUNT * 5, "only {} keys were seen", seen.len());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for key in &seen {
        let url = format!("{}/v1/messages/history", double.base_url());
        let answer = http.get(url).header("x-api-key", key).send().await.unwrap();
        let lives = numbers.iter().any(|number| number.key == *key);
        assert_eq!(answer.status(), if lives { 200 } else { 401 });
    }
    for (index, number) in numbers.iter().enumerate() {
        caller::send(&client, &Send { handoff: Handoff::Direct, ..send_from(index, 90_000 + index) }).await;
        let last4 = sends(&double).pop().unwrap().key_last4.unwrap();
        assert_eq!(last4, number.key[number.key.len() - 4..]);
    }
    drop(gateway);
}

/// Until all keys are changed; what is left is a gateway that goes on.
async fn kill_again_and_again(place: &Place, double: &Sandbox, told: &Told) -> (Gateway, usize) {
    let mut dice = StdRng::seed_from_u64(plan::seed());
    let asked_for = || double.requests().iter().filter(|seen| seen.path.starts_with("/v1/api-keys")).count();
    for kills in 0.. {
        let at_a_step = dice.random();
        let when = if dice.random() { "before" } else { "after" };
        let moment = if at_a_step { format!("{when} change {}", dice.random_range(1..8)) } else { NEVER.to_owned() };
        let before = asked_for();
        let mut gateway = told.serve(place, &moment);
        eventually("a key is changed, or the gateway is dead", async || {
            (told.is_done() || if at_a_step { gateway.has_ended() } else { asked_for() > before }).then_some(())
        })
        .await;
        // Any moment in which a key is changed or may be.
        sleep(Duration::from_millis(dice.random_range(0..100))).await;
        if told.is_done() {
            if gateway.has_ended() {
                gateway = told.serve(place, NEVER);
            }
            return (gateway, kills);
        }
        gateway.kill();
    }
    unreachable!("it goes on until it is done")
}

/// Every key that a number has had while somebody looked.
async fn keys_seen(double: &Sandbox, over: watch::Receiver<bool>) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    while !*over.borrow() {
        seen.extend(double.account().numbers.into_iter().map(|number| number.key));
        sleep(Duration::from_millis(1)).await;
    }
    seen.extend(double.account().numbers.into_iter().map(|number| number.key));
    seen
}

fn send_from(number: usize, index: usize) -> Send {
    Send {
        number,
        request_id: format!("r-{index}"),
        phone: format!("+55118{index:05}0101"),
        handoff: if index.is_multiple_of(3) { Handoff::Queued } else { Handoff::Direct },
    }
}

/// Sends one message after the other until that is over; tells how many.
async fn send_until(client: Now, lane: usize, over: watch::Receiver<bool>) -> usize {
    let mut count = 0;
    while !*over.borrow() {
        let index = count * LANES + lane;
        send(&client, &send_from(index % COUNT, index)).await;
        count += 1;
    }
    count
}

/// Until answered OK. A gateway that was killed has not answered, and the next one does not know what became of the call.
/// Nobody hears of a key.
async fn send(client: &Now, send: &Send) {
    let mut client = client.borrow().clone();
    while let Err(status) = client.send_message(send.request()).await {
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        let broken = matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal);
        let usual = match reason.as_str() {
            "" => broken,
            "SEND_IN_DOUBT" | "REQUEST_IN_PROGRESS" => true,
            _ => false,
        };
        assert!(usual, "{}: {status:?}", send.request_id);
        sleep(Duration::from_millis(5)).await;
    }
}

fn sends(double: &Sandbox) -> Vec<sandbox::SeenRequest> {
    let mut requests = double.requests();
    requests.retain(|seen| seen.path == "/v1/messages/send" && seen.status == Answered::Status(202));
    requests
}

/// Every key that a double makes begins like this.
fn assert_no_key(place: &Place) {
    let log = place.whole_log();
    assert!(!log.contains("ps_"), "a key is in the log");
}
