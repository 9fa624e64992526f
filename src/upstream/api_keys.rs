//! Keys, as Pilot Status keeps them: the list that shows them, changing one, and whether one is accepted.
//!
//! Answers hold keys that work. They go straight into types that hide and wipe them, the bytes of the answer are wiped
//! behind them, and neither an error nor a debug print of what stands here tells a key. A key's id, which is as good as the
//! key, is not even read.

use std::collections::BTreeMap;

use bytes::Bytes;
use reqwest::{Method, Url};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use zeroize::Zeroize;

use super::{
    ReadError, Refusal, Slot, Upstream,
    call::{Answer, Call, Trouble},
    join, reply,
};
use crate::domain::secret::{NumberKey, TenantKey};

/// Longest list of keys. An account has up to a thousand numbers or so, each with a row of a few hundred bytes.
const MOST_ANSWER: usize = 16 << 20;

/// Longest id, phone and name that are taken over.
const MOST_WORD: usize = 256;

/// A number of the account with its key, as the list of keys shows it.
#[derive(Clone, Debug)]
pub struct ListedKey {
    /// The number's id.
    pub number_id: String,
    /// Its phone as it is written there: digits, with or without a plus.
    pub phone: Option<String>,
    /// Its name for people.
    pub display_name: Option<String>,
    /// Its key; `None` if the key is too old to be shown.
    pub key: Option<NumberKey>,
}

/// What became of changing a number's key.
#[derive(Clone, Debug)]
pub enum KeyChange {
    /// The number has this key now, and the one before is dead.
    New(NumberKey),
    /// Refused: the key is the one it was.
    Refused(Refusal),
    /// Never arrived: no connection stood.
    NotSent {
        /// For operators.
        detail: String,
    },
    /// Perhaps changed, perhaps not; a new key, if there is one, was not seen.
    Unknown {
        /// For operators.
        detail: String,
    },
}

/// Whether a number's key is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyStanding {
    /// It is, though perhaps not for everything.
    Accepted,
    /// It is not.
    Refused,
    /// No answer, or none that tells.
    Unknown {
        /// For operators.
        detail: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    #[serde(default)]
    number_id: Value,
    #[serde(default)]
    number: Value,
    #[serde(default)]
    display_name: Value,
    #[serde(default)]
    revealable: Value,
    #[serde(default)]
    key: Option<SecretString>,
}

/// Two calls answer with a new key and name the number in two ways.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    #[serde(default)]
    number_id: Value,
    #[serde(default)]
    whatsapp_number_id: Value,
    key: SecretString,
}

impl Upstream {
    /// The numbers of the account that have a key.
    pub async fn keys(&self, _slot: &Slot, tenant: &TenantKey) -> Result<Vec<ListedKey>, ReadError> {
        let call = Call::new(Method::GET, self.api_keys(&[]), tenant.as_key()).up_to(MOST_ANSWER);
        let answer = self.read(call).await?;
        if !is_success(&answer) {
            return Err(no_success(&answer, tenant.as_key()));
        }
        let rows = listed(&answer.body);
        wipe(answer.body);
        rows.ok_or_else(|| ReadError::Unavailable { detail: "the answer lists no keys".to_owned() })
    }

    /// Gives the number with this id a new key.
    pub async fn change_key(&self, _slot: &Slot, tenant: &TenantKey, number_id: &str) -> KeyChange {
        let body = json!({ "whatsappNumberId": number_id }).to_string();
        let call = Call::new(Method::POST, self.api_keys(&[]), tenant.as_key()).json(body.into());
        self.changed(call, tenant.as_key(), Some(number_id)).await
    }

    /// Gives the number that this key is of a new one.
    pub async fn change_own_key(&self, _slot: &Slot, key: &NumberKey) -> KeyChange {
        self.changed(Call::new(Method::POST, self.api_keys(&["regenerate"]), key), key, None).await
    }

    /// Whether a number's key is accepted, told by the smallest of its reads.
    pub async fn key_standing(&self, _slot: &Slot, key: &NumberKey) -> KeyStanding {
        let mut url = join(&self.base, &["v1", "messages", "history"]);
        url.query_pairs_mut().append_pair("page", "1").append_pair("pageSize", "1");
        match self.read(Call::new(Method::GET, url, key)).await {
            Ok(answer) => standing(&answer, key),
            Err(error) => KeyStanding::Unknown { detail: error.to_string() },
        }
    }

