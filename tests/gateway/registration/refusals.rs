//! What is in the way of registering, and what is told about it.

use std::{
    cell::RefCell,
    io,
    sync::{Arc, Mutex, Once},
};

use pilotgate::{
    config::ConfigError,
    sandbox::{Fault, FaultKind, On},
    tracking::registration::RegistrationError,
};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use super::*;

/// What the gateways of one test log, which all run on its thread.
#[derive(Clone, Default)]
pub(super) struct Logs(Arc<Mutex<Vec<u8>>>);

/// Follows until it is dropped.
pub(super) struct Following;

thread_local! {
    static FOLLOWED: RefCell<Option<Logs>> = const { RefCell::new(None) };
}

/// One subscriber for the whole process: with one for each thread, what is logged first by a thread that has none is
/// never logged again.
static SUBSCRIBER: Once = Once::new();

impl Logs {
    /// Collects everything that the gateway itself logs on this thread.
    pub(super) fn follow(&self) -> Following {
        SUBSCRIBER.call_once(|| {
            let builder = tracing_subscriber::fmt().with_env_filter(EnvFilter::new("off,pilotgate=trace"));
            tracing::subscriber::set_global_default(builder.with_ansi(false).with_writer(ByThread).finish()).unwrap();
            tracing::callsite::rebuild_interest_cache();
        });
        FOLLOWED.set(Some(self.clone()));
        Following
    }

    /// What was collected since the last time.
    pub(super) fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        FOLLOWED.set(None);
    }
}

struct ByThread;

impl MakeWriter<'_> for ByThread {
    type Writer = Logs;

    /// What nobody follows goes nowhere.
    fn make_writer(&self) -> Logs {
        FOLLOWED.with_borrow(Clone::clone).unwrap_or_default()
    }
}

impl io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The error of the number, once there is one.
async fn error(gateway: &Gateway) -> RegistrationError {
    until(|| state(gateway).error.is_some()).await;
    state(gateway).error.unwrap()
}

#[tokio::test]
async fn a_refused_key_is_told_once_and_keeps_no_message_back() {
    let world = World::new().await;
    let control = world.double.control();
    let logs = Logs::default();
    let _guard = logs.follow();
    let mut settings = settings(&world);
    settings.upstream.tenant_key = Some(inline("ps_not-a-key-of-this-account"));
    let gateway = start(settings).await;
    let refused = error(&gateway).await;
    assert!(matches!(&refused, RegistrationError::KeyRefused(refusal) if refusal.status == 401), "{refused:?}");
    assert_eq!(refused.to_string(), "the key is refused: HTTP 401: Unauthorized");
    let lists = || control.requests().iter().filter(|request| request.path == "/v1/webhooks").count();
    until(|| lists() >= 4).await;
    let mut client = client(&gateway).await;
    send(&mut client, text(READER, "x")).await;
    assert_eq!((state(&gateway).id, state(&gateway).checked_at), (None, None));
    drop(client);
    gateway.shutdown().await;
    let told = logs.take();
    let warnings: Vec<&str> = told.lines().filter(|line| line.contains(" WARN ")).collect();
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert!(warning.contains("number=wn_sandbox error=the key is refused: HTTP 401: Unauthorized"), "{warning}");
    world.double.shutdown().await;
}

#[tokio::test]
async fn each_refusal_is_told_apart() {
    let shown = |error: &RegistrationError| error.to_string();
    for (upstream_id, status, code, expected) in [
        (UPSTREAM_ID, 403, "PERMISSION_DENIED", "the key may not manage webhooks: HTTP 403 PERMISSION_DENIED: no"),
        (
            UPSTREAM_ID,
            400,
            "NUMBER_REQUIRED",
            "which number is meant is not understood, see its upstream_id: HTTP 400 NUMBER_REQUIRED: no",
        ),
        (UPSTREAM_ID, 404, "NO_SUCH_PAGE", "not found: HTTP 404 NO_SUCH_PAGE: no"),
        (UPSTREAM_ID, 429, "RATE_LIMITED", "refused: HTTP 429 RATE_LIMITED: no"),
        (UPSTREAM_ID, 502, "BAD_GATEWAY", "no usable answer: HTTP 502: no"),
        (UPSTREAM_ID, 200, "ODD", "no usable answer: the answer lists no webhooks"),
        (
            "wn_of_somebody_else",
            0,
            "",
            "which number is meant is not understood, see its upstream_id: HTTP 400 NUMBER_MISMATCH: The key belongs to \
             another number",
        ),
    ] {
        let world = World::new().await;
        let mut settings = settings(&world);
        settings.numbers[0].upstream_id = Some(upstream_id.to_owned());
        if status != 0 {
            let body = Some(json!({ "error": "no", "code": code }));
            let fault = Fault { status: Some(status), body, ..Fault::new(On::Any, FaultKind::Http) };
            world.double.control().add_fault(fault).unwrap();
        }
        let gateway = start(settings).await;
        assert_eq!(shown(&error(&gateway).await), expected);
        // What was in the way is gone, and so is the error.
        world.double.control().clear_faults();
        if status != 0 {
            until(|| state(&gateway).error.is_none()).await;
            assert_eq!(Registry::of(&world).all().await, [right(&state(&gateway).id.unwrap())]);
        }
        gateway.shutdown().await;
        world.double.shutdown().await;
    }
}

