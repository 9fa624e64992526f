//! Statuses that have waited in vain for their message: told as unattributed, so that they are not lost on anybody.

use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Tracking;
use crate::store::StoreError;

/// So many are told in one commit, between two of which others write.
const STEP: usize = 200;

/// Looked for this often at most and at least.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(60);

impl Tracking {
    /// Looks after them until `draining`. A step that has begun is waited for. What is not told by then is told by the next
    /// process.
    pub async fn run_unattributed(self, draining: CancellationToken) {
        let interval = (self.options.unattributed_after / 10).clamp(SHORTEST, LONGEST);
        while draining.run_until_cancelled(sleep(interval)).await.is_some() {
            if let Err(error) = self.tell_unattributed(&draining).await {
                tracing::warn!(%error, "statuses without a message were not told; they are tried again soon");
            }
        }
    }

    async fn tell_unattributed(&self, draining: &CancellationToken) -> Result<(), StoreError> {
        let patience = SignedDuration::try_from(self.options.unattributed_after).unwrap_or(SignedDuration::MAX);
        let now = self.sources.now();
        let before = now.saturating_sub(patience).unwrap_or(jiff::Timestamp::MIN);
        let mut told = 0;
        while !draining.is_cancelled() {
            let step = self.store.tell_unattributed(now, before, STEP).await?;
            told += step;
            if step < STEP {
                break;
            }
        }
        if told > 0 {
            tracing::info!(told, "statuses of messages that nobody sent here were told as unattributed");
        }
        Ok(())
    }
}
