//! Owns the memory of idempotency keys: number and key, for a day.
//!
//! Documented: the scope, the day, the three refusals, that only 2xx answers
//! are remembered. Ours: a key whose first call still runs is REUSED, not
//! IN_USE, when the body differs; what counts as the same body is a switch.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::super::call::Call;
use super::super::errors::ApiError;
use super::super::state::{Shared, held};
use super::super::switches::Comparison;

type Place = (String, String);

/// Bodies under both comparisons, so that the switch may change in between.
#[derive(Clone, PartialEq, Eq)]
struct Fingerprint {
    value: [u8; 32],
    bytes: [u8; 32],
}

struct Entry {
    fingerprint: Fingerprint,
    made: Instant,
    turn: u64,
    /// `None` while the first call runs.
    answer: Option<Bytes>,
}

pub struct Idempotency {
    entries: HashMap<Place, Entry>,
    order: VecDeque<(Place, u64)>,
    turn: u64,
    keep: usize,
}

impl Idempotency {
    pub fn new(keep: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), turn: 0, keep: keep.max(1) }
    }

    pub fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
    }

    fn remove(&mut self, place: &Place, turn: u64) {
        if self.entries.get(place).is_some_and(|e| e.turn == turn) {
            self.entries.remove(place);
        }
    }
}

pub enum Claimed {
    /// The call goes on; `None` if it carries no key.
    First(Option<Claim>),
    /// It was answered before, with this body.
    Replay(Bytes),
}

/// A key in use. Dropped without `done`, it is free again.
pub struct Claim {
    state: Shared,
    place: Place,
    turn: u64,
}

impl Claim {
    /// Remembers the 2xx answer.
    pub fn done(self, answer: Bytes) {
        let mut memory = held(&self.state.idempotency);
        if let Some(entry) = memory.entries.get_mut(&self.place)
            && entry.turn == self.turn
        {
            entry.answer = Some(answer);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut memory = held(&self.state.idempotency);
        let running = |e: &Entry| e.turn == self.turn && e.answer.is_none();
        if memory.entries.get(&self.place).is_some_and(running) {
            memory.remove(&self.place, self.turn);
        }
    }
}

/// Claims the call's key for a number.
pub fn claim(state: &Shared, call: &Call, number: &str) -> Result<Claimed, ApiError> {
    let Some(raw) = call.headers.get("idempotency-key") else {
        return Ok(Claimed::First(None));
    };
    let key = raw
        .to_str()
        .ok()
        .filter(|k| is_key(k))
        .ok_or_else(|| ApiError::coded(400, "IDEMPOTENCY_KEY_INVALID", "Idempotency key is invalid"))?;
    let value = call.json.as_ref().map(ToString::to_string);
    let fingerprint = Fingerprint {
        value: Sha256::digest(value.unwrap_or_default()).into(),
        bytes: Sha256::digest(&call.body).into(),
    };
    let ttl = Duration::from_millis(call.switches.idempotency_ttl_ms);
    let place = (number.to_owned(), key.to_owned());

    let mut memory = held(&state.idempotency);
    if let Some(entry) = memory.entries.get(&place)
        && (entry.answer.is_none() || entry.made.elapsed() < ttl)
    {
        let same = match call.switches.idempotency_compare {
            Comparison::Value => entry.fingerprint.value == fingerprint.value,
            Comparison::Bytes => entry.fingerprint.bytes == fingerprint.bytes,
        };
        return match &entry.answer {
            _ if !same => {
                Err(ApiError::coded(409, "IDEMPOTENCY_KEY_REUSED", "Idempotency key was used with another body"))
            }
            Some(answer) => Ok(Claimed::Replay(answer.clone())),
            None => Err(ApiError::coded(
                409,
                "IDEMPOTENCY_KEY_IN_USE",
                "The first request with this idempotency key is still running",
            )),
        };
    }
    memory.turn += 1;
    let turn = memory.turn;
    memory.entries.insert(place.clone(), Entry { fingerprint, made: Instant::now(), turn, answer: None });
    memory.order.push_back((place.clone(), turn));
    while memory.order.len() > memory.keep {
        if let Some((oldest, turn)) = memory.order.pop_front() {
            memory.remove(&oldest, turn);
        }
    }
    drop(memory);
    Ok(Claimed::First(Some(Claim { state: Shared::clone(state), place, turn })))
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.chars().count() <= 255 && !key.chars().any(char::is_control)
}
