//! Messages that are not decided yet.

use tonic::Status;

use super::{
    super::{Violations, reply, times::proto},
    Reason,
    pages::{PageTokens, page_size},
    reason,
};
use crate::{
    domain::{
        Invalid,
        ids::{CallerName, MessageId, NumberName, UpstreamId},
        message::Handoff,
        status,
    },
    keys::KeyRing,
    messaging::Resolution,
    proto::{admin::v1, v1::MessageStatus},
    store::{Undecided, UndecidedPage, UndecidedQuery},
};

/// Which messages, with the page tokens of that list.
pub(in crate::api) fn undecided_query(
    request: v1::ListPendingRequest,
    keys: &KeyRing,
    key: &[u8; 32],
) -> Result<(UndecidedQuery, PageTokens), Status> {
    let mut wrong = Violations::default();
    let filter = [&*request.number, &*request.caller, request.status().as_str_name()];
    let tokens = PageTokens::of(key, "outbox", filter);
    let limit = page_size(&mut wrong, request.page_size);
    let after = tokens.decode(&mut wrong, &request.page_token).and_then(|place| place.parse().ok()).unwrap_or_default();
    let number = (!request.number.is_empty()).then_some(&*request.number);
    // One that is gone is not in the ring, but its messages may still be there.
    let number = number.map(|word| keys.find(word).map_or_else(|| NumberName::from_text(word), Ok)).transpose();
    let caller = (!request.caller.is_empty()).then(|| CallerName::from_text(&request.caller)).transpose();
    let wanted = match request.status() {
        MessageStatus::Unspecified => None,
        MessageStatus::Pending => Some(status::Status::Pending),
        MessageStatus::InDoubt => Some(status::Status::InDoubt),
        _ => {
            wrong.add("status", "must be MESSAGE_STATUS_PENDING or MESSAGE_STATUS_IN_DOUBT");
            None
        }
    };
    let mut take = |field, invalid: Invalid| wrong.add(field, invalid.0);
    let number = number.map_err(|invalid| take("number", invalid)).ok().flatten();
    let caller = caller.map_err(|invalid| take("caller", invalid)).ok().flatten();
    wrong.finish(Some((UndecidedQuery { after, number, caller, status: wanted, limit }, tokens)))
}

/// A page of them.
pub(in crate::api) fn undecided_page(page: UndecidedPage, tokens: &PageTokens) -> v1::ListPendingResponse {
    v1::ListPendingResponse {
        messages: page.found.into_iter().map(undecided).collect(),
        next_page_token: page.last.map(|last| tokens.encode(&last.to_string())).unwrap_or_default(),
    }
}

/// One of them.
pub(in crate::api) fn undecided(undecided: Undecided) -> v1::PendingMessage {
    let Undecided { message, row } = undecided;
    let origins = message.origins;
    let direct = origins.handoff == Handoff::Direct && message.status == status::Status::Pending;
    v1::PendingMessage {
        message_id: origins.message_id.to_string(),
        caller: origins.caller.to_string(),
        number: origins.number.to_string(),
        recipient: masked(origins.recipient.address()),
        status: reply::status(message.status).into(),
        handoff: reply::handoff(origins.handoff).into(),
        attempts: message.attempts,
        create_time: Some(proto(origins.create_time)),
        queued: row.is_some(),
        next_attempt_time: row.map(|row| proto(row.due)),
        expire_time: row.map(|row| proto(row.expires)),
        attempting: row.map_or(direct, |row| row.leased),
        behind_another: row.is_some_and(|row| !row.first),
    }
}

/// The id of a message that an act is about.
pub(in crate::api) fn undecided_id(id: &str, why: &str, need: Reason) -> Result<MessageId, Status> {
    let mut wrong = Violations::default();
    let id = id.parse().map_err(|error: Invalid| wrong.add("message_id", error.0)).ok();
    reason(&mut wrong, why, need);
    wrong.finish(id)
}

/// What was found out about which message.
pub(in crate::api) fn resolution(request: v1::ResolveInDoubtRequest) -> Result<(MessageId, Resolution), Status> {
    use v1::resolve_in_doubt_request::Outcome;
    let mut wrong = Violations::default();
    let id = request.message_id.parse().map_err(|error: Invalid| wrong.add("message_id", error.0)).ok();
    reason(&mut wrong, &request.reason, Reason::Required);
    let resolution = match request.outcome {
        None => {
            wrong.add("outcome", "is required");
            None
        }
        Some(Outcome::NotSent(_)) => Some(Resolution::NotSent),
        Some(Outcome::Sent(sent)) if sent.upstream_id.is_empty() => Some(Resolution::Sent(None)),
        Some(Outcome::Sent(sent)) => {
            let upstream = UpstreamId::from_text(&sent.upstream_id);
            upstream.map_err(|error| wrong.add("sent.upstream_id", error.0)).ok().map(|id| Resolution::Sent(Some(id)))
        }
    };
    wrong.finish(id.zip(resolution))
}

/// All but the last four characters.
fn masked(address: &str) -> String {
    let shown = address.chars().count().saturating_sub(4);
    address.chars().enumerate().map(|(at, it)| if at < shown { '*' } else { it }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_address_four_characters_are_told() {
        assert_eq!(masked("+5511999990000"), "**********0000");
        assert_eq!(masked("12é4"), "12é4");
    }
}