    async fn changed(&self, call: Call, key: &NumberKey, number_id: Option<&str>) -> KeyChange {
        match call.make(&self.http, self.timeout).await {
            Ok(answer) => of_change(answer, key, number_id),
            Err(Trouble::NotSent(detail)) => KeyChange::NotSent { detail },
            Err(Trouble::NoAnswer(detail)) => KeyChange::Unknown { detail },
        }
    }

    fn api_keys(&self, below: &[&str]) -> Url {
        join(&self.base, &[&["v1", "api-keys"], below].concat())
    }
}

fn is_success(answer: &Answer) -> bool {
    (200..300).contains(&answer.status)
}

fn no_success(answer: &Answer, key: &NumberKey) -> ReadError {
    let unread = || ReadError::Unavailable { detail: format!("HTTP {}", answer.status) };
    reply::success(answer, key).err().unwrap_or_else(unread)
}

/// A key that is shown is taken, unless the row says that it is not one.
fn listed(body: &[u8]) -> Option<Vec<ListedKey>> {
    let array = |text| serde_json::from_slice::<Vec<&RawValue>>(text).ok();
    let wrapped = || {
        let object: BTreeMap<String, &RawValue> = serde_json::from_slice(body).ok()?;
        ["apiKeys", "keys", "data", "items"].into_iter().find_map(|name| array(object.get(name)?.get().as_bytes()))
    };
    let rows = array(body).or_else(wrapped)?;
    Some(rows.into_iter().filter_map(|row| serde_json::from_str(row.get()).ok().and_then(listed_key)).collect())
}

fn listed_key(row: Row) -> Option<ListedKey> {
    let key = row.key.filter(|_| row.revealable.as_bool() != Some(false));
    Some(ListedKey {
        number_id: word(&row.number_id)?,
        phone: word(&row.number),
        display_name: word(&row.display_name),
        key: key.and_then(|key| NumberKey::from_secret(key).ok()),
    })
}

/// An answer that says yes and shows no key of the number meant leaves the key unknown: it may well have been changed.
fn of_change(answer: Answer, key: &NumberKey, number_id: Option<&str>) -> KeyChange {
    if !is_success(&answer) {
        return match no_success(&answer, key) {
            ReadError::Refused(refusal) => KeyChange::Refused(refusal),
            error @ (ReadError::NotFound | ReadError::Unavailable { .. }) => unknown(&error.to_string()),
        };
    }
    let made = serde_json::from_slice::<Made>(&answer.body);
    wipe(answer.body);
    let Ok(made) = made else { return unknown("the answer shows no key") };
    let named = word(&made.number_id).or_else(|| word(&made.whatsapp_number_id));
    match NumberKey::from_secret(made.key) {
        Ok(_) if number_id.zip(named.as_deref()).is_some_and(|(meant, named)| meant != named) => {
            unknown("the answer is about another number")
        }
        // Had it stayed the same, the call would have done nothing.
        Ok(new) if new.expose() == key.expose() => unknown("the answer shows the key that was to be changed"),
        Ok(new) => KeyChange::New(new),
        Err(_) => unknown("the answer shows no key that could be used"),
    }
}

fn unknown(detail: &str) -> KeyChange {
    KeyChange::Unknown { detail: detail.to_owned() }
}

/// Only a 401 says that a key is dead. What takes a plan or a right that is not there has looked at the key first.
fn standing(answer: &Answer, key: &NumberKey) -> KeyStanding {
    match answer.status {
        200..300 | 402 | 403 => KeyStanding::Accepted,
        401 => KeyStanding::Refused,
        _ => KeyStanding::Unknown { detail: no_success(answer, key).to_string() },
    }
}

fn word(value: &Value) -> Option<String> {
    value.as_str().filter(|word| (1..=MOST_WORD).contains(&word.len())).map(str::to_owned)
}

