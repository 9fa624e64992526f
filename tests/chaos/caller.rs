//! Callers that do as the README asks: they repeat what may be repeated under the same `request_id`, and resume by cursor.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::stream;
use pilotgate::proto::v1::{
    self, Handoff, MessageStatus, messaging_service_client::MessagingServiceClient, send_message_request::Content,
    send_messages_response, stream_status_updates_request::Start, stream_status_updates_response::Frame,
};
use prost::Message as _;
use tokio::sync::watch;
use tonic::{
    Code, Request, Status,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};
use tonic_types::StatusExt;

use crate::place::number_name;

pub const TOKEN: &str = "pgt_chaos-token-0123456789";

/// A pause before a call is repeated, so that a refusal that comes at once is not asked for in a tight loop.
const PAUSE: Duration = Duration::from_millis(10);

pub type Client = MessagingServiceClient<InterceptedService<Channel, Bearer>>;

/// The client of the gateway that runs now.
pub type Now = watch::Receiver<Client>;

#[derive(Clone)]
pub struct Bearer;

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
        Ok(request)
    }
}

/// One message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Send {
    /// Which number sends.
    pub number: usize,
    pub request_id: String,
    pub phone: String,
    pub handoff: Handoff,
}

impl Send {
    pub fn request(&self) -> v1::SendMessageRequest {
        v1::SendMessageRequest {
            number: number_name(self.number),
            recipient: Some(v1::Recipient { kind: Some(v1::recipient::Kind::PhoneNumber(self.phone.clone())) }),
            content: Some(self.content()),
            request_id: self.request_id.clone(),
            handoff: self.handoff.into(),
            ..Default::default()
        }
    }
}

impl Send {
    /// Every other one is a text: in doubt, a webhook may tell of it. What became of a template only the next call tells.
    fn content(&self) -> Content {
        if self.request_id.ends_with(['0', '2', '4', '6', '8']) {
            return Content::Text(v1::TextContent { body: self.request_id.clone(), ..Default::default() });
        }
        let variables = [("name", "Rita"), ("order", &self.request_id)];
        let variables = variables.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Content::Template(v1::TemplateContent { template: "order_update".to_owned(), variables, ..Default::default() })
    }
}

/// Fails unless the call may be repeated with the same `request_id`.
fn assert_repeatable(request_id: &str, status: &Status) {
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    let repeatable = match reason.as_str() {
        "SEND_IN_DOUBT"
        | "REQUEST_IN_PROGRESS"
        | "DRAINING"
        | "UPSTREAM_UNAVAILABLE"
        | "NUMBER_HELD"
        | "NUMBER_KEY_REFUSED"
        | "OVERLOADED"
        | "PACE_EXCEEDED" => true,
        // The double's own code for a 429, passed on; or ours, if it sent none.
        "RATE_LIMITED" | "UPSTREAM_RATE_LIMITED" => true,
        // Without a reason the connection broke: no answer of the gateway.
        "" => matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal),
        _ => false,
    };
    assert!(repeatable, "{request_id}: {status:?}");
}

/// Sends until answered OK.
pub async fn send(client: &Now, send: &Send) -> v1::SendMessageResponse {
    send_request(client, send.request()).await
}

/// The same for what a [`Send`] does not express.
pub async fn send_request(client: &Now, request: v1::SendMessageRequest) -> v1::SendMessageResponse {
    loop {
        let mut current = client.borrow().clone();
        match current.send_message(request.clone()).await {
            Ok(sent) => return sent.into_inner(),
            Err(status) => assert_repeatable(&request.request_id, &status),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Sends all of them over streams until each is answered OK; `answered` hears of each.
pub async fn send_bulk(client: &Now, sends: &[Send], answered: impl Fn(&Send, v1::Message)) {
    let mut open: BTreeMap<String, &Send> = sends.iter().map(|send| (send.request_id.clone(), send)).collect();
    while !open.is_empty() {
        let mut current = client.borrow().clone();
        let item = |(key, send): (&String, &&Send)| v1::SendMessagesRequest {
            correlation_key: key.clone(),
            message: Some(send.request()),
        };
        let items: Vec<_> = open.iter().map(item).collect();
        // A stream that breaks, now or later, leaves the rest unanswered.
        if let Ok(answers) = current.send_messages(stream::iter(items)).await {
            let mut answers = answers.into_inner();
            while let Ok(Some(answer)) = answers.message().await {
                match answer.result.unwrap() {
                    send_messages_response::Result::Accepted(sent) => {
                        let send = open.remove(&answer.correlation_key).expect("answered once");
                        answered(send, sent.message.unwrap());
                    }
                    send_messages_response::Result::Refused(refused) => {
                        let details = refused.encode_to_vec().into();
                        let status = Status::with_details(Code::from(refused.code), refused.message, details);
                        assert_repeatable(&answer.correlation_key, &status);
                    }
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// All messages that the gateway knows, by our id.
pub async fn list(client: &mut Client) -> BTreeMap<String, v1::Message> {
    let mut listed = BTreeMap::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListMessagesRequest { page_size: 1000, page_token, ..Default::default() };
        let page = client.list_messages(request).await.unwrap().into_inner();
        listed.extend(page.messages.into_iter().map(|message| (message.message_id.clone(), message)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return listed;
        }
    }
}

/// What a follower was told: message and status, in order.
pub type Told = Vec<(String, MessageStatus)>;

/// A follower of everything, from the beginning and over every restart.
pub struct Follower {
    told: Arc<Mutex<Told>>,
    task: tokio::task::JoinHandle<()>,
}

impl Follower {
    pub fn start(client: Now) -> Self {
        let told = Arc::<Mutex<Told>>::default();
        Self { task: tokio::spawn(follow(client, Arc::clone(&told))), told }
    }

    /// What it was told so far.
    pub fn told(&self) -> Told {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(client: Now, told: Arc<Mutex<Told>>) {
    let mut start = Start::Position(v1::Position::Earliest.into());
    loop {
        let mut current = client.borrow().clone();
        let request = v1::StreamStatusUpdatesRequest { start: Some(start.clone()), ..Default::default() };
        if let Ok(frames) = current.stream_status_updates(request).await {
            let mut frames = frames.into_inner();
            while let Ok(Some(response)) = frames.message().await {
                start = Start::Cursor(response.cursor);
                match response.frame {
                    Some(Frame::Update(update)) => {
                        let status = update.status();
                        told.lock().unwrap_or_else(PoisonError::into_inner).push((update.message_id, status));
                    }
                    Some(Frame::Gap(gap)) => panic!("nothing was trimmed, but: {gap:?}"),
                    Some(Frame::Heartbeat(_) | Frame::Drain(_)) | None => {}
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
