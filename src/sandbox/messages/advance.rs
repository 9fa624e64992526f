//! Owns the movement of a message along its timeline and the events that
//! follow. Called by `clock` for each step due and by `send` for a first step
//! that must come before the answer.
//!
//! Ours: at `deliverUntil` a message still QUEUED fails with
//! `EXPIRED_AFTER_ATTEMPTS`, one that is SENT with `DELIVERED_NOT_CONFIRMED`.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot::Receiver;

use super::super::clock::Due;
use super::super::faults::FaultKind;
use super::super::ledger::count;
use super::super::state::{Shared, State, held};
use super::super::switches::{After, Switches};
use super::super::timeline::{EventOrder, Step};
use super::super::webhooks::{self, Event, Treatment};
use super::{Message, Status};

/// Whether somebody waits for the events of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witness {
    None,
    Wanted,
}

/// How long a step waits; `None` if it never comes.
pub fn wait(step: &Step, switches: &Switches) -> Option<Duration> {
    let millis = step.after_ms.or(match step.status {
        Status::Sent => Some(switches.sent_after_ms),
        Status::Delivered => Some(switches.delivered_after_ms),
        Status::Read => match switches.read_after {
            After::Millis(ms) => Some(ms),
            After::Never(_) => None,
        },
        Status::Queued | Status::Failed | Status::Canceled => Some(50),
    });
    millis.map(Duration::from_millis)
}

/// Takes the next step of a message. The receivers, if wanted, fire when the
/// first attempt of each delivery has ended.
pub fn advance(state: &Shared, seq: u64, witness: Witness) -> Vec<Receiver<()>> {
    let switches = state.switches();
    let mut messages = held(&state.messages);
    let messages = &mut *messages;
    let Some(index) = messages.index(seq) else {
        return Vec::new();
    };
    let Some(message) = messages.rows.get_mut(index) else {
        return Vec::new();
    };
    message.alarm = None;
    if message.status == Status::Canceled {
        return Vec::new();
    }
    if message.status == Status::Queued && messages.closed.contains(&message.draft.number_id) {
        message.parked = true;
        return Vec::new();
    }
    let timeline = Arc::clone(&message.draft.timeline);
    let Some(step) = timeline.steps.get(message.next_step) else {
        return Vec::new();
    };
    message.next_step += 1;
    if let Some(external) = apply(state, message, step) {
        messages.by_id.insert(external, seq);
    }
    let next = timeline.steps.get(message.next_step);
    let next = next.and_then(|s| wait(s, &switches));
    message.alarm = next.map(|wait| state.clock.set(wait, Due::Advance(seq)));
    let Some(event) = Event::of(message, step.status, &switches) else {
        return Vec::new();
    };
    let event = Arc::new(event);
    let last = message.alarm.is_none();
    let events = match timeline.order {
        EventOrder::InOrder => {
            let mut events = vec![event];
            events.append(&mut message.held);
            events
        }
        EventOrder::Doubled => vec![Arc::clone(&event), event],
        EventOrder::Reversed => {
            message.held.insert(0, event);
            if !last {
                return Vec::new();
            }
            std::mem::take(&mut message.held)
        }
    };
    // Events go out with the lock still held: another step of this message
    // (a release, an expiry) must not overtake them.
    send_out(state, message, events, last, witness)
}

/// Applies the rules on deliveries to the events and hands them over.
fn send_out(
    state: &State,
    message: &mut Message,
    events: Vec<Arc<Event>>,
    last: bool,
    witness: Witness,
) -> Vec<Receiver<()>> {
    let mut receivers = Vec::new();
    let recipient = std::slice::from_ref(&message.draft.destination);
    for event in events {
        let faults = {
            let mut faults = held(&state.faults);
            if faults.is_empty() { Vec::new() } else { faults.strike(None, recipient, &state.chance) }
        };
        let struck = |kind| faults.iter().find(|f| f.kind == kind);
        if struck(FaultKind::WebhookDrop).is_some() {
            count(&state.stats.webhooks_lost);
            continue;
        }
        if struck(FaultKind::WebhookReorder).is_some() && !last {
            message.held.push(event);
            continue;
        }
        let delay = struck(FaultKind::Delay).and_then(|f| f.ms);
        let treatment = Treatment {
            wrong_signature: struck(FaultKind::WebhookWrongSignature).is_some(),
            delay: delay.map(Duration::from_millis),
        };
        let times = 1 + usize::from(struck(FaultKind::WebhookDuplicate).is_some());
        for _ in 0..times {
            receivers.extend(webhooks::emit(state, &event, &treatment, witness));
        }
    }
    receivers
}

/// Puts a step on a message; gives the external id if it has got one now.
fn apply(state: &State, message: &mut Message, step: &Step) -> Option<String> {
    let now = Timestamp::now();
    let failed = step.status == Status::Failed;
    let mut external = None;
    if !failed && message.external_id.is_none() {
        let id = format!("wamid.{}", state.chance.hex(16).to_uppercase());
        message.external_id = Some(id.clone());
        external = Some(id);
    }
    match step.status {
        Status::Sent => message.sent_at = Some(now),
        Status::Delivered => message.delivered_at = Some(now),
        Status::Read => message.read_at = Some(now),
        Status::Queued | Status::Failed | Status::Canceled => {}
    }
    message.status = step.status;
    message.error_code = failed.then(|| {
        let code = step.error_code.clone();
        code.unwrap_or_else(|| "DELIVERY_TIMEOUT".into())
    });
    let settled = !matches!(message.status, Status::Queued | Status::Sent);
    if settled && let Some(expiry) = message.expiry.take() {
        state.clock.unset(expiry);
    }
    external
}

/// Fails a message whose `deliverUntil` has passed, unless it was delivered.
pub fn expire(state: &Shared, seq: u64) {
    let switches = state.switches();
    let mut messages = held(&state.messages);
    let Some(message) = messages.at(seq) else {
        return;
    };
    message.expiry = None;
    let code = match message.status {
        Status::Queued => "EXPIRED_AFTER_ATTEMPTS",
        Status::Sent => "DELIVERED_NOT_CONFIRMED",
        Status::Delivered | Status::Read | Status::Failed | Status::Canceled => return,
    };
    if let Some(alarm) = message.alarm.take() {
        state.clock.unset(alarm);
    }
    message.parked = false;
    message.next_step = usize::MAX;
    let step = Step { status: Status::Failed, after_ms: None, error_code: Some(code.into()) };
    apply(state, message, &step);
    if let Some(event) = Event::of(message, Status::Failed, &switches) {
        let mut events = vec![Arc::new(event)];
        events.append(&mut message.held);
        send_out(state, message, events, true, Witness::None);
    }
}

/// Notes whether a number is connected, and lets its waiting messages go on.
pub fn release(state: &State, number: &str, connected: bool) {
    let mut messages = held(&state.messages);
    if !connected {
        messages.closed.insert(number.to_owned());
        return;
    }
    messages.closed.remove(number);
    for message in &mut messages.rows {
        if message.parked && message.draft.number_id == number {
            message.parked = false;
            message.alarm = Some(state.clock.set(Duration::ZERO, Due::Advance(message.seq)));
        }
    }
}
