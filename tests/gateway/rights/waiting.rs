//! What waits when the right goes that it was asked with.

use std::time::Duration;

use futures_util::stream;
use pilotgate::{domain::principal::Permission, proto::v1, server::Gateway};
use tonic::Code;

use super::{change, grant};
use crate::{
    numbers::{OPERATOR, config, numbers},
    support::{STUCK, World, client, error_of, sends, text, until},
};

/// The results of three items of which only the first gets its turn, and what the second and third are refused with once
/// something has changed.
async fn refused_after(change_it: impl FnOnce(&Gateway)) -> Vec<(i32, String)> {
    let world = World::new().await;
    let mut config = world.config();
    config.numbers[0].pacing.min_gap = Duration::from_millis(500);
    let gateway = world.gateway_with(config).await;
    let mut client = client(&gateway).await;
    let item = |key: &str| v1::SendMessagesRequest { correlation_key: key.to_owned(), message: Some(text(STUCK, "x")) };
    let (items, held) = (["a", "b", "c"].map(item), stream::pending());
    let items = futures_util::StreamExt::chain(stream::iter(items), held);
    let mut results = client.send_messages(items).await.unwrap().into_inner();
    let first = results.message().await.unwrap().unwrap();
    assert!(matches!(first.result, Some(v1::send_messages_response::Result::Accepted(_))), "{first:?}");
    change_it(&gateway);
    let mut refused = Vec::new();
    for _ in 0..2 {
        let result = tokio::time::timeout(Duration::from_secs(20), results.message()).await.expect("no result");
        match result.unwrap().unwrap().result.unwrap() {
            v1::send_messages_response::Result::Refused(status) => refused.push((status.code, status.message)),
            accepted => panic!("{accepted:?}"),
        }
    }
    assert_eq!(sends(&world).len(), 1);
    world.end((client, results), gateway).await;
    refused
}

#[tokio::test]
async fn a_send_that_waits_for_its_turn_is_not_made_once_its_right_is_gone() {
    let grants =
        |gateway: &Gateway| change(gateway, "orders", |caller| caller.grants = vec![grant("*", &[Permission::Read])]);
    let codes: Vec<_> = refused_after(grants).await.into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, [Code::PermissionDenied as i32; 2]);
    let disabled = |gateway: &Gateway| change(gateway, "orders", |caller| caller.disabled = true);
    let codes: Vec<_> = refused_after(disabled).await.into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, [Code::Unauthenticated as i32; 2]);
    let narrowed = |gateway: &Gateway| {
        change(gateway, "orders", |caller| caller.grants[0].recipient_prefixes = vec!["+1".to_owned()]);
    };
    let codes: Vec<_> = refused_after(narrowed).await.into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, [Code::PermissionDenied as i32; 2]);
}

#[tokio::test]
async fn an_act_that_waits_is_not_done_once_its_author_may_not_do_it() {
    let world = crate::numbers::world().await;
    let gateway = world.gateway_with(config(&world)).await;
    let mut operator = numbers(&gateway, OPERATOR).await;
    let registered = operator.register_number(crate::numbers::shop(&world)).await.unwrap().into_inner().number.unwrap();
    let shop = registered.name.clone().try_into().unwrap();
    // Somebody else uses the number, so that whoever wants to change it waits.
    let held = gateway.keys().use_now(&shop).unwrap();
    let disable =
        pilotgate::proto::admin::v1::DisableNumberRequest { name: registered.name.clone(), ..Default::default() };
    let waiting = tokio::spawn({
        let mut operator = operator.clone();
        async move { operator.disable_number(disable).await }
    });
    // Nobody else gets to use it once somebody waits.
    until(|| gateway.keys().use_now(&shop).is_err()).await;
    change(&gateway, "operator", |caller| caller.disabled = true);
    drop(held);
    let told = error_of(tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap());
    assert_eq!((told.code, &*told.reason), (Code::PermissionDenied, "NOT_ADMINISTRATOR"));
    assert!(!gateway.keys().get(&shop).unwrap().disabled);
    drop(operator);
    gateway.shutdown().await;
}
