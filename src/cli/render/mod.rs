//! How messages and updates look: `human` for people, `json` for programs.
//!
//! Owns the short words of the contract's enums (`READ` for `MESSAGE_STATUS_READ`), which both share. Refuses to write
//! anywhere. Called by the client commands and the demo.

pub mod human;
pub mod inbox;
pub mod json;

use crate::proto::v1::{
    CancelOutcome, FailureCode, GapReason, Handoff, MessageStatus, Origin, Recipient, recipient::Kind,
};

/// The contract's word without its prefix.
pub fn status_word(status: MessageStatus) -> &'static str {
    without(status.as_str_name(), "MESSAGE_STATUS_")
}

/// The contract's word without its prefix.
pub fn failure_word(code: FailureCode) -> &'static str {
    without(code.as_str_name(), "FAILURE_CODE_")
}

/// The contract's word without its prefix.
pub fn outcome_word(outcome: CancelOutcome) -> &'static str {
    without(outcome.as_str_name(), "CANCEL_OUTCOME_")
}

fn origin_word(origin: Origin) -> &'static str {
    without(origin.as_str_name(), "ORIGIN_")
}

/// The contract's word without its prefix.
pub fn handoff_word(handoff: Handoff) -> &'static str {
    without(handoff.as_str_name(), "HANDOFF_")
}

fn gap_reason_word(reason: GapReason) -> &'static str {
    without(reason.as_str_name(), "GAP_REASON_")
}

fn without(name: &'static str, prefix: &str) -> &'static str {
    name.strip_prefix(prefix).unwrap_or(name)
}

/// The address of a recipient, whatever its kind; a dash if there is none.
pub fn address(recipient: Option<&Recipient>) -> &str {
    match recipient.and_then(|it| it.kind.as_ref()) {
        Some(
            Kind::PhoneNumber(address) | Kind::UserId(address) | Kind::GroupId(address) | Kind::NewsletterId(address),
        ) => address,
        None => "-",
    }
}
