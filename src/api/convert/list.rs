//! Which messages to list, from the wire, and a page of them to the wire.

use prost::Message as _;
use tonic::Status;

use super::{
    filter::{numbers, statuses},
    reply::message,
    times::timestamp,
    violations::Violations,
};
use crate::{
    identity::Visibility,
    keys::KeyRing,
    messaging::{ListFilter, ListRequest, Listed, PageTokens},
    proto::v1,
};

const PAGE: usize = 100;
const LONGEST_PAGE: usize = 1_000;

/// A page ends before it grows beyond this: clients refuse messages of more than 4 MiB unless they are told otherwise.
pub(super) const MOST_BYTES: usize = 3 * 1024 * 1024;

/// Checks a list request of a caller with this sight.
pub(in crate::api) fn list_request(
    request: v1::ListMessagesRequest,
    sight: Visibility,
    keys: &KeyRing,
) -> Result<ListRequest, Status> {
    let numbers = numbers(&request.numbers, &sight, keys)?;
    let mut wrong = Violations::default();
    wrong.count("numbers", request.numbers.len(), 0..=100);
    let statuses = statuses(&mut wrong, "statuses", &request.statuses);
    wrong.count("labels", request.labels.len(), 0..=100);
    let start = request.start_time.and_then(|time| wrong.take("start_time", timestamp(time)));
    let end = request.end_time.and_then(|time| wrong.take("end_time", timestamp(time)));
    if start.zip(end).is_some_and(|(start, end)| end <= start) {
        wrong.add("end_time", "must lie after start_time");
    }
    let page_size = page_size(&mut wrong, request.page_size);
    let filter = ListFilter { sight, numbers, statuses, labels: request.labels.into_iter().collect(), start, end };
    let page_token = (!request.page_token.is_empty()).then_some(request.page_token);
    wrong.finish(Some(ListRequest { filter, page_size, page_token }))
}

/// A page. What it has no room for comes with the next one.
pub(in crate::api) fn list_response(listed: Listed, tokens: &PageTokens) -> v1::ListMessagesResponse {
    let Listed { messages, mut last } = listed;
    let mut shown = Vec::with_capacity(messages.len());
    let mut last_shown = None;
    let mut bytes = 0;
    for one in messages {
        let id = one.origins.message_id;
        let one = message(one);
        bytes += one.encoded_len();
        if bytes > MOST_BYTES && last_shown.is_some() {
            last = last_shown;
            break;
        }
        shown.push(one);
        last_shown = Some(id);
    }
    let next_page_token = last.map(|last| tokens.encode(last)).unwrap_or_default();
    v1::ListMessagesResponse { messages: shown, next_page_token }
}

/// How many entries a page has.
pub(super) fn page_size(wrong: &mut Violations, page_size: i32) -> usize {
    match usize::try_from(page_size) {
        Ok(0) => PAGE,
        Ok(size) => size.min(LONGEST_PAGE),
        Err(_) => {
            wrong.add("page_size", "must not be negative");
            PAGE
        }
    }
}
