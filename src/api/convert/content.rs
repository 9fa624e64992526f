//! Content and recipients, from the wire.

use std::collections::{BTreeMap, HashSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use super::violations::Violations;
use crate::{
    domain::{
        Invalid,
        content::{
            Button, ButtonAction, Buttons, Card, CardAction, CardButton, Carousel, Content, Flow, FlowAction, FlowMode,
            Header, List, ListRow, ListSection, Media, MediaKind, Template, Text, WebUrl,
        },
        recipient::Recipient,
    },
    proto::v1,
};

/// WhatsApp's own limit for a text.
const TEXT: usize = 4096;
const SHORT: usize = 1024;
const LABEL: usize = 256;

pub(super) fn recipient(wrong: &mut Violations, recipient: Option<v1::Recipient>) -> Option<Recipient> {
    use v1::recipient::Kind;
    let kind = wrong.required("recipient", recipient)?.kind;
    let (field, value) = match wrong.required("recipient.kind", kind)? {
        Kind::PhoneNumber(text) => ("recipient.phone_number", text.parse().map(Recipient::Phone)),
        Kind::UserId(text) => ("recipient.user_id", Recipient::user(&text)),
        Kind::GroupId(text) => ("recipient.group_id", Recipient::group(&text)),
        Kind::NewsletterId(text) => ("recipient.newsletter_id", Recipient::newsletter(&text)),
    };
    wrong.take(field, value)
}

pub(super) fn content(wrong: &mut Violations, content: Option<v1::send_message_request::Content>) -> Option<Content> {
    use v1::send_message_request::Content as Wire;
    match wrong.required("content", content)? {
        Wire::Template(content) => template(wrong, content).map(Content::Template),
        Wire::Text(content) => text(wrong, content).map(Content::Text),
        Wire::Media(content) => media(wrong, "media", content).map(Content::Media),
        Wire::List(content) => list(wrong, content).map(Content::List),
        Wire::Carousel(content) => carousel(wrong, content).map(Content::Carousel),
        Wire::Flow(content) => flow(wrong, content).map(Content::Flow),
    }
}

fn template(wrong: &mut Violations, content: v1::TemplateContent) -> Option<Template> {
    let name = wrong.text("template.template", content.template, 512);
    wrong.count("template.variables", content.variables.len(), 0..=64)?;
    for (name, value) in &content.variables {
        if name.is_empty() || value.trim().is_empty() {
            wrong.add(format!("template.variables[{name:?}]"), "needs a name and a value that is not blank");
        }
    }
    let media = content.media.map(|content| plain_media(wrong, "template.media", content));
    Some(Template {
        template: name?,
        variables: content.variables,
        media: media.unwrap_or_default(),
        ai_rewrite: content.ai_rewrite,
    })
}

fn text(wrong: &mut Violations, content: v1::TextContent) -> Option<Text> {
    let body = wrong.text("text.body", content.body, TEXT);
    let footer = wrong.optional_text("text.footer", content.footer, SHORT);
    let header = content.header.map(|content| header(wrong, content));
    if content.buttons.is_empty() {
        for (field, given) in [("text.header", header.is_some()), ("text.footer", footer.is_some())] {
            if given {
                wrong.add(field, "is allowed only together with buttons");
            }
        }
        return Some(Text { body: body?, buttons: None });
    }
    wrong.count("text.buttons", content.buttons.len(), 1..=3)?;
    let wire = content.buttons.into_iter().enumerate();
    let buttons =
        wire.filter_map(|(index, content)| button(wrong, &format!("text.buttons[{index}]"), content)).collect();
    Some(Text { body: body?, buttons: Some(Buttons { buttons, header: header.flatten(), footer }) })
}

fn header(wrong: &mut Violations, content: v1::Header) -> Option<Header> {
    use v1::header::Kind;
    match wrong.required("text.header.kind", content.kind)? {
        Kind::Text(content) => wrong.text("text.header.text", content, SHORT).map(Header::Text),
        Kind::ImageUrl(url) => wrong.take("text.header.image_url", WebUrl::from_text(&url)).map(Header::Image),
        Kind::VideoUrl(url) => wrong.take("text.header.video_url", WebUrl::from_text(&url)).map(Header::Video),
        Kind::DocumentUrl(url) => wrong.take("text.header.document_url", WebUrl::from_text(&url)).map(Header::Document),
    }
}

fn button(wrong: &mut Violations, path: &str, content: v1::Button) -> Option<Button> {
    use v1::button::Action;
    let label = wrong.text(format!("{path}.label"), content.label, LABEL);
    let action = match wrong.required(format!("{path}.action"), content.action)? {
        Action::Reply(v1::ReplyAction {}) => Some(ButtonAction::Reply),
        Action::Url(url) => wrong.take(format!("{path}.url"), WebUrl::from_text(&url)).map(ButtonAction::Url),
        Action::PhoneNumber(phone) => wrong.take(format!("{path}.phone_number"), phone.parse()).map(ButtonAction::Call),
        Action::CopyCode(code) => wrong.text(format!("{path}.copy_code"), code, LABEL).map(ButtonAction::Copy),
    };
    Some(Button { label: label?, action: action? })
}

/// Media that stands inside something else and so has no caption.
fn plain_media(wrong: &mut Violations, path: &str, content: v1::MediaContent) -> Option<Media> {
    if !content.caption.is_empty() {
        wrong.add(format!("{path}.caption"), "is not allowed here");
    }
    media(wrong, path, v1::MediaContent { caption: String::new(), ..content })
}

fn media(wrong: &mut Violations, path: &str, content: v1::MediaContent) -> Option<Media> {
    let kind = media_kind(wrong, path, content.r#type());
    let caption = wrong.optional_text(format!("{path}.caption"), content.caption, TEXT);
    if caption.is_some() && kind.is_some_and(|kind| !kind.takes_caption()) {
        wrong.add(format!("{path}.caption"), "is allowed only on images, videos and documents");
    }
    let source = match wrong.required(format!("{path}.source"), content.source)? {
        v1::media_content::Source::Url(url) => {
            wrong.take(format!("{path}.url"), WebUrl::from_text(&url)).map(|url| url.as_str().to_owned())
        }
        v1::media_content::Source::Data(data) => {
            if data.is_empty() {
                wrong.add(format!("{path}.data"), "must not be empty");
            }
            wrong
                .take(format!("{path}.mime_type"), mime_type(&content.mime_type))
                .map(|mime_type| format!("data:{mime_type};base64,{}", STANDARD.encode(data)))
        }
    };
    Some(Media { source: source?, kind: kind?, caption })
}

fn media_kind(wrong: &mut Violations, path: &str, kind: v1::MediaType) -> Option<MediaKind> {
    match kind {
        v1::MediaType::Unspecified => {
            wrong.add(format!("{path}.type"), "is required and must be a known type");
            None
        }
        v1::MediaType::Image => Some(MediaKind::Image),
        v1::MediaType::Video => Some(MediaKind::Video),
        v1::MediaType::Document => Some(MediaKind::Document),
        v1::MediaType::Audio => Some(MediaKind::Audio),
        v1::MediaType::Voice => Some(MediaKind::Voice),
        v1::MediaType::Sticker => Some(MediaKind::Sticker),
    }
}

fn mime_type(text: &str) -> Result<&str, Invalid> {
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    let valid = text.len() <= 127 && text.split_once('/').is_some_and(|(kind, rest)| token(kind) && token(rest));
    if valid { Ok(text) } else { Err(Invalid::because("must be a MIME type such as image/png; required with data")) }
}

fn list(wrong: &mut Violations, content: v1::ListContent) -> Option<List> {
    let body = wrong.text("list.body", content.body, TEXT);
    let button_text = wrong.text("list.button_text", content.button_text, LABEL);
    let footer = wrong.optional_text("list.footer", content.footer, SHORT);
    wrong.count("list.sections", content.sections.len(), 1..=100)?;
    let mut ids = HashSet::new();
    let mut sections = Vec::with_capacity(content.sections.len());
    for (index, section) in content.sections.into_iter().enumerate() {
        let path = format!("list.sections[{index}]");
        wrong.count(format!("{path}.rows"), section.rows.len(), 1..=100)?;
        let title = wrong.optional_text(format!("{path}.title"), section.title, LABEL).unwrap_or_default();
        let rows = section.rows.into_iter().enumerate();
        let rows = rows.filter_map(|(index, content)| {
            let row = row(wrong, &format!("{path}.rows[{index}]"), content)?;
            if !ids.insert(row.row_id.clone()) {
                wrong.add(format!("{path}.rows[{index}].row_id"), "must be unique in the list");
            }
            Some(row)
        });
        sections.push(ListSection { title, rows: rows.collect() });
    }
    Some(List { body: body?, button_text: button_text?, sections, footer })
}

fn row(wrong: &mut Violations, path: &str, content: v1::ListRow) -> Option<ListRow> {
    let title = wrong.text(format!("{path}.title"), content.title, LABEL);
    let description = wrong.optional_text(format!("{path}.description"), content.description, SHORT);
    let row_id = wrong.text(format!("{path}.row_id"), content.row_id, LABEL);
    Some(ListRow { title: title?, description, row_id: row_id? })
}

fn carousel(wrong: &mut Violations, content: v1::CarouselContent) -> Option<Carousel> {
    let body = wrong.optional_text("carousel.body", content.body, TEXT);
    wrong.count("carousel.cards", content.cards.len(), 1..=100)?;
    let cards = content.cards.into_iter().enumerate();
    let cards =
        cards.filter_map(|(index, content)| card(wrong, &format!("carousel.cards[{index}]"), content)).collect();
    let card_template = content.card_template.map(|fields| object(wrong, "carousel.card_template", fields));
    Some(Carousel { body, cards, card_template: card_template.unwrap_or_default() })
}

fn card(wrong: &mut Violations, path: &str, content: v1::CarouselCard) -> Option<Card> {
    let media = wrong.required(format!("{path}.media"), content.media);
    let media = media.and_then(|content| plain_media(wrong, &format!("{path}.media"), content));
    let body = wrong.optional_text(format!("{path}.body"), content.body, TEXT).unwrap_or_default();
    wrong.count(format!("{path}.buttons"), content.buttons.len(), 0..=10)?;
    let mut buttons = Vec::with_capacity(content.buttons.len());
    for (index, button) in content.buttons.into_iter().enumerate() {
        let path = format!("{path}.buttons[{index}]");
        let text = wrong.text(format!("{path}.text"), button.text, LABEL);
        let action = match wrong.required(format!("{path}.action"), button.action) {
            None => None,
            Some(v1::carousel_button::Action::QuickReplyPayload(payload)) => Some(CardAction::QuickReply(payload)),
            Some(v1::carousel_button::Action::Url(url)) => {
                wrong.take(format!("{path}.url"), WebUrl::from_text(&url)).map(CardAction::Url)
            }
        };
        buttons.extend(text.zip(action).map(|(text, action)| CardButton { text, action }));
    }
    Some(Card { media: media?, body, buttons })
}

fn flow(wrong: &mut Violations, content: v1::FlowContent) -> Option<Flow> {
    let action = match content.action() {
        v1::FlowAction::Unspecified => {
            wrong.add("flow.action", "is required and must be a known action");
            None
        }
        v1::FlowAction::Navigate => Some(FlowAction::Navigate),
        v1::FlowAction::DataExchange => Some(FlowAction::DataExchange),
    };
    let mode = match v1::FlowMode::try_from(content.mode) {
        Ok(v1::FlowMode::Unspecified | v1::FlowMode::Published) => Some(FlowMode::Published),
        Ok(v1::FlowMode::Draft) => Some(FlowMode::Draft),
        Err(_) => {
            wrong.add("flow.mode", "must be a known mode");
            None
        }
    };
    let body = wrong.optional_text("flow.body", content.body, TEXT);
    let flow_id = wrong.text("flow.flow_id", content.flow_id, LABEL);
    let cta = wrong.text("flow.cta", content.cta, LABEL);
    let screen = wrong.optional_text("flow.screen", content.screen, LABEL);
    let data = content.data.map(|fields| object(wrong, "flow.data", fields)).unwrap_or_default();
    Some(Flow { body, flow_id: flow_id?, cta: cta?, action: action?, screen, data, mode: mode? })
}

fn object(wrong: &mut Violations, path: &str, fields: prost_types::Struct) -> Option<Map<String, Value>> {
    let value = wrong.take(path, json_of_fields(fields.fields, 0))?;
    match value {
        Value::Object(map) => Some(map),
        _ => None,
    }
}

fn json_of_fields(fields: BTreeMap<String, prost_types::Value>, depth: u8) -> Result<Value, Invalid> {
    let pairs = fields.into_iter().map(|(key, value)| Ok((key, json_of(value, depth)?)));
    pairs.collect::<Result<Map<_, _>, _>>().map(Value::Object)
}

/// A whole number stays one: protobuf has only floating-point numbers here, JSON readers may care.
fn json_of(value: prost_types::Value, depth: u8) -> Result<Value, Invalid> {
    use prost_types::value::Kind;
    const WHOLE: f64 = 9_007_199_254_740_992.0;
    if depth > 32 {
        return Err(Invalid::because("must not be nested deeper than 32 levels"));
    }
    Ok(match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        #[expect(clippy::cast_possible_truncation, reason = "whole and inside the range that a double holds exactly")]
        Some(Kind::NumberValue(number)) if number.fract() == 0.0 && number.abs() < WHOLE => (number as i64).into(),
        Some(Kind::NumberValue(number)) => serde_json::Number::from_f64(number)
            .map(Value::Number)
            .ok_or_else(|| Invalid::because("must hold only finite numbers"))?,
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::BoolValue(truth)) => Value::Bool(truth),
        Some(Kind::StructValue(inner)) => json_of_fields(inner.fields, depth + 1)?,
        Some(Kind::ListValue(list)) => {
            Value::Array(list.values.into_iter().map(|value| json_of(value, depth + 1)).collect::<Result<_, _>>()?)
        }
    })
}
