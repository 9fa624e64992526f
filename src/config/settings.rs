//! The settings as they are written. Their shape is that of `defaults.toml`, which documents each of them; unknown names
//! are refused.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use figment::{
    Figment,
    providers::{Format, Toml},
};
use jiff::SignedDuration;
use serde::Deserialize;
use url::Url;

use super::{ConfigError, DEFAULTS, LogFormat, problems, secrets::SecretRef};
use crate::{
    domain::principal::Permission,
    messaging::{self, Backoff, BreakerOptions, GateOptions, QueueOptions},
};

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub grpc: GrpcSettings,
    pub http: HttpSettings,
    pub upstream: UpstreamSettings,
    pub store: StoreSettings,
    pub messaging: MessagingSettings,
    pub breaker: BreakerSettings,
    pub queue: QueueSettings,
    #[serde(default)]
    pub vault: VaultSettings,
    pub streams: StreamSettings,
    pub tracking: TrackingSettings,
    pub retention: RetentionSettings,
    pub shutdown: ShutdownSettings,
    pub log: LogSettings,
    #[serde(default)]
    pub numbers: Vec<NumberSettings>,
    #[serde(default)]
    pub callers: Vec<CallerSettings>,
}

macro_rules! sections {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty,)* })*) => {
        $($(#[$doc])*
        #[derive(Clone, Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
                pub struct $name { $(pub $field: $type,)* })*
    };
}

sections! {
    /// `[grpc]`
    GrpcSettings {
        listen: SocketAddr,
        reflection: bool,
        max_message_bytes: usize,
        max_concurrent_streams: u32,
        bulk_items: usize,
        bulk_bytes: u32,
        max_connections: usize,
        keepalive_interval: Span,
        keepalive_timeout: Span,
        max_connection_age: Span,
        max_connection_age_grace: Span,
    }
    /// `[http]`
    HttpSettings {
        listen: SocketAddr,
        max_body_bytes: usize,
    }
    /// `[upstream]`
    UpstreamSettings {
        base_url: String,
        timeout: Span,
        connect_timeout: Span,
        max_in_flight: usize,
        idle_timeout: Span,
    }
    /// `[store]`
    StoreSettings {
        directory: PathBuf,
        write_queue: usize,
        commit_batch: usize,
        readers: usize,
        recent: usize,
    }
    /// `[messaging]`
    MessagingSettings {
        max_in_progress: usize,
        slot_wait: Span,
        pace_wait: Span,
        repeat_wait: Span,
        replay_window: Span,
        attempts: u32,
        patience: Span,
        retry_first: Span,
        retry_longest: Span,
    }
    /// `[breaker]`
    BreakerSettings {
        host_failures: u32,
        host_first: Span,
        host_longest: Span,
        number_first: Span,
        number_longest: Span,
    }
    /// `[queue]`
    QueueSettings {
        in_flight: usize,
        max_age: Span,
        retry_first: Span,
        retry_longest: Span,
        lease: Span,
        max_messages: u64,
        max_bytes: u64,
    }
    /// `[streams]`
    StreamSettings {
        max: usize,
        page: usize,
        live_bytes: usize,
        drain_spread: Span,
        max_subscriptions: usize,
    }
    /// `[tracking]`
    TrackingSettings {
        unattributed_after: Span,
    }
    /// `[retention]`
    RetentionSettings {
        events: Span,
        messages: Span,
        open: Span,
        early: Span,
        subscriptions: Span,
        max_bytes: u64,
        interval: Span,
    }
    /// `[shutdown]`
    ShutdownSettings {
        deadline: Span,
    }
    /// `[log]`
    LogSettings {
        level: String,
        format: LogFormat,
    }
}

/// `[vault]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultSettings {
    /// The root key: 64 random hexadecimal digits. Without one, one is made and kept in the data directory.
    #[serde(default)]
    pub root_key: Option<SecretRef>,
}

/// One `[[numbers]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberSettings {
    /// Its stable name.
    pub name: String,
    /// Its id at Pilot Status.
    #[serde(default)]
    pub upstream_id: Option<String>,
    /// Its phone number, E.164.
    #[serde(default)]
    pub phone: Option<String>,
    /// Its key.
    pub key: SecretRef,
    /// The last segment of its webhook path: 16 characters or more, unguessable. Without one it takes no webhooks.
    #[serde(default)]
    pub webhook_token: Option<SecretRef>,
    /// Secrets that sign its webhooks. Without any, signatures are not checked.
    #[serde(default)]
    pub webhook_secrets: Vec<SecretRef>,
    /// How fast it sends at most.
    #[serde(default)]
    pub pace: PaceSettings,
}

