//! What goes over the wire to Pilot Status, byte for byte, seen by a server that only writes down.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use pilotgate::{
    config,
    proto::v1::{
        self, Button, CarouselButton, CarouselCard, Header, ListRow, ListSection, MediaContent, MediaType, ReplyAction,
        button::Action, carousel_button, header, media_content::Source, recipient::Kind, send_message_request::Content,
    },
};
use serde_json::{Value, json};

use crate::support::{NUMBER, World, client, error_of, metadata, to_phone};

type Seen = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// A server that accepts every send and remembers it.
async fn scripted() -> (String, Seen) {
    async fn accept(State(seen): State<Seen>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
        let mut seen = seen.lock().unwrap();
        seen.push((headers, body));
        (StatusCode::ACCEPTED, json!({ "id": format!("up-{}", seen.len()), "status": "QUEUED" }).to_string())
    }
    let seen = Seen::default();
    let routes = Router::new().route("/v1/messages/send", post(accept)).with_state(Arc::clone(&seen));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    (url, seen)
}

fn url(text: &str) -> Option<Source> {
    Some(Source::Url(text.to_owned()))
}

fn button(label: &str, action: Action) -> Button {
    Button { label: label.to_owned(), action: Some(action) }
}

fn number(value: f64) -> prost_types::Value {
    prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(value)) }
}

/// Every kind of content, with the JSON that it becomes.
fn contents() -> Vec<(Content, Value)> {
    let template = v1::TemplateContent {
        template: "promo".to_owned(),
        variables: metadata([("order", "A-7731"), ("name", "Rita")]),
        media: Some(MediaContent {
            source: url("https://cdn.example.test/h.png"),
            r#type: MediaType::Image.into(),
            ..Default::default()
        }),
        ai_rewrite: Some(false),
    };
    let text = v1::TextContent {
        body: "Seu boleto".to_owned(),
        buttons: vec![
            button("Ja paguei", Action::Reply(ReplyAction {})),
            button("Abrir", Action::Url("https://pay.example.test/b/991".to_owned())),
            button("Ligar", Action::PhoneNumber("+553133330000".to_owned())),
        ],
        header: Some(Header { kind: Some(header::Kind::Text("Lembrete".to_owned())) }),
        footer: "Equipe".to_owned(),
    };
    let media = MediaContent {
        source: url("https://cdn.example.test/nf/8841.pdf"),
        r#type: MediaType::Document.into(),
        caption: "Nota".to_owned(),
        ..Default::default()
    };
    let data = MediaContent {
        source: Some(Source::Data(vec![0, 1, 2, 255].into())),
        mime_type: "image/png".to_owned(),
        r#type: MediaType::Sticker.into(),
        ..Default::default()
    };
    let list = v1::ListContent {
        body: "Escolha".to_owned(),
        button_text: "Ver".to_owned(),
        sections: vec![ListSection {
            title: "Sexta".to_owned(),
            rows: vec![
                ListRow { title: "09:00".to_owned(), description: "Sala 2".to_owned(), row_id: "a".to_owned() },
                ListRow { title: "10:30".to_owned(), row_id: "b".to_owned(), ..Default::default() },
            ],
        }],
        footer: "Ate logo".to_owned(),
    };
    let card_button = |text: &str, action| CarouselButton { text: text.to_owned(), action: Some(action) };
    let carousel = v1::CarouselContent {
        body: "Novidades".to_owned(),
        cards: vec![CarouselCard {
            media: Some(MediaContent {
                source: url("https://cdn.example.test/c1.jpg"),
                r#type: MediaType::Image.into(),
                ..Default::default()
            }),
            body: "Tenis".to_owned(),
            buttons: vec![
                card_button("Quero", carousel_button::Action::QuickReplyPayload("sku-1".to_owned())),
                card_button("Ver", carousel_button::Action::Url("https://shop.example.test/1".to_owned())),
            ],
        }],
        card_template: None,
    };
    let flow = v1::FlowContent {
        body: "Pesquisa".to_owned(),
        flow_id: "771".to_owned(),
        cta: "Comecar".to_owned(),
        action: v1::FlowAction::Navigate.into(),
        screen: "INICIO".to_owned(),
        data: Some(prost_types::Struct {
            fields: [("whole".to_owned(), number(5.0)), ("half".to_owned(), number(0.5))].into(),
        }),
        mode: v1::FlowMode::Unspecified.into(),
    };
    vec![
        (
            Content::Template(template),
            json!({
                "templateId": "promo", "variables": { "name": "Rita", "order": "A-7731" },
                "marketingOptions": { "aiRewriteEnabled": false },
                "media": "https://cdn.example.test/h.png", "mediaType": "image",
            }),
        ),
        (
            Content::Text(text),
            json!({
                "text": "Seu boleto", "header": { "type": "text", "content": "Lembrete" }, "footer": "Equipe",
                "buttons": [
                    { "type": "reply", "label": "Ja paguei" },
                    { "type": "url", "label": "Abrir", "url": "https://pay.example.test/b/991" },
                    { "type": "call", "label": "Ligar", "phoneNumber": "+553133330000" },
                ],
            }),
        ),
        (
            Content::Media(media),
            json!({ "media": "https://cdn.example.test/nf/8841.pdf", "mediaType": "document", "caption": "Nota" }),
        ),
        (Content::Media(data), json!({ "media": "data:image/png;base64,AAEC/w==", "mediaType": "sticker" })),
        (
            Content::List(list),
            json!({
                "text": "Escolha", "footer": "Ate logo",
                "list": { "buttonText": "Ver", "sections": [{ "title": "Sexta", "rows": [
                    { "title": "09:00", "description": "Sala 2", "rowId": "a" }, { "title": "10:30", "rowId": "b" },
                ] }] },
            }),
        ),
        (
            Content::Carousel(carousel),
            json!({
                "text": "Novidades",
                "carousel": { "cards": [{
                    "media": { "type": "image", "url": "https://cdn.example.test/c1.jpg" }, "body": "Tenis",
                    "buttons": [
                        { "type": "QUICK_REPLY", "text": "Quero", "payload": "sku-1" },
                        { "type": "URL", "text": "Ver", "url": "https://shop.example.test/1" },
                    ],
                }] },
            }),
        ),
        (
            Content::Flow(flow),
            json!({
                "text": "Pesquisa",
                "flow": {
                    "flowId": "771", "cta": "Comecar", "action": "navigate", "screen": "INICIO", "mode": "published",
                    "data": { "whole": 5, "half": 0.5 },
                },
            }),
        ),
    ]
}

