//! Owns the rooms of one double side by side; each room owns its own rules.
//!
//! Danger, the order of locks: `messages` may be held while `faults`, `hooks` or
//! the outbox are taken; `clock` and `chance`
//! come last. No other two are held at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::account::Keyring;
use super::clock::Clock;
use super::faults::Faults;
use super::ids::Chance;
use super::inbox::Inbox;
use super::ledger::{Ledger, Stats};
use super::messages::Messages;
use super::numbers::Numbers;
use super::options::Options;
use super::send::Idempotency;
use super::switches::Switches;
use super::templates::Templates;
use super::timeline::Endings;
use super::webhooks::{Hooks, Outbox};

pub type Shared = Arc<State>;

pub struct State {
    pub chance: Chance,
    pub clock: Clock,
    pub endings: Endings,
    pub faults: Mutex<Faults>,
    pub hooks: Mutex<Hooks>,
    pub idempotency: Mutex<Idempotency>,
    pub inbox: Mutex<Inbox>,
    pub keyring: Mutex<Keyring>,
    pub ledger: Mutex<Ledger>,
    pub messages: Mutex<Messages>,
    pub numbers: Mutex<Numbers>,
    pub outbox: Outbox,
    pub stats: Stats,
    pub stop: CancellationToken,
    pub tasks: TaskTracker,
    pub templates: Mutex<Templates>,
    pub tenant_id: String,
    pub webhook_secret: String,
    initial: Switches,
    switches: RwLock<Arc<Switches>>,
}

impl State {
    pub fn new(options: &Options, client: reqwest::Client) -> Self {
        let chance = Chance::new(options.seed);
        let seeds = std::iter::once(&options.number).chain(&options.more_numbers);
        let keyring = Keyring::new(&chance, options);
        let webhook_secret = options.webhook_secret.clone().unwrap_or_else(|| format!("whsec_{}", chance.hex(16)));
        Self {
            clock: Clock::default(),
            endings: Endings::default(),
            faults: Mutex::default(),
            hooks: Mutex::default(),
            idempotency: Mutex::new(Idempotency::new(options.keep_messages)),
            inbox: Mutex::default(),
            keyring: Mutex::new(keyring),
            ledger: Mutex::new(Ledger::new(options.keep_requests, options.keep_messages)),
            messages: Mutex::new(Messages::new(options.keep_messages)),
            numbers: Mutex::new(Numbers::new(seeds)),
            outbox: Outbox::new(client),
            stats: Stats::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            templates: Mutex::new(Templates::seeded()),
            tenant_id: format!("ten_{}", chance.hex(4)),
            webhook_secret,
            initial: options.switches.clone(),
            switches: RwLock::new(Arc::new(options.switches.clone())),
            chance,
        }
    }

    /// The switches as they stand; a request looks once and keeps them.
    pub fn switches(&self) -> Arc<Switches> {
        Arc::clone(&self.switches.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn set_switches(&self, switches: Switches) {
        *self.switches.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(switches);
    }

    /// Forgets messages, requests, counters, faults and inbound rows, and puts
    /// the switches back; keys, numbers, templates and webhooks stay.
    pub fn reset(&self) {
        self.clock.clear();
        self.outbox.clear();
        held(&self.messages).clear();
        held(&self.idempotency).clear();
        held(&self.ledger).clear();
        held(&self.faults).clear();
        held(&self.inbox).clear();
        self.stats.clear();
        self.set_switches(self.initial.clone());
    }
}

/// Locks; a panic elsewhere does not make the data unusable to a test tool.
pub fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
