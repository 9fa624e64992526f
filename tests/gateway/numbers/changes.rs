//! Registering, changing and deleting.

use pilotgate::proto::admin::v1 as admin;
use tonic::Code;

use super::{OPERATOR, WATCHMAN, config, from_shop, get, list, numbers, register, second, shop, world};
use crate::support::{NUMBER, acts, client, error_of, queued, send, sends};

fn nothing() -> admin::DisableNumberRequest {
    admin::DisableNumberRequest { name: "shop".to_owned(), ..Default::default() }
}

#[tokio::test]
async fn a_number_registered_at_run_time_sends_until_it_is_disabled_and_outlives_a_restart() {
    let world = world().await;
    let gateway = world.gateway_with(config(&world)).await;
    let (mut orders, mut operator) = (client(&gateway).await, numbers(&gateway, OPERATOR).await);
    let told = error_of(orders.send_message(from_shop("too early")).await);
    assert_eq!(told.reason, "NUMBER_NOT_GRANTED");

    let request = admin::RegisterNumberRequest {
        description: "the shop".to_owned(),
        rotate_interval: Some(prost_types::Duration { seconds: 86_400, nanos: 0 }),
        pace: Some(admin::NumberPace { per_second: 50.0, burst: 10, ..Default::default() }),
        quota: Some(admin::NumberQuota { per_minute: None, per_day: Some(1000) }),
        read_back: admin::ReadBackPolicy::Terminal.into(),
        webhook: Some(admin::NumberWebhookSettings {
            path: Some(admin::number_webhook_settings::Path::Token("a-path-that-nobody-guesses".to_owned())),
            secrets: vec!["whsec_planted".to_owned()],
        }),
        check: true,
        ..shop(&world)
    };
    let number = register(&mut operator, request.clone()).await;
    let expected = admin::Number {
        name: "shop".to_owned(),
        description: "the shop".to_owned(),
        upstream_id: second(&world).id,
        phone_number: second(&world).phone,
        state: admin::NumberState::Enabled.into(),
        key_generation: 1,
        key_time: number.key_time,
        key_state: admin::KeyState::Ok.into(),
        rotate_interval: request.rotate_interval,
        pace: request.pace,
        quota: request.quota,
        read_back: admin::ReadBackPolicy::Terminal.into(),
        webhook: Some(admin::NumberWebhook { enabled: true, registered_by_gateway: false, secrets: 1 }),
        etag: number.etag.clone(),
        create_time: number.create_time,
        update_time: number.create_time,
        ..Default::default()
    };
    assert_eq!(number, expected);
    assert!(!number.etag.is_empty() && number.create_time.is_some() && number.key_time.is_some());
    let told = error_of(operator.register_number(request).await);
    assert_eq!((told.code, told.reason.as_str()), (Code::AlreadyExists, "NAME_TAKEN"));
    send(&mut orders, from_shop("open")).await;
    assert_eq!(sends(&world).len(), 1);

    let disabled = operator.disable_number(nothing()).await.unwrap().into_inner().number.unwrap();
    assert_eq!(disabled.state(), admin::NumberState::Disabled);
    assert_eq!(error_of(orders.send_message(from_shop("closed")).await).reason, "NUMBER_DISABLED");
    drop((orders, operator));
    gateway.shutdown().await;

    let gateway = world.gateway_with(config(&world)).await;
    let (mut orders, mut operator) = (client(&gateway).await, numbers(&gateway, OPERATOR).await);
    assert_eq!(get(&mut operator, "shop").await, disabled);
    assert_eq!(get(&mut operator, &second(&world).phone).await, disabled);
    let enable = admin::EnableNumberRequest { name: "shop".to_owned(), etag: disabled.etag, ..Default::default() };
    let enabled = operator.enable_number(enable.clone()).await.unwrap().into_inner().number.unwrap();
    assert_eq!(enabled, admin::Number { etag: enabled.etag.clone(), update_time: enabled.update_time, ..expected });
    let told = error_of(operator.enable_number(enable).await);
    assert_eq!((told.code, told.reason.as_str()), (Code::Aborted, "ETAG_MISMATCH"));
    send(&mut orders, from_shop("open again")).await;
    assert_eq!(sends(&world).len(), 2);
    world.end((orders, operator), gateway).await;
}

