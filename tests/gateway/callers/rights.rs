//! What a caller may do, who may change it, and that nobody gives what it does not hold.

use pilotgate::proto::admin::v1 as admin;
use tonic::Code;

use super::{
    CHIEF, CLERK, Callers, Place, VIEWER, all, create, created, delete, disable, got, grant, issued, refused, told,
    update,
};
use crate::support::{NUMBER, TOKEN, error_of};

fn rights(words: &[&str]) -> admin::Caller {
    admin::Caller { admin_rights: words.iter().map(|word| (*word).to_owned()).collect(), ..Default::default() }
}

async fn set_grants(callers: &mut Callers, name: &str, grants: Vec<admin::Grant>) -> admin::Caller {
    let request = admin::SetGrantsRequest { name: name.to_owned(), grants, ..Default::default() };
    callers.set_grants(request).await.unwrap().into_inner().caller.unwrap()
}

/// Every RPC of the service, with what it is answered.
async fn every_rpc(callers: &mut Callers, name: &str) -> Vec<(&'static str, Result<(), tonic::Status>)> {
    let name = name.to_owned();
    let token_id = "0123456789ab".to_owned();
    let enable = admin::EnableCallerRequest { name: name.clone(), ..Default::default() };
    let issue = admin::IssueTokenRequest { name: name.clone(), ..Default::default() };
    let rotate = admin::RotateTokenRequest { name: name.clone(), token_id: token_id.clone(), ..Default::default() };
    let revoke = admin::RevokeTokenRequest { name: name.clone(), token_id, ..Default::default() };
    let grants = admin::SetGrantsRequest { name: name.clone(), ..Default::default() };
    let description = update(&name, &["description"], admin::Caller::default());
    vec![
        ("GetCaller", callers.get_caller(admin::GetCallerRequest { name: name.clone() }).await.map(drop)),
        ("ListCallers", callers.list_callers(admin::ListCallersRequest::default()).await.map(drop)),
        ("CreateCaller", callers.create_caller(create(&name)).await.map(drop)),
        ("UpdateCaller", callers.update_caller(description).await.map(drop)),
        ("DisableCaller", callers.disable_caller(disable(&name, "")).await.map(drop)),
        ("EnableCaller", callers.enable_caller(enable).await.map(drop)),
        ("DeleteCaller", callers.delete_caller(delete(&name, "")).await.map(drop)),
        ("IssueToken", callers.issue_token(issue).await.map(drop)),
        ("RotateToken", callers.rotate_token(rotate).await.map(drop)),
        ("RevokeToken", callers.revoke_token(revoke).await.map(drop)),
        ("SetGrants", callers.set_grants(grants).await.map(drop)),
    ]
}

#[tokio::test]
async fn every_rpc_takes_its_right() {
    let place = Place::new().await;
    let before = all(&mut place.callers(VIEWER).await).await;
    for (token, looks) in [(TOKEN, false), (VIEWER, true)] {
        for (index, (rpc, answer)) in every_rpc(&mut place.callers(token).await, "shop").await.into_iter().enumerate() {
            match (rpc, looks) {
                ("GetCaller", true) => assert_eq!(refused(answer), told(Code::NotFound, "NOT_REGISTERED")),
                ("ListCallers", true) => assert!(answer.is_ok()),
                _ => {
                    let error = error_of(answer);
                    assert_eq!((error.code, &*error.reason), (Code::PermissionDenied, "NOT_ADMINISTRATOR"), "{rpc}");
                    let right = if index < 2 { "callers.view" } else { "callers.manage" };
                    assert_eq!(error.metadata["right"], right, "{rpc}");
                }
            }
        }
    }
    for (rpc, answer) in every_rpc(&mut place.callers("pgt_nobody").await, "shop").await {
        assert_eq!(refused(answer), told(Code::Unauthenticated, "CREDENTIAL_INVALID"), "{rpc}");
    }
    assert_eq!(all(&mut place.callers(VIEWER).await).await, before);
    // Eleven of one without any right, nine of one who may look; those who are nobody leave nothing.
    assert_eq!(place.acts().await.len(), 20);
    place.down().await;
}

