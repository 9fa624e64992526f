//! Tokens: issued once, expiring, replaced with a grace, revoked; and callers that are disabled.

use std::time::Duration;

use jiff::SignedDuration;
use pilotgate::{domain::secret::CallerToken, proto::admin::v1 as admin};
use tonic::Code;

use super::{CHIEF, Callers, Place, config, create, created, disable, got, issued, refused, told};
use crate::support::World;

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn rotate(name: &str, token_id: &str, grace: Option<prost_types::Duration>) -> admin::RotateTokenRequest {
    admin::RotateTokenRequest { name: name.to_owned(), token_id: token_id.to_owned(), grace, ..Default::default() }
}

fn revoke(name: &str, token_id: &str) -> admin::RevokeTokenRequest {
    admin::RevokeTokenRequest { name: name.to_owned(), token_id: token_id.to_owned(), ..Default::default() }
}

async fn states(callers: &mut Callers, name: &str) -> Vec<admin::TokenState> {
    got(callers, name).await.tokens.iter().map(admin::Token::state).collect()
}

#[tokio::test]
async fn a_token_works_at_once_and_until_it_expires() {
    let place = Place::new().await;
    let mut chief = place.callers(CHIEF).await;
    created(&mut chief, create("shop")).await;
    let request = admin::IssueTokenRequest { name: "shop".to_owned(), lifetime: seconds(60), ..Default::default() };
    let answer = chief.issue_token(request).await.unwrap().into_inner();
    assert!(CallerToken::has_shape(&answer.token));
    let [token] = &answer.caller.unwrap().tokens[..] else { panic!("one token") };
    assert_eq!((&token.id, token.state()), (&answer.token_id, admin::TokenState::Live));
    let lives = token.expire_time.unwrap().seconds - token.create_time.unwrap().seconds;
    assert_eq!(lives, 60);
    assert_eq!(place.refusal(&answer.token).await, None);
    assert_eq!(place.send_refusal(&answer.token).await, None);

    place.forward(SignedDuration::from_secs(61));
    assert_eq!(place.refusal(&answer.token).await.as_deref(), Some("CREDENTIAL_EXPIRED"));
    assert_eq!(states(&mut chief, "shop").await, [admin::TokenState::Expired]);

    // It is remembered for 90 days and dropped with the next change.
    place.forward(SignedDuration::from_hours(90 * 24));
    assert_eq!(states(&mut chief, "shop").await, [admin::TokenState::Expired]);
    issued(&mut chief, "shop").await;
    assert_eq!(states(&mut chief, "shop").await, [admin::TokenState::Live]);
    assert_eq!(place.refusal(&answer.token).await.as_deref(), Some("CREDENTIAL_INVALID"));
    drop(chief);
    place.down().await;
}

#[tokio::test]
async fn a_token_without_a_lifetime_gets_the_one_of_the_settings() {
    let world = World::new().await;
    let mut config = config(&world);
    config.token_lifetime = Some(Duration::from_secs(3600));
    let place = Place::with(world, config).await;
    let mut chief = place.callers(CHIEF).await;
    created(&mut chief, create("shop")).await;
    let token = issued(&mut chief, "shop").await.caller.unwrap().tokens.remove(0);
    assert_eq!(token.expire_time.unwrap().seconds - token.create_time.unwrap().seconds, 3600);
    drop(chief);
    let place = place.restarted().await;
    let mut chief = place.callers(CHIEF).await;
    assert_eq!(issued(&mut chief, "shop").await.caller.unwrap().tokens[1].expire_time, None, "the default is none");
    drop(chief);
    place.down().await;
}

#[tokio::test]
async fn a_replaced_token_lives_for_the_grace_and_no_longer_than_before() {
    let place = Place::new().await;
    let mut chief = place.callers(CHIEF).await;
    created(&mut chief, create("shop")).await;
    let first = issued(&mut chief, "shop").await;
    let second = chief.rotate_token(rotate("shop", &first.token_id, seconds(100))).await.unwrap().into_inner();
    assert_ne!(first.token, second.token);
    place.forward(SignedDuration::from_secs(98));
    assert_eq!(place.refusal(&first.token).await, None);
    // A longer grace does not prolong what is about to end.
    let third = chief.rotate_token(rotate("shop", &first.token_id, seconds(1000))).await.unwrap().into_inner();
    place.forward(SignedDuration::from_secs(3));
    assert_eq!(place.refusal(&first.token).await.as_deref(), Some("CREDENTIAL_EXPIRED"));
    let again = chief.rotate_token(rotate("shop", &first.token_id, None)).await;
    assert_eq!(refused(again), told(Code::FailedPrecondition, "WRONG_STATE"));

    // Without a grace of its own it is a day; with none the old one ends at once.
    let fourth = chief.rotate_token(rotate("shop", &second.token_id, None)).await.unwrap().into_inner();
    place.forward(SignedDuration::from_secs(24 * 3600 - 5));
    assert_eq!(place.refusal(&second.token).await, None);
    place.forward(SignedDuration::from_secs(6));
    assert_eq!(place.refusal(&second.token).await.as_deref(), Some("CREDENTIAL_EXPIRED"));
    chief.rotate_token(rotate("shop", &third.token_id, seconds(0))).await.unwrap();
    assert_eq!(place.refusal(&third.token).await.as_deref(), Some("CREDENTIAL_EXPIRED"));
    assert_eq!(place.refusal(&fourth.token).await, None);
    drop(chief);
    place.down().await;
}

