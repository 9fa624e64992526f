//! Times of queued messages: when they are to be delivered, and when they have waited for too long.

use std::time::{Duration, SystemTime};

use pilotgate::{
    proto::v1::{
        self,
        MessageStatus::{Failed, InDoubt, Pending, Queued},
    },
    sandbox::FaultKind,
};

use super::{ALL, alone, checked, eager, fail, lazy, ms};
use crate::support::{
    READER, STUCK, World, client, error_of, follow, from_earliest, get, in_seconds, key, message_until, next_update,
    next_updates, queued, send, sends, template, text, trails, until,
};

fn expired() -> v1::Failure {
    v1::Failure {
        code: v1::FailureCode::QueueExpired.into(),
        raw_code: "QUEUE_EXPIRED".to_owned(),
        message: "it waited in the queue for too long".to_owned(),
        permanent: false,
        safe_to_resend: true,
    }
}

#[tokio::test]
async fn what_has_waited_for_too_long_fails_and_is_surely_not_sent() {
    let world = World::new().await;
    let mut settings = eager(&world);
    settings.queue.max_age = ms(1500);
    let down = world.down().await;
    let gateway = alone(settings).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    let soon = SystemTime::now() + Duration::from_millis(600);
    let until = v1::SendMessageRequest {
        deliver_until: Some(soon.into()),
        request_id: "r-1".to_owned(),
        ..queued(text(READER, "until"))
    };
    let aged = send(&mut client, queued(text(STUCK, "age"))).await;
    let timely = send(&mut client, until.clone()).await;
    let mut ends = Vec::new();
    for _ in 0..4 {
        let (update, _) = next_update(&mut frames).await;
        if update.status() == Pending {
            continue;
        }
        assert_eq!((update.status(), update.origin()), (Failed, v1::Origin::Gateway));
        assert_eq!(update.failure, Some(expired()));
        ends.push(update.message_id);
    }
    assert_eq!(ends, [timely.clone(), aged.clone()]);
    let message = get(&mut client, &aged).await;
    let since = SystemTime::try_from(message.create_time.unwrap()).unwrap();
    let age = SystemTime::try_from(message.failed_time.unwrap()).unwrap().duration_since(since).unwrap();
    assert!((Duration::from_millis(1500)..Duration::from_secs(5)).contains(&age), "{age:?}");
    assert!(SystemTime::try_from(get(&mut client, &timely).await.failed_time.unwrap()).unwrap() >= soon);
    // Its request id goes on standing for it.
    let again = client.send_message(until).await.unwrap().into_inner();
    assert_eq!((again.replayed, again.message.unwrap().status()), (true, Failed));

    let world = down.up().await;
    world.register(&gateway).await;
    let id = send(&mut client, queued(text(READER, "later"))).await;
    assert_eq!(trails(&mut frames, 5).await[&id], ALL);
    assert_eq!(sends(&world).len(), 1);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn one_that_expires_makes_way_for_the_next() {
    let world = World::new().await;
    let gateway = world.gateway_with(checked(lazy(&world))).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    fail(&world, FaultKind::Unauthorized, 1);
    let soon = SystemTime::now() + Duration::from_millis(600);
    let first = v1::SendMessageRequest { deliver_until: Some(soon.into()), ..queued(text(READER, "first")) };
    let first = send(&mut client, first).await;
    let second = send(&mut client, queued(text(READER, "second"))).await;
    let trails = trails(&mut frames, 7).await;
    assert_eq!(trails[&first], [Pending, Failed]);
    assert_eq!(trails[&second], ALL);
    assert_eq!(sends(&world).len(), 2);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn a_doubt_is_pursued_beyond_the_time_to_wait() {
    let world = World::new().await;
    let mut settings = eager(&world);
    // Time enough to get in between the attempts.
    settings.queue.retry_first = ms(400);
    settings.queue.retry_longest = ms(400);
    let gateway = world.gateway_with(checked(settings)).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    let soon = SystemTime::now() + Duration::from_millis(500);
    // Carried out, and then no answer at all until that time is over.
    fail(&world, FaultKind::DropReply, 1);
    let request = v1::SendMessageRequest { deliver_until: Some(soon.into()), ..queued(template(STUCK)) };
    let id = send(&mut client, request).await;
    assert_eq!(next_updates(&mut frames, 2).await[1].status(), InDoubt);
    fail(&world, FaultKind::Reset, 1_000_000);
    until(|| SystemTime::now() > soon + Duration::from_millis(100)).await;
    let attempts = get(&mut client, &id).await.attempts;
    let doubtful = message_until(&mut client, &id, |message| message.attempts > attempts).await;
    assert_eq!(doubtful.status(), InDoubt);
    world.double.control().clear_faults();
    assert_eq!(next_update(&mut frames).await.0.status(), Queued);
    assert_eq!(world.double.control().messages().iter().map(|seen| seen.accepted).collect::<Vec<_>>(), [1]);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn a_doubt_whose_key_may_be_forgotten_stays_one() {
    let world = World::new().await;
    let mut settings = eager(&world);
    settings.messaging.replay_window = ms(300);
    let gateway = world.gateway_with(checked(settings)).await;
    let mut client = client(&gateway).await;
    fail(&world, FaultKind::DropReply, 1);
    fail(&world, FaultKind::Reset, 1_000_000);
    let first = send(&mut client, queued(text(STUCK, "first"))).await;
    let second = send(&mut client, queued(text(STUCK, "second"))).await;
    // The next one's turn has come, so nothing more is tried for the first.
    message_until(&mut client, &second, |message| message.attempts > 0).await;
    assert_eq!(get(&mut client, &first).await.status(), InDoubt);
    let made = sends(&world).iter().filter(|seen| seen.idempotency_key == key(&first)).count();
    world.double.control().clear_faults();
    message_until(&mut client, &second, |message| message.status() == Queued || message.status() == InDoubt).await;
    assert_eq!(sends(&world).iter().filter(|seen| seen.idempotency_key == key(&first)).count(), made);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_doubt_that_is_put_off_for_too_long_makes_way() {
    let world = World::new().await;
    let mut settings = lazy(&world);
    settings.messaging.replay_window = ms(300);
    let gateway = world.gateway_with(checked(settings)).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    fail(&world, FaultKind::DropReply, 1);
    let first = send(&mut client, queued(text(STUCK, "first"))).await;
    let second = send(&mut client, queued(text(STUCK, "second"))).await;
    let trails = trails(&mut frames, 4).await;
    assert_eq!(trails[&first], [Pending, InDoubt]);
    assert_eq!(trails[&second], [Pending, Queued]);
    assert_eq!(sends(&world).len(), 2);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn a_scheduled_message_goes_to_pilot_status_at_once() {
    let world = World::new().await;
    let gateway = world.gateway_with(checked(eager(&world))).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    let scheduled = v1::SendMessageRequest { deliver_at: in_seconds(3600), ..text(READER, "later") };
    let id = send(&mut client, queued(scheduled.clone())).await;
    assert_eq!(trails(&mut frames, 2).await[&id], [Pending, Queued]);
    send(&mut client, scheduled).await;
    let [first, second] = sends(&world).try_into().unwrap();
    assert_eq!(first.body_sha256, second.body_sha256, "it says when");
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn a_time_to_deliver_at_that_has_passed_is_left_out() {
    let world = World::new().await;
    let settings = eager(&world);
    let down = world.down().await;
    let gateway = alone(settings).await;
    let mut client = client(&gateway).await;
    let soon = SystemTime::now() + Duration::from_millis(300);
    let request = v1::SendMessageRequest {
        deliver_at: Some(soon.into()),
        request_id: "r-1".to_owned(),
        ..queued(text(READER, "soon"))
    };
    let id = send(&mut client, request.clone()).await;
    until(|| SystemTime::now() > soon).await;
    // A repeated request is answered, a new one comes too late.
    assert!(client.send_message(request.clone()).await.unwrap().into_inner().replayed);
    let late = v1::SendMessageRequest { request_id: "r-2".to_owned(), ..request };
    assert_eq!(error_of(client.send_message(late).await).reason, "INVALID_REQUEST");

    // An attempt that began before that time has ended as well.
    let made = get(&mut client, &id).await.attempts;
    message_until(&mut client, &id, |message| message.attempts >= made + 2).await;
    let world = down.up().await;
    world.register(&gateway).await;
    message_until(&mut client, &id, |message| message.read_time.is_some()).await;
    send(&mut client, text(READER, "soon")).await;
    let [queued, plain] = sends(&world).try_into().unwrap();
    assert_eq!(queued.body_sha256, plain.body_sha256);
    world.end(client, gateway).await;
}
