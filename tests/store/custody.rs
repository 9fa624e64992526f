//! Root keys over a store: going over from one to another whenever the process ends, and what was tampered with.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use pilotgate::{
    admin::{
        AdminError,
        vault::{Custody, KeyUse, OpenVaultError, Unreadable, VaultState},
    },
    domain::{
        record::{Place, RecordKey, RecordKind},
        sources::Sources,
    },
    identity::{Acting, ManageVault, ViewVault},
    store::{AuditQuery, Change, Changed, Record, Store},
    vault::{Given, KeyId, Options, RootKey, UnsealError},
};
use secrecy::SecretString;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    Sqlite,
    conformance::Backend,
    fixtures::{id, queued},
};

pub const BODIES: u128 = 200;
pub const RECORDS: usize = 20;

pub async fn custody(store: &Arc<dyn Store>, options: Options, directory: &Path) -> Result<Custody, OpenVaultError> {
    Custody::open(Arc::clone(store), options, directory, Sources::system()).await
}

pub async fn rotate(custody: &Custody) -> Result<VaultState, AdminError> {
    custody.rotate(&Acting::<ManageVault>::of_the_gateway("a test"), None).await
}

pub async fn status(custody: &Custody) -> VaultState {
    custody.status(&Acting::<ViewVault>::of_the_gateway("a test")).await.unwrap()
}

/// Seals anew until this holds.
pub async fn reseal_until(custody: &Custody, reached: impl Fn(&VaultState) -> bool) -> VaultState {
    let stop = CancellationToken::new();
    let task = tokio::spawn(custody.clone().run_resealing(stop.clone()));
    let wait = async {
        loop {
            let state = status(custody).await;
            if reached(&state) {
                return state;
            }
        }
    };
    let state = timeout(Duration::from_secs(30), wait).await.expect("not so within 30 s");
    stop.cancel();
    task.await.unwrap();
    state
}

/// All is under one key, and no other one is kept.
pub fn settled(state: &VaultState) -> bool {
    state.keys.len() == 1 && state.keys[0].records == RECORDS as u64 + 1
}

fn record_text(n: usize) -> String {
    format!("what record {n} says")
}

fn body_text(n: u128) -> String {
    format!("what body {n} says")
}

/// Records and bodies, sealed by this vault.
pub async fn fill(store: &Arc<dyn Store>, custody: &Custody) {
    let mut change = Change::default();
    for n in 0..RECORDS {
        let key = RecordKey::of(RecordKind::Number, &format!("n{n}"));
        let version = 1000 + i64::try_from(n).unwrap();
        let place = Place::Record(key.clone(), version);
        let sealed = custody.vault().seal(&place, record_text(n).as_bytes()).unwrap();
        change.puts.push((Record { key, version, sealed }, None));
    }
    assert_eq!(store.change(change).await, Ok(Changed::Done));
    for n in 0..BODIES {
        let mut draft = queued(n, &format!("+55119{n:08}"), 1_000_000);
        draft.queued.as_mut().unwrap().body =
            custody.vault().seal(&Place::Outbox(id(n)), body_text(n).as_bytes()).unwrap();
        store.accept(draft).await.unwrap();
    }
}

/// Every record and body says what it said at first.
pub async fn assert_readable(store: &Arc<dyn Store>, custody: &Custody) {
    let records = store.records().await.unwrap();
    for n in 0..RECORDS {
        let record = records.iter().find(|record| *record.key.name == *format!("n{n}")).unwrap();
        let place = Place::Record(record.key.clone(), record.version);
        assert_eq!(custody.vault().unseal(&place, &record.sealed).unwrap().as_slice(), record_text(n).as_bytes());
    }
    let mut bodies = 0;
    for key in status(custody).await.keys {
        for (place, sealed) in store.sealed_under(key.id.0, usize::MAX).await.unwrap() {
            let Place::Outbox(found) = &place else { continue };
            let n = (0..BODIES).find(|n| id(*n) == *found).unwrap();
            assert_eq!(custody.vault().unseal(&place, &sealed).unwrap().as_slice(), body_text(n).as_bytes());
            bodies += 1;
        }
    }
    assert_eq!(bodies, BODIES);
}

fn key(seed: u8) -> RootKey {
    let digits: String =
        (0..32u32).map(|n| format!("{:02x}", (n * n * 7 + n * 31 + u32::from(seed) * 5) % 251)).collect();
    RootKey::from_text(&SecretString::from(digits)).unwrap()
}

/// A source whose key somebody else may replace.
fn given(present: &Arc<Mutex<RootKey>>) -> Options {
    let first = present.lock().unwrap().clone();
    let again = Arc::clone(present);
    let again = Arc::new(move || Ok(again.lock().unwrap().clone()));
    Options { given: Some(Given { key: first, again: Some(again) }), previous: Vec::new() }
}

fn fixed(key: &RootKey, previous: &[RootKey]) -> Options {
    Options { given: Some(Given { key: key.clone(), again: None }), previous: previous.to_vec() }
}

