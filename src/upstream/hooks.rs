//! The gateway's own webhooks, as Pilot Status keeps them: list, create, change, and the log of their deliveries.
//!
//! An address holds the path token. It goes into a request body and comes back in answers; neither an error nor a debug
//! print of what stands here tells it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::{Method, Url};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    ReadError, Upstream,
    call::{Answer, Call},
    join, reply,
};
use crate::domain::secret::{NumberKey, WebhookUrl};

/// What the gateway wants to be told. By name, since `*` would bring foreign shapes as well.
pub const EVENTS: [&str; 20] = [
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

/// Rows of a delivery log that are asked for at once; Pilot Status gives no more.
pub const LOG_ROWS: usize = 50;

/// Longest answer. Rows of a delivery log hold whole webhook bodies.
const MOST_ANSWER: usize = 16 << 20;

/// Longest id and name that are taken over.
const MOST_WORD: usize = 256;

/// Whose webhook is meant, and the key that manages it.
#[derive(Clone, Copy, Debug)]
pub struct HookAccess<'a> {
    /// The key.
    pub key: &'a NumberKey,
    /// The number's upstream id, if the key is not the number's own.
    pub acting_on: Option<&'a str>,
    /// Where the number's webhooks come in. Its token is blotted out of every error.
    pub url: &'a WebhookUrl,
}

/// A webhook as an answer shows it; what the answer leaves out is `None`.
#[derive(Clone, Debug)]
pub struct Hook {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// Where it goes.
    pub url: Option<WebhookUrl>,
    /// False if it is paused.
    pub active: Option<bool>,
    /// What it tells.
    pub events: Option<BTreeSet<String>>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
}

/// What is to be changed on a webhook.
#[derive(Clone, Debug, Default)]
pub struct HookChange<'a> {
    /// Where it should go.
    pub url: Option<&'a WebhookUrl>,
    /// What it should tell.
    pub events: Option<&'a [&'a str]>,
    /// Whether it should tell anything.
    pub active: Option<bool>,
}

/// Rows of a delivery log, newest first.
pub struct DeliveryLog {
    /// The rows that can be read.
    pub rows: Vec<LoggedDelivery>,
    /// Whether there may be older ones that the answer had no room for.
    pub is_full: bool,
}

/// One attempt to deliver an event.
pub struct LoggedDelivery {
    /// Whether it was acknowledged.
    pub is_delivered: bool,
    /// When it was made.
    pub at: Option<Timestamp>,
    /// The body that was or was not delivered.
    pub payload: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    #[serde(default)]
    status: Value,
    #[serde(default)]
    status_code: Value,
    #[serde(default)]
    created_at: Value,
    #[serde(default)]
    payload: Option<Box<RawValue>>,
}

impl Upstream {
    /// The webhooks that the key can see, of this number if it has to be named.
    pub async fn hooks(&self, access: &HookAccess<'_>) -> Result<Vec<Hook>, ReadError> {
        let answer = self.manage(access, Method::GET, self.webhooks(&[]), None).await?;
        let body = reply::success(&answer, access.key)?;
        let rows = list(&body.json).ok_or_else(|| unusable("the answer lists no webhooks"))?;
        Ok(rows.iter().filter_map(hook).collect())
    }

    /// One webhook.
    pub async fn hook(&self, access: &HookAccess<'_>, id: &str) -> Result<Hook, ReadError> {
        let answer = self.manage(access, Method::GET, self.webhooks(&[id]), None).await?;
        shown(&answer, access)
    }

    /// Makes one, for the number with this upstream id if it is known.
    pub async fn create_hook(
        &self,
        access: &HookAccess<'_>,
        name: &str,
        number_id: Option<&str>,
    ) -> Result<Hook, ReadError> {
        let mut body = json!({ "url": access.url.expose(), "name": name, "events": EVENTS, "active": true });
        if let Some(id) = number_id {
            body["whatsappNumberId"] = id.into();
        }
        let answer = self.manage(access, Method::POST, self.webhooks(&[]), Some(&body)).await?;
        shown(&answer, access)
    }

