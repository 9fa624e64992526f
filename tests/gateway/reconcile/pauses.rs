//! What keeps the gateway from reading back, and whom that leaves alone.

use std::time::Duration;

use pilotgate::{
    proto::v1,
    sandbox::{Answered, Fault, FaultKind, On, SeenRequest, Unanswered},
};

use super::{millis, reads, soon, unheard};
use crate::support::{READER, STUCK, World, client, get, second_number, send, text, two_numbers, until};

#[tokio::test]
async fn a_429_or_a_refused_key_holds_up_its_own_number_only() {
    let hint = Fault { status: Some(429), retry_after_seconds: Some(60), ..Fault::new(On::Status, FaultKind::Http) };
    for refused in [hint, Fault::new(On::Status, FaultKind::Unauthorized)] {
        let world = World::with(two_numbers()).await;
        let mut settings = soon(&world);
        settings.numbers.push(second_number(&world));
        let gateway = unheard(settings).await;
        let mut client = client(&gateway).await;
        world.double.control().add_fault(Fault { recipient: Some(STUCK.to_owned()), ..refused }).unwrap();
        let held = send(&mut client, text(STUCK, "x")).await;
        let other = v1::SendMessageRequest { number: "wn_second".to_owned(), ..text("+5511987660006", "x") };
        let other = send(&mut client, other).await;
        let [held, other] = [get(&mut client, &held).await, get(&mut client, &other).await];
        let read = |message: &v1::Message| {
            reads(&world).iter().filter(|seen| seen.path.ends_with(&message.upstream_id)).count()
        };
        until(|| read(&held) == 1 && read(&other) >= 5).await;
        assert_eq!((read(&held), gateway.reconciled().refused), (1, 1));
        world.end(client, gateway).await;
    }
}

#[tokio::test]
async fn reads_that_hang_hold_up_no_sends() {
    let world = World::new().await;
    let mut settings = soon(&world);
    (settings.upstream.max_in_flight, settings.reconcile.in_flight) = (2, 8);
    settings.messaging.slot_wait.0 = Duration::from_secs(20);
    let gateway = unheard(settings).await;
    let mut client = client(&gateway).await;
    let hanging = Fault { ms: Some(60_000), ..Fault::new(On::Status, FaultKind::Delay) };
    world.double.control().add_fault(hanging).unwrap();
    // All of them are due at the same time.
    let deliver_at = Some((std::time::SystemTime::now() + Duration::from_millis(800)).into());
    for n in 0..4 {
        let hanging = v1::SendMessageRequest { deliver_at, ..text(STUCK, &format!("hanging {n}")) };
        send(&mut client, hanging).await;
    }
    let running = || reads(&world).iter().filter(|seen| seen.status == Answered::Not(Unanswered::Pending)).count();
    until(|| running() > 0).await;
    for n in 0..10 {
        send(&mut client, text(STUCK, &format!("sent all the same {n}"))).await;
    }
    assert_eq!(running(), 1, "half of the slots at most");
    world.end(client, gateway).await;
}

#[tokio::test]
async fn what_cannot_be_read_keeps_nothing_else_from_being_read() {
    let world = World::new().await;
    let mut settings = soon(&world);
    // So many are read at a time.
    settings.reconcile.per_second = 2.0;
    settings.reconcile.longest = millis(60_000);
    let gateway = unheard(settings).await;
    let mut client = client(&gateway).await;
    let broken =
        Fault { status: Some(400), recipient: Some(STUCK.to_owned()), ..Fault::new(On::Status, FaultKind::Http) };
    world.double.control().add_fault(broken).unwrap();
    for n in 0..4 {
        send(&mut client, text(STUCK, &format!("unreadable {n}"))).await;
    }
    let other = send(&mut client, text(READER, "x")).await;
    let is_read = |message: &v1::Message| message.status() == v1::MessageStatus::Read;
    crate::support::message_until(&mut client, &other, is_read).await;
    world.end(client, gateway).await;
}

#[tokio::test]
async fn while_nothing_answers_reads_become_rarer_and_go_on_afterwards() {
    let world = World::new().await;
    let gateway = unheard(soon(&world)).await;
    let mut client = client(&gateway).await;
    let down = Fault { status: Some(503), times: Some(2), ..Fault::new(On::Status, FaultKind::Http) };
    world.double.control().add_fault(down).unwrap();
    let id = send(&mut client, text(READER, "x")).await;
    let is_read = |message: &v1::Message| message.status() == v1::MessageStatus::Read;
    crate::support::message_until(&mut client, &id, is_read).await;
    let at = |seen: &SeenRequest| seen.at.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let seen: Vec<i64> = reads(&world).iter().map(at).collect();
    let gaps: Vec<i64> = seen.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps[0] >= 990 && gaps[1] >= 1_990, "{gaps:?}");
    assert_eq!(gateway.reconciled().unanswered, 2);
    world.end(client, gateway).await;
}
