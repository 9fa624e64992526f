//! A gateway that kills itself right before or right after a chosen call of its store.
//!
//! It is this test program, started again; the gateway itself knows nothing of it.

use std::{
    env,
    process::Command,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use async_trait::async_trait;
use jiff::Timestamp;
use pilotgate::{
    config::{self, Log},
    domain::{
        audit::Act,
        ids::{CallerName, MessageId, NumberName, RequestId},
        merge::Fact,
        message::Message,
        position::{Epoch, Position},
        quota::Limit,
        record::Place,
        secret::{Likeness, Sealed},
        sources::Sources,
        status::Status,
    },
    server::{self, logging},
    store::{
        self, Accepted, AuditEnds, AuditQuery, AuditRecord, Change, Changed, Checked, Checkpoint, Claimed, Commit,
        Committed, Draft, DueChecks, Entry, Expired, Expiry, Hasten, Hastened, Key, Lease, LeaseEnd, LeaseSettled,
        Leases, Listing, Page, Record, Recorded, Resealed, SealCount, Seek, Settlement, Store, StoreError,
        StoredSubscription, Subscribe, Subscribed, SubscriptionKey, SubscriptionsQuery, Terms, UndecidedPage,
        UndecidedQuery, Withdrawn, Written,
        retention::{Trim, Trimmed},
    },
};
use tokio::sync::watch;

use crate::rotation;

/// The name of the test that a doomed gateway runs as.
pub const TEST: &str = "doomed::serve_until_the_moment";
/// Tells it its configuration...
pub const CONFIG: &str = "PILOTGATE_CHAOS_DOOMED_CONFIG";
/// ...and when to die: `before settle 2` is right before the second call of `settle`. `fail change 2 5` is not to die: the
/// second call of `change` fails, and so do the four behind it.
pub const MOMENT: &str = "PILOTGATE_CHAOS_DOOMED_MOMENT";

/// Not a test by itself: what a doomed gateway does. Anywhere else it returns at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serve_until_the_moment() {
    let (Some(config), Ok(moment)) = (env::var_os(CONFIG), env::var(MOMENT)) else { return };
    // Whoever started it holds the other end, so that it does not outlive a test that was killed itself.
    thread::spawn(|| {
        let _ = std::io::stdin().read_line(&mut String::new());
        die();
    });
    let config = config::load(config.as_ref()).unwrap();
    let store = store::open(config.store.clone()).await.unwrap();
    let store = Doomed { store, moment: moment.parse().unwrap(), calls: AtomicUsize::new(0) };
    let log = Log { level: rotation::LOG.to_owned(), ..config.log.clone() };
    let mut gateway = server::start_over(Arc::new(store), config, Sources::system()).await.unwrap();
    if env::var_os(rotation::NUMBERS).is_some() {
        logging::install(&log).unwrap();
        tokio::spawn(rotation::rotate_all(gateway.administration().clone(), Arc::clone(gateway.keys())));
    }
    panic!("it failed before its moment: {}", gateway.failed().await);
}

/// As a process dies that somebody kills: nothing is flushed and nobody is told.
fn die() -> ! {
    let _ = Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
    std::process::abort()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Accept,
    Settle,
    /// One that leased something; others come as often as they like.
    Lease,
    SettleLease,
    Change,
}

struct Moment {
    when: When,
    call: Call,
    /// Counted from 1.
    turn: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Before,
    After,
    /// So many times.
    Fail(usize),
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<_> = text.split(' ').collect();
        let number = |word: &str| word.parse().map_err(|_| word.to_owned());
        let (when, call, turn) = match words[..] {
            ["before", call, turn] => (When::Before, call, turn),
            ["after", call, turn] => (When::After, call, turn),
            ["fail", "change", turn, times] => (When::Fail(number(times)?), "change", turn),
            _ => return Err(text.to_owned()),
        };
        let call = match call {
            "accept" => Call::Accept,
            "settle" => Call::Settle,
            "lease" => Call::Lease,
            "settle_lease" => Call::SettleLease,
            "change" => Call::Change,
            other => return Err(other.to_owned()),
        };
        Ok(Self { when, call, turn: number(turn)? })
    }
}

