//! What is stored, and what never is to be seen.

use pilotgate::{domain::sources::Sources, proto::admin::v1 as admin, server};

use super::{OPERATOR, config, from_shop, get, list, numbers, register, second, shop, world};
use crate::support::{NUMBER, client, error_of};

const TENANT: &str = "ps_planted-account-wide-key";
const PATH: &str = "planted-path-token-0123456789";
const SECRET: &str = "planted-webhook-secret-0123";

#[tokio::test]
async fn no_secret_stands_in_an_answer_a_debug_print_or_a_byte_of_the_database() {
    let world = world().await;
    let gateway = world.gateway_with(config(&world)).await;
    let mut operator = numbers(&gateway, OPERATOR).await;
    let request = admin::RegisterNumberRequest {
        webhook: Some(admin::NumberWebhookSettings {
            path: Some(admin::number_webhook_settings::Path::Token(PATH.to_owned())),
            secrets: vec![SECRET.to_owned()],
        }),
        ..shop(&world)
    };
    let tenant = admin::SetTenantKeyRequest { key: TENANT.to_owned(), ..Default::default() };
    let key = second(&world).key;
    let planted = [key.as_str(), TENANT, PATH, SECRET];
    let set = admin::SetNumberKeyRequest { name: "shop".to_owned(), key: key.clone(), ..Default::default() };
    let import = admin::ImportNumbersRequest { tenant_key: TENANT.to_owned(), ..Default::default() };
    let mut seen = format!("{request:?} {:?} {tenant:?} {set:?} {import:?}", request.webhook);
    seen.push_str(&format!("{:?}", operator.register_number(request).await));
    seen.push_str(&format!("{:?}", operator.set_tenant_key(tenant).await));
    seen.push_str(&format!("{:?}", operator.set_number_key(set).await));
    seen.push_str(&format!("{:?}", operator.import_numbers(import).await));
    seen.push_str(&format!("{:?}", list(&mut operator).await));
    let check = admin::CheckNumberRequest { name: "shop".to_owned() };
    seen.push_str(&format!("{:?}", operator.check_number(check).await));
    for secret in planted {
        assert!(!seen.contains(secret), "{secret} in {seen}");
    }
    // While it runs, with its log, and again when all of it is in the file.
    assert!(look(&world, &planted) > 0, "files of the database were looked at");
    drop(operator);
    gateway.shutdown().await;
    assert!(look(&world, &planted) > 0, "files of the database were looked at");
}

/// Looks for the texts in every file of the data directory; tells how many files there were.
fn look(world: &crate::support::World, planted: &[&str]) -> usize {
    let files = std::fs::read_dir(world.directory.path().join("data")).unwrap();
    let files = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).filter(|bytes| !bytes.is_empty());
    files
        .inspect(|bytes| {
            for secret in planted {
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "{secret} in a file");
            }
        })
        .count()
}

#[tokio::test]
async fn a_record_that_was_tampered_with_is_named_and_hides_no_other() {
    let world = world().await;
    let gateway = world.gateway_with(config(&world)).await;
    let mut operator = numbers(&gateway, OPERATOR).await;
    let bare = |name: &str| admin::RegisterNumberRequest {
        name: name.to_owned(),
        upstream_id: String::new(),
        phone_number: String::new(),
        ..shop(&world)
    };
    register(&mut operator, bare("branch")).await;
    register(&mut operator, bare("shop")).await;
    drop(operator);
    gateway.shutdown().await;

    // The record of one is put in the place of the other.
    let db = rusqlite::Connection::open(world.settings().store.directory.join("pilotgate.db")).unwrap();
    let moved = "UPDATE records SET sealed = (SELECT sealed FROM records WHERE name = 'branch') WHERE name = 'shop'";
    assert_eq!(db.execute(moved, []).unwrap(), 1);
    drop(db);

    let gateway = world.gateway_with(config(&world)).await;
    let (mut orders, mut operator) = (client(&gateway).await, numbers(&gateway, OPERATOR).await);
    let listed = list(&mut operator).await;
    let told: Vec<_> = listed.iter().map(|number| (&*number.name, number.state())).collect();
    use admin::NumberState::{Enabled, Unreadable};
    assert_eq!(told, [("branch", Enabled), ("shop", Unreadable), (NUMBER, Enabled)]);
    let number = get(&mut operator, "shop").await;
    let expected = admin::Number {
        name: "shop".to_owned(),
        state: Unreadable.into(),
        unreadable_reason: "sealed bytes are damaged or stand in the wrong place".to_owned(),
        etag: number.etag.clone(),
        ..Default::default()
    };
    assert_eq!(number, expected);
    let narrowed = admin::ListNumbersRequest { state: Unreadable.into(), ..Default::default() };
    assert_eq!(operator.list_numbers(narrowed).await.unwrap().into_inner().numbers, std::slice::from_ref(&number));
    assert_eq!(error_of(orders.send_message(from_shop("x")).await).reason, "NUMBER_NOT_GRANTED");
    assert_eq!(error_of(operator.register_number(bare("shop")).await).reason, "NAME_TAKEN");
    let disable = admin::DisableNumberRequest { name: "shop".to_owned(), ..Default::default() };
    assert_eq!(error_of(operator.disable_number(disable).await).reason, "WRONG_STATE");
    let delete = admin::DeleteNumberRequest { name: "shop".to_owned(), etag: number.etag, ..Default::default() };
    operator.delete_number(delete).await.unwrap();
    register(&mut operator, bare("shop")).await;
    let mut page = admin::ListNumbersRequest { page_size: 2, ..Default::default() };
    let first = operator.list_numbers(page.clone()).await.unwrap().into_inner();
    assert_eq!(first.numbers.iter().map(|number| &*number.name).collect::<Vec<_>>(), ["branch", "shop"]);
    page.page_token = first.next_page_token;
    let last = operator.list_numbers(page).await.unwrap().into_inner();
    assert_eq!(last.numbers.iter().map(|number| &*number.name).collect::<Vec<_>>(), [NUMBER]);
    assert_eq!(last.next_page_token, "");
    world.end((orders, operator), gateway).await;
}

#[tokio::test]
async fn a_number_that_is_declared_and_stored_keeps_the_gateway_from_starting() {
    let world = world().await;
    let gateway = world.gateway_with(config(&world)).await;
    let mut operator = numbers(&gateway, OPERATOR).await;
    register(&mut operator, shop(&world)).await;
    drop(operator);
    gateway.shutdown().await;
    let mut declared = config(&world);
    let mut twin = declared.numbers[0].clone();
    twin.name = "shop".to_owned().try_into().unwrap();
    (twin.upstream_id, twin.phone, twin.webhook) = (None, None, None);
    declared.numbers.push(twin);
    let text = server::start(declared, Sources::system()).await.err().unwrap().to_string();
    assert!(text.starts_with("number/shop is registered in the store and declared in the configuration"), "{text}");
    let mut declared = config(&world);
    declared.numbers[0].phone = Some(second(&world).phone.parse().unwrap());
    let text = server::start(declared, Sources::system()).await.err().unwrap().to_string();
    let expected = format!(
        "number/shop is registered in the store, and {:?} already stands for number {NUMBER}; change the configuration",
        second(&world).phone
    );
    assert_eq!(text, expected);
}
