//! What an attempt means for a queued message: taken, refused, in doubt, or only put off.

use std::time::Duration;

use pilotgate::{
    proto::v1::{
        self,
        MessageStatus::{Delivered, Failed, InDoubt, Pending, Queued, Read, Sent},
    },
    sandbox::{Answered, Fault, FaultKind, NumberChange, On, Unanswered},
};

use super::{ALL, checked, eager, fail, ms};
use crate::support::{
    READER, World, client, follow, from_earliest, get, key, message_until, next_updates, queued, send, sends, template,
    text, trails,
};

#[tokio::test]
async fn a_lost_answer_is_a_question_until_the_next_attempt_settles_it() {
    let world = World::unhurried().await;
    let gateway = world.gateway_with(checked(eager(&world))).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    fail(&world, FaultKind::DropReply, 1);
    let id = send(&mut client, queued(text(READER, "x"))).await;
    assert_eq!(trails(&mut frames, 6).await[&id], [Pending, InDoubt, Queued, Sent, Delivered, Read]);
    let [seen] = world.double.control().messages().try_into().unwrap();
    assert_eq!((seen.idempotency_key, seen.accepted), (key(&id), 1));
    let [first, second] = sends(&world).try_into().unwrap();
    assert_eq!((second.replayed, &second.idempotency_key), (true, &key(&id)));
    assert_eq!(first.body_sha256, second.body_sha256);
    assert_eq!(get(&mut client, &id).await.attempts, 2);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn a_slow_failure_is_followed_by_the_next_attempt_as_soon_as_a_quick_one() {
    let world = World::new().await;
    let gateway = world.gateway_with(checked(eager(&world))).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    // Slow, so that the queue has long found nothing else to do when the failure comes.
    let slow = Fault { ms: Some(300), times: Some(2), ..Fault::new(On::Send, FaultKind::Delay) };
    let bad = Fault { status: Some(503), times: Some(2), ..Fault::new(On::Send, FaultKind::Http) };
    world.double.control().add_fault(slow).unwrap();
    world.double.control().add_fault(bad).unwrap();
    let id = send(&mut client, queued(text(READER, "x"))).await;
    assert_eq!(trails(&mut frames, 6).await[&id], [Pending, InDoubt, Queued, Sent, Delivered, Read]);
    assert_eq!(get(&mut client, &id).await.attempts, 3);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn a_refusal_is_final() {
    let world = World::new().await;
    let gateway = world.gateway_with(checked(eager(&world))).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    for (suffix, code, raw) in [
        ("0017", v1::FailureCode::InvalidDestination, "INVALID_DESTINATION"),
        ("0018", v1::FailureCode::Unspecified, "SUBSCRIPTION_REQUIRED_FOR_MEDIA"),
    ] {
        let id = send(&mut client, queued(text(&format!("+551198765{suffix}"), "x"))).await;
        let updates = next_updates(&mut frames, 2).await;
        let failure = v1::Failure {
            code: code.into(),
            raw_code: raw.to_owned(),
            message: "Refused by the recipient's ending".to_owned(),
            permanent: code == v1::FailureCode::InvalidDestination,
            safe_to_resend: true,
        };
        assert_eq!((updates[0].status(), updates[1].status()), (Pending, Failed));
        assert_eq!((updates[1].origin(), updates[1].failure.as_ref()), (v1::Origin::SendReply, Some(&failure)));
        let message = get(&mut client, &id).await;
        assert_eq!((message.status(), message.attempts, message.failure), (Failed, 1, Some(failure)));
    }
    assert_eq!(sends(&world).len(), 2);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn no_refusal_settles_a_doubt() {
    let world = World::new().await;
    let mut settings = eager(&world);
    // Time enough to get in between the attempts.
    settings.queue.retry_first = ms(300);
    settings.queue.retry_longest = ms(300);
    let gateway = world.gateway_with(checked(settings)).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    fail(&world, FaultKind::DropReply, 1);
    let id = send(&mut client, queued(template(READER))).await;
    assert_eq!(next_updates(&mut frames, 2).await[1].status(), InDoubt);
    // Both strike the first one; of these the key counts.
    let bad = Fault { status: Some(400), times: Some(2), ..Fault::new(On::Send, FaultKind::Http) };
    world.double.control().add_fault(bad).unwrap();
    fail(&world, FaultKind::Unauthorized, 1);
    assert_eq!(trails(&mut frames, 4).await[&id], [Queued, Sent, Delivered, Read]);
    let answers: Vec<_> = sends(&world).iter().map(|seen| seen.status).collect();
    let lost = Answered::Not(Unanswered::Dropped);
    assert_eq!(answers, [lost, Answered::Status(401), Answered::Status(400), Answered::Status(202)]);
    assert_eq!(world.double.control().messages().len(), 1);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn a_number_that_is_held_back_only_puts_its_messages_off() {
    let world = World::new().await;
    let gateway = world.gateway_with(checked(eager(&world))).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    fail(&world, FaultKind::Unauthorized, 2);
    let id = send(&mut client, queued(text(READER, "key refused"))).await;
    assert_eq!(trails(&mut frames, 5).await[&id], ALL);
    assert_eq!(get(&mut client, &id).await.attempts, 3);

    let unpaid = |unpaid| NumberChange { extra_charge_unpaid: Some(unpaid), state: None };
    let number = "wn_sandbox";
    world.double.control().change_number(number, &unpaid(true)).unwrap();
    let id = send(&mut client, queued(text(READER, "blocked"))).await;
    let blocked = message_until(&mut client, &id, |message| message.attempts > 0).await;
    assert_eq!(blocked.status(), Pending);
    world.double.control().change_number(number, &unpaid(false)).unwrap();
    assert_eq!(trails(&mut frames, 5).await[&id], ALL);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn a_429_is_heeded() {
    let world = World::new().await;
    let gateway = world.gateway_with(checked(eager(&world))).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    let limited = Fault {
        status: Some(429),
        retry_after_seconds: Some(1),
        times: Some(1),
        ..Fault::new(On::Send, FaultKind::Http)
    };
    world.double.control().add_fault(limited).unwrap();
    let id = send(&mut client, queued(text(READER, "x"))).await;
    assert_eq!(trails(&mut frames, 5).await[&id], ALL);
    let seen = sends(&world);
    assert_eq!(seen.iter().map(|seen| seen.status).collect::<Vec<_>>(), [429, 202].map(Answered::Status));
    let at = |index: usize| seen[index].at.parse::<jiff::Timestamp>().unwrap();
    // The double tells milliseconds.
    let waited = Duration::try_from(at(1).duration_since(at(0))).unwrap();
    assert!(waited >= Duration::from_millis(999), "{waited:?}");
    world.end((frames, client), gateway).await;
}
