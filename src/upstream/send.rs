//! The body of a send: domain values become Pilot Status's JSON, always the same bytes for the same values.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::{
    content::{
        Button, ButtonAction, Buttons, Card, CardAction, CardButton, Carousel, Content, Flow, FlowAction, FlowMode,
        Header, List, Media, MediaKind,
    },
    intent::Intent,
    recipient::Recipient,
};

/// A body ready to be sent, and to be sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendBody(Bytes);

impl SendBody {
    /// Builds the body.
    pub fn of(intent: &Intent) -> Result<Self, serde_json::Error> {
        serde_json::to_vec(&Wire::of(intent)).map(|bytes| Self(bytes.into()))
    }

    /// A body that was kept, as it is first sent at `since`. A time to deliver at that has passed by then is left out,
    /// for Pilot Status does not say what it makes of one; the same `since` gives the same bytes.
    pub fn kept(bytes: &[u8], since: Timestamp) -> Result<Self, serde_json::Error> {
        let kept: DeliverAt = serde_json::from_slice(bytes)?;
        if kept.deliver_at.is_none_or(|at| at > since) {
            return Ok(Self(Bytes::copy_from_slice(bytes)));
        }
        let mut body: Map<String, Value> = serde_json::from_slice(bytes)?;
        body.remove("deliverAt");
        serde_json::to_vec(&body).map(|bytes| Self(bytes.into()))
    }

    /// The bytes as they go over the wire.
    pub fn bytes(&self) -> Bytes {
        self.0.clone()
    }
}

/// What decides whether a kept body goes as it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeliverAt {
    deliver_at: Option<Timestamp>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    destination_number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    newsletter_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variables: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    marketing_options: Option<MarketingOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    buttons: Vec<WireButton<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<WireHeader<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    footer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<MediaKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caption: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    list: Option<WireList<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    carousel: Option<WireCarousel<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<WireFlow<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliver_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliver_until: Option<String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    labels: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    mark_read: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MarketingOptions {
    ai_rewrite_enabled: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireButton<'a> {
    r#type: &'static str,
    label: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone_number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    copy_code: Option<&'a str>,
}

#[derive(Serialize)]
struct WireHeader<'a> {
    r#type: &'static str,
    content: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireList<'a> {
    button_text: &'a str,
    sections: Vec<WireSection<'a>>,
}

#[derive(Serialize)]
struct WireSection<'a> {
    title: &'a str,
    rows: Vec<WireRow<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireRow<'a> {
    title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    row_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireCarousel<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    card_template: Option<&'a Map<String, Value>>,
    cards: Vec<WireCard<'a>>,
}

#[derive(Serialize)]
struct WireCard<'a> {
    media: WireCardMedia<'a>,
    body: &'a str,
    buttons: Vec<WireCardButton<'a>>,
}

#[derive(Serialize)]
struct WireCardMedia<'a> {
    r#type: MediaKind,
    url: &'a str,
}

#[derive(Serialize)]
struct WireCardButton<'a> {
    r#type: &'static str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireFlow<'a> {
    flow_id: &'a str,
    cta: &'a str,
    action: FlowAction,
    #[serde(skip_serializing_if = "Option::is_none")]
    screen: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Map<String, Value>>,
    mode: FlowMode,
}

