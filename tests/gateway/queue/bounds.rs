//! How much the queue holds.

use std::time::Duration;

use pilotgate::proto::v1;
use tonic::Code;

use super::{alone, eager};
use crate::support::{READER, World, client, error_of, get, log_length, queued, send, text};

#[tokio::test]
async fn a_full_queue_refuses_and_has_room_again() {
    let world = World::new().await;
    let mut settings = eager(&world);
    settings.queue.max_messages = 2;
    let _down = world.down().await;
    let gateway = alone(settings).await;
    let mut client = client(&gateway).await;
    let request = |id: &str| v1::SendMessageRequest { request_id: id.to_owned(), ..queued(text(READER, id)) };
    let first = send(&mut client, request("r-1")).await;
    let second = send(&mut client, request("r-2")).await;
    for _ in 0..2 {
        let told = error_of(client.send_message(request("r-3")).await);
        assert_eq!((told.code, told.reason.as_str()), (Code::Unavailable, "OVERLOADED"));
        assert_eq!(
            (told.message.as_str(), told.retry_after),
            ("the queue holds as much as it may", Some(Duration::from_secs(1)))
        );
    }
    assert_eq!(log_length(&mut client).await, 2, "nothing was stored");
    let again = client.send_message(request("r-1")).await.unwrap().into_inner();
    assert_eq!((again.replayed, again.message.unwrap().message_id), (true, first.clone()));
    let cancel = v1::CancelMessagesRequest { message_ids: vec![second.clone()] };
    assert_eq!(
        client.cancel_messages(cancel).await.unwrap().into_inner().results[0].outcome(),
        v1::CancelOutcome::Canceled
    );
    let third = client.send_message(request("r-3")).await.unwrap().into_inner();
    assert!(!third.replayed, "its request id was free");
    assert_eq!(get(&mut client, &second).await.status(), v1::MessageStatus::Canceled);
    drop(client);
    gateway.shutdown().await;
}

#[tokio::test]
async fn a_queue_full_of_bytes_refuses_too() {
    let world = World::new().await;
    let mut settings = eager(&world);
    settings.queue.max_bytes = 4000;
    let _down = world.down().await;
    let gateway = alone(settings).await;
    let mut client = client(&gateway).await;
    send(&mut client, queued(text(READER, &"x".repeat(3000)))).await;
    let long = queued(text(READER, &"x".repeat(1000)));
    assert_eq!(error_of(client.send_message(long).await).reason, "OVERLOADED");
    send(&mut client, queued(text(READER, "short"))).await;
    drop(client);
    gateway.shutdown().await;
}
