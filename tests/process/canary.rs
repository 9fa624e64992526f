//! Planted secrets must show up nowhere: not in logs at trace level, answers, errors, debug prints or the database.

use std::fs;

use clap::Parser;
use pilotgate::{
    cli::Cli,
    config::{
        self, Settings,
        settings::{CallerSettings, NumberSettings, PaceSettings},
    },
    domain::{
        secret::{CallerToken, TokenHash},
        sources::Sources,
    },
    identity::Identity,
    keys::KeyRing,
    proto::v1,
    sandbox::{self, Fault, FaultKind, On},
};
use secrecy::SecretString;

use crate::{
    haystack::Haystack,
    support::{Bearer, NUMBER, PATH_TOKEN, Place, READER, TOKEN, from_earliest, run_with, text},
};

/// Without the usual prefix, so that only its exact text can be recognised; with characters that many ways of writing
/// would change.
const KEY: &str = "NumberKey+Canary/0123456789abcdef=";
/// A key that the gateway does not know, recognised by its prefix.
const TENANT_KEY: &str = "ps_TenantKeyCanary0123456789";
const SECRET: &str = "WebhookSecretCanary0123456789";
/// A token that is nobody's.
const STRAY_TOKEN: &str = "pgt_StrayTokenCanary0123456789";
/// Too short for a path token.
const SHORT_TOKEN: &str = "ShortCanary123";
/// Not a secret: sent as metadata, so that it is found if the search works at all.
const CONTROL: &str = "ControlCanary0123456789";

const SECRETS: [&str; 6] = [KEY, TENANT_KEY, SECRET, PATH_TOKEN, TOKEN, STRAY_TOKEN];

fn double() -> sandbox::Options {
    sandbox::Options {
        number_key: Some(KEY.to_owned()),
        tenant_key: Some(TENANT_KEY.to_owned()),
        webhook_secret: Some(SECRET.to_owned()),
        ..sandbox::Options::default()
    }
}

/// Drives a gateway through everything that handles a secret and collects what it lets out.
async fn exercised(format: &str) -> Haystack {
    let place = Place::new(double(), &format!("[log]\nlevel = \"trace\"\nformat = \"{format}\"\n")).await;
    // It looks after its webhook all the time, and is first refused with what it must not repeat.
    let config = fs::read_to_string(place.path("pilotgate.toml")).unwrap();
    let webhooks = format!("[webhooks]\npublic_url = \"http://{}\"\ncheck_interval = \"50ms\"\n", place.http);
    place.write("pilotgate.toml", &(config + &webhooks));
    let control = place.double.control();
    let echo = serde_json::json!({ "error": format!("http://{}/webhooks/{PATH_TOKEN} for {KEY}", place.http) });
    let refusal = Fault { status: Some(400), body: Some(echo), times: Some(1), ..Fault::new(On::Any, FaultKind::Http) };
    control.add_fault(refusal).unwrap();
    let gateway = place.serve();
    drop(place.client().await);
    let is_repaired = || control.requests().iter().any(|request| request.method == "PATCH");
    let repaired = async {
        while !is_repaired() {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), repaired).await.expect("not repaired within 20 s");
    let mut haystack = Haystack::default();
    call(&place, &mut haystack).await;
    knock(&place, &mut haystack).await;
    // Killed, so that what was written last is still in the WAL.
    gateway.kill();
    haystack.add_files(&place.path("data"));
    let gateway = place.serve();
    drop(place.client().await);
    gateway.signal("TERM");
    assert!(tokio::task::spawn_blocking(move || gateway.wait()).await.unwrap().success());
    haystack.add_files(&place.path("data"));
    haystack.add("the log", place.log());
    haystack
}

