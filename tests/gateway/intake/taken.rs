//! Bodies that were asked for at Pilot Status instead of coming in by themselves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use pilotgate::{
    config,
    domain::{ids::NumberName, read_back::ReadBack, sources::Sources},
    keys::KeyRing,
    store::{
        self,
        Recorded::{Appended, Early, Known},
    },
    tracking::{Intake, IntakeError, Options, Pulses, Tracking},
    vault::{RootKey, Vault},
};
use serde_json::json;

use super::{inbound, received};
use crate::support::{NUMBER, PATH_TOKEN, World};

#[tokio::test]
async fn what_is_taken_needs_no_signature_and_is_known_by_webhook_too() {
    const START: i64 = 1_799_762_400;
    let world = World::new().await;
    let config = config::check_in_memory(world.settings()).unwrap();
    let store = store::open(config.store).await.unwrap();
    let clock = Arc::new(AtomicI64::new(START));
    let ticking = Arc::clone(&clock);
    let now = move || Timestamp::from_second(ticking.load(Ordering::Relaxed)).unwrap();
    let sources = Sources::new(now, |bytes| bytes.fill(7));
    let keys = Arc::new(KeyRing::of(config.numbers, None));
    let root_key = RootKey::generate(&Sources::system());
    let vault = Vault::open(&root_key, sources.clone());
    let options = Options { read_back: ReadBack::Never, unattributed_after: Duration::from_secs(600) };
    let tracking = Tracking::new(Arc::clone(&store), keys, vault, sources, options, Pulses::default());

    let number = NumberName::from_text(NUMBER).unwrap();
    // It tells neither id nor time.
    let degraded = json!({ "event": "number.health_degraded", "data": { "score": 1 } });
    let sent = json!({ "event": "message.sent", "data": { "id": "up-1" } });
    let batch = json!([received("cm_1", "Oi"), degraded, sent]).to_string();
    let signed = crate::support::signature(&world.double.account().webhook_secret, &batch);
    let before = store.written();
    let first = tracking.ingest(PATH_TOKEN, Some(&signed), batch.as_bytes()).await;
    assert_eq!(first, Ok(Intake(vec![Appended, Appended, Early])));
    let after = store.written();
    assert_eq!((after.writes - before.writes, after.commits - before.commits), (1, 1), "all at once");

    // Five hours later, Pilot Status says that it told so at the start.
    clock.store(START + 5 * 3600, Ordering::Relaxed);
    let told_at = Some(Timestamp::from_second(START).unwrap());
    assert_eq!(tracking.take(&number, batch.as_bytes(), told_at).await, Ok(Intake(vec![Known; 3])));
    let missed = json!({ "event": "number.recovered" }).to_string();
    assert_eq!(tracking.take(&number, missed.as_bytes(), told_at).await, Ok(Intake(vec![Appended])));
    // Told now, it is news.
    let degraded = degraded.to_string();
    assert_eq!(tracking.take(&number, degraded.as_bytes(), None).await, Ok(Intake(vec![Appended])));
    let times: Vec<_> = inbound(&*store)
        .await
        .iter()
        .map(|event| (event.name.clone(), event.at.as_second() - START, event.observed_at.as_second() - START))
        .collect();
    let of_received = "2027-01-12T14:05:00Z".parse::<Timestamp>().unwrap().as_second() - START;
    let expected = [
        ("message.received", of_received, 0),
        ("number.health_degraded", 0, 0),
        ("number.recovered", 0, 5 * 3600),
        ("number.health_degraded", 5 * 3600, 5 * 3600),
    ];
    assert_eq!(times, expected.map(|(name, at, observed)| (name.to_owned(), at, observed)));

    assert_eq!(tracking.take(&number, b"not json", None).await, Err(IntakeError::Malformed));
    let nobody = NumberName::from_text("nobody").unwrap();
    assert_eq!(tracking.take(&nobody, batch.as_bytes(), None).await, Err(IntakeError::UnknownNumber));
    let verdicts = tracking.verdicts();
    assert_eq!((verdicts.recorded, verdicts.known, verdicts.early), (4, 3, 1));
    assert_eq!((verdicts.malformed, verdicts.unknown_path), (1, 1));
    store.close().await;
    world.double.shutdown().await;
}
