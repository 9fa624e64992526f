//! Folding observed facts into a message: any order, any duplication, the same end.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    failure::Failure,
    message::{ForeignIds, Message, Micros},
    status::{Origin, Status},
};

/// More distinct unknown words or failure codes than this are not told apart for one message.
const MAX_WORDS: usize = 16;

/// One observed status of one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What was observed.
    pub status: Observed,
    /// When it happened; the time of observation where the source does not tell.
    #[serde(with = "jiff::fmt::serde::timestamp::microsecond::required")]
    pub at: Timestamp,
    /// When the gateway learned of it.
    #[serde(with = "jiff::fmt::serde::timestamp::microsecond::required")]
    pub observed_at: Timestamp,
    /// Where it came from.
    pub origin: Origin,
    /// Ids that came with it.
    pub ids: ForeignIds,
}

/// A status as it was reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observed {
    /// A status other than `Failed`.
    Reached(Status),
    /// A failure.
    Failed(Failure),
    /// A word that the gateway does not know.
    Unknown(String),
}

impl Observed {
    /// The status, unless the word is unknown.
    pub const fn status(&self) -> Option<Status> {
        match self {
            Self::Reached(status) => Some(*status),
            Self::Failed(_) => Some(Status::Failed),
            Self::Unknown(_) => None,
        }
    }
}

/// What folding in a fact did to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merged {
    /// Nothing new: the fact was known.
    Known,
    /// New, and in line with what was known.
    New,
    /// New, and it contradicts what was known: delivery after a failure or a cancellation.
    Correction,
}

impl Message {
    /// Folds a fact in. Two facts are the same if they have the same status and, for failures, the same code, or the
    /// same unknown word; of their times the earliest counts. Ids are taken over even from a known fact.
    pub fn merge(&mut self, fact: &Fact) -> Merged {
        self.ids.fill_from(&fact.ids);
        let before = self.status;
        let is_new = match &fact.status {
            Observed::Reached(status) => self.times.observe(*status, fact.at),
            Observed::Failed(failure) => self.merge_failure(failure, fact.at),
            Observed::Unknown(word) => note(&mut self.unknown_words, word),
        };
        let Some(status) = fact.status.status() else {
            return if is_new { Merged::New } else { Merged::Known };
        };
        self.status = before.max(status);
        let contradicts = matches!(before, Status::Failed | Status::Canceled) && status.is_delivery();
        match (is_new, contradicts) {
            (false, _) => Merged::Known,
            (true, false) => Merged::New,
            (true, true) => Merged::Correction,
        }
    }

    /// The failure with the earliest time wins, and among equal times the smaller one, so that order does not matter.
    fn merge_failure(&mut self, failure: &Failure, at: Timestamp) -> bool {
        let replaces = match (&self.failure, self.times.get(Status::Failed)) {
            (Some(known), Some(known_at)) => (Micros::of(at), failure) < (Micros::of(known_at), known),
            _ => true,
        };
        self.times.observe(Status::Failed, at);
        if replaces {
            self.failure = Some(failure.clone());
        }
        note(&mut self.failure_codes, &failure.raw_code)
    }
}

/// Keeps a word once. True if it was new and kept.
fn note(words: &mut Vec<String>, word: &str) -> bool {
    let is_new = words.len() < MAX_WORDS && !words.iter().any(|known| known == word);
    if is_new {
        words.push(word.to_owned());
    }
    is_new
}