/// Every call, with everything that can become of it.
async fn call(place: &Place, haystack: &mut Haystack) {
    let mut client = place.client().await;
    let in_an_hour = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
    let sends = [
        v1::SendMessageRequest { metadata: [("control".to_owned(), CONTROL.to_owned())].into(), ..text(READER, "ok") },
        v1::SendMessageRequest { deliver_at: Some(in_an_hour.into()), ..text(READER, "later") },
        text("+5511987650012", "in doubt"),
        text("+5511987650012", "in doubt"),
        text("+5511987650017", "refused"),
        text("nonsense", "invalid"),
        v1::SendMessageRequest { number: KEY.to_owned(), ..text(READER, "a key for a number") },
    ];
    let mut ids = vec!["01970000-0000-7000-8000-000000000000".to_owned()];
    for request in sends {
        let answer = client.send_message(request).await;
        haystack.add("an answer to a send", format!("{answer:?}"));
        ids.extend(answer.ok().and_then(|sent| sent.into_inner().message).map(|message| message.message_id));
    }
    let unauthorized = |on| Fault { times: Some(1), ..Fault::new(on, FaultKind::Unauthorized) };
    // An upstream that repeats the key which it refuses.
    let echo =
        serde_json::json!({ "error": format!("key {KEY}, like '{TENANT_KEY}', is not known"), "code": "NO_KEY" });
    let echo =
        |on| Fault { status: Some(403), body: Some(echo.clone()), times: Some(1), ..Fault::new(on, FaultKind::Http) };
    for (index, fault) in [unauthorized(On::Send), echo(On::Send)].into_iter().enumerate() {
        place.double.control().add_fault(fault).unwrap();
        let refused = client.send_message(text(READER, &format!("key refused {index}"))).await;
        haystack.add("a key refused", format!("{:?}", refused.unwrap_err()));
    }
    for (on, id) in [(None, &ids[1]), (Some(On::Status), &ids[2]), (None, &ids[0])] {
        on.map(|on| place.double.control().add_fault(echo(on))).transpose().unwrap();
        let key = Some(v1::get_message_request::Key::MessageId(id.clone()));
        let answer = client.get_message(v1::GetMessageRequest { key, refresh: true }).await;
        assert_eq!(answer.is_err(), on.is_some() || id == &ids[0]);
        haystack.add("an answer to a look-up", format!("{answer:?}"));
    }
    for fault in [Some(echo(On::Cancel)), None] {
        fault.map(|fault| place.double.control().add_fault(fault)).transpose().unwrap();
        let answer = client.cancel_messages(v1::CancelMessagesRequest { message_ids: ids.clone() }).await;
        haystack.add("an answer to a cancellation", format!("{answer:?}"));
    }
    let streamed = client.stream_status_updates(from_earliest()).await.unwrap();
    haystack.add("the metadata of a stream", format!("{:?}", streamed.metadata()));
    let mut frames = streamed.into_inner();
    let mut told = String::new();
    while !(told.contains("Read") && told.contains("Canceled")) {
        told += &format!("{:?}\n", frames.message().await.unwrap());
    }
    haystack.add("the frames of a stream", told);
    for token in [STRAY_TOKEN, KEY] {
        let refused = place.client_as(Bearer(token)).await.send_message(text(READER, "stray")).await.unwrap_err();
        haystack.add("a token refused", format!("{refused:?}"));
    }
}

/// Every kind of HTTP request, signed and not.
async fn knock(place: &Place, haystack: &mut Haystack) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let webhook = format!("/webhooks/{PATH_TOKEN}");
    for (status, path, signature, body) in [
        (401, webhook.as_str(), "0".repeat(64).as_str(), "not signed"),
        (401, webhook.as_str(), SECRET, "{}"),
        (404, "/webhooks/unknown", "", "{}"),
        (404, &format!("/webhooks/{SECRET}"), "", "{}"),
        (404, &format!("/webhooks/{PATH_TOKEN}/more"), "", "{}"),
        (404, "/nowhere", "", ""),
    ] {
        let request = http.post(format!("http://{}{path}", place.http));
        let answer = request.header("x-pilot-status-signature", signature).body(body).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        // The address that was asked is no answer of the gateway.
        haystack.add("the head of an answer", format!("{:?}", answer.headers()));
        haystack.add("the body of an answer", answer.text().await.unwrap());
    }
    // Signed by the double, about a message that nobody knows.
    let delivered = place.double.control().emit(r#"{"event":"message.sent","data":{"id":"x"}}"#, None).unwrap();
    assert_eq!(delivered, 1);
}