#[tokio::test]
async fn only_what_is_named_changes_and_what_stays_leaves_no_trace() {
    let world = world().await;
    let gateway = world.gateway_with(config(&world)).await;
    let mut operator = numbers(&gateway, OPERATOR).await;
    let before =
        register(&mut operator, admin::RegisterNumberRequest { description: "old".to_owned(), ..shop(&world) }).await;
    let settings = admin::NumberSettings {
        name: "shop".to_owned(),
        description: "new".to_owned(),
        quota: Some(admin::NumberQuota { per_minute: Some(5), per_day: None }),
        ..Default::default()
    };
    let update = |paths: &[&str]| admin::UpdateNumberRequest {
        number: Some(settings.clone()),
        update_mask: Some(prost_types::FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() }),
        ..Default::default()
    };
    let after = operator.update_number(update(&["description", "quota"])).await.unwrap().into_inner().number.unwrap();
    let expected = admin::Number {
        description: "new".to_owned(),
        quota: settings.quota,
        etag: after.etag.clone(),
        update_time: after.update_time,
        ..before.clone()
    };
    assert_eq!(after, expected);
    assert_ne!(after.etag, before.etag);
    let again = operator.update_number(update(&["description", "quota"])).await.unwrap().into_inner().number.unwrap();
    assert_eq!(again, after);
    let cleared = operator.update_number(update(&["upstream_id", "phone_number"])).await.unwrap().into_inner();
    let cleared = cleared.number.unwrap();
    assert_eq!((cleared.upstream_id.as_str(), cleared.phone_number.as_str()), ("", ""));

    let told = error_of(operator.update_number(update(&["key", "name"])).await);
    assert_eq!(told.violations.len(), 2);
    let told = error_of(operator.update_number(update(&[])).await);
    assert_eq!(told.violations, [("update_mask".to_owned(), "must name at least one field".to_owned())]);
    let stale = admin::UpdateNumberRequest { etag: before.etag, ..update(&["description"]) };
    assert_eq!(error_of(operator.update_number(stale).await).reason, "ETAG_MISMATCH");
    let generated = admin::UpdateNumberRequest {
        number: Some(admin::NumberSettings {
            webhook: Some(admin::NumberWebhookSettings {
                path: Some(admin::number_webhook_settings::Path::GenerateToken(true)),
                secrets: Vec::new(),
            }),
            ..settings.clone()
        }),
        ..update(&["webhook"])
    };
    let told = error_of(operator.update_number(generated).await);
    assert_eq!((told.code, told.reason.as_str()), (Code::FailedPrecondition, "WRONG_STATE"), "no public address");
    drop(operator);
    gateway.shutdown().await;

    let acts = acts(&world).await;
    let done: Vec<_> = acts.iter().map(|act| (&*act.action, &*act.subject, &*act.outcome)).collect();
    let expected = [
        ("number.register", "number/shop", "done"),
        ("number.update", "number/shop", "done"),
        ("number.update", "number/shop", "done"),
        ("number.update", "number/shop", "refused"),
        ("number.update", "number/shop", "refused"),
    ];
    assert_eq!(done, expected);
    assert_eq!(acts[0].reason.as_deref(), Some("a new shop"));
    assert_eq!(acts[0].from.as_deref(), Some("127.0.0.1"));
    let detail =
        [("description", "\"old\" -> \"new\""), ("quota", "unlimited/min, unlimited/day -> 5/min, unlimited/day")];
    assert_eq!(acts[1].detail, crate::support::metadata(detail));
}

#[tokio::test]
async fn whoever_may_only_look_changes_nothing_and_what_is_declared_stays() {
    let world = world().await;
    let gateway = world.gateway_with(config(&world)).await;
    let (mut operator, mut watchman) = (numbers(&gateway, OPERATOR).await, numbers(&gateway, WATCHMAN).await);
    let mut orders = numbers(&gateway, crate::support::TOKEN).await;
    let refused = |told: crate::support::Told| {
        assert_eq!((told.code, told.reason.as_str()), (Code::PermissionDenied, "NOT_ADMINISTRATOR"));
        told.metadata["right"].clone()
    };
    let named = || "shop".to_owned();
    let told = [
        refused(error_of(watchman.register_number(shop(&world)).await)),
        refused(error_of(watchman.import_numbers(admin::ImportNumbersRequest::default()).await)),
        refused(error_of(watchman.update_number(admin::UpdateNumberRequest::default()).await)),
        refused(error_of(watchman.disable_number(nothing()).await)),
        refused(error_of(
            watchman.enable_number(admin::EnableNumberRequest { name: named(), ..Default::default() }).await,
        )),
        refused(error_of(
            watchman.delete_number(admin::DeleteNumberRequest { name: named(), ..Default::default() }).await,
        )),
        refused(error_of(watchman.set_number_key(admin::SetNumberKeyRequest::default()).await)),
        refused(error_of(watchman.rotate_number_key(admin::RotateNumberKeyRequest::default()).await)),
        refused(error_of(watchman.set_tenant_key(admin::SetTenantKeyRequest::default()).await)),
    ];
    assert_eq!(told, ["numbers.manage"; 9]);
    let told = [
        refused(error_of(orders.get_number(admin::GetNumberRequest { name: NUMBER.to_owned() }).await)),
        refused(error_of(orders.list_numbers(admin::ListNumbersRequest::default()).await)),
        refused(error_of(orders.check_number(admin::CheckNumberRequest { name: NUMBER.to_owned() }).await)),
    ];
    assert_eq!(told, ["numbers.view"; 3]);

    let listed = list(&mut watchman).await;
    let told: Vec<_> = listed.iter().map(|number| (&*number.name, number.declared, &*number.etag)).collect();
    assert_eq!(told, [(NUMBER, true, "")]);
    let disable = admin::DisableNumberRequest { name: NUMBER.to_owned(), ..Default::default() };
    assert_eq!(error_of(operator.disable_number(disable).await).reason, "DECLARED_IN_CONFIGURATION");
    let delete = admin::DeleteNumberRequest { name: NUMBER.to_owned(), force: true, ..Default::default() };
    assert_eq!(error_of(operator.delete_number(delete).await).reason, "DECLARED_IN_CONFIGURATION");
    let taken = admin::RegisterNumberRequest { upstream_id: NUMBER.to_owned(), ..shop(&world) };
    assert_eq!(error_of(operator.register_number(taken).await).reason, "NAME_TAKEN");
    let wrong = admin::RegisterNumberRequest {
        name: "No Name".to_owned(),
        key: "short".to_owned(),
        phone_number: "0".to_owned(),
        rotate_interval: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        ..Default::default()
    };
    let told = error_of(operator.register_number(wrong).await);
    let fields: Vec<_> = told.violations.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, ["name", "key", "phone_number", "rotate_interval"]);
    assert_eq!(list(&mut watchman).await, listed);
    world.end((operator, watchman, orders), gateway).await;
}

