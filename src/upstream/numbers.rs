//! Numbers at Pilot Status: which the account has, and how one stands.

use jiff::Timestamp;
use reqwest::{Method, Url};
use serde_json::Value;

use super::{
    ReadError, Slot, Upstream,
    call::Call,
    join,
    reply::{self, Body},
};
use crate::domain::secret::NumberKey;

/// Longest list of numbers. An account has up to a thousand or so, each with a row of a kilobyte or two.
const MOST_ANSWER: usize = 16 << 20;

/// Longest id, phone and name that are taken over.
const MOST_WORD: usize = 200;

/// A number of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedNumber {
    /// Its id.
    pub id: String,
    /// Its phone as it is written there: digits, with or without a plus.
    pub phone: Option<String>,
    /// Its name for people.
    pub display_name: Option<String>,
}

/// How a number's connection stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// As Pilot Status writes it; `OPEN` is the one that sends.
    pub state: String,
    /// It is the last one known, and Pilot Status could not look again.
    pub stale: bool,
}

/// What else is known of a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether it may send, a missing payment apart; `None` if that is not told.
    pub sendable: Option<bool>,
    /// Why not, if that is told.
    pub reason: Option<String>,
    /// Whether everything is paid: `Some(None)`, or since when not; `None` if that is not told.
    pub unpaid_since: Option<Option<Timestamp>>,
}

impl Upstream {
    /// The numbers that a key reaches.
    pub async fn numbers(&self, _slot: &Slot, key: &NumberKey) -> Result<Vec<ListedNumber>, ReadError> {
        let call = Call::new(Method::GET, self.numbers_url(&[]), key).up_to(MOST_ANSWER);
        let answer = self.read(call).await?;
        let body = reply::expect_success(&answer, key)?;
        let rows = listed(&body.json);
        rows.ok_or_else(|| ReadError::Unavailable { detail: "the answer lists no numbers".to_owned() })
    }

    /// How the connection of the number with this id stands.
    pub async fn link(&self, _slot: &Slot, key: &NumberKey, id: &str) -> Result<Link, ReadError> {
        let answer = self.read(Call::new(Method::GET, self.numbers_url(&[id, "status"]), key)).await?;
        let body = reply::expect_success(&answer, key)?;
        let link = link(&body);
        link.ok_or_else(|| ReadError::Unavailable { detail: "the answer tells no state".to_owned() })
    }

    /// What else is known of it.
    pub async fn health(&self, _slot: &Slot, key: &NumberKey, id: &str) -> Result<Health, ReadError> {
        let answer = self.read(Call::new(Method::GET, self.numbers_url(&[id]), key)).await?;
        Ok(health(&reply::expect_success(&answer, key)?))
    }

    fn numbers_url(&self, below: &[&str]) -> Url {
        join(&self.base, &[&["v1", "numbers"], below].concat())
    }
}

fn listed(body: &Value) -> Option<Vec<ListedNumber>> {
    let wrapped = || ["numbers", "data", "items"].into_iter().find_map(|name| body.get(name)?.as_array());
    let rows = body.as_array().or_else(wrapped)?;
    Some(rows.iter().filter_map(listed_number).collect())
}

fn listed_number(row: &Value) -> Option<ListedNumber> {
    let word = |field: &str| row.get(field)?.as_str().filter(|word| (1..=MOST_WORD).contains(&word.len()));
    Some(ListedNumber {
        id: word("id")?.to_owned(),
        phone: word("number").map(str::to_owned),
        display_name: word("name").or_else(|| word("displayName")).map(str::to_owned),
    })
}

fn link(body: &Body<'_>) -> Option<Link> {
    let state = body.json.get("state")?.as_str().filter(|word| !word.is_empty())?;
    let stale = body.json.get("stale").and_then(Value::as_bool).unwrap_or_default();
    Some(Link { state: body.clean(state), stale })
}

fn health(body: &Body<'_>) -> Health {
    let health = body.json.get("health");
    let text = |field: &str| health?.get(field)?.as_str().filter(|text| !text.is_empty());
    let unpaid_since = match body.json.get("extraChargeUnpaidSince") {
        Some(Value::Null) => Some(None),
        Some(Value::String(text)) => reply::time(text).map(Some),
        _ => None,
    };
    Health {
        sendable: health.and_then(|health| health.get("sendable")?.as_bool()),
        reason: text("reason").or_else(|| text("code")).map(|text| body.clean(text)),
        unpaid_since,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use secrecy::SecretString;
    use serde_json::json;

    use super::*;
    use crate::upstream::call::Answer;

    const KEY: &str = "ps_0123456789abcdef";

    fn with<T>(body: &Value, read: impl FnOnce(&Body<'_>) -> T) -> T {
        let key = NumberKey::from_secret(SecretString::from(KEY)).unwrap();
        let answer = Answer { status: 200, headers: HeaderMap::new(), body: body.to_string().into() };
        read(&reply::expect_success(&answer, &key).unwrap())
    }

    #[test]
    fn a_list_is_read_without_its_odd_rows() {
        let rows = json!([
            { "id": "wn_1", "number": "5511", "name": "Loja", "apiKeys": [{ "keyLast4": "x" }] },
            { "id": "wn_2", "number": null, "displayName": "Filial" },
            { "id": 7, "number": "5512" },
            { "number": "5513" },
            7,
        ]);
        let number = |id: &str, phone: Option<&str>, name: &str| ListedNumber {
            id: id.to_owned(),
            phone: phone.map(str::to_owned),
            display_name: Some(name.to_owned()),
        };
        let expected = vec![number("wn_1", Some("5511"), "Loja"), number("wn_2", None, "Filial")];
        assert_eq!(listed(&rows), Some(expected.clone()));
        assert_eq!(listed(&json!({ "data": rows })), Some(expected));
        assert_eq!(listed(&json!({ "error": "x" })), None);
    }

    #[test]
    fn what_is_not_told_is_not_known() {
        let told = json!({
            "health": { "sendable": false, "code": "X1", "reason": format!("flagged {KEY}") },
            "extraChargeUnpaidSince": "2027-01-12T12:00:00.000Z",
        });
        let since = "2027-01-12T12:00:00Z".parse().unwrap();
        let reason = Some("flagged [key]".to_owned());
        assert_eq!(with(&told, health), Health { sendable: Some(false), reason, unpaid_since: Some(Some(since)) });
        let paid = json!({ "health": { "sendable": true, "code": null }, "extraChargeUnpaidSince": null });
        assert_eq!(with(&paid, health), Health { sendable: Some(true), reason: None, unpaid_since: Some(None) });
        let nothing = Health { sendable: None, reason: None, unpaid_since: None };
        for odd in [json!({}), json!({ "health": 7, "extraChargeUnpaidSince": "soon" }), json!([])] {
            assert_eq!(with(&odd, health), nothing, "{odd}");
        }
        let state = json!({ "state": "CLOSE", "stale": true });
        assert_eq!(with(&state, link), Some(Link { state: "CLOSE".to_owned(), stale: true }));
        assert_eq!(with(&json!({ "state": "" }), link), None);
    }
}