/// The `pace` of a number.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaceSettings {
    /// Sends a second on average. Without it there is no bound but what Pilot Status asks for.
    #[serde(default)]
    pub per_second: Option<f64>,
    /// So many may go at once after a quiet time. Default 1.
    #[serde(default)]
    pub burst: Option<u32>,
    /// Smallest time between two sends. Default none.
    #[serde(default)]
    pub min_gap: Option<Span>,
    /// By which part of itself that gap grows at most, at random: 0 to 10. Default 0.
    #[serde(default)]
    pub gap_jitter: Option<f64>,
}

/// One `[[callers]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallerSettings {
    /// Its stable name.
    pub name: String,
    /// SHA-256 of each of its tokens, in hexadecimal.
    pub token_hashes: Vec<String>,
    /// What it may do.
    #[serde(default)]
    pub grants: Vec<GrantSettings>,
}

/// One `[[callers.grants]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantSettings {
    /// Name of a number, or `*`.
    pub number: String,
    /// What is allowed on it.
    pub permissions: Vec<Permission>,
}

/// A span that is not negative, written like `1m 30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

impl TryFrom<String> for Span {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let span = text.parse::<SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
        span.map(Self).ok_or("must be a span that is not negative, such as 30s, 5m or 1h 30m")
    }
}

impl Settings {
    /// The defaults.
    pub fn defaults() -> Result<Self, ConfigError> {
        read(&Figment::from(Toml::string(DEFAULTS)))
    }
}

/// Reads the settings; unknown names and wrong types are told with the place where they stand.
pub(super) fn read(figment: &Figment) -> Result<Settings, ConfigError> {
    figment.extract().map_err(|errors| ConfigError(problems::told(errors)))
}

/// The base URL: https, or http on loopback, where keys cannot be overheard.
pub(super) fn base_url(text: &str, wrong: &mut Vec<String>) -> Option<Url> {
    let mut refuse = |why: &str| {
        wrong.push(format!("upstream.base_url: {why}"));
        None
    };
    let Ok(url) = Url::parse(text) else {
        return refuse("must be an absolute URL");
    };
    let loopback = match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match url.scheme() {
        _ if !url.username().is_empty() || url.password().is_some() => refuse("must not carry credentials"),
        _ if url.query().is_some() || url.fragment().is_some() => refuse("must not carry a query or a fragment"),
        "https" => Some(url),
        "http" if loopback => Some(url),
        "http" => refuse("must be https, since number keys travel over it; http is taken on loopback only"),
        _ => refuse("must be https"),
    }
}

/// How sends are bounded.
pub(super) fn messaging(settings: &Settings) -> messaging::Options {
    let Settings { messaging: of, breaker, queue, .. } = settings;
    messaging::Options {
        max_in_progress: of.max_in_progress,
        slot_wait: of.slot_wait.0,
        pace_wait: of.pace_wait.0,
        repeat_wait: of.repeat_wait.0,
        replay_window: of.replay_window.0,
        attempts: of.attempts,
        patience: of.patience.0,
        backoff: Backoff { first: of.retry_first.0, longest: of.retry_longest.0 },
        gate: GateOptions {
            host: BreakerOptions {
                failures: breaker.host_failures,
                first_wait: breaker.host_first.0,
                longest_wait: breaker.host_longest.0,
            },
            number: BreakerOptions {
                failures: 1,
                first_wait: breaker.number_first.0,
                longest_wait: breaker.number_longest.0,
            },
        },
        queue: QueueOptions {
            in_flight: queue.in_flight,
            max_age: queue.max_age.0,
            backoff: Backoff { first: queue.retry_first.0, longest: queue.retry_longest.0 },
            lease: queue.lease.0,
        },
    }
}

/// For how long a call may come again and act on its message: it begins within the replay window, then waits for a place
/// and for an answer.
pub(super) fn repeats(settings: &Settings) -> Duration {
    let messaging = &settings.messaging;
    let begun = messaging.replay_window.0.saturating_add(messaging.slot_wait.0);
    begun.saturating_add(settings.upstream.timeout.0)
}

