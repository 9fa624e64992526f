//! Grants for certain templates and certain recipients.

use pilotgate::{
    domain::principal::{Grant, Permission},
    proto::v1,
    server::Gateway,
};
use prost::Message as _;
use tonic::{Code, Status};

use super::{caller, change, grant};
use crate::support::{READER, TOKEN, World, client, client_as, error_of, queued, sends, template, text, to_phone};

const FAR: &str = "+5521987650101";

fn narrowed(templates: &[&str], prefixes: &[&str]) -> Grant {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Grant { templates: owned(templates), recipient_prefixes: owned(prefixes), ..grant("*", &[Permission::Send]) }
}

fn of_template(name: &str, recipient: Option<v1::Recipient>) -> v1::SendMessageRequest {
    let mut request = v1::SendMessageRequest { recipient, ..template(READER) };
    if let Some(v1::send_message_request::Content::Template(content)) = &mut request.content {
        name.clone_into(&mut content.template);
    }
    request
}

fn user() -> Option<v1::Recipient> {
    Some(v1::Recipient { kind: Some(v1::recipient::Kind::UserId("BR.13491208655302741918".to_owned())) })
}

/// How it ends as a call, in the queue, and as an item of a stream: the same each time.
async fn ends(gateway: &Gateway, token: &'static str, request: v1::SendMessageRequest) -> Option<(Code, String)> {
    let mut client = client_as(gateway, Some(token)).await;
    let item = v1::SendMessagesRequest { correlation_key: "k".to_owned(), message: Some(request.clone()) };
    let mut results = client.send_messages(futures_util::stream::iter([item])).await.unwrap().into_inner();
    let of_stream = match results.message().await.unwrap().unwrap().result.unwrap() {
        v1::send_messages_response::Result::Accepted(_) => Ok(()),
        v1::send_messages_response::Result::Refused(refused) => {
            let details = refused.encode_to_vec().into();
            Err(Status::with_details(Code::from(refused.code), refused.message, details))
        }
    };
    let results = [
        client.send_message(request.clone()).await.map(drop),
        client.send_message(queued(request)).await.map(drop),
        of_stream,
    ];
    let [first, second, third] = results.map(|result| {
        result.is_err().then(|| {
            let told = error_of(result);
            (told.code, told.reason)
        })
    });
    assert_eq!((&first, &first), (&second, &third));
    first
}

#[tokio::test]
async fn a_grant_for_templates_and_prefixes_goes_no_further() {
    let world = World::new().await;
    let mut config = world.config();
    let callers = [
        ("templates", "pgt_templates", vec![narrowed(&["order_update"], &[])]),
        ("prefixes", "pgt_prefixes", vec![narrowed(&[], &["+5511", "BR."])]),
        ("several", "pgt_several", vec![narrowed(&["order_update"], &["+5521"]), narrowed(&["otp"], &["+5511"])]),
        ("also-all", "pgt_also-all", vec![narrowed(&["otp"], &["+1"]), grant("*", &[Permission::Send])]),
        // What is not narrowed is another permission, or another number.
        (
            "elsewhere",
            "pgt_elsewhere",
            vec![
                narrowed(&["otp"], &[]),
                grant("*", &[Permission::Read, Permission::Observe]),
                grant("wn_second", &[Permission::Send]),
            ],
        ),
    ];
    config.callers.extend(callers.map(|(name, token, grants)| caller(name, token, grants)));
    let gateway = world.gateway_with(config).await;
    let template_denied = Some((Code::PermissionDenied, "TEMPLATE_NOT_GRANTED"));
    let recipient_denied = Some((Code::PermissionDenied, "RECIPIENT_NOT_GRANTED"));
    let (near, far) = (to_phone(READER), to_phone(FAR));
    let text_to = |recipient: &Option<v1::Recipient>| v1::SendMessageRequest {
        recipient: recipient.clone(),
        ..text(READER, "x")
    };
    let cases = [
        ("pgt_templates", of_template("order_update", near.clone()), None),
        ("pgt_templates", of_template("order_updat", near.clone()), template_denied),
        ("pgt_templates", of_template("ORDER_UPDATE", near.clone()), template_denied),
        ("pgt_templates", text_to(&near), template_denied),
        ("pgt_prefixes", text_to(&near), None),
        ("pgt_prefixes", text_to(&user()), None),
        ("pgt_prefixes", of_template("order_update", near.clone()), None),
        ("pgt_prefixes", text_to(&far), recipient_denied),
        ("pgt_prefixes", of_template("order_update", far.clone()), recipient_denied),
        // Grants add up, but none lends its recipients to another's templates.
        ("pgt_several", of_template("order_update", far.clone()), None),
        ("pgt_several", of_template("order_update", near.clone()), recipient_denied),
        ("pgt_several", of_template("otp", far.clone()), recipient_denied),
        ("pgt_several", of_template("other", far.clone()), template_denied),
        ("pgt_several", text_to(&far), template_denied),
        ("pgt_also-all", text_to(&near), None),
        ("pgt_elsewhere", text_to(&near), template_denied),
    ];
    let mut allowed = 0;
    for (token, request, expected) in cases {
        let ended = ends(&gateway, token, request.clone()).await;
        let ended = ended.as_ref().map(|(code, reason)| (*code, reason.as_str()));
        assert_eq!(ended, expected, "{token} {request:?}");
        allowed += if expected.is_none() { 3 } else { 0 };
    }
    // The queue is emptied before the end, and nothing went out that was refused.
    gateway.shutdown().await;
    assert!(sends(&world).len() <= allowed, "{} of {allowed}", sends(&world).len());
    let bodies = sends(&world).iter().map(|send| format!("{send:?}")).collect::<String>();
    assert!(!bodies.contains("otp") && !bodies.contains("ORDER_UPDATE"));
    world.double.shutdown().await;
}

#[tokio::test]
async fn what_was_accepted_is_not_told_again_to_whoever_may_send_it_no_more() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut orders = client(&gateway).await;
    let request = v1::SendMessageRequest { request_id: "r-1".to_owned(), ..text(READER, "x") };
    let first = orders.send_message(request.clone()).await.unwrap().into_inner();
    let kept = gateway.identity().caller(&super::named("orders")).unwrap().caller.grants.clone();
    let cases = [
        (vec![narrowed(&["order_update"], &[])], "TEMPLATE_NOT_GRANTED"),
        (vec![narrowed(&[], &["+1"])], "RECIPIENT_NOT_GRANTED"),
        (vec![], "NUMBER_NOT_GRANTED"),
    ];
    for (grants, reason) in cases {
        change(&gateway, "orders", |caller| caller.grants = grants);
        let told = error_of(client_as(&gateway, Some(TOKEN)).await.send_message(request.clone()).await);
        assert_eq!((told.code, told.reason.as_str(), told.metadata.len()), (Code::PermissionDenied, reason, 0));
    }
    change(&gateway, "orders", |caller| caller.grants = kept);
    let again = orders.send_message(request).await.unwrap().into_inner();
    assert!(again.replayed);
    assert_eq!(again.message.unwrap().message_id, first.message.unwrap().message_id);
    assert_eq!(sends(&world).len(), 1);
    world.end(orders, gateway).await;
}