fn used(id: KeyId, records: usize, bodies: u128) -> KeyUse {
    let (records, bodies) = (u64::try_from(records).unwrap(), u64::try_from(bodies).unwrap());
    KeyUse { id, known: true, records, bodies }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_key_is_replaced_and_all_is_sealed_anew() {
    let place = Sqlite::new();
    let store = place.open().await;
    let before = custody(&store, Options::default(), place.place.path()).await.unwrap();
    fill(&store, &before).await;
    let likeness = *before.vault().likeness(&crate::fixtures::main(), "+1", "x").as_bytes();
    let old = before.vault().current();
    // The digest key is a record too.
    assert_eq!(status(&before).await.keys, [used(old, RECORDS + 1, BODIES)]);
    let rotated = rotate(&before).await.unwrap();
    let new = rotated.current;
    assert_ne!(new, old);
    assert!(rotated.resealing);
    assert_eq!(rotated.keys.iter().map(|key| key.records).sum::<u64>(), RECORDS as u64 + 2);
    assert_readable(&store, &before).await;
    let done = reseal_until(&before, |state| !state.resealing).await;
    // The old one is kept for a while, sealed under the new one, for what is on its way.
    assert_eq!(done.keys, [used(new, RECORDS + 2, BODIES)]);
    assert_readable(&store, &before).await;
    store.close().await;

    let store = place.open().await;
    let after = custody(&store, Options::default(), place.place.path()).await.unwrap();
    assert_eq!(*after.vault().likeness(&crate::fixtures::main(), "+1", "x").as_bytes(), likeness);
    let done = reseal_until(&after, settled).await;
    assert_eq!((done.keys, done.unreadable), (vec![used(new, RECORDS + 1, BODIES)], vec![]));
    assert_readable(&store, &after).await;
    let acts = store.audited(AuditQuery { limit: 100, ..AuditQuery::default() }).await.unwrap();
    let told: Vec<_> = acts.iter().map(|record| record.act().unwrap()).map(|act| (act.action, act.subject)).collect();
    let subject = format!("root-key/{old}");
    assert_eq!(told, [("vault.rotate".to_owned(), subject.clone()), ("vault.retire".to_owned(), subject)]);
    store.close().await;
}

/// Where the key is kept, and the next one beside it.
fn files(place: &Sqlite) -> (PathBuf, PathBuf) {
    (place.place.path().join("root.key"), place.place.path().join("root.key.next"))
}

#[tokio::test]
async fn a_process_that_ends_between_two_steps_starts_with_whichever_key_it_finds() {
    let place = Sqlite::new();
    let (kept, beside) = files(&place);
    let store = place.open().await;
    let first = custody(&store, Options::default(), place.place.path()).await.unwrap();
    fill(&store, &first).await;
    let old = first.vault().current();
    let old_text = fs::read(&kept).unwrap();
    store.close().await;

    // After the next key was written: it means nothing yet.
    RootKey::generate(&Sources::system()).keep_beside(&kept).unwrap();
    let store = place.open().await;
    let second = custody(&store, Options::default(), place.place.path()).await.unwrap();
    assert_eq!(second.vault().current(), old);
    assert_readable(&store, &second).await;
    let new = rotate(&second).await.unwrap().current;
    store.close().await;

    // After the store has the old one under the new one, and before that one is in its place.
    fs::rename(&kept, &beside).unwrap();
    fs::write(&kept, &old_text).unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o600)).unwrap();
    let store = place.open().await;
    let third = custody(&store, Options::default(), place.place.path()).await.unwrap();
    assert_eq!((third.vault().current(), third.vault().earlier()), (new, vec![old]));
    assert!(!beside.exists());
    assert_readable(&store, &third).await;
    store.close().await;

    // And once more, with everything in its place.
    let store = place.open().await;
    let fourth = custody(&store, Options::default(), place.place.path()).await.unwrap();
    assert_eq!(fourth.vault().current(), new);
    reseal_until(&fourth, settled).await;
    assert_readable(&store, &fourth).await;
    store.close().await;
}

#[tokio::test]
async fn a_key_that_somebody_else_keeps_is_read_again() {
    let place = Sqlite::new();
    let store = place.open().await;
    let present = Arc::new(Mutex::new(key(1)));
    let running = custody(&store, given(&present), place.place.path()).await.unwrap();
    fill(&store, &running).await;
    let same = "vault.root_key still gives the present root key; put the new one there first, then rotate";
    assert_eq!(rotate(&running).await, Err(AdminError::NotNow(same.to_owned())));
    *present.lock().unwrap() = key(2);
    rotate(&running).await.unwrap();
    *present.lock().unwrap() = key(3);
    let state = rotate(&running).await.unwrap();
    assert_eq!(state.current, key(3).id());
    let seen = Acting::<ManageVault>::of_the_gateway("a test");
    let changed = Err(AdminError::Changed("the root key".to_owned()));
    assert_eq!(running.rotate(&seen, Some(key(2).id())).await, changed);
    store.close().await;
    assert!(!place.place.path().join("root.key").exists());

    // Through the second one, which only the store has now.
    let store = place.open().await;
    let again = custody(&store, given(&present), place.place.path()).await.unwrap();
    assert_readable(&store, &again).await;
    // Back to the first one, whose record is under another one still.
    *present.lock().unwrap() = key(1);
    rotate(&again).await.unwrap();
    store.close().await;
    let store = place.open().await;
    let back = custody(&store, given(&present), place.place.path()).await.unwrap();
    let done = reseal_until(&back, settled).await;
    assert_eq!((done.keys, done.unreadable), (vec![used(key(1).id(), RECORDS + 1, BODIES)], vec![]));
    assert_readable(&store, &back).await;
    store.close().await;
}

