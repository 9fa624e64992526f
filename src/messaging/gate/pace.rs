//! How fast a number sends: a token bucket, a smallest gap, and less than either after the upstream asked for less.
//!
//! Each leave is a place in time, given out in order. After a 429 the rate is lowered by a part of itself, then grows back
//! evenly; a call that began before says nothing about the new rate. A second 429 in a row pauses the number for as long as
//! Pilot Status asks: one among answers that went well may have been about its own message.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::keys::Pacing;

/// How long it takes to get from a cut rate back to the full one.
const RECOVERY: Duration = Duration::from_secs(15);

/// What is left of a rate that is cut, and of the full rate after any number of cuts.
const CUT: f64 = 0.7;
const LEAST: f64 = 0.1;

/// A rate that was just cut is tried for this long before it is cut again.
const TRIAL: Duration = Duration::from_secs(1);

/// No cut goes below this many sends a second.
const SLOWEST: f64 = 0.1;

/// The pace of one number.
pub(super) struct Pace(Mutex<State>);

struct State {
    pacing: Pacing,
    /// Where the bucket would be empty: the time by which all leaves given so far are used up at the present rate.
    empty_at: Instant,
    /// The last leave given, and the one before it.
    last: Option<Instant>,
    before_last: Option<Instant>,
    paused_until: Option<Instant>,
    cut: Option<Cut>,
    /// Leaves given in the second that began at the instant, and in the one before it.
    count: (Instant, u32, u32),
    /// 429s since the last call that was accepted.
    refused: u32,
    /// How often the pace was lowered, or changed. Leaves from before the last time are void.
    lowered: u64,
}

/// A place in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) at: Instant,
    lowered: u64,
}

#[derive(Clone, Copy)]
struct Cut {
    at: Instant,
    /// Sends a second right after it, and before it.
    from: f64,
    to: f64,
}

impl Pace {
    pub(super) fn new(pacing: Pacing) -> Self {
        let now = Instant::now();
        let state = State {
            pacing,
            empty_at: now,
            last: None,
            before_last: None,
            paused_until: None,
            cut: None,
            count: (now, 0, 0),
            refused: 0,
            lowered: 0,
        };
        Self(Mutex::new(state))
    }

    /// A place in time that is at most `patience` away, or how far away the next one is. `chance` draws from
    /// 0 to 1.
    pub(super) fn reserve(&self, patience: Duration, chance: impl FnOnce() -> f64) -> Result<Turn, Duration> {
        let now = Instant::now();
        let mut state = self.lock();
        let mut at = now;
        let pacing = state.pacing;
        let interval = state.interval(now);
        let full = state.empty_at.max(now);
        if let Some(interval) = interval {
            let burst = if state.cut.is_some() { 1 } else { pacing.burst.max(1) };
            at = at.max(full.checked_sub(interval * (burst - 1)).unwrap_or(now));
        }
        if let Some(last) = state.last
            && !pacing.min_gap.is_zero()
        {
            at = at.max(last + pacing.min_gap.mul_f64(pacing.gap_jitter.mul_add(chance(), 1.0)));
        }
        at = at.max(state.paused_until.unwrap_or(now));
        if at - now > patience {
            return Err(at - now);
        }
        // While a leave waits for something else the bucket goes on filling.
        state.empty_at = full.max(at) + interval.unwrap_or_default();
        state.before_last = state.last.replace(at);
        state.note(now);
        Ok(Turn { at, lowered: state.lowered })
    }

    /// Takes over another pacing. Places that lie ahead were given by the old one.
    pub(super) fn follow(&self, pacing: Pacing) {
        let mut state = self.lock();
        if state.pacing != pacing {
            state.pacing = pacing;
            state.lower(Instant::now());
        }
    }

    /// Whether the place still counts: not once the pace was changed after it was given.
    pub(super) fn counts(&self, turn: Turn) -> bool {
        turn.lowered == self.lock().lowered
    }

    /// Takes back a place that was not used.
    pub(super) fn give_back(&self, turn: Turn) {
        let (now, at) = (Instant::now(), turn.at);
        let mut state = self.lock();
        if turn.lowered != state.lowered {
            return;
        }
        state.count.1 = state.count.1.saturating_sub(1);
        if let Some(interval) = state.interval(now) {
            state.empty_at = state.empty_at.checked_sub(interval).unwrap_or(now);
        }
        // Otherwise another leave has kept its distance from this one already.
        if state.last == Some(at) {
            state.last = state.before_last.take();
        }
    }

