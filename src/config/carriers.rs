//! The gRPC ports: where they listen, and what keeps others from listening in.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::settings::{Settings, Span, TlsSettings};
use crate::api::BulkOptions;

/// A gRPC port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grpc {
    /// Where it listens.
    pub listen: SocketAddr,
    /// How it shows who it is; `None`: it does not, and whoever sits on the way reads everything.
    pub tls: Option<Tls>,
    /// Whether server reflection is offered.
    pub reflection: bool,
    /// Longest message taken.
    pub max_message_bytes: usize,
    /// Calls in flight on one connection.
    pub max_concurrent_streams: u32,
    /// What a bulk stream may have in flight.
    pub bulk: BulkOptions,
    /// Connections at once.
    pub max_connections: usize,
    /// After this long without a frame the other side is asked for a sign of life.
    pub keepalive_interval: Duration,
    /// How long that sign is waited for.
    pub keepalive_timeout: Duration,
    /// How old a connection may become before the other side is told to open another one; `None`: as old as it will.
    pub max_connection_age: Option<Duration>,
    /// Within what time after that its streams end.
    pub max_connection_age_grace: Duration,
}

/// How a port shows who it is, and what it asks of the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate with those that lead to its authority, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
    /// The authorities that vouch for clients, in PEM.
    pub client_ca: Option<PathBuf>,
    /// Whether clients must show a certificate.
    pub client_auth: ClientAuth,
    /// How often the files are looked at.
    pub check_interval: Duration,
}

/// Whether clients show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// They are not asked for one.
    None,
    /// They may.
    Optional,
    /// Without one there is no connection.
    Required,
}

/// The callers' port, and that of administrators if they have one of their own.
pub(super) fn ports(settings: &Settings, wrong: &mut Vec<String>) -> (Grpc, Option<Grpc>) {
    let of = &settings.grpc;
    let callers = Grpc {
        listen: of.listen,
        tls: of.tls.as_ref().and_then(|tls| tls_of("grpc.tls", tls, wrong)),
        reflection: of.reflection,
        max_message_bytes: of.max_message_bytes,
        max_concurrent_streams: of.max_concurrent_streams,
        bulk: BulkOptions { items: of.bulk_items, bytes: of.bulk_bytes },
        max_connections: of.max_connections,
        keepalive_interval: of.keepalive_interval.0,
        keepalive_timeout: of.keepalive_timeout.0,
        max_connection_age: Some(of.max_connection_age.0).filter(|age| !age.is_zero()),
        max_connection_age_grace: of.max_connection_age_grace.0,
    };
    overheard("grpc", of.listen, of.tls.is_some() || of.plaintext, wrong);
    let of = &settings.admin;
    if of.listen.is_empty() {
        if of.tls.is_some() || of.plaintext {
            wrong
                .push("admin: there is no port of its own without admin.listen, so that nothing else has a use".into());
        }
        return (callers, None);
    }
    let Ok(listen) = of.listen.parse() else {
        wrong.push("admin.listen: must be empty, or an address and a port such as 127.0.0.1:50052".to_owned());
        return (callers, None);
    };
    let tls = match &of.tls {
        Some(tls) => tls_of("admin.tls", tls, wrong),
        None => callers.tls.clone(),
    };
    overheard("admin", listen, of.tls.is_some() || settings.grpc.tls.is_some() || of.plaintext, wrong);
    let admin = Grpc { listen, tls, ..callers.clone() };
    (callers, Some(admin))
}

fn tls_of(place: &str, settings: &TlsSettings, wrong: &mut Vec<String>) -> Option<Tls> {
    let before = wrong.len();
    let asked = if settings.client_ca.is_some() { ClientAuth::Required } else { ClientAuth::None };
    let client_auth = settings.client_auth.unwrap_or(asked);
    if client_auth != ClientAuth::None && settings.client_ca.is_none() {
        wrong.push(format!("{place}.client_auth: takes a client_ca, by which certificates are verified"));
    }
    if client_auth == ClientAuth::None && settings.client_ca.is_some() {
        wrong.push(format!("{place}.client_ca: has no use while client_auth is \"none\""));
    }
    let check_interval = settings.check_interval.unwrap_or(Span(Duration::from_secs(5))).0;
    if !(Duration::from_millis(10)..=Duration::from_secs(24 * 3600)).contains(&check_interval) {
        wrong.push(format!("{place}.check_interval: must be 10ms to 24h"));
    }
    (wrong.len() == before).then(|| Tls {
        cert: settings.cert.clone(),
        key: settings.key.clone(),
        client_ca: settings.client_ca.clone(),
        client_auth,
        check_interval,
    })
}

/// Notes a port that whoever sits on the way could listen in on, unless that is accepted.
fn overheard(section: &str, listen: SocketAddr, accepted: bool, wrong: &mut Vec<String>) {
    if !accepted && !listen.ip().is_loopback() {
        wrong.push(format!(
            "{section}.listen: on {listen} caller tokens and messages would travel in the clear; set {section}.tls (cert \
             and key), or {section}.plaintext = true if a proxy in front of it ends TLS or nobody can listen in"
        ));
    }
}
