//! The platform team's requests and answers.

mod audit;
mod callers;
pub(in crate::api) mod numbers;
mod outbox;
mod pages;
mod subscriptions;
mod vault;

pub(in crate::api) use self::{
    audit::{AuditTokens, audit_query, audit_response, verified},
    callers::{
        caller, caller_name, caller_update, callers_page, callers_query, new_caller, new_grants, registered_caller,
        token_issue, token_revocation, token_rotation, which_caller,
    },
    outbox::{resolution, undecided, undecided_id, undecided_page, undecided_query},
    subscriptions::{seek, subscription, subscriptions_page, subscriptions_query, unsubscribe},
    vault::{rotation, vault},
};
use super::Violations;

/// Longest text of why something is done.
pub(in crate::api) const LONGEST_REASON: usize = 500;

/// Whether an act has to be given a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Reason {
    /// It is good to have one.
    Optional,
    /// Somebody will ask.
    Required,
}

/// Checks why something is done.
fn reason(wrong: &mut Violations, text: &str, need: Reason) {
    if need == Reason::Required && text.trim().is_empty() {
        wrong.add("reason", "is required");
    }
    if text.chars().take(LONGEST_REASON + 1).count() > LONGEST_REASON {
        wrong.add("reason", format!("must be at most {LONGEST_REASON} characters"));
    }
}
