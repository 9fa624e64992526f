//! The configuration: gathered from the defaults, a file and the environment, checked whole before anything starts.
//!
//! The only reader of the environment. Each part of the gateway owns its `Options`; this room fills them. Every problem
//! is reported at once, each with the place where it stands, and none with the text of a secret.

mod bounds;
mod carriers;
mod issuers;
mod problems;
mod registry;
mod secrets;
pub mod settings;

use std::{
    mem,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use figment::{
    Figment,
    providers::{Env, Format, Toml},
};

use serde::de::DeserializeOwned;
use url::Url;

pub use self::{
    carriers::{ClientAuth, Grpc, Tls},
    registry::pacing,
    secrets::SecretRef,
    settings::Settings,
};
use crate::{
    domain::{caller::Caller, secret::TenantKey},
    fanout, http,
    identity::jwt,
    keys::Number,
    messaging, store,
    tracking::{self, registration},
    upstream,
    vault::{self, RootKey, RootKeyError},
};

/// Every setting with its default, as a configuration file.
pub const DEFAULTS: &str = include_str!("defaults.toml");

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The callers' port.
    pub grpc: Grpc,
    /// The port of administrators; `None`: they call where callers do.
    pub admin: Option<Grpc>,
    /// The HTTP port.
    pub http_listen: SocketAddr,
    /// How the HTTP port is bounded.
    pub http: http::Options,
    /// The upstream.
    pub upstream: upstream::Options,
    /// The store.
    pub store: store::Options,
    /// The use cases around a message.
    pub messaging: messaging::Options,
    /// The root keys.
    pub vault: vault::Options,
    /// How messages are read back.
    pub reconcile: tracking::ReconcileOptions,
    /// The streams.
    pub streams: fanout::Options,
    /// What comes in by itself.
    pub tracking: tracking::Options,
    /// How long what is kept is kept.
    pub retention: store::retention::Options,
    /// How webhooks are kept registered.
    pub registration: registration::Options,
    /// Below which address webhooks are registered, if they are.
    pub public_url: Option<Url>,
    /// The account-wide key.
    pub tenant_key: Option<TenantKey>,
    /// Longest time from the signal to the end of the process.
    pub shutdown_deadline: Duration,
    /// What is logged.
    pub log: Log,
    /// The registered numbers, with their keys.
    pub numbers: Vec<Number>,
    /// The registered callers.
    pub callers: Vec<Caller>,
    /// Whose tokens are taken beside our own.
    pub jwt: Vec<jwt::Options>,
    /// How long a token is accepted that is issued without a lifetime of its own; `None`: until it is revoked.
    pub token_lifetime: Option<Duration>,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Directives of `tracing_subscriber`'s `EnvFilter`.
    pub level: String,
    /// How entries are written.
    pub format: LogFormat,
}

/// How log entries are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is wrong with a configuration: one line for each problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

/// Reads a text in the shapes of a configuration file; unknown names and wrong types are told with the place where they
/// stand, and without the text of a secret.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, ConfigError> {
    Figment::from(Toml::string(text)).extract().map_err(|errors| ConfigError(problems::told(errors)))
}

/// Loads a configuration: defaults, then the file, then the environment.
pub fn load(file: &Path) -> Result<Config, ConfigError> {
    if !file.is_file() {
        return Err(ConfigError(vec![format!("{} is not a readable file", file.display())]));
    }
    let figment = Figment::from(Toml::string(DEFAULTS)).merge(Toml::file_exact(file)).merge(
        // Single names such as PILOTGATE_TOKEN belong to the client commands and to secrets.
        Env::prefixed("PILOTGATE_").filter(|name| name.as_str().contains("__")).split("__"),
    );
    check(settings::read(&figment)?, Some(file))
}

/// Checks settings made by a program. Secrets may stand in them.
pub fn check_in_memory(settings: Settings) -> Result<Config, ConfigError> {
    check(settings, None)
}

