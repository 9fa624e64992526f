//! Sending: what the caller is told, what the double saw, what is remembered.

use std::time::Duration;

use pilotgate::{
    config,
    proto::v1::{
        self,
        MessageStatus::{Delivered, Failed, InDoubt, Pending, Queued, Read, Sent},
        Origin,
    },
    sandbox::{Fault, FaultKind, On},
};
use tonic::Code;

use crate::support::{
    READER, World, client, error_of, from_earliest, metadata, next_update, sends, template, text, trails,
};

#[tokio::test]
async fn a_text_is_sent_and_followed_to_read() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let request = v1::SendMessageRequest {
        labels: vec!["greeting".to_owned()],
        metadata: metadata([("order", "A-7731")]),
        request_id: "order-A-7731".to_owned(),
        ..text(READER, "hello")
    };
    let response = client.send_message(request).await.unwrap().into_inner();
    let message = response.message.unwrap();
    let seen = &world.double.control().messages()[0];
    assert!(!response.replayed);
    assert_eq!(
        message,
        v1::Message {
            message_id: message.message_id.clone(),
            number: "wn_sandbox".to_owned(),
            caller: "orders".to_owned(),
            recipient: crate::support::to_phone(READER),
            status: Queued.into(),
            upstream_id: seen.id.clone(),
            correlation_id: seen.correlation_id.clone(),
            request_id: "order-A-7731".to_owned(),
            handoff: v1::Handoff::Direct.into(),
            labels: vec!["greeting".to_owned()],
            metadata: metadata([("order", "A-7731")]),
            create_time: message.create_time,
            queue_time: message.queue_time,
            attempts: 1,
            ..Default::default()
        }
    );
    assert!(message.create_time.is_some() && message.queue_time.is_some());
    assert_eq!(sends(&world)[0].idempotency_key, Some(format!("pilotgate-{}", message.message_id)));

    let mut frames = client.stream_status_updates(from_earliest()).await.unwrap().into_inner();
    let mut trail = Vec::new();
    for _ in 0..5 {
        let (update, _) = next_update(&mut frames).await;
        assert_eq!(update.message_id, message.message_id);
        assert_eq!(update.metadata, message.metadata);
        assert_eq!(update.current_status(), update.status());
        trail.push((update.status(), update.origin()));
    }
    let expected = [
        (Pending, Origin::Gateway),
        (Queued, Origin::SendReply),
        (Sent, Origin::Webhook),
        (Delivered, Origin::Webhook),
        (Read, Origin::Webhook),
    ];
    assert_eq!(trail, expected);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn a_repeated_request_id_is_answered_as_the_first_time_and_sends_nothing() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let request = v1::SendMessageRequest { request_id: "r-1".to_owned(), ..text(READER, "once") };
    let first = client.send_message(request.clone()).await.unwrap().into_inner();
    let again = client.send_message(request.clone()).await.unwrap().into_inner();
    assert!(!first.replayed && again.replayed);
    let (first, again) = (first.message.unwrap(), again.message.unwrap());
    assert_eq!((&first.message_id, &first.upstream_id), (&again.message_id, &again.upstream_id));
    assert_eq!(sends(&world).len(), 1);

    let other = v1::SendMessageRequest { request_id: "r-1".to_owned(), ..text(READER, "another text") };
    let refused = error_of(client.send_message(other).await);
    assert_eq!((refused.code, refused.reason.as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
    let other = v1::SendMessageRequest { metadata: metadata([("a", "b")]), ..request.clone() };
    assert_eq!(error_of(client.send_message(other).await).reason, "REQUEST_ID_REUSED");
    assert_eq!(sends(&world).len(), 1);

    // Another caller's request ids are its own.
    let mut billing = crate::support::client_as(&gateway, Some(crate::support::OTHER_TOKEN)).await;
    let theirs = billing.send_message(request).await.unwrap().into_inner();
    assert!(!theirs.replayed);
    assert_eq!(sends(&world).len(), 2);
    world.end((client, billing), gateway).await;
}

#[tokio::test]
async fn concurrent_repeats_share_one_send_and_one_answer() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let client = client(&gateway).await;
    let request = v1::SendMessageRequest { request_id: "r-1".to_owned(), ..text(READER, "once") };
    let calls = (0..50).map(|_| {
        let (mut client, request) = (client.clone(), request.clone());
        async move { client.send_message(request).await.unwrap().into_inner() }
    });
    let answers = futures_util::future::join_all(calls).await;
    let ids: std::collections::BTreeSet<_> =
        answers.iter().map(|answer| answer.message.as_ref().unwrap().upstream_id.clone()).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert_eq!(sends(&world).len(), 1);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_repeat_that_cannot_wait_for_the_first_is_told_that_it_runs() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.messaging.repeat_wait = config::settings::Span(Duration::ZERO);
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let client = client(&gateway).await;
    world.double.control().add_fault(Fault { ms: Some(1500), ..Fault::new(On::Send, FaultKind::Delay) }).unwrap();
    let request = v1::SendMessageRequest { request_id: "r-1".to_owned(), ..text(READER, "slow") };
    let first = tokio::spawn({
        let (mut client, request) = (client.clone(), request.clone());
        async move { client.send_message(request).await.unwrap().into_inner() }
    });
    crate::support::until(|| sends(&world).len() == 1).await;
    let told = error_of(client.clone().send_message(request).await);
    assert_eq!((told.code, told.reason.as_str()), (Code::Aborted, "REQUEST_IN_PROGRESS"));
    assert_eq!(told.retry_after, Some(Duration::from_secs(1)));
    let first = first.await.unwrap().message.unwrap();
    assert_eq!(told.metadata["message_id"], first.message_id);
    assert_eq!(sends(&world).len(), 1);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn refusals_of_pilot_status_are_told_by_the_table() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let hint = serde_json::json!({ "rate_limit_retry_after_seconds": 17 });
    world.double.control().patch_switches(hint.as_object().unwrap()).unwrap();
    let cases = [
        ("0017", Code::InvalidArgument, "INVALID_DESTINATION", "400", None),
        ("0018", Code::FailedPrecondition, "SUBSCRIPTION_REQUIRED_FOR_MEDIA", "402", None),
        ("0019", Code::FailedPrecondition, "NUMBER_BLOCKED", "409", None),
        ("0015", Code::ResourceExhausted, "UPSTREAM_RATE_LIMITED", "429", Some(1)),
        // The last one, since nobody calls for this number before the 17 s are over.
        ("0014", Code::ResourceExhausted, "UPSTREAM_RATE_LIMITED", "429", Some(17)),
    ];
    for (suffix, code, reason, status, retry_after) in cases {
        let request = text(&format!("+551198765{suffix}"), "no");
        let refused = error_of(client.send_message(request).await);
        assert_eq!((refused.code, refused.reason.as_str()), (code, reason), "{suffix}");
        assert_eq!(refused.metadata["upstream_status"], status);
        assert_eq!(refused.retry_after, retry_after.map(Duration::from_secs), "{suffix}");
        let id = refused.metadata["message_id"].clone();
        let message = crate::support::get(&mut client, &id).await;
        assert_eq!((message.status(), message.attempts), (Failed, 1));
        assert!(message.failure.unwrap().safe_to_resend);
    }
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_refused_key_is_the_platforms_matter_and_shows_nowhere() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    world.double.control().add_fault(Fault::new(On::Send, FaultKind::Unauthorized)).unwrap();
    let refused = error_of(client.send_message(text(READER, "no")).await);
    assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "NUMBER_KEY_REFUSED"));
    assert!(!format!("{refused:?}").contains(&world.double.account().numbers[0].key));
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_refused_request_id_may_be_used_again_with_a_corrected_body() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let wrong = v1::SendMessageRequest { request_id: "r-1".to_owned(), ..text("+5511987650017", "x") };
    assert_eq!(error_of(client.send_message(wrong).await).reason, "INVALID_DESTINATION");
    let right = v1::SendMessageRequest { request_id: "r-1".to_owned(), ..text(READER, "x") };
    let sent = client.send_message(right).await.unwrap().into_inner();
    assert!(!sent.replayed);
    assert_eq!(sent.message.unwrap().status(), Queued);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn an_unreachable_upstream_surely_got_nothing_and_the_call_may_be_repeated() {
    let world = World::new().await;
    let mut settings = world.settings();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    settings.upstream.base_url = format!("http://{closed}");
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut client = client(&gateway).await;
    let request = v1::SendMessageRequest { request_id: "r-1".to_owned(), ..text(READER, "x") };
    for _ in 0..2 {
        let refused = error_of(client.send_message(request.clone()).await);
        assert_eq!((refused.code, refused.reason.as_str()), (Code::Unavailable, "UPSTREAM_UNAVAILABLE"));
        assert_eq!(refused.retry_after, Some(Duration::from_secs(1)));
        let message = crate::support::get(&mut client, &refused.metadata["message_id"]).await;
        let failure = message.failure.clone().unwrap();
        assert_eq!((message.status(), failure.code()), (Failed, v1::FailureCode::NotSent));
        assert!(failure.safe_to_resend);
    }
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_lost_answer_leaves_a_question_that_the_same_request_id_settles() {
    let world = World::unhurried().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let mut frames = client.stream_status_updates(from_earliest()).await.unwrap().into_inner();
    // 0012: accepted, connection closed without an answer. 0013: accepted, then a 502 that is no JSON.
    for (suffix, status) in [("0012", None), ("0013", Some("502"))] {
        let request =
            v1::SendMessageRequest { request_id: format!("r-{suffix}"), ..text(&format!("+551198765{suffix}"), "x") };
        let doubt = error_of(client.send_message(request.clone()).await);
        assert_eq!((doubt.code, doubt.reason.as_str()), (Code::Unknown, "SEND_IN_DOUBT"));
        assert_eq!(doubt.metadata.get("upstream_status").map(String::as_str), status);
        assert_eq!(doubt.retry_after, Some(Duration::from_secs(1)));
        let id = doubt.metadata["message_id"].clone();
        assert_eq!(crate::support::get(&mut client, &id).await.status(), InDoubt);

        let settled = client.send_message(request).await.unwrap().into_inner().message.unwrap();
        assert_eq!((settled.message_id.as_str(), settled.attempts), (id.as_str(), 2));
        let accepted: Vec<_> = world.double.control().messages();
        let accepted: Vec<_> = accepted.iter().filter(|seen| seen.id == settled.upstream_id).collect();
        assert_eq!(accepted.iter().map(|seen| seen.accepted).collect::<Vec<_>>(), [1]);
    }
    let trails = trails(&mut frames, 12).await;
    for trail in trails.values() {
        assert_eq!(trail.as_slice(), [Pending, InDoubt, Queued, Sent, Delivered, Read]);
    }
    assert_eq!(world.double.control().messages().len(), 2);
    let bodies: std::collections::BTreeSet<_> = sends(&world).into_iter().map(|seen| seen.body_sha256).collect();
    assert_eq!(bodies.len(), 2, "a repeated call carries the same bytes");
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn no_refusal_of_a_repeat_settles_a_doubt() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    // No webhook can be recognised as being about it, however long the calls take.
    let request = v1::SendMessageRequest { request_id: "r-1".to_owned(), ..template("+5511987650012") };
    let id = error_of(client.send_message(request.clone()).await).metadata["message_id"].clone();
    // A key that was changed, a proxy's 400 and a 404 say nothing about what became of the first call.
    let http = |status| Fault { status: Some(status), ..Fault::new(On::Send, FaultKind::Http) };
    for fault in [Fault::new(On::Send, FaultKind::Unauthorized), http(400), http(404), http(429)] {
        world.double.control().add_fault(Fault { times: Some(1), ..fault }).unwrap();
        let doubt = error_of(client.send_message(request.clone()).await);
        assert_eq!(doubt.reason, "SEND_IN_DOUBT");
        assert_eq!(crate::support::get(&mut client, &id).await.status(), InDoubt);
    }
    assert_eq!(client.send_message(request).await.unwrap().into_inner().message.unwrap().message_id, id);
    assert_eq!(world.double.control().messages().len(), 1);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_scheduled_send_can_be_repeated_after_its_time() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let soon = std::time::SystemTime::now() + Duration::from_millis(300);
    let scheduled = |phone: &str, id: &str| v1::SendMessageRequest {
        deliver_at: Some(soon.into()),
        request_id: id.to_owned(),
        ..text(phone, "x")
    };
    let accepted = scheduled(READER, "accepted");
    let doubtful = scheduled("+5511987650012", "doubtful");
    let first = client.send_message(accepted.clone()).await.unwrap().into_inner().message.unwrap();
    assert_eq!(error_of(client.send_message(doubtful.clone()).await).reason, "SEND_IN_DOUBT");
    crate::support::until(|| std::time::SystemTime::now() > soon).await;

    let again = client.send_message(accepted).await.unwrap().into_inner();
    assert!(again.replayed);
    assert_eq!(again.message.unwrap().message_id, first.message_id);
    client.send_message(doubtful).await.unwrap();
    for request in [scheduled(READER, "new"), scheduled(READER, "")] {
        let late = error_of(client.send_message(request).await);
        assert_eq!(late.violations, [("deliver_at".to_owned(), "must lie in the future".to_owned())]);
    }
    assert_eq!(world.double.control().messages().len(), 2);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_repeat_of_a_settled_send_needs_no_place() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.upstream.max_in_flight = 1;
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut client = client(&gateway).await;
    let request = v1::SendMessageRequest { request_id: "r-1".to_owned(), ..text(READER, "x") };
    client.send_message(request.clone()).await.unwrap();
    world.double.control().add_fault(Fault { ms: Some(1500), ..Fault::new(On::Send, FaultKind::Delay) }).unwrap();
    let slow = tokio::spawn({
        let mut client = client.clone();
        async move { client.send_message(text(READER, "slow")).await.unwrap() }
    });
    crate::support::until(|| sends(&world).len() == 2).await;
    assert!(client.send_message(request).await.unwrap().into_inner().replayed);
    assert!(!slow.is_finished());
    slow.await.unwrap();
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_doubtful_send_is_never_repeated_once_its_key_may_be_forgotten() {
    let world = World::unhurried().await;
    let mut settings = world.settings();
    settings.messaging.replay_window = config::settings::Span(Duration::ZERO);
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut client = client(&gateway).await;
    let request = v1::SendMessageRequest { request_id: "r-1".to_owned(), ..text("+5511987650012", "x") };
    for _ in 0..2 {
        let doubt = error_of(client.send_message(request.clone()).await);
        assert_eq!((doubt.code, doubt.reason.as_str()), (Code::Unknown, "SEND_IN_DOUBT"));
        assert_eq!(doubt.retry_after, None);
    }
    assert_eq!(sends(&world).len(), 1);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_take_the_record_with_it() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let mut frames = client.stream_status_updates(from_earliest()).await.unwrap().into_inner();
    world.double.control().add_fault(Fault { ms: Some(600), ..Fault::new(On::Send, FaultKind::Delay) }).unwrap();
    let mut request = tonic::Request::new(text(READER, "impatient"));
    request.set_timeout(Duration::from_millis(200));
    let gone = client.send_message(request).await.unwrap_err();
    assert!(matches!(gone.code(), Code::DeadlineExceeded | Code::Cancelled), "{gone:?}");
    let trails = trails(&mut frames, 5).await;
    assert_eq!(trails.into_values().collect::<Vec<_>>(), [[Pending, Queued, Sent, Delivered, Read]]);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn too_many_sends_are_refused_before_anything_is_stored() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.upstream.max_in_flight = 1;
    settings.messaging.slot_wait = config::settings::Span(Duration::from_millis(50));
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut client = client(&gateway).await;
    world.double.control().add_fault(Fault { ms: Some(1500), ..Fault::new(On::Send, FaultKind::Delay) }).unwrap();
    let first = tokio::spawn({
        let mut client = client.clone();
        async move { client.send_message(text(READER, "first")).await.unwrap().into_inner() }
    });
    crate::support::until(|| sends(&world).len() == 1).await;
    let refused = error_of(client.send_message(text(READER, "second")).await);
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Unavailable, "OVERLOADED"));
    assert_eq!(refused.retry_after, Some(Duration::from_secs(1)));
    first.await.unwrap();
    assert_eq!(sends(&world).len(), 1);
    world.end(client, gateway).await;
}
