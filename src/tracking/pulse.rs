//! How well the webhooks of each number work, and the bell that a claim rings.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::{domain::ids::NumberName, store::Recorded};

/// By so much of the way that is left does one piece of news move the trust in a number's webhooks.
const STEP: f64 = 0.2;

/// What is known of each number's webhooks. Kept in memory: after a start they have to show anew that they work. Clones
/// are the same.
#[derive(Clone, Default)]
pub struct Pulses(Arc<Mutex<HashMap<NumberName, Pulse>>>);

#[derive(Default)]
struct Pulse {
    trust: f64,
    bell: Arc<Notify>,
}

impl Pulses {
    /// What became of a webhook of this number. What was known before counts as well: a poll was only quicker.
    pub(super) fn told(&self, number: &NumberName, recorded: &[Recorded]) {
        let mut pulses = self.lock();
        let pulse = pulses.entry(number.clone()).or_default();
        for recorded in recorded {
            match recorded {
                Recorded::Appended | Recorded::Known => pulse.trust += STEP * (1.0 - pulse.trust),
                // It counts once it is confirmed.
                Recorded::Claimed => pulse.bell.notify_one(),
                Recorded::Early => {}
            }
        }
    }

    /// A claim of a webhook was confirmed.
    pub(super) fn confirmed(&self, number: &NumberName) {
        self.told(number, &[Recorded::Appended]);
    }

    /// A poll brought what should have come by webhook.
    pub(super) fn missed(&self, number: &NumberName) {
        if let Some(pulse) = self.lock().get_mut(number) {
            pulse.trust -= STEP * pulse.trust;
        }
    }

    /// From 0, webhooks do not work or have not shown that they do, to 1.
    pub(super) fn trust(&self, number: &NumberName) -> f64 {
        self.lock().get(number).map_or(0.0, |pulse| pulse.trust)
    }

    /// Rung by a claim. Rung while nobody listens, it is heard by who listens next.
    pub(super) fn bell(&self, number: &NumberName) -> Arc<Notify> {
        Arc::clone(&self.lock().entry(number.clone()).or_default().bell)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NumberName, Pulse>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn trust_follows_what_brings_the_news() {
        let (pulses, number) = (Pulses::default(), NumberName::from_text("main").unwrap());
        assert!(pulses.trust(&number) == 0.0);
        pulses.missed(&number);
        assert!(pulses.trust(&number) == 0.0);
        pulses.told(&number, &[Recorded::Appended, Recorded::Known]);
        assert!((pulses.trust(&number) - 0.36).abs() < 1e-9);
        pulses.told(&number, &[Recorded::Early, Recorded::Claimed]);
        assert!((pulses.trust(&number) - 0.36).abs() < 1e-9, "neither shows anything yet");
        pulses.missed(&number);
        assert!((pulses.trust(&number) - 0.288).abs() < 1e-9);
        pulses.confirmed(&number);
        assert!((pulses.trust(&number) - 0.4304).abs() < 1e-9);
        assert!(pulses.trust(&NumberName::from_text("other").unwrap()) == 0.0);
    }

    #[test]
    fn a_claim_rings() {
        let (pulses, number) = (Pulses::default(), NumberName::from_text("main").unwrap());
        pulses.told(&number, &[Recorded::Appended]);
        assert_eq!(pulses.bell(&number).notified().now_or_never(), None);
        pulses.told(&number, &[Recorded::Claimed]);
        assert_eq!(pulses.bell(&number).notified().now_or_never(), Some(()));
    }
}
