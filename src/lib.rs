//! pilotgate: a gRPC gateway in front of Pilot Status.
//!
//! Services call [`proto`]'s `MessagingService`; the gateway turns the calls into Pilot Status HTTP calls, keeps every
//! number's key, and streams what becomes of each message.
//!
//! Rooms, from the bottom up; each uses only rooms above it in this list:
//!
//! - [`domain`] ids, content, statuses and their merge; [`proto`] the generated code
//! - [`store`] the durable memory; [`upstream`] the Pilot Status wire; [`vault`] sealing at rest
//! - [`identity`] who calls and may do what; [`keys`] the numbers and their keys
//! - [`admin`] what the platform team does; [`messaging`] sending; [`tracking`] webhooks and reading back; [`fanout`] following the log
//! - [`api`] the gRPC door; [`http`] the HTTP door
//! - [`config`] all settings; [`server`] the running whole; [`cli`] the commands
//!
//! Beside them stands [`sandbox`], a double of Pilot Status that shares no code with the rest.

pub mod admin;
pub mod api;
pub mod cli;
pub mod config;
pub mod domain;
pub mod fanout;
pub mod http;
pub mod identity;
pub mod keys;
pub mod messaging;
pub mod proto;
pub mod sandbox;
pub mod server;
pub mod store;
pub mod tracking;
pub mod upstream;
pub mod vault;
