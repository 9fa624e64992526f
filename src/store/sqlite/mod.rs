//! The embedded adapter: one SQLite file, one writer thread, several readers.
//!
//! WAL with `synchronous=FULL`: a commit returns after its frames are on disk. All writes go through the one thread of
//! [`writer`], which puts whatever is waiting into one transaction. Reads never wait for it.

mod audit;
mod checks;
mod file;
mod reader;
mod recent;
mod schema;
mod writer;

mod likeness;
mod list;
mod log;
mod orphans;
mod outbox;
mod quotas;
mod registry;
mod rows;
mod subscriptions;
mod trim;
mod undecided;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

use self::{file::DataDirectory, reader::Readers, recent::Recent, writer::Writer};
use super::{
    Accepted, AuditEnds, AuditQuery, AuditRecord, Change, Changed, Checked, Checkpoint, Claimed, Commit, Committed,
    Draft, DueChecks, Entry, Expired, Expiry, Hasten, Hastened, Key, Lease, LeaseEnd, LeaseSettled, Leases, Listing,
    OpenError, Options, OutboxBounds, Page, Record, Recorded, Resealed, SealCount, Seek, Settlement, Store, StoreError,
    StoredSubscription, Subscribe, Subscribed, SubscriptionKey, SubscriptionsQuery, Terms, UndecidedPage,
    UndecidedQuery, Withdrawn, Written,
    retention::{Trim, Trimmed},
};
use crate::domain::{
    audit::Act,
    ids::{CallerName, MessageId, NumberName, RequestId},
    merge::Fact,
    message::Message,
    position::{Epoch, Position},
    quota::Limit,
    record::Place,
    secret::{Likeness, Sealed},
    status::Status,
};

/// An open store.
pub(super) struct SqliteStore {
    writer: Writer,
    readers: Readers,
    recent: Recent,
    head: watch::Receiver<Position>,
    epoch: Epoch,
    cursor_key: [u8; 32],
    outbox: OutboxBounds,
}

/// Opens on a thread of its own, since disks are slow.
pub(super) async fn open(options: Options) -> Result<SqliteStore, OpenError> {
    let path = options.directory.clone();
    tokio::task::spawn_blocking(move || open_blocking(&options))
        .await
        .unwrap_or_else(|error| Err(OpenError::Io { path, detail: error.to_string() }))
}

fn open_blocking(options: &Options) -> Result<SqliteStore, OpenError> {
    let directory = Arc::new(DataDirectory::lock(&options.directory)?);
    let mut db = directory.open_writer()?;
    let damaged = |error: rusqlite::Error| directory.damaged(error.to_string());
    let identity = log::identity(&db).map_err(damaged)?;
    let tail = log::Tail::load(&mut db).map_err(damaged)?;
    let readers = (0..options.readers.max(1)).map(|_| directory.open_reader()).collect::<Result<Vec<_>, _>>()?;
    let (head_sender, head) = watch::channel(tail.head());
    let recent = Recent::at(tail.head(), options.recent);
    let published = (recent.clone(), head_sender);
    let writer = Writer::spawn(db, tail, published, options, Arc::clone(&directory))
        .map_err(|error| directory.io(error.to_string()))?;
    Ok(SqliteStore {
        writer,
        readers: Readers::new(readers),
        recent,
        head,
        epoch: identity.epoch,
        cursor_key: identity.cursor_key,
        outbox: options.outbox,
    })
}

#[async_trait]
impl Store for SqliteStore {
    async fn accept(&self, draft: Draft) -> Result<Accepted, StoreError> {
        let bounds = self.outbox;
        self.writer.write(move |tx| rows::accept(tx, &draft, bounds)).await
    }

    async fn claimed(&self, caller: &CallerName, request_id: &RequestId) -> Result<Option<Claimed>, StoreError> {
        let (caller, request_id) = (caller.clone(), request_id.clone());
        self.readers.read(move |db| rows::claimed(db, &caller, &request_id)).await
    }

