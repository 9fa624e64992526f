//! The order of a recipient's messages, and that nobody else waits for it.

use pilotgate::{
    config::settings::Span,
    proto::v1::MessageStatus::{InDoubt, Pending},
    sandbox::{Fault, FaultKind, On},
};

use super::{ALL, checked, eager, ms};
use crate::support::{
    READER, STUCK, World, client, follow, from_earliest, get, in_time, key, message_until, next_update, queued,
    second_number, send, sends, sent_after, text, trails, two_numbers, until,
};

#[tokio::test]
async fn a_recipients_messages_go_in_order_and_hold_up_no_other_recipients() {
    let world = World::new().await;
    let gateway = world.gateway_with(checked(eager(&world))).await;
    let mut client = client(&gateway).await;
    let bad = Fault { status: Some(503), recipient: Some(STUCK.to_owned()), ..Fault::new(On::Send, FaultKind::Http) };
    world.double.control().add_fault(bad).unwrap();
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(send(&mut client, queued(text(STUCK, &format!("{n}")))).await);
    }
    let other = send(&mut client, queued(text(READER, "other"))).await;
    message_until(&mut client, &other, |message| !message.upstream_id.is_empty()).await;
    let first = message_until(&mut client, &ids[0], |message| message.attempts >= 3).await;
    assert_eq!(first.status(), InDoubt);
    for id in &ids[1..] {
        let waiting = get(&mut client, id).await;
        assert_eq!((waiting.status(), waiting.attempts), (Pending, 0));
    }
    world.double.control().clear_faults();
    until(|| world.double.control().messages().len() == 5).await;
    let mut keys: Vec<_> = world.double.control().messages().into_iter().map(|seen| seen.idempotency_key).collect();
    keys.retain(|seen| *seen != key(&other));
    assert_eq!(keys, ids.iter().map(|id| key(id)).collect::<Vec<_>>());
    world.end(client, gateway).await;
}

#[tokio::test]
async fn many_messages_of_many_recipients_all_go_once_and_in_order() {
    let world = World::new().await;
    let gateway = world.gateway_with(checked(eager(&world))).await;
    let mut client = client(&gateway).await;
    // Nothing runs smoothly: answers get lost, calls are refused for a while.
    let sometimes = |kind, probability| Fault { probability, ..Fault::new(On::Send, kind) };
    let limited = Fault { status: Some(503), ..sometimes(FaultKind::Http, 0.05) };
    for fault in [sometimes(FaultKind::DropReply, 0.1), sometimes(FaultKind::Reset, 0.05), limited] {
        world.double.control().add_fault(fault).unwrap();
    }
    // STUCK, so that no webhooks come in between. Its digits end like those of all of them.
    let phones: Vec<_> = (0..8).map(|n| format!("+55119{n}7650006")).collect();
    let mut ids = Vec::new();
    for n in 0..200 {
        ids.push(send(&mut client, queued(text(&phones[n % 8], &format!("{n}")))).await);
    }
    until(|| world.double.control().messages().len() == 200).await;
    let seen = world.double.control().messages();
    assert!(seen.iter().all(|seen| seen.accepted == 1));
    for (lane, phone) in phones.iter().enumerate() {
        let sent: Vec<_> =
            seen.iter().filter(|seen| seen.recipient == *phone).map(|seen| seen.idempotency_key.clone()).collect();
        let asked: Vec<_> = ids.iter().skip(lane).step_by(8).map(|id| key(id)).collect();
        assert_eq!(sent, asked, "{phone}");
    }
    world.double.control().clear_faults();
    for id in &ids {
        message_until(&mut client, id, |message| !message.upstream_id.is_empty()).await;
    }
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_number_that_is_held_back_takes_no_place_from_another() {
    let world = World::with(two_numbers()).await;
    let mut settings = eager(&world);
    settings.queue.in_flight = 1;
    settings.breaker.number_first = Span(std::time::Duration::from_secs(3600));
    settings.breaker.number_longest = settings.breaker.number_first;
    settings.numbers.push(second_number(&world));
    let gateway = world.gateway_with(checked(settings)).await;
    let mut client = client(&gateway).await;
    let refused = Fault { recipient: Some(STUCK.to_owned()), ..Fault::new(On::Send, FaultKind::Unauthorized) };
    world.double.control().add_fault(refused).unwrap();
    let held = send(&mut client, queued(text(STUCK, "held"))).await;
    message_until(&mut client, &held, |message| message.attempts > 0).await;
    for n in 0..3 {
        let mut request = queued(text(READER, &format!("{n}")));
        request.number = "wn_second".to_owned();
        let id = send(&mut client, request).await;
        message_until(&mut client, &id, |message| !message.upstream_id.is_empty()).await;
    }
    assert_eq!(get(&mut client, &held).await.status(), Pending);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn no_more_are_handed_over_at_once_than_allowed() {
    let world = World::new().await;
    let mut settings = eager(&world);
    settings.queue.in_flight = 2;
    let gateway = world.gateway_with(checked(settings)).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    world.double.control().add_fault(Fault { ms: Some(200), ..Fault::new(On::Send, FaultKind::Delay) }).unwrap();
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(send(&mut client, queued(text(&format!("+55119{n}7650101"), "x"))).await);
    }
    let pending = |world: &World| {
        use pilotgate::sandbox::{Answered::Not, Unanswered};
        sends(world).iter().filter(|seen| seen.status == Not(Unanswered::Pending)).count()
    };
    let mut most = 0;
    while sends(&world).len() < 6 || pending(&world) > 0 {
        most = most.max(pending(&world));
        tokio::task::yield_now().await;
    }
    assert_eq!(most, 2);
    let trails = trails(&mut frames, 30).await;
    assert!(ids.iter().all(|id| trails[id] == ALL));
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn a_paced_number_hands_over_at_its_pace() {
    let world = World::new().await;
    let mut settings = eager(&world);
    settings.numbers[0].pace.min_gap = Some(ms(100));
    let gateway = world.gateway_with(checked(settings)).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    let began = jiff::Timestamp::now();
    for n in 0..6 {
        send(&mut client, queued(text(&format!("+55119{n}7650006"), "x"))).await;
    }
    for _ in 0..12 {
        next_update(&mut frames).await;
    }
    let seen = sent_after(&world, began);
    assert!(in_time(&seen, &[0, 100, 200, 300, 400, 500]), "{seen:?}");
    world.end((frames, client), gateway).await;
}
