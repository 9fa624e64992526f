//! Keys of an issuer that change, and addresses that do not answer.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use jsonwebtoken::Algorithm;
use pilotgate::config::settings::{JwksSettings, JwtSettings, Span};
use serde_json::json;
use tokio::{net::TcpListener, task::AbortHandle};

use super::{ACCEPTED, Calls, INVALID, Signer, believing, claims, in_file, issuer, key_set, write};
use crate::support::{World, until};

/// An address with keys.
#[derive(Clone)]
struct Published {
    answer: Arc<Mutex<(StatusCode, String)>>,
    asked: Arc<AtomicUsize>,
}

impl Published {
    async fn open(status: StatusCode, body: String) -> (Self, JwksSettings, AbortHandle) {
        let published = Self { answer: Arc::new(Mutex::new((status, body))), asked: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let answer = |State(published): State<Self>| async move {
            published.asked.fetch_add(1, Ordering::SeqCst);
            published.answer.lock().unwrap().clone()
        };
        let router = Router::new().route("/keys", get(answer)).with_state(published.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (published, JwksSettings::Url(url), serving.abort_handle())
    }

    fn answers(&self, status: StatusCode, body: String) {
        *self.answer.lock().unwrap() = (status, body);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Until an answer that was asked for after now has been read: the next question comes after it.
    async fn read(&self) {
        let before = self.asked();
        until(|| self.asked() >= before + 2).await;
    }
}

#[tokio::test]
async fn keys_in_a_file_are_exchanged() {
    let world = World::new().await;
    let (old, new) = (Signer::of("old", Algorithm::ES256), Signer::of("new", Algorithm::EdDSA));
    let keys = in_file(&world, &key_set(&[&old]));
    let JwksSettings::File(file) = keys.clone() else { unreachable!() };
    let gateway = world.gateway_with(believing(&world, vec![issuer(keys)])).await;
    let mut calls = Calls::to(&gateway).await;
    let (by_old, by_new) = (old.sign(&claims(json!({}))), new.sign(&claims(json!({}))));
    assert_eq!((calls.reason(&by_old).await, calls.reason(&by_new).await), (ACCEPTED.into(), INVALID.into()));
    write(&file, &key_set(&[&old, &new]));
    calls.until(&by_new, ACCEPTED).await;
    assert_eq!(calls.reason(&by_old).await, ACCEPTED);
    // A token that was checked by a key is refused with the key.
    write(&file, &key_set(&[&new]));
    calls.until(&by_old, INVALID).await;
    assert_eq!(calls.reason(&by_new).await, ACCEPTED);
    world.end(calls, gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_answers_nothing_of_use_takes_no_key_away() {
    let world = World::new().await;
    let signer = Signer::of("ec", Algorithm::ES256);
    let set = key_set(&[&signer]);
    let (published, url, serving) = Published::open(StatusCode::OK, set.to_string()).await;
    let gateway = world.gateway_with(believing(&world, vec![issuer(url)])).await;
    let mut calls = Calls::to(&gateway).await;
    let mut padded = set.clone();
    padded["padding"] = json!("x".repeat(1 << 20));
    // Each token is new, so that its signature is checked by a key that is still there.
    for (at, (status, body)) in [
        (StatusCode::INTERNAL_SERVER_ERROR, set.to_string()),
        (StatusCode::OK, "not json".to_owned()),
        (StatusCode::OK, json!({ "keys": [] }).to_string()),
        (StatusCode::OK, padded.to_string()),
        (StatusCode::FOUND, set.to_string()),
    ]
    .into_iter()
    .enumerate()
    {
        published.answers(status, body);
        published.read().await;
        assert_eq!(calls.reason(&signer.sign(&claims(json!({ "jti": at })))).await, ACCEPTED, "after answer {at}");
    }
    serving.abort();
    assert_eq!(calls.reason(&signer.sign(&claims(json!({ "jti": "gone" })))).await, ACCEPTED);
    world.end(calls, gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_does_not_answer_at_the_start_is_asked_again() {
    let world = World::new().await;
    let signer = Signer::of("ec", Algorithm::ES256);
    let (published, url, serving) = Published::open(StatusCode::SERVICE_UNAVAILABLE, String::new()).await;
    let slow = JwtSettings { refresh: Some(Span(Duration::from_secs(3600))), ..issuer(url) };
    let gateway = world.gateway_with(believing(&world, vec![slow])).await;
    let mut calls = Calls::to(&gateway).await;
    let token = signer.sign(&claims(json!({})));
    assert_eq!(calls.reason(&token).await, INVALID);
    published.answers(StatusCode::OK, key_set(&[&signer]).to_string());
    calls.until(&token, ACCEPTED).await;
    world.end(calls, gateway).await;
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_not_there_are_asked_for_seldom() {
    let world = World::new().await;
    let (old, new) = (Signer::of("old", Algorithm::ES256), Signer::of("new", Algorithm::ES256));
    let (published, url, serving) = Published::open(StatusCode::OK, key_set(&[&old]).to_string()).await;
    let gap = Duration::from_millis(300);
    let seldom =
        JwtSettings { refresh: Some(Span(Duration::from_secs(3600))), refresh_gap: Some(Span(gap)), ..issuer(url) };
    let gateway = world.gateway_with(believing(&world, vec![seldom])).await;
    let mut calls = Calls::to(&gateway).await;
    assert_eq!(published.asked(), 1);
    let began = Instant::now();
    let by_new = new.sign(&claims(json!({})));
    // However many such tokens come, the address is asked once in a while.
    while published.asked() < 3 {
        assert_eq!(calls.reason(&by_new).await, INVALID);
    }
    assert!(began.elapsed() > gap, "asked {} times within {:?}", published.asked(), began.elapsed());
    published.answers(StatusCode::OK, key_set(&[&old, &new]).to_string());
    calls.until(&by_new, ACCEPTED).await;
    assert_eq!(calls.reason(&old.sign(&claims(json!({})))).await, ACCEPTED);
    world.end(calls, gateway).await;
    serving.abort();
}
