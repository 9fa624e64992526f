//! Messages, facts and log entries by number, and what a store is expected to make of them.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use pilotgate::{
    domain::{
        event::{Event, Payload, Update},
        failure::Failure,
        ids::{MessageId, NumberName},
        inbound::Trust,
        merge::{Fact, Observed},
        message::{ForeignIds, Handoff, Message, Origins, StatusTimes},
        position::Position,
        recipient::Recipient,
        secret::Sealed,
        status::{Origin, Status},
    },
    store::{Claim, Draft, Entry, LeaseEnd, Leases, Next, Queued, Settlement, Sighting, Store, Terms},
};
use uuid::Uuid;

/// The message with this number: asked for by `orders` on `main` at second 0, without a `request_id`.
pub fn draft(n: u128) -> Draft {
    let origins = Origins {
        message_id: id(n),
        caller: "orders".to_owned().try_into().unwrap(),
        number: main(),
        recipient: Recipient::Phone("+5511999990000".parse().unwrap()),
        request_id: None,
        handoff: Handoff::Direct,
        labels: vec!["vip".to_owned()],
        metadata: BTreeMap::from([("order".to_owned(), n.to_string())]),
        create_time: at(0),
        deliver_at: None,
    };
    Draft { origins, fingerprint: [1; 32], likeness: None, queued: None, limits: Vec::new() }
}

/// The same, asked for by this caller under this `request_id`.
pub fn claim(n: u128, caller: &str, request_id: &str) -> Draft {
    let mut draft = draft(n);
    draft.origins.caller = caller.to_owned().try_into().unwrap();
    draft.origins.request_id = Some(request_id.to_owned().try_into().unwrap());
    draft
}

/// The same, on this number.
pub fn draft_on(n: u128, number: &str) -> Draft {
    let mut draft = draft(n);
    draft.origins.number = number_named(number);
    draft
}

/// The same, for the outbox: to this recipient, until this second.
pub fn queued(n: u128, recipient: &str, expires: i64) -> Draft {
    let mut draft = draft(n);
    draft.origins.recipient = Recipient::Phone(recipient.parse().unwrap());
    draft.origins.handoff = Handoff::Queued;
    draft.queued = Some(Queued { body: body(n), expires: at(expires) });
    draft
}

/// What the outbox keeps of [`queued`].
pub fn body(n: u128) -> Sealed {
    Sealed::from_bytes(format!("body {n}").into_bytes())
}

/// For how long a doubt is pursued, in these checks.
pub const REPLAY: SignedDuration = SignedDuration::from_secs(1000);

/// Leases what is due of `main` at one second, until another, at most so many.
pub async fn lease(store: &dyn Store, seconds: i64, until: i64, limit: usize) -> Leases {
    let terms = Terms { number: main(), at: at(seconds), until: at(until), replay: REPLAY, limit };
    store.lease(terms).await.unwrap()
}

/// The numbers of leased messages, with their generations.
pub fn short(leases: &Leases) -> Vec<(MessageId, i64)> {
    leases.leased.iter().map(|leased| (leased.lease.id, leased.lease.generation)).collect()
}

/// A lease that ends with this fact, and the row with it.
pub fn gone(fact: Fact) -> LeaseEnd {
    LeaseEnd { settlement: settled(fact), next: Next::Gone }
}

/// A lease that ends with another attempt to come.
pub fn again(fact: Fact, due: i64, expires: i64, arrived: bool) -> LeaseEnd {
    LeaseEnd { settlement: settled(fact), next: Next::Again { due: at(due), expires: at(expires), arrived } }
}

pub fn id(n: u128) -> MessageId {
    MessageId::from_uuid(Uuid::from_u128(n))
}

pub fn main() -> NumberName {
    number_named("main")
}

pub fn number_named(name: &str) -> NumberName {
    name.to_owned().try_into().unwrap()
}

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + seconds).unwrap()
}

/// A status seen in a webhook at this second.
pub fn reached(status: Status, seconds: i64) -> Fact {
    let observed = Observed::Reached(status);
    let at = at(seconds);
    Fact { status: observed, at, observed_at: at, origin: Origin::Webhook, ids: ForeignIds::default() }
}

