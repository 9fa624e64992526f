//! Whoever changes the database file is found out, also if the links are computed anew.

use std::path::PathBuf;

use pilotgate::{
    config::{self, Settings, settings::Span},
    domain::audit::{Act, Link},
    proto::admin::v1::VerifyAuditChainResponse,
};
use rusqlite::{Connection, params};

use super::{REVIEWER, audit_client, config as world_config, verified, whole, with_administrators};
use crate::{
    retention::{Clock, short},
    support::{READER, World, client, send, text},
};

const CHANGED: &str = "its link does not follow from the entry before and its text: one of them was changed";
const OTHER: &str = "a checkpoint was made of another entry: the log was rewritten, or the checkpoint was changed";

fn file(world: &World) -> PathBuf {
    world.directory.path().join("data").join("pilotgate.db")
}

/// A gateway that has sent eight messages and ended. The last entry alone has a checkpoint.
async fn eight() -> World {
    let world = World::new().await;
    let gateway = world.gateway_with(world_config(&world)).await;
    let mut sender = client(&gateway).await;
    for _ in 0..8 {
        send(&mut sender, text(READER, "x")).await;
    }
    drop(sender);
    gateway.shutdown().await;
    let db = Connection::open(file(&world)).unwrap();
    db.execute("DELETE FROM audit_checkpoints WHERE seq < 8", []).unwrap();
    let left: i64 = db.query_row("SELECT seq FROM audit_checkpoints", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 8);
    world
}

/// Starts again over what is there and checks the log.
async fn found(world: &World) -> VerifyAuditChainResponse {
    let gateway = world.gateway_with(world_config(world)).await;
    let mut reviewer = audit_client(&gateway, Some(REVIEWER)).await;
    let found = verified(&mut reviewer).await;
    // Whatever is wrong, everything that is left can be read.
    let entries = whole(&mut reviewer).await;
    assert_eq!(entries.len(), usize::try_from(found.entries).unwrap());
    drop(reviewer);
    gateway.shutdown().await;
    found
}

/// Opens the file of a world that has ended, changes it, and tells what is found then.
async fn after(tamper: impl FnOnce(&Connection)) -> Vec<(i64, String)> {
    let world = eight().await;
    let db = Connection::open(file(&world)).unwrap();
    tamper(&db);
    drop(db);
    let found = found(&world).await;
    assert_eq!(found.intact, found.faults.is_empty());
    world.double.shutdown().await;
    found.faults.into_iter().map(|fault| (fault.sequence, fault.description)).collect()
}

fn faults<const N: usize>(faults: [(i64, &str); N]) -> Vec<(i64, String)> {
    faults.map(|(sequence, what)| (sequence, what.to_owned())).to_vec()
}

fn entry(db: &Connection, seq: i64) -> (String, Link) {
    db.query_row("SELECT entry, link FROM audit WHERE seq = ?1", [seq], |row| Ok((row.get(0)?, Link(row.get(1)?))))
        .unwrap()
}

fn put(db: &Connection, seq: i64, text: &str, link: Link) {
    let changed = db.execute("UPDATE audit SET entry = ?2, link = ?3 WHERE seq = ?1", params![seq, text, link.0]);
    assert_eq!(changed, Ok(1));
}

fn another(text: &str) -> String {
    let act: Act = serde_json::from_str(text).unwrap();
    serde_json::to_string(&Act { outcome: "refused".to_owned(), ..act }).unwrap()
}

#[tokio::test]
async fn what_was_left_alone_is_intact() {
    assert_eq!(after(|_| {}).await, []);
}

#[tokio::test]
async fn an_edited_entry_or_link_is_named() {
    let edit = |db: &Connection| {
        let (text, link) = entry(db, 3);
        put(db, 3, &another(&text), link);
        let (text, _) = entry(db, 6);
        put(db, 6, &text, Link([9; 32]));
    };
    assert_eq!(after(edit).await, faults([(3, CHANGED), (6, CHANGED)]));
    let unreadable = |db: &Connection| {
        db.execute("UPDATE audit SET entry = 'not JSON', link = x'00' WHERE seq = 4", []).unwrap();
    };
    // Of entry 4 nothing is left that entry 5 could follow from.
    let told = [(4, CHANGED), (4, "its text is no entry of the audit log"), (5, CHANGED)];
    assert_eq!(after(unreadable).await, faults(told));
}

#[tokio::test]
async fn entries_deleted_in_the_middle_are_named() {
    let delete = |db: &Connection| {
        db.execute("DELETE FROM audit WHERE seq IN (3, 5, 6)", []).unwrap();
    };
    let told = [(4, "entry 3 before it is missing"), (7, "entries 5 to 6 before it are missing")];
    assert_eq!(after(delete).await, faults(told));
}

