//! What was not delivered while the gateway or its webhook was away: read from the log of deliveries.
//!
//! The log comes over the authenticated API, so that what it tells is genuine. A row is an attempt, and the same event may
//! have been delivered by another one, or be told by several rows: what is known is not recorded again.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::{RegistrationError, Shared, check::Known};
use crate::{
    keys::Number,
    tracking::IntakeError,
    upstream::{DeliveryLog, EVENTS, HookAccess, LoggedDelivery, ReadError, RefusalClass},
};

/// A row that was not delivered: when that was tried, and a digest of the body.
pub(super) type Missed = (Option<Timestamp>, [u8; 32]);

impl Shared {
    /// Takes in what a webhook's log says was not delivered. One call, unless that shows less than may have been missed.
    pub(super) async fn read_log(
        &self,
        number: &Number,
        access: &HookAccess<'_>,
        id: &str,
        known: &mut Known,
    ) -> Result<(), RegistrationError> {
        let since = self.remembered_since();
        let newest = self.upstream.delivery_log(access, id, None).await?;
        let read_to = newest.rows.iter().filter_map(|row| row.at).max();
        let mut missed = HashSet::new();
        // Before anything else is asked for, which may fail.
        let mut taken = self.take_missed(number, &newest, &known.missed, &mut missed).await?;
        let mut is_whole = true;
        if (known.log_is_due || taken > 0) && leaves_out(&newest, known.log_read_to, since) {
            let mut unread = Vec::new();
            // The log of one event goes back further than that of all.
            for event in EVENTS {
                match self.upstream.delivery_log(access, id, Some(event)).await {
                    Ok(log) => {
                        if leaves_out(&log, known.log_read_to, since) {
                            tracing::warn!(
                                number = %number.name, event,
                                "more deliveries may have been missed than the log tells; messages tell when they are read back"
                            );
                        }
                        taken += self.take_missed(number, &log, &known.missed, &mut missed).await?;
                    }
                    Err(error) => {
                        // What may pass is tried again at the next look, and not with each further event.
                        is_whole = !may_pass(&error);
                        unread.push((event, error));
                        if !is_whole {
                            break;
                        }
                    }
                }
            }
            if let Some((_, error)) = unread.last() {
                let events: Vec<&str> = unread.iter().map(|(event, _)| *event).collect();
                tracing::warn!(number = %number.name, ?events, %error, "the log could not be read by event");
            }
        }
        known.missed = missed;
        known.log_is_due = !is_whole;
        if is_whole {
            known.log_read_to = known.log_read_to.max(read_to);
        }
        if taken > 0 {
            tracing::info!(number = %number.name, taken, "events that were not delivered were taken from the log");
        }
        Ok(())
    }

    /// Oldest first, as they would have come. Leaves out what was missed `before`, and notes what is missed now.
    async fn take_missed(
        &self,
        number: &Number,
        log: &DeliveryLog,
        before: &HashSet<Missed>,
        now: &mut HashSet<Missed>,
    ) -> Result<u64, RegistrationError> {
        let (since, mut taken) = (self.remembered_since(), 0);
        let is_missed = |row: &&LoggedDelivery| !row.is_delivered && row.at.is_none_or(|at| at >= since);
        for row in log.rows.iter().rev().filter(is_missed) {
            let Some(payload) = &row.payload else { continue };
            let missed = (row.at, Sha256::digest(payload).into());
            if !now.insert(missed) || before.contains(&missed) {
                continue;
            }
            match self.tracking.take(&number.name, payload.as_bytes(), row.at).await {
                Ok(_) => taken += 1,
                Err(IntakeError::Store(error)) => return Err(error.into()),
                Err(error) => tracing::warn!(number = %number.name, %error, "a logged event could not be taken"),
            }
        }
        self.change(&number.name, |state| state.taken += taken);
        Ok(taken)
    }

    /// What was told before this time may have been taken and trimmed since, so that it would be told anew.
    fn remembered_since(&self) -> Timestamp {
        let remembered = SignedDuration::try_from(self.options.remembered).unwrap_or(SignedDuration::MAX);
        self.sources.now().saturating_sub(remembered).unwrap_or(Timestamp::MIN)
    }
}

/// Whether older rows may tell of events that were missed: the log is full, and its oldest row is neither one from before
/// `since`, nor one that was read before, nor, as long as none was read, one that was delivered.
fn leaves_out(log: &DeliveryLog, read_to: Option<Timestamp>, since: Timestamp) -> bool {
    log.is_full
        && log.rows.last().is_some_and(|row| match row.at {
            Some(at) if at < since => false,
            Some(at) => read_to.map_or(!row.is_delivered, |read_to| at > read_to),
            None => !row.is_delivered,
        })
}

/// Whether the same call may be answered later.
fn may_pass(error: &ReadError) -> bool {
    match error {
        ReadError::Unavailable { .. } => true,
        ReadError::Refused(refusal) => refusal.class == RefusalClass::RateLimited,
        ReadError::NotFound => false,
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_leaves_out_what_is_older_unless_its_oldest_row_is_known_to_be_no_loss() {
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let log = |is_full, is_delivered, oldest| {
            let row = |is_delivered, at| LoggedDelivery { is_delivered, at, payload: None };
            DeliveryLog { rows: vec![row(true, at(99)), row(is_delivered, oldest)], is_full }
        };
        let since = Timestamp::from_second(3).unwrap();
        for (log, read_to, expected) in [
            (log(false, false, at(5)), None, false),
            (log(true, false, at(5)), None, true),
            (log(true, false, at(2)), None, false),
            (log(true, true, at(5)), None, false),
            (log(true, true, at(5)), at(4), true),
            (log(true, true, at(5)), at(5), false),
            (log(true, false, at(5)), at(5), false),
            (log(true, true, at(2)), at(1), false),
            (log(true, true, None), at(5), false),
            (log(true, false, None), at(5), true),
        ] {
            assert_eq!(leaves_out(&log, read_to, since), expected);
        }
        assert!(!leaves_out(&DeliveryLog { rows: Vec::new(), is_full: true }, None, since));
    }
}