#[tokio::test]
async fn those_of_the_configuration_are_listed_and_not_changed() {
    let place = Place::new().await;
    let mut chief = place.callers(CHIEF).await;
    let orders = got(&mut chief, "orders").await;
    assert!(orders.declared && orders.etag.is_empty() && orders.create_time.is_none());
    use admin::Permission::{Cancel, Read, Send};
    assert_eq!(orders.grants, [grant("*", &[Send, Cancel, Read])]);
    for (rpc, answer) in every_rpc(&mut chief, "orders").await {
        match rpc {
            "GetCaller" | "ListCallers" => assert!(answer.is_ok()),
            "CreateCaller" => assert_eq!(refused(answer), told(Code::AlreadyExists, "NAME_TAKEN")),
            _ => assert_eq!(refused(answer), told(Code::FailedPrecondition, "DECLARED_IN_CONFIGURATION"), "{rpc}"),
        }
    }
    assert_eq!(got(&mut chief, "orders").await, orders);
    for (rpc, answer) in every_rpc(&mut chief, "nobody").await {
        match rpc {
            "ListCallers" | "CreateCaller" => assert!(answer.is_ok()),
            // It was created and deleted by then.
            "IssueToken" | "RotateToken" | "RevokeToken" | "SetGrants" | "GetCaller" => {
                assert_eq!(refused(answer), told(Code::NotFound, "NOT_REGISTERED"), "{rpc}");
            }
            _ => assert!(answer.is_ok(), "{rpc}: {answer:?}"),
        }
    }
    drop(chief);
    place.down().await;
}

#[tokio::test]
async fn grants_act_at_once_and_name_registered_numbers() {
    let place = Place::new().await;
    let mut clerk = place.callers(CLERK).await;
    let shop = created(&mut clerk, admin::CreateCallerRequest { grants: Vec::new(), ..create("shop") }).await;
    let token = issued(&mut clerk, "shop").await.token;
    assert_eq!(place.send_refusal(&token).await.as_deref(), Some("NUMBER_NOT_GRANTED"));
    let narrow = admin::Grant {
        templates: vec!["order_update".to_owned()],
        recipient_prefixes: vec!["+55".to_owned()],
        ..grant("*", &[admin::Permission::Read])
    };
    use admin::Permission::{Read, Send};
    // Permissions come back in one order, each once.
    let asked = vec![grant(NUMBER, &[Read, Send, Read]), narrow.clone()];
    let granted = set_grants(&mut clerk, "shop", asked).await;
    assert_eq!(granted.grants, [grant(NUMBER, &[Send, Read]), narrow]);
    assert_ne!(granted.etag, shop.etag);
    assert_eq!(place.send_refusal(&token).await, None);
    set_grants(&mut clerk, "shop", Vec::new()).await;
    assert_eq!(place.send_refusal(&token).await.as_deref(), Some("NUMBER_NOT_GRANTED"));

    let bad = |index: i32| admin::Grant { permissions: vec![index], ..grant("*", &[]) };
    let long = admin::Grant { recipient_prefixes: vec!["1".repeat(65)], ..grant("*", &[Send]) };
    let many = admin::Grant { templates: vec!["t".to_owned(); 101], ..grant("*", &[Send]) };
    let grants = vec![grant("nowhere", &[Send]), grant("*", &[]), bad(0), bad(99), long, many];
    let request = admin::SetGrantsRequest { name: "shop".to_owned(), grants, ..Default::default() };
    let error = error_of(clerk.set_grants(request).await);
    let fields: Vec<&str> = error.violations.iter().map(|(field, _)| field.as_str()).collect();
    let expected = [
        "grants[0].number",
        "grants[1].permissions",
        "grants[2].permissions[0]",
        "grants[3].permissions[0]",
        "grants[4].recipient_prefixes",
        "grants[5].templates",
    ];
    assert_eq!((error.reason.as_str(), fields), ("INVALID_REQUEST", expected.to_vec()));
    drop(clerk);
    place.down().await;
}

#[tokio::test]
async fn nobody_gives_or_takes_a_right_that_it_does_not_hold() {
    let place = Place::new().await;
    let (mut chief, mut clerk) = (place.callers(CHIEF).await, place.callers(CLERK).await);
    let beyond = |result: Result<(), tonic::Status>, right: &str| {
        let error = error_of(result);
        assert_eq!((error.code, &*error.reason), (Code::PermissionDenied, "RIGHT_NOT_HELD"));
        assert_eq!(error.metadata["right"], right);
    };
    let ambitious = admin::CreateCallerRequest { admin_rights: vec!["vault.view".to_owned()], ..create("ambitious") };
    beyond(clerk.create_caller(ambitious).await.map(drop), "vault.view");
    created(&mut chief, create("deputy")).await;
    let set = |words: &[&str]| update("deputy", &["admin_rights"], rights(words));
    beyond(clerk.update_caller(set(&["callers.view", "vault.manage"])).await.map(drop), "vault.manage");
    let deputy = clerk.update_caller(set(&["callers.manage"])).await.unwrap().into_inner().caller.unwrap();
    assert_eq!(deputy.admin_rights, ["callers.manage"]);
    let token = issued(&mut clerk, "deputy").await.token;
    assert_eq!(all(&mut place.callers(&token).await).await.len(), all(&mut chief).await.len());

    // From now on whoever could act in its place could do more than the clerk may.
    let wide = set(&["numbers.view", "callers.manage"]);
    assert_eq!(
        chief.update_caller(wide).await.unwrap().into_inner().caller.unwrap().admin_rights,
        ["numbers.view", "callers.manage"]
    );
    beyond(clerk.update_caller(set(&["callers.manage"])).await.map(drop), "numbers.view");
    let issue = admin::IssueTokenRequest { name: "deputy".to_owned(), ..Default::default() };
    beyond(clerk.issue_token(issue).await.map(drop), "numbers.view");
    let rotate = admin::RotateTokenRequest {
        name: "deputy".to_owned(),
        token_id: got(&mut chief, "deputy").await.tokens[0].id.clone(),
        ..Default::default()
    };
    beyond(clerk.rotate_token(rotate).await.map(drop), "numbers.view");
    let known = admin::Caller { identities: vec!["mtls:dns:clerk.internal".to_owned()], ..Default::default() };
    beyond(clerk.update_caller(update("deputy", &["identities"], known)).await.map(drop), "numbers.view");
    beyond(clerk.delete_caller(delete("deputy", "")).await.map(drop), "numbers.view");
    // To stop it takes nothing but the right to manage callers.
    clerk.disable_caller(disable("deputy", "")).await.unwrap();
    assert_eq!(place.refusal(&token).await.as_deref(), Some("CREDENTIAL_INVALID"));
    drop((chief, clerk));
    place.down().await;
}

