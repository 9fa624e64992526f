//! Calls that may be made twice without harm, with a number's key.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{InUse, KeyRing, NotUsable};
use crate::{
    domain::ids::NumberName,
    upstream::{ReadError, RefusalClass},
};

/// One such call. It takes leave first, then the [`key`](Self::key), and is made until it is
/// [answered](Self::is_answered).
pub struct Asking<'a> {
    keys: &'a KeyRing,
    name: &'a NumberName,
    stop: Instant,
    is_repeated: bool,
}

impl KeyRing {
    /// A call with a number's key that waits for a change of the key up to `patience`.
    pub fn asking<'a>(&'a self, name: &'a NumberName, patience: Duration) -> Asking<'a> {
        Asking { keys: self, name, stop: Instant::now() + patience, is_repeated: false }
    }
}

impl Asking<'_> {
    /// The key, beside the leave that was taken for the call. `None` after a change of the key was waited for; the leave was
    /// given back before that, and is to be taken anew.
    pub async fn key<L>(&self, leave: L) -> Result<Option<(L, InUse)>, ReadError> {
        match self.keys.use_now(self.name) {
            Ok(in_use) => return Ok(Some((leave, in_use))),
            Err(NotUsable::Absent) => return Err(unusable(NotUsable::Absent)),
            Err(NotUsable::Changing) => drop(leave),
        }
        let usable = timeout_at(self.stop, self.keys.use_in_time(self.name)).await;
        drop(usable.map_err(|_| unusable(NotUsable::Changing))?);
        Ok(None)
    }

    /// Whether this is the answer; if not, the key was refused because it is not the number's any more, and the call is to be
    /// made again. Once only.
    pub fn is_answered<T>(&mut self, in_use: InUse, answer: &Result<T, ReadError>) -> bool {
        let generation = in_use.into_generation();
        let is_refused =
            matches!(answer, Err(ReadError::Refused(refusal)) if refusal.class == RefusalClass::KeyRefused);
        if !is_refused || self.is_repeated || self.keys.is_settled(self.name, generation) {
            return true;
        }
        self.is_repeated = true;
        false
    }
}

fn unusable(why: NotUsable) -> ReadError {
    ReadError::Unavailable { detail: why.to_string() }
}