#[tokio::test]
async fn a_revoked_token_and_those_of_a_disabled_caller_are_invalid() {
    let place = Place::new().await;
    let mut chief = place.callers(CHIEF).await;
    created(&mut chief, create("shop")).await;
    let (one, other) = (issued(&mut chief, "shop").await, issued(&mut chief, "shop").await);
    let caller = chief.revoke_token(revoke("shop", &one.token_id)).await.unwrap().into_inner().caller.unwrap();
    assert!(caller.tokens[0].revoke_time.is_some() && caller.tokens[1].revoke_time.is_none());
    assert_eq!(place.refusal(&one.token).await.as_deref(), Some("CREDENTIAL_INVALID"));
    assert_eq!(place.refusal(&other.token).await, None);
    assert_eq!(states(&mut chief, "shop").await, [admin::TokenState::Revoked, admin::TokenState::Live]);

    let caller = chief.disable_caller(disable("shop", "")).await.unwrap().into_inner().caller.unwrap();
    assert_eq!(caller.state(), admin::CallerState::Disabled);
    assert_eq!(place.refusal(&other.token).await.as_deref(), Some("CREDENTIAL_INVALID"));
    let enable = admin::EnableCallerRequest { name: "shop".to_owned(), ..Default::default() };
    let caller = chief.enable_caller(enable).await.unwrap().into_inner().caller.unwrap();
    assert_eq!(caller.state(), admin::CallerState::Enabled);
    assert_eq!(place.refusal(&other.token).await, None);
    assert_eq!(place.refusal(&one.token).await.as_deref(), Some("CREDENTIAL_INVALID"), "revoked for ever");

    let unknown = chief.revoke_token(revoke("shop", "0123456789ab")).await;
    assert_eq!(refused(unknown), told(Code::NotFound, "NOT_REGISTERED"));
    drop(chief);
    place.down().await;
}

#[tokio::test]
async fn a_caller_has_at_most_twenty_live_tokens() {
    let place = Place::new().await;
    let mut chief = place.callers(CHIEF).await;
    created(&mut chief, create("shop")).await;
    let first = issued(&mut chief, "shop").await;
    for _ in 1..20 {
        issued(&mut chief, "shop").await;
    }
    let request = admin::IssueTokenRequest { name: "shop".to_owned(), ..Default::default() };
    assert_eq!(refused(chief.issue_token(request.clone()).await), told(Code::FailedPrecondition, "WRONG_STATE"));
    assert_eq!(states(&mut chief, "shop").await, [admin::TokenState::Live; 20]);
    chief.rotate_token(rotate("shop", &first.token_id, seconds(0))).await.unwrap();
    assert_eq!(refused(chief.issue_token(request).await), told(Code::FailedPrecondition, "WRONG_STATE"));
    drop(chief);
    place.down().await;
}

#[tokio::test]
async fn spans_and_ids_are_bounded() {
    let place = Place::new().await;
    let mut chief = place.callers(CHIEF).await;
    for lifetime in [0, 59, 3650 * 86_400 + 1, -1] {
        let lifetime = seconds(lifetime);
        let request = admin::IssueTokenRequest { name: "shop".to_owned(), lifetime, ..Default::default() };
        let told = crate::support::error_of(chief.issue_token(request).await);
        assert_eq!((told.code, told.violations[0].0.as_str()), (Code::InvalidArgument, "lifetime"));
    }
    let request = admin::RotateTokenRequest {
        lifetime: seconds(59),
        etag: "no etag".to_owned(),
        reason: "x".repeat(501),
        ..rotate("Shop", "not an id", seconds(90 * 86_400 + 1))
    };
    let fields: Vec<String> = crate::support::error_of(chief.rotate_token(request).await)
        .violations
        .into_iter()
        .map(|(field, _)| field)
        .collect();
    assert_eq!(fields, ["name", "etag", "reason", "token_id", "grace", "lifetime"]);
    drop(chief);
    place.down().await;
}
