//! What was not delivered while the gateway or its webhook was away: read from the log of deliveries.
//!
//! The log comes over the authenticated API, so that what it tells is genuine. A row is an attempt, and the same event may
//! have been delivered by another one, or be told by several rows: what is known is not recorded again.

use jiff::Timestamp;

use super::{RegistrationError, Shared, check::Known};
use crate::{
    keys::Number,
    tracking::IntakeError,
    upstream::{DeliveryLog, EVENTS, HookAccess, LoggedDelivery},
};

impl Shared {
    /// Takes in what a webhook's log says was not delivered.
    pub(super) async fn read_log(
        &self,
        number: &Number,
        access: &HookAccess<'_>,
        id: &str,
        known: &mut Known,
    ) -> Result<(), RegistrationError> {
        let newest = self.upstream.delivery_log(access, id, None).await?;
        let read_to = newest.rows.iter().filter_map(|row| row.at).max();
        let mut taken = 0;
        if leaves_out(&newest, known.log_read_to) {
            // The log of one event goes back further than that of all.
            for event in EVENTS {
                let log = self.upstream.delivery_log(access, id, Some(event)).await?;
                if leaves_out(&log, known.log_read_to) {
                    tracing::warn!(
                        number = %number.name, event,
                        "more deliveries may have been missed than the log tells; messages tell when they are read back"
                    );
                }
                taken += self.take_missed(number, &log).await?;
            }
        }
        taken += self.take_missed(number, &newest).await?;
        known.log_read_to = known.log_read_to.max(read_to);
        if taken > 0 {
            tracing::info!(number = %number.name, taken, "events that were not delivered were taken from the log");
        }
        Ok(())
    }

    /// Oldest first, as they would have come.
    async fn take_missed(&self, number: &Number, log: &DeliveryLog) -> Result<u64, RegistrationError> {
        let mut taken = 0;
        for row in log.rows.iter().rev().filter(|row| !row.is_delivered) {
            let Some(payload) = &row.payload else { continue };
            match self.tracking.take(&number.name, payload.as_bytes(), row.at).await {
                Ok(_) => taken += 1,
                Err(IntakeError::Store(error)) => return Err(error.into()),
                Err(error) => tracing::warn!(number = %number.name, %error, "a logged event could not be taken"),
            }
        }
        self.change(&number.name, |state| state.taken += taken);
        Ok(taken)
    }
}

/// Whether older rows may tell of events that were missed: the log is full, and its oldest row is neither one that was
/// delivered nor one that was read before.
fn leaves_out(log: &DeliveryLog, read_to: Option<Timestamp>) -> bool {
    let is_news = |row: &LoggedDelivery| row.at.zip(read_to).is_some_and(|(at, read_to)| at > read_to);
    log.is_full && log.rows.last().is_some_and(|row| !row.is_delivered || is_news(row))
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
        for (log, read_to, expected) in [
            (log(false, false, at(5)), None, false),
            (log(true, false, at(5)), None, true),
            (log(true, true, at(5)), None, false),
            (log(true, true, at(5)), at(4), true),
            (log(true, true, at(5)), at(5), false),
            (log(true, true, None), at(5), false),
        ] {
            assert_eq!(leaves_out(&log, read_to), expected);
        }
        assert!(!leaves_out(&DeliveryLog { rows: Vec::new(), is_full: true }, None));
    }
}