#[tokio::test]
async fn a_deleted_end_is_named_also_once_other_entries_follow() {
    let world = eight().await;
    let db = Connection::open(file(&world)).unwrap();
    db.execute("DELETE FROM audit WHERE seq > 6", []).unwrap();
    drop(db);
    let told = found(&world).await;
    let expected = [(8, "the log ends at entry 6, but a checkpoint was made of this one".to_owned())];
    assert_eq!(told.faults.into_iter().map(|fault| (fault.sequence, fault.description)).collect::<Vec<_>>(), expected);
    let gateway = world.gateway_with(world_config(&world)).await;
    let mut sender = client(&gateway).await;
    for _ in 0..4 {
        send(&mut sender, text(READER, "x")).await;
    }
    let mut reviewer = audit_client(&gateway, Some(REVIEWER)).await;
    let told = verified(&mut reviewer).await;
    assert_eq!((told.last_sequence, told.faults.len()), (10, 1));
    assert_eq!((told.faults[0].sequence, told.faults[0].description.as_str()), (8, OTHER));
    world.end((sender, reviewer), gateway).await;
}

#[tokio::test]
async fn a_deleted_start_is_named_also_if_it_looks_trimmed() {
    let gone = "the entries up to this one are gone, and no entry says that they were trimmed";
    let delete = |db: &Connection| {
        db.execute("DELETE FROM audit WHERE seq < 4", []).unwrap();
    };
    assert_eq!(after(delete).await, faults([(4, "entries 1 to 3 before it are missing")]));
    let pretend = |db: &Connection| {
        let (_, link) = entry(db, 3);
        db.execute("DELETE FROM audit WHERE seq < 4", []).unwrap();
        db.execute("UPDATE audit_anchor SET seq = 3, link = ?1", [link.0]).unwrap();
    };
    assert_eq!(after(pretend).await, faults([(3, gone)]));
}

#[tokio::test]
async fn entries_that_changed_places_are_named() {
    let swap = |db: &Connection| {
        let ((first, one), (second, other)) = (entry(db, 4), entry(db, 5));
        put(db, 4, &second, other);
        put(db, 5, &first, one);
    };
    assert_eq!(after(swap).await.iter().map(|fault| fault.0).collect::<Vec<_>>(), [4, 5, 6]);
    let only_texts = |db: &Connection| {
        let ((first, one), (second, other)) = (entry(db, 4), entry(db, 5));
        put(db, 4, &second, one);
        put(db, 5, &first, other);
    };
    assert_eq!(after(only_texts).await, faults([(4, CHANGED), (5, CHANGED)]));
}

#[tokio::test]
async fn a_log_whose_links_were_computed_anew_does_not_fit_its_checkpoint() {
    let rewrite = |db: &Connection| {
        let (_, mut link) = entry(db, 2);
        for seq in 3..=8 {
            let (text, _) = entry(db, seq);
            link = link.then(seq, &another(&text));
            put(db, seq, &another(&text), link);
        }
    };
    assert_eq!(after(rewrite).await, faults([(8, OTHER)]));
}

#[tokio::test]
async fn no_more_than_twenty_faults_are_told() {
    let world = World::new().await;
    let gateway = world.gateway_with(world_config(&world)).await;
    let mut sender = client(&gateway).await;
    for _ in 0..30 {
        send(&mut sender, text(READER, "x")).await;
    }
    drop(sender);
    gateway.shutdown().await;
    let db = Connection::open(file(&world)).unwrap();
    for seq in 1..=30 {
        let (text, link) = entry(&db, seq);
        put(&db, seq, &another(&text), link);
    }
    drop(db);
    let found = found_in_full(&world).await;
    assert_eq!(found.faults.iter().map(|fault| fault.sequence).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    world.double.shutdown().await;
}

async fn found_in_full(world: &World) -> VerifyAuditChainResponse {
    let gateway = world.gateway_with(world_config(world)).await;
    let mut reviewer = audit_client(&gateway, Some(REVIEWER)).await;
    let found = verified(&mut reviewer).await;
    drop(reviewer);
    gateway.shutdown().await;
    found
}

#[tokio::test]
async fn a_trimmed_log_is_intact() {
    let (world, clock) = (World::new().await, Clock::default());
    let day = std::time::Duration::from_secs(24 * 3600);
    let settings = Settings {
        retention: {
            let mut retention = short(&world).retention;
            retention.audit = Span(day);
            retention
        },
        ..short(&world)
    };
    let config = with_administrators(config::check_in_memory(settings).unwrap());
    let gateway = pilotgate::server::start(config, clock.sources()).await.unwrap();
    world.register(&gateway).await;
    let mut sender = client(&gateway).await;
    for _ in 0..3 {
        send(&mut sender, text(READER, "x")).await;
    }
    clock.forward(3 * 24 * 60);
    let mut reviewer = audit_client(&gateway, Some(REVIEWER)).await;
    crate::retention::until(async || verified(&mut reviewer.clone()).await.first_sequence == 4).await;
    let entries = whole(&mut reviewer).await;
    let (last, [trimming]) = (verified(&mut reviewer).await, &entries[..]) else { panic!("{entries:?}") };
    assert_eq!((trimming.sequence, trimming.actor.as_str(), trimming.action.as_str()), (4, "pilotgate", "audit.trim"));
    assert_eq!(trimming.details["through"], "3");
    assert_eq!((last.intact, last.entries, last.last_sequence), (true, 1, 4));
    send(&mut sender, text(READER, "x")).await;
    assert_eq!(verified(&mut reviewer).await.faults, []);
    world.end((sender, reviewer), gateway).await;
}
