//! Sending.

use pilotgate::proto::v1::MessageStatus::{Delivered, Pending, Queued, Read, Sent};

use crate::support::{READER, World, client, from_earliest, text, trails};

#[tokio::test]
async fn a_text_is_sent_and_followed_to_read() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let sent = client.send_message(text(READER, "hello")).await.unwrap().into_inner();
    let message = sent.message.unwrap();
    assert_eq!(message.status(), Queued);
    let mut frames = client.stream_status_updates(from_earliest()).await.unwrap().into_inner();
    let trails = trails(&mut frames, 5).await;
    assert_eq!(trails[&message.message_id], [Pending, Queued, Sent, Delivered, Read]);
    drop((frames, client));
    gateway.shutdown().await;
    world.double.shutdown().await;
}
