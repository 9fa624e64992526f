//! Everything that comes in by webhook, as the store has it afterwards.

mod recording;
mod refusals;
mod taken;
mod unattributed;

use std::sync::Arc;

use pilotgate::{
    config::{self, Settings},
    domain::{event::Payload, inbound::Inbound, position::Position, sources::Sources},
    server::{self, Gateway},
    store::{self, Store},
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{PATH_TOKEN, World, signature};

/// A gateway and a view of its store.
struct Open {
    gateway: Gateway,
    store: Arc<dyn Store>,
    secret: Option<String>,
}

impl Open {
    /// With settings that were altered by this.
    async fn with(world: &World, alter: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = world.settings();
        alter(&mut settings);
        let signs = !settings.numbers[0].webhook_secrets.is_empty();
        let config = config::check_in_memory(settings).unwrap();
        let store = store::open(config.store.clone()).await.unwrap();
        let gateway = server::start_over(Arc::clone(&store), config, Sources::system()).await.unwrap();
        world.register(&gateway).await;
        Self { gateway, store, secret: signs.then(|| world.double.account().webhook_secret) }
    }

    async fn new(world: &World) -> Self {
        Self::with(world, |_| {}).await
    }

    /// Posts a body to the number's door, signed as it should be.
    async fn post(&self, body: &str) -> (StatusCode, Value) {
        let signed = self.secret.as_ref().map(|secret| signature(secret, body));
        self.post_to(PATH_TOKEN, signed.as_deref(), body.as_bytes()).await
    }

    async fn post_to(&self, token: &str, signature: Option<&str>, body: &[u8]) -> (StatusCode, Value) {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = http.post(format!("http://{}/webhooks/{token}", self.gateway.http())).body(body.to_vec());
        if let Some(signature) = signature {
            request = request.header("x-pilot-status-signature", signature);
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap_or_default())
    }
}

/// The inbound events in the log, oldest first.
async fn inbound(store: &dyn Store) -> Vec<Inbound> {
    let page = store.events(Position::START, usize::MAX).await.unwrap();
    let of = |payload: &Payload| if let Payload::Inbound(inbound) = payload { Some(inbound.clone()) } else { None };
    page.events.iter().filter_map(|event| of(&event.payload)).collect()
}

fn recorded() -> (StatusCode, Value) {
    (StatusCode::OK, json!({ "status": "recorded" }))
}

fn received(id: &str, text: &str) -> Value {
    json!({ "event": "message.received", "data": {
        "id": id, "messageId": format!("wamid.{id}"), "createdAt": "2027-01-12T14:05:00.000Z", "content": text,
    } })
}