impl<'a> Wire<'a> {
    fn of(intent: &'a Intent) -> Self {
        let mut wire = Self {
            deliver_at: intent.deliver_at.map(iso),
            deliver_until: intent.deliver_until.map(iso),
            labels: &intent.labels,
            mark_read: intent.mark_read,
            ..Self::default()
        };
        match &intent.recipient {
            Recipient::Phone(phone) => wire.destination_number = Some(phone.as_str()),
            Recipient::User(id) => wire.destination_number = Some(id),
            Recipient::Group(jid) => wire.group_id = Some(jid),
            Recipient::Newsletter(jid) => wire.newsletter_id = Some(jid),
        }
        match &intent.content {
            Content::Template(template) => {
                wire.template_id = Some(&template.template);
                wire.variables = Some(&template.variables);
                wire.marketing_options =
                    template.ai_rewrite.map(|ai_rewrite_enabled| MarketingOptions { ai_rewrite_enabled });
                if let Some(media) = &template.media {
                    wire.set_media(media);
                }
            }
            Content::Text(text) => {
                wire.text = Some(&text.body);
                if let Some(buttons) = &text.buttons {
                    wire.set_buttons(buttons);
                }
            }
            Content::Media(media) => wire.set_media(media),
            Content::List(list) => {
                wire.text = Some(&list.body);
                wire.footer = list.footer.as_deref();
                wire.list = Some(list_of(list));
            }
            Content::Carousel(carousel) => {
                wire.text = carousel.body.as_deref();
                wire.carousel = Some(carousel_of(carousel));
            }
            Content::Flow(flow) => {
                wire.text = flow.body.as_deref();
                wire.flow = Some(flow_of(flow));
            }
        }
        wire
    }

    fn set_media(&mut self, media: &'a Media) {
        self.media = Some(&media.source);
        self.media_type = Some(media.kind);
        self.caption = media.caption.as_deref();
    }

    fn set_buttons(&mut self, buttons: &'a Buttons) {
        self.buttons = buttons.buttons.iter().map(button_of).collect();
        self.footer = buttons.footer.as_deref();
        self.header = buttons.header.as_ref().map(|header| match header {
            Header::Text(text) => WireHeader { r#type: "text", content: text },
            Header::Image(url) => WireHeader { r#type: "image", content: url.as_str() },
            Header::Video(url) => WireHeader { r#type: "video", content: url.as_str() },
            Header::Document(url) => WireHeader { r#type: "document", content: url.as_str() },
        });
    }
}

fn button_of(button: &Button) -> WireButton<'_> {
    let mut wire = WireButton { r#type: "reply", label: &button.label, url: None, phone_number: None, copy_code: None };
    match &button.action {
        ButtonAction::Reply => {}
        ButtonAction::Url(url) => (wire.r#type, wire.url) = ("url", Some(url.as_str())),
        ButtonAction::Call(phone) => (wire.r#type, wire.phone_number) = ("call", Some(phone.as_str())),
        ButtonAction::Copy(code) => (wire.r#type, wire.copy_code) = ("copy", Some(code.as_str())),
    }
    wire
}

fn list_of(list: &List) -> WireList<'_> {
    let sections = list
        .sections
        .iter()
        .map(|section| WireSection {
            title: &section.title,
            rows: section
                .rows
                .iter()
                .map(|row| WireRow { title: &row.title, description: row.description.as_deref(), row_id: &row.row_id })
                .collect(),
        })
        .collect();
    WireList { button_text: &list.button_text, sections }
}

fn carousel_of(carousel: &Carousel) -> WireCarousel<'_> {
    WireCarousel { card_template: carousel.card_template.as_ref(), cards: carousel.cards.iter().map(card_of).collect() }
}

fn card_of(card: &Card) -> WireCard<'_> {
    WireCard {
        media: WireCardMedia { r#type: card.media.kind, url: &card.media.source },
        body: &card.body,
        buttons: card.buttons.iter().map(card_button_of).collect(),
    }
}

fn card_button_of(button: &CardButton) -> WireCardButton<'_> {
    let mut wire = WireCardButton { r#type: "URL", text: &button.text, url: None, payload: None };
    match &button.action {
        CardAction::QuickReply(payload) => (wire.r#type, wire.payload) = ("QUICK_REPLY", Some(payload.as_str())),
        CardAction::Url(url) => wire.url = Some(url.as_str()),
    }
    wire
}

fn flow_of(flow: &Flow) -> WireFlow<'_> {
    WireFlow {
        flow_id: &flow.flow_id,
        cta: &flow.cta,
        action: flow.action,
        screen: flow.screen.as_deref(),
        data: flow.data.as_ref(),
        mode: flow.mode,
    }
}

/// UTC with milliseconds, as Pilot Status writes its own times.
pub(super) fn iso(time: Timestamp) -> String {
    format!("{time:.3}")
}
