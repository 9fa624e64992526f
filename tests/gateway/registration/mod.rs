//! The gateway registers its own webhooks at the double and looks after them.

mod drift;
mod missed;
mod refusals;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

use pilotgate::{
    config::{
        self, SecretRef, Settings,
        settings::{NumberSettings, Span},
    },
    domain::{ids::NumberName, sources::Sources},
    sandbox::{self, Control, SeenRequest},
    server::{self, Gateway},
    tracking::registration::{Drift, HookState},
};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::support::{
    NUMBER, PATH_TOKEN, READER, SECOND_PATH_TOKEN, World, client, message_until, second_number, send, text,
    two_numbers, until,
};

/// The number's id at the double.
const UPSTREAM_ID: &str = "wn_sandbox";

/// An address where nothing is delivered, for tests that look at the registry alone.
const PUBLIC_URL: &str = "https://hooks.example.com/pilotgate/";

/// What is registered there.
const REGISTERED_URL: &str = "https://hooks.example.com/pilotgate/webhooks/0123456789abcdef0123456789abcdef";

const EVENTS: [&str; 20] = [
    "message.sent",
    "message.delivered",
    "message.read",
    "message.failed",
    "message.received",
    "message.reply",
    "message.group",
    "message.newsletter",
    "number.created",
    "number.connected",
    "number.disconnected",
    "number.removed",
    "number.restored",
    "lead.received",
    "call.ringing",
    "call.connected",
    "call.ended",
    "call.missed",
    "call.permission_updated",
    "flow.response_received",
];

/// Settings under which the number's webhook is registered and looked at all the time.
fn settings(world: &World) -> Settings {
    let mut settings = world.settings();
    settings.numbers[0].upstream_id = Some(UPSTREAM_ID.to_owned());
    settings.webhooks.public_url = PUBLIC_URL.to_owned();
    settings.webhooks.check_interval = Span(Duration::from_millis(20));
    settings
}

/// The same with a public address where the gateway is.
fn reachable(world: &World) -> Settings {
    let mut settings = settings(world);
    settings.http.listen = free_port();
    settings.webhooks.public_url = format!("http://{}", settings.http.listen);
    settings
}

async fn start(settings: Settings) -> Gateway {
    server::start(config::check_in_memory(settings).unwrap(), Sources::system()).await.unwrap()
}

fn inline(text: &str) -> SecretRef {
    SecretRef::Inline(SecretString::from(text))
}

/// What the gateway tells of its number.
fn state(gateway: &Gateway) -> HookState {
    gateway.registration().state().remove(&NumberName::from_text(NUMBER).unwrap()).unwrap()
}

/// Talks to the registry of the double with the account-wide key, which the gateway does not use unless a test says so.
struct Registry {
    http: reqwest::Client,
    url: String,
    tenant_key: String,
}

impl Registry {
    fn of(world: &World) -> Self {
        Self {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            url: format!("{}/v1/webhooks", world.double.base_url()),
            tenant_key: world.double.account().tenant_key,
        }
    }

    async fn call(&self, method: reqwest::Method, below: &str, body: Value) -> Value {
        let request = self.http.request(method, format!("{}{below}", self.url)).header("x-api-key", &self.tenant_key);
        request.json(&body).send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
    }

    /// All webhooks, without what changes by itself.
    async fn all(&self) -> Vec<Value> {
        let mut all = self.call(reqwest::Method::GET, "", Value::Null).await;
        for hook in all.as_array_mut().unwrap() {
            let hook = hook.as_object_mut().unwrap();
            hook.retain(|field, _| ["id", "name", "url", "active", "events", "whatsappNumberIds"].contains(&&**field));
        }
        all.as_array().unwrap().clone()
    }

    async fn add(&self, body: Value) -> String {
        self.call(reqwest::Method::POST, "", body).await["id"].as_str().unwrap().to_owned()
    }

    async fn change(&self, id: &str, body: Value) {
        self.call(reqwest::Method::PATCH, &format!("/{id}"), body).await;
    }

