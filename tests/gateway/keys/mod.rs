//! Numbers and keys that change while the gateway runs: through its ring, as administration changes them.

mod changed;
mod numbers;
mod refused;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
};
use jiff::Timestamp;
use pilotgate::{
    config::{self, Settings},
    domain::{ids::NumberName, secret::NumberKey, sources::Sources},
    keys::{Number, Rotation},
    server::{self, Gateway},
};
use secrecy::SecretString;
use tokio::sync::Semaphore;

use crate::support::{NUMBER, World};

fn named(name: &str) -> NumberName {
    NumberName::from_text(name).unwrap()
}

fn main_number() -> NumberName {
    named(NUMBER)
}

/// The present key's last characters, as the double's ledger shows them.
fn last4(key: &str) -> Option<&str> {
    Some(&key[key.len() - 4..])
}

async fn start(settings: Settings) -> Gateway {
    server::start(config::check_in_memory(settings).unwrap(), Sources::system()).await.unwrap()
}

/// Puts a number in place of the one of its name, if there is one.
async fn put(gateway: &Gateway, number: Number) {
    let right = gateway.keys().exclusive(&number.name).await;
    gateway.keys().put(number, &right).unwrap();
}

/// The number as it stands, changed.
fn changed(gateway: &Gateway, change: impl FnOnce(&mut Number)) -> Number {
    let mut number = Number::clone(&gateway.keys().get(&main_number()).unwrap());
    change(&mut number);
    number
}

/// The number with this key, whatever was known of it before.
fn with_key(gateway: &Gateway, key: &str) -> Number {
    changed(gateway, |number| {
        number.key = NumberKey::from_secret(SecretString::from(key)).unwrap();
        number.generation += 1;
        number.rotation = None;
    })
}

/// The number of whose key nobody knows whether it was changed.
fn rotating(gateway: &Gateway) -> Number {
    // It has just begun for as long as a test lasts, so that the gateway does not look for what became of it.
    let begun = Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let rotation = Rotation { begun, actor: "test".to_owned(), lost: false };
    changed(gateway, |number| number.rotation = Some(rotation))
}

/// Calls the double with a key.
async fn call(world: &World, method: Method, path: &str, key: &str) -> (StatusCode, String) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = http.request(method, format!("{}{path}", world.double.base_url())).header("x-api-key", key);
    let answer = request.json(&serde_json::json!({})).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

/// Gives the first number another key at the double, and sees that the old one is dead.
async fn regenerate(world: &World) -> String {
    let old = world.double.account().numbers[0].key.clone();
    assert_eq!(call(world, Method::POST, "/v1/api-keys/regenerate", &old).await.0, StatusCode::CREATED);
    assert_eq!(call(world, Method::GET, "/v1/messages/history", &old).await.0, StatusCode::UNAUTHORIZED);
    world.double.account().numbers[0].key.clone()
}

/// Stands before the double and holds calls back.
#[derive(Clone)]
struct Front {
    double: String,
    /// Each call takes one for good.
    leave: Arc<Semaphore>,
    /// Gets one for each call that waits.
    waiting: Arc<Semaphore>,
    http: reqwest::Client,
}

impl Front {
    /// With the settings of a gateway behind it.
    async fn before(world: &World) -> (Self, Settings) {
        let mut settings = world.settings();
        let front = Self {
            double: settings.upstream.base_url.clone(),
            leave: Arc::new(Semaphore::new(0)),
            waiting: Arc::new(Semaphore::new(0)),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        settings.upstream.base_url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(Self::forward).with_state(front.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (front, settings)
    }

    async fn forward(
        State(front): State<Self>,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> (StatusCode, String) {
        front.waiting.add_permits(1);
        front.leave.acquire().await.unwrap().forget();
        let mut request = front.http.request(method, format!("{}{uri}", front.double)).body(body);
        for name in ["x-api-key", "content-type", "idempotency-key"] {
            if let Some(value) = headers.get(name) {
                request = request.header(name, value);
            }
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    /// Waits until a further call waits here.
    async fn called(&self) {
        let called = tokio::time::timeout(Duration::from_secs(20), self.waiting.acquire()).await;
        called.expect("no call within 20 s").unwrap().forget();
    }

    /// Lets so many calls through, now or when they come.
    fn let_through(&self, calls: usize) {
        self.leave.add_permits(calls);
    }
}

/// Waits for what must come; fails rather than wait for ever.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("not within 20 s")
}

/// Lets what is ready run, so that what must not happen had its chance.
async fn let_run() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}
