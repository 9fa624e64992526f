//! Statuses whose message nobody knows.

use std::time::Duration;

use pilotgate::{
    config::{self, settings::Span},
    domain::{
        inbound::{Happening, Trust},
        merge::Observed,
        status::Status,
    },
};
use serde_json::json;

use super::{Open, inbound, recorded};
use crate::support::World;

#[tokio::test]
async fn what_nobody_knows_is_told_after_a_while() {
    let world = World::new().await;
    let open =
        Open::with(&world, |settings| settings.tracking.unattributed_after = Span(Duration::from_millis(50))).await;
    let mut head = open.store.head();
    let told = json!([
        { "event": "message.sent", "data": { "id": "up-1", "createdAt": "2027-01-12T14:00:02.500Z" } },
        { "event": "message.read", "data": { "id": "up-1", "createdAt": "2027-01-12T14:00:03.500Z" } },
    ]);
    assert_eq!(open.post(&told.to_string()).await, recorded());
    let both = tokio::time::timeout(Duration::from_secs(20), head.wait_for(|head| head.0 >= 2)).await;
    assert_eq!(both.expect("nothing was told for 20 s").unwrap().0, 2);
    let events = inbound(&*open.store).await;
    let short: Vec<_> = events
        .iter()
        .map(|event| match &event.what {
            Happening::Unattributed(of) => (of.fact.status.clone(), of.trust, event.at.to_string()),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [(Status::Sent, "2027-01-12T14:00:02.5Z"), (Status::Read, "2027-01-12T14:00:03.5Z")];
    let expected = expected.map(|(status, at)| (Observed::Reached(status), Trust::Proven, at.to_owned()));
    assert_eq!(short, expected);
    world.end(open.store, open.gateway).await;
}

#[tokio::test]
async fn it_is_told_before_it_is_dropped() {
    let world = World::new().await;
    for (after, fits) in [("1ms", true), ("59m", true), ("1h", false), ("0s", false)] {
        let mut settings = world.settings();
        settings.retention.early = Span(Duration::from_secs(3600));
        settings.tracking.unattributed_after = after.to_owned().try_into().unwrap();
        let refused = config::check_in_memory(settings).err().map(|error| error.to_string());
        let why = "tracking.unattributed_after: must be 1ms or more, and less than retention.early".to_owned();
        assert_eq!(refused, (!fits).then_some(why), "{after}");
    }
    world.double.shutdown().await;
}