#[tokio::test]
async fn every_kind_of_content_becomes_its_json() {
    let world = World::new().await;
    let (base_url, seen) = scripted().await;
    let mut settings = world.settings();
    settings.upstream.base_url = base_url;
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut client = client(&gateway).await;
    let key = world.double.account().numbers[0].key.clone();
    for (content, mut expected) in contents() {
        let request = v1::SendMessageRequest {
            number: NUMBER.to_owned(),
            recipient: to_phone("+5521987650001"),
            content: Some(content),
            deliver_at: Some(prost_types::Timestamp { seconds: 4_102_444_800, nanos: 500_000_000 }),
            deliver_until: Some(prost_types::Timestamp { seconds: 4_102_448_400, nanos: 0 }),
            labels: vec!["logistica".to_owned()],
            mark_read: Some(false),
            metadata: metadata([("secret", "stays here")]),
            ..Default::default()
        };
        let sent = client.send_message(request).await.unwrap().into_inner().message.unwrap();
        let (headers, body) = seen.lock().unwrap().last().cloned().unwrap();
        let common = json!({
            "destinationNumber": "+5521987650001", "deliverAt": "2100-01-01T00:00:00.500Z",
            "deliverUntil": "2100-01-01T01:00:00.000Z", "labels": ["logistica"], "markRead": false,
        });
        expected.as_object_mut().unwrap().extend(common.as_object().unwrap().clone());
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
        assert_eq!(headers["x-api-key"], key.as_str());
        assert_eq!(headers["idempotency-key"], format!("pilotgate-{}", sent.message_id).as_str());
        assert_eq!(headers["content-type"], "application/json");
        assert!(!headers.contains_key("authorization"), "a caller's token goes no further");
    }
    world.end(client, gateway).await;
}

