//! Registering the whole account by the account-wide key.

use pilotgate::{
    proto::admin::v1::{self as admin, ImportResult},
    sandbox,
};

use super::{OPERATOR, config, from_shop, get, list, numbers, register, second, shop, world};
use crate::support::{NUMBER, World, acts, client, error_of, send, two_numbers};

async fn import(numbers: &mut super::Numbers, request: admin::ImportNumbersRequest) -> Vec<(String, ImportResult)> {
    let answer = numbers.import_numbers(request).await.unwrap().into_inner();
    answer.numbers.iter().map(|number| (number.name.clone(), number.result())).collect()
}

fn told(expected: &[(&str, ImportResult)]) -> Vec<(String, ImportResult)> {
    expected.iter().map(|(name, result)| ((*name).to_owned(), *result)).collect()
}

#[tokio::test]
async fn what_is_not_registered_is_imported_and_a_changed_key_is_taken_over() {
    let mut options = two_numbers();
    options.more_numbers[0].display_name = "Loja Centro".to_owned();
    let world = World::with(options).await;
    let gateway = world.gateway_with(config(&world)).await;
    let (mut orders, mut operator) = (client(&gateway).await, numbers(&gateway, OPERATOR).await);
    let nothing = admin::ImportNumbersRequest::default;
    assert_eq!(error_of(operator.import_numbers(nothing()).await).reason, "WRONG_STATE", "no account-wide key");

    let key = world.double.account().tenant_key;
    let with_key = admin::ImportNumbersRequest { tenant_key: key.clone(), dry_run: true, ..nothing() };
    let expected = told(&[(NUMBER, ImportResult::AlreadyRegistered), ("loja-centro", ImportResult::Imported)]);
    assert_eq!(import(&mut operator, with_key).await, expected);
    assert_eq!(list(&mut operator).await.len(), 1, "a dry run does nothing");

    let stored = admin::SetTenantKeyRequest { key, ..Default::default() };
    let stored = operator.set_tenant_key(stored).await.unwrap().into_inner();
    assert!(stored.stored && !stored.etag.is_empty());
    assert_eq!(import(&mut operator, nothing()).await, expected);
    let number = get(&mut operator, "loja-centro").await;
    assert_eq!((&*number.upstream_id, &*number.phone_number), (&*second(&world).id, &*second(&world).phone));
    assert_eq!(number.description, "Loja Centro");
    let from_it = pilotgate::proto::v1::SendMessageRequest { number: "loja-centro".to_owned(), ..from_shop("hello") };
    send(&mut orders, from_it.clone()).await;
    let again = told(&[(NUMBER, ImportResult::AlreadyRegistered), ("loja-centro", ImportResult::AlreadyRegistered)]);
    assert_eq!(import(&mut operator, nothing()).await, again);

    // Somebody gives it another key at Pilot Status.
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let changed = http
        .post(format!("{}/v1/api-keys/regenerate", world.double.base_url()))
        .header("x-api-key", second(&world).key)
        .send();
    changed.await.unwrap().error_for_status().unwrap();
    let updated = told(&[(NUMBER, ImportResult::AlreadyRegistered), ("loja-centro", ImportResult::KeyUpdated)]);
    assert_eq!(import(&mut operator, nothing()).await, updated);
    assert_eq!(get(&mut operator, "loja-centro").await.key_generation, 2);
    send(&mut orders, from_it).await;

    let forget = admin::SetTenantKeyRequest { etag: "0".to_owned(), ..Default::default() };
    assert_eq!(error_of(operator.set_tenant_key(forget).await).reason, "ETAG_MISMATCH");
    let forget = admin::SetTenantKeyRequest { etag: stored.etag, ..Default::default() };
    let forgotten = operator.set_tenant_key(forget).await.unwrap().into_inner();
    assert_eq!(forgotten, admin::SetTenantKeyResponse::default());
    assert_eq!(error_of(operator.import_numbers(nothing()).await).reason, "WRONG_STATE");
    drop((orders, operator));
    gateway.shutdown().await;
    let acts = acts(&world).await;
    let done = acts.iter().filter(|act| act.action != "message.attempt" && act.outcome == "done");
    let done: Vec<_> = done.map(|act| (&*act.action, &*act.subject)).collect();
    let expected = [
        ("tenant_key.set", "tenant-key/account"),
        ("number.import", "number/loja-centro"),
        ("number.import", "number/loja-centro"),
        ("tenant_key.set", "tenant-key/account"),
    ];
    assert_eq!(done, expected);
}

#[tokio::test]
async fn a_stored_account_key_outlives_a_restart_and_names_are_kept_apart() {
    let mut options = two_numbers();
    let third = sandbox::NumberSeed {
        id: "wn_upstream_third".to_owned(),
        phone: "+5511900000002".to_owned(),
        ..options.more_numbers[0].clone()
    };
    options.more_numbers.push(third);
    options.more_numbers.iter_mut().for_each(|seed| seed.display_name = "Loja".to_owned());
    let world = World::with(options).await;
    let gateway = world.gateway_with(config(&world)).await;
    let mut operator = numbers(&gateway, OPERATOR).await;
    let stored = admin::SetTenantKeyRequest { key: world.double.account().tenant_key, ..Default::default() };
    operator.set_tenant_key(stored).await.unwrap();
    drop(operator);
    gateway.shutdown().await;

    let gateway = world.gateway_with(config(&world)).await;
    let mut operator = numbers(&gateway, OPERATOR).await;
    let one = admin::ImportNumbersRequest {
        upstream_ids: vec![second(&world).id],
        name_prefix: "br-".to_owned(),
        disabled: true,
        ..Default::default()
    };
    assert_eq!(import(&mut operator, one).await, told(&[("br-loja", ImportResult::Imported)]));
    assert_eq!(get(&mut operator, "br-loja").await.state(), admin::NumberState::Disabled);
    let rest = admin::ImportNumbersRequest { name_prefix: "br-".to_owned(), ..Default::default() };
    let expected = [
        (NUMBER, ImportResult::AlreadyRegistered),
        ("br-loja", ImportResult::AlreadyRegistered),
        ("br-loja-2", ImportResult::Imported),
    ];
    assert_eq!(import(&mut operator, rest).await, told(&expected));
    world.end(operator, gateway).await;
}

#[tokio::test]
async fn old_keys_that_are_not_shown_are_reported() {
    let world = world().await;
    let mut switches = world.double.control().switches();
    switches.reveal_keys = false;
    world.double.control().set_switches(switches);
    let gateway = world.gateway_with(config(&world)).await;
    let mut operator = numbers(&gateway, OPERATOR).await;
    let request = admin::ImportNumbersRequest { tenant_key: world.double.account().tenant_key, ..Default::default() };
    let expected = told(&[(NUMBER, ImportResult::AlreadyRegistered), ("", ImportResult::NotRevealable)]);
    assert_eq!(import(&mut operator, request.clone()).await, expected);
    register(&mut operator, shop(&world)).await;
    let expected = told(&[(NUMBER, ImportResult::AlreadyRegistered), ("shop", ImportResult::AlreadyRegistered)]);
    assert_eq!(import(&mut operator, request).await, expected);
    world.end(operator, gateway).await;
}
