//! Planted secrets must show up nowhere: not in logs at trace level, answers, errors, debug prints or the database.

use std::{fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use pilotgate::{
    config,
    proto::v1,
    sandbox::{self, Fault, FaultKind, On},
};

use crate::support::{NUMBER, PATH_TOKEN, Place, READER, TOKEN, from_earliest, run, text};

/// Without the usual prefix, so that only its exact text can be recognised.
const KEY: &str = "NumberKeyCanary0123456789abcdef";
/// Some other key of the account, recognised by its prefix.
const OTHER_KEY: &str = "ps_OtherKeyCanary0123456789";
const SECRET: &str = "WebhookSecretCanary0123456789";
/// Not a secret: sent as metadata, so that it is found if the search works at all.
const CONTROL: &str = "ControlCanary0123456789";

/// Everything that the gateway lets out, by where it was found.
#[derive(Default)]
struct Haystack(Vec<(String, Vec<u8>)>);

impl Haystack {
    fn add(&mut self, place: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((place.into(), bytes.into()));
    }

    fn add_files(&mut self, directory: &Path) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            self.add(path.display().to_string(), fs::read(&path).unwrap());
        }
    }

    /// Where the text is found, as it is or in hexadecimal, base64 or reversed case.
    fn places(&self, text: &str) -> Vec<&str> {
        let forms =
            [text.to_owned(), hex::encode(text), STANDARD.encode(text), text.to_uppercase(), text.to_lowercase()];
        let holds =
            |bytes: &[u8]| forms.iter().any(|form| bytes.windows(form.len()).any(|window| window == form.as_bytes()));
        self.0.iter().filter(|(_, bytes)| holds(bytes)).map(|(place, _)| place.as_str()).collect()
    }
}

fn double() -> sandbox::Options {
    sandbox::Options {
        number_key: Some(KEY.to_owned()),
        webhook_secret: Some(SECRET.to_owned()),
        ..sandbox::Options::default()
    }
}

/// Drives a gateway through everything that handles a secret and collects what it lets out.
async fn exercised(format: &str) -> Haystack {
    let place = Place::new(double(), &format!("[log]\nlevel = \"trace\"\nformat = \"{format}\"\n")).await;
    let gateway = place.serve();
    let mut client = place.client().await;
    let mut haystack = Haystack::default();

    let sends = [
        v1::SendMessageRequest { metadata: [("control".to_owned(), CONTROL.to_owned())].into(), ..text(READER, "ok") },
        text("+5511987650012", "in doubt"),
        text("+5511987650012", "in doubt"),
        text("+5511987650017", "refused"),
        text("nonsense", "invalid"),
        v1::SendMessageRequest { number: KEY.to_owned(), ..text(READER, "a key for a number") },
    ];
    for request in sends {
        haystack.add("an answer to a send", format!("{:?}", client.send_message(request).await));
    }
    let unauthorized = Fault { times: Some(1), ..Fault::new(On::Send, FaultKind::Unauthorized) };
    place.double.control().add_fault(unauthorized).unwrap();
    // An upstream that repeats the key which it refuses.
    let echo = serde_json::json!({ "error": format!("key {KEY}, like '{OTHER_KEY}', is not known"), "code": "NO_KEY" });
    let echo = Fault { status: Some(403), body: Some(echo), times: Some(1), ..Fault::new(On::Send, FaultKind::Http) };
    place.double.control().add_fault(echo).unwrap();
    for id in ["key refused", "key repeated"] {
        let refused = client.send_message(text(READER, id)).await;
        haystack.add(id, format!("{:?}", refused.unwrap_err()));
    }
    let mut frames = client.stream_status_updates(from_earliest()).await.unwrap().into_inner();
    for _ in 0..8 {
        haystack.add("a frame", format!("{:?}", frames.message().await.unwrap()));
    }
    let cancel = v1::CancelMessagesRequest { message_ids: vec!["01970000-0000-7000-8000-000000000000".to_owned()] };
    haystack.add("an answer to a cancellation", format!("{:?}", client.cancel_messages(cancel).await));

    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for (path, body) in [
        (format!("/webhooks/{PATH_TOKEN}"), "not signed"),
        ("/webhooks/unknown".to_owned(), "{}"),
        (format!("/webhooks/{SECRET}"), "{}"),
        ("/nowhere".to_owned(), ""),
    ] {
        let answer = http
            .post(format!("http://{}{path}", place.http))
            .header("x-pilot-status-signature", "0".repeat(64))
            .body(body)
            .send()
            .await
            .unwrap();
        haystack.add("an answer to a webhook", format!("{answer:?}").replace(&path, "[path]"));
        haystack.add("an answer to a webhook", answer.text().await.unwrap());
    }
    drop((frames, client));
    // Killed, so that what was written last is still in the WAL.
    gateway.kill();
    haystack.add("the log", place.log());
    haystack.add_files(&place.path("data"));
    haystack
}

