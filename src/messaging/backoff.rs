//! Waits between attempts.

use std::time::Duration;

/// Waits that double from one to the next, each cut by a random part of up to one half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first one.
    pub first: Duration,
    /// None is longer than this.
    pub longest: Duration,
}

impl Backoff {
    /// The wait after so many attempts, but at least as long as the other side asked for. `chance` is in 0 to 1.
    pub(super) fn wait(&self, attempts: u32, asked: Option<Duration>, chance: f64) -> Duration {
        let doubled = self.first.saturating_mul(1 << attempts.saturating_sub(1).min(30)).min(self.longest);
        doubled.mul_f64(chance.mul_add(0.5, 0.5)).max(asked.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_longest_and_heeds_what_was_asked() {
        let backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(10) };
        let waits = [1, 2, 3, 4, 5, 1000].map(|attempts| backoff.wait(attempts, None, 1.0).as_secs());
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
        assert_eq!(backoff.wait(3, None, 0.0), Duration::from_secs(2));
        assert_eq!(backoff.wait(1, Some(Duration::from_secs(17)), 0.5), Duration::from_secs(17));
    }
}
