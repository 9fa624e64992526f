//! Tokens that others sign.

mod rotation;
mod signer;

use std::{path::Path, time::Duration};

use jsonwebtoken::{Algorithm, Header};
use pilotgate::{
    config::{
        self, Config,
        settings::{JwksSettings, JwtSettings, Span},
    },
    domain::sources::Sources,
    proto::v1::{self, messaging_service_client::MessagingServiceClient},
    server::{self, Gateway},
};
use serde_json::{Value, json};
use tonic::{Request, transport::Channel};

use self::signer::{Signer, keyed};
use crate::support::{READER, World, error_of, text};

const ISSUER: &str = "https://issuer.example.org";
const AUDIENCE: &str = "pilotgate";
/// Stands for the caller `orders`.
const SUBJECT: &str = "svc-orders";
/// What an accepted credential gets of a message that is not there.
const ACCEPTED: &str = "MESSAGE_NOT_FOUND";
const INVALID: &str = "CREDENTIAL_INVALID";
const EXPIRED: &str = "CREDENTIAL_EXPIRED";

fn key_set(signers: &[&Signer]) -> Value {
    json!({ "keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>() })
}

/// Seconds from now, as `exp` has them.
fn after(seconds: i64) -> i64 {
    jiff::Timestamp::now().as_second() + seconds
}

/// Good ones, with these changed; `null` takes one out.
fn claims(changed: Value) -> Value {
    let mut claims = json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": SUBJECT, "exp": after(300) });
    for (name, value) in changed.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

fn issuer(jwks: JwksSettings) -> JwtSettings {
    JwtSettings {
        name: "mesh".to_owned(),
        issuer: ISSUER.to_owned(),
        audiences: vec!["other".to_owned(), AUDIENCE.to_owned()],
        jwks,
        algorithms: None,
        caller_claim: None,
        leeway: None,
        refresh: Some(Span(Duration::from_millis(20))),
        refresh_gap: Some(Span(Duration::from_millis(20))),
    }
}

/// The caller `orders` is known by the subject.
fn believing(world: &World, issuers: Vec<JwtSettings>) -> Config {
    let mut settings = world.settings();
    settings.jwt = issuers;
    let mut config = config::check_in_memory(settings).unwrap();
    config.callers[0].identities = vec![format!("jwt:mesh/{SUBJECT}")];
    config
}

fn in_file(world: &World, set: &Value) -> JwksSettings {
    let file = world.directory.path().join("jwks.json");
    write(&file, set);
    JwksSettings::File(file)
}

/// In one step, so that no half of it is read.
fn write(file: &Path, set: &Value) {
    let next = file.with_extension("next");
    std::fs::write(&next, set.to_string()).unwrap();
    std::fs::rename(next, file).unwrap();
}

struct Calls(MessagingServiceClient<Channel>);

impl Calls {
    async fn to(gateway: &Gateway) -> Self {
        let channel = Channel::from_shared(format!("http://{}", gateway.grpc())).unwrap().connect().await.unwrap();
        Self(MessagingServiceClient::new(channel))
    }

    /// With what reason a call ends that shows this token and asks for what is not there.
    async fn reason(&mut self, token: &str) -> String {
        let key = Some(v1::get_message_request::Key::MessageId("01970000-0000-7000-8000-000000000000".to_owned()));
        let mut request = Request::new(v1::GetMessageRequest { key, ..Default::default() });
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        error_of(self.0.get_message(request).await).reason
    }

    /// Asks until a call ends like that; fails rather than ask for ever.
    async fn until(&mut self, token: &str, expected: &str) {
        let reached = async { while self.reason(token).await != expected {} };
        tokio::time::timeout(Duration::from_secs(20), reached).await.expect("not reached within 20 s");
    }
}

#[tokio::test]
async fn a_token_of_each_algorithm_stands_for_its_caller() {
    let world = World::new().await;
    let names = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
    let signers = names.map(|name| Signer::of(name, name.parse().unwrap()));
    let keys = in_file(&world, &key_set(&signers.each_ref()));
    let all = JwtSettings { algorithms: Some(names.map(str::to_owned).to_vec()), ..issuer(keys.clone()) };
    let gateway = world.gateway_with(believing(&world, vec![all])).await;
    let mut calls = Calls::to(&gateway).await;
    for signer in &signers {
        let token = signer.sign(&claims(json!({})));
        assert_eq!(calls.reason(&token).await, ACCEPTED, "{}", signer.id);
        // What was checked once is taken again.
        assert_eq!(calls.reason(&token).await, ACCEPTED, "{}", signer.id);
    }
    // And it may do what its caller may.
    let mut request = Request::new(text(READER, "by token"));
    let token = signers[6].sign(&claims(json!({ "aud": ["somebody", AUDIENCE] })));
    request.metadata_mut().insert("authorization", format!("bearer {token}").parse().unwrap());
    calls.0.send_message(request).await.unwrap();
    drop(calls);
    gateway.shutdown().await;

    let gateway = world.gateway_with(believing(&world, vec![issuer(keys)])).await;
    let mut calls = Calls::to(&gateway).await;
    for signer in &signers {
        let usual = ["RS256", "ES256", "EdDSA"].contains(&signer.id);
        let expected = if usual { ACCEPTED } else { INVALID };
        assert_eq!(calls.reason(&signer.sign(&claims(json!({})))).await, expected, "{}", signer.id);
    }
    world.end(calls, gateway).await;
}

#[tokio::test]
async fn nothing_is_taken_without_a_signature_of_the_issuer() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
    let world = World::new().await;
    let (rsa, ec) = (Signer::of("rsa", Algorithm::RS256), Signer::of("ec", Algorithm::ES256));
    let shared = json!({ "kty": "oct", "k": BASE64.encode("shared"), "alg": "HS256", "kid": "shared" });
    let set = json!({ "keys": [rsa.jwk(), ec.jwk(), shared] });
    let gateway = world.gateway_with(believing(&world, vec![issuer(in_file(&world, &set))])).await;
    let mut calls = Calls::to(&gateway).await;
    let good = rsa.sign(&claims(json!({})));
    assert_eq!(calls.reason(&good).await, ACCEPTED);

    let mut parts = good.split('.');
    let [header, payload, signature] = [(); 3].map(|()| parts.next().unwrap());
    let unsigned = |algorithm: &str| BASE64.encode(json!({ "alg": algorithm, "kid": "rsa" }).to_string());
    let others = BASE64.encode(claims(json!({ "exp": after(900) })).to_string());
    let keyed = |key: &[u8], id: &str| {
        let header = Header { kid: Some(id.to_owned()), ..Header::new(Algorithm::HS256) };
        self::keyed(&header, &claims(json!({})), key)
    };
    let jwk = rsa.jwk();
    let modulus = BASE64.decode(jwk["n"].as_str().unwrap()).unwrap();
    let stranger = Signer::of("ec", Algorithm::ES256);
    let mut smuggled = Header { kid: Some("ec".to_owned()), ..Header::new(Algorithm::ES256) };
    smuggled.jwk = Some(serde_json::from_value(stranger.jwk()).unwrap());
    let critical =
        Header { kid: Some("rsa".to_owned()), crit: Some(vec!["exp".to_owned()]), ..Header::new(Algorithm::RS256) };
    let wrong = [
        ("none", format!("{}.{payload}.", unsigned("none"))),
        ("none, spelt otherwise", format!("{}.{payload}.{signature}", unsigned("NoNe"))),
        ("no signature", format!("{header}.{payload}.")),
        ("the public key as a secret", keyed(jwk["n"].as_str().unwrap().as_bytes(), "rsa")),
        ("its bytes as a secret", keyed(&modulus, "rsa")),
        ("all of it as a secret", keyed(jwk.to_string().as_bytes(), "rsa")),
        ("a shared secret that is in the set", keyed(b"shared", "shared")),
        ("other claims", format!("{header}.{others}.{signature}")),
        ("another key", stranger.sign(&claims(json!({})))),
        ("another key that it brings along", stranger.sign_under(smuggled, &claims(json!({})))),
        (
            "the key of another algorithm",
            ec.sign_under(Header { kid: Some("rsa".to_owned()), ..Header::new(Algorithm::ES256) }, &claims(json!({}))),
        ),
        ("something that must be understood", rsa.sign_under(critical, &claims(json!({})))),
        ("nothing at all", "..".to_owned()),
        ("more than any token", format!("{header}.{}.{signature}", "A".repeat(9000))),
    ];
    for (what, token) in wrong {
        assert_eq!(calls.reason(&token).await, INVALID, "{what}");
    }
    world.end(calls, gateway).await;
}

#[tokio::test]
async fn a_token_is_taken_from_its_issuer_for_us_in_its_time_and_for_a_known_caller() {
    let world = World::new().await;
    let signer = Signer::of("ec", Algorithm::ES256);
    let keys = in_file(&world, &key_set(&[&signer]));
    let by_claim = JwtSettings {
        name: "by_claim".to_owned(),
        issuer: "https://second.example.org".to_owned(),
        caller_claim: Some("client_id".to_owned()),
        leeway: Some(Span(Duration::ZERO)),
        ..issuer(keys.clone())
    };
    let mut config = believing(&world, vec![issuer(keys), by_claim]);
    config.callers[1].identities = vec!["jwt:by_claim/billing".to_owned()];
    let gateway = world.gateway_with(config).await;
    let mut calls = Calls::to(&gateway).await;
    let second = json!({ "iss": "https://second.example.org", "client_id": "billing" });
    let second_with = |name: &str, value: Value| {
        let mut claims = second.clone();
        claims[name] = value;
        claims
    };
    let cases = [
        (json!({}), ACCEPTED),
        (json!({ "iss": "https://elsewhere.example.org" }), INVALID),
        (json!({ "iss": null }), INVALID),
        (json!({ "aud": "somebody" }), INVALID),
        (json!({ "aud": ["somebody", "somebody else"] }), INVALID),
        (json!({ "aud": [] }), INVALID),
        (json!({ "aud": null }), INVALID),
        (json!({ "aud": "other" }), ACCEPTED),
        (json!({ "exp": null }), INVALID),
        (json!({ "exp": "tomorrow" }), INVALID),
        (json!({ "exp": 1e300 }), INVALID),
        (json!({ "exp": 4_000_000_000.5 }), ACCEPTED),
        // The clocks may differ by a minute.
        (json!({ "exp": after(-30) }), ACCEPTED),
        (json!({ "exp": after(-90) }), EXPIRED),
        (json!({ "nbf": after(30) }), ACCEPTED),
        (json!({ "nbf": after(90) }), INVALID),
        (json!({ "nbf": "tomorrow" }), INVALID),
        (json!({ "sub": "svc-stranger" }), INVALID),
        (json!({ "sub": "" }), INVALID),
        (json!({ "sub": null }), INVALID),
        (json!({ "sub": 7 }), INVALID),
        (second.clone(), ACCEPTED),
        (second_with("client_id", json!(SUBJECT)), INVALID),
        (second_with("client_id", json!(null)), INVALID),
        (second_with("exp", json!(after(-1))), EXPIRED),
        // Nobody speaks for another issuer.
        (json!({ "sub": "billing" }), INVALID),
    ];
    for (changed, expected) in cases {
        assert_eq!(calls.reason(&signer.sign(&claims(changed.clone()))).await, expected, "{changed}");
    }
    // The only key there is needs no name.
    let unnamed = signer.sign_under(Header::new(Algorithm::ES256), &claims(json!({})));
    assert_eq!(calls.reason(&unnamed).await, ACCEPTED);
    world.end(calls, gateway).await;
}

#[tokio::test]
async fn a_token_that_was_taken_is_refused_once_it_has_expired() {
    let world = World::new().await;
    let signer = Signer::of("ec", Algorithm::ES256);
    let strict = JwtSettings { leeway: Some(Span(Duration::ZERO)), ..issuer(in_file(&world, &key_set(&[&signer]))) };
    let gateway = world.gateway_with(believing(&world, vec![strict])).await;
    let mut calls = Calls::to(&gateway).await;
    let token = signer.sign(&claims(json!({ "exp": after(2) })));
    assert_eq!(calls.reason(&token).await, ACCEPTED);
    calls.until(&token, EXPIRED).await;
    world.end(calls, gateway).await;
}

#[tokio::test]
async fn wrong_issuers_are_told_all_at_once() {
    let world = World::new().await;
    let mut settings = world.settings();
    let wrong = JwtSettings {
        name: "a/b".to_owned(),
        issuer: String::new(),
        audiences: Vec::new(),
        algorithms: Some(vec!["HS256".to_owned(), "none".to_owned()]),
        caller_claim: Some(String::new()),
        leeway: Some(Span(Duration::from_secs(7200))),
        ..issuer(JwksSettings::Url("http://issuer.example.org/keys".to_owned()))
    };
    let twice = issuer(JwksSettings::File("jwks.json".into()));
    settings.jwt = vec![wrong, twice.clone(), twice];
    let known = "must be one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA";
    let expected = [
        "name: must be 1 to 64 characters of A-Z, a-z, 0-9, '-', '_' and '.'".to_owned(),
        "issuer: must not be empty".to_owned(),
        "audiences: must not be empty: a token made for somebody else must not be taken".to_owned(),
        "jwks.url: must be https, since the keys that decide who is believed travel over it; http is taken on loopback \
         only"
            .to_owned(),
        format!("algorithms: \"HS256\" {known}"),
        format!("algorithms: \"none\" {known}"),
        "caller_claim: must not be empty".to_owned(),
        "leeway: must be 0ns to 3600s".to_owned(),
    ];
    let expected: Vec<String> = expected.iter().map(|problem| format!("jwt \"a/b\": {problem}")).collect();
    let told = config::check_in_memory(settings).unwrap_err().0;
    assert_eq!(told, [&expected[..], &["jwt \"mesh\": is there twice".to_owned()]].concat());

    let missing = JwksSettings::File(world.directory.path().join("missing.json"));
    let start = server::start(believing(&world, vec![issuer(missing)]), Sources::system()).await;
    let refused = start.err().unwrap().to_string();
    assert!(refused.starts_with("jwt \"mesh\": cannot read "), "{refused}");
    world.double.shutdown().await;
}
