//! Calls that are held back because Pilot Status does not answer, or takes nothing of a number.

use std::time::{Duration, Instant};

use pilotgate::{
    proto::v1::{
        self,
        MessageStatus::{InDoubt, Queued},
    },
    sandbox::{Fault, FaultKind, NumberChange, On},
};
use tonic::Code;

use super::{add, attempts, checked, http, ms};
use crate::support::{
    Client, READER, STUCK, Told, World, client, error_of, get, log_length, second_number, send, sends, text,
    two_numbers,
};

fn under(request_id: &str, body: &str) -> v1::SendMessageRequest {
    v1::SendMessageRequest { request_id: request_id.to_owned(), ..text(STUCK, body) }
}

/// Asks until the answer is another one than this reason; fails rather than ask for ever.
async fn until_not(client: &mut Client, reason: &str) -> Result<v1::Message, Told> {
    let asking = async {
        loop {
            match client.send_message(text(STUCK, "probe")).await {
                Ok(sent) => return Ok(sent.into_inner().message.unwrap()),
                Err(status) => {
                    let told = error_of::<()>(Err(status));
                    if told.reason != reason {
                        return Err(told);
                    }
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asking).await.expect("the same for 20 s")
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_left_alone_for_a_while() {
    let world = World::new().await;
    let mut settings = attempts(&world, 1);
    settings.breaker.host_failures = 3;
    settings.breaker.host_first = ms(1500);
    let gateway = world.gateway_with(checked(settings)).await;
    let mut client = client(&gateway).await;
    let answered = send(&mut client, under("answered", "x")).await;
    add(&world, None, http(503));
    let mut doubts = Vec::new();
    for id in ["r-0", "r-1", "r-2"] {
        let doubt = error_of(client.send_message(under(id, "x")).await);
        assert_eq!(doubt.reason, "SEND_IN_DOUBT");
        doubts.push(doubt.metadata["message_id"].clone());
    }
    let opened = Instant::now();
    let (made, logged) = (sends(&world).len(), log_length(&mut client).await);
    let told = error_of(client.send_message(under("new", "x")).await);
    assert_eq!((told.code, told.reason.as_str()), (Code::Unavailable, "UPSTREAM_UNAVAILABLE"));
    assert_eq!(told.message, "pilot status does not answer; nothing was sent");
    let wait = told.retry_after.unwrap();
    assert!(wait > Duration::from_millis(500) && wait <= Duration::from_millis(1500), "{wait:?}");
    assert_eq!(told.metadata, Default::default(), "there is no message");
    // What is asked again is told as it stands.
    let repeated = error_of(client.send_message(under("r-0", "x")).await);
    assert_eq!((repeated.code, repeated.reason.as_str()), (Code::Unknown, "SEND_IN_DOUBT"));
    assert_eq!(repeated.metadata["message_id"], doubts[0]);
    assert!(repeated.retry_after.unwrap() <= wait, "{:?}", repeated.retry_after);
    let again = client.send_message(under("answered", "x")).await.unwrap().into_inner();
    assert_eq!((again.replayed, again.message.unwrap().message_id), (true, answered));
    assert_eq!(error_of(client.send_message(under("answered", "y")).await).reason, "REQUEST_ID_REUSED");
    assert_eq!((sends(&world).len(), log_length(&mut client).await), (made, logged));

    // One probe that is answered, and everything goes again.
    world.double.control().clear_faults();
    assert_eq!(until_not(&mut client, "UPSTREAM_UNAVAILABLE").await.unwrap().status(), Queued);
    assert!(opened.elapsed() >= wait, "{:?}", opened.elapsed());
    assert_eq!(sends(&world).len(), made + 1);
    let settled = client.send_message(under("r-0", "x")).await.unwrap().into_inner().message.unwrap();
    assert_eq!((&settled.message_id, settled.status()), (&doubts[0], Queued));
    assert_eq!(get(&mut client, &doubts[1]).await.status(), InDoubt);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_failure_now_and_then_holds_nothing_back() {
    let world = World::new().await;
    let mut settings = attempts(&world, 1);
    settings.breaker.host_failures = 2;
    settings.breaker.host_first = ms(60_000);
    settings.breaker.host_longest = ms(60_000);
    let gateway = world.gateway_with(checked(settings)).await;
    let mut client = client(&gateway).await;
    for _ in 0..4 {
        add(&world, Some(1), http(503));
        assert_eq!(error_of(client.send_message(text(STUCK, "x")).await).reason, "SEND_IN_DOUBT");
        // A refusal is an answer, too.
        assert_eq!(error_of(client.send_message(text("+5511987650017", "x")).await).reason, "INVALID_DESTINATION");
    }
    send(&mut client, text(STUCK, "x")).await;
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_number_whose_key_is_refused_is_held_back_alone() {
    let world = World::with(two_numbers()).await;
    let mut settings = attempts(&world, 1);
    settings.breaker.number_first = ms(10_000);
    settings.numbers.push(second_number(&world));
    let gateway = world.gateway_with(checked(settings)).await;
    let mut client = client(&gateway).await;
    let refused = Fault { recipient: Some(STUCK.to_owned()), ..Fault::new(On::Send, FaultKind::Unauthorized) };
    add(&world, None, refused);
    assert_eq!(error_of(client.send_message(text(STUCK, "x")).await).reason, "NUMBER_KEY_REFUSED");
    let (made, logged) = (sends(&world).len(), log_length(&mut client).await);
    for phone in [STUCK, READER] {
        let told = error_of(client.send_message(text(phone, "x")).await);
        assert_eq!((told.code, told.reason.as_str()), (Code::Unavailable, "NUMBER_HELD"));
        assert_eq!(told.metadata, crate::support::metadata([("cause", "key refused")]));
        let wait = told.retry_after.unwrap();
        assert!(wait > Duration::from_secs(5) && wait <= Duration::from_secs(10), "{wait:?}");
    }
    assert_eq!((sends(&world).len(), log_length(&mut client).await), (made, logged));
    let other = v1::SendMessageRequest { number: "wn_second".to_owned(), ..text(READER, "x") };
    send(&mut client, other).await;
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_blocked_number_goes_on_after_one_good_probe() {
    let world = World::new().await;
    let mut settings = attempts(&world, 1);
    settings.breaker.number_first = ms(500);
    let gateway = world.gateway_with(checked(settings)).await;
    let mut client = client(&gateway).await;
    let unpaid = |unpaid| NumberChange { extra_charge_unpaid: Some(unpaid), state: None };
    world.double.control().change_number("wn_sandbox", &unpaid(true)).unwrap();
    assert_eq!(error_of(client.send_message(text(STUCK, "x")).await).reason, "NUMBER_BLOCKED");
    let told = error_of(client.send_message(text(STUCK, "x")).await);
    assert_eq!((told.reason.as_str(), &*told.metadata["cause"]), ("NUMBER_HELD", "NUMBER_BLOCKED"));
    assert!(told.retry_after.unwrap() <= Duration::from_millis(500));
    // A probe that is refused holds it back for longer.
    assert_eq!(until_not(&mut client, "NUMBER_HELD").await.unwrap_err().reason, "NUMBER_BLOCKED");
    let told = error_of(client.send_message(text(STUCK, "x")).await);
    assert!(told.retry_after.unwrap() > Duration::from_millis(500), "{:?}", told.retry_after);
    world.double.control().change_number("wn_sandbox", &unpaid(false)).unwrap();
    assert_eq!(until_not(&mut client, "NUMBER_HELD").await.unwrap().status(), Queued);
    send(&mut client, text(STUCK, "x")).await;
    assert_eq!(sends(&world).len(), 4);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn what_goes_wrong_with_single_messages_stops_nobody() {
    let world = World::new().await;
    let mut settings = attempts(&world, 1);
    settings.breaker.host_failures = 3;
    let gateway = world.gateway_with(checked(settings)).await;
    let mut client = client(&gateway).await;
    // As for media that cannot be fetched.
    add(&world, Some(5), http(500));
    for n in 0..5 {
        assert_eq!(error_of(client.send_message(under(&format!("r-{n}"), "x")).await).reason, "SEND_IN_DOUBT");
    }
    send(&mut client, text(READER, "x")).await;
    assert_eq!(sends(&world).len(), 6);
    world.end(client, gateway).await;
}
