//! What is stored: it outlives restarts, cannot be changed unseen, and is changed by one after the other.

use std::collections::BTreeSet;

use pilotgate::{
    domain::{
        caller::{Caller, Token},
        secret::TokenHash,
    },
    proto::admin::v1 as admin,
};
use tonic::Code;

use super::{CHIEF, Place, all, config, create, created, delete, disable, got, issued, lasting, refused, told, update};
use crate::support::error_of;

#[tokio::test]
async fn a_restart_keeps_everything() {
    let place = Place::new().await;
    let mut chief = place.callers(CHIEF).await;
    let request = admin::CreateCallerRequest {
        description: "The shop's backend".to_owned(),
        identities: vec!["jwt:https://idp.example/shop".to_owned(), "mtls:spiffe://prod/shop".to_owned()],
        admin_rights: vec!["outbox.view".to_owned()],
        quota: Some(admin::Quota { per_minute: Some(0), per_day: Some(1000) }),
        ..create("shop")
    };
    let made = created(&mut chief, request.clone()).await;
    assert_eq!(made.description, request.description);
    assert_eq!(made.identities, request.identities);
    assert_eq!(made.grants, request.grants);
    assert_eq!(made.admin_rights, request.admin_rights);
    assert_eq!(made.quota, request.quota);
    assert_eq!((made.state(), made.declared, made.create_time), (admin::CallerState::Enabled, false, made.update_time));
    created(&mut chief, create("idle")).await;
    chief.disable_caller(disable("idle", "")).await.unwrap();
    created(&mut chief, create("gone")).await;
    let gone = issued(&mut chief, "gone").await.token;
    chief.delete_caller(delete("gone", "")).await.unwrap();
    let token = issued(&mut chief, "shop").await.token;
    let before = all(&mut chief).await;
    drop(chief);

    let place = place.restarted().await;
    let mut chief = place.callers(CHIEF).await;
    assert_eq!(all(&mut chief).await, before);
    assert_eq!(place.refusal(&token).await, None);
    assert_eq!(place.refusal(&gone).await.as_deref(), Some("CREDENTIAL_INVALID"));
    drop(chief);
    place.down().await;
}

#[tokio::test]
async fn an_etag_guards_and_is_never_the_same_again() {
    let place = Place::new().await;
    let mut chief = place.callers(CHIEF).await;
    let first = created(&mut chief, create("shop")).await;
    let describe = |text: &str, etag: &str| admin::UpdateCallerRequest {
        etag: etag.to_owned(),
        ..update("shop", &["description"], admin::Caller { description: text.to_owned(), ..Default::default() })
    };
    let second = chief.update_caller(describe("one", &first.etag)).await.unwrap().into_inner().caller.unwrap();
    assert_eq!(second.description, "one");
    assert_eq!(refused(chief.update_caller(describe("two", &first.etag)).await), told(Code::Aborted, "ETAG_MISMATCH"));
    assert_eq!(refused(chief.delete_caller(delete("shop", &first.etag)).await), told(Code::Aborted, "ETAG_MISMATCH"));
    assert_eq!(got(&mut chief, "shop").await, second);
    // Nothing would be different, so the state stays the same one.
    let same = chief.update_caller(describe("one", "")).await.unwrap().into_inner().caller.unwrap();
    assert_eq!(same, second);
    chief.delete_caller(delete("shop", &second.etag)).await.unwrap();
    let third = created(&mut chief, create("shop")).await;
    assert!(third.etag != first.etag && third.etag != second.etag);
    drop(chief);
    place.down().await;
}

#[tokio::test]
async fn concurrent_updates_with_etags_lose_none() {
    const WRITERS: usize = 64;
    let place = Place::new().await;
    let mut chief = place.callers(CHIEF).await;
    created(&mut chief, create("shop")).await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|n| {
            let mut callers = chief.clone();
            tokio::spawn(async move {
                let mut lost = 0;
                loop {
                    let now = got(&mut callers, "shop").await;
                    let caller =
                        admin::Caller { description: format!("{}{n} ", now.description), ..Default::default() };
                    let request =
                        admin::UpdateCallerRequest { etag: now.etag, ..update("shop", &["description"], caller) };
                    match callers.update_caller(request).await {
                        Ok(_) => return lost,
                        refusal => {
                            assert_eq!(refused(refusal), told(Code::Aborted, "ETAG_MISMATCH"));
                            lost += 1;
                        }
                    }
                }
            })
        })
        .collect();
    let mut lost = 0;
    for writer in writers {
        lost += writer.await.unwrap();
    }
    let description = got(&mut chief, "shop").await.description;
    let seen: Vec<usize> = description.split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert_eq!(seen.len(), WRITERS);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), (0..WRITERS).collect());
    let acts = place.acts().await;
    let outcomes =
        |outcome: &str| acts.iter().filter(|act| act.action == "caller.update" && act.outcome == outcome).count();
    assert_eq!((outcomes("done"), outcomes("refused")), (WRITERS, lost));
    drop(chief);
    place.down().await;
}