struct Doomed {
    store: Arc<dyn Store>,
    moment: Moment,
    calls: AtomicUsize,
}

impl Doomed {
    fn pass(&self, before: bool, call: Call) {
        let when = if before { When::Before } else { When::After };
        let here = self.moment.when == when && self.moment.call == call;
        if here && self.calls.fetch_add(1, Ordering::Relaxed) + 1 == self.moment.turn {
            die();
        }
    }
}

#[async_trait]
impl Store for Doomed {
    async fn accept(&self, draft: Draft) -> Result<Accepted, StoreError> {
        self.pass(true, Call::Accept);
        let accepted = self.store.accept(draft).await;
        self.pass(false, Call::Accept);
        accepted
    }

    async fn settle(&self, id: MessageId, settlement: Settlement) -> Result<Message, StoreError> {
        self.pass(true, Call::Settle);
        let settled = self.store.settle(id, settlement).await;
        self.pass(false, Call::Settle);
        settled
    }

    async fn lease(&self, terms: Terms) -> Result<Leases, StoreError> {
        let leases = self.store.lease(terms).await?;
        if !leases.leased.is_empty() {
            self.pass(false, Call::Lease);
        }
        Ok(leases)
    }

    async fn settle_lease(&self, lease: Lease, end: LeaseEnd) -> Result<Option<LeaseSettled>, StoreError> {
        self.pass(true, Call::SettleLease);
        let settled = self.store.settle_lease(lease, end).await;
        self.pass(false, Call::SettleLease);
        settled
    }

    async fn subscriptions(&self, query: SubscriptionsQuery) -> Result<Vec<StoredSubscription>, StoreError> {
        self.store.subscriptions(query).await
    }

    async fn subscription(&self, key: &SubscriptionKey) -> Result<Option<StoredSubscription>, StoreError> {
        self.store.subscription(key).await
    }

    async fn seek(&self, seek: Seek) -> Result<bool, StoreError> {
        self.store.seek(seek).await
    }

    async fn undecided(&self, query: UndecidedQuery) -> Result<UndecidedPage, StoreError> {
        self.store.undecided(query).await
    }

    async fn hasten(&self, hasten: Hasten) -> Result<Hastened, StoreError> {
        self.store.hasten(hasten).await
    }

    async fn records(&self) -> Result<Vec<Record>, StoreError> {
        self.store.records().await
    }

    async fn change(&self, change: Change) -> Result<Changed, StoreError> {
        if let When::Fail(times) = self.moment.when {
            let turn = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
            if (self.moment.turn..self.moment.turn + times).contains(&turn) {
                return Err(StoreError::Failed("as it was told to".to_owned()));
            }
        }
        self.pass(true, Call::Change);
        let changed = self.store.change(change).await;
        self.pass(false, Call::Change);
        changed
    }

    async fn sealed_under(&self, key_id: [u8; 8], limit: usize) -> Result<Vec<(Place, Sealed)>, StoreError> {
        self.store.sealed_under(key_id, limit).await
    }

    async fn reseal(&self, resealed: Vec<Resealed>) -> Result<usize, StoreError> {
        self.store.reseal(resealed).await
    }

    async fn seal_counts(&self) -> Result<Vec<SealCount>, StoreError> {
        self.store.seal_counts().await
    }

    async fn audit(&self, acts: Vec<Act>) -> Result<(), StoreError> {
        self.store.audit(acts).await
    }

    async fn audited(&self, query: AuditQuery) -> Result<Vec<AuditRecord>, StoreError> {
        self.store.audited(query).await
    }

    async fn audit_ends(&self) -> Result<AuditEnds, StoreError> {
        self.store.audit_ends().await
    }