    /// The upstream accepted a call.
    pub(super) fn went_well(&self) {
        self.lock().refused = 0;
    }

    /// The upstream refused a call that began at `began` as one too many, and may have said for how long.
    pub(super) fn slow_down(&self, began: Instant, wait: Option<Duration>) {
        let now = Instant::now();
        let mut state = self.lock();
        state.refused += 1;
        if let Some(wait) = wait.filter(|_| state.refused > 1) {
            let until = now + wait;
            if state.paused_until.is_none_or(|known| known < until) {
                state.paused_until = Some(until);
                state.lower(now);
            }
        }
        if state.cut.is_some_and(|cut| began <= cut.at || now - cut.at < TRIAL) {
            return;
        }
        let present = state.rate(now).unwrap_or_else(|| state.observed(now)).max(SLOWEST);
        // A cut during a cut is no reason to come back to less than before the first one.
        let before = state.cut.map_or(present, |cut| cut.to);
        let full = state.pacing.per_second.unwrap_or(before).max(present);
        let from = (present * CUT).max(full * LEAST).max(SLOWEST);
        state.cut = Some(Cut { at: now, from, to: full });
        state.lower(now);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change leaves a usable state behind, whatever panics afterwards.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Makes all places void that lie ahead; whoever holds one asks again.
    fn lower(&mut self, now: Instant) {
        self.lowered += 1;
        self.empty_at = self.empty_at.min(now);
        (self.last, self.before_last) = (self.last.map(|last| last.min(now)), None);
    }

    /// Sends a second at this time; `None` if nothing bounds them.
    fn rate(&mut self, now: Instant) -> Option<f64> {
        let Some(cut) = self.cut else { return self.pacing.per_second };
        let recovered = (now - cut.at).as_secs_f64() / RECOVERY.as_secs_f64();
        if recovered >= 1.0 {
            self.cut = None;
            return self.pacing.per_second;
        }
        Some((cut.to - cut.from).mul_add(recovered, cut.from))
    }

    fn interval(&mut self, now: Instant) -> Option<Duration> {
        self.rate(now).map(|rate| Duration::from_secs_f64(1.0 / rate))
    }

    fn note(&mut self, now: Instant) {
        let (began, ..) = self.count;
        match (now - began).as_secs() {
            0 => self.count.1 += 1,
            1 => self.count = (now, 1, self.count.1),
            _ => self.count = (now, 1, 0),
        }
    }

    /// Leaves given in the fuller one of the last two seconds.
    fn observed(&self, now: Instant) -> f64 {
        let (began, this, before) = self.count;
        if now - began > Duration::from_secs(2) { 1.0 } else { f64::from(this.max(before)) }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn pace(per_second: Option<f64>, burst: u32) -> Pace {
        Pace::new(Pacing { per_second, burst, ..Pacing::default() })
    }

    /// The place that was given for so many milliseconds from now.
    fn turn(pace: &Pace, millis: u64) -> Turn {
        Turn { at: Instant::now() + Duration::from_millis(millis), lowered: pace.lock().lowered }
    }

    /// Milliseconds from now to each of the next leaves.
    fn next(pace: &Pace, count: usize) -> Vec<u128> {
        let now = Instant::now();
        (0..count).map(|_| (pace.reserve(LONG, || 0.0).unwrap().at - now).as_millis()).collect()
    }

    /// The rate at which places are given now, in tenths of sends a second.
    fn tenths(pace: &Pace) -> u128 {
        let times = next(pace, 2);
        let interval = times[1] - times[0];
        (10_000 + interval / 2) / interval
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_and_then_evenly() {
        let pace = pace(Some(10.0), 3);
        assert_eq!(next(&pace, 6), [0, 0, 0, 100, 200, 300]);
        advance(Duration::from_secs(60)).await;
        assert_eq!(next(&pace, 4), [0, 0, 0, 100], "the bucket holds no more than a burst");
    }

    #[tokio::test(start_paused = true)]
    async fn the_impatient_are_told_how_long_and_take_no_place() {
        let pace = pace(Some(2.0), 1);
        assert_eq!(next(&pace, 1), [0]);
        for _ in 0..3 {
            assert_eq!(pace.reserve(Duration::from_millis(100), || 0.0), Err(Duration::from_millis(500)));
        }
        assert_eq!(next(&pace, 1), [500]);
        pace.give_back(turn(&pace, 500));
        assert_eq!(next(&pace, 1), [500]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unused_leave_keeps_nobody_at_a_distance() {
        let pace = Pace::new(Pacing { min_gap: Duration::from_millis(200), ..Pacing::default() });
        assert_eq!(next(&pace, 1), [0]);
        pace.give_back(turn(&pace, 0));
        assert_eq!(next(&pace, 2), [0, 200]);
        pace.give_back(turn(&pace, 200));
        assert_eq!(next(&pace, 2), [200, 400]);
        pace.give_back(turn(&pace, 200));
        assert_eq!(next(&pace, 1), [600], "the one at 400 counts");
    }

    #[tokio::test(start_paused = true)]
    async fn a_smallest_gap_with_jitter() {
        let pacing = Pacing { min_gap: Duration::from_millis(200), gap_jitter: 0.5, ..Pacing::default() };
        let pace = Pace::new(pacing);
        let now = Instant::now();
        let at = |chance| (pace.reserve(LONG, || chance).unwrap().at - now).as_millis();
        assert_eq!([at(0.0), at(0.0), at(1.0), at(0.5)], [0, 200, 500, 750]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_429_lowers_the_rate_once_and_it_grows_back() {
        let pace = pace(Some(10.0), 1);
        next(&pace, 5);
        let began = Instant::now();
        advance(Duration::from_secs(1)).await;
        for _ in 0..20 {
            pace.slow_down(began, None);
        }
        assert_eq!(tenths(&pace), 70, "7 a second");
        advance(RECOVERY / 2).await;
        assert_eq!(tenths(&pace), 85, "8.5 a second");
        advance(RECOVERY).await;
        assert_eq!(tenths(&pace), 100, "10 a second");
    }

    #[tokio::test(start_paused = true)]
    async fn a_429_makes_the_places_ahead_void() {
        let pace = pace(Some(10.0), 1);
        let ahead: Vec<Turn> = (0..50).map(|_| pace.reserve(LONG, || 0.0).unwrap()).collect();
        assert!(ahead.iter().all(|turn| pace.counts(*turn)));
        for _ in 0..2 {
            pace.slow_down(Instant::now() + Duration::from_millis(1), Some(Duration::from_secs(60)));
        }
        assert!(!ahead.iter().any(|turn| pace.counts(*turn)));
        // Handed back they free nothing, and whoever asks again comes after the pause, one by one.
        ahead.into_iter().for_each(|turn| pace.give_back(turn));
        assert_eq!(next(&pace, 2)[0], 60_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_number_without_a_pace_gets_one_from_a_429_for_a_while() {
        let pace = pace(None, 1);
        assert_eq!(next(&pace, 40), vec![0; 40]);
        pace.slow_down(Instant::now(), Some(Duration::from_secs(3)));
        assert_eq!(next(&pace, 2), [0, 35], "28 of 40 a second; one 429 may have been about its own message");
        pace.went_well();
        pace.slow_down(Instant::now(), Some(Duration::from_secs(3)));
        assert!(next(&pace, 1)[0] < 200, "not two in a row");
        pace.slow_down(Instant::now(), Some(Duration::from_secs(3)));
        assert_eq!(next(&pace, 1), [3000]);
        advance(RECOVERY).await;
        assert_eq!(next(&pace, 3), [0, 0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn further_429s_do_not_lower_what_is_grown_back_to() {
        let pace = pace(None, 1);
        next(&pace, 40);
        for _ in 0..50 {
            pace.slow_down(Instant::now(), None);
            advance(TRIAL).await;
        }
        assert!(
            (40..=100).contains(&tenths(&pace)),
            "not much more than a tenth of 40 a second, and no less: {}",
            tenths(&pace)
        );
        advance(RECOVERY - TRIAL * 2).await;
        assert!(tenths(&pace) > 350, "nearly 40 a second: {}", tenths(&pace));
    }

    #[tokio::test(start_paused = true)]
    async fn another_pacing_holds_from_the_next_leave_on() {
        let pace = pace(Some(0.1), 1);
        let first = pace.reserve(LONG, || 0.0).unwrap();
        assert_eq!(next(&pace, 2), [10_000, 20_000]);
        pace.follow(Pacing { per_second: Some(0.1), ..Pacing::default() });
        assert!(pace.counts(first), "the same one");
        pace.follow(Pacing { per_second: Some(10.0), ..Pacing::default() });
        assert!(!pace.counts(first));
        assert_eq!(next(&pace, 3), [0, 100, 200]);
        pace.follow(Pacing::default());
        assert_eq!(next(&pace, 3), [0, 0, 0]);
    }
}
