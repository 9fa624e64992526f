//! A double of Pilot Status on a real socket: the same routes, refusals,
//! events and signatures, with time, chance and misfortune under control.
//!
//! It owns everything of one double and shares no code with the gateway, so
//! that both can be wrong only independently. Tests, demos and load tests call
//! it. Several may live in one process: no globals, no environment.
//!
//! # What is documented and what is ours
//!
//! Documented upstream, and followed without a switch: the routes and who may
//! call them, one destination and one mode per send, the fields of the 202 and
//! of the message details, the states, idempotency (number and key, a day, the
//! three refusals, errors not remembered), cancel of scheduled messages only,
//! event names and bodies, HMAC-SHA256 over the raw body, one key per number
//! whose regeneration kills the old one, codes of the errors that have one.
//!
//! Ours: everything in [`Switches`], whose fields say so one by one; the
//! recipient endings (table below); the waits between webhook attempts; bounds on
//! what is kept; ids; the `deliverUntil` codes; that a `deliverAt` in the past
//! sends at once; that list, read and delete bodies no source shows are minimal.
//!
//! # Control API
//!
#![doc = include_str!("control.md")]
//!
//! # What becomes of a message
//!
#![doc = include_str!("timelines.md")]

mod account;
mod call;
mod clock;
mod control;
mod errors;
mod faults;
mod front;
mod ids;
mod inbox;
mod ledger;
mod messages;
mod numbers;
mod options;
mod rooms;
mod send;
mod server;
mod state;
mod switches;
mod templates;
mod timeline;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

pub use self::control::{Control, NumberChange, NumberState, SeenMessage};
pub use self::faults::{Fault, FaultKind, On};
pub use self::ledger::{Answered, Counts, SeenRequest, Unanswered};
pub use self::messages::Status;
pub use self::options::{Account, AccountNumber, NumberSeed, Options};
use self::state::{Shared, State};
pub use self::switches::{
    After, CancelShape, ChangeAnswer, Comparison, EventSchema, Hint, ListShape, MetaGroups, Never, SignatureStyle,
    Switches,
};
pub use self::timeline::{EventOrder, Reply, Step, Timeline};

/// A running double. Dropping it stops it without waiting.
pub struct Sandbox {
    state: Shared,
    base_url: String,
}

/// Binds and serves; when this returns, requests are answered.
///
/// # Errors
///
/// The address cannot be bound.
pub async fn open(options: Options) -> std::io::Result<Sandbox> {
    // The client wants a provider even for plain HTTP; one that another part of the process chose is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .no_proxy()
        .tcp_nodelay(true)
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(options.deliveries)
        .connect_timeout(Duration::from_secs(5))
        .build()
        .map_err(std::io::Error::other)?;
    let listener = TcpListener::bind(options.listen).await?;
    let base_url = format!("http://{}", listener.local_addr()?);
    let state = Arc::new(State::new(&options, client));
    state.tasks.spawn(clock::run(state.clone()));
    for _ in 0..options.deliveries.max(1) {
        state.tasks.spawn(webhooks::work(state.clone()));
    }
    state.tasks.spawn(server::serve(listener, state.clone()));
    Ok(Sandbox { state, base_url })
}

impl Sandbox {
    /// `http://ADDRESS:PORT`, without a slash at the end.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Where the control API is.
    pub fn control_url(&self) -> String {
        format!("{}{}", self.base_url, server::CONTROL)
    }

    /// Numbers with their live keys, the account-wide key, the webhook secret.
    pub fn account(&self) -> Account {
        account::account(&self.state)
    }

    /// Requests seen under `/v1`, oldest first.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.control().requests()
    }

    /// The control API without HTTP.
    pub fn control(&self) -> Control {
        Control::new(self.state.clone())
    }

    /// Stops serving, timelines and deliveries, and waits until nothing runs.
    pub async fn shutdown(self) {
        self.state.stop.cancel();
        self.state.tasks.close();
        self.state.tasks.wait().await;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.state.stop.cancel();
    }
}
