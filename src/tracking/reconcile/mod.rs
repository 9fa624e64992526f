//! Reading back what no webhook tells, or only claims: when, at what pace, and what it brings.
//!
//! Owns the rhythm; when a message is due is kept in the store, so that a restart loses nothing. One task for the whole
//! gateway, run by `server`. Sends go first: a poll takes only what they leave free.

mod counts;
mod pace;
mod pages;
mod plan;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

pub use self::counts::ReconcileCounts;
use self::{counts::Counters, plan::Plan};
pub(super) use self::{pace::Pace, pace::Pass};
use super::{
    pulse::Pulses,
    reader::{Leaves, Reader, RefreshError, readable_id},
};
use crate::{
    domain::{ids::NumberName, merge::Fact, message::Message, position::Position, read_back::ReadBack, status::Status},
    keys::{Number, for_each},
    store::{Checked, DueCheck, FirstChecks, StoreError},
    upstream::{ReadError, RefusalClass},
};

/// Due messages looked at together.
const LOOK: usize = 500;

/// How long to wait after the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// How long a number is left alone whose key is refused.
const KEY_PAUSE: Duration = Duration::from_secs(60);

/// How messages are read back.
#[derive(Clone, Debug, PartialEq)]
pub struct ReconcileOptions {
    /// Calls a second for one number, on average, at most.
    pub per_second: f64,
    /// Calls at once for all numbers together, at most. Never more than half of those that run at once in all.
    pub in_flight: usize,
    /// The wait after a message's last news where webhooks do not work...
    pub first: Duration,
    /// ...and where they do.
    pub silence: Duration,
    /// Doubled up to this while nothing new comes...
    pub longest: Duration,
    /// ...until so long after the last news.
    pub horizon: Duration,
    /// The wait for READ after DELIVERED...
    pub read_first: Duration,
    /// ...and until when.
    pub read_horizon: Duration,
    /// The wait before a text in doubt is looked for in the history.
    pub doubt_first: Duration,
    /// The wait before a claim is read again that was not confirmed, doubled a few times; and before anything is read again
    /// whose reading was not answered, doubled up to `longest`.
    pub claim_retry: Duration,
}

impl Default for ReconcileOptions {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            per_second: 5.0,
            in_flight: 4,
            first: seconds(5),
            silence: seconds(120),
            longest: seconds(15 * 60),
            horizon: seconds(192 * 3600),
            read_first: seconds(60),
            read_horizon: seconds(24 * 3600),
            doubt_first: seconds(30),
            claim_retry: seconds(1),
        }
    }
}

impl ReconcileOptions {
    /// When the store is to have messages due.
    pub const fn first_checks(&self) -> FirstChecks {
        FirstChecks { open: self.first, delivered: self.read_first }
    }
}

/// Reads back what is due. Clones are the same.
#[derive(Clone)]
pub struct Reconciler(Arc<Parts>);

struct Parts {
    reader: Reader,
    pulses: Pulses,
    read_back: ReadBack,
    options: ReconcileOptions,
    places: Arc<Semaphore>,
    counters: Counters,
}

/// What a look at what is due leads to.
#[derive(Default)]
struct Sorted {
    put_off: Vec<Checked>,
    reads: Vec<DueCheck>,
    doubt: Option<DueCheck>,
}

impl Reconciler {
    /// Puts the parts together. `read_back` is the policy of numbers that have none of their own.
    pub fn new(reader: Reader, pulses: Pulses, read_back: ReadBack, options: ReconcileOptions) -> Self {
        let most = (reader.upstream.max_in_flight() / 2).max(1);
        let places = Arc::new(Semaphore::new(options.in_flight.clamp(1, most)));
        Self(Arc::new(Parts { reader, pulses, read_back, options, places, counters: Counters::default() }))
    }

    /// What has been done so far.
    pub fn counts(&self) -> ReconcileCounts {
        self.0.counters.read()
    }

    /// Reads back until `draining`. Calls in flight are broken off: whatever they were about stays due.
    pub async fn run(self, draining: CancellationToken) {
        let parts = self.0;
        let keys = Arc::clone(&parts.reader.keys);
        let follow = move |name: NumberName| {
            let parts = Arc::clone(&parts);
            async move { parts.follow(&name).await }
        };
        for_each(keys, draining, follow).await;
    }
}

