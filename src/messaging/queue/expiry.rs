//! Taking out what has waited too long.

use std::collections::HashSet;

use jiff::SignedDuration;
use tokio::time::sleep;

use super::{super::Messaging, STORE_PAUSE};
use crate::{
    domain::{
        failure::{Failure, FailureCode},
        status::Status,
    },
    store::Expiry,
};

/// How many are taken out in one step.
const BATCH: usize = 200;

impl Messaging {
    /// Takes out what has expired, whenever something does, until the gateway drains.
    pub(super) async fn expire_overdue(self) {
        let draining = self.draining.clone();
        let work = async {
            loop {
                self.wakers.expiry_looks();
                let at = self.sources.now();
                let lease = SignedDuration::try_from(self.options.queue.lease).unwrap_or(SignedDuration::MAX);
                let expiry = Expiry {
                    at,
                    forsaken: at.saturating_sub(lease).unwrap_or(jiff::Timestamp::MIN),
                    failure: Failure::of_handoff(FailureCode::QueueExpired, "it waited in the queue for too long"),
                    limit: BATCH,
                };
                let next = match self.store.expire(expiry).await {
                    Ok(expired) => {
                        for message in &expired.messages {
                            let id = message.origins.message_id;
                            let in_doubt = message.status == Status::InDoubt;
                            tracing::warn!(message_id = %id, in_doubt, "a queued message was given up");
                        }
                        let numbers: HashSet<_> =
                            expired.messages.iter().map(|message| &message.origins.number).collect();
                        numbers.into_iter().for_each(|number| self.wakers.due(number));
                        expired.next
                    }
                    Err(error) => {
                        tracing::error!(%error, "the queue could not be searched for what has expired");
                        sleep(STORE_PAUSE).await;
                        continue;
                    }
                };
                tokio::select! {
                    () = self.wakers.earlier_expiry(next.unwrap_or(jiff::Timestamp::MAX)) => {}
                    () = self.until(next) => {}
                }
            }
        };
        draining.run_until_cancelled(work).await;
    }
}