#[tokio::test]
async fn secrets_show_up_nowhere() {
    for format in ["text", "json"] {
        let haystack = exercised(format).await;
        assert!(haystack.places("TRACE").contains(&"the log"), "the log is not at trace level");
        let found = haystack.places(CONTROL);
        assert!(found.iter().any(|place| place.contains("pilotgate.db")), "the search finds nothing: {found:?}");
        for secret in [KEY, OTHER_KEY, SECRET, PATH_TOKEN, TOKEN] {
            assert_eq!(haystack.places(secret), Vec::<&str>::new(), "{format}");
        }
    }
}

#[tokio::test]
async fn misplaced_secrets_are_not_repeated_by_the_refusal() {
    let place = Place::new(double(), "").await;
    let number = |rest: &str| format!("[[numbers]]\nname = \"{NUMBER}\"\n{rest}\n");
    let configs = [
        number(&format!("key = [\"{KEY}\"]")),
        number(&format!("key = {{ fil = \"{KEY}\" }}")),
        number(&format!("key = {{ file = [\"{KEY}\"] }}")),
        number(&format!("key = {{ file = \"x\", env = \"{KEY}\" }}")),
        number(&format!("key = {{ file = \"{KEY}\" }}")),
        number(&format!("key = {{ env = \"{KEY}\" }}")),
        number(&format!("key = \"{KEY} with blanks\"")),
        number(&format!("kye = \"{KEY}\"")),
        number(&format!("key = \"{KEY}\"\nwebhook_token = \"{KEY}!\"")),
        number(&format!("key = \"{KEY}\"\nwebhook_secrets = \"{KEY}\"")),
        number(&format!("key = \"{KEY}\"\nwebhook_secrets = [{{ x = \"{KEY}\" }}]")),
        number(&format!("key = {KEY}")),
        number(&format!("key = \"{KEY}")),
        format!("[log]\nformat = \"{KEY}\"\n"),
        format!("[upstream]\ntimeout = \"{KEY}\"\nbase_url = \"{KEY}\"\n"),
        format!("[grpc]\nlisten = \"{KEY}\"\n"),
        format!("numbers = \"{KEY}\"\n"),
        format!("[upstream]\nbase_url = \"https://{KEY}@pilotstatus.example\"\n"),
    ];
    for config in configs {
        let file = place.write("misplaced.toml", &config);
        let (code, said) = run(&["serve", "--config", file.to_str().unwrap()]);
        assert_eq!(code, Some(1), "{config}\n{said}");
        assert!(!said.contains(KEY), "{config}\n{said}");
    }
}

#[tokio::test]
async fn debug_prints_hide_every_secret() {
    let place = Place::new(double(), "").await;
    let loaded = config::load(&place.path("pilotgate.toml")).unwrap();
    let printed = format!("{loaded:?} {loaded:#?} {:?}", pilotgate::keys::KeyRing::of(loaded.numbers.clone()));
    assert!(printed.contains("NumberKey(..)"), "{printed}");
    for secret in [KEY, SECRET, PATH_TOKEN, TOKEN] {
        assert!(!printed.contains(secret), "{printed}");
    }
}