/// Wipes what nobody else holds.
fn wipe(body: Bytes) {
    if let Ok(mut bytes) = body.try_into_mut() {
        bytes.as_mut().zeroize();
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::upstream::RefusalClass;

    const OLD: &str = "ps_old-0123456789abcdef";
    const NEW: &str = "ps_new-0123456789abcdef";

    fn key(text: &str) -> NumberKey {
        NumberKey::from_secret(SecretString::from(text)).unwrap()
    }

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, headers: HeaderMap::new(), body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    fn change(status: u16, body: &Value) -> KeyChange {
        of_change(answer(status, &body.to_string()), &key(OLD), Some("wn_1"))
    }

    #[test]
    fn a_list_is_read_without_its_odd_rows() {
        let rows = json!([
            { "numberId": "wn_1", "number": "5511", "displayName": "Loja", "keyId": "k_1", "keyLast4": "cdef", "key": NEW,
              "revealable": true },
            { "numberId": "wn_2", "number": null, "displayName": 7, "keyId": "k_2", "keyLast4": null, "key": null,
              "revealable": false },
            { "numberId": null, "key": NEW, "revealable": true },
            { "numberId": "wn_3", "key": 7, "revealable": true },
            { "numberId": "wn_4", "key": NEW, "revealable": false },
            { "numberId": "wn_5", "key": "short", "revealable": true },
            { "numberId": "wn_6", "key": NEW },
            7,
        ]);
        let expected = [
            ("wn_1", Some("5511"), Some("Loja"), Some(NEW)),
            ("wn_2", None, None, None),
            ("wn_4", None, None, None),
            ("wn_5", None, None, None),
            ("wn_6", None, None, Some(NEW)),
        ];
        for body in [rows.clone(), json!({ "total": 8, "data": rows })] {
            let listed = listed(body.to_string().as_bytes()).unwrap();
            let told: Vec<_> = listed
                .iter()
                .map(|row| {
                    let key = row.key.as_ref().map(NumberKey::expose);
                    (row.number_id.as_str(), row.phone.as_deref(), row.display_name.as_deref(), key)
                })
                .collect();
            assert_eq!(told, expected);
            assert!(!format!("{listed:?}").contains(NEW));
        }
        for odd in [r#"{"error":"x"}"#, "7", "<html>", ""] {
            assert!(listed(odd.as_bytes()).is_none(), "{odd}");
        }
    }

    #[test]
    fn both_calls_that_change_a_key_answer_with_the_new_one() {
        let by_tenant =
            json!({ "numberId": "wn_1", "keyId": "k", "keyPrefix": "ps_new", "keyLast4": null, "key": NEW });
        let own = json!({ "id": "k", "name": "Default", "key": NEW, "scope": "number", "whatsappNumberId": "wn_1" });
        for body in [by_tenant, own, json!({ "key": NEW })] {
            let KeyChange::New(new) = change(201, &body) else { panic!("{body}") };
            assert_eq!(new.expose(), NEW);
        }
    }

    #[test]
    fn a_yes_without_a_key_of_the_number_meant_leaves_it_unknown() {
        let odd = [
            (json!({}), "the answer shows no key"),
            (json!({ "key": null }), "the answer shows no key"),
            (json!(["x"]), "the answer shows no key"),
            (json!({ "key": "short" }), "the answer shows no key that could be used"),
            (json!({ "key": OLD }), "the answer shows the key that was to be changed"),
            (json!({ "numberId": "wn_2", "key": NEW }), "the answer is about another number"),
            (json!({ "whatsappNumberId": "wn_2", "key": NEW }), "the answer is about another number"),
        ];
        for (body, expected) in odd {
            let KeyChange::Unknown { detail } = change(200, &body) else { panic!("{body}") };
            assert_eq!(detail, expected, "{body}");
        }
    }

    #[test]
    fn only_a_clear_no_says_that_the_key_is_the_one_it_was() {
        let classes = [
            (400, RefusalClass::Invalid),
            (401, RefusalClass::KeyRefused),
            (403, RefusalClass::Forbidden),
            (404, RefusalClass::NotFound),
            (409, RefusalClass::Conflict),
            (429, RefusalClass::RateLimited),
        ];
        let said = json!({ "error": format!("no: {OLD} {NEW}"), "code": "NUMBER_NOT_FOUND" });
        for (status, class) in classes {
            let KeyChange::Refused(refusal) = change(status, &said) else { panic!("{status}") };
            let expected = ("NUMBER_NOT_FOUND", "no: [key] [key]");
            assert_eq!((refusal.status, refusal.class), (status, class));
            assert_eq!((refusal.code.as_deref().unwrap(), refusal.message.as_str()), expected);
        }
        for status in [302, 408, 500, 502, 503, 504] {
            let changed = change(status, &said);
            assert!(matches!(&changed, KeyChange::Unknown { .. }), "{status}");
            let printed = format!("{changed:?}");
            assert!(!printed.contains(OLD) && !printed.contains(NEW), "{printed}");
        }
    }

    #[test]
    fn only_a_401_says_that_a_key_is_dead() {
        let of = |status| standing(&answer(status, "{}"), &key(OLD));
        for status in [200, 206, 402, 403] {
            assert_eq!(of(status), KeyStanding::Accepted, "{status}");
        }
        assert_eq!(of(401), KeyStanding::Refused);
        for status in [302, 400, 404, 408, 429, 500, 503] {
            assert!(matches!(of(status), KeyStanding::Unknown { .. }), "{status}");
        }
    }
}
