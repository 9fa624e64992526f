//! What a stream is asked to carry, from the wire.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Status;

use super::{
    times::{span, timestamp},
    violations::Violations,
};
use crate::{
    api::status::of_not_granted,
    domain::{
        Invalid,
        ids::{MessageId, NumberName, SubscriptionName},
        status::Status as MessageStatus,
    },
    fanout::{Filter, FollowRequest, OnExpired, Start},
    identity::{InboxSight, NotGranted, Visibility},
    keys::KeyRing,
    proto::v1,
};

const HEARTBEAT: Duration = Duration::from_secs(15);
const HEARTBEATS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);

/// What a caller sees of numbers.
pub(super) trait Sight {
    /// Whether it sees nothing at all.
    fn is_blind(&self) -> bool;

    /// Whether it sees anything on the number.
    fn reaches(&self, number: &NumberName) -> bool;
}

impl Sight for Visibility {
    fn is_blind(&self) -> bool {
        self.is_blind()
    }

    fn reaches(&self, number: &NumberName) -> bool {
        self.reaches(number)
    }
}

impl Sight for InboxSight {
    fn is_blind(&self) -> bool {
        self.is_blind()
    }

    fn reaches(&self, number: &NumberName) -> bool {
        self.reaches(number)
    }
}

/// Checks a stream request for a caller with this sight.
pub(in crate::api) fn follow_request(
    request: v1::StreamStatusUpdatesRequest,
    sight: Visibility,
    keys: &KeyRing,
    retire_at: Option<Instant>,
) -> Result<FollowRequest, Status> {
    let filter = request.filter.clone().unwrap_or_default();
    let numbers = numbers(&filter.numbers, &sight, keys)?;
    let mut wrong = Violations::default();
    wrong.count("filter.numbers", filter.numbers.len(), 0..=100);
    let messages = message_ids(&mut wrong, "filter.message_ids", &filter.message_ids, 0..=1000);
    let statuses = statuses(&mut wrong, "filter.statuses", &filter.statuses);
    wrong.count("filter.labels", filter.labels.len(), 0..=100);
    let on_expired = on_expired(&mut wrong, request.on_expired);
    let heartbeat = heartbeat(&mut wrong, request.heartbeat_interval);
    if request.until_final && messages.is_empty() {
        wrong.add("until_final", "needs filter.message_ids");
    }
    let subscription = subscription(&mut wrong, &request.subscription);
    let start = start(&mut wrong, request.start, subscription.as_ref());
    let filter =
        Filter::updates(sight, numbers, messages.into_iter().collect(), statuses, filter.labels.into_iter().collect());
    let until_final = request.until_final;
    let request =
        start.map(|start| FollowRequest { filter, start, on_expired, heartbeat, until_final, subscription, retire_at });
    wrong.finish(request)
}

/// The name of a subscription; empty: none.
pub(in crate::api) fn subscription(wrong: &mut Violations, name: &str) -> Option<SubscriptionName> {
    if name.is_empty() { None } else { wrong.take("subscription", SubscriptionName::from_text(name)) }
}

/// Ids of messages; their number must lie in the range.
pub(in crate::api) fn message_ids(
    wrong: &mut Violations,
    field: &str,
    ids: &[String],
    range: std::ops::RangeInclusive<usize>,
) -> Vec<MessageId> {
    let ids = if wrong.count(field, ids.len(), range).is_some() { ids } else { &[] };
    let ids = ids.iter().enumerate();
    ids.filter_map(|(index, id)| wrong.take(format!("{field}[{index}]"), id.parse())).collect()
}

/// Numbers that the caller can see something on. One that it cannot, and one that does not exist, end the same way.
pub(super) fn numbers<Set: FromIterator<NumberName>>(
    words: &[String],
    sight: &impl Sight,
    keys: &KeyRing,
) -> Result<Set, Status> {
    if sight.is_blind() {
        return Err(of_not_granted(NotGranted));
    }
    let reached = |word: &String| keys.find(word).filter(|number| sight.reaches(number)).ok_or(NotGranted);
    words.iter().take(100).map(reached).collect::<Result<_, _>>().map_err(of_not_granted)
}

/// Known statuses; at most 16.
pub(super) fn statuses<Set: FromIterator<MessageStatus>>(wrong: &mut Violations, field: &str, statuses: &[i32]) -> Set {
    let known = |value: i32| match v1::MessageStatus::try_from(value) {
        Ok(v1::MessageStatus::Pending) => Ok(MessageStatus::Pending),
        Ok(v1::MessageStatus::InDoubt) => Ok(MessageStatus::InDoubt),
        Ok(v1::MessageStatus::Queued) => Ok(MessageStatus::Queued),
        Ok(v1::MessageStatus::Sent) => Ok(MessageStatus::Sent),
        Ok(v1::MessageStatus::Delivered) => Ok(MessageStatus::Delivered),
        Ok(v1::MessageStatus::Read) => Ok(MessageStatus::Read),
        Ok(v1::MessageStatus::Failed) => Ok(MessageStatus::Failed),
        Ok(v1::MessageStatus::Canceled) => Ok(MessageStatus::Canceled),
        Ok(v1::MessageStatus::Unspecified) | Err(_) => Err(Invalid::because("must be a known status")),
    };
    let statuses = if wrong.count(field, statuses.len(), 0..=16).is_some() { statuses } else { &[] };
    let statuses = statuses.iter().enumerate();
    statuses.filter_map(|(index, value)| wrong.take(format!("{field}[{index}]"), known(*value))).collect()
}

pub(super) fn on_expired(wrong: &mut Violations, value: i32) -> OnExpired {
    match v1::OnExpired::try_from(value) {
        Ok(v1::OnExpired::Unspecified | v1::OnExpired::Fail) => OnExpired::Fail,
        Ok(v1::OnExpired::Earliest) => OnExpired::Earliest,
        Err(_) => {
            wrong.add("on_expired", "must be a known value");
            OnExpired::Fail
        }
    }
}

pub(super) fn heartbeat(wrong: &mut Violations, interval: Option<prost_types::Duration>) -> Duration {
    let Some(interval) = interval else { return HEARTBEAT };
    let bounded = span(interval).and_then(|span| {
        if HEARTBEATS.contains(&span) { Ok(span) } else { Err(Invalid::because("must be 1 s to 5 min")) }
    });
    wrong.take("heartbeat_interval", bounded).unwrap_or(HEARTBEAT)
}

pub(super) fn start(
    wrong: &mut Violations,
    start: Option<v1::stream_status_updates_request::Start>,
    subscription: Option<&SubscriptionName>,
) -> Option<Start> {
    use v1::stream_status_updates_request::Start as Wire;
    match start {
        None if subscription.is_some() => Some(Start::Committed),
        None => Some(Start::Latest),
        Some(Wire::Cursor(text)) => Some(Start::Cursor(text)),
        Some(Wire::StartTime(time)) => wrong.take("start_time", timestamp(time)).map(Start::Time),
        Some(Wire::Position(value)) => match v1::Position::try_from(value) {
            Ok(v1::Position::Unspecified | v1::Position::Latest) => Some(Start::Latest),
            Ok(v1::Position::Earliest) => Some(Start::Earliest),
            Err(_) => {
                wrong.add("position", "must be a known position");
                None
            }
        },
    }
}
