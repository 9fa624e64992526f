//! Whether a number could send now, as far as Pilot Status tells.

use jiff::Timestamp;

use super::{Admin, AdminError};
use crate::{
    domain::ids::NumberName,
    identity::{Acting, ViewNumbers},
    keys::{InUse, Number},
    upstream::{KeyStanding, ReadError, Slot},
};

/// The state that sends.
const OPEN: &str = "OPEN";

/// The answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is so.
    Yes,
    /// It is not.
    No,
    /// Nobody knows.
    Unknown,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Of which number.
    pub name: NumberName,
    /// Its key is accepted.
    pub key_accepted: Finding,
    /// It is connected.
    pub connected: Finding,
    /// Its connection as Pilot Status writes it.
    pub raw_state: Option<String>,
    /// It may send, a missing payment apart.
    pub sendable: Finding,
    /// Why not.
    pub blocked_reason: Option<String>,
    /// Everything is paid.
    pub paid: Finding,
    /// Since when not.
    pub unpaid_since: Option<Timestamp>,
    /// Why something was not found out.
    pub unknown: Vec<String>,
}

impl Finding {
    fn of(told: Option<bool>) -> Self {
        match told {
            Some(true) => Self::Yes,
            Some(false) => Self::No,
            None => Self::Unknown,
        }
    }
}

impl Admin {
    /// Finds out how a number stands. What is found is no error, and neither is that nothing is.
    pub async fn check_number(&self, _: &Acting<ViewNumbers>, word: &str) -> Result<Checked, AdminError> {
        let name = self.keys.find(word).ok_or_else(|| super::not_found(word))?;
        // Held for as long as the calls last, so that the key does not change under them. One that is being changed, or lost,
        // is waited for by nobody who only looks.
        let used = self.keys.use_now(&name);
        let number = used.as_ref().ok().map(InUse::number).cloned().or_else(|| self.keys.get(&name));
        let number = number.ok_or_else(|| super::not_found(word))?;
        let mut checked = Checked {
            name,
            key_accepted: Finding::Unknown,
            connected: Finding::Unknown,
            raw_state: None,
            sendable: Finding::Unknown,
            blocked_reason: None,
            paid: Finding::Unknown,
            unpaid_since: None,
            unknown: Vec::new(),
        };
        match self.upstream.read_slot().await {
            Ok(slot) => {
                let standing = match &used {
                    Ok(_) => Some(self.upstream.key_standing(&slot, &number.key).await),
                    Err(_) => None,
                };
                self.look(&slot, &number, standing, &mut checked).await;
            }
            Err(error) => checked.unknown.push(error.to_string()),
        }
        Ok(checked)
    }

    async fn look(&self, slot: &Slot, number: &Number, standing: Option<KeyStanding>, checked: &mut Checked) {
        checked.key_accepted = match standing {
            Some(KeyStanding::Accepted) => Finding::Yes,
            Some(KeyStanding::Refused) => Finding::No,
            None => {
                checked.unknown.push("key_accepted: the key is being changed, or was lost".to_owned());
                Finding::Unknown
            }
            Some(KeyStanding::Unknown { detail }) => {
                checked.unknown.push(format!("key_accepted: {detail}"));
                Finding::Unknown
            }
        };
        // The account-wide key sees the number also if its own is dead.
        let account = self.keys.managing(number).map(|(tenant, id)| (tenant.as_key().clone(), id));
        let (key, id) = match account {
            Some(access) => access,
            None if !matches!(checked.key_accepted, Finding::Yes) => {
                checked.unknown.push("connected, sendable, paid: no key sees the number".to_owned());
                return;
            }
            None => match self.upstream_id(slot, number).await {
                Ok(id) => (number.key.clone(), id),
                Err(why) => return checked.unknown.push(why),
            },
        };
        match self.upstream.link(slot, &key, &id).await {
            Ok(link) => {
                let told = (!link.stale).then_some(link.state == OPEN);
                if link.stale {
                    checked.unknown.push("connected: pilot status tells the last state that it knows".to_owned());
                }
                checked.connected = Finding::of(told);
                checked.raw_state = Some(link.state);
            }
            Err(error) => checked.unknown.push(format!("connected: {error}")),
        }
        match self.upstream.health(slot, &key, &id).await {
            Ok(health) => {
                checked.sendable = Finding::of(health.sendable);
                checked.blocked_reason = health.reason;
                checked.paid = Finding::of(health.unpaid_since.map(|since| since.is_none()));
                checked.unpaid_since = health.unpaid_since.flatten();
                for (field, told) in [("sendable", checked.sendable), ("paid", checked.paid)] {
                    if told == Finding::Unknown {
                        checked.unknown.push(format!("{field}: pilot status does not tell"));
                    }
                }
            }
            Err(error) => checked.unknown.push(format!("sendable, paid: {error}")),
        }
    }

    /// The number's id at Pilot Status, looked for by its phone if it is not known.
    async fn upstream_id(&self, slot: &Slot, number: &Number) -> Result<String, String> {
        if let Some(id) = &number.upstream_id {
            return Ok(id.clone());
        }
        let listed = self.upstream.numbers(slot, &number.key).await.map_err(|error: ReadError| error.to_string())?;
        let digits = |text: &str| text.trim_start_matches('+').to_owned();
        let wanted = number.phone.as_ref().map(|phone| digits(phone.as_str()));
        let found = match (&wanted, &listed[..]) {
            (Some(wanted), rows) => rows.iter().find(|row| row.phone.as_deref().map(digits).as_ref() == Some(wanted)),
            // A number's key that reaches one number alone is that number's.
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        let unknown = || "the number's id at pilot status is not known; set upstream_id".to_owned();
        found.map(|row| row.id.clone()).ok_or_else(unknown)
    }
}