impl Parts {
    /// Reads back what is due of a number, for as long as there is that number.
    async fn follow(&self, name: &NumberName) {
        let pace = Pace::new(self.options.per_second, Arc::clone(&self.places));
        let bell = self.pulses.bell(name);
        while let Some(number) = self.reader.keys.get(name) {
            let head = *self.reader.store.head().borrow();
            match self.round(&number, &pace).await {
                Ok(next) => drop(timeout(self.idle(next), self.stirs(head, next, bell.notified())).await),
                Err(error) => {
                    tracing::error!(number = %name, %error, "what was to be read back could not be looked up");
                    sleep(STORE_PAUSE).await;
                }
            }
        }
    }

    /// How long to wait for what is due next.
    fn idle(&self, next: Option<Timestamp>) -> Duration {
        let wait = next.map(|next| next.duration_since(self.reader.sources.now()));
        // No faster than this, whatever the store says.
        wait.map_or(Duration::MAX, |wait| Duration::try_from(wait).unwrap_or_default().max(Duration::from_millis(1)))
    }

    /// Waits for a claim, or for anything written that may be due before `next`. What has news becomes due no sooner than
    /// `first` after it, so that a look in each such span misses nothing.
    async fn stirs(&self, head: Position, next: Option<Timestamp>, bell: impl Future<Output = ()>) {
        let written = async {
            loop {
                sleep(self.options.first.min(self.options.read_first)).await;
                let now = self.reader.sources.now();
                if *self.reader.store.head().borrow() != head || next.is_some_and(|next| next <= now) {
                    return;
                }
            }
        };
        tokio::select! {
            () = bell => {}
            () = written => {}
        }
    }

    /// Does some of what is due, and tells when there is more to do.
    async fn round(&self, number: &Number, pace: &Pace) -> Result<Option<Timestamp>, StoreError> {
        let now = self.reader.sources.now();
        let looked = self.reader.store.checks(&number.name, now, LOOK).await?;
        if looked.due.is_empty() {
            return Ok(looked.next);
        }
        let Sorted { put_off, reads, doubt } = self.sort(looked.due, number, pace, now);
        if !put_off.is_empty() {
            self.reader.store.checked(put_off).await?;
        }
        let left = plan::by_turns(self.read_pages(number, pace, reads).await?);
        // A few at a time, so that a claim that comes does not wait for all of them.
        let few = (self.options.per_second * 2.0).max(4.0) as usize;
        let reads = stream::iter(left.into_iter().take(few)).map(Ok::<_, StoreError>);
        reads.try_for_each_concurrent(self.options.in_flight, |check| self.read_one(number, pace, check)).await?;
        if let Some(doubt) = doubt {
            self.look_for(number, pace, doubt).await?;
        }
        Ok(Some(now))
    }

    /// Decides about each message. Of texts in doubt one is looked for at a time; the others are put off one behind the
    /// other, so that they do not stand before what can be read by its id.
    fn sort(&self, due: Vec<DueCheck>, number: &Number, pace: &Pace, now: Timestamp) -> Sorted {
        let trust = self.trust(number);
        let mut sorted = Sorted::default();
        let mut waiting: u32 = 0;
        for check in due {
            let off = |then| Checked { id: check.message.origins.message_id, due: check.due, facts: Vec::new(), then };
            match plan::plan(&self.options, &check, trust, now) {
                Plan::Later(at) => {
                    self.counters.deferred.fetch_add(1, Relaxed);
                    sorted.put_off.push(off((1, Some(at))));
                }
                Plan::Never => sorted.put_off.push(off((check.checks, None))),
                Plan::Now if readable_id(&check.message.ids).is_some() => sorted.reads.push(check),
                Plan::Now if check.message.status != Status::InDoubt => sorted.put_off.push(off((check.checks, None))),
                Plan::Now if waiting == 0 && sorted.doubt.is_none() && pace.doubt() => sorted.doubt = Some(check),
                Plan::Now => {
                    waiting += 1;
                    let turn = plan::later(now, pace.doubt_gap().saturating_mul(waiting));
                    sorted.put_off.push(off((check.checks.max(1), Some(turn))));
                }
            }
        }
        sorted
    }

    async fn read_one(&self, number: &Number, pace: &Pace, check: DueCheck) -> Result<(), StoreError> {
        let Some(id) = readable_id(&check.message.ids) else { return Ok(()) };
        self.counters.polls.fetch_add(1, Relaxed);
        let reading = self.reader.read(&number.name, &Leaves::Polled(pace), id).await;
        match reading {
            Ok(reading) => {
                pace.answered();
                let facts = reading.into_facts(self.reader.sources.now());
                self.record(number, pace, vec![(check, facts)]).await
            }
            Err(error) => self.not_read(number, pace, check, &error).await,
        }
    }

