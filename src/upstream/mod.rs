//! The Pilot Status side of the gateway: requests, replies, the table of errors, webhooks and their signature.
//!
//! The only room that knows the vendor's JSON. It owns one pooled HTTP client and a bound on calls in flight; it keeps
//! no keys, decides no retries and stores nothing. Called by `messaging` and `tracking`.
//!
//! What is read is read tolerantly: fields may be missing, statuses and codes may be new, bodies may be no JSON at all.
//! Only a 2xx answer with an id counts as accepted, and only an answer that says so counts as refused.

mod api_keys;
mod call;
mod clean;
mod history;
mod hooks;
mod numbers;
mod refusal;
mod reply;
mod send;
mod signature;
pub mod webhook;

use std::{ops::Range, sync::Arc, time::Duration};

use jiff::Timestamp;
use reqwest::{Method, Url};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::call::{Call, Trouble};
pub use self::{
    api_keys::{KeyChange, KeyStanding, ListedKey},
    history::{Past, PastPage},
    hooks::{DeliveryLog, EVENTS, Hook, HookAccess, HookChange, LoggedDelivery},
    numbers::{Health, Link, ListedNumber},
    refusal::{Doubt, Refusal, RefusalClass},
    reply::{CancelShape, Cancellation, Reading, Receipt},
    send::SendBody,
    signature::{Signature, verify},
};
use crate::domain::{ids::UpstreamId, secret::NumberKey};

/// How long a read or a cancellation waits for leave to call.
const READ_WAIT: Duration = Duration::from_secs(5);

/// Rows of a history on one page; Pilot Status gives no more.
const PAGE: usize = 100;

/// Where Pilot Status is and how patient the gateway is with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Scheme and host, without the `/v1`.
    pub base_url: Url,
    /// Longest time for one call, from the first byte to the last.
    pub timeout: Duration,
    /// Longest time for a connection to stand.
    pub connect_timeout: Duration,
    /// How many calls run at once; further ones wait. At least 1.
    pub max_in_flight: usize,
    /// How long an unused connection is kept. Should be shorter than the upstream's own limit.
    pub idle_timeout: Duration,
}

/// The client.
#[derive(Clone)]
pub struct Upstream {
    http: reqwest::Client,
    base: Url,
    send_url: Url,
    timeout: Duration,
    slots: Arc<Semaphore>,
    max_in_flight: usize,
}

/// Leave for one call; the number of these is bounded.
pub struct Slot(#[expect(dead_code, reason = "held, never read")] OwnedSemaphorePermit);

/// How a send ended.
#[derive(Clone, Debug, PartialEq)]
pub enum SendOutcome {
    /// Accepted into the queue of Pilot Status.
    Accepted(Receipt),
    /// Refused: nothing was queued by this call.
    Refused(Refusal),
    /// Never arrived: no connection stood.
    NotSent {
        /// For operators.
        detail: String,
    },
    /// Perhaps accepted, perhaps not.
    Unknown(Doubt),
}

/// Why a read or a cancellation brought nothing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReadError {
    /// Pilot Status does not know it.
    #[error("not known upstream")]
    NotFound,
    /// Refused.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// No answer, or none that could be read.
    #[error("no usable answer: {detail}")]
    Unavailable {
        /// For operators.
        detail: String,
    },
}

impl Upstream {
    /// Builds the client. Redirects are never followed and proxies of the environment are not used, so that a key goes
    /// to the configured host and nowhere else.
    pub fn open(options: &Options) -> Result<Self, String> {
        // Another part of the process may have chosen the provider already; either is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tcp_nodelay(true)
            .connect_timeout(options.connect_timeout)
            .pool_idle_timeout(options.idle_timeout)
            .pool_max_idle_per_host(options.max_in_flight)
            .user_agent(concat!("pilotgate/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| error.to_string())?;
        let send_url = join(&options.base_url, &["v1", "messages", "send"]);
        Ok(Self {
            http,
            send_url,
            base: options.base_url.clone(),
            timeout: options.timeout,
            slots: Arc::new(Semaphore::new(options.max_in_flight.max(1))),
            max_in_flight: options.max_in_flight.max(1),
        })
    }

    /// How many calls run at once.
    pub const fn max_in_flight(&self) -> usize {
        self.max_in_flight
    }

    /// Longest time for one call.
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Leave to call, if it is to be had at once.
    pub fn free_slot(&self) -> Option<Slot> {
        Arc::clone(&self.slots).try_acquire_owned().ok().map(Slot)
    }

    /// Waits for leave to call.
    pub async fn slot(&self) -> Option<Slot> {
        Arc::clone(&self.slots).acquire_owned().await.ok().map(Slot)
    }

    /// Hands a message over. The same `idempotency_key` with the same body is accepted at most once within 24 h.
    pub async fn send(&self, _slot: &Slot, key: &NumberKey, body: &SendBody, idempotency_key: &str) -> SendOutcome {
        let call =
            Call::new(Method::POST, self.send_url.clone(), key).json(body.bytes()).idempotency_key(idempotency_key);
        match call.make(&self.http, self.timeout).await {
            Ok(answer) => reply::of_send(&answer, key),
            Err(Trouble::NotSent(detail)) => SendOutcome::NotSent { detail },
            Err(Trouble::NoAnswer(detail)) => SendOutcome::Unknown(Doubt::no_answer(detail)),
        }
    }

    /// Waits a while for leave to read.
    pub async fn read_slot(&self) -> Result<Slot, ReadError> {
        let slot = tokio::time::timeout(READ_WAIT, self.slot()).await.ok().flatten();
        slot.ok_or_else(|| ReadError::Unavailable { detail: "too many calls are running".to_owned() })
    }

    /// Reads a message back, by any of its three upstream ids.
    pub async fn message(&self, _slot: &Slot, key: &NumberKey, id: &str) -> Result<Reading, ReadError> {
        let answer = self.read(Call::new(Method::GET, join(&self.base, &["v1", "messages", id]), key)).await?;
        reply::of_read(&answer, key)
    }

    /// A page, counted from 1, of what the number sent within this span, newest first.
    pub async fn history(
        &self,
        _slot: &Slot,
        key: &NumberKey,
        span: Range<Timestamp>,
        page: usize,
    ) -> Result<PastPage, ReadError> {
        let mut url = join(&self.base, &["v1", "messages", "history"]);
        let [start, end] = [span.start, span.end].map(send::iso);
        let [page, size] = [page, PAGE].map(|number| number.to_string());
        let query = [("startDate", &start), ("endDate", &end), ("page", &page), ("pageSize", &size)];
        url.query_pairs_mut().extend_pairs(query);
        history::of_history(&self.read(Call::new(Method::GET, url, key)).await?, key)
    }

    /// Cancels at most 100 scheduled messages. Not atomic: the answer tells each one's fate, or only counts.
    pub async fn cancel(&self, _slot: &Slot, key: &NumberKey, ids: &[UpstreamId]) -> Result<Cancellation, ReadError> {
        let url = join(&self.base, &["v1", "messages", "cancel"]);
        let call = Call::new(Method::DELETE, url, key).json(reply::cancel_body(ids));
        reply::of_cancel(&self.read(call).await?, key)
    }

    async fn read(&self, call: Call) -> Result<call::Answer, ReadError> {
        call.make(&self.http, self.timeout).await.map_err(|trouble| match trouble {
            Trouble::NotSent(detail) | Trouble::NoAnswer(detail) => ReadError::Unavailable { detail },
        })
    }
}

/// Appends path segments, each percent-encoded. A base URL that cannot have a path was refused by the configuration.
fn join(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}
