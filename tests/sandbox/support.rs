//! A double, a client for it and a webhook receiver, all on real sockets.
#![allow(dead_code)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use pilotgate::sandbox::{NumberSeed, Options, Sandbox, Switches, open};

pub const PHONE: &str = "+5521987651234";
pub const SECRET: &str = "whsec-test-1";
pub const META: &str = "wn_sandbox";
pub const PAIRED: &str = "wn_paired";

pub struct Rig {
    pub sandbox: Sandbox,
    pub client: reqwest::Client,
    pub key: String,
    pub paired_key: String,
    pub tenant_key: String,
}

pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|v| v.to_str().unwrap())
    }

    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or("").to_owned()
    }
}

/// Fast timelines and retries, so that nothing is waited for long.
pub fn fast() -> Switches {
    Switches {
        sent_after_ms: 5,
        delivered_after_ms: 5,
        read_after: pilotgate::sandbox::After::Millis(5),
        time_scale: 0.004,
        slow_answer_ms: 300,
        ..Switches::default()
    }
}

pub async fn rig() -> Rig {
    rig_with(fast()).await
}

pub async fn rig_with(switches: Switches) -> Rig {
    let sandbox = open(Options {
        switches,
        seed: Some(7),
        webhook_secret: Some(SECRET.into()),
        more_numbers: vec![NumberSeed {
            id: PAIRED.into(),
            phone: "+5511911111111".into(),
            display_name: "Paired".into(),
            provider: "PILOT_STATUS".into(),
        }],
        ..Options::default()
    })
    .await
    .unwrap();
    let account = sandbox.account();
    Rig {
        key: account.numbers[0].key.clone(),
        paired_key: account.numbers[1].key.clone(),
        tenant_key: account.tenant_key.clone(),
        sandbox,
        client: reqwest::Client::new(),
    }
}

impl Rig {
    pub async fn call(&self, method: &str, path: &str, key: &str, body: Option<Value>) -> Answer {
        let url = format!("{}{path}", self.sandbox.base_url());
        let mut request = self.client.request(method.parse().unwrap(), url).header("x-api-key", key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        read(request).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &self.key, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, &self.key, Some(body)).await
    }

    pub async fn send(&self, body: Value) -> Answer {
        self.post("/v1/messages/send", body).await
    }

    pub async fn try_send_as(&self, key: &str, body: Value) -> reqwest::Result<Answer> {
        let url = format!("{}/v1/messages/send", self.sandbox.base_url());
        let request = self.client.post(url).header("x-api-key", &self.key).header("idempotency-key", key).json(&body);
        read(request).await
    }

    pub async fn send_as(&self, key: &str, body: Value) -> Answer {
        self.try_send_as(key, body).await.unwrap()
    }

    pub async fn control(&self, method: &str, path: &str, body: Value) -> Answer {
        let url = format!("{}{path}", self.sandbox.control_url());
        let request = self.client.request(method.parse().unwrap(), url).json(&body);
        read(request).await.unwrap()
    }

    pub async fn fault(&self, rule: Value) {
        let answer = self.control("POST", "/faults", rule).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }

    pub async fn switch(&self, switches: Value) {
        let answer = self.control("PATCH", "/switches", switches).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    /// Waits until a message has come to a status, and gives its details.
    pub async fn until(&self, id: &str, status: &str) -> Value {
        for _ in 0..1000 {
            let details = self.get(&format!("/v1/messages/{id}")).await.json();
            if details["status"] == status {
                return details;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("message {id} never came to {status}");
    }

    pub async fn subscribe(&self, receiver: &Receiver, events: &[&str]) -> String {
        let body = json!({ "url": receiver.url, "name": "test", "events": events });
        let answer = self.post("/v1/webhooks", body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json()["id"].as_str().unwrap().to_owned()
    }
}

async fn read(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    Ok(Answer { status: response.status().as_u16(), headers: response.headers().clone(), text: response.text().await? })
}

pub fn text_to(destination: &str) -> Value {
    json!({ "text": "Hi", "destinationNumber": destination })
}

pub struct Delivery {
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Delivery {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn event(&self) -> String {
        self.json()["event"].as_str().unwrap_or("").to_owned()
    }

    /// Whether the signature is that of these very bytes.
    pub fn is_signed(&self) -> bool {
        use hmac::{Hmac, KeyInit, Mac};
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(&self.body);
        self.signature() == Some(hex::encode(mac.finalize().into_bytes()).as_str())
    }

    pub fn signature(&self) -> Option<&str> {
        self.headers.get("x-pilot-status-signature").map(|v| v.to_str().unwrap())
    }
}

/// Takes deliveries; answers with the scripted statuses first, then 200.
pub struct Receiver {
    pub url: String,
    deliveries: mpsc::Receiver<Delivery>,
    script: Arc<Mutex<VecDeque<u16>>>,
    gate: Arc<tokio::sync::RwLock<()>>,
}

type Inside = (mpsc::Sender<Delivery>, Arc<Mutex<VecDeque<u16>>>, Arc<tokio::sync::RwLock<()>>);

impl Receiver {
    pub async fn open() -> Self {
        let (sender, deliveries) = mpsc::channel(1000);
        let script: Arc<Mutex<VecDeque<u16>>> = Arc::default();
        let gate = Arc::new(tokio::sync::RwLock::new(()));
        let router = Router::new().fallback(take).with_state((sender, Arc::clone(&script), Arc::clone(&gate)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, deliveries, script, gate }
    }

    pub fn answer(&self, statuses: &[u16]) {
        self.script.lock().unwrap().extend(statuses);
    }

    /// While the guard lives, deliveries are taken and not answered.
    pub async fn hold(&self) -> tokio::sync::OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.gate).write_owned().await
    }

    pub async fn next(&mut self) -> Delivery {
        tokio::time::timeout(Duration::from_secs(5), self.deliveries.recv()).await.expect("a delivery in time").unwrap()
    }

    pub async fn events(&mut self, count: usize) -> Vec<String> {
        let mut events = Vec::new();
        for _ in 0..count {
            events.push(self.next().await.event());
        }
        events
    }

    /// What has arrived already.
    pub fn waiting(&self) -> usize {
        self.deliveries.len()
    }
}

async fn take(State((sender, script, gate)): State<Inside>, headers: HeaderMap, body: Bytes) -> StatusCode {
    sender.send(Delivery { headers, body }).await.unwrap();
    drop(gate.read().await);
    let status = script.lock().unwrap().pop_front().unwrap_or(200);
    StatusCode::from_u16(status).unwrap()
}
