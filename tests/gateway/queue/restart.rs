//! What outlives the gateway: the queue, sealed under the root key.

use std::{fs, path::Path};

use pilotgate::{
    config::{SecretRef, Settings},
    domain::sources::Sources,
    proto::v1::MessageStatus::{Pending, Queued},
    server,
    vault::RootKey,
};
use secrecy::SecretString;

use super::{ALL, alone, checked, eager};
use crate::support::{
    READER, World, client, follow, from_earliest, get, key, message_until, queued, send, text, trails, until,
};

const RIGHT: &str = "bbff3bda40f691e585f90f39e0d59a011ef015f4209b1232856ac57fcd13babe";
const WRONG: &str = "0c53aba685f85949336d2f0682f3127b22628fa4a1d344a24f7b0662faca264d";

/// The files of the data directory that hold this text.
fn holding(directory: &Path, text: &str) -> Vec<String> {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let holds = |bytes: Vec<u8>| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    files
        .filter(|file| holds(fs::read(file.path()).unwrap()))
        .map(|file| file.file_name().into_string().unwrap())
        .collect()
}

fn under(settings: &Settings, key: &str) -> Settings {
    let mut settings = settings.clone();
    settings.vault.root_key = Some(SecretRef::Inline(SecretString::from(key)));
    settings
}

#[tokio::test]
async fn a_full_queue_is_drained_after_a_restart() {
    let world = World::new().await;
    let settings = eager(&world);
    let down = world.down().await;
    let gateway = alone(settings.clone()).await;
    let mut before = client(&gateway).await;
    let phones: Vec<_> = (0..10).map(|n| format!("+55119{n}7650006")).collect();
    let mut ids = Vec::new();
    for n in 0..200 {
        ids.push(send(&mut before, queued(text(&phones[n % 10], &format!("{n}")))).await);
    }
    message_until(&mut before, &ids[0], |message| message.attempts > 0).await;
    drop(before);
    gateway.shutdown().await;

    let world = down.up().await;
    let gateway = world.gateway_with(checked(settings)).await;
    until(|| world.double.control().messages().len() == 200).await;
    let seen = world.double.control().messages();
    assert!(seen.iter().all(|seen| seen.accepted == 1));
    for (lane, phone) in phones.iter().enumerate() {
        let sent: Vec<_> =
            seen.iter().filter(|seen| seen.recipient == *phone).map(|seen| seen.idempotency_key.clone()).collect();
        assert_eq!(sent, ids.iter().skip(lane).step_by(10).map(|id| key(id)).collect::<Vec<_>>(), "{phone}");
    }
    let mut client = client(&gateway).await;
    for id in &ids {
        message_until(&mut client, id, |message| message.status() == Queued).await;
    }
    world.end(client, gateway).await;
}

#[tokio::test]
async fn only_the_root_key_of_the_queue_opens_it() {
    let world = World::new().await;
    let settings = eager(&world);
    let (right, wrong) = (RIGHT.to_owned(), WRONG.to_owned());
    let down = world.down().await;
    let gateway = alone(under(&settings, &right)).await;
    let mut before = client(&gateway).await;
    let id = send(&mut before, queued(text(READER, "x"))).await;
    drop(before);
    gateway.shutdown().await;

    // Another one, and one that is made because none is given.
    for settings in [under(&settings, &wrong), settings.clone()] {
        let Err(error) = server::start(checked(settings), Sources::system()).await else { panic!("it started") };
        let told = error.to_string();
        let given = told.split_once("the key given is ").unwrap().1.split_once(", ").unwrap().0;
        assert_eq!(given.len(), 16);
        assert_eq!(
            told,
            format!(
                "the root key does not open what the store is sealed under: the key given is {given}, the store is \
                 sealed under {}; start with that one (vault.root_key, by default the file root.key in the data \
                 directory), or name it in vault.previous_root_keys to go over to the one given",
                RootKey::from_text(&right.as_str().into()).unwrap().id()
            )
        );
        assert!(!format!("{error} {error:?}").contains(&wrong));
    }

    let world = down.up().await;
    let gateway = world.gateway_with(checked(under(&settings, &right))).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    assert_eq!(trails(&mut frames, 5).await[&id], ALL);
    drop((frames, client));
    gateway.shutdown().await;
    // Another one does, if it is told the one before.
    let mut settings = under(&settings, &wrong);
    settings.vault.previous_root_keys = vec![SecretRef::Inline(SecretString::from(right))];
    let gateway = world.gateway_with(checked(settings)).await;
    world.end((), gateway).await;
}

#[tokio::test]
async fn a_body_is_sealed_on_disk_and_gone_once_handed_over() {
    let world = World::new().await;
    let settings = eager(&world);
    let directory = settings.store.directory.clone();
    let down = world.down().await;
    let gateway = alone(settings).await;
    let mut client = client(&gateway).await;
    let canary = "a text that nobody else may read";
    let id = send(&mut client, queued(text(READER, canary))).await;
    let tried = message_until(&mut client, &id, |message| message.attempts > 0).await;
    assert_eq!(tried.status(), Pending);
    assert_eq!(holding(&directory, canary), [""; 0]);
    // What is looked for would be found: the recipient is no secret here.
    assert!(!holding(&directory, READER).is_empty());
    let database = rusqlite::Connection::open(directory.join("pilotgate.db")).unwrap();
    let rows = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let sealed: Vec<u8> = database.query_row("SELECT body FROM outbox", [], |row| row.get(0)).unwrap();
    assert!(sealed.len() > canary.len());

    let world = down.up().await;
    world.register(&gateway).await;
    message_until(&mut client, &id, |message| message.status() != Pending).await;
    assert_eq!(rows("SELECT count(*) FROM outbox"), 0);
    assert_eq!(rows("SELECT messages + bytes FROM outbox_size"), 0);
    assert!(!get(&mut client, &id).await.upstream_id.is_empty());
    drop(client);
    gateway.shutdown().await;
    drop(database);
    let left = fs::read(directory.join("pilotgate.db")).unwrap();
    assert!(!left.windows(sealed.len()).any(|window| window == sealed), "not even sealed");
    assert_eq!(holding(&directory, canary), [""; 0]);
    world.double.shutdown().await;
}
