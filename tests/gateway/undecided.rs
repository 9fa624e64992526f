//! OutboxService: what is not decided yet, and what an administrator does about it.

use pilotgate::{
    config::Config,
    domain::{
        caller::{Caller, Token},
        principal::AdminRight,
        secret::TokenHash,
    },
    proto::{
        admin::v1::{self as admin, outbox_service_client::OutboxServiceClient},
        v1::{self, MessageStatus},
    },
    sandbox::{Fault, FaultKind, On},
    server::Gateway,
};
use tonic::{Code, service::interceptor::InterceptedService, transport::Channel};

use crate::support::{
    Bearer, READER, World, bearer, client, error_of, follow, from_earliest, get, message_until, next_updates, queued,
    send, sends, template, text,
};

const OPERATOR: &str = "pgt_operator-token-for-tests";
const WATCHMAN: &str = "pgt_watchman-token-for-tests";

type Outbox = OutboxServiceClient<InterceptedService<Channel, Bearer>>;

/// A configuration with one who may do everything with the outbox, and one who may look.
fn config(world: &World) -> Config {
    let mut config = world.config();
    for (name, token, right) in [("operator", OPERATOR, "outbox.manage"), ("watchman", WATCHMAN, "outbox.view")] {
        let admin: Vec<AdminRight> = vec![right.parse().unwrap()];
        let tokens = vec![Token::of(TokenHash::of(token))];
        config.callers.push(Caller { tokens, admin, ..Caller::named(name.to_owned().try_into().unwrap()) });
    }
    config
}

async fn outbox(gateway: &Gateway, token: &'static str) -> Outbox {
    let channel = Channel::from_shared(format!("http://{}", gateway.grpc())).unwrap().connect().await.unwrap();
    OutboxServiceClient::with_interceptor(channel, bearer(Some(token)))
}

/// The next sends get no answer that tells whether they were taken.
fn lose_answers(world: &World, times: u64) {
    let lost = Fault { times: Some(times), ..Fault::new(On::Send, FaultKind::DropReply) };
    world.double.control().add_fault(lost).unwrap();
}

/// The next sends are refused for want of an answer from the host.
fn unavailable(world: &World, times: u64) {
    let down = Fault { times: Some(times), status: Some(503), ..Fault::new(On::Send, FaultKind::Http) };
    world.double.control().add_fault(down).unwrap();
}

async fn pending(client: &mut Outbox, request: admin::ListPendingRequest) -> Vec<admin::PendingMessage> {
    client.list_pending(request).await.unwrap().into_inner().messages
}

fn everything() -> admin::ListPendingRequest {
    admin::ListPendingRequest::default()
}

#[tokio::test]
async fn what_is_not_decided_is_listed_page_by_page_and_narrowed() {
    let world = World::new().await;
    let mut config = config(&world);
    // Nothing goes out by itself.
    config.numbers[0].pacing.per_second = Some(0.001);
    let gateway = world.gateway_with(config).await;
    let (mut orders, mut watchman) = (client(&gateway).await, outbox(&gateway, WATCHMAN).await);
    lose_answers(&world, 1);
    let doubt = error_of(orders.send_message(template(READER)).await).metadata["message_id"].clone();
    let mut ids = vec![doubt.clone()];
    for body in ["a", "b", "c"] {
        ids.push(send(&mut orders, queued(text(READER, body))).await);
    }
    let listed = pending(&mut watchman, everything()).await;
    assert_eq!(listed.iter().map(|one| &one.message_id).collect::<Vec<_>>(), ids.iter().collect::<Vec<_>>());
    let first = &listed[0];
    let expected = admin::PendingMessage {
        message_id: doubt.clone(),
        caller: "orders".to_owned(),
        number: "wn_sandbox".to_owned(),
        recipient: "**********0101".to_owned(),
        status: MessageStatus::InDoubt.into(),
        handoff: v1::Handoff::Direct.into(),
        attempts: 1,
        create_time: first.create_time,
        ..Default::default()
    };
    assert_eq!(*first, expected);
    let shape = |one: &admin::PendingMessage| (one.status(), one.queued, one.behind_another, one.expire_time.is_some());
    let waiting = |behind| (MessageStatus::Pending, true, behind, true);
    assert_eq!(listed[1..].iter().map(shape).collect::<Vec<_>>(), [waiting(false), waiting(true), waiting(true)]);

    let mut page = admin::ListPendingRequest { page_size: 3, ..everything() };
    let answer = watchman.list_pending(page.clone()).await.unwrap().into_inner();
    assert_eq!(answer.messages, listed[..3]);
    page.page_token = answer.next_page_token;
    assert_eq!(pending(&mut watchman, page.clone()).await, listed[3..]);
    page.caller = "billing".to_owned();
    let told = error_of(watchman.list_pending(page).await);
    assert_eq!((told.code, told.violations[0].0.as_str()), (Code::InvalidArgument, "page_token"));

    let narrowed = [
        (admin::ListPendingRequest { status: MessageStatus::InDoubt.into(), ..everything() }, &listed[..1]),
        (admin::ListPendingRequest { status: MessageStatus::Pending.into(), ..everything() }, &listed[1..]),
        (admin::ListPendingRequest { caller: "billing".to_owned(), ..everything() }, &[][..]),
        (admin::ListPendingRequest { number: "wn_upstream_id".to_owned(), ..everything() }, &listed[..]),
        (admin::ListPendingRequest { number: "gone".to_owned(), ..everything() }, &[][..]),
    ];
    for (request, expected) in narrowed {
        assert_eq!(pending(&mut watchman, request.clone()).await, expected, "{request:?}");
    }
    let wrong = admin::ListPendingRequest {
        page_size: -1,
        caller: "No Name".to_owned(),
        status: MessageStatus::Read.into(),
        ..everything()
    };
    let fields: Vec<_> =
        error_of(watchman.list_pending(wrong).await).violations.into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["page_size", "status", "caller"]);
    drop((orders, watchman));
    gateway.shutdown().await;
}