    async fn settle(&self, id: MessageId, settlement: Settlement) -> Result<Message, StoreError> {
        self.writer.write(move |tx| rows::settle(tx, id, &settlement)).await
    }

    async fn record(&self, number: &NumberName, entries: Vec<Entry>) -> Result<Vec<Recorded>, StoreError> {
        let number = number.clone();
        self.writer.write(move |tx| entries.iter().map(|entry| orphans::record(tx, &number, entry)).collect()).await
    }

    async fn tell_unattributed(&self, at: Timestamp, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.writer.write(move |tx| orphans::tell_unattributed(tx, at, before, limit)).await
    }

    async fn checks(&self, number: &NumberName, at: Timestamp, limit: usize) -> Result<DueChecks, StoreError> {
        let number = number.clone();
        self.readers.read(move |db| checks::due(db, &number, at, limit)).await
    }

    async fn checked(&self, checked: Vec<Checked>) -> Result<Vec<usize>, StoreError> {
        self.writer.write(move |tx| checked.iter().map(|checked| checks::checked(tx, checked)).collect()).await
    }

    async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscribed, StoreError> {
        self.writer.write(move |tx| subscriptions::subscribe(tx.db, &subscribe)).await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        self.writer.write(move |tx| subscriptions::commit(tx.db, &commit)).await
    }

    async fn subscriptions(&self, query: SubscriptionsQuery) -> Result<Vec<StoredSubscription>, StoreError> {
        self.readers.read(move |db| subscriptions::read(db, &query)).await
    }

    async fn subscription(&self, key: &SubscriptionKey) -> Result<Option<StoredSubscription>, StoreError> {
        let key = key.clone();
        self.readers.read(move |db| subscriptions::one(db, &key)).await
    }

    async fn seek(&self, seek: Seek) -> Result<bool, StoreError> {
        self.writer.write(move |tx| subscriptions::seek(tx.db, &seek)).await
    }

    async fn undecided(&self, query: UndecidedQuery) -> Result<UndecidedPage, StoreError> {
        self.readers.read(move |db| undecided::page(db, &query)).await
    }

    async fn hasten(&self, hasten: Hasten) -> Result<Hastened, StoreError> {
        self.writer.write(move |tx| undecided::hasten(tx.db, &hasten)).await
    }

    async fn merge(&self, id: MessageId, facts: Vec<Fact>) -> Result<Message, StoreError> {
        self.writer.write(move |tx| rows::merge(tx, id, &facts)).await
    }

    async fn message(&self, id: MessageId) -> Result<Option<Message>, StoreError> {
        self.readers.read(move |db| rows::message(db, id)).await
    }

    async fn likeness(&self, id: MessageId) -> Result<Option<Likeness>, StoreError> {
        self.readers.read(move |db| likeness::of(db, id)).await
    }

    async fn messages(&self, ids: Vec<MessageId>) -> Result<Vec<Message>, StoreError> {
        self.readers.read(move |db| ids.into_iter().filter_map(|id| rows::message(db, id).transpose()).collect()).await
    }

    async fn find(&self, number: &NumberName, key: Key) -> Result<Option<Message>, StoreError> {
        let number = number.clone();
        self.readers.read(move |db| rows::find(db, &number, &key.into_ids())).await
    }

    async fn list(&self, listing: Listing) -> Result<Vec<Message>, StoreError> {
        self.readers.read(move |db| list::list(db, &listing)).await
    }

    async fn pending(&self, limit: usize) -> Result<Vec<Message>, StoreError> {
        self.readers.read(move |db| rows::pending(db, limit)).await
    }

    async fn lease(&self, terms: Terms) -> Result<Leases, StoreError> {
        self.writer.write(move |tx| outbox::lease(tx, &terms)).await
    }

    async fn settle_lease(&self, lease: Lease, end: LeaseEnd) -> Result<Option<LeaseSettled>, StoreError> {
        self.writer.write(move |tx| outbox::settle(tx, lease, &end)).await
    }

