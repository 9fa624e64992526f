//! A process that is killed at any moment: whatever it was told is on disk.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsStr,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use futures_util::future::join_all;
use pilotgate::{
    domain::{
        quota::{Limit, Subject, Window},
        record::{RecordKey, RecordKind},
        secret::Sealed,
        status::Status::{Pending, Queued},
    },
    store::{self, Change, Changed, Draft, Options, Record, Settlement, Store},
};

use crate::{
    Sqlite,
    conformance::{Backend, audit},
    fixtures::{at, draft, id, ids, log, main, of, reached, settled},
};

/// Tells the process to be killed which directory to write in.
const DIRECTORY: &str = "PILOTGATE_TEST_KILL_DIRECTORY";
/// And the number of its first message.
const FIRST: &str = "PILOTGATE_TEST_KILL_FIRST";

const ATTEMPT: &str = "message.attempt";
const REGISTER: &str = "number.register";

const ROUNDS: u64 = 20;

/// More messages than one round ever writes.
const PER_ROUND: u64 = 1_000_000;

#[tokio::test]
async fn what_was_acknowledged_outlives_the_process() {
    let place = Sqlite::new();
    let epoch = place.epoch().await;
    let mut acknowledged = BTreeSet::new();
    for round in 0..ROUNDS {
        let mut doomed = Doomed::spawn(place.place.path(), round * PER_ROUND);
        let enough = rand::random_range(1..300);
        let before = acknowledged.len();
        while acknowledged.len() < before + enough {
            acknowledged.extend(doomed.acknowledged());
        }
        acknowledged.extend(doomed.kill());
        assert_eq!(place.epoch().await, epoch);
        place.assert_holds(&acknowledged).await;
    }
}

#[tokio::test]
async fn a_store_half_made_is_made_whole() {
    for sign_of_life in ["lock", "pilotgate.db", "pilotgate.db-wal", "pilotgate.db-shm"] {
        let place = Sqlite::new();
        let mut doomed = Doomed::spawn(place.place.path(), 1);
        while !place.place.path().join(sign_of_life).exists() {
            assert_eq!(doomed.0.try_wait().unwrap(), None, "it ended by itself");
            thread::yield_now();
        }
        let acknowledged = doomed.kill().into_iter().collect();
        place.assert_holds(&acknowledged).await;
    }
}

/// Not a test by itself: what the process does that the others kill. Anywhere else it returns at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_until_killed() {
    let (Some(directory), Ok(first)) = (env::var_os(DIRECTORY), env::var(FIRST)) else { return };
    let next = Arc::new(AtomicU64::new(first.parse().unwrap()));
    let store = store::open(Options::at(directory)).await.unwrap();
    let writers = (0..8).map(|_| {
        let (store, next) = (Arc::clone(&store), Arc::clone(&next));
        tokio::spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                write_one(&*store, n).await;
                // Begins a line of its own, whatever the test runner wrote before.
                write!(io::stdout().lock(), "\nwritten {n}\n").unwrap();
            }
        })
    });
    join_all(writers).await;
}

/// A message that counts towards a limit, its attempt with an entry in the audit log, and a record with another one.
async fn write_one(store: &dyn Store, n: u64) {
    let id = id(n.into());
    store.accept(Draft { limits: limits(), ..draft(n.into()) }).await.unwrap();
    let fact = of(ids(&format!("u{n}"), "-", "-"), reached(Queued, 1));
    let told = audit::act(1, "orders", ATTEMPT, &format!("message/{id}"));
    store.settle(id, Settlement { audit: Some(told), ..settled(fact) }).await.unwrap();
    let key = RecordKey::of(RecordKind::Number, &n.to_string());
    let told = audit::act(1, "root", REGISTER, &key.to_string());
    let record = Record { key, version: 1, sealed: Sealed::from_bytes(vec![1; 40]) };
    let change = Change { puts: vec![(record, None)], audit: vec![told], ..Change::default() };
    assert_eq!(store.change(change).await, Ok(Changed::Done));
}

/// One that is never used up.
fn limits() -> Vec<Limit> {
    vec![Limit { subject: Subject::Number(main()), window: Window::Day, most: u64::MAX }]
}

/// A process that writes until it is killed.
struct Doomed(Child, BufReader<std::process::ChildStdout>);

impl Doomed {
    fn spawn(directory: &Path, first: u64) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["kill::write_until_killed", "--exact", "--nocapture"])
            .env(DIRECTORY, directory)
            .env(FIRST, OsStr::new(&first.to_string()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let told = BufReader::new(child.stdout.take().unwrap());
        Self(child, told)
    }

    /// What the next line acknowledges, if it does.
    fn acknowledged(&mut self) -> Option<u64> {
        let mut line = String::new();
        assert_ne!(self.1.read_line(&mut line).unwrap(), 0, "it ended by itself");
        number_in(&line)
    }

    /// Kills it in whatever it is doing. Returns what else it was told before.
    fn kill(mut self) -> Vec<u64> {
        self.0.kill().unwrap();
        let rest = io::read_to_string(&mut self.1).unwrap();
        self.0.wait().unwrap();
        rest.split_inclusive('\n').filter_map(number_in).collect()
    }
}

/// The last line may be cut, so only one that ends counts.
fn number_in(line: &str) -> Option<u64> {
    line.strip_prefix("written ")?.strip_suffix('\n')?.parse().ok()
}

impl Sqlite {
    async fn epoch(&self) -> pilotgate::domain::position::Epoch {
        let store = self.open().await;
        store.close().await;
        store.epoch()
    }

    /// All that was acknowledged is there, and of the rest nothing by halves.
    async fn assert_holds(&self, acknowledged: &BTreeSet<u64>) {
        let store = self.open().await;
        let events = log(&*store).await;
        let told: BTreeSet<_> = events
            .iter()
            .map(|event| (event.update().unwrap().origins.message_id, event.update().unwrap().current))
            .collect();
        assert_eq!(told.len(), events.len(), "an entry appears twice");
        for n in acknowledged {
            let id = id((*n).into());
            assert!(told.contains(&(id, Pending)) && told.contains(&(id, Queued)), "message {n} is lost");
        }
        let messages = store.messages(told.iter().map(|(id, _)| *id).collect()).await.unwrap();
        for message in messages {
            let settled = told.contains(&(message.origins.message_id, Queued));
            assert_eq!((message.status == Queued, message.attempts == 1), (settled, settled));
        }
        // Each has its cause, and each cause its entry.
        let entries = audit::entries(&*store).await;
        let mut acts: Vec<_> =
            entries.iter().map(|entry| entry.act().unwrap()).map(|act| (act.action, act.subject)).collect();
        let attempts = told.iter().filter(|(_, current)| *current == Queued);
        let attempts = attempts.map(|(id, _)| (ATTEMPT.to_owned(), format!("message/{id}")));
        let records = store.records().await.unwrap();
        let records = records.iter().map(|record| (REGISTER.to_owned(), record.key.to_string()));
        let mut causes: Vec<_> = attempts.chain(records).collect();
        acts.sort();
        causes.sort();
        assert!(acts == causes, "{} entries of {} causes", acts.len(), causes.len());
        let accepted = told.iter().filter(|(_, current)| *current == Pending).count();
        assert_eq!(store.used(limits(), at(0)).await, Ok(vec![accepted as u64]));
        store.close().await;
    }
}