pub fn failed(code: &str, seconds: i64) -> Fact {
    Fact { status: Observed::Failed(Failure::reported(code, "told so")), ..reached(Status::Failed, seconds) }
}

/// Ids of others; a dash stands for none.
pub fn ids(upstream: &str, correlation: &str, external: &str) -> ForeignIds {
    fn given<T: TryFrom<String>>(text: &str) -> Option<T> {
        if text == "-" { None } else { text.to_owned().try_into().ok() }
    }
    ForeignIds { upstream: given(upstream), correlation: given(correlation), external: given(external) }
}

/// The fact, naming its message by these ids.
pub fn of(ids: ForeignIds, fact: Fact) -> Fact {
    Fact { ids, ..fact }
}

/// An attempt that led to this fact, and nothing besides.
pub fn settled(fact: Fact) -> Settlement {
    Settlement { fact, attempts: 1, flow_token: None, claim: Claim::Kept, audit: None }
}

pub fn sightings(facts: impl IntoIterator<Item = Fact>) -> Vec<Entry> {
    let proven = |fact| Sighting { fact, likeness: None, trust: Trust::Proven };
    facts.into_iter().map(|fact| proven(fact).into()).collect()
}

/// Accepts the message and settles it as queued at second 1 under these ids.
pub async fn send(store: &dyn Store, draft: Draft, ids: ForeignIds) -> Message {
    let id = draft.origins.message_id;
    store.accept(draft).await.unwrap();
    store.settle(id, settled(of(ids, reached(Status::Queued, 1)))).await.unwrap()
}

pub fn times(observed: &[(Status, i64)]) -> StatusTimes {
    let mut times = StatusTimes::default();
    for (status, seconds) in observed {
        times.observe(*status, at(*seconds));
    }
    times
}

/// The entry that tells of acceptance.
pub fn accepted_at(position: i64, draft: &Draft) -> Event {
    let pending = Fact { origin: Origin::Gateway, ..reached(Status::Pending, 0) };
    told_at(position, draft, &ForeignIds::default(), &pending, Status::Pending)
}

/// The entry that tells of this fact, when the message was known by `ids` and stood at `current`.
pub fn told_at(position: i64, draft: &Draft, ids: &ForeignIds, fact: &Fact, current: Status) -> Event {
    let update = Update {
        origins: draft.origins.clone(),
        ids: ids.clone(),
        observed: fact.status.clone(),
        current,
        correction: false,
        at: fact.at,
        observed_at: fact.observed_at,
        origin: fact.origin,
    };
    Event { position: Position(position), payload: Payload::Update(update) }
}

/// The same entry with another update.
pub fn altered(event: Event, alter: impl FnOnce(&mut Update)) -> Event {
    let Payload::Update(mut update) = event.payload else { panic!("an inbound event") };
    alter(&mut update);
    Event { payload: Payload::Update(update), ..event }
}

/// Every entry kept. Nowhere behind what was trimmed may a position be left out or come twice.
pub async fn log(store: &dyn Store) -> Vec<Event> {
    let (mut events, mut after) = (Vec::new(), Position::START);
    let head = loop {
        let page = store.events(after, usize::MAX).await.unwrap();
        match page.events.last() {
            Some(last) => after = last.position,
            None => break page.head,
        }
        events.extend(page.events.iter().map(|event| (**event).clone()));
    };
    let (oldest, _) = store.oldest().await.unwrap();
    // Not compared as lists: they would be printed whole.
    let positions = events.iter().map(|event: &Event| event.position.0);
    assert!(positions.eq(oldest.0 + 1..=head.0), "positions count without holes");
    events
}

/// What the log tells of each message in short: which, what was observed, and where it stood then.
pub async fn trail(store: &dyn Store) -> Vec<(MessageId, Option<Status>, Status)> {
    let short = |event: &Event| {
        event.update().map(|update| (update.origins.message_id, update.observed.status(), update.current))
    };
    log(store).await.iter().filter_map(short).collect()
}
