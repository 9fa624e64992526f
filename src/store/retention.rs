//! Retention: how long what is kept is kept, and the pace at which it goes.
//!
//! Owns the ages and the order in which things go; what a step deletes, and that it is safe, is the store's matter. Run
//! by `server`.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Commit, Store, StoreError};
use crate::domain::sources::Sources;

/// After each step, the store is left alone for this many times as long as the step took.
const REST: u32 = 3;

/// How long what is kept is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Age at which log entries go.
    pub events: Duration,
    /// Age at which messages go that have left or ended.
    pub messages: Duration,
    /// Age at which messages go that are QUEUED or IN_DOUBT. Those that are PENDING stay.
    pub open: Duration,
    /// Age at which facts go whose message never became known.
    pub early: Duration,
    /// Age at which subscriptions go that nobody has used since.
    pub subscriptions: Duration,
    /// Age at which entries of the audit log go.
    pub audit: Duration,
    /// Bytes in use above which the oldest entries and then the oldest ended messages go before their age; 0 for no bound.
    pub max_bytes: u64,
    /// Messages younger than this stay even then: their calls may still be repeated.
    pub repeats: Duration,
    /// How often all this is looked after.
    pub interval: Duration,
}

/// A step of trimming. Times are exclusive: what is of just that time stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trim {
    /// The oldest log entries, as far as they were logged before this time.
    Events {
        /// The time.
        before: Timestamp,
    },
    /// The oldest early facts, as far as they were learned before this time. Those that were not told as unattributed are
    /// told first.
    Early {
        /// As of when they are told.
        at: Timestamp,
        /// The time.
        before: Timestamp,
    },
    /// Subscriptions that were last used before this time.
    Subscriptions {
        /// The time.
        before: Timestamp,
    },
    /// The oldest entries of the audit log, as far as they are from before this time; the log says so in an entry of its own,
    /// and the link that the rest hangs on is kept. Where few would go they wait for another day.
    Audit {
        /// The time of that entry.
        at: Timestamp,
        /// The time.
        before: Timestamp,
    },
    /// Windows of limits that have been over for a while.
    Quotas {
        /// The present time.
        at: Timestamp,
    },
    /// Messages, in the order in which they were accepted. PENDING ones and those that still have to be handed off stay.
    Messages {
        /// The place behind which to go on; 0 stands before the first message.
        after: i64,
        /// Messages that have left or ended go if they were accepted before this time.
        ended: Timestamp,
        /// Messages that are QUEUED or IN_DOUBT go if they were accepted before this time.
        open: Timestamp,
    },
}

/// So many steps of the log go at a time when there is too much in the store.
const STRETCH: usize = 10;

/// What a step of trimming did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trimmed {
    /// How many entries, facts or messages were deleted.
    pub deleted: u64,
    /// How many of them were messages IN_DOUBT.
    pub in_doubt: u64,
    /// The step that goes on where this one ended; `None` if nothing further is that old.
    pub next: Option<Trim>,
}

/// Looks after the store until `draining`. A step that has begun is waited for.
///
/// `in_use` gives, by the age at which unused subscriptions go, acknowledgements for those that carry a stream.
pub async fn run(
    store: Arc<dyn Store>,
    sources: Sources,
    options: Options,
    in_use: impl Fn(SignedDuration) -> Vec<Commit>,
    draining: CancellationToken,
) {
    loop {
        let mut sweep = Sweep { store: &*store, in_use: &in_use, draining: &draining, in_doubt: 0 };
        if let Err(error) = sweep.whole(sources.now(), &options).await {
            tracing::warn!(%error, "trimming was broken off; it is tried again at the next interval");
        }
        if sweep.in_doubt > 0 {
            tracing::warn!(messages = sweep.in_doubt, "messages were trimmed that were in doubt to the end");
        }
        if draining.run_until_cancelled(sleep(options.interval)).await.is_none() {
            return;
        }
    }
}

/// One look at everything that may be too old or too much.
struct Sweep<'a, F> {
    store: &'a dyn Store,
    in_use: &'a F,
    draining: &'a CancellationToken,
    in_doubt: u64,
}