    /// Puts off what could not be read, unless its whole number is held. What was not answered has told nothing, so that it
    /// uses up neither a claim nor any of the reads; others have their turn, even if this one is never answered.
    async fn not_read(
        &self,
        number: &Number,
        pace: &Pace,
        check: DueCheck,
        error: &ReadError,
    ) -> Result<(), StoreError> {
        if self.holds_number(number, pace, error) {
            return Ok(());
        }
        if !matches!(error, ReadError::Unavailable { .. }) {
            return self.record(number, pace, vec![(check, Vec::new())]).await;
        }
        let id = check.message.origins.message_id;
        let again = plan::unanswered(&self.options, pace.unread(id), self.reader.sources.now());
        let put_off = Checked { id, due: check.due, facts: Vec::new(), then: (check.checks, Some(again)) };
        self.reader.store.checked(vec![put_off]).await.map(drop)
    }

    async fn look_for(&self, number: &Number, pace: &Pace, check: DueCheck) -> Result<(), StoreError> {
        let id = check.message.origins.message_id;
        if self.reader.store.likeness(id).await?.is_none() {
            let never = Checked { id, due: check.due, facts: Vec::new(), then: (check.checks, None) };
            return self.reader.store.checked(vec![never]).await.map(drop);
        }
        self.counters.doubts.fetch_add(1, Relaxed);
        let looked = self.reader.look_for(check.message.clone(), &number.name, Leaves::Polled(pace)).await;
        match looked {
            Ok(message) => {
                pace.answered();
                if message.status != Status::InDoubt {
                    self.counters.news.fetch_add(1, Relaxed);
                    self.pulses.missed(&number.name);
                }
            }
            Err(RefreshError::Upstream(error)) => return self.not_read(number, pace, check, &error).await,
            Err(RefreshError::Store(error)) => return Err(error),
        }
        // Of no effect if it was found: then it has become due anew.
        self.record(number, pace, vec![(check, Vec::new())]).await
    }

    /// Records what was read.
    async fn record(&self, number: &Number, pace: &Pace, read: Vec<(DueCheck, Vec<Fact>)>) -> Result<(), StoreError> {
        let (now, trust) = (self.reader.sources.now(), self.trust(number));
        let mut signs = Vec::with_capacity(read.len());
        let checked = read.into_iter().map(|(check, facts)| {
            pace.read(check.message.origins.message_id);
            signs.push((check.claimed.is_some(), tells_of_webhooks(&check.message, &facts)));
            let then = plan::next_check(&self.options, &check, trust, now);
            Checked { id: check.message.origins.message_id, due: check.due, facts, then }
        });
        let appended = self.reader.store.checked(checked.collect()).await?;
        for (appended, (claimed, telling)) in appended.into_iter().zip(signs) {
            self.counters.news.fetch_add(appended as u64, Relaxed);
            match (appended > 0 && telling, claimed) {
                (true, true) => self.pulses.confirmed(&number.name),
                (true, false) => self.pulses.missed(&number.name),
                (false, _) => {}
            }
        }
        Ok(())
    }

    /// Whether an error is about the number and not about the one message that was read; if so, it is paused.
    fn holds_number(&self, number: &Number, pace: &Pace, error: &ReadError) -> bool {
        match error {
            ReadError::NotFound => pace.answered(),
            ReadError::Unavailable { detail } => {
                tracing::debug!(number = %number.name, %detail, "a message was not read back");
                self.counters.unanswered.fetch_add(1, Relaxed);
                pace.unanswered();
            }
            ReadError::Refused(refusal) => {
                self.counters.refused.fetch_add(1, Relaxed);
                match refusal.class {
                    RefusalClass::RateLimited => match refusal.retry_after {
                        Some(hint) => pace.pause(hint),
                        None => pace.unanswered(),
                    },
                    RefusalClass::KeyRefused | RefusalClass::Forbidden => {
                        tracing::warn!(number = %number.name, %refusal, "messages are not read back for a while");
                        pace.pause(KEY_PAUSE);
                    }
                    _ => {
                        tracing::debug!(number = %number.name, %refusal, "a message was not read back");
                        return false;
                    }
                }
                return true;
            }
        }
        false
    }

    /// How far the webhooks of a number are trusted to tell.
    fn trust(&self, number: &Number) -> f64 {
        if number.webhook.is_some() { self.pulses.trust(&number.name) } else { 0.0 }
    }
}

/// Whether a webhook should have told something of this before. QUEUED and CANCELED are never told by webhook.
fn tells_of_webhooks(message: &Message, facts: &[Fact]) -> bool {
    facts.iter().filter_map(|fact| fact.status.status()).any(|status| {
        let told = matches!(status, Status::Sent | Status::Failed | Status::Delivered | Status::Read);
        told && message.times.get(status).is_none()
    })
}
