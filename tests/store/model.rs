//! The outbox against a model of it, over random histories.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use pilotgate::{
    domain::{
        failure::{Failure, FailureCode},
        ids::MessageId,
        status::Status::{self, Canceled, Failed, InDoubt, Pending, Queued},
    },
    store::{self, Accepted, Expiry, Lease, Options, OutboxBounds, Store, Withdrawn},
};
use proptest::{
    prelude::{Just, ProptestConfig, Strategy, any, prop_oneof},
    proptest,
};

use crate::fixtures::{REPLAY, again, at, gone, id, lease, queued, reached};

/// Rows that the store takes.
const ROOM: usize = 6;
/// Seconds after its end at which a lease is taken as forsaken.
const FORSAKEN: i64 = 40;

#[derive(Clone, Debug)]
enum Step {
    Accept { recipient: u8, lives: i64 },
    Lease { lasts: i64, limit: usize },
    Settle { which: usize, how: How },
    Withdraw { which: usize, expected: Status },
    Expire { limit: usize },
    EndLeases,
    Pass { seconds: i64 },
}

#[derive(Clone, Copy, Debug)]
enum How {
    Accepted,
    NotArrived { wait: i64 },
    Doubtful { wait: i64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let how = prop_oneof![
        Just(How::Accepted),
        (0..30_i64).prop_map(|wait| How::NotArrived { wait }),
        (0..30_i64).prop_map(|wait| How::Doubtful { wait }),
    ];
    let step = prop_oneof![
        4 => (0..3_u8, 1..120_i64).prop_map(|(recipient, lives)| Step::Accept { recipient, lives }),
        4 => (1..40_i64, 1..4_usize).prop_map(|(lasts, limit)| Step::Lease { lasts, limit }),
        5 => (any::<usize>(), how).prop_map(|(which, how)| Step::Settle { which, how }),
        1 => (any::<usize>(), prop_oneof![Just(Pending), Just(InDoubt)])
            .prop_map(|(which, expected)| Step::Withdraw { which, expected }),
        2 => (1..4_usize).prop_map(|limit| Step::Expire { limit }),
        1 => Just(Step::EndLeases),
        3 => (1..60_i64).prop_map(|seconds| Step::Pass { seconds }),
    ];
    proptest::collection::vec(step, 1..60)
}

#[derive(Clone, Debug)]
struct Row {
    recipient: u8,
    due: i64,
    expires: i64,
    since: Option<i64>,
    generation: i64,
    leased: bool,
}

/// What is expected of the store. Times are seconds.
#[derive(Default)]
struct Model {
    now: i64,
    rows: BTreeMap<u128, Row>,
    statuses: BTreeMap<u128, Status>,
    attempts: BTreeMap<u128, u32>,
    /// Every lease ever given.
    leases: Vec<(u128, i64)>,
}

impl Model {
    fn is_first(&self, n: u128) -> bool {
        let recipient = self.rows[&n].recipient;
        self.rows.iter().find(|(_, row)| row.recipient == recipient).map(|(first, _)| *first) == Some(n)
    }

    fn due(&self) -> Vec<u128> {
        let due = |(n, row): (&u128, &Row)| {
            let open = row.due <= self.now && (row.expires > self.now || row.leased);
            (open && self.is_first(*n)).then_some(*n)
        };
        self.rows.iter().filter_map(due).collect()
    }

    fn next_due(&self) -> Option<i64> {
        let open = |n: &u128, row: &Row| self.is_first(*n) && (row.expires > self.now || row.leased);
        self.rows.iter().filter(|(n, row)| open(n, row)).map(|(_, row)| row.due).min()
    }

