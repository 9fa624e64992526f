//! The settings as they are written. Their shape is that of `defaults.toml`, which documents each of them; unknown names
//! are refused.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use figment::{
    Figment,
    providers::{Format, Toml},
};
use jiff::SignedDuration;
use serde::Deserialize;

use super::{ClientAuth, ConfigError, DEFAULTS, LogFormat, problems, secrets::SecretRef};
use crate::{
    domain::{principal::Permission, read_back::ReadBack},
    messaging::{self, Backoff, BreakerOptions, GateOptions, QueueOptions, Recipients},
    tracking::{ReconcileOptions, registration::OnDrift},
};

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub grpc: GrpcSettings,
    pub admin: AdminSettings,
    pub http: HttpSettings,
    pub upstream: UpstreamSettings,
    pub store: StoreSettings,
    pub messaging: MessagingSettings,
    pub breaker: BreakerSettings,
    pub queue: QueueSettings,
    #[serde(default)]
    pub vault: VaultSettings,
    pub tracking: TrackingSettings,
    pub reconcile: ReconcileSettings,
    pub streams: StreamSettings,
    pub retention: RetentionSettings,
    pub audit: AuditSettings,
    pub webhooks: WebhookSettings,
    pub shutdown: ShutdownSettings,
    pub tokens: TokenSettings,
    pub log: LogSettings,
    #[serde(default)]
    pub numbers: Vec<NumberSettings>,
    #[serde(default)]
    pub callers: Vec<CallerSettings>,
    #[serde(default)]
    pub jwt: Vec<JwtSettings>,
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
        plaintext: bool,
        // Read as `None` if it is not there.
        tls: Option<TlsSettings>,
    }
    /// `[admin]`
    AdminSettings {
        listen: String,
        plaintext: bool,
        tls: Option<TlsSettings>,
    }
    /// `[grpc.tls]` and `[admin.tls]`
    TlsSettings {
        cert: PathBuf,
        key: PathBuf,
        client_ca: Option<PathBuf>,
        client_auth: Option<ClientAuth>,
        check_interval: Option<Span>,
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
        // Read as `None` if it is not there.
        tenant_key: Option<SecretRef>,
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
    /// `[tracking]`
    TrackingSettings {
        read_back: ReadBack,
        unattributed_after: Span,
    }
    /// `[reconcile]`
    ReconcileSettings {
        per_second: f64,
        in_flight: usize,
        first: Span,
        silence: Span,
        longest: Span,
        horizon: Span,
        read_first: Span,
        read_horizon: Span,
        doubt_first: Span,
        claim_retry: Span,
    }
    /// `[streams]`
    StreamSettings {
        max: usize,
        page: usize,
        live_bytes: usize,
        drain_spread: Span,
        max_subscriptions: usize,
    }
    /// `[retention]`
    RetentionSettings {
        events: Span,
        messages: Span,
        open: Span,
        early: Span,
        subscriptions: Span,
        audit: Span,
        max_bytes: u64,
        interval: Span,
    }
    /// `[audit]`
    AuditSettings {
        recipients: Recipients,
    }
    /// `[webhooks]`
    WebhookSettings {
        public_url: String,
        check_interval: Span,
        on_drift: OnDrift,
    }
    /// `[shutdown]`
    ShutdownSettings {
        deadline: Span,
    }
    /// `[tokens]`
    TokenSettings {
        lifetime: Span,
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
    /// Earlier root keys, under which something may still be sealed.
    #[serde(default)]
    pub previous_root_keys: Vec<SecretRef>,
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
    /// Which statuses told by webhook are read back, if not as `tracking.read_back` has it.
    #[serde(default)]
    pub read_back: Option<ReadBack>,
    /// How much may be sent from it, by all callers together.
    #[serde(default)]
    pub quota: QuotaSettings,
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

/// The `quota` of a number or a caller.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaSettings {
    /// Messages accepted in a minute of the clock. Without it as many as come; 0 allows none.
    #[serde(default)]
    pub per_minute: Option<u64>,
    /// Messages accepted in a day in UTC. Without it as many as come; 0 allows none.
    #[serde(default)]
    pub per_day: Option<u64>,
}

/// One `[[callers]]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallerSettings {
    /// Its stable name.
    pub name: String,
    /// SHA-256 of each of its tokens, in hexadecimal.
    #[serde(default)]
    pub token_hashes: Vec<String>,
    /// By what else it is known: `jwt:ISSUER/SUBJECT`, `mtls:spiffe://DOMAIN/PATH` or `mtls:dns:NAME`.
    #[serde(default)]
    pub identities: Vec<String>,
    /// What it may do.
    #[serde(default)]
    pub grants: Vec<GrantSettings>,
    /// What it may administer: `numbers`, `callers`, `audit`, `outbox`, `subscriptions` or `vault` with `.view` or `.manage`
    /// behind it.
    #[serde(default)]
    pub admin: Vec<String>,
    /// How much it may send, over all numbers together.
    #[serde(default)]
    pub quota: QuotaSettings,
}

/// One `[[callers.grants]]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantSettings {
    /// Name of a number, or `*`.
    pub number: String,
    /// What is allowed on it.
    pub permissions: Vec<Permission>,
    /// Only these templates may be sent. Without any: everything.
    #[serde(default)]
    pub templates: Vec<String>,
    /// Only recipients that begin like this may be sent to. Without any: everyone.
    #[serde(default)]
    pub recipient_prefixes: Vec<String>,
}

/// One `[[jwt]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtSettings {
    /// Its stable name: a caller is known by `jwt:NAME/CLAIM`.
    pub name: String,
    /// Who makes the tokens: their `iss`.
    pub issuer: String,
    /// For whom they are made: one of these must be in their `aud`.
    pub audiences: Vec<String>,
    /// Where the keys are that they are signed with.
    pub jwks: JwksSettings,
    /// The algorithms that are taken. Default RS256, ES256 and EdDSA.
    #[serde(default)]
    pub algorithms: Option<Vec<String>>,
    /// The claim that tells the caller. Default `sub`.
    #[serde(default)]
    pub caller_claim: Option<String>,
    /// How far the clocks may differ. Default 60s.
    #[serde(default)]
    pub leeway: Option<Span>,
    /// How often the keys are read anew. Default 10m from a URL, 5s from a file.
    #[serde(default)]
    pub refresh: Option<Span>,
    /// How soon after the last time at the earliest, for a key that is not among them or after a failure. Default 30s.
    #[serde(default)]
    pub refresh_gap: Option<Span>,
}

/// The `jwks` of a `[[jwt]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JwksSettings {
    /// A file, read again when it changes.
    File(PathBuf),
    /// An address.
    Url(String),
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
        recipients: settings.audit.recipients,
    }
}

/// How messages are read back.
pub(super) fn reconcile(settings: &ReconcileSettings) -> ReconcileOptions {
    ReconcileOptions {
        per_second: settings.per_second,
        in_flight: settings.in_flight,
        first: settings.first.0,
        silence: settings.silence.0,
        longest: settings.longest.0,
        horizon: settings.horizon.0,
        read_first: settings.read_first.0,
        read_horizon: settings.read_horizon.0,
        doubt_first: settings.doubt_first.0,
        claim_retry: settings.claim_retry.0,
    }
}
