//! A gateway that answers what the test wrote down, on a real socket, and remembers what it was asked.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::{Stream, stream};
use pilotgate::proto::v1::{
    CancelMessagesRequest, CancelMessagesResponse, CommitCursorRequest, CommitCursorResponse, GetMessageRequest,
    GetMessageResponse, ListMessagesRequest, ListMessagesResponse, Message, MessageStatus, Recipient,
    SendMessageRequest, SendMessageResponse, SendMessagesRequest, SendMessagesResponse, StatusUpdate,
    StreamInboundEventsRequest, StreamInboundEventsResponse, StreamStatusUpdatesRequest, StreamStatusUpdatesResponse,
    inbox_service_server::{InboxService, InboxServiceServer},
    messaging_service_server::{MessagingService, MessagingServiceServer},
    recipient::Kind,
    stream_status_updates_response::Frame,
};
use tokio::runtime::Runtime;
use tonic::{
    Code, Request, Response, Status, Streaming,
    transport::server::{Server, TcpIncoming},
};
use tonic_types::{ErrorDetails, StatusExt};

use crate::support::{Ended, READS, run};

pub const MESSAGE: &str = "019ab000-0000-7000-8000-000000000001";
/// The time of everything that happens here.
pub const NOON: &str = "2026-11-24T12:00:00.000Z";
const NOON_SECONDS: i64 = 1_795_521_600;

type Frames = Vec<Result<StreamStatusUpdatesResponse, Status>>;

/// What is answered, in order, and what was asked. A send beyond the script is never answered.
#[derive(Default)]
pub struct Script {
    pub sends: VecDeque<Result<SendMessageResponse, Status>>,
    pub streams: VecDeque<Frames>,
    pub message: Option<Message>,
    pub sent: Vec<SendMessageRequest>,
    pub streamed: Vec<StreamStatusUpdatesRequest>,
    pub inboxes: VecDeque<Vec<Result<StreamInboundEventsResponse, Status>>>,
    pub inboxed: Vec<StreamInboundEventsRequest>,
    pub committed: Vec<CommitCursorRequest>,
}

/// The running gateway; it ends with the test.
pub struct Scripted {
    script: Arc<Mutex<Script>>,
    address: String,
    _runtime: Runtime,
}

impl Scripted {
    pub fn start(script: Script) -> Self {
        let script = Arc::new(Mutex::new(script));
        let runtime = Runtime::new().unwrap();
        let _inside = runtime.enter();
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = format!("http://{}", incoming.local_addr().unwrap());
        let messaging = MessagingServiceServer::new(Door(script.clone()));
        let inbox = InboxServiceServer::new(Door(script.clone()));
        runtime.spawn(Server::builder().add_service(messaging).add_service(inbox).serve_with_incoming(incoming));
        Self { script, address, _runtime: runtime }
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        run(arguments, &[("PILOTGATE_ADDRESS", &self.address), ("PILOTGATE_TOKEN", "pgt_x")])
    }

    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }
}

struct Door(Arc<Mutex<Script>>);

#[tonic::async_trait]
impl MessagingService for Door {
    type SendMessagesStream = Pin<Box<dyn Stream<Item = Result<SendMessagesResponse, Status>> + Send>>;
    type StreamStatusUpdatesStream = Pin<Box<dyn Stream<Item = Result<StreamStatusUpdatesResponse, Status>> + Send>>;

    async fn send_message(
        &self,
        request: Request<SendMessageRequest>,
    ) -> Result<Response<SendMessageResponse>, Status> {
        let answer = {
            let mut script = self.0.lock().unwrap();
            script.sent.push(request.into_inner());
            script.sends.pop_front()
        };
        match answer {
            Some(answer) => answer.map(Response::new),
            None => std::future::pending().await,
        }
    }

    async fn send_messages(
        &self,
        _: Request<Streaming<SendMessagesRequest>>,
    ) -> Result<Response<Self::SendMessagesStream>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn get_message(&self, _: Request<GetMessageRequest>) -> Result<Response<GetMessageResponse>, Status> {
        let message = self.0.lock().unwrap().message.clone();
        match message {
            Some(message) => Ok(Response::new(GetMessageResponse { message: Some(message) })),
            None => std::future::pending().await,
        }
    }

    async fn list_messages(&self, _: Request<ListMessagesRequest>) -> Result<Response<ListMessagesResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn cancel_messages(
        &self,
        _: Request<CancelMessagesRequest>,
    ) -> Result<Response<CancelMessagesResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn stream_status_updates(
        &self,
        request: Request<StreamStatusUpdatesRequest>,
    ) -> Result<Response<Self::StreamStatusUpdatesStream>, Status> {
        let mut script = self.0.lock().unwrap();
        script.streamed.push(request.into_inner());
        let frames = script.streams.pop_front().ok_or_else(|| Status::unimplemented("not in the script"))?;
        Ok(Response::new(Box::pin(stream::iter(frames))))
    }

    async fn commit_cursor(
        &self,
        request: Request<CommitCursorRequest>,
    ) -> Result<Response<CommitCursorResponse>, Status> {
        let commit = request.into_inner();
        let cursor = commit.cursor.clone();
        self.0.lock().unwrap().committed.push(commit);
        Ok(Response::new(CommitCursorResponse { cursor, backlog: 0 }))
    }
}

#[tonic::async_trait]
impl InboxService for Door {
    type StreamInboundEventsStream = Pin<Box<dyn Stream<Item = Result<StreamInboundEventsResponse, Status>> + Send>>;

    async fn stream_inbound_events(
        &self,
        request: Request<StreamInboundEventsRequest>,
    ) -> Result<Response<Self::StreamInboundEventsStream>, Status> {
        let mut script = self.0.lock().unwrap();
        script.inboxed.push(request.into_inner());
        let frames = script.inboxes.pop_front().ok_or_else(|| Status::unimplemented("not in the script"))?;
        Ok(Response::new(Box::pin(stream::iter(frames))))
    }
}

/// A refusal that advises when to come back.
pub fn refusal(code: Code, reason: &str, message: &str, retry_after: Option<Duration>) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, "pilotgate", [] as [(String, String); 0]);
    if let Some(pause) = retry_after {
        details.set_retry_info(Some(pause));
    }
    Status::with_error_details(code, message, details)
}

/// A message that stands at `status`.
pub fn message(status: MessageStatus) -> Message {
    Message {
        message_id: MESSAGE.to_owned(),
        number: "shop".to_owned(),
        recipient: Some(Recipient { kind: Some(Kind::PhoneNumber(READS.to_owned())) }),
        status: status.into(),
        create_time: Some(noon()),
        ..Message::default()
    }
}

/// The frame of an update.
pub fn update(cursor: &str, status: MessageStatus) -> Result<StreamStatusUpdatesResponse, Status> {
    let message = message(status);
    frame(
        cursor,
        Frame::Update(StatusUpdate {
            message_id: message.message_id,
            number: message.number,
            recipient: message.recipient,
            status: status.into(),
            current_status: status.into(),
            fact_time: Some(noon()),
            ..StatusUpdate::default()
        }),
    )
}

/// The frame of anything.
pub fn frame(cursor: &str, frame: Frame) -> Result<StreamStatusUpdatesResponse, Status> {
    Ok(StreamStatusUpdatesResponse { cursor: cursor.to_owned(), frame: Some(frame) })
}

/// How an update looks to people.
pub fn line(status: &str) -> String {
    format!("{NOON}  {status:<9}  {MESSAGE}  shop  {READS}\n")
}

pub fn noon() -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: NOON_SECONDS, nanos: 0 }
}