/// `file` is where secrets that stand in the settings were read from; `None` if from no file.
fn check(mut settings: Settings, file: Option<&Path>) -> Result<Config, ConfigError> {
    let mut wrong = Vec::new();
    let base_url = bounds::base_url("upstream.base_url", &settings.upstream.base_url, "number keys", &mut wrong);
    let public_url = match settings.webhooks.public_url.as_str() {
        "" => None,
        text => bounds::base_url("webhooks.public_url", text, "messages and path tokens", &mut wrong),
    };
    bounds::check(&settings, &mut wrong);
    let jwt = issuers::issuers(mem::take(&mut settings.jwt), &mut wrong);
    let (grpc, admin) = carriers::ports(&settings, &mut wrong);
    let repeats = bounds::repeats(&settings);
    let reconcile = settings::reconcile(&settings.reconcile);
    let exposed = file.map(PathBuf::from).filter(|file| secrets::is_exposed(file));
    let declared = settings.numbers.iter().map(|number| number.name.clone()).collect();
    let numbers =
        registry::numbers(mem::take(&mut settings.numbers), public_url.as_ref(), exposed.as_deref(), &mut wrong);
    let callers = registry::callers(mem::take(&mut settings.callers), &declared, &mut wrong);
    let vault = root_keys(mem::take(&mut settings.vault), exposed.as_deref(), &mut wrong);
    let tenant_key = settings.upstream.tenant_key.clone().and_then(|reference| {
        let key = reference.resolve(exposed.as_deref());
        let key = key.and_then(|text| TenantKey::from_secret(text).map_err(|error| error.0));
        key.map_err(|error| wrong.push(format!("upstream.tenant_key: {error}"))).ok()
    });
    let (Some(base_url), []) = (base_url, wrong.as_slice()) else {
        return Err(ConfigError(wrong));
    };
    Ok(Config {
        messaging: settings::messaging(&settings),
        vault,
        grpc,
        admin,
        http_listen: settings.http.listen,
        http: http::Options { max_body_bytes: settings.http.max_body_bytes },
        upstream: upstream::Options {
            base_url,
            timeout: settings.upstream.timeout.0,
            connect_timeout: settings.upstream.connect_timeout.0,
            max_in_flight: settings.upstream.max_in_flight,
            idle_timeout: settings.upstream.idle_timeout.0,
        },
        store: store::Options {
            directory: settings.store.directory,
            write_queue: settings.store.write_queue,
            commit_batch: settings.store.commit_batch,
            readers: settings.store.readers,
            recent: settings.store.recent,
            checks: reconcile.first_checks(),
            outbox: store::OutboxBounds { messages: settings.queue.max_messages, bytes: settings.queue.max_bytes },
        },
        reconcile,
        streams: fanout::Options {
            max_streams: settings.streams.max,
            page: settings.streams.page,
            live_bytes: settings.streams.live_bytes,
            drain_spread: settings.streams.drain_spread.0,
            max_subscriptions: settings.streams.max_subscriptions,
        },
        tracking: tracking::Options {
            read_back: settings.tracking.read_back,
            unattributed_after: settings.tracking.unattributed_after.0,
        },
        retention: store::retention::Options {
            events: settings.retention.events.0,
            messages: settings.retention.messages.0,
            open: settings.retention.open.0,
            early: settings.retention.early.0,
            subscriptions: settings.retention.subscriptions.0,
            audit: settings.retention.audit.0,
            max_bytes: settings.retention.max_bytes,
            repeats,
            interval: settings.retention.interval.0,
        },
        registration: registration::Options {
            check_interval: settings.webhooks.check_interval.0,
            on_drift: settings.webhooks.on_drift,
            // What happened goes with its update, and a status that waits for its message with those.
            remembered: settings.retention.events.0.min(settings.retention.early.0),
        },
        public_url,
        tenant_key,
        shutdown_deadline: settings.shutdown.deadline.0,
        log: Log { level: settings.log.level, format: settings.log.format },
        numbers,
        callers,
        jwt,
        token_lifetime: Some(settings.tokens.lifetime.0).filter(|lifetime| !lifetime.is_zero()),
    })
}

fn root_keys(settings: settings::VaultSettings, exposed: Option<&Path>, wrong: &mut Vec<String>) -> vault::Options {
    let mut first = |reference: &SecretRef, field: String| {
        let key = root_key(reference, exposed);
        key.map_err(|error| wrong.push(format!("{field}: {error}"))).ok()
    };
    let given = settings.root_key.and_then(|reference| {
        let key = first(&reference, "vault.root_key".to_owned())?;
        let again =
            reference.may_change().then(|| -> Arc<vault::ReadAgain> { Arc::new(move || root_key(&reference, None)) });
        Some(vault::Given { key, again })
    });
    let previous = settings.previous_root_keys.iter().enumerate();
    let previous = previous.filter_map(|(at, reference)| first(reference, format!("vault.previous_root_keys[{at}]")));
    let previous = previous.collect();
    vault::Options { given, previous }
}

fn root_key(reference: &SecretRef, exposed: Option<&Path>) -> Result<RootKey, RootKeyError> {
    let text = reference.clone().resolve(exposed).map_err(RootKeyError::Unread)?;
    RootKey::from_text(&text)
}

#[cfg(test)]
mod tests {
    use super::{settings::Span, *};

    #[test]
    fn reading_back_has_the_same_defaults_in_the_file_and_in_code() {
        let config = check_in_memory(Settings::defaults().unwrap()).unwrap();
        assert_eq!(config.reconcile, tracking::ReconcileOptions::default());
        assert_eq!(config.tracking.read_back, crate::domain::read_back::ReadBack::default());
        assert_eq!(config.store.checks, store::FirstChecks::default());
    }

    #[test]
    fn settings_that_would_end_reading_back_are_refused() {
        let mut settings = Settings::defaults().unwrap();
        let reconcile = &mut settings.reconcile;
        (reconcile.per_second, reconcile.in_flight) = (f64::NAN, 0);
        (reconcile.first, reconcile.silence) = (Span(Duration::from_secs(10)), Span(Duration::from_secs(9)));
        (reconcile.longest, reconcile.claim_retry) = (Span(Duration::ZERO), Span(Duration::from_secs(61)));
        let ConfigError(wrong) = check_in_memory(settings).unwrap_err();
        let expected = [
            "reconcile.in_flight: must be 1 to 10000",
            "reconcile.longest: must be 1ms to 2592000s",
            "reconcile.claim_retry: must be 1ms to 60s",
            "reconcile.per_second: must be 0.001 to 10000",
            "reconcile.silence: must not be shorter than reconcile.first",
        ];
        assert_eq!(wrong, expected);
    }
}
