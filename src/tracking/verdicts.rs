//! How often what came of what came in.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Intake, IntakeError};
use crate::store::Recorded;

/// Counts since the start. A body that was recorded counts once for each thing that it told; one that was refused counts
/// once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// Appended to the log.
    pub recorded: u64,
    /// Known before.
    pub known: u64,
    /// Kept until its message is known.
    pub early: u64,
    /// To be confirmed by reading back.
    pub claimed: u64,
    /// Refused: no number takes webhooks at the path, or the number is not registered.
    pub unknown_path: u64,
    /// Refused: the signature is missing or wrong.
    pub bad_signature: u64,
    /// Refused: not JSON.
    pub malformed: u64,
    /// Refused: too long.
    pub too_large: u64,
    /// Not recorded, because the store failed.
    pub store_failure: u64,
}

/// What counts them.
#[derive(Default)]
pub(super) struct Tally {
    recorded: AtomicU64,
    known: AtomicU64,
    early: AtomicU64,
    claimed: AtomicU64,
    unknown_path: AtomicU64,
    bad_signature: AtomicU64,
    malformed: AtomicU64,
    too_large: AtomicU64,
    store_failure: AtomicU64,
}

impl Tally {
    pub(super) fn count(&self, taken: &Result<Intake, IntakeError>) {
        match taken {
            Ok(Intake(recorded)) => recorded.iter().for_each(|verdict| {
                one_more(match verdict {
                    Recorded::Appended => &self.recorded,
                    Recorded::Known => &self.known,
                    Recorded::Early => &self.early,
                    Recorded::Claimed => &self.claimed,
                });
            }),
            Err(refused) => one_more(match refused {
                IntakeError::UnknownPath | IntakeError::UnknownNumber => &self.unknown_path,
                IntakeError::BadSignature => &self.bad_signature,
                IntakeError::Malformed => &self.malformed,
                IntakeError::Store(_) => &self.store_failure,
            }),
        }
    }

    pub(super) fn count_too_large(&self) {
        one_more(&self.too_large);
    }

    pub(super) fn verdicts(&self) -> Verdicts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Verdicts {
            recorded: read(&self.recorded),
            known: read(&self.known),
            early: read(&self.early),
            claimed: read(&self.claimed),
            unknown_path: read(&self.unknown_path),
            bad_signature: read(&self.bad_signature),
            malformed: read(&self.malformed),
            too_large: read(&self.too_large),
            store_failure: read(&self.store_failure),
        }
    }
}

fn one_more(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}
