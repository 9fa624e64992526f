//! `kill -9` at any moment: nothing that was answered is lost, nothing is sent twice, no stream misses anything.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use pilotgate::{
    proto::v1::{self, MessageStatus, stream_status_updates_request::Start, stream_status_updates_response::Frame},
    sandbox,
};
use tokio::sync::watch;
use tonic::{Code, Streaming};

use crate::support::{Client, Place, READER, SLOW, STUCK, from_earliest, reason_of, text};

const MESSAGES: usize = 1_000;
const CALLERS: usize = 32;
/// The gateway is killed when so many sends have been answered.
const KILLS: [usize; 4] = [53, 301, 588, 870];
/// The request id of the message after which a follower ends. It stays QUEUED.
const THE_END: &str = "the-end";

/// Sends until answered OK: every failure on the way must be one that may be repeated.
async fn send_until_answered(client: &watch::Receiver<Client>, phone: &str, request_id: &str) -> v1::Message {
    loop {
        let mut current = client.borrow().clone();
        match current.send_message(text(phone, request_id)).await {
            Ok(sent) => return sent.into_inner().message.unwrap(),
            Err(status) => {
                let reason = reason_of(&status);
                // Without a reason the connection broke: no answer of the gateway.
                let repeatable = matches!(reason.as_str(), "" | "SEND_IN_DOUBT" | "REQUEST_IN_PROGRESS" | "DRAINING");
                assert!(repeatable, "{request_id}: {status:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Follows from the beginning, over every restart, to the end; returns every update in order.
async fn follow(client: watch::Receiver<Client>) -> Vec<(String, MessageStatus)> {
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let mut current = client.borrow().clone();
        let mut request = from_earliest();
        if let Some(cursor) = cursor.clone() {
            request.start = Some(Start::Cursor(cursor));
        }
        let Ok(frames) = current.stream_status_updates(request).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let mut frames = frames.into_inner();
        while let Ok(Some(response)) = frames.message().await {
            cursor = Some(response.cursor);
            if let Some(Frame::Update(update)) = response.frame {
                seen.push((update.message_id.clone(), update.status()));
                if update.request_id == THE_END && update.status() == MessageStatus::Queued {
                    return seen;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_sends_survive_kills() {
    let place = Place::new(sandbox::Options::default(), "").await;
    let mut gateway = place.serve();
    let (clients, client) = watch::channel(place.client().await);
    let follower = tokio::spawn(follow(client.clone()));

    let next = Arc::new(AtomicUsize::new(0));
    let answered = Arc::new(Mutex::new(BTreeMap::new()));
    let (progress, mut progressed) = watch::channel(0_usize);
    let progress = Arc::new(progress);
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (client, next, answered, progress) =
                (client.clone(), Arc::clone(&next), Arc::clone(&answered), Arc::clone(&progress));
            tokio::spawn(async move {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= MESSAGES {
                        return;
                    }
                    let request_id = format!("r-{index}");
                    let message = send_until_answered(&client, READER, &request_id).await;
                    answered.lock().unwrap().insert(request_id, message);
                    progress.send_modify(|count| *count += 1);
                }
            })
        })
        .collect();
    let mut in_doubt_after_restart = 0;
    for moment in KILLS {
        progressed.wait_for(|count| *count >= moment).await.unwrap();
        gateway.kill();
        gateway = place.serve();
        clients.send_replace(place.client().await);
        in_doubt_after_restart += place.log().matches("they are in doubt now").count();
    }
    for caller in callers {
        tokio::time::timeout(Duration::from_secs(60), caller).await.expect("callers end").unwrap();
    }
    assert!(in_doubt_after_restart > 0, "no kill hit a send between accept and settle; the test proves nothing");

    // Every answered send is known, with its upstream id, and Pilot Status took each exactly once.
    let mut client = clients.borrow().clone();
    let answered = answered.lock().unwrap().clone();
    assert_eq!(answered.len(), MESSAGES);
    for (request_id, message) in &answered {
        let key = v1::get_message_request::Key::MessageId(message.message_id.clone());
        let request = v1::GetMessageRequest { key: Some(key), ..Default::default() };
        let stored = client.get_message(request).await.unwrap().into_inner().message.unwrap();
        assert_eq!((&stored.request_id, &stored.upstream_id), (request_id, &message.upstream_id));
        assert!(!stored.upstream_id.is_empty());
        use MessageStatus::{Delivered, Queued, Read, Sent};
        assert!(matches!(stored.status(), Queued | Sent | Delivered | Read), "{request_id}: {:?}", stored.status());
    }
    let accepted = place.double.control().messages();
    let ids: HashSet<_> = accepted.iter().map(|seen| seen.id.as_str()).collect();
    assert_eq!(accepted.len(), MESSAGES, "one message upstream for each request id");
    assert!(accepted.iter().all(|seen| seen.accepted == 1));
    assert!(answered.values().all(|message| ids.contains(message.upstream_id.as_str())));

    // Webhooks that met no gateway, or one that was killed before it answered, come once more.
    let deadline = Instant::now() + Duration::from_secs(60);
    while place.double.control().deliveries_waiting() > 0 {
        assert!(Instant::now() < deadline, "{} webhooks are left", place.double.control().deliveries_waiting());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    send_until_answered(&clients.subscribe(), STUCK, THE_END).await;
    // The stream that was followed over all kills has the same updates as one read from the beginning now.
    let limit = Duration::from_secs(60);
    let seen = tokio::time::timeout(limit, follower).await.expect("the follower ends").unwrap();
    let fresh = tokio::time::timeout(limit, follow(clients.subscribe())).await.expect("a fresh one ends");
    assert!(seen == fresh, "the resumed stream differs from the log");
    let distinct: HashSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len(), "an update was told twice");
    let mut trails: BTreeMap<&str, Vec<MessageStatus>> = BTreeMap::new();
    for (message_id, status) in &seen {
        trails.entry(message_id).or_default().push(*status);
    }
    assert_eq!(trails.len(), MESSAGES + 1);
    for (message_id, trail) in &trails {
        use MessageStatus::{InDoubt, Pending, Queued};
        assert_eq!(trail[0], Pending, "{message_id}");
        // A webhook may settle a doubt before the caller asks again; then no reply ever says QUEUED.
        let settled_by_webhook = trail.contains(&InDoubt) && trail.last() != Some(&InDoubt);
        assert!(trail.contains(&Queued) || settled_by_webhook, "{message_id}: {trail:?}");
    }

    gateway.signal("TERM");
    assert!(gateway.wait().success());
    let error = client.get_message(v1::GetMessageRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_under_way_at_a_kill_is_in_doubt_until_it_is_repeated() {
    const UNDER_WAY: usize = 8;
    let place = Place::new(sandbox::Options::default(), "").await;
    let slow = serde_json::json!({ "slow_answer_ms": 2_000 });
    place.double.control().patch_switches(slow.as_object().unwrap()).unwrap();
    let gateway = place.serve();
    let client = place.client().await;
    let ids: Vec<_> = (0..UNDER_WAY).map(|index| format!("r-{index}")).collect();
    let send = |id: &String| {
        let (mut client, request) = (client.clone(), text(SLOW, id));
        tokio::spawn(async move { client.send_message(request).await })
    };
    let sends: Vec<_> = ids.iter().map(send).collect();
    // Accepted upstream; the answers are still out.
    let deadline = Instant::now() + Duration::from_secs(20);
    while place.double.control().messages().len() < UNDER_WAY {
        assert!(Instant::now() < deadline, "the sends do not get through");
        tokio::task::yield_now().await;
    }
    gateway.kill();
    for send in sends {
        assert_eq!(reason_of(&send.await.unwrap().unwrap_err()), "", "answered before the kill: too slow a test");
    }

    let _gateway = place.serve();
    let mut client = place.client().await;
    let mut frames = client.stream_status_updates(from_earliest()).await.unwrap().into_inner();
    let mut trails: BTreeMap<String, (String, Vec<MessageStatus>)> = BTreeMap::new();
    while trails.values().map(|(_, trail)| trail.len()).sum::<usize>() < 2 * UNDER_WAY {
        note_next(&mut frames, &mut trails).await;
    }
    assert_eq!(trails.keys().cloned().collect::<Vec<_>>(), ids);
    for (request_id, (message_id, trail)) in &trails {
        use MessageStatus::{InDoubt, Pending};
        assert_eq!(trail, &[Pending, InDoubt], "{request_id}");
        let key = v1::get_message_request::Key::MessageId(message_id.clone());
        let request = v1::GetMessageRequest { key: Some(key), ..Default::default() };
        let stored = client.get_message(request).await.unwrap().into_inner().message.unwrap();
        assert_eq!((stored.status(), stored.upstream_id.as_str()), (InDoubt, ""));
    }

    let current = watch::channel(client.clone()).1;
    for (request_id, (message_id, _)) in &trails {
        let message = send_until_answered(&current, SLOW, request_id).await;
        assert_eq!(&message.message_id, message_id);
        let seen = place.double.control().messages();
        let seen = seen.iter().find(|seen| seen.id == message.upstream_id).expect("known upstream");
        assert_eq!(seen.accepted, 1);
    }
    assert_eq!(place.double.control().messages().len(), UNDER_WAY);
    while !trails.values().all(|(_, trail)| trail.contains(&MessageStatus::Queued)) {
        note_next(&mut frames, &mut trails).await;
    }
}

/// Notes the next update of a stream with its message, under its request id.
async fn note_next(
    frames: &mut Streaming<v1::StreamStatusUpdatesResponse>,
    trails: &mut BTreeMap<String, (String, Vec<MessageStatus>)>,
) {
    let update = async {
        loop {
            if let Some(Frame::Update(update)) = frames.message().await.unwrap().expect("the stream goes on").frame {
                return update;
            }
        }
    };
    let update = tokio::time::timeout(Duration::from_secs(20), update).await.expect("no update for 20 s");
    let status = update.status();
    let (message_id, trail) = trails.entry(update.request_id).or_default();
    *message_id = update.message_id;
    trail.push(status);
}