#[tokio::test]
async fn every_kind_of_recipient_becomes_its_field_and_the_double_takes_it() {
    let world = World::new().await;
    let (base_url, seen) = scripted().await;
    let mut settings = world.settings();
    settings.upstream.base_url = base_url;
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut client = client(&gateway).await;
    let cases = [
        (Kind::PhoneNumber("+5521987650001".to_owned()), ("destinationNumber", "+5521987650001")),
        (Kind::UserId("BR.90210044815532001177".to_owned()), ("destinationNumber", "BR.90210044815532001177")),
        (Kind::GroupId("120363077700011122@g.us".to_owned()), ("groupId", "120363077700011122@g.us")),
        (
            Kind::NewsletterId("120363055500044433@newsletter".to_owned()),
            ("newsletterId", "120363055500044433@newsletter"),
        ),
    ];
    for (kind, (field, value)) in cases {
        let request = v1::SendMessageRequest {
            recipient: Some(v1::Recipient { kind: Some(kind) }),
            ..crate::support::text("", "x")
        };
        client.send_message(request).await.unwrap();
        let body: Value = serde_json::from_slice(&seen.lock().unwrap().last().unwrap().1).unwrap();
        assert_eq!(body, json!({ "text": "x", field: value }));
    }
    world.end(client, gateway).await;
}

#[tokio::test]
async fn the_double_takes_every_kind_of_content() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    for (content, _) in contents() {
        let is_flow = matches!(content, Content::Flow(_));
        let request = v1::SendMessageRequest { content: Some(content), ..crate::support::text("+5521987650101", "") };
        let sent = client.send_message(request).await.unwrap().into_inner().message.unwrap();
        assert_eq!(sent.flow_token.is_empty(), !is_flow);
    }
    assert_eq!(world.double.control().messages().len(), 7);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn all_that_is_wrong_with_a_request_is_told_at_once() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let past = Some(prost_types::Timestamp { seconds: 1_000, nanos: 0 });
    let request = v1::SendMessageRequest {
        number: NUMBER.to_owned(),
        recipient: to_phone("5511"),
        content: Some(Content::Text(v1::TextContent {
            body: " ".to_owned(),
            footer: "alone".to_owned(),
            ..Default::default()
        })),
        deliver_at: past,
        labels: vec![String::new()],
        metadata: metadata([("", "x")]),
        request_id: "two words".to_owned(),
        handoff: 77,
        ..Default::default()
    };
    let told = error_of(client.send_message(request).await);
    assert_eq!((told.code, told.reason.as_str()), (tonic::Code::InvalidArgument, "INVALID_REQUEST"));
    let fields: Vec<&str> = told.violations.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "handoff",
            "recipient.phone_number",
            "text.body",
            "text.footer",
            "deliver_at",
            "labels[0]",
            "metadata[\"\"]",
            "request_id"
        ]
    );
    let empty = error_of(client.send_message(v1::SendMessageRequest::default()).await);
    let fields: Vec<&str> = empty.violations.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, ["number", "recipient", "content"]);
    assert_eq!(world.double.requests().iter().filter(|seen| seen.path.contains("messages")).count(), 0);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn urls_that_point_inside_are_refused() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let inside = [
        "http://localhost/x",
        "http://127.0.0.1/x",
        "http://10.1.2.3/x",
        "http://169.254.169.254/latest",
        "http://[::1]/x",
        "http://[::ffff:192.168.0.1]/x",
        "ftp://cdn.example.test/x",
        "/relative",
        "https://user:pass@cdn.example.test/x",
        "http://2130706433/x",
    ];
    for place in inside {
        let media = MediaContent { source: url(place), r#type: MediaType::Image.into(), ..Default::default() };
        let request = v1::SendMessageRequest {
            content: Some(Content::Media(media)),
            ..crate::support::text("+5511987650101", "")
        };
        let told = error_of(client.send_message(request).await);
        assert_eq!((told.reason.as_str(), told.violations[0].0.as_str()), ("INVALID_REQUEST", "media.url"), "{place}");
    }
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_refusal_stays_small_however_much_is_wrong() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let rows = vec![ListRow::default(); 90];
    let sections = vec![ListSection { title: String::new(), rows }; 50];
    let many = Content::List(v1::ListContent { sections, ..Default::default() });
    let rows = vec![ListRow::default(); 1_000_000];
    let huge = Content::List(v1::ListContent {
        sections: vec![ListSection { rows, ..Default::default() }],
        ..Default::default()
    });
    let long = Content::Template(v1::TemplateContent {
        template: "x".to_owned(),
        variables: metadata([(&*"v".repeat(200_000), " ")]),
        ..Default::default()
    });
    for content in [many, huge, long] {
        let request = v1::SendMessageRequest { content: Some(content), ..crate::support::text("+5511987650101", "") };
        let status = client.send_message(request).await.unwrap_err();
        let size = status.message().len() + status.details().len();
        assert!(size < 6_000, "{size} bytes");
        assert_eq!(error_of::<()>(Err(status)).reason, "INVALID_REQUEST");
    }
    world.end(client, gateway).await;
}
