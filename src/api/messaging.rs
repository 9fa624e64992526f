//! `pilotgate.v1.MessagingService`.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::Stream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

use super::{
    bulk::{self, BulkOptions},
    connection::Connection,
    convert::{self, Violations},
    ready::{self, Nothing},
    status::{of_commit, of_follow, of_list, of_look, of_narrowed, of_not_granted, of_refresh, of_send, of_store},
};
use crate::{
    domain::{Invalid, ids::NumberName, principal::Principal, sources::Sources},
    fanout::Fanout,
    identity::{CredentialError, Identity, NotGranted, Visibility},
    keys::KeyRing,
    messaging::{Messaging, Waiting},
    proto::v1::{self, messaging_service_server::MessagingService},
    tracking::Reader,
};

/// More ids than these do not fit into one request of the default size anyway.
const MOST_CANCELED: usize = 100_000;

type BulkResults = Pin<Box<dyn Stream<Item = Result<v1::SendMessagesResponse, Status>> + Send>>;

/// The callers' service.
#[derive(Clone)]
pub struct MessagingApi {
    messaging: Messaging,
    reader: Reader,
    fanout: Fanout,
    identity: Arc<Identity>,
    keys: Arc<KeyRing>,
    sources: Sources,
    bulk: BulkOptions,
    ending: CancellationToken,
}

impl MessagingApi {
    /// Over these use cases. Once `ending`, bulk streams read no further items.
    #[expect(clippy::too_many_arguments, reason = "each is a part of its own")]
    pub const fn new(
        messaging: Messaging,
        reader: Reader,
        fanout: Fanout,
        identity: Arc<Identity>,
        keys: Arc<KeyRing>,
        sources: Sources,
        bulk: BulkOptions,
        ending: CancellationToken,
    ) -> Self {
        Self { messaging, reader, fanout, identity, keys, sources, bulk, ending }
    }

    /// One send, whether it comes alone or among others.
    pub(super) async fn send(
        &self,
        principal: &Principal,
        request: v1::SendMessageRequest,
        deadline: Option<Instant>,
        waiting: Waiting,
    ) -> Result<v1::SendMessageResponse, Status> {
        let right = match request.number.as_str() {
            "" => Err(NotGranted),
            word => self.identity.may_send(principal, self.keys.find(word)),
        };
        // Without a number there is no right to check; the conversion says so, with everything else that is wrong.
        if right.is_err() && !request.number.is_empty() {
            return Err(of_not_granted(NotGranted));
        }
        let request = convert::send_request(request, self.sources.now(), deadline, waiting)?;
        let right = right.map_err(of_not_granted)?.permit(&request.intent).map_err(of_narrowed)?;
        let sent = self.messaging.send(right, request).await;
        let sent = sent.map_err(|error| of_send(&error, self.sources.now()))?;
        Ok(v1::SendMessageResponse { message: Some(convert::message(sent.message)), replayed: sent.replayed })
    }

    /// A number named by a caller who can see something on it.
    fn seen_number(&self, sight: &Visibility, word: &str) -> Result<NumberName, Status> {
        let number = self.keys.find(word).filter(|number| sight.reaches(number));
        number.ok_or_else(|| of_not_granted(NotGranted))
    }
}

#[tonic::async_trait]
impl MessagingService for MessagingApi {
    type SendMessagesStream = BulkResults;
    type StreamStatusUpdatesStream = Nothing<v1::StreamStatusUpdatesResponse>;

    async fn send_message(
        &self,
        request: Request<v1::SendMessageRequest>,
    ) -> Result<Response<v1::SendMessageResponse>, Status> {
        let principal = principal(&request)?;
        let deadline = deadline(request.metadata());
        self.send(&principal, request.into_inner(), deadline, Waiting::Brief).await.map(Response::new)
    }

    async fn send_messages(
        &self,
        request: Request<Streaming<v1::SendMessagesRequest>>,
    ) -> Result<Response<BulkResults>, Status> {
        let principal = principal(&request)?;
        let deadline = deadline(request.metadata());
        let ending = bulk::Ending {
            draining: self.ending.clone(),
            leave_at: Connection::leave_at(&request, self.sources.chance()),
            standing: self.identity.attend(&principal).into(),
        };
        let results = bulk::results(self.clone(), principal, deadline, request.into_inner(), ending, self.bulk);
        Ok(Response::new(Box::pin(results)))
    }

