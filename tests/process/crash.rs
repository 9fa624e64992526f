//! `kill -9` at any moment: nothing that was answered is lost, nothing is sent twice, no stream misses anything.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use pilotgate::{
    proto::v1::{self, MessageStatus, stream_status_updates_request::Start, stream_status_updates_response::Frame},
    sandbox,
};
use tokio::sync::watch;
use tonic::Code;

use crate::support::{Client, Place, READER, from_earliest, reason_of, text};

const MESSAGES: usize = 1_000;
const CALLERS: usize = 32;
/// The gateway is killed when so many sends have been answered.
const KILLS: [usize; 4] = [53, 301, 588, 870];

/// Sends until answered OK: every failure on the way must be one that may be repeated.
async fn send_until_answered(client: &watch::Receiver<Client>, request_id: &str) -> v1::Message {
    loop {
        let mut current = client.borrow().clone();
        match current.send_message(text(READER, request_id)).await {
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

/// Follows from the beginning, over every restart, until stopped; returns every update in order.
async fn follow(client: watch::Receiver<Client>, count: Arc<AtomicUsize>) -> Vec<(String, MessageStatus)> {
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
                count.store(seen.len(), Ordering::Release);
                // The last message of all says stop.
                if update.request_id == "the-end" && update.status() == MessageStatus::Read {
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
    let followed = Arc::new(AtomicUsize::new(0));
    let follower = tokio::spawn(follow(client.clone(), Arc::clone(&followed)));

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
                    let message = send_until_answered(&client, &request_id).await;
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
    }
    let accepted = place.double.control().messages();
    let ids: HashSet<_> = accepted.iter().map(|seen| seen.id.as_str()).collect();
    assert_eq!(accepted.len(), MESSAGES, "one message upstream for each request id");
    assert!(accepted.iter().all(|seen| seen.accepted == 1));
    assert!(answered.values().all(|message| ids.contains(message.upstream_id.as_str())));

    // The stream that was followed over all kills has the same updates as one read from the beginning now.
    send_until_answered(&watch::channel(client.clone()).1, "the-end").await;
    let seen = tokio::time::timeout(Duration::from_secs(60), follower).await.expect("the follower ends").unwrap();
    let mut frames = client.stream_status_updates(from_earliest()).await.unwrap().into_inner();
    let mut fresh = Vec::new();
    while fresh.len() < seen.len() {
        if let Some(Frame::Update(update)) = frames.message().await.unwrap().unwrap().frame {
            fresh.push((update.message_id.clone(), update.status()));
        }
    }
    assert!(seen == fresh, "the resumed stream differs from the log");
    let distinct: HashSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len(), "an update was told twice");
    let pending = seen.iter().filter(|(_, status)| *status == MessageStatus::Pending).count();
    assert_eq!(pending, MESSAGES + 1, "one message for each request id");

    gateway.signal("TERM");
    assert!(gateway.wait().success());
    let error = client.get_message(v1::GetMessageRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
}