#[tokio::test]
async fn a_record_that_was_tampered_with_or_moved_hides_no_other_and_can_be_deleted() {
    let place = Place::new().await;
    let mut chief = place.callers(CHIEF).await;
    for name in ["changed", "moved", "whole"] {
        created(&mut chief, create(name)).await;
    }
    let tokens = [issued(&mut chief, "changed").await.token, issued(&mut chief, "moved").await.token];
    let whole = issued(&mut chief, "whole").await.token;
    drop(chief);
    let world = place.down().await;
    let database = rusqlite::Connection::open(config(&world).store.directory.join("pilotgate.db")).unwrap();
    let touched = database.execute_batch(
        "UPDATE records SET sealed = CAST(substr(sealed, 1, length(sealed) - 1) || x'00' AS BLOB)
         WHERE kind = 'caller' AND name = 'changed';
         UPDATE records SET sealed = (SELECT sealed FROM records WHERE name = 'whole'),
             version = (SELECT version FROM records WHERE name = 'whole')
         WHERE kind = 'caller' AND name = 'moved';",
    );
    touched.unwrap();
    drop(database);

    let config = config(&world);
    let place = Place::with(world, config).await;
    let mut chief = place.callers(CHIEF).await;
    let listed = all(&mut chief).await;
    let lost: Vec<&str> = listed
        .iter()
        .filter(|caller| caller.state() == admin::CallerState::Unreadable)
        .map(|caller| caller.name.as_str())
        .collect();
    assert_eq!(lost, ["changed", "moved"]);
    assert_eq!(place.refusal(&whole).await, None);
    for token in &tokens {
        assert_eq!(place.refusal(token).await.as_deref(), Some("CREDENTIAL_INVALID"));
    }
    let changed = got(&mut chief, "changed").await;
    assert_eq!(changed.state(), admin::CallerState::Unreadable);
    let data_loss = told(Code::DataLoss, "RECORD_UNREADABLE");
    assert_eq!(refused(chief.disable_caller(disable("changed", "")).await), data_loss);
    for name in ["changed", "pilotgate"] {
        assert_eq!(refused(chief.create_caller(create(name)).await), told(Code::AlreadyExists, "NAME_TAKEN"), "{name}");
    }
    assert_eq!(refused(chief.delete_caller(delete("changed", "1")).await), told(Code::Aborted, "ETAG_MISMATCH"));
    chief.delete_caller(delete("changed", &changed.etag)).await.unwrap();
    created(&mut chief, create("changed")).await;
    drop(chief);

    let place = place.restarted().await;
    let mut chief = place.callers(CHIEF).await;
    let state = |callers: &[admin::Caller], name: &str| {
        callers.iter().find(|caller| caller.name == name).map(admin::Caller::state)
    };
    let listed = all(&mut chief).await;
    assert_eq!(state(&listed, "changed"), Some(admin::CallerState::Enabled));
    assert_eq!(state(&listed, "moved"), Some(admin::CallerState::Unreadable));
    drop(chief);
    place.down().await;
}

#[tokio::test]
async fn what_the_configuration_declares_besides_is_refused_at_start() {
    let place = Place::new().await;
    let mut chief = place.callers(CHIEF).await;
    created(&mut chief, create("shop")).await;
    let token = issued(&mut chief, "shop").await.token;
    drop(chief);
    let mut world = place.down().await;
    let token = Token::of(TokenHash::of(lasting(&token)));
    let twins = [
        ("shop", Vec::new(), "caller shop of the configuration has the name of caller shop in the data directory"),
        (
            "kiosk",
            vec![token],
            "of caller shop in the data directory already stands for caller kiosk of the configuration",
        ),
    ];
    for (name, tokens, expected) in twins {
        let mut config = config(&world);
        config.callers.push(Caller { tokens, ..Caller::named(name.to_owned().try_into().unwrap()) });
        let Err((error, kept)) = Place::try_with(world, config).await else { panic!("it started with {name}") };
        assert!(error.to_string().contains(expected), "{error}");
        world = kept;
    }
    let config = config(&world);
    Place::with(world, config).await.down().await;
}

#[tokio::test]
async fn lists_are_paged_in_the_order_of_names() {
    let place = Place::new().await;
    let mut chief = place.callers(CHIEF).await;
    for name in ["zoo", "ant"] {
        created(&mut chief, create(name)).await;
    }
    let mut names = Vec::new();
    let mut request = admin::ListCallersRequest { page_size: 3, ..Default::default() };
    let mut pages = 0;
    loop {
        let page = chief.list_callers(request.clone()).await.unwrap().into_inner();
        names.extend(page.callers.into_iter().map(|caller| caller.name));
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(names, ["ant", "auditor", "billing", "chief", "clerk", "orders", "viewer", "zoo"]);
    assert_eq!(pages, 3);
    request.page_token.push('x');
    request.page_size = -1;
    let fields: Vec<String> =
        error_of(chief.list_callers(request).await).violations.into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["page_size", "page_token"]);
    drop(chief);
    place.down().await;
}
