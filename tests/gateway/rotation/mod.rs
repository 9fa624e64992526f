//! A number's key is changed at Pilot Status, which kills the old one at once: what becomes of the new one, whatever gets
//! lost on the way.

mod by_age;
mod lost;
mod races;
mod refused;

use std::{sync::Arc, time::Duration};

use pilotgate::{
    admin::{Admin, AdminError},
    config::{self, SecretRef, Settings},
    domain::{
        audit::Act,
        ids::NumberName,
        quota::Quota,
        secret::{NumberKey, TenantKey},
        sources::Sources,
    },
    identity::{Acting, ManageNumbers},
    keys::{KeyState, Number, Pacing, Rotation, Source},
    sandbox::{self, Answered, Fault, FaultKind, On},
    server::{self, Gateway},
    store::{self, AuditQuery, Store},
};
use secrecy::SecretString;
use tokio::{sync::watch, task::JoinSet};

use crate::support::*;

/// A double, and a gateway with one number in its store.
struct House {
    world: World,
    gateway: Gateway,
    store: Arc<dyn Store>,
}

impl House {
    /// With the account-wide key, or without.
    async fn new(account_wide: bool) -> Self {
        let world = World::new().await;
        let settings = settings_of(&world, account_wide);
        let house = Self::open(world, settings).await;
        house.register(house.number()).await;
        house
    }

    async fn open(world: World, settings: Settings) -> Self {
        let config = config::check_in_memory(settings).unwrap();
        let store = store::open(config.store.clone()).await.unwrap();
        let gateway = server::start_over(Arc::clone(&store), config, Sources::system()).await.unwrap();
        Self { world, gateway, store }
    }

    fn number(&self) -> Number {
        number(&self.world.double.account().numbers[0].key)
    }

    /// Writes the number down.
    async fn register(&self, number: Number) -> Arc<Number> {
        let right = self.gateway.keys().exclusive(&number.name).await;
        self.gateway.administration().store_number(&right, number, Vec::new()).await.unwrap()
    }

    /// Ends the gateway and starts another one on what it has stored.
    async fn again(self, account_wide: bool) -> Self {
        let Self { world, gateway, .. } = self;
        gateway.shutdown().await;
        let settings = settings_of(&world, account_wide);
        Self::open(world, settings).await
    }

    fn admin(&self) -> &Admin {
        self.gateway.administration()
    }

    async fn rotate(&self) -> Result<Arc<Number>, AdminError> {
        self.admin().rotate_number_key(&acting(), &name(), None).await
    }

    fn now(&self) -> Arc<Number> {
        self.gateway.keys().get(&name()).unwrap()
    }

    /// Waits until the key is in that state.
    async fn until(&self, state: KeyState) -> Arc<Number> {
        self.until_it(&name(), |number| number.key_state() == state).await
    }

