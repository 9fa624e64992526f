//! Time and chance, handed in so that a test can decide both.

use std::{fmt, sync::Arc};

use jiff::Timestamp;

use super::ids::MessageId;

/// Where the present time and random bytes come from.
#[derive(Clone)]
pub struct Sources {
    clock: Arc<Clock>,
    chance: Arc<Chance>,
}

type Clock = dyn Fn() -> Timestamp + Send + Sync;
type Chance = dyn Fn(&mut [u8]) + Send + Sync;

impl Sources {
    /// The operating system's clock and random generator.
    pub fn system() -> Self {
        Self::new(Timestamp::now, |bytes| {
            // The generator of the operating system fails only before it is seeded, early in boot. Ids and secrets made
            // without it would be guessable, so there is nothing to go on with.
            if getrandom::fill(bytes).is_err() {
                std::process::abort();
            }
        })
    }

    /// Sources of the caller's choice.
    pub fn new(
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
        chance: impl Fn(&mut [u8]) + Send + Sync + 'static,
    ) -> Self {
        Self { clock: Arc::new(clock), chance: Arc::new(chance) }
    }

    /// The present time, cut to microseconds, which is what is stored.
    pub fn now(&self) -> Timestamp {
        let now = (self.clock)();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }

    /// Random bytes.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.chance)(&mut bytes);
        bytes
    }

    /// A random number from 0 to 1.
    pub fn chance(&self) -> f64 {
        f64::from(u32::from_be_bytes(self.random())) / f64::from(u32::MAX)
    }

    /// A new message id for a message accepted at `now`.
    pub fn message_id(&self, now: Timestamp) -> MessageId {
        let millis = u64::try_from(now.as_millisecond()).unwrap_or_default();
        MessageId::from_uuid(uuid::Builder::from_unix_timestamp_millis(millis, &self.random()).into_uuid())
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sources")
    }
}