    /// Changes one.
    pub async fn change_hook(
        &self,
        access: &HookAccess<'_>,
        id: &str,
        change: &HookChange<'_>,
    ) -> Result<Hook, ReadError> {
        let mut body = json!({});
        if let Some(url) = change.url {
            body["url"] = url.expose().into();
        }
        if let Some(events) = change.events {
            body["events"] = events.into();
        }
        if let Some(active) = change.active {
            body["active"] = active.into();
        }
        let answer = self.manage(access, Method::PATCH, self.webhooks(&[id]), Some(&body)).await?;
        // The answer need not repeat what the path says.
        let json = reply::success(&answer, access.key)?.json;
        Ok(hook(&json).unwrap_or_else(|| Hook { id: id.to_owned(), ..Hook::empty() }))
    }

    /// The newest rows of a webhook's delivery log, of one event if one is named.
    pub async fn delivery_log(
        &self,
        access: &HookAccess<'_>,
        id: &str,
        event: Option<&str>,
    ) -> Result<DeliveryLog, ReadError> {
        let mut url = self.webhooks(&[id, "logs"]);
        url.query_pairs_mut().append_pair("limit", &LOG_ROWS.to_string());
        if let Some(event) = event {
            url.query_pairs_mut().append_pair("event", event);
        }
        let answer = self.manage(access, Method::GET, url, None).await?;
        reply::success(&answer, access.key)?;
        log(&answer.body).ok_or_else(|| unusable("the answer lists no deliveries"))
    }

    fn webhooks(&self, below: &[&str]) -> Url {
        join(&self.base, &[&["v1", "webhooks"], below].concat())
    }

    async fn manage(
        &self,
        access: &HookAccess<'_>,
        method: Method,
        url: Url,
        body: Option<&Value>,
    ) -> Result<Answer, ReadError> {
        let mut call = Call::new(method, url, access.key).up_to(MOST_ANSWER);
        if let Some(id) = access.acting_on {
            call = call.number_id(id);
        }
        if let Some(body) = body {
            call = call.json(body.to_string().into());
        }
        Ok(blotted(self.read(call).await?, access))
    }
}

impl Hook {
    const fn empty() -> Self {
        Self { id: String::new(), name: None, url: None, active: None, events: None, created_at: None }
    }
}

/// A refusal may repeat the address that it refuses. What is not refused is left as it is.
fn blotted(answer: Answer, access: &HookAccess<'_>) -> Answer {
    if (200..300).contains(&answer.status) {
        return answer;
    }
    let text = String::from_utf8_lossy(&answer.body).replace(access.url.path_token(), "[token]");
    Answer { body: Bytes::from(text), ..answer }
}

fn unusable(detail: &str) -> ReadError {
    ReadError::Unavailable { detail: detail.to_owned() }
}

fn shown(answer: &Answer, access: &HookAccess<'_>) -> Result<Hook, ReadError> {
    hook(&reply::success(answer, access.key)?.json).ok_or_else(|| unusable("the answer shows no webhook"))
}

/// The array that an answer is, or that it holds under one of these names. Under others it could be anything, and a list
/// that is empty by mistake would have a further webhook made.
fn list(json: &Value) -> Option<&Vec<Value>> {
    json.as_array().or_else(|| ["webhooks", "data", "items"].into_iter().find_map(|name| json.get(name)?.as_array()))
}

