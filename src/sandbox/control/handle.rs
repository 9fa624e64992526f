//! Owns the in-process side of the control API.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::faults::Fault;
use super::super::ledger::{Counts, SeenRequest};
use super::super::messages::{self, Status, Witness};
use super::super::state::{Shared, held};
use super::super::switches::Switches;
use super::super::webhooks::{self, Event, Treatment};

/// Sets switches and faults of a running double and reads what it saw.
#[derive(Clone)]
pub struct Control(Shared);

/// A message, as tests want to see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeenMessage {
    /// The `id` of the 202.
    pub id: String,
    /// The `correlationId` of the 202.
    pub correlation_id: String,
    /// The wamid, once SENT.
    pub external_id: Option<String>,
    /// The sender.
    pub number_id: String,
    /// Phone, BSUID or JID as sent.
    pub recipient: String,
    /// Where it is now.
    pub status: Status,
    /// Of a failure.
    pub error_code: Option<String>,
    /// Under which it was sent.
    pub idempotency_key: Option<String>,
    /// Sends really accepted under that key; 1 without a key.
    pub accepted: u64,
}

/// What to change on a number; and what is, in the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NumberChange {
    /// Sends are refused with `NUMBER_BLOCKED` while true.
    pub extra_charge_unpaid: Option<bool>,
    /// Messages wait QUEUED while it is not `OPEN`.
    pub state: Option<NumberState>,
}

/// Connection of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)]
pub enum NumberState {
    Open,
    Connecting,
    Close,
}

impl NumberState {
    fn word(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Connecting => "CONNECTING",
            Self::Close => "CLOSE",
        }
    }
}

impl Control {
    pub(in super::super) fn new(state: Shared) -> Self {
        Self(state)
    }

    /// The switches as they stand.
    pub fn switches(&self) -> Switches {
        (*self.0.switches()).clone()
    }

    /// Replaces the switches.
    pub fn set_switches(&self, switches: Switches) {
        self.0.set_switches(switches);
    }

    /// Puts some switches over the others.
    ///
    /// # Errors
    ///
    /// Names the first unknown or bad one; nothing is changed then.
    pub fn patch_switches(&self, patch: &Map<String, Value>) -> Result<(), String> {
        let switches = self.0.switches().patched(patch)?;
        self.0.set_switches(switches);
        Ok(())
    }

    /// Adds a fault rule.
    ///
    /// # Errors
    ///
    /// Says what does not fit together in the rule.
    pub fn add_fault(&self, fault: Fault) -> Result<(), &'static str> {
        held(&self.0.faults).add(fault)
    }

    /// The rules not yet used up.
    pub fn faults(&self) -> Vec<Fault> {
        held(&self.0.faults).list()
    }

    /// Drops all rules.
    pub fn clear_faults(&self) {
        held(&self.0.faults).clear();
    }

    /// Requests seen under `/v1`, oldest first.
    pub fn requests(&self) -> Vec<SeenRequest> {
        held(&self.0.ledger).requests().cloned().collect()
    }

    /// Messages kept, oldest first.
    pub fn messages(&self) -> Vec<SeenMessage> {
        let mut rows: Vec<SeenMessage> = {
            let messages = held(&self.0.messages);
            let seen = |m: &messages::Message| SeenMessage {
                id: m.id.clone(),
                correlation_id: m.correlation_id.clone(),
                external_id: m.external_id.clone(),
                number_id: m.draft.number_id.clone(),
                recipient: m.draft.destination.clone(),
                status: m.status,
                error_code: m.error_code.clone(),
                idempotency_key: m.draft.idempotency_key.clone(),
                accepted: 1,
            };
            messages.rows().map(seen).collect()
        };
        let ledger = held(&self.0.ledger);
        for row in &mut rows {
            if let Some(key) = &row.idempotency_key {
                row.accepted = ledger.accepted_under(&row.number_id, key);
            }
        }
        rows
    }

    /// Counters.
    pub fn stats(&self) -> Counts {
        self.0.stats.counts()
    }

    /// Events not yet delivered or given up.
    pub fn deliveries_waiting(&self) -> usize {
        self.0.outbox.waiting()
    }

    /// Delivers any JSON to the webhooks that want it; says to how many.
    ///
    /// # Errors
    ///
    /// The bytes are not JSON.
    pub fn emit(&self, payload: impl Into<Bytes>, number: Option<&str>) -> Result<usize, serde_json::Error> {
        let payload = payload.into();
        let value: Value = serde_json::from_slice(&payload)?;
        held(&self.0.inbox).take_event(&value);
        let named = value["data"]["numberId"].as_str();
        let named = named.filter(|n| held(&self.0.numbers).get(n).is_ok());
        let event = Event {
            number_id: number.or(named).map(str::to_owned),
            name: value["event"].as_str().map(str::to_owned),
            payload,
            line: None,
        };
        let treatment = Treatment::default();
        Ok(webhooks::emit(&self.0, &Arc::new(event), &treatment, Witness::None).len())
    }

    /// Changes a number and says how it is now.
    ///
    /// # Errors
    ///
    /// No such number.
    pub fn change_number(&self, id: &str, change: &NumberChange) -> Result<NumberChange, String> {
        let changed = held(&self.0.numbers).change(id, |number| {
            if let Some(state) = change.state {
                state.word().clone_into(&mut number.state);
            }
            match change.extra_charge_unpaid {
                Some(true) => {
                    number.unpaid_since.get_or_insert_with(Timestamp::now);
                }
                Some(false) => number.unpaid_since = None,
                None => {}
            }
        });
        let number = changed.map_err(|_| format!("no number {id}"))?;
        if let Some(state) = change.state {
            messages::release(&self.0, id, state == NumberState::Open);
        }
        Ok(NumberChange {
            extra_charge_unpaid: Some(number.unpaid_since.is_some()),
            state: match number.state.as_str() {
                "OPEN" => Some(NumberState::Open),
                "CONNECTING" => Some(NumberState::Connecting),
                _ => Some(NumberState::Close),
            },
        })
    }

    /// Forgets messages, requests, counters, faults, inbound rows and pending
    /// deliveries, and puts the switches back. Keys, numbers, templates and
    /// webhooks stay.
    pub fn reset(&self) {
        self.0.reset();
    }
}