#[tokio::test]
async fn somebody_is_left_to_manage_callers() {
    let place = Place::new().await;
    let mut chief = place.callers(CHIEF).await;
    let managing = || vec!["callers.manage".to_owned()];
    for name in ["manager", "deputy"] {
        created(&mut chief, admin::CreateCallerRequest { admin_rights: managing(), ..create(name) }).await;
    }
    let token = issued(&mut chief, "manager").await.token;
    drop(chief);
    let world = place.down().await;
    // Nobody of this configuration manages callers.
    let config = world.config();
    let place = Place::with(world, config).await;
    let mut manager = place.callers(&token).await;
    let deputy = manager.disable_caller(disable("deputy", "")).await.unwrap().into_inner().caller.unwrap();
    assert_eq!(deputy.state(), admin::CallerState::Disabled);
    let locked_out = told(Code::FailedPrecondition, "WRONG_STATE");
    assert_eq!(refused(manager.disable_caller(disable("manager", "")).await), locked_out);
    assert_eq!(refused(manager.delete_caller(delete("manager", "")).await), locked_out);
    let less = update("manager", &["admin_rights"], rights(&["callers.view"]));
    assert_eq!(refused(manager.update_caller(less.clone()).await), locked_out);
    let enable = admin::EnableCallerRequest { name: "deputy".to_owned(), ..Default::default() };
    manager.enable_caller(enable).await.unwrap();
    manager.update_caller(less).await.unwrap();
    // What it changed holds for itself as well, at once.
    let again = manager.disable_caller(disable("deputy", "")).await;
    assert_eq!(refused(again), told(Code::PermissionDenied, "NOT_ADMINISTRATOR"));
    drop(manager);
    place.down().await;
}

#[tokio::test]
async fn an_identity_stands_for_one_caller() {
    let place = Place::new().await;
    let mut chief = place.callers(CHIEF).await;
    let known = |name: &str, identities: &[&str]| admin::CreateCallerRequest {
        identities: identities.iter().map(|identity| (*identity).to_owned()).collect(),
        ..create(name)
    };
    created(&mut chief, known("shop", &["mtls:dns:shop.internal"])).await;
    let taken = told(Code::AlreadyExists, "NAME_TAKEN");
    assert_eq!(refused(chief.create_caller(known("kiosk", &["mtls:dns:shop.internal"])).await), taken);
    created(&mut chief, known("kiosk", &[])).await;
    let caller = admin::Caller { identities: vec!["mtls:dns:shop.internal".to_owned()], ..Default::default() };
    let kiosk = update("kiosk", &["identities"], caller);
    assert_eq!(refused(chief.update_caller(kiosk.clone()).await), taken);
    chief.update_caller(update("shop", &["identities"], admin::Caller::default())).await.unwrap();
    let kiosk = chief.update_caller(kiosk).await.unwrap().into_inner().caller.unwrap();
    assert_eq!(kiosk.identities, ["mtls:dns:shop.internal"]);

    let wrong = admin::CreateCallerRequest {
        description: "x".repeat(501),
        admin_rights: vec!["callers.own".to_owned()],
        ..known("Kiosk", &["cn:kiosk", "mtls:dns:a", "mtls:dns:a"])
    };
    let fields: Vec<String> =
        error_of(chief.create_caller(wrong).await).violations.into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["name", "description", "identities[0]", "identities[2]", "admin_rights[0]"]);
    let unmasked = update("kiosk", &["grants", "description"], admin::Caller::default());
    let fields: Vec<String> =
        error_of(chief.update_caller(unmasked).await).violations.into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["update_mask"]);
    drop(chief);
    place.down().await;
}