#[tokio::test]
async fn a_gateway_serves_while_pilot_status_is_away_and_registers_when_it_is_back() {
    let world = World::new().await;
    let settings = settings(&world);
    let down = world.down().await;
    let gateway = start(settings).await;
    let unavailable = error(&gateway).await;
    assert!(matches!(unavailable, RegistrationError::Unavailable { .. }), "{unavailable:?}");
    let client = client(&gateway).await;
    let world = down.up().await;
    until(|| state(&gateway).checked_at.is_some()).await;
    assert_eq!(state(&gateway).error, None);
    assert_eq!(Registry::of(&world).all().await, [right(&state(&gateway).id.unwrap())]);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_look_that_hangs_holds_up_neither_the_start_nor_the_end() {
    let world = World::new().await;
    let control = world.double.control();
    control.add_fault(Fault { ms: Some(60_000), ..Fault::new(On::Any, FaultKind::Delay) }).unwrap();
    let gateway = start(settings(&world)).await;
    until(|| control.requests().len() == 1).await;
    let ended = tokio::time::timeout(Duration::from_secs(5), gateway.shutdown()).await;
    assert!(ended.is_ok(), "the end waited for the look");
    world.double.shutdown().await;
}

#[tokio::test]
async fn neither_token_nor_key_is_logged_or_told() {
    let world = World::new().await;
    let (control, account) = (world.double.control(), world.double.account());
    let logs = Logs::default();
    let _guard = logs.follow();
    let mut settings = settings(&world);
    settings.upstream.tenant_key = Some(inline(&account.tenant_key));
    // An upstream that repeats what it refuses.
    let (key, tenant_key) = (&account.numbers[0].key, &account.tenant_key);
    let echo = json!({ "error": format!("{REGISTERED_URL} is not for {tenant_key} or {key}"), "code": PATH_TOKEN });
    let config = config::check_in_memory(settings).unwrap();
    let mut shown = format!("{config:?} {config:#?}");
    let refuse = |status| {
        control.clear_faults();
        let body = Some(echo.clone());
        control.add_fault(Fault { status: Some(status), body, ..Fault::new(On::Any, FaultKind::Http) }).unwrap();
    };
    refuse(400);
    let gateway = server::start(config, Sources::system()).await.unwrap();
    for status in [400, 404, 500] {
        refuse(status);
        let error = || state(&gateway).error.map(|error| error.to_string()).unwrap_or_default();
        until(|| error().contains(&status.to_string())).await;
        shown += &format!("{} {:?}", error(), state(&gateway));
    }
    control.clear_faults();
    until(|| state(&gateway).checked_at.is_some()).await;
    let (registry, id) = (Registry::of(&world), state(&gateway).id.unwrap());
    let changes = [json!({ "active": false, "events": [] }), json!({ "url": "https://elsewhere.example.com/hook" })];
    for (index, change) in changes.into_iter().enumerate() {
        registry.change(&id, change).await;
        until(|| state(&gateway).writes == index as u64 + 2).await;
    }
    shown += &format!("{:?}", gateway.registration().state());
    gateway.shutdown().await;
    let told = logs.take();
    for entry in ["the webhook had been changed", "the webhook could not be looked after"] {
        assert!(told.contains(entry), "the log is not complete: {entry}");
    }
    for secret in [PATH_TOKEN, key, tenant_key, account.webhook_secret.as_str()] {
        assert!(!told.contains(secret), "{secret} is logged");
        assert!(!shown.contains(secret), "{secret} is shown");
    }
    world.double.shutdown().await;
}

#[tokio::test]
async fn an_address_over_which_secrets_could_be_overheard_is_refused() {
    let world = World::new().await;
    let overheard = "webhooks.public_url: must be https, since messages and path tokens travel over it; http is taken on \
                     loopback only";
    for (public_url, expected) in [
        ("http://hooks.example.com", overheard),
        ("http://10.0.0.1/hooks", overheard),
        ("ftp://hooks.example.com", "webhooks.public_url: must be https"),
        ("hooks.example.com", "webhooks.public_url: must be an absolute URL"),
        ("https://me:secret@hooks.example.com", "webhooks.public_url: must not carry credentials"),
        ("https://hooks.example.com/?a=b", "webhooks.public_url: must not carry a query or a fragment"),
        ("https://hooks.example.com/#a", "webhooks.public_url: must not carry a query or a fragment"),
    ] {
        let mut settings = settings(&world);
        settings.webhooks.public_url = public_url.to_owned();
        let ConfigError(wrong) = config::check_in_memory(settings).unwrap_err();
        assert_eq!(wrong, [expected], "{public_url}");
    }
    for public_url in ["https://hooks.example.com", "http://127.0.0.1:8080", "http://[::1]:8080/a", "http://localhost"]
    {
        let mut settings = settings(&world);
        settings.webhooks.public_url = public_url.to_owned();
        assert!(config::check_in_memory(settings).is_ok(), "{public_url}");
    }
    let mut settings = settings(&world);
    settings.webhooks.check_interval = Span(Duration::ZERO);
    settings.upstream.tenant_key = Some(inline("with blanks"));
    let ConfigError(wrong) = config::check_in_memory(settings).unwrap_err();
    assert_eq!(
        wrong,
        [
            "webhooks.check_interval: must be 1ms to 86400s",
            "upstream.tenant_key: must be 8 to 512 visible ASCII characters without blanks",
        ]
    );
    world.double.shutdown().await;
}
