//! Somebody who knows the paths at which webhooks come in, and lies.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use pilotgate::sandbox;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::json;
use tokio::sync::watch;

/// What a forged failure is called, and when anything forged is said to have happened: 2020-01-01.
pub const FORGED: &str = "FORGED";
pub const FORGED_AT: i64 = 1_577_836_800;

/// What was forged.
pub struct Forged {
    pub posts: usize,
    /// Ids that do not exist.
    pub made_up: BTreeSet<String>,
}

/// Tells of every few messages what is not true, or not yet, and of messages that do not exist, until the end.
pub async fn forge(
    control: sandbox::Control,
    seed: u64,
    doors: HashMap<String, String>,
    over: watch::Receiver<bool>,
) -> Forged {
    let mut dice = StdRng::seed_from_u64(seed.wrapping_add(1));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut forged = Forged { posts: 0, made_up: BTreeSet::new() };
    let (mut seen, mut sent) = (0, BTreeSet::new());
    while !*over.borrow() {
        let messages = control.messages();
        let mut lies = Vec::new();
        for message in &messages[seen..] {
            let door = &doors[&message.number_id];
            if dice.random_bool(0.15) {
                // Ids are part of a claim.
                let wamid = dice.random::<bool>().then(|| format!("wamid.{FORGED}{:016X}", dice.random::<u64>()));
                lies.push((door.clone(), claim(&mut dice, json!({ "id": message.id, "messageId": wamid }))));
            }
            if dice.random_bool(0.05) {
                let id = format!("wamid.NOBODY{:016X}", dice.random::<u64>());
                let name = if dice.random() { "id" } else { "messageId" };
                lies.push((door.clone(), claim(&mut dice, json!({ name: id }))));
                forged.made_up.insert(id);
            }
        }
        seen = messages.len();
        for message in messages {
            if let Some(wamid) = message.external_id
                && sent.insert(message.id)
                && dice.random_bool(0.1)
            {
                lies.push((doors[&message.number_id].clone(), claim(&mut dice, json!({ "messageId": wamid }))));
            }
        }
        forged.posts += lies.len();
        let posts = lies.into_iter().map(|(door, body)| http.post(door).json(&body).send());
        let answers: Vec<_> = stream::iter(posts).buffer_unordered(8).collect().await;
        for answer in answers {
            answer.unwrap().error_for_status().unwrap();
        }
        // Nothing announces what the double takes.
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    forged
}

/// An event that is not true, or not yet, of a message with these ids.
fn claim(dice: &mut StdRng, ids: serde_json::Value) -> serde_json::Value {
    let event = ["message.failed", "message.delivered", "message.read"].choose(dice).unwrap();
    let mut data = json!({ "createdAt": "2020-01-01T00:00:00.000Z" });
    if *event == "message.failed" {
        data["errorCode"] = json!(FORGED);
    }
    for (name, id) in ids.as_object().unwrap() {
        if !id.is_null() {
            data[name] = id.clone();
        }
    }
    json!({ "event": event, "data": data })
}
