//! What the audit log says, and where a token is never seen.

use std::fs;

use pilotgate::proto::admin::v1 as admin;
use prost::Message;
use tonic::Code;

use super::{CHIEF, CLERK, Place, all, create, created, delete, disable, got, grant, issued, refused, told, update};
use crate::support::NUMBER;

#[tokio::test]
async fn every_act_is_in_the_log_with_what_it_changed() {
    let place = Place::new().await;
    let mut chief = place.callers(CHIEF).await;
    use admin::Permission::{Read, Send};
    let first = created(&mut chief, create("shop")).await;
    let grants = vec![grant("*", &[Send, Read]), grant(NUMBER, &[Send])];
    let request = admin::SetGrantsRequest {
        name: "shop".to_owned(),
        grants,
        reason: "a number more".to_owned(),
        ..Default::default()
    };
    let second = chief.set_grants(request).await.unwrap().into_inner().caller.unwrap();
    let caller = admin::Caller {
        description: "Shop".to_owned(),
        quota: Some(admin::Quota { per_minute: Some(10), per_day: None }),
        ..Default::default()
    };
    chief.update_caller(update("shop", &["description", "quota"], caller)).await.unwrap();
    let issued = issued(&mut chief, "shop").await;
    let stale = chief.disable_caller(disable("shop", &first.etag)).await;
    assert_eq!(refused(stale), told(Code::Aborted, "ETAG_MISMATCH"));
    chief.disable_caller(disable("shop", "")).await.unwrap();
    let last = got(&mut chief, "shop").await;
    chief.delete_caller(delete("shop", &last.etag)).await.unwrap();

    let acts = place.acts().await;
    assert!(acts.iter().all(|act| act.actor == "chief" && act.subject == "caller/shop"));
    assert!(acts.iter().all(|act| act.from.as_deref() == Some("127.0.0.1")));
    assert!(acts.iter().all(|act| act.credential.as_ref().is_some_and(|shown| shown.starts_with("token:"))));
    let line = |index: usize| (&*acts[index].action, &*acts[index].outcome, acts[index].reason.as_deref());
    let detail = |index: usize| {
        let mut detail = acts[index].detail.clone();
        detail.remove("etag");
        detail.into_iter().collect::<Vec<_>>()
    };
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
    };
    let wide = r#"{ number = "*", permissions = ["send", "read"] }"#;
    let one = format!(r#"{{ number = "{NUMBER}", permissions = ["send"] }}"#);
    assert_eq!(line(0), ("caller.create", "done", Some("a new service")));
    assert_eq!(detail(0), pairs(&[("grants.after", wide), ("state.after", "enabled")]));
    assert_eq!(acts[0].detail["etag"], first.etag);
    assert_eq!(line(1), ("caller.grants.set", "done", Some("a number more")));
    assert_eq!(detail(1), pairs(&[("grants.after", &one)]));
    assert_eq!(acts[1].detail["etag"], second.etag);
    assert_eq!(line(2), ("caller.update", "done", None));
    assert_eq!(detail(2), pairs(&[("description.after", "Shop"), ("quota.after", "10 per minute")]));
    assert_eq!(line(3), ("caller.token.issue", "done", None));
    assert_eq!(detail(3), pairs(&[("tokens.after", &issued.token_id)]));
    assert_eq!(line(4), ("caller.disable", "refused", None));
    assert_eq!(detail(4), pairs(&[("error", "caller shop was changed meanwhile")]));
    assert_eq!(line(5), ("caller.disable", "done", None));
    assert_eq!(detail(5), pairs(&[("state.after", "disabled"), ("state.before", "enabled")]));
    assert_eq!(line(6), ("caller.delete", "done", None));
    let before = format!("{wide}, {one}");
    let gone = [
        ("description.before", "Shop"),
        ("grants.before", &*before),
        ("quota.before", "10 per minute"),
        ("state.before", "disabled"),
        ("tokens.before", &*issued.token_id),
    ];
    assert_eq!(detail(6), pairs(&gone));
    assert_eq!(acts.len(), 7);
    drop(chief);
    place.down().await;
}

#[tokio::test]
async fn a_token_is_seen_in_the_one_answer_and_nowhere_else() {
    let place = Place::new().await;
    let (mut chief, mut clerk) = (place.callers(CHIEF).await, place.callers(CLERK).await);
    created(&mut chief, create("shop")).await;
    let first = issued(&mut chief, "shop").await;
    let rotate =
        admin::RotateTokenRequest { name: "shop".to_owned(), token_id: first.token_id.clone(), ..Default::default() };
    let second = chief.rotate_token(rotate).await.unwrap().into_inner();
    assert_eq!((place.refusal(&first.token).await, place.refusal(&second.token).await), (None, None));
    // A token is never taken for one that it is like.
    let stray = format!("{}x", second.token);
    assert_eq!(place.refusal(&stray).await.as_deref(), Some("CREDENTIAL_INVALID"));

    let mut shown = Vec::new();
    shown.push(second.caller.clone().unwrap().encode_to_vec());
    shown.extend(all(&mut clerk).await.iter().map(Message::encode_to_vec));
    let revoke =
        admin::RevokeTokenRequest { name: "shop".to_owned(), token_id: second.token_id.clone(), ..Default::default() };
    shown.push(chief.revoke_token(revoke).await.unwrap().into_inner().encode_to_vec());
    shown.extend(place.acts().await.iter().map(|act| serde_json::to_vec(act).unwrap()));
    drop((chief, clerk));
    let world = place.down().await;
    let files = fs::read_dir(world.settings().store.directory).unwrap();
    let files: Vec<Vec<u8>> = files.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(files.iter().any(|bytes| bytes.starts_with(b"SQLite format 3")));
    shown.extend(files);
    for token in [&first.token, &second.token] {
        // Neither whole nor the half that would make guessing the rest possible.
        for part in [&token[..], &token[4..26], &token[26..47]] {
            assert!(shown.iter().all(|bytes| !bytes.windows(part.len()).any(|window| window == part.as_bytes())));
        }
        let hash = pilotgate::domain::secret::TokenHash::of(token).to_hex();
        assert!(shown.iter().all(|bytes| !bytes.windows(64).any(|window| window == hash.as_bytes())));
    }
}
