//! The only place where protobuf and domain meet.
//!
//! Into the domain, a conversion reports every violation at once, each with its field path. Out of it, a conversion
//! cannot fail.

pub(super) mod admin;
mod content;
mod filter;
mod inbox;
mod json;
mod list;
mod reply;
mod send;
mod times;
mod violations;
mod wire;

pub use self::wire::Responses;
pub(super) use self::{
    admin::{AuditTokens, audit_query, audit_response, verified},
    filter::{follow_request, message_ids, subscription},
    inbox::{inbox_notice, inbox_request},
    list::{list_request, list_response},
    reply::{cancel_response, message, notice, rpc_status},
    send::send_request,
    violations::Violations,
    wire::message_head,
};
