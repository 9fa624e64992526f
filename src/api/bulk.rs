//! Many sends over one stream: each item is a send of its own, and its trouble is its own.
//!
//! Items are read only as far as there is room for them, so that a caller is slowed down by HTTP/2 and never refused for
//! being fast. Once the caller has sent everything, or the gateway ends, what is in flight is still answered.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use futures_util::{Stream, StreamExt, future, stream};
use prost::Message as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic::{Status, Streaming};

use super::{
    convert::{self, Violations},
    messaging::MessagingApi,
    status::{draining, of_lapse, of_store},
};
use crate::{domain::principal::Principal, identity::Standing, messaging::Waiting, proto::v1, store::StoreError};

/// Longest correlation key, in bytes.
const MAX_KEY: usize = 200;

/// How much one stream may have in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkOptions {
    /// Items.
    pub items: usize,
    /// Bytes of their requests. One item larger than that goes alone.
    pub bytes: u32,
}

/// What ends a stream that the caller goes on with.
pub(super) struct Ending {
    /// The gateway is about to end.
    pub(super) draining: CancellationToken,
    /// The stream's connection has become too old.
    pub(super) leave_at: Option<Instant>,
    /// The caller's credential is no longer accepted.
    pub(super) standing: Arc<Standing>,
}

impl Ending {
    async fn comes(self) -> Status {
        let leaving = async {
            match self.leave_at {
                Some(at) => drop(tokio::time::timeout_at(at, self.draining.cancelled()).await),
                None => self.draining.cancelled().await,
            }
        };
        tokio::select! {
            biased;
            lapse = self.standing.lapsed() => of_lapse(lapse),
            () = leaving => draining(),
        }
    }
}

/// What all items of a stream share.
struct Bulk {
    api: MessagingApi,
    principal: Principal,
    standing: Arc<Standing>,
    deadline: Option<Instant>,
    /// Keys of the items in flight.
    keys: Mutex<HashSet<String>>,
}

/// The results, in the order in which they become known.
pub(super) fn results(
    api: MessagingApi,
    principal: Principal,
    deadline: Option<Instant>,
    items: Streaming<v1::SendMessagesRequest>,
    ending: Ending,
    options: BulkOptions,
) -> impl Stream<Item = Result<v1::SendMessagesResponse, Status>> + Send {
    let standing = Arc::clone(&ending.standing);
    let bulk = Arc::new(Bulk { api, principal, standing, deadline, keys: Mutex::default() });
    let room = Arc::new(Semaphore::new(options.bytes as usize));
    // Why no further items are read, unless it is the caller's half-close.
    let broken: Arc<OnceLock<Status>> = Arc::default();
    let (drained, broke) = (Arc::clone(&broken), Arc::clone(&broken));
    let ended = async move {
        let why = ending.comes().await;
        drained.get_or_init(|| why);
    };
    let readable = items
        .scan((), move |(), item| future::ready(item.map_err(|status| drop(broke.set(status))).ok()))
        .take_until(ended)
        .then(move |item| {
            let (room, weight) = (Arc::clone(&room), weight(&item, options.bytes));
            async move { (item, room.acquire_many_owned(weight).await.ok()) }
        });
    let answers =
        readable.map(move |(item, held)| Arc::clone(&bulk).answer(item, held)).buffer_unordered(options.items);
    let last = stream::once(future::lazy(move |_| broken.get().cloned()));
    answers.map(Ok).chain(last.filter_map(|broken| future::ready(broken.map(Err))))
}

fn weight(item: &v1::SendMessagesRequest, most: u32) -> u32 {
    u32::try_from(item.encoded_len()).unwrap_or(u32::MAX).min(most)
}

impl Bulk {
    async fn answer(
        self: Arc<Self>,
        item: v1::SendMessagesRequest,
        _held: Option<OwnedSemaphorePermit>,
    ) -> v1::SendMessagesResponse {
        use v1::send_messages_response::Result::{Accepted, Refused};
        let v1::SendMessagesRequest { correlation_key, message } = item;
        let result = match self.enter(&correlation_key, message) {
            Ok(message) => {
                let bulk = Arc::clone(&self);
                // On a task of its own: while the caller takes no results nothing here goes on, and a send that waits for a
                // place upstream would be given one and sit on it.
                let send =
                    async move { bulk.api.send(&bulk.principal, message, bulk.deadline, Waiting::Patient).await };
                let sent = AbortOnDropHandle::new(tokio::spawn(send)).await;
                let sent = sent.unwrap_or_else(|_| Err(of_store(&StoreError::Unknown)));
                self.keys.lock().unwrap_or_else(PoisonError::into_inner).remove(&correlation_key);
                sent
            }
            Err(status) => Err(status),
        };
        let result = match result {
            Ok(accepted) => Accepted(accepted),
            Err(status) => Refused(convert::rpc_status(&status)),
        };
        v1::SendMessagesResponse { correlation_key, result: Some(result) }
    }

    /// Checks what belongs to the item and not to its message, and notes its key.
    fn enter(&self, key: &str, message: Option<v1::SendMessageRequest>) -> Result<v1::SendMessageRequest, Status> {
        // It may have been read before the stream ended.
        if let Some(lapse) = self.standing.lapse() {
            return Err(of_lapse(lapse));
        }
        let mut wrong = Violations::default();
        if key.is_empty() || key.len() > MAX_KEY {
            wrong.add("correlation_key", format!("must be 1 to {MAX_KEY} bytes"));
        }
        if message.is_none() {
            wrong.add("message", "is required");
        }
        let message = wrong.finish(message)?;
        if !self.keys.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned()) {
            let mut wrong = Violations::default();
            wrong.add("correlation_key", "is that of another item in flight");
            return wrong.finish(None);
        }
        Ok(message)
    }
}
