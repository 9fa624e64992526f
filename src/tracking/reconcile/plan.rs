//! When a message is read back: arithmetic, and nothing else.

use std::{iter, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{super::reader::readable_id, ReconcileOptions};
use crate::{
    domain::{message::Message, status::Status},
    store::DueCheck,
};

/// How often what a webhook claimed is read again soon. After that it is read as if nothing had been claimed.
const CLAIM_READS: u32 = 4;

/// What is to be done about a message that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// Read it.
    Now,
    /// It is too early: its webhooks are trusted to tell.
    Later(Timestamp),
    /// It is not read any more.
    Never,
}

/// The waits of a message.
struct Waits {
    /// After how long the store has it due.
    due: Duration,
    /// After how long it is read...
    first: Duration,
    /// ...and for how long after its last news.
    horizon: Duration,
}

/// What is to be done at `now` about a message that is due, by how far the webhooks of its number are trusted: 0 to 1.
pub(super) fn plan(options: &ReconcileOptions, check: &DueCheck, trust: f64, now: Timestamp) -> Plan {
    if check.claimed.is_some() {
        return Plan::Now;
    }
    let Some(waits) = waits(options, &check.message, trust) else { return Plan::Never };
    if later(last_news(&check.message), waits.horizon) <= now {
        return Plan::Never;
    }
    let at = later(check.due, waits.first.saturating_sub(waits.due));
    if check.checks == 0 && at > now { Plan::Later(at) } else { Plan::Now }
}

/// How often a message has been read now, and when it is due next, if reading it at `now` brought nothing new.
pub(super) fn next_check(
    options: &ReconcileOptions,
    check: &DueCheck,
    trust: f64,
    now: Timestamp,
) -> (u32, Option<Timestamp>) {
    let checks = check.checks.saturating_add(1);
    if check.claimed.is_some() && checks <= CLAIM_READS {
        return (checks, Some(later(now, doubled(options.claim_retry, check.checks))));
    }
    let Some(waits) = waits(options, &check.message, trust) else { return (checks, None) };
    let before = if check.claimed.is_some() { check.checks - CLAIM_READS } else { check.checks };
    let next = later(now, doubled(waits.first, before).min(options.longest));
    let within = next < later(last_news(&check.message), waits.horizon);
    (checks, within.then_some(next))
}

/// When a message is due next whose reading at `now` was not answered, so many times in a row by now. Neither a claim nor a
/// horizon ends that: nothing was learned.
pub(super) fn unanswered(options: &ReconcileOptions, times: u32, now: Timestamp) -> Timestamp {
    later(now, doubled(options.claim_retry, times.saturating_sub(1)).min(options.longest))
}

/// A claim, another one, and so on, each kind in its order: claims are read soon, and may be made up.
pub(super) fn by_turns(checks: Vec<DueCheck>) -> Vec<DueCheck> {
    let (claims, others): (Vec<_>, Vec<_>) = checks.into_iter().partition(|check| check.claimed.is_some());
    let (mut claims, mut others) = (claims.into_iter(), others.into_iter());
    iter::from_fn(|| {
        let turn = [claims.next(), others.next()];
        turn.iter().any(Option::is_some).then_some(turn)
    })
    .flatten()
    .flatten()
    .collect()
}

fn waits(options: &ReconcileOptions, message: &Message, trust: f64) -> Option<Waits> {
    let trusting = |first: Duration| first + options.silence.saturating_sub(first).mul_f64(trust.clamp(0.0, 1.0));
    let (due, first, horizon) = match message.status {
        // Webhooks may settle a doubt, but looking for one takes many calls, so it waits whether or not they work.
        Status::InDoubt if readable_id(&message.ids).is_none() => {
            (options.first, options.doubt_first.max(options.first), options.horizon)
        }
        Status::InDoubt | Status::Queued | Status::Sent => (options.first, trusting(options.first), options.horizon),
        Status::Delivered => (options.read_first, trusting(options.read_first), options.read_horizon),
        Status::Failed if message.may_be_contradicted() => {
            (options.read_first, trusting(options.read_first), options.read_horizon)
        }
        Status::Pending | Status::Canceled | Status::Failed | Status::Read => return None,
    };
    Some(Waits { due, first, horizon })
}