#[tokio::test]
async fn a_message_that_waits_is_tried_at_once_when_asked() {
    let world = World::new().await;
    let mut config = config(&world);
    // An hour between two attempts, so that only asking brings the second one.
    let hour = std::time::Duration::from_secs(3600);
    config.messaging.queue.backoff = pilotgate::messaging::Backoff { first: hour, longest: hour };
    let gateway = world.gateway_with(config).await;
    let (mut orders, mut operator) = (client(&gateway).await, outbox(&gateway, OPERATOR).await);
    unavailable(&world, 1);
    let id = send(&mut orders, queued(text(READER, "later"))).await;
    message_until(&mut orders, &id, |message| message.attempts == 1).await;
    let request = admin::RetryMessageRequest { message_id: id.clone(), reason: "host is back".to_owned() };
    let hastened = operator.retry_message(request.clone()).await.unwrap().into_inner().message.unwrap();
    assert_eq!((hastened.message_id, hastened.queued), (id.clone(), true));
    let sent = message_until(&mut orders, &id, |message| message.status() == MessageStatus::Read).await;
    assert_eq!(sent.attempts, 2);
    let told = error_of(operator.retry_message(request).await);
    assert_eq!((told.code, told.reason.as_str()), (Code::FailedPrecondition, "WRONG_STATE"));
    assert_eq!(told.message, "the message is not queued");
    drop((orders, operator));
    gateway.shutdown().await;
}

#[tokio::test]
async fn a_discarded_message_fails_and_never_leaves() {
    let world = World::new().await;
    let mut config = config(&world);
    config.numbers[0].pacing.per_second = Some(0.001);
    let gateway = world.gateway_with(config).await;
    let (mut orders, mut operator) = (client(&gateway).await, outbox(&gateway, OPERATOR).await);
    // Takes the only turn.
    send(&mut orders, text(READER, "first")).await;
    let id = send(&mut orders, queued(text(READER, "wrong campaign"))).await;
    let mut request = admin::DiscardMessageRequest { message_id: id.clone(), reason: String::new() };
    let told = error_of(operator.discard_message(request.clone()).await);
    assert_eq!(told.violations, [("reason".to_owned(), "is required".to_owned())]);
    request.reason = "wrong campaign".to_owned();
    let message = operator.discard_message(request.clone()).await.unwrap().into_inner().message.unwrap();
    let failure = message.failure.clone().unwrap();
    assert_eq!(message.status(), MessageStatus::Failed);
    assert_eq!((failure.code(), failure.safe_to_resend), (v1::FailureCode::Discarded, true));
    assert_eq!(get(&mut orders, &id).await, message);
    let mut frames = follow(&mut orders, from_earliest()).await;
    let updates = next_updates(&mut frames, 7).await;
    let of_it: Vec<_> = updates.iter().filter(|update| update.message_id == id).map(v1::StatusUpdate::status).collect();
    assert_eq!(of_it, [MessageStatus::Pending, MessageStatus::Failed]);
    assert_eq!(error_of(operator.discard_message(request).await).reason, "WRONG_STATE");
    assert_eq!(sends(&world).len(), 1);
    drop((orders, operator, frames));
    gateway.shutdown().await;
}