    async fn delete(&self, id: &str) {
        self.call(reqwest::Method::DELETE, &format!("/{id}"), Value::Null).await;
    }
}

/// The webhook as it should be.
fn right(id: &str) -> Value {
    json!({
        "id": id, "name": "pilotgate wn_sandbox", "url": REGISTERED_URL, "active": true, "events": EVENTS,
        "whatsappNumberIds": [UPSTREAM_ID],
    })
}

/// The calls about webhooks that were made with this key, oldest first.
fn managing(control: &Control, key: &str) -> Vec<SeenRequest> {
    let mut seen = control.requests();
    seen.retain(|request| {
        request.path.starts_with("/v1/webhooks") && request.key_last4.as_deref() == Some(&key[key.len() - 4..])
    });
    seen
}

/// How many of them were of this method.
fn count(control: &Control, key: &str, method: &str) -> usize {
    managing(control, key).iter().filter(|request| request.method == method).count()
}

/// Waits until so many further looks have begun; all but the last of them have ended.
async fn looks(world: &World, more: usize) {
    let (control, key) = (world.double.control(), world.double.account().numbers[0].key.clone());
    let is_list = |seen: &&SeenRequest| seen.method == "GET" && seen.path == "/v1/webhooks";
    let lists = || managing(&control, &key).iter().filter(is_list).count();
    let before = lists();
    until(|| lists() >= before + more).await;
}

/// A free port below those that the system gives to outgoing connections: while the gateway is away, none of them may sit
/// down on its port.
fn free_port() -> SocketAddr {
    loop {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, rand::random_range(20_000..32_000)));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