impl<F: Fn(SignedDuration) -> Vec<Commit>> Sweep<'_, F> {
    async fn whole(&mut self, now: Timestamp, options: &Options) -> Result<(), StoreError> {
        let events = self.walk(Trim::Events { before: ago(now, options.events) }, None).await?;
        let early = self.walk(Trim::Early { at: now, before: ago(now, options.early) }, None).await?;
        let (ended, open) = (ago(now, options.messages), ago(now, options.open));
        let messages = self.walk(Trim::Messages { after: 0, ended, open }, None).await?;
        let subscriptions = self.subscriptions(now, options.subscriptions).await?;
        let audit = self.walk(Trim::Audit { at: now, before: ago(now, options.audit) }, None).await?;
        self.walk(Trim::Quotas { at: now }, None).await?;
        if events + early + messages + subscriptions + audit > 0 {
            tracing::debug!(events, early, messages, subscriptions, audit, "trimmed by age");
        }
        match options.max_bytes {
            0 => Ok(()),
            most => self.by_size(most, ago(now, options.repeats)).await,
        }
    }

    /// What carries a stream is in use, whether or not anybody acknowledges anything.
    async fn subscriptions(&mut self, now: Timestamp, age: Duration) -> Result<u64, StoreError> {
        for commit in (self.in_use)(SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX)) {
            self.store.commit(commit).await?;
        }
        self.walk(Trim::Subscriptions { before: ago(now, age) }, None).await
    }

    /// The oldest goes first, be it a message or a stretch of the log, so that neither is emptied for the other.
    async fn by_size(&mut self, most: u64, ended: Timestamp) -> Result<(), StoreError> {
        let (mut events, mut messages) = (0, 0);
        while self.store.used_bytes().await? > most && !self.draining.is_cancelled() {
            let (_, oldest) = self.store.oldest().await?;
            let until = oldest.map_or(ended, |oldest| oldest.min(ended));
            let step = Trim::Messages { after: 0, ended: until, open: Timestamp::MIN };
            messages += self.walk(step, Some(most)).await?;
            if oldest.is_none() {
                break;
            }
            events += self.stretch(Trim::Events { before: Timestamp::MAX }, Some(most), STRETCH).await?;
        }
        if events + messages > 0 {
            tracing::info!(events, messages, "trimmed by size, before their age");
        }
        let used = self.store.used_bytes().await?;
        if used > most && !self.draining.is_cancelled() {
            tracing::warn!(used, most, "the store is larger than retention.max_bytes, and nothing more may go");
        }
        Ok(())
    }

    /// Goes step by step until nothing further is old enough or, with a bound, until no more bytes than that are in use.
    /// Tells how many were deleted.
    async fn walk(&mut self, first: Trim, most: Option<u64>) -> Result<u64, StoreError> {
        self.stretch(first, most, usize::MAX).await
    }

    /// The same for at most so many steps.
    async fn stretch(&mut self, first: Trim, most: Option<u64>, steps: usize) -> Result<u64, StoreError> {
        let (mut next, mut deleted) = (Some(first), 0);
        for _ in 0..steps {
            let Some(step) = next else { break };
            if let Some(most) = most
                && self.store.used_bytes().await? <= most
            {
                break;
            }
            let began = Instant::now();
            let trimmed = self.store.trim(step).await?;
            deleted += trimmed.deleted;
            self.in_doubt += trimmed.in_doubt;
            next = trimmed.next;
            if self.rest(began.elapsed()).await.is_break() {
                break;
            }
        }
        Ok(deleted)
    }

    /// Leaves the store to others for a while; breaks if the end has come.
    async fn rest(&self, step: Duration) -> ControlFlow<()> {
        match self.draining.run_until_cancelled(sleep(step * REST)).await {
            Some(()) => ControlFlow::Continue(()),
            None => ControlFlow::Break(()),
        }
    }
}

fn ago(now: Timestamp, age: Duration) -> Timestamp {
    SignedDuration::try_from(age).ok().and_then(|age| now.checked_sub(age).ok()).unwrap_or(Timestamp::MIN)
}