#[tokio::test]
async fn another_key_is_taken_and_a_dead_one_is_refused_if_asked() {
    let world = world().await;
    let gateway = world.gateway_with(config(&world)).await;
    let (mut orders, mut operator) = (client(&gateway).await, numbers(&gateway, OPERATOR).await);
    let dead = "ps_nobody-has-this-key-0001".to_owned();
    let refused = admin::RegisterNumberRequest { key: dead.clone(), check: true, ..shop(&world) };
    let told = error_of(operator.register_number(refused).await);
    assert_eq!((told.code, told.reason.as_str()), (Code::FailedPrecondition, "NUMBER_KEY_REFUSED"));
    let before = register(&mut operator, admin::RegisterNumberRequest { key: dead.clone(), ..shop(&world) }).await;
    let set = |key: &str, check| admin::SetNumberKeyRequest {
        name: "shop".to_owned(),
        key: key.to_owned(),
        check,
        etag: before.etag.clone(),
        ..Default::default()
    };
    assert_eq!(error_of(operator.set_number_key(set(&dead, true)).await).reason, "NUMBER_KEY_REFUSED");
    let number = operator.set_number_key(set(&second(&world).key, true)).await.unwrap().into_inner().number.unwrap();
    assert_eq!((number.key_generation, number.key_state()), (2, admin::KeyState::Ok));
    assert_eq!(error_of(operator.set_number_key(set(&dead, false)).await).reason, "ETAG_MISMATCH");
    send(&mut orders, from_shop("with the new key")).await;
    assert_eq!(sends(&world).len(), 1);
    world.end((orders, operator), gateway).await;
}

#[tokio::test]
async fn a_number_with_messages_on_their_way_is_deleted_only_by_force() {
    let world = world().await;
    let gateway = world.gateway_with(config(&world)).await;
    let (mut orders, mut operator) = (client(&gateway).await, numbers(&gateway, OPERATOR).await);
    // Takes one turn in a quarter of an hour.
    let pace = Some(admin::NumberPace { per_second: 0.001, ..Default::default() });
    let first = register(&mut operator, admin::RegisterNumberRequest { pace, ..shop(&world) }).await;
    send(&mut orders, from_shop("takes the turn")).await;
    send(&mut orders, queued(from_shop("waits"))).await;
    let mut delete = admin::DeleteNumberRequest { name: "shop".to_owned(), ..Default::default() };
    let told = error_of(operator.delete_number(delete.clone()).await);
    assert_eq!((told.code, told.reason.as_str()), (Code::FailedPrecondition, "WRONG_STATE"));
    delete.force = true;
    operator.delete_number(delete.clone()).await.unwrap();
    assert_eq!(error_of(orders.send_message(from_shop("gone")).await).reason, "NUMBER_NOT_GRANTED");
    assert_eq!(error_of(operator.delete_number(delete).await).reason, "NOT_REGISTERED");
    let second = register(&mut operator, shop(&world)).await;
    assert_ne!(second.etag, first.etag, "an etag is never used twice");
    world.end((orders, operator), gateway).await;
}