    /// Waits until that holds for a number.
    async fn until_it(&self, name: &NumberName, holds: impl Fn(&Number) -> bool) -> Arc<Number> {
        let mut changes = self.gateway.keys().changes();
        let reached = async {
            loop {
                changes.borrow_and_update();
                let number = self.gateway.keys().get(name).unwrap();
                if holds(&number) {
                    return number;
                }
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reached).await.expect("not in 20 s")
    }

    /// How Pilot Status answers a number's own read with this key.
    async fn standing(&self, key: &NumberKey) -> u16 {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/v1/messages/history", self.world.double.base_url());
        http.get(url).header("x-api-key", key.expose()).send().await.unwrap().status().as_u16()
    }

    /// What the audit log says of a number.
    async fn acts(&self, name: &NumberName) -> Vec<Act> {
        let query = AuditQuery { subject: Some(format!("number/{name}")), limit: 1000, ..AuditQuery::default() };
        self.store.audited(query).await.unwrap().iter().map(|entry| entry.act().unwrap()).collect()
    }

    /// The same: action and outcome, and the generation or error.
    async fn audit(&self) -> Vec<(String, String, String)> {
        let told = |act: Act| {
            let more = act.detail.get("generation").or_else(|| act.detail.get("error")).cloned();
            (act.action, act.outcome, more.unwrap_or_default())
        };
        self.acts(&name()).await.into_iter().map(told).collect()
    }

    fn fault(&self, kind: FaultKind) {
        self.world.double.control().add_fault(Fault { times: Some(1), ..Fault::new(On::Keys, kind) }).unwrap();
    }

    /// How often Pilot Status was asked to change a key.
    fn changes_asked_for(&self) -> usize {
        let requests = self.world.double.control().requests();
        requests.iter().filter(|seen| seen.method == "POST" && seen.path.starts_with("/v1/api-keys")).count()
    }

    /// The number sends with the key that it has.
    async fn assert_sends(&self) {
        let mut client = client(&self.gateway).await;
        send(&mut client, text(READER, "after the change")).await;
    }

    async fn end(self) {
        self.world.end((), self.gateway).await;
    }
}

fn settings_of(world: &World, account_wide: bool) -> Settings {
    let mut settings = world.settings();
    settings.numbers.clear();
    let tenant_key = SecretString::from(world.double.account().tenant_key);
    settings.upstream.tenant_key = account_wide.then_some(SecretRef::Inline(tenant_key));
    settings
}

fn name() -> NumberName {
    NumberName::from_text(NUMBER).unwrap()
}

fn key(text: &str) -> NumberKey {
    NumberKey::from_secret(SecretString::from(text)).unwrap()
}

fn acting() -> Acting<ManageNumbers> {
    Acting::of_the_gateway("a test")
}

/// The double's first number, as it is registered.
fn number(text: &str) -> Number {
    Number {
        name: name(),
        description: String::new(),
        upstream_id: Some("wn_sandbox".to_owned()),
        phone: None,
        key: key(text),
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

fn told<const N: usize>(entries: [(&str, &str, &str); N]) -> Vec<(String, String, String)> {
    entries.map(|(action, outcome, more)| (action.to_owned(), outcome.to_owned(), more.to_owned())).into()
}

const ROTATE: &str = "number.key.rotate";
const RECOVER: &str = "number.key.recover";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_under_load_cost_a_send_some_time_and_nothing_else() {
    const SENDERS: usize = 16;
    for account_wide in [true, false] {
        let house = House::new(account_wide).await;
        let client = client(&house.gateway).await;
        let (over, ends) = watch::channel(false);
        let mut senders = JoinSet::new();
        for sender in 0..SENDERS {
            let (mut client, ends) = (client.clone(), ends.clone());
            senders.spawn(async move {
                let mut count = 0;
                while !*ends.borrow() {
                    let request = text(STUCK, "under load");
                    // Each is sent once: nobody has to repeat anything.
                    send(&mut client, if sender % 4 == 0 { queued(request) } else { request }).await;
                    count += 1;
                }
                count
            });
        }
        let mut keys = vec![house.now()];
        for generation in 2..=11 {
            // Sends go on between two changes.
            let before = sends(&house.world).len();
            until(|| sends(&house.world).len() >= before + SENDERS).await;
            keys.push(house.rotate().await.unwrap());
            assert_eq!(house.now().generation, generation);
            assert_eq!(house.standing(&keys[keys.len() - 2].key).await, 401);
        }
        over.send_replace(true);
        let sent: usize = senders.join_all().await.into_iter().sum();
        let control = house.world.double.control();
        let is_answered = |seen: &sandbox::SeenRequest| seen.status != Answered::Not(sandbox::Unanswered::Pending);
        until(|| control.messages().len() == sent && sends(&house.world).iter().all(is_answered)).await;
        let refused = sends(&house.world).into_iter().filter(|seen| seen.status != Answered::Status(202));
        let refused: Vec<_> = refused.map(|seen| seen.status).collect();
        assert!(refused.is_empty(), "{refused:?} of {sent}, account-wide key: {account_wide}");
        for (number, dies) in keys.iter().zip((2..=11).map(|_| 401).chain([200])) {
            assert_eq!(house.standing(&number.key).await, dies, "generation {}", number.generation);
        }
        drop(client);
        house.end().await;
    }
}

#[tokio::test]
async fn the_old_key_is_dead_and_the_new_one_is_kept() {
    for account_wide in [true, false] {
        let mut house = House::new(account_wide).await;
        for generation in 2..=4 {
            let old = house.now();
            let new = house.rotate().await.unwrap();
            assert_eq!((new.generation, new.key_state()), (generation, KeyState::Settled));
            assert!(new.key_time.is_some());
            let standings = (house.standing(&old.key).await, house.standing(&new.key).await);
            assert_eq!(standings, (401, 200), "account-wide key: {account_wide}");
            house.assert_sends().await;
        }
        house = house.again(account_wide).await;
        assert_eq!(house.now().generation, 4);
        house.assert_sends().await;
        let done = ["2", "3", "4"].map(|generation| told([(ROTATE, "begun", ""), (ROTATE, "done", generation)]));
        assert_eq!(house.audit().await, done.concat());
        // By the account-wide key where there is one.
        let by_own = house.world.double.control().requests().into_iter().any(|seen| seen.path.ends_with("/regenerate"));
        assert_eq!(by_own, !account_wide);
        house.end().await;
    }
}
