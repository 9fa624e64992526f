//! Subscriptions of all callers.

use tonic::Status;

use super::{
    super::{
        Violations,
        times::{proto, timestamp},
    },
    Reason,
    pages::{PageTokens, page_size},
    reason,
};
use crate::{
    domain::ids::{CallerName, SubscriptionName},
    fanout::{Start, SubscriptionState},
    proto::{admin::v1, v1::Position},
    store::{SubscriptionKey, SubscriptionsQuery},
};

/// Which subscriptions, with the page tokens of that list.
pub(in crate::api) fn subscriptions_query(
    request: v1::ListSubscriptionsRequest,
    key: &[u8; 32],
) -> Result<(SubscriptionsQuery, PageTokens), Status> {
    let mut wrong = Violations::default();
    let tokens = PageTokens::of(key, "subscriptions", [&*request.caller]);
    let limit = page_size(&mut wrong, request.page_size);
    let after = tokens.decode(&mut wrong, &request.page_token).and_then(|place| {
        let (caller, name) = place.split_once('/')?;
        let caller = CallerName::from_text(caller).ok()?;
        Some(SubscriptionKey { caller, name: SubscriptionName::from_text(name).ok()? })
    });
    let caller = (!request.caller.is_empty()).then(|| CallerName::from_text(&request.caller)).transpose();
    let caller = caller.map_err(|error| wrong.add("caller", error.0)).ok().flatten();
    wrong.finish(Some((SubscriptionsQuery { after, caller, limit }, tokens)))
}

/// A page of them. A full one may be the last; then an empty one follows.
pub(in crate::api) fn subscriptions_page(
    states: Vec<SubscriptionState>,
    most: usize,
    tokens: &PageTokens,
) -> v1::ListSubscriptionsResponse {
    let last = states.last().filter(|_| states.len() == most).map(|last| &last.key);
    let next_page_token = last.map(|key| tokens.encode(&format!("{}/{}", key.caller, key.name))).unwrap_or_default();
    v1::ListSubscriptionsResponse { subscriptions: states.into_iter().map(subscription).collect(), next_page_token }
}

/// One of them.
pub(in crate::api) fn subscription(state: SubscriptionState) -> v1::Subscription {
    v1::Subscription {
        caller: state.key.caller.to_string(),
        name: state.key.name.to_string(),
        cursor: state.cursor,
        backlog: state.backlog,
        connected: state.connected,
        use_time: Some(proto(state.used_at)),
    }
}

/// Which subscription, and where to.
pub(in crate::api) fn seek(request: v1::SeekSubscriptionRequest) -> Result<(SubscriptionKey, Start), Status> {
    use v1::seek_subscription_request::Target;
    let mut wrong = Violations::default();
    let key = key(&mut wrong, &request.caller, &request.name);
    reason(&mut wrong, &request.reason, Reason::Optional);
    let start = match request.target {
        None => {
            wrong.add("target", "is required");
            None
        }
        Some(Target::Cursor(cursor)) if cursor.is_empty() => {
            wrong.add("cursor", "must not be empty");
            None
        }
        Some(Target::Cursor(cursor)) => Some(Start::Cursor(cursor)),
        Some(Target::Time(time)) => wrong.take("time", timestamp(time)).map(Start::Time),
        Some(Target::Position(position)) => match Position::try_from(position) {
            Ok(Position::Latest) => Some(Start::Latest),
            Ok(Position::Earliest) => Some(Start::Earliest),
            Ok(Position::Unspecified) | Err(_) => {
                wrong.add("position", "must be POSITION_LATEST or POSITION_EARLIEST");
                None
            }
        },
    };
    wrong.finish(key.zip(start))
}

/// Which subscription goes.
pub(in crate::api) fn unsubscribe(request: v1::DeleteSubscriptionRequest) -> Result<SubscriptionKey, Status> {
    let mut wrong = Violations::default();
    let key = key(&mut wrong, &request.caller, &request.name);
    reason(&mut wrong, &request.reason, Reason::Optional);
    wrong.finish(key)
}

fn key(wrong: &mut Violations, caller: &str, name: &str) -> Option<SubscriptionKey> {
    let caller = wrong.take("caller", CallerName::from_text(caller));
    let name = wrong.take("name", SubscriptionName::from_text(name));
    caller.zip(name).map(|(caller, name)| SubscriptionKey { caller, name })
}