#[tokio::test]
async fn a_doubt_is_settled_by_what_was_found_out_and_every_act_is_in_the_audit_log() {
    use admin::resolve_in_doubt_request::Outcome;
    let world = World::new().await;
    let gateway = world.gateway_with(config(&world)).await;
    let (mut orders, mut operator) = (client(&gateway).await, outbox(&gateway, OPERATOR).await);
    let mut watchman = outbox(&gateway, WATCHMAN).await;
    lose_answers(&world, 1);
    let id = error_of(orders.send_message(template(READER)).await).metadata["message_id"].clone();
    let request = admin::ResolveInDoubtRequest {
        message_id: id.clone(),
        outcome: Some(Outcome::NotSent(admin::InDoubtNotSent {})),
        reason: "not in the console".to_owned(),
    };
    let told = error_of(watchman.resolve_in_doubt(request.clone()).await);
    assert_eq!((told.code, told.reason.as_str()), (Code::PermissionDenied, "NOT_ADMINISTRATOR"));
    assert_eq!(told.metadata["right"], "outbox.manage");
    let nothing = admin::ResolveInDoubtRequest { outcome: None, reason: String::new(), ..request.clone() };
    let fields: Vec<_> =
        error_of(operator.resolve_in_doubt(nothing).await).violations.into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["reason", "outcome"]);
    let message = operator.resolve_in_doubt(request.clone()).await.unwrap().into_inner().message.unwrap();
    assert_eq!(message.failure.unwrap().code(), v1::FailureCode::ResolvedNotSent);
    let told = error_of(operator.resolve_in_doubt(request.clone()).await);
    assert_eq!((told.code, told.message.as_str()), (Code::FailedPrecondition, "the message is FAILED, not in doubt"));
    let unknown = "01936d5e-7c1a-7c3e-9d11-3f0c2a5b8e77".to_owned();
    let nobody = admin::ResolveInDoubtRequest { message_id: unknown.clone(), ..request };
    assert_eq!(error_of(operator.resolve_in_doubt(nobody).await).code, Code::NotFound);
    drop((orders, operator, watchman));
    gateway.shutdown().await;

    let acts = crate::support::acts(&world).await;
    let acts: Vec<_> = acts.iter().filter(|act| act.action != "message.attempt").collect();
    let told: Vec<_> = acts.iter().map(|act| (&*act.actor, &*act.action, &*act.subject, &*act.outcome)).collect();
    let (message, nobody) = (format!("message/{id}"), format!("message/{unknown}"));
    let expected = [
        ("watchman", "outbox.resolve", message.as_str(), "refused"),
        ("operator", "outbox.resolve", &message, "done"),
        ("operator", "outbox.resolve", &message, "refused"),
        ("operator", "outbox.resolve", &nobody, "refused"),
    ];
    assert_eq!(told, expected);
    let done = acts[1];
    assert_eq!(done.reason.as_deref(), Some("not in the console"));
    assert_eq!(done.from.as_deref(), Some("127.0.0.1"));
    assert_eq!(done.detail["found"], "not_sent");
    assert!(done.credential.as_ref().is_some_and(|credential| credential.starts_with("token:")));
}

#[tokio::test]
async fn a_message_that_is_being_attempted_is_left_alone() {
    let world = World::new().await;
    let gateway = world.gateway_with(config(&world)).await;
    let (mut orders, mut operator) = (client(&gateway).await, outbox(&gateway, OPERATOR).await);
    // The double takes the call and says nothing for as long as the test lasts.
    let hang = Fault { times: Some(1), ms: Some(3000), ..Fault::new(On::Send, FaultKind::Delay) };
    world.double.control().add_fault(hang).unwrap();
    let id = send(&mut orders, queued(text(READER, "slow"))).await;
    crate::support::until(|| sends(&world).len() == 1).await;
    let attempting = pending(&mut operator, everything()).await;
    assert_eq!(attempting.iter().map(|one| (one.attempting, one.queued)).collect::<Vec<_>>(), [(true, true)]);
    let reason = "too late".to_owned();
    let discard = admin::DiscardMessageRequest { message_id: id.clone(), reason: reason.clone() };
    assert_eq!(error_of(operator.discard_message(discard).await).message, "the message is being attempted right now");
    let retry = admin::RetryMessageRequest { message_id: id.clone(), reason };
    assert_eq!(error_of(operator.retry_message(retry).await).message, "the message is being attempted right now");
    assert_eq!(get(&mut orders, &id).await.status(), MessageStatus::Pending);
    drop((orders, operator));
    gateway.shutdown().await;
}