    async fn keep_checkpoint(&self, checkpoint: Checkpoint) -> Result<(), StoreError> {
        self.store.keep_checkpoint(checkpoint).await
    }

    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError> {
        self.store.checkpoints().await
    }

    async fn used(&self, limits: Vec<Limit>, at: Timestamp) -> Result<Vec<u64>, StoreError> {
        self.store.used(limits, at).await
    }

    async fn claimed(&self, caller: &CallerName, request_id: &RequestId) -> Result<Option<Claimed>, StoreError> {
        self.store.claimed(caller, request_id).await
    }

    async fn record(&self, number: &NumberName, entries: Vec<Entry>) -> Result<Vec<Recorded>, StoreError> {
        self.store.record(number, entries).await
    }

    async fn tell_unattributed(&self, at: Timestamp, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.store.tell_unattributed(at, before, limit).await
    }

    async fn checks(&self, number: &NumberName, at: Timestamp, limit: usize) -> Result<DueChecks, StoreError> {
        self.store.checks(number, at, limit).await
    }

    async fn checked(&self, checked: Vec<Checked>) -> Result<Vec<usize>, StoreError> {
        self.store.checked(checked).await
    }

    async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscribed, StoreError> {
        self.store.subscribe(subscribe).await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        self.store.commit(commit).await
    }

    async fn merge(&self, id: MessageId, facts: Vec<Fact>) -> Result<Message, StoreError> {
        self.store.merge(id, facts).await
    }

    async fn message(&self, id: MessageId) -> Result<Option<Message>, StoreError> {
        self.store.message(id).await
    }

    async fn messages(&self, ids: Vec<MessageId>) -> Result<Vec<Message>, StoreError> {
        self.store.messages(ids).await
    }

    async fn find(&self, number: &NumberName, key: Key) -> Result<Option<Message>, StoreError> {
        self.store.find(number, key).await
    }

    async fn list(&self, listing: Listing) -> Result<Vec<Message>, StoreError> {
        self.store.list(listing).await
    }

    async fn pending(&self, limit: usize) -> Result<Vec<Message>, StoreError> {
        self.store.pending(limit).await
    }

    async fn expire(&self, expiry: Expiry) -> Result<Expired, StoreError> {
        self.store.expire(expiry).await
    }

    async fn withdraw(
        &self,
        id: MessageId,
        expected: Status,
        fact: Fact,
        act: Option<Act>,
    ) -> Result<Withdrawn, StoreError> {
        self.store.withdraw(id, expected, fact, act).await
    }

    async fn end_leases(&self, at: Timestamp) -> Result<(), StoreError> {
        self.store.end_leases(at).await
    }

    async fn oldest_body(&self) -> Result<Option<(MessageId, Sealed)>, StoreError> {
        self.store.oldest_body().await
    }

    async fn events(&self, after: Position, limit: usize) -> Result<Page, StoreError> {
        self.store.events(after, limit).await
    }

    async fn position_before(&self, time: Timestamp) -> Result<Position, StoreError> {
        self.store.position_before(time).await
    }

    async fn oldest(&self) -> Result<(Position, Option<Timestamp>), StoreError> {
        self.store.oldest().await
    }

    async fn likeness(&self, id: MessageId) -> Result<Option<Likeness>, StoreError> {
        self.store.likeness(id).await
    }

    async fn trim(&self, step: Trim) -> Result<Trimmed, StoreError> {
        self.store.trim(step).await
    }

    async fn used_bytes(&self) -> Result<u64, StoreError> {
        self.store.used_bytes().await
    }

    fn written(&self) -> Written {
        self.store.written()
    }

    fn epoch(&self) -> Epoch {
        self.store.epoch()
    }

    fn cursor_key(&self) -> [u8; 32] {
        self.store.cursor_key()
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.store.head()
    }

    async fn close(&self) {
        self.store.close().await;
    }
}
