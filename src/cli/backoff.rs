//! How long to wait before trying again.
//!
//! Owns the growth of the pause and its jitter; chance is an input. Refuses to sleep. Called by `send` and `watch`.

use std::time::Duration;

/// Pauses that double with each failure, up to a limit.
#[derive(Debug, Clone)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(20);
    // Advice to come back at once must not become a busy loop.
    const SHORTEST: Duration = Duration::from_millis(10);

    /// Before the first failure.
    pub fn new() -> Self {
        Self { failures: 0 }
    }

    /// The pause after one more failure. `advised` by the gateway wins over our own; `chance` lies between 0 and 1 and
    /// spreads our own over the upper half of its length, so that many clients do not come back together.
    pub fn pause(&mut self, advised: Option<Duration>, chance: f64) -> Duration {
        let grown = Self::FIRST.saturating_mul(1 << self.failures.min(16)).min(Self::LONGEST);
        self.failures = self.failures.saturating_add(1);
        match advised {
            Some(advised) => advised.max(Self::SHORTEST),
            None => grown.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0),
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

/// A number between 0 and 1, from the operating system.
pub fn chance() -> f64 {
    getrandom::u32().map_or(0.5, |it| f64::from(it) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_advice_wins() {
        let mut backoff = Backoff::new();
        let ours: Vec<_> = (0..9).map(|_| backoff.pause(None, 1.0).as_millis()).collect();
        assert_eq!(ours, [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 20_000, 20_000]);
        assert_eq!(Backoff::new().pause(None, 0.0), Duration::from_millis(100));
        let advised = Some(Duration::from_secs(3));
        assert_eq!(Backoff::new().pause(advised, 1.0), Duration::from_secs(3));
        assert_eq!(Backoff::new().pause(Some(Duration::ZERO), 1.0), Duration::from_millis(10));
    }
}