    /// The number is that of a row that is about to be leased, whose lease before may have left no answer.
    fn lease(&mut self, n: u128, until: i64) -> (Status, i64, i64) {
        let (now, status) = (self.now, self.statuses.get_mut(&n).unwrap());
        let row = self.rows.get_mut(&n).unwrap();
        row.generation += 1;
        let since = *row.since.get_or_insert(now);
        if row.leased {
            *status = InDoubt;
            row.expires = since + REPLAY.as_secs();
        }
        (row.leased, row.due) = (true, until);
        self.leases.push((n, row.generation));
        (*status, since, row.expires)
    }
}

/// The other way round than [`id`].
fn number(id: MessageId) -> u128 {
    id.as_bytes().iter().fold(0, |n, byte| n << 8 | u128::from(*byte))
}

async fn compare(store: &dyn Store, model: &Model) {
    for (n, status) in &model.statuses {
        let message = store.message(id(*n)).await.unwrap().unwrap();
        assert_eq!((message.status, message.attempts), (*status, model.attempts[n]), "message {n}");
    }
}

async fn walk(store: &dyn Store, steps: Vec<Step>) {
    let mut model = Model::default();
    for step in steps {
        let now = model.now;
        match step {
            Step::Accept { recipient, lives } => {
                let n = model.statuses.len() as u128 + 1;
                let mut draft = queued(n, &format!("+551199999000{recipient}"), now + lives);
                draft.origins.create_time = at(now);
                let accepted = store.accept(draft).await.unwrap();
                if model.rows.len() >= ROOM {
                    assert_eq!(accepted, Accepted::Full);
                } else {
                    assert!(matches!(accepted, Accepted::New(_)), "{accepted:?}");
                    let row =
                        Row { recipient, due: now, expires: now + lives, since: None, generation: 0, leased: false };
                    model.rows.insert(n, row);
                    model.statuses.insert(n, Pending);
                    model.attempts.insert(n, 0);
                }
            }
            Step::Lease { lasts, limit } => {
                let due = model.due();
                let leases = lease(store, now, now + lasts, limit).await;
                let expected = due.len().min(limit);
                assert_eq!(leases.leased.len(), expected, "of {due:?}");
                for leased in &leases.leased {
                    let n = number(leased.lease.id);
                    assert!(due.contains(&n), "{n} is not due");
                    let (status, since, expires) = model.lease(n, now + lasts);
                    assert_eq!(leased.lease.generation, model.rows[&n].generation);
                    assert_eq!(leased.message.status, status);
                    assert_eq!((leased.since, leased.expires), (at(since), at(expires)));
                }
                assert_eq!(leases.next, model.next_due().map(at));
            }
            Step::Settle { which, how } => {
                let Some((n, generation)) = model.leases.get(which % model.leases.len().max(1)).copied() else {
                    continue;
                };
                let since = model.rows.get(&n).and_then(|row| row.since).unwrap_or(now);
                let doubtful = model.statuses[&n] == InDoubt;
                let end = match how {
                    How::Accepted => gone(reached(Queued, now)),
                    How::NotArrived { wait } => {
                        let expires = model.rows.get(&n).map_or(now, |row| row.expires);
                        again(reached(Pending, now), now + wait, expires, doubtful)
                    }
                    How::Doubtful { wait } => again(reached(InDoubt, now), now + wait, since + REPLAY.as_secs(), true),
                };
                let settled = store.settle_lease(Lease { id: id(n), generation }, end).await.unwrap();
                let counts = model.rows.get(&n).is_some_and(|row| row.leased && row.generation == generation);
                assert_eq!(settled.is_some(), counts, "lease {generation} of {n}");
                let Some(settled) = settled else { continue };
                *model.attempts.get_mut(&n).unwrap() += 1;
                let row = model.rows.get_mut(&n).unwrap();
                match how {
                    How::Accepted => {
                        let recipient = row.recipient;
                        model.rows.remove(&n);
                        model.statuses.insert(n, Queued);
                        assert_eq!(settled.followed, model.rows.values().any(|row| row.recipient == recipient));
                    }
                    How::NotArrived { wait } => {
                        (row.due, row.leased) = (now + wait, false);
                        row.since = row.since.filter(|_| doubtful);
                    }
                    How::Doubtful { wait } => {
                        (row.due, row.leased, row.expires) = (now + wait, false, since + REPLAY.as_secs());
                        model.statuses.insert(n, InDoubt);
                    }
                }
                assert_eq!(settled.message.status, model.statuses[&n]);
            }
            Step::Withdraw { which, expected } => {
                let Some(n) = model.statuses.keys().nth(which % model.statuses.len().max(1)).copied() else { continue };
                let withdrawn = store.withdraw(id(n), expected, reached(Canceled, now), None).await.unwrap();
                match model.rows.get(&n) {
                    None => assert_eq!(withdrawn, Withdrawn::Absent),
                    Some(row) if row.leased || model.statuses[&n] != expected => {
                        assert_eq!(withdrawn, Withdrawn::Busy);
                    }
                    Some(_) => {
                        assert!(matches!(withdrawn, Withdrawn::Done(_)), "{withdrawn:?}");
                        model.rows.remove(&n);
                        model.statuses.insert(n, Canceled);
                    }
                }
            }
            Step::Expire { limit } => {
                let failure = Failure::of_handoff(FailureCode::QueueExpired, "too late");
                let expiry = Expiry { at: at(now), forsaken: at(now - FORSAKEN), failure, limit };
                let expired = store.expire(expiry).await.unwrap();
                let over = |row: &Row| row.expires <= now && (!row.leased || row.due < now - FORSAKEN);
                let expected = model.rows.values().filter(|row| over(row)).count().min(limit);
                assert_eq!(expired.messages.len(), expected);
                for message in &expired.messages {
                    let n = number(message.origins.message_id);
                    let row = model.rows.remove(&n).unwrap();
                    assert!(over(&row), "{n} has not expired: {row:?}");
                    let status = model.statuses.get_mut(&n).unwrap();
                    *status = if *status == Pending && !row.leased { Failed } else { InDoubt };
                    assert_eq!(message.status, *status);
                }
                let next = model.rows.values().map(|row| match (row.expires > now, row.leased) {
                    (true, _) => at(row.expires),
                    (false, true) => at(row.due + FORSAKEN) + SignedDuration::from_micros(1),
                    (false, false) => at(now),
                });
                assert_eq!(expired.next, if expected == limit { Some(at(now)) } else { next.min() });
            }
            Step::EndLeases => {
                store.end_leases(at(now)).await.unwrap();
                for row in model.rows.values_mut().filter(|row| row.leased) {
                    row.due = row.due.min(now);
                }
            }
            Step::Pass { seconds } => model.now += seconds,
        }
        compare(store, &model).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_outbox_does_as_its_model(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let place = tempfile::tempdir().unwrap();
        runtime.block_on(async {
            let outbox = OutboxBounds { messages: ROOM as u64, bytes: 1000 };
            let store = store::open(Options { outbox, ..Options::at(place.path()) }).await.unwrap();
            walk(&*store, steps).await;
            store.close().await;
        });
    }
}
