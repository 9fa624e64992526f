//! The gRPC door: handlers of a few lines, the one conversion between protobuf and domain, the one table from errors to
//! statuses.
//!
//! Owns nothing that lasts and decides nothing about messages. A handler authenticates nobody either: that has happened in
//! [`authenticate`] before it is called.

mod admin;
pub mod authenticate;
mod bulk;
mod connection;
mod convert;
mod inbox;
mod messaging;
pub mod ready;
mod reasons;
mod status;

pub use self::{
    admin::{AuditApi, CallerApi, NumberApi, OutboxApi, SubscriptionApi, VaultApi},
    bulk::BulkOptions,
    connection::{Connection, End},
    convert::Responses,
    inbox::InboxApi,
    messaging::MessagingApi,
    reasons::{CATALOGUE, Reason, SameRequestId},
};