/// When the last status was reached, or the message was to leave; by the clock of whoever told.
fn last_news(message: &Message) -> Timestamp {
    let times = Status::ALL.into_iter().filter_map(|status| message.times.get(status));
    times.chain(message.origins.deliver_at).max().unwrap_or(message.origins.create_time)
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1 << times.min(24))
}

/// A time that lies this span behind another, or the end of all times.
pub(super) fn later(time: Timestamp, span: Duration) -> Timestamp {
    let span = SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
    time.saturating_add(span).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::{
        failure::Failure,
        ids::MessageId,
        merge::{Fact, Observed},
        message::{ForeignIds, Handoff, Origins},
        recipient::Recipient,
        status::Origin,
    };

    fn options() -> ReconcileOptions {
        ReconcileOptions::default()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// A message accepted at second 0 that came to stand there at second 100, and is due at that second.
    fn due(status: Observed, ids: ForeignIds, second: i64) -> DueCheck {
        let mut message = Message::accepted(Origins {
            message_id: MessageId::LEAST,
            caller: "orders".to_owned().try_into().unwrap(),
            number: "main".to_owned().try_into().unwrap(),
            recipient: Recipient::Phone("+5511999990000".parse().unwrap()),
            request_id: None,
            handoff: Handoff::Direct,
            labels: Vec::new(),
            metadata: BTreeMap::new(),
            create_time: at(0),
            deliver_at: None,
        });
        message.merge(&Fact { status, at: at(100), observed_at: at(100), origin: Origin::Webhook, ids });
        DueCheck { message, due: at(second), checks: 0, claimed: None }
    }

    fn known() -> ForeignIds {
        ForeignIds { upstream: Some("u1".to_owned().try_into().unwrap()), ..ForeignIds::default() }
    }

    fn reached(status: Status, second: i64) -> DueCheck {
        due(Observed::Reached(status), known(), second)
    }

    /// The waits from one read to the next, in seconds, as long as nothing new comes.
    fn waits_of(mut check: DueCheck, trust: f64, most: usize) -> Vec<i64> {
        let mut waits = Vec::new();
        let mut now = check.due;
        while waits.len() < most {
            let (checks, next) = next_check(&options(), &check, trust, now);
            assert_eq!(checks, check.checks + 1);
            let Some(next) = next else { break };
            waits.push(next.duration_since(now).as_secs());
            (check.checks, now) = (checks, next);
        }
        waits
    }

    #[test]
    fn the_first_read_waits_for_webhooks_as_far_as_they_are_trusted() {
        let sent = reached(Status::Sent, 105);
        let plans = [0.0, 0.5, 1.0, 7.0].map(|trust| plan(&options(), &sent, trust, at(106)));
        let silence = Plan::Later(at(220));
        let half = at(162).checked_add(SignedDuration::from_millis(500)).unwrap();
        assert_eq!(plans, [Plan::Now, Plan::Later(half), silence, silence]);
        assert_eq!(plan(&options(), &DueCheck { checks: 1, ..sent.clone() }, 1.0, at(220)), Plan::Now, "once");
        assert_eq!(plan(&options(), &sent, 1.0, at(220)), Plan::Now, "late anyway");
        // What was due under an older version is due.
        assert_eq!(plan(&options(), &DueCheck { due: Timestamp::UNIX_EPOCH, ..sent }, 1.0, at(106)), Plan::Now);
        let delivered = reached(Status::Delivered, 160);
        let plans = [0.0, 1.0].map(|trust| plan(&options(), &delivered, trust, at(160)));
        assert_eq!(plans, [Plan::Now, Plan::Later(at(220))]);
    }

    #[test]
    fn a_claim_is_read_at_once_whatever_is_trusted() {
        for status in [Status::Sent, Status::Delivered, Status::Failed, Status::Canceled] {
            let claimed = DueCheck { claimed: Some(Status::Read), ..reached(status, 105) };
            assert_eq!(plan(&options(), &claimed, 1.0, at(999_999_999)), Plan::Now);
        }
    }

    #[test]
    fn a_text_in_doubt_is_looked_for_later_than_what_has_an_id_is_read() {
        let doubt = due(Observed::Reached(Status::InDoubt), ForeignIds::default(), 105);
        assert_eq!(plan(&options(), &doubt, 0.0, at(105)), Plan::Later(at(130)));
        assert_eq!(plan(&options(), &reached(Status::InDoubt, 105), 0.0, at(105)), Plan::Now);
        assert_eq!(waits_of(DueCheck { checks: 1, ..doubt }, 1.0, 6), [60, 120, 240, 480, 900, 900]);
    }

    #[test]
    fn waits_are_doubled_up_to_the_longest_one_until_the_horizon() {
        let sent = reached(Status::Sent, 105);
        let waits = waits_of(sent.clone(), 0.0, 10_000);
        assert_eq!(waits[..10], [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]);
        let whole: i64 = 5 + waits.iter().sum::<i64>();
        assert!((192 * 3600 - 900..192 * 3600).contains(&whole), "{whole}");
        assert_eq!(waits_of(DueCheck { checks: 1, ..sent.clone() }, 1.0, 4), [240, 480, 900, 900]);
        let delivered = waits_of(reached(Status::Delivered, 160), 0.0, 10_000);
        assert_eq!(delivered[..5], [60, 120, 240, 480, 900]);
        let whole: i64 = 60 + delivered.iter().sum::<i64>();
        assert!((24 * 3600 - 900..24 * 3600).contains(&whole), "{whole}");
        // One that was due while no gateway ran.
        assert_eq!(plan(&options(), &sent, 0.0, at(100 + 192 * 3600 - 1)), Plan::Now);
        assert_eq!(plan(&options(), &sent, 0.0, at(100 + 192 * 3600)), Plan::Never);
    }

    #[test]
    fn a_claim_is_read_again_soon_and_then_as_any_other() {
        let claimed = |status| DueCheck { claimed: Some(Status::Read), ..reached(status, 100) };
        assert_eq!(waits_of(claimed(Status::Sent), 0.0, 8), [1, 2, 4, 8, 5, 10, 20, 40]);
        assert_eq!(waits_of(claimed(Status::Canceled), 0.0, 8), [1, 2, 4, 8]);
    }

    #[test]
    fn what_is_not_answered_is_read_again_ever_later() {
        let waits = [1, 2, 3, 10, 11, 1000].map(|times| unanswered(&options(), times, at(7)).duration_since(at(7)));
        assert_eq!(waits.map(|wait| wait.as_secs()), [1, 2, 4, 512, 900, 900]);
    }

    #[test]
    fn claims_and_others_are_read_by_turns() {
        let at_second = |claimed, second| DueCheck { claimed, ..reached(Status::Sent, second) };
        let claim = |second| at_second(Some(Status::Read), second);
        let other = |second| at_second(None, second);
        let order = |checks: Vec<DueCheck>| -> Vec<i64> {
            by_turns(checks).iter().map(|check| check.due.duration_since(at(0)).as_secs()).collect()
        };
        assert_eq!(order(vec![other(11), other(12), claim(1), claim(2), claim(3), claim(4)]), [1, 11, 2, 12, 3, 4]);
        assert_eq!(order(vec![claim(1), other(11), other(12), other(13)]), [1, 11, 12, 13]);
    }

    #[test]
    fn what_has_ended_is_not_read_unless_its_end_may_be_contradicted() {
        for status in [Status::Read, Status::Canceled] {
            assert_eq!(plan(&options(), &reached(status, 105), 0.0, at(105)), Plan::Never);
        }
        let failed = |code: &str| due(Observed::Failed(Failure::reported(code, "")), known(), 160);
        assert_eq!(plan(&options(), &failed("WHATSAPP_NOT_EXIST"), 0.0, at(160)), Plan::Never);
        assert_eq!(plan(&options(), &failed("DELIVERED_NOT_CONFIRMED"), 0.0, at(160)), Plan::Now);
        assert_eq!(waits_of(failed("DELIVERED_NOT_CONFIRMED"), 0.0, 3), [60, 120, 240]);
    }

    #[test]
    fn a_message_that_leaves_later_is_read_until_long_after_that() {
        let mut scheduled = reached(Status::Queued, 1_000_005);
        scheduled.message.origins.deliver_at = Some(at(1_000_000));
        assert_eq!(plan(&options(), &scheduled, 0.0, at(1_000_005)), Plan::Now);
        assert_eq!(plan(&options(), &scheduled, 0.0, at(1_000_000 + 192 * 3600)), Plan::Never);
    }
}
