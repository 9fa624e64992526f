//! Rights that last: what a stream goes by for as long as it is open.
//!
//! A change of the roll ends, before it is acknowledged, whatever it takes the right from. Nothing is asked for each entry
//! of a stream: who changes something looks at the streams of that caller, and one task at those whose credential ends.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{
    CredentialError, Identity,
    authorized::{InboxSight, Visibility},
    roll::Roll,
};
use crate::domain::{ids::CallerName, principal::Principal};

/// Longest time until the clock is looked at again while a credential is about to end: clocks are put forward, too.
const LOOK: Duration = Duration::from_secs(1);

/// Why a right that lasted has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lapse {
    /// The credential is no longer accepted.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// Nothing can be seen any more.
    #[error("nothing is granted any more")]
    Blind,
    /// Something else can be seen.
    #[error("what is granted has changed")]
    Changed,
}

/// A right that lasts until it has lapsed.
#[derive(Debug)]
pub struct Standing {
    standings: Arc<Standings>,
    entry: Arc<Entry>,
    number: u64,
    waiting: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

/// All that last.
#[derive(Debug, Default)]
pub(super) struct Standings {
    state: Mutex<State>,
    /// Something ends earlier than was known.
    earlier: Notify,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<CallerName, HashMap<u64, Arc<Entry>>>,
    last: u64,
    /// When the next credential ends, as far as is known.
    next_end: Option<Timestamp>,
}

#[derive(Debug)]
struct Entry {
    principal: Principal,
    sight: Sight,
    why: OnceLock<Lapse>,
    ended: CancellationToken,
}

/// What is seen by it, which must not change.
#[derive(Debug)]
enum Sight {
    /// Each use is checked for itself.
    Nothing,
    Updates(Visibility),
    Inbox(InboxSight),
}

impl Identity {
    /// For as long as the principal's credential is accepted.
    pub fn attend(&self, principal: &Principal) -> Standing {
        self.enter(principal, |_| ((), Sight::Nothing)).1
    }

    /// What the principal sees of messages and updates, for as long as it does.
    pub fn watch_updates(&self, principal: &Principal) -> (Visibility, Standing) {
        self.enter(principal, |roll| {
            let sight = updates(roll, principal);
            (sight.clone(), Sight::Updates(sight))
        })
    }

    /// What the principal sees of inbound events, for as long as it does.
    pub fn watch_inbox(&self, principal: &Principal) -> (InboxSight, Standing) {
        self.enter(principal, |roll| {
            let sight = inbox(roll, principal);
            (sight.clone(), Sight::Inbox(sight))
        })
    }

    /// Ends what goes by a credential whose time is over, until it is told to end itself.
    pub async fn run_ends(self: Arc<Self>, draining: CancellationToken) {
        loop {
            let next_end = self.standings.review_all(&self.roll.load(), self.sources.now());
            let due = async {
                match next_end {
                    None => std::future::pending().await,
                    Some(end) => {
                        while let Ok(left) = Duration::try_from(end.duration_since(self.sources.now()))
                            && !left.is_zero()
                        {
                            tokio::time::sleep(left.min(LOOK)).await;
                        }
                    }
                }
            };
            tokio::select! {
                () = draining.cancelled() => return,
                () = self.standings.earlier.notified() => {}
                () = due => {}
            }
        }
    }

    fn enter<T>(&self, principal: &Principal, see: impl FnOnce(&Roll) -> (T, Sight)) -> (T, Standing) {
        let mut state = self.standings.lock();
        // Under the lock: a change that is not in this roll yet finds the entry when it looks.
        let roll = self.roll.load();
        let (seen, sight) = see(&roll);
        let (why, ended) = (OnceLock::new(), CancellationToken::new());
        let entry = Arc::new(Entry { principal: principal.clone(), sight, why, ended });
        let end = entry.review(&roll, self.sources.now());
        state.last += 1;
        let number = state.last;
        state.entries.entry(principal.caller.clone()).or_default().insert(number, Arc::clone(&entry));
        if let Some(end) = end
            && state.next_end.is_none_or(|next| end < next)
        {
            state.next_end = Some(end);
            self.standings.earlier.notify_one();
        }
        drop(state);
        (seen, Standing { standings: Arc::clone(&self.standings), entry, number, waiting: None })
    }
}

impl Standings {
    /// Ends what this caller has no right to any more.
    pub(super) fn review(&self, caller: &CallerName, roll: &Roll, at: Timestamp) {
        let mut state = self.lock();
        let entries = state.entries.get(caller).into_iter().flat_map(HashMap::values);
        let end = entries.filter_map(|entry| entry.review(roll, at)).min();
        if let Some(end) = end
            && state.next_end.is_none_or(|next| end < next)
        {
            state.next_end = Some(end);
            self.earlier.notify_one();
        }
    }

    /// Ends what nobody has a right to any more, and tells when the next credential ends.
    fn review_all(&self, roll: &Roll, at: Timestamp) -> Option<Timestamp> {
        let mut state = self.lock();
        let entries = state.entries.values().flat_map(HashMap::values);
        state.next_end = entries.filter_map(|entry| entry.review(roll, at)).min();
        state.next_end
    }

    /// Nothing panics halfway through a change, so that poisoning carries no news.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Ends it if the right is gone; else tells when its credential ends.
    fn review(&self, roll: &Roll, at: Timestamp) -> Option<Timestamp> {
        let lapse = match roll.still(&self.principal, at) {
            Err(error) => Lapse::Credential(error),
            Ok(end) => match self.sight.lapse(roll, &self.principal) {
                Some(lapse) => lapse,
                None => return end,
            },
        };
        // The first reason stands: what has ended does not come back.
        let _ = self.why.set(lapse);
        self.ended.cancel();
        None
    }
}

impl Sight {
    fn lapse(&self, roll: &Roll, principal: &Principal) -> Option<Lapse> {
        let (blind, same) = match self {
            Self::Nothing => return None,
            Self::Updates(sight) => {
                let now = updates(roll, principal);
                (now.is_blind(), now == *sight)
            }
            Self::Inbox(sight) => {
                let now = inbox(roll, principal);
                (now.is_blind(), now == *sight)
            }
        };
        match (blind, same) {
            (true, _) => Some(Lapse::Blind),
            (false, false) => Some(Lapse::Changed),
            (false, true) => None,
        }
    }
}

fn updates(roll: &Roll, principal: &Principal) -> Visibility {
    Visibility::of(principal.caller.clone(), roll.grants(&principal.caller))
}

fn inbox(roll: &Roll, principal: &Principal) -> InboxSight {
    InboxSight::of(principal.caller.clone(), roll.grants(&principal.caller))
}

impl Standing {
    /// Why it has ended, if it has.
    pub fn lapse(&self) -> Option<Lapse> {
        self.entry.ended.is_cancelled().then(|| self.entry.why.get().copied()).flatten()
    }

    /// Waits until it has ended.
    pub async fn lapsed(&self) -> Lapse {
        self.entry.ended.cancelled().await;
        // It is set before.
        self.lapse().unwrap_or(Lapse::Changed)
    }

    /// Ready once it has ended.
    pub fn poll_lapsed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let ended = || Box::pin(self.entry.ended.clone().cancelled_owned());
        self.waiting.get_or_insert_with(ended).as_mut().poll(context)
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        let mut state = self.standings.lock();
        let caller = &self.entry.principal.caller;
        if let Some(entries) = state.entries.get_mut(caller) {
            entries.remove(&self.number);
            if entries.is_empty() {
                state.entries.remove(caller);
            }
        }
    }
}
