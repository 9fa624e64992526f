//! Settling a doubt by what somebody found out.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use pilotgate::{
    config::{self, Settings, settings::Span},
    domain::{
        content::{Content, Text},
        failure::{Failure, FailureCode},
        ids::MessageId,
        intent::Intent,
        message::{Handoff, Message},
        recipient::Recipient,
        sources::Sources,
        status::Status::{self, Failed, InDoubt},
    },
    identity::{Acting, Identity, ManageOutbox, Shown},
    keys::KeyRing,
    messaging::{Messaging, Resolution, SendError, SendRequest, Sent, UndecidedError, Waiting},
    proto::v1::MessageStatus,
    sandbox::{Fault, FaultKind, On},
    store::{self, Store},
    upstream::Upstream,
    vault::{RootKey, Vault},
};
use tokio_util::sync::CancellationToken;

use crate::support::{
    READER, STUCK, TOKEN, World, client, error_of, follow, from_earliest, send, sends, template, text, trails, until,
};

/// The use cases over a store and a double, without doors.
struct Parts {
    messaging: Messaging,
    store: Arc<dyn Store>,
    identity: Arc<Identity>,
    draining: CancellationToken,
}

impl Parts {
    async fn open(settings: Settings) -> Self {
        let config = config::check_in_memory(settings).unwrap();
        let (sources, draining) = (Sources::system(), CancellationToken::new());
        let store = store::open(config.store.clone()).await.unwrap();
        let key = RootKey::kept_in(&config.store.directory.join("root.key"), &sources).unwrap();
        let messaging = Messaging::new(
            Arc::clone(&store),
            Upstream::open(&config.upstream).unwrap(),
            Arc::new(KeyRing::of(config.numbers, None)),
            Vault::open(&key, sources.clone()),
            sources,
            config.messaging,
            draining.clone(),
        );
        messaging.recover().await.unwrap();
        Self { messaging, store, identity: Arc::new(Identity::of(config.callers)), draining }
    }

    async fn send(&self, phone: &str, request_id: &str, handoff: Handoff) -> Result<Sent, SendError> {
        let authorization = format!("Bearer {TOKEN}");
        let shown = Shown { authorization: Some(authorization.as_bytes()), certificate: &[] };
        let principal = self.identity.authenticate(shown, Timestamp::now()).unwrap();
        let number = "wn_sandbox".to_owned().try_into().unwrap();
        let request = SendRequest {
            intent: Intent {
                recipient: Recipient::Phone(phone.parse().unwrap()),
                content: Content::Text(Text { body: "x".to_owned(), buttons: None }),
                deliver_at: None,
                deliver_until: None,
                labels: Vec::new(),
                mark_read: None,
            },
            metadata: BTreeMap::new(),
            request_id: Some(request_id.to_owned().try_into().unwrap()),
            handoff,
            deadline: None,
            waiting: Waiting::Brief,
            overdue: Vec::new(),
        };
        let right = self.identity.may_send(&principal, Some(number)).unwrap().permit(&request.intent).unwrap();
        self.messaging.send(right, request).await
    }

    /// A direct send whose answer is lost.
    async fn doubt(&self, world: &World, phone: &str, request_id: &str) -> MessageId {
        lose_answers(world, 1);
        match self.send(phone, request_id, Handoff::Direct).await {
            Err(SendError::InDoubt { id, .. }) => id,
            other => panic!("{other:?}"),
        }
    }

    async fn status(&self, id: MessageId) -> Status {
        self.store.message(id).await.unwrap().unwrap().status
    }

    async fn close(self) {
        self.draining.cancel();
        self.messaging.finish().await;
        self.store.close().await;
    }
}

fn lose_answers(world: &World, times: u64) {
    let lost = Fault { times: Some(times), ..Fault::new(On::Send, FaultKind::DropReply) };
    world.double.control().add_fault(lost).unwrap();
}

/// Who settles doubts here.
fn acting() -> Acting<ManageOutbox> {
    Acting::of_the_gateway("a test")
}

fn not_sent() -> Failure {
    Failure::of_handoff(FailureCode::ResolvedNotSent, "found not to have been sent")
}

