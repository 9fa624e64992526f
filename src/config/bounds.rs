//! Which values make sense: one by one, and together.

use std::time::Duration;

use url::Url;

use super::settings::Settings;

/// A URL over which these secrets travel: https, or http on loopback, where they cannot be overheard.
pub(super) fn base_url(setting: &str, text: &str, secrets: &str, wrong: &mut Vec<String>) -> Option<Url> {
    let mut refuse = |why: &str| {
        wrong.push(format!("{setting}: {why}"));
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
        "http" => refuse(&format!("must be https, since {secrets} travel over it; http is taken on loopback only")),
        _ => refuse("must be https"),
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
pub(super) fn check(settings: &Settings, wrong: &mut Vec<String>) {
    let counts: [(&str, usize, usize); 19] = [
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
        ("reconcile.in_flight", settings.reconcile.in_flight, 10_000),
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
        ("webhooks.check_interval", settings.webhooks.check_interval, Duration::from_millis(1), day),
        ("reconcile.first", settings.reconcile.first, Duration::from_millis(1), day),
        ("reconcile.silence", settings.reconcile.silence, Duration::from_millis(1), day),
        ("reconcile.longest", settings.reconcile.longest, Duration::from_millis(1), 30 * day),
        ("reconcile.horizon", settings.reconcile.horizon, Duration::ZERO, 365 * day),
        ("reconcile.read_first", settings.reconcile.read_first, Duration::from_millis(1), day),
        ("reconcile.read_horizon", settings.reconcile.read_horizon, Duration::ZERO, 365 * day),
        ("reconcile.doubt_first", settings.reconcile.doubt_first, Duration::from_millis(1), day),
        ("reconcile.claim_retry", settings.reconcile.claim_retry, Duration::from_millis(1), Duration::from_secs(60)),
        ("retention.audit", settings.retention.audit, day, 36_500 * day),
        ("retention.interval", settings.retention.interval, Duration::from_millis(1), day),
        ("tokens.lifetime", settings.tokens.lifetime, Duration::ZERO, 3650 * day),
        ("shutdown.deadline", settings.shutdown.deadline, Duration::from_millis(1), day),
    ];
    for (name, span, least, most) in spans {
        if !(least..=most).contains(&span.0) {
            wrong.push(format!("{name}: must be {least:?} to {most:?}"));
        }
    }
    if !(0.001..=10_000.0).contains(&settings.reconcile.per_second) {
        wrong.push("reconcile.per_second: must be 0.001 to 10000".to_owned());
    }
    if settings.reconcile.silence.0 < settings.reconcile.first.0 {
        wrong.push("reconcile.silence: must not be shorter than reconcile.first".to_owned());
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
    let lifetime = settings.tokens.lifetime.0;
    if !lifetime.is_zero() && lifetime < Duration::from_secs(60) {
        wrong.push("tokens.lifetime: must be 0, or 60s or more".to_owned());
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