fn hook(json: &Value) -> Option<Hook> {
    let text = |field: &str| json.get(field)?.as_str();
    let word = |field: &str| text(field).filter(|word| (1..=MOST_WORD).contains(&word.len())).map(str::to_owned);
    let events = json.get("events").and_then(Value::as_array);
    Some(Hook {
        id: word("id")?,
        name: word("name"),
        url: text("url").map(|url| WebhookUrl::from_secret(SecretString::from(url))),
        active: json.get("active").and_then(Value::as_bool),
        events: events.map(|events| events.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        created_at: text("createdAt").and_then(reply::time),
    })
}

/// A bare array of rows, or an object that holds one.
fn log(body: &[u8]) -> Option<DeliveryLog> {
    let raw = |text: &[u8]| serde_json::from_slice::<Vec<Box<RawValue>>>(text).ok();
    let wrapped = || {
        let object: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(body).ok()?;
        object.values().find_map(|member| raw(member.get().as_bytes()))
    };
    let rows = raw(body).or_else(wrapped)?;
    let is_full = rows.len() >= LOG_ROWS;
    let rows = rows.iter().filter_map(|row| serde_json::from_str(row.get()).ok()).map(delivery).collect();
    Some(DeliveryLog { rows, is_full })
}

fn delivery(row: Row) -> LoggedDelivery {
    let is_delivered = match row.status.as_str() {
        Some(word) => word.eq_ignore_ascii_case("SUCCESS"),
        None => row.status_code.as_u64().is_some_and(|code| (200..300).contains(&code)),
    };
    let payload = row.payload.map(|payload| {
        // A text that holds the body is as good as the body.
        serde_json::from_str::<String>(payload.get()).unwrap_or_else(|_| payload.get().to_owned())
    });
    LoggedDelivery { is_delivered, at: row.created_at.as_str().and_then(reply::time), payload }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(body: &str) -> Option<Vec<(bool, Option<String>)>> {
        let log = log(body.as_bytes())?;
        assert!(!log.is_full);
        Some(log.rows.into_iter().map(|row| (row.is_delivered, row.payload)).collect())
    }

    #[test]
    fn a_log_is_read_in_either_envelope_and_without_its_odd_rows() {
        let payload = r#"{ "event": "message.sent", "data": {"big": 12345678901234567890123} }"#;
        let text = serde_json::to_string(payload).unwrap();
        let bare = format!(
            r#"[{{"status":"FAILED","statusCode":503,"payload":{payload},"createdAt":"2027-01-12T14:00:03.900Z"}},
                {{"status":"success","payload":{text}}}, 7, {{"statusCode":204}}, {{"status":null,"payload":null}}]"#
        );
        let expected = vec![
            // Byte for byte.
            (false, Some(payload.to_owned())),
            (true, Some(payload.to_owned())),
            (true, None),
            (false, None),
        ];
        assert_eq!(rows(&bare), Some(expected.clone()));
        assert_eq!(rows(&format!(r#"{{"total":4,"logs":{bare},"page":1}}"#)), Some(expected));
        assert_eq!(rows("[]"), Some(vec![]));
        for odd in [r#"{"error":"x"}"#, "7", "<html>"] {
            assert_eq!(rows(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_log_of_as_many_rows_as_there_can_be_is_full() {
        for (rows, is_full) in [(LOG_ROWS - 1, false), (LOG_ROWS, true)] {
            assert_eq!(log(json!(vec![json!({}); rows]).to_string().as_bytes()).unwrap().is_full, is_full);
        }
    }

    #[test]
    fn a_webhook_shows_what_it_shows() {
        let whole = json!({
            "id": "wh_1", "name": "n", "url": "https://h/webhooks/t", "active": false, "events": ["a", 7, "b"],
            "createdAt": "2027-01-10T09:00:00.000Z", "apiKeys": [{ "id": "key_1" }],
        });
        let shown = hook(&whole).unwrap();
        assert_eq!((shown.id.as_str(), shown.name.as_deref(), shown.active), ("wh_1", Some("n"), Some(false)));
        assert_eq!(shown.events.unwrap().into_iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(shown.url.unwrap().expose(), "https://h/webhooks/t");
        assert_eq!(shown.created_at, Some("2027-01-10T09:00:00Z".parse().unwrap()));
        let bare = hook(&json!({ "id": "wh_2", "events": null })).unwrap();
        assert!(bare.name.is_none() && bare.url.is_none() && bare.active.is_none() && bare.events.is_none());
        for odd in [json!({ "id": "" }), json!({ "id": 7 }), json!(null), json!({ "id": "x".repeat(300) })] {
            assert!(hook(&odd).is_none(), "{odd}");
        }
        for wrapped in [json!([whole]), json!({ "total": 1, "webhooks": [whole] })] {
            assert_eq!(list(&wrapped).map(Vec::len), Some(1));
        }
        assert!(list(&json!({ "notice": "x", "details": [] })).is_none());
    }
}
