//! What comes in at the numbers: streams of inbound events.
//!
//! The events are put into the store directly; how webhooks become events is tested elsewhere.

mod events;
mod frames;
mod grants;
mod places;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use pilotgate::{
    config::{
        self, Config,
        settings::{CallerSettings, GrantSettings},
    },
    domain::{
        inbound::{EventIdentity, Happening, Inbound},
        principal::Permission::{self, Observe, Read, Send},
        secret::TokenHash,
        sources::Sources,
    },
    proto::v1::{
        self, InboundFilter, StreamInboundEventsRequest as InboxRequest, inbox_service_client::InboxServiceClient,
        stream_inbound_events_request::Start, stream_inbound_events_response::Frame,
    },
    server::{self, Gateway},
    store::{self, Entry, Recorded, Store},
};
use tonic::{Streaming, service::interceptor::InterceptedService, transport::Channel};

use crate::support::{Bearer, NUMBER, World, bearer, second_number, two_numbers};

/// The token of the caller `desk`, who reads what comes in at every number.
const DESK: &str = "pgt_desk-token-for-tests";
/// The token of the caller `shop-desk`, who reads what comes in at [`NUMBER`], and who observes the other number.
const SHOP_DESK: &str = "pgt_shop-desk-token-for-tests";
/// The other number.
const SECOND: &str = "wn_second";

type Client = InboxServiceClient<InterceptedService<Channel, Bearer>>;
type Frames = Streaming<v1::StreamInboundEventsResponse>;

/// A gateway with two numbers, and its store.
struct Place {
    world: World,
    gateway: Gateway,
    store: Arc<dyn Store>,
}

fn config(world: &World) -> Config {
    let mut settings = world.settings();
    settings.numbers.push(second_number(world));
    let grant = |number: &str, permissions: &[Permission]| GrantSettings {
        number: number.to_owned(),
        permissions: permissions.to_vec(),
        ..Default::default()
    };
    let caller = |name: &str, token: &str, grants: Vec<GrantSettings>| CallerSettings {
        name: name.to_owned(),
        token_hashes: vec![TokenHash::of(token).to_hex()],
        grants,
        ..Default::default()
    };
    settings.callers.push(caller("desk", DESK, vec![grant("*", &[Permission::Inbox, Send, Read])]));
    let narrow = vec![grant(NUMBER, &[Permission::Inbox]), grant(SECOND, &[Observe])];
    settings.callers.push(caller("shop-desk", SHOP_DESK, narrow));
    config::check_in_memory(settings).unwrap()
}

impl Place {
    async fn new() -> Self {
        Self::over(World::with(two_numbers()).await).await
    }

    async fn over(world: World) -> Self {
        let config = config(&world);
        let store = store::open(config.store.clone()).await.unwrap();
        let gateway = server::start_over(Arc::clone(&store), config, Sources::system()).await.unwrap();
        world.register(&gateway).await;
        Self { world, gateway, store }
    }

    /// What happened at [`NUMBER`].
    async fn happens(&self, what: Happening) {
        self.happens_at(NUMBER, what).await;
    }

    async fn happens_at(&self, number: &str, what: Happening) {
        let number = number.to_owned().try_into().unwrap();
        let now = Timestamp::now();
        self.record(Inbound { number, name: "message.received".to_owned(), at: now, observed_at: now, what }).await;
    }

    async fn record(&self, inbound: Inbound) {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = inbound.number.clone();
        let identity = EventIdentity::of(&number, [&COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes()[..]]);
        let recorded = self.store.record(&number, vec![Entry::Inbound(Box::new(inbound), identity)]).await.unwrap();
        assert_eq!(recorded, [Recorded::Appended]);
    }

    async fn client(&self) -> Client {
        self.client_as(Some(DESK)).await
    }

    async fn client_as(&self, token: Option<&'static str>) -> Client {
        let channel = Channel::from_shared(format!("http://{}", self.gateway.grpc())).unwrap().connect().await.unwrap();
        InboxServiceClient::with_interceptor(channel, bearer(token))
    }

    async fn end<C>(self, clients: C) {
        self.world.end(clients, self.gateway).await;
    }
}

/// A message that says so.
fn says(text: &str) -> Happening {
    Happening::Message(Box::new(pilotgate::domain::inbound::InboundMessage {
        text: text.to_owned(),
        ..Default::default()
    }))
}

fn from_earliest() -> InboxRequest {
    InboxRequest { start: Some(Start::Position(v1::Position::Earliest.into())), ..Default::default() }
}

fn from_cursor(cursor: &str) -> InboxRequest {
    InboxRequest { start: Some(Start::Cursor(cursor.to_owned())), ..Default::default() }
}

fn filtered(filter: InboundFilter) -> InboxRequest {
    InboxRequest { filter: Some(filter), ..from_earliest() }
}

fn of_numbers(numbers: &[&str]) -> InboundFilter {
    InboundFilter { numbers: numbers.iter().map(|number| (*number).to_owned()).collect(), ..Default::default() }
}

fn every_second(request: InboxRequest) -> InboxRequest {
    InboxRequest { heartbeat_interval: Some(prost_types::Duration { seconds: 1, nanos: 0 }), ..request }
}

async fn follow(client: &mut Client, request: InboxRequest) -> Frames {
    client.stream_inbound_events(request).await.unwrap().into_inner()
}

/// The next frame of any kind, with its cursor; fails rather than wait for ever.
async fn next_frame(frames: &mut Frames) -> (Frame, String) {
    let next = tokio::time::timeout(Duration::from_secs(20), frames.message()).await.expect("no frame for 20 s");
    let response = next.unwrap().expect("the stream ended");
    (response.frame.unwrap(), response.cursor)
}

/// The heartbeat that every stream begins with, and its cursor.
async fn started(frames: &mut Frames) -> (v1::Heartbeat, String) {
    match next_frame(frames).await {
        (Frame::Heartbeat(heartbeat), cursor) => {
            assert_eq!(heartbeat.idle_reason(), v1::IdleReason::Started);
            (heartbeat, cursor)
        }
        (other, _) => panic!("began with {other:?}"),
    }
}

/// The next event and the cursor behind it, past heartbeats; fails rather than wait for ever.
async fn next_event(frames: &mut Frames) -> (Frame, String) {
    let event = async {
        loop {
            match next_frame(frames).await {
                (Frame::Heartbeat(_), _) => {}
                (other @ (Frame::Gap(_) | Frame::Drain(_)), _) => panic!("unexpected frame {other:?}"),
                event => return event,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), event).await.expect("no event for 20 s")
}

/// What the next messages say.
async fn next_texts(frames: &mut Frames, count: usize) -> Vec<String> {
    let mut texts = Vec::with_capacity(count);
    for _ in 0..count {
        match next_event(frames).await.0 {
            Frame::Message(message) => texts.push(message.text),
            other => panic!("no message: {other:?}"),
        }
    }
    texts
}

/// All of the log has been looked at, and nothing else passed.
async fn nothing_more(frames: &mut Frames) {
    match next_frame(frames).await.0 {
        Frame::Heartbeat(heartbeat) => assert_eq!(heartbeat.backlog, 0),
        other => panic!("let pass {other:?}"),
    }
}