#[tokio::test]
async fn a_key_of_the_environment_is_replaced_by_a_restart() {
    let place = Sqlite::new();
    let store = place.open().await;
    let running = custody(&store, fixed(&key(1), &[]), place.place.path()).await.unwrap();
    fill(&store, &running).await;
    let Err(AdminError::NotNow(told)) = rotate(&running).await else { panic!("it changed") };
    assert!(told.contains("restart it with the new key as vault.root_key"), "{told}");
    store.close().await;

    let store = place.open().await;
    let Err(error) = custody(&store, fixed(&key(2), &[]), place.place.path()).await else { panic!("it opened") };
    assert_eq!(
        error.to_string(),
        format!(
            "the root key does not open what the store is sealed under: the key given is {}, the store is sealed under \
             {}; start with that one (vault.root_key, by default the file root.key in the data directory), or name it \
             in vault.previous_root_keys to go over to the one given",
            key(2).id(),
            key(1).id()
        )
    );
    let after = custody(&store, fixed(&key(2), &[key(1)]), place.place.path()).await.unwrap();
    assert_readable(&store, &after).await;
    store.close().await;

    // Once is enough: the store has it now, wherever sealing anew was.
    let store = place.open().await;
    let later = custody(&store, fixed(&key(2), &[]), place.place.path()).await.unwrap();
    let done = reseal_until(&later, settled).await;
    assert_eq!(done.keys, [used(key(2).id(), RECORDS + 1, BODIES)]);
    assert_readable(&store, &later).await;
    store.close().await;
}

#[tokio::test]
async fn what_is_tampered_with_is_named_and_hides_nothing_else() {
    let place = Sqlite::new();
    let store = place.open().await;
    let before = custody(&store, Options::default(), place.place.path()).await.unwrap();
    fill(&store, &before).await;
    // Some of it is found while it is sealed anew.
    rotate(&before).await.unwrap();
    store.close().await;

    let database = rusqlite::Connection::open(place.place.path().join("pilotgate.db")).unwrap();
    let tamper = |sql: &str| assert_eq!(database.execute(sql, []), Ok(1), "{sql}");
    let flip = |table: &str, column: &str, which: &str, at: usize| {
        let read = format!("SELECT {column} FROM {table} WHERE {which}");
        let mut bytes: Vec<u8> = database.query_row(&read, [], |row| row.get(0)).unwrap();
        bytes[at] ^= 1;
        let write = format!("UPDATE {table} SET {column} = ?1 WHERE {which}");
        assert_eq!(database.execute(&write, [bytes]), Ok(1), "{write}");
    };
    // One byte; another name; another version; another record's bytes; cut; under a key that nobody has.
    flip("records", "sealed", "name = 'n0'", 50);
    tamper("UPDATE records SET name = 'moved' WHERE name = 'n1'");
    tamper("UPDATE records SET version = version + 1 WHERE name = 'n2'");
    tamper("UPDATE records SET sealed = (SELECT sealed FROM records WHERE name = 'n4') WHERE name = 'n3'");
    tamper("UPDATE records SET sealed = x'0102' WHERE name = 'n5'");
    flip("records", "sealed", "name = 'n6'", 1);
    flip("outbox", "body", "seq = (SELECT min(seq) FROM outbox)", 40);
    drop(database);

    let store = place.open().await;
    let after = custody(&store, Options::default(), place.place.path()).await.unwrap();
    let expected = |name: &str, error| (format!("number/{name}"), error);
    use UnsealError::{Damaged, OtherKey};
    let mut named: Vec<_> = [("moved", Damaged), ("n0", Damaged), ("n2", Damaged), ("n3", Damaged), ("n5", Damaged)]
        .map(|(name, error)| expected(name, error))
        .into();
    named.push(expected("n6", OtherKey));
    named.push((format!("outbox/{}", id(0)), Damaged));
    let told = |state: &VaultState| {
        let told = state.unreadable.iter().map(|Unreadable { place, error }| (place.to_string(), *error));
        let mut told: Vec<_> = told.collect();
        told.sort_by(|one, other| one.0.cmp(&other.0));
        told
    };
    assert_eq!(told(&status(&after).await), named);
    let done = reseal_until(&after, |state| !state.resealing).await;
    assert_eq!(told(&done), named, "and not lost in sealing anew");
    // All others went over.
    let current = &done.keys[0];
    assert_eq!(
        (current.id, current.records, current.bodies),
        (done.current, RECORDS as u64 - 6 + 2, BODIES as u64 - 1)
    );
    let records = store.records().await.unwrap();
    assert_eq!(records.len(), RECORDS + 2);
    store.close().await;
}