/// Values that would make a part useless.
pub(super) fn check_bounds(settings: &Settings, wrong: &mut Vec<String>) {
    let counts: [(&str, usize, usize); 18] = [
        ("grpc.max_message_bytes", settings.grpc.max_message_bytes, 256 << 20),
        ("grpc.max_concurrent_streams", settings.grpc.max_concurrent_streams as usize, 1_000_000),
        ("grpc.bulk_items", settings.grpc.bulk_items, 1_000_000),
        ("grpc.bulk_bytes", settings.grpc.bulk_bytes as usize, 1 << 30),
        ("grpc.max_connections", settings.grpc.max_connections, 1_000_000),
        ("http.max_body_bytes", settings.http.max_body_bytes, 256 << 20),
        ("upstream.max_in_flight", settings.upstream.max_in_flight, 100_000),
        ("store.write_queue", settings.store.write_queue, 1_000_000),
        ("store.commit_batch", settings.store.commit_batch, 100_000),
        ("store.readers", settings.store.readers, 256),
        ("streams.page", settings.streams.page, 100_000),
        ("streams.live_bytes", settings.streams.live_bytes, 64 << 30),
        ("streams.max_subscriptions", settings.streams.max_subscriptions, 1_000_000),
        ("messaging.max_in_progress", settings.messaging.max_in_progress, 1_000_000),
        ("messaging.attempts", settings.messaging.attempts as usize, 100),
        ("breaker.host_failures", settings.breaker.host_failures as usize, 1_000_000),
        ("queue.in_flight", settings.queue.in_flight, 100_000),
        ("queue.max_messages", usize::try_from(settings.queue.max_messages).unwrap_or(usize::MAX), 1_000_000_000),
    ];
    for (name, value, most) in counts {
        if !(1..=most).contains(&value) {
            wrong.push(format!("{name}: must be 1 to {most}"));
        }
    }
    if settings.store.recent > 10_000_000 {
        wrong.push("store.recent: must be at most 10000000".to_owned());
    }
    let day = Duration::from_secs(24 * 3600);
    let spans = [
        ("grpc.keepalive_interval", settings.grpc.keepalive_interval, Duration::from_secs(1), day),
        ("grpc.keepalive_timeout", settings.grpc.keepalive_timeout, Duration::from_secs(1), day),
        ("grpc.max_connection_age", settings.grpc.max_connection_age, Duration::ZERO, 365 * day),
        ("grpc.max_connection_age_grace", settings.grpc.max_connection_age_grace, Duration::from_millis(1), day),
        ("upstream.timeout", settings.upstream.timeout, Duration::from_millis(1), day),
        ("upstream.connect_timeout", settings.upstream.connect_timeout, Duration::from_millis(1), day),
        ("messaging.slot_wait", settings.messaging.slot_wait, Duration::ZERO, day),
        ("messaging.pace_wait", settings.messaging.pace_wait, Duration::ZERO, day),
        ("messaging.repeat_wait", settings.messaging.repeat_wait, Duration::ZERO, day),
        ("messaging.patience", settings.messaging.patience, Duration::ZERO, day),
        ("messaging.retry_longest", settings.messaging.retry_longest, Duration::ZERO, day),
        ("breaker.host_longest", settings.breaker.host_longest, Duration::from_millis(1), day),
        ("breaker.number_longest", settings.breaker.number_longest, Duration::from_millis(1), day),
        ("queue.retry_longest", settings.queue.retry_longest, Duration::from_millis(1), day),
        ("breaker.host_first", settings.breaker.host_first, Duration::from_millis(1), day),
        ("breaker.number_first", settings.breaker.number_first, Duration::from_millis(1), day),
        ("queue.retry_first", settings.queue.retry_first, Duration::from_millis(1), day),
        ("queue.max_age", settings.queue.max_age, Duration::from_secs(1), 365 * day),
        ("retention.interval", settings.retention.interval, Duration::from_millis(1), day),
        ("shutdown.deadline", settings.shutdown.deadline, Duration::from_millis(1), day),
    ];
    for (name, span, least, most) in spans {
        if !(least..=most).contains(&span.0) {
            wrong.push(format!("{name}: must be {least:?} to {most:?}"));
        }
    }
    if settings.messaging.replay_window.0 >= Duration::from_secs(24 * 3600) {
        wrong.push("messaging.replay_window: must be less than 24h, for which keys are remembered upstream".to_owned());
    }
    if settings.queue.lease.0 <= settings.upstream.timeout.0 || settings.queue.lease.0 > day {
        wrong.push("queue.lease: must be longer than upstream.timeout, and at most 24h".to_owned());
    }
    let (unattributed, early) = (settings.tracking.unattributed_after.0, settings.retention.early.0);
    if unattributed < Duration::from_millis(1) || unattributed >= early {
        wrong.push("tracking.unattributed_after: must be 1ms or more, and less than retention.early".to_owned());
    }
    let repeats = repeats(settings);
    for (name, span) in [("messages", settings.retention.messages), ("open", settings.retention.open)] {
        if span.0 < repeats {
            wrong.push(format!(
                "retention.{name}: must be at least {repeats:?}: messaging.replay_window, messaging.slot_wait and \
                 upstream.timeout together"
            ));
        }
    }
    if tracing_subscriber::EnvFilter::try_new(&settings.log.level).is_err() {
        wrong.push("log.level: must be a level or a list of directives".to_owned());
    }
}