#[tokio::test]
async fn secrets_show_up_nowhere() {
    for format in ["text", "json"] {
        let haystack = exercised(format).await;
        assert!(haystack.places("TRACE").contains(&"the log"), "the log is not at trace level");
        for told in ["the webhook could not be looked after", "the webhook had been changed; it was repaired"] {
            assert_eq!(haystack.places(told), ["the log"]);
        }
        let found = haystack.places(CONTROL);
        for place in ["an answer to a send", "the frames of a stream", "pilotgate.db", "pilotgate.db-wal"] {
            assert!(found.contains(&place), "the search does not find what lies in {place}: {found:?}");
        }
        for secret in SECRETS {
            assert_eq!(haystack.places(secret), Vec::<&str>::new(), "{secret}, {format}");
        }
    }
}

#[tokio::test]
async fn misplaced_secrets_are_not_repeated_by_the_refusal() {
    let place = Place::new(double(), "").await;
    let number = |rest: &str| format!("[[numbers]]\nname = \"{NUMBER}\"\n{rest}\n");
    let caller = |rest: &str| format!("[[callers]]\nname = \"orders\"\n{rest}\n");
    let door = format!("key = \"{KEY}\"\nwebhook_token = \"{PATH_TOKEN}\"");
    let configs = [
        number(&format!("key = [\"{KEY}\"]")),
        number(&format!("key = {{ fil = \"{KEY}\" }}")),
        number(&format!("key = {{ file = [\"{KEY}\"] }}")),
        number(&format!("key = {{ file = \"x\", env = \"{KEY}\" }}")),
        number(&format!("key = {{ env = \"{KEY}\" }}")),
        number(&format!("key = {{ env = \"{TENANT_KEY}\" }}")),
        number(&format!("key = {{ file = \"{TENANT_KEY}\" }}")),
        number(&format!("key = \"{KEY} with blanks\"")),
        number(&format!("kye = \"{KEY}\"")),
        number(&format!("key = \"{KEY}\"\nphone = \"{KEY}\"")),
        number(&format!("key = \"{KEY}\"\nwebhook_token = \"{KEY}!\"")),
        number(&format!("key = \"{KEY}\"\nwebhook_token = \"{SHORT_TOKEN}\"")),
        number(&format!("key = \"{KEY}\"\nwebhook_secrets = \"{KEY}\"")),
        number(&format!("key = \"{KEY}\"\nwebhook_secrets = [{{ x = \"{KEY}\" }}]")),
        number(&format!("key = \"{KEY}\"\nwebhook_secrets = [\"{SECRET} \"]")),
        number(&format!("key = {KEY}")),
        number(&format!("key = \"{KEY}")),
        number(&format!("key = \"{KEY}\"\nkey = \"{KEY}\"")),
        [number(&door), number(&door).replace(NUMBER, "other")].concat(),
        caller(&format!("token_hashes = [\"{TOKEN}\"]")),
        caller(&format!("token_hashes = \"{TOKEN}\"")),
        caller(&format!("token_hashes = []\ntoken = \"{TOKEN}\"")),
        format!("[log]\nformat = \"{KEY}\"\n"),
        format!("[log]\nlevel = \"{KEY}=,\"\n"),
        format!("[upstream]\ntimeout = \"{KEY}\"\nbase_url = \"{KEY}\"\n"),
        format!("[upstream]\nkey = \"{KEY}\"\n"),
        format!("[grpc]\nlisten = \"{KEY}\"\n"),
        format!("numbers = \"{KEY}\"\n"),
        format!("[upstream]\nbase_url = \"https://{TENANT_KEY}@pilotstatus.example\"\n"),
        format!("[upstream]\nbase_url = \"https://pilotstatus.example/?key={TENANT_KEY}\"\n"),
        format!("[upstream]\ntenant_key = [\"{TENANT_KEY}\"]\n"),
        format!("[upstream]\ntenant_key = \"{TENANT_KEY} \"\n"),
        format!("[webhooks]\npublic_url = \"https://{TENANT_KEY}@hooks.example\"\n"),
        format!("[webhooks]\npublic_url = \"{PATH_TOKEN}\"\non_drift = \"{PATH_TOKEN}\"\n"),
    ];
    let refused = |config: &str, environment: &[(&str, &str)]| {
        let file = place.write("misplaced.toml", config);
        let (code, said) = run_with(&["serve", "--config", file.to_str().unwrap()], environment);
        assert_eq!(code, Some(1), "{config}\n{said}");
        let mut haystack = Haystack::default();
        haystack.add("the refusal", format!("{said}{CONTROL}"));
        assert_eq!(haystack.places(CONTROL), ["the refusal"]);
        for secret in SECRETS.into_iter().chain([SHORT_TOKEN]) {
            assert!(haystack.places(secret).is_empty(), "{config}\n{said}");
        }
    };
    for config in &configs {
        refused(config, &[]);
    }
    for name in ["PILOTGATE_UPSTREAM__BASE_URL", "PILOTGATE_GRPC__LISTEN", "PILOTGATE_UPSTREAM__KEY"] {
        refused("", &[(name, TENANT_KEY)]);
    }
}