    async fn get_message(
        &self,
        request: Request<v1::GetMessageRequest>,
    ) -> Result<Response<v1::GetMessageResponse>, Status> {
        use v1::get_message_request::Key;
        let sight = self.identity.visibility(&principal(&request)?);
        let request = request.into_inner();
        let mut wrong = Violations::default();
        let found = match request.key {
            None => {
                wrong.add("key", "is required");
                return wrong.finish(None);
            }
            Some(Key::MessageId(text)) => {
                let id = text.parse().map_err(|error: Invalid| wrong.add("message_id", error.0)).ok();
                let id = wrong.finish(id)?;
                self.messaging.by_id(&sight, id).await
            }
            Some(Key::Upstream(key)) => {
                for (field, text) in [("upstream.number", &key.number), ("upstream.upstream_id", &key.upstream_id)] {
                    if text.is_empty() {
                        wrong.add(field, "is required");
                    }
                }
                wrong.finish(Some(()))?;
                let number = self.seen_number(&sight, &key.number)?;
                self.messaging.by_foreign_id(&sight, &number, &key.upstream_id).await
            }
        };
        let mut message = found.map_err(|error| of_look(&error))?;
        if request.refresh {
            message = self.reader.refresh(message).await.map_err(|error| of_refresh(&error))?;
        }
        Ok(Response::new(v1::GetMessageResponse { message: Some(convert::message(message)) }))
    }

    async fn list_messages(
        &self,
        request: Request<v1::ListMessagesRequest>,
    ) -> Result<Response<v1::ListMessagesResponse>, Status> {
        let sight = self.identity.visibility(&principal(&request)?);
        let request = convert::list_request(request.into_inner(), sight, &self.keys)?;
        let tokens = self.messaging.page_tokens(&request.filter);
        let listed = self.messaging.list(request).await.map_err(|error| of_list(&error))?;
        Ok(Response::new(convert::list_response(listed, &tokens)))
    }

    async fn cancel_messages(
        &self,
        request: Request<v1::CancelMessagesRequest>,
    ) -> Result<Response<v1::CancelMessagesResponse>, Status> {
        let principal = principal(&request)?;
        let mut wrong = Violations::default();
        let ids = request.into_inner().message_ids;
        let ids = convert::message_ids(&mut wrong, "message_ids", &ids, 1..=MOST_CANCELED);
        let ids = wrong.finish(Some(ids))?;
        let results = self.messaging.cancel(Arc::clone(&self.identity), principal, ids).await;
        Ok(Response::new(convert::cancel_response(results.map_err(|error| of_store(&error))?)))
    }

    async fn stream_status_updates(
        &self,
        request: Request<v1::StreamStatusUpdatesRequest>,
    ) -> Result<Response<Nothing<v1::StreamStatusUpdatesResponse>>, Status> {
        let (sight, standing) = self.identity.watch_updates(&principal(&request)?);
        let (line, leave_at) = (Connection::line(&request), Connection::leave_at(&request, self.sources.chance()));
        let request = convert::follow_request(request.into_inner(), sight, &self.keys, leave_at)?;
        let follow = self.fanout.follow(request).await.map_err(|error| of_follow(&error))?;
        Ok(ready::respond(follow.over(line).by(standing), convert::notice))
    }

    async fn commit_cursor(
        &self,
        request: Request<v1::CommitCursorRequest>,
    ) -> Result<Response<v1::CommitCursorResponse>, Status> {
        let Principal { caller, .. } = principal(&request)?;
        let v1::CommitCursorRequest { subscription, cursor } = request.into_inner();
        let mut wrong = Violations::default();
        if subscription.is_empty() {
            wrong.add("subscription", "is required");
        }
        let name = convert::subscription(&mut wrong, &subscription);
        if cursor.is_empty() {
            wrong.add("cursor", "is required");
        }
        let name = wrong.finish(name)?;
        let acknowledged = self.fanout.commit(&caller, name, &cursor).await.map_err(|error| of_commit(&error))?;
        let backlog = i64::try_from(acknowledged.backlog).unwrap_or(i64::MAX);
        Ok(Response::new(v1::CommitCursorResponse { cursor: acknowledged.cursor, backlog }))
    }
}

/// Who calls, as the layer in front has found.
pub(super) fn principal<T>(request: &Request<T>) -> Result<Principal, Status> {
    let principal = request.extensions().get::<Principal>().cloned();
    principal.ok_or_else(|| super::status::of_credential(CredentialError::Missing))
}

/// When the caller stops waiting, by its `grpc-timeout`: at most eight digits and a unit.
fn deadline(metadata: &MetadataMap) -> Option<Instant> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let amount: u64 = digits.parse().ok()?;
    let timeout = match unit {
        "H" => Duration::from_secs(amount.checked_mul(3600)?),
        "M" => Duration::from_secs(amount.checked_mul(60)?),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    };
    Instant::now().checked_add(timeout)
}