    async fn expire(&self, expiry: Expiry) -> Result<Expired, StoreError> {
        self.writer.write(move |tx| outbox::expire(tx, &expiry)).await
    }

    async fn withdraw(
        &self,
        id: MessageId,
        expected: Status,
        fact: Fact,
        act: Option<Act>,
    ) -> Result<Withdrawn, StoreError> {
        self.writer.write(move |tx| outbox::withdraw(tx, id, expected, &fact, act.as_ref())).await
    }

    async fn end_leases(&self, at: Timestamp) -> Result<(), StoreError> {
        self.writer.write(move |tx| outbox::end_leases(tx.db, at)).await
    }

    async fn oldest_body(&self) -> Result<Option<(MessageId, Sealed)>, StoreError> {
        self.readers.read(outbox::oldest_body).await
    }

    async fn events(&self, after: Position, limit: usize) -> Result<Page, StoreError> {
        match self.recent.behind(after, limit) {
            Some(page) => Ok(page),
            None => self.readers.read_along(move |db| log::page(db, after, limit)).await,
        }
    }

    async fn position_before(&self, time: Timestamp) -> Result<Position, StoreError> {
        self.readers.read(move |db| log::position_before(db, time)).await
    }

    async fn oldest(&self) -> Result<(Position, Option<Timestamp>), StoreError> {
        self.readers.read(log::oldest).await
    }

    fn written(&self) -> Written {
        self.writer.written()
    }

    async fn trim(&self, step: Trim) -> Result<Trimmed, StoreError> {
        trim::step(&self.writer, &self.readers, step).await
    }

    async fn used_bytes(&self) -> Result<u64, StoreError> {
        self.readers.read(trim::used_bytes).await
    }

    async fn records(&self) -> Result<Vec<Record>, StoreError> {
        self.readers.read(registry::records).await
    }

    async fn change(&self, change: Change) -> Result<Changed, StoreError> {
        self.writer.write(move |tx| registry::change(tx.db, &change)).await
    }

    async fn sealed_under(&self, key_id: [u8; 8], limit: usize) -> Result<Vec<(Place, Sealed)>, StoreError> {
        self.readers.read(move |db| registry::sealed_under(db, key_id, limit)).await
    }

    async fn reseal(&self, resealed: Vec<Resealed>) -> Result<usize, StoreError> {
        self.writer.write(move |tx| registry::reseal(tx.db, &resealed)).await
    }

    async fn seal_counts(&self) -> Result<Vec<SealCount>, StoreError> {
        self.readers.read(registry::seal_counts).await
    }

    async fn audit(&self, acts: Vec<Act>) -> Result<(), StoreError> {
        self.writer.write(move |tx| audit::append(tx.db, &acts)).await
    }

    async fn audited(&self, query: AuditQuery) -> Result<Vec<AuditRecord>, StoreError> {
        self.readers.read(move |db| audit::read(db, &query)).await
    }

    async fn audit_ends(&self) -> Result<AuditEnds, StoreError> {
        self.readers.read(audit::ends).await
    }

    async fn keep_checkpoint(&self, checkpoint: Checkpoint) -> Result<(), StoreError> {
        self.writer.write(move |tx| audit::keep_checkpoint(tx.db, &checkpoint)).await
    }

    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError> {
        self.readers.read(audit::checkpoints).await
    }

    async fn used(&self, limits: Vec<Limit>, at: Timestamp) -> Result<Vec<u64>, StoreError> {
        self.readers.read(move |db| quotas::used(db, &limits, at)).await
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn cursor_key(&self) -> [u8; 32] {
        self.cursor_key
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.head.clone()
    }

    async fn close(&self) {
        // The last connection to close folds the WAL into the file, which only the writer can.
        self.readers.close();
        self.recent.close();
        self.writer.close().await;
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Failed(format!("a stored record cannot be read: {error}"))
    }
}