#[test]
fn debug_prints_hide_every_secret() {
    let inline = |text: &str| config::SecretRef::Inline(SecretString::from(text));
    let mut settings = Settings::defaults().unwrap();
    settings.numbers = vec![NumberSettings {
        name: NUMBER.to_owned(),
        upstream_id: None,
        phone: None,
        key: inline(KEY),
        webhook_token: Some(inline(PATH_TOKEN)),
        webhook_secrets: vec![inline(SECRET)],
        pace: PaceSettings::default(),
        read_back: None,
        quota: Default::default(),
    }];
    settings.callers = vec![CallerSettings {
        name: "orders".to_owned(),
        token_hashes: vec![TokenHash::of(TOKEN).to_hex()],
        ..Default::default()
    }];
    settings.upstream.tenant_key = Some(inline(TENANT_KEY));
    settings.webhooks.public_url = "https://hooks.example.com".to_owned();
    let config = config::check_in_memory(settings.clone()).unwrap();
    let token = CallerToken::generate(&Sources::system());
    let line = Cli::try_parse_from(["pilotgate", "get", "an-id", "--token", STRAY_TOKEN]).unwrap();
    let ring = KeyRing::of(config.numbers.clone(), config.tenant_key.clone());
    let identity = Identity::of(config.callers.clone());
    let mut haystack = Haystack::default();
    let all: [(&str, &dyn std::fmt::Debug); 6] = [
        ("settings", &settings),
        ("config", &config),
        ("keys", &ring),
        ("identity", &identity),
        ("token", &token),
        ("command line", &line),
    ];
    for (place, value) in all {
        haystack.add(place, format!("{value:?} {value:#?}"));
    }
    assert_eq!(haystack.places(NUMBER), ["settings", "config", "keys"], "the search finds nothing");
    for hidden in ["NumberKey(..)", "TenantKey(..)", "WebhookUrl(..)"] {
        assert_eq!(haystack.places(hidden), ["config", "keys"]);
    }
    for secret in SECRETS.into_iter().chain([token.expose()]) {
        assert!(haystack.places(secret).is_empty(), "{secret}: {:?}", haystack.places(secret));
    }
}