#[tokio::test]
async fn a_webhook_is_registered_at_start_and_works() {
    let world = World::new().await;
    let settings = reachable(&world);
    let public_url = settings.webhooks.public_url.clone();
    let gateway = start(settings).await;
    until(|| state(&gateway).checked_at.is_some()).await;
    let all = Registry::of(&world).all().await;
    let id = state(&gateway).id.unwrap();
    let mut expected = right(&id);
    expected["url"] = format!("{public_url}/webhooks/{PATH_TOKEN}").into();
    assert_eq!(all, [expected]);
    let HookState { drift, others, error, writes, .. } = state(&gateway);
    assert_eq!((drift, others, error, writes), (vec![], vec![], None, 1));
    // What comes that way is taken in.
    let mut client = client(&gateway).await;
    let message = send(&mut client, text(READER, "x")).await;
    message_until(&mut client, &message, |message| message.read_time.is_some()).await;
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_restart_finds_what_the_last_process_registered() {
    let world = World::new().await;
    let (control, key) = (world.double.control(), world.double.account().numbers[0].key.clone());
    let mut ids = Vec::new();
    for _ in 0..3 {
        let gateway = start(settings(&world)).await;
        looks(&world, 3).await;
        ids.push(state(&gateway).id.unwrap());
        gateway.shutdown().await;
    }
    assert_eq!(Registry::of(&world).all().await, [right(&ids[0])]);
    assert_eq!(ids, [&*ids[0]; 3]);
    assert_eq!((count(&control, &key, "POST"), count(&control, &key, "PATCH")), (1, 0));
    world.double.shutdown().await;
}

#[tokio::test]
async fn nothing_is_registered_without_an_address_or_a_door() {
    for (public_url, has_door) in [("", true), (PUBLIC_URL, false)] {
        let world = World::new().await;
        let mut settings = settings(&world);
        settings.webhooks.public_url = public_url.to_owned();
        if !has_door {
            settings.numbers[0].webhook_token = None;
        }
        let gateway = start(settings).await;
        assert_eq!(gateway.registration().state(), BTreeMap::new());
        let mut client = client(&gateway).await;
        send(&mut client, text(READER, "x")).await;
        assert!(world.double.requests().iter().all(|seen| !seen.path.starts_with("/v1/webhooks")));
        world.end(client, gateway).await;
    }
}

#[tokio::test]
async fn the_account_wide_key_names_the_number_and_stands_back_where_it_cannot() {
    let world = World::with(two_numbers()).await;
    let account = world.double.account();
    let mut settings = settings(&world);
    settings.upstream.tenant_key = Some(inline(&account.tenant_key));
    // The upstream id of the second one is not known to the gateway.
    settings.numbers.push(second_number(&world));
    let gateway = start(settings).await;
    until(|| gateway.registration().state().values().all(|state| state.checked_at.is_some())).await;
    let (first, second) = (&account.numbers[0], &account.numbers[1]);
    let all = Registry::of(&world).all().await;
    let seen = |number: &Value| all.iter().find(|hook| hook["whatsappNumberIds"] == json!([number])).cloned().unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(seen(&json!(UPSTREAM_ID)), right(&state(&gateway).id.unwrap()));
    let url = format!("{PUBLIC_URL}webhooks/{SECOND_PATH_TOKEN}");
    assert_eq!(seen(&json!(second.id))["url"], url);
    assert_eq!(seen(&json!(second.id))["name"], "pilotgate wn_second");
    let control = world.double.control();
    gateway.shutdown().await;
    let with = |key: &str| managing(&control, key);
    assert_eq!(with(&first.key).len(), 0);
    let mut by_tenant = with(&account.tenant_key);
    // One look of this test.
    by_tenant.retain(|request| request.number_id.is_some() || request.method != "GET");
    assert!(by_tenant.len() >= 3, "{by_tenant:?}");
    assert!(by_tenant.iter().all(|request| request.number_id.as_deref() == Some(UPSTREAM_ID)), "{by_tenant:?}");
    assert_eq!(count(&control, &second.key, "POST"), 1);
    assert!(with(&second.key).iter().all(|request| request.number_id.is_none()));
    world.double.shutdown().await;
}

#[tokio::test]
async fn a_new_path_token_moves_the_webhook() {
    let world = World::new().await;
    let gateway = start(settings(&world)).await;
    until(|| state(&gateway).checked_at.is_some()).await;
    let id = state(&gateway).id.unwrap();
    gateway.shutdown().await;
    let mut settings = settings(&world);
    settings.numbers[0] =
        NumberSettings { webhook_token: Some(inline(SECOND_PATH_TOKEN)), ..settings.numbers[0].clone() };
    let gateway = start(settings).await;
    until(|| state(&gateway).checked_at.is_some()).await;
    let mut moved = right(&id);
    moved["url"] = format!("{PUBLIC_URL}webhooks/{SECOND_PATH_TOKEN}").into();
    assert_eq!(Registry::of(&world).all().await, [moved]);
    assert_eq!((state(&gateway).id, state(&gateway).writes), (Some(id), 1));
    gateway.shutdown().await;
    world.double.shutdown().await;
}

#[tokio::test]
async fn of_several_the_oldest_is_kept_and_the_others_are_told() {
    let world = World::new().await;
    let registry = Registry::of(&world);
    let mut ids = Vec::new();
    for name in ["first", "second"] {
        let body = json!({ "url": REGISTERED_URL, "name": name, "events": EVENTS, "whatsappNumberId": UPSTREAM_ID });
        ids.push(registry.add(body).await);
    }
    let before = registry.all().await;
    let gateway = start(settings(&world)).await;
    looks(&world, 3).await;
    let HookState { id, others, drift, writes, .. } = state(&gateway);
    assert_eq!((id.as_ref(), others, drift, writes), (Some(&ids[0]), vec![ids[1].clone()], vec![], 0));
    assert_eq!(registry.all().await, before);
    // Without the first one, the second is as good.
    registry.delete(&ids[0]).await;
    until(|| state(&gateway).id.as_ref() == Some(&ids[1])).await;
    assert_eq!((state(&gateway).others, state(&gateway).writes), (vec![], 0));
    gateway.shutdown().await;
    world.double.shutdown().await;
}