#[tokio::test]
async fn one_that_was_sent_gets_everything_that_was_told_of_it() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut before = client(&gateway).await;
    lose_answers(&world, 1);
    let id = error_of(before.send_message(template(READER)).await).metadata["message_id"].clone();
    // Its statuses come in while nobody knows whose they are.
    until(|| world.double.control().stats().webhooks_delivered == 3).await;
    drop(before);
    gateway.shutdown().await;

    let parts = Parts::open(world.settings()).await;
    let ours: MessageId = id.parse().unwrap();
    assert_eq!(parts.status(ours).await, Status::InDoubt);
    let upstream = world.double.control().messages()[0].id.clone().try_into().unwrap();
    let resolved = parts.messaging.resolve(&acting(), ours, Resolution::Sent(Some(upstream))).await.unwrap();
    assert_eq!((resolved.status, resolved.attempts), (Status::Read, 1));
    let again = parts.messaging.resolve(&acting(), ours, Resolution::NotSent).await;
    assert_eq!(again, Err(UndecidedError::NotInDoubt(Status::Read)));
    parts.close().await;

    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    use MessageStatus::{Delivered, InDoubt, Pending, Queued, Read, Sent};
    assert_eq!(trails(&mut frames, 6).await[&id], [Pending, InDoubt, Queued, Sent, Delivered, Read]);
    send(&mut client, text(STUCK, "y")).await;
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn one_whose_id_was_not_found_is_queued_all_the_same() {
    let world = World::new().await;
    let parts = Parts::open(world.settings()).await;
    let id = parts.doubt(&world, STUCK, "r-1").await;
    let resolved = parts.messaging.resolve(&acting(), id, Resolution::Sent(None)).await.unwrap();
    assert_eq!((resolved.status, resolved.ids.upstream.as_ref()), (Status::Queued, None));
    // Its request id goes on standing for it.
    let again = parts.send(STUCK, "r-1", Handoff::Direct).await;
    assert_eq!(again, Ok(Sent { message: resolved, replayed: true }));
    assert_eq!(sends(&world).len(), 1);
    parts.close().await;
    world.double.shutdown().await;
}

#[tokio::test]
async fn one_that_was_not_sent_frees_its_request_id() {
    let world = World::new().await;
    let parts = Parts::open(world.settings()).await;
    let id = parts.doubt(&world, STUCK, "r-1").await;
    let resolved = parts.messaging.resolve(&acting(), id, Resolution::NotSent).await.unwrap();
    let known = parts.store.message(id).await.unwrap().unwrap();
    assert_eq!(resolved, known);
    assert_eq!((resolved.status, &resolved.failure), (Failed, &Some(not_sent())));
    assert!(resolved.failure.unwrap().is_safe_to_resend());
    let anew = parts.send(STUCK, "r-1", Handoff::Direct).await.unwrap();
    assert_eq!((anew.replayed, anew.message.status), (false, Status::Queued));
    assert_ne!(anew.message.origins.message_id, id);
    parts.close().await;
    world.double.shutdown().await;
}

#[tokio::test]
async fn a_queued_one_leaves_the_queue_and_makes_way() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.queue.retry_first = Span(Duration::from_secs(3600));
    settings.queue.retry_longest = Span(Duration::from_secs(3600));
    let parts = Parts::open(settings).await;
    parts.messaging.run_queue();
    lose_answers(&world, 1);
    let mut ids = Vec::new();
    for request_id in ["r-1", "r-2"] {
        let sent = parts.send(STUCK, request_id, Handoff::Queued).await.unwrap();
        ids.push(sent.message.origins.message_id);
    }
    let mut head = parts.store.head();
    while parts.status(ids[0]).await != InDoubt {
        head.changed().await.unwrap();
    }
    let resolved = loop {
        match parts.messaging.resolve(&acting(), ids[0], Resolution::NotSent).await {
            // The attempt has been recorded, and is not quite over.
            Err(UndecidedError::Busy) => tokio::task::yield_now().await,
            other => break other.unwrap(),
        }
    };
    assert_eq!((resolved.status, &resolved.failure), (Failed, &Some(not_sent())));
    while parts.status(ids[1]).await != Status::Queued {
        head.changed().await.unwrap();
    }
    // The queue has answered for this request id.
    let again = parts.send(STUCK, "r-1", Handoff::Queued).await;
    assert_eq!(again, Ok(Sent { message: resolved, replayed: true }));
    assert_eq!(sends(&world).len(), 2);
    parts.close().await;
    world.double.shutdown().await;
}

#[tokio::test]
async fn what_is_not_in_doubt_or_being_attempted_is_left_alone() {
    let world = World::new().await;
    let parts = Parts::open(world.settings()).await;
    let nobody = MessageId::from_uuid(uuid::Uuid::from_u128(7));
    for resolution in [Resolution::Sent(None), Resolution::NotSent] {
        assert_eq!(parts.messaging.resolve(&acting(), nobody, resolution).await, Err(UndecidedError::NotFound));
    }
    let sent = parts.send(STUCK, "r-0", Handoff::Direct).await.unwrap().message;
    let settled = parts.messaging.resolve(&acting(), sent.origins.message_id, Resolution::NotSent).await;
    assert_eq!(settled, Err(UndecidedError::NotInDoubt(Status::Queued)));

    let id = parts.doubt(&world, STUCK, "r-1").await;
    let slow = Fault { ms: Some(400), times: Some(1), ..Fault::new(On::Send, FaultKind::Delay) };
    world.double.control().add_fault(slow).unwrap();
    let repeated = parts.send(STUCK, "r-1", Handoff::Direct);
    let attempted = async {
        until(|| sends(&world).len() == 3).await;
        parts.messaging.resolve(&acting(), id, Resolution::NotSent).await
    };
    let (repeated, attempted) = tokio::join!(repeated, attempted);
    assert_eq!(attempted, Err(UndecidedError::Busy));
    let Message { origins, status, .. } = repeated.unwrap().message;
    assert_eq!((origins.message_id, status), (id, Status::Queued));
    parts.close().await;
    world.double.shutdown().await;
}
