//! A send request, from the wire.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tokio::time::Instant;
use tonic::Status;

use super::{
    content::{content, recipient},
    times::timestamp,
    violations::Violations,
};
use crate::{
    domain::{ids::RequestId, intent::Intent, message::Handoff},
    messaging::{SendRequest, Waiting},
    proto::v1,
};

/// Checks everything but the number, which was read before. `now` decides what lies in the future.
pub(in crate::api) fn send_request(
    request: v1::SendMessageRequest,
    now: Timestamp,
    deadline: Option<Instant>,
    waiting: Waiting,
) -> Result<SendRequest, Status> {
    let handoff = request.handoff();
    let mut wrong = Violations::default();
    if request.number.is_empty() {
        wrong.add("number", "is required");
    }
    if v1::Handoff::try_from(request.handoff).is_err() {
        wrong.add("handoff", "must be a known hand-off");
    }
    let recipient = recipient(&mut wrong, request.recipient);
    let content = content(&mut wrong, request.content);
    let deliver_at = time(&mut wrong, "deliver_at", request.deliver_at);
    let deliver_until = time(&mut wrong, "deliver_until", request.deliver_until);
    let times = [("deliver_at", deliver_at), ("deliver_until", deliver_until)];
    let passed = times.into_iter().filter(|(_, time)| time.is_some_and(|time| time <= now));
    let overdue: Vec<_> = passed.map(|(field, _)| field).collect();
    // A repeated request may have been accepted when its times still lay ahead; any other is refused at once.
    if RequestId::from_text(&request.request_id).is_err() {
        overdue.iter().for_each(|field| wrong.add(*field, "must lie in the future"));
    }
    if let (Some(at), Some(until)) = (deliver_at, deliver_until)
        && until <= at
    {
        wrong.add("deliver_until", "must lie after deliver_at");
    }
    let labels = labels(&mut wrong, request.labels);
    check_metadata(&mut wrong, &request.metadata);
    let request_id = match request.request_id.as_str() {
        "" => None,
        text => wrong.take("request_id", RequestId::from_text(text)),
    };
    let intent = recipient.zip(content).map(|(recipient, content)| Intent {
        recipient,
        content,
        deliver_at,
        deliver_until,
        labels,
        mark_read: request.mark_read,
    });
    let intent = wrong.finish(intent)?;
    let handoff = match handoff {
        v1::Handoff::Queued => Handoff::Queued,
        v1::Handoff::Direct | v1::Handoff::Unspecified => Handoff::Direct,
    };
    Ok(SendRequest { intent, metadata: request.metadata, request_id, handoff, deadline, waiting, overdue })
}

fn time(wrong: &mut Violations, field: &str, time: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    wrong.take(field, timestamp(time?))
}

fn labels(wrong: &mut Violations, labels: Vec<String>) -> Vec<String> {
    let labels = wrong.count("labels", labels.len(), 0..=16).map(|()| labels).unwrap_or_default();
    let labels = labels.into_iter().enumerate();
    labels.filter_map(|(index, label)| wrong.text(format!("labels[{index}]"), label, 64)).collect()
}

fn check_metadata(wrong: &mut Violations, metadata: &BTreeMap<String, String>) {
    if wrong.count("metadata", metadata.len(), 0..=16).is_none() {
        return;
    }
    for (key, value) in metadata {
        if !(1..=64).contains(&key.len()) || value.len() > 256 {
            let shown: String = key.chars().take(64).collect();
            wrong.add(format!("metadata[{shown:?}]"), "must have a key of 1 to 64 bytes and a value of at most 256");
        }
    }
}
