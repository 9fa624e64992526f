//! What a message says, in the six forms that Pilot Status knows.
//!
//! Conversions at the gRPC door build these from checked parts; from there on a `Content` is well formed. Maps are
//! ordered, so that the same content always becomes the same bytes.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

/// The content of one message.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// A template.
    Template(Template),
    /// Free-form text.
    Text(Text),
    /// A media file.
    Media(Media),
    /// A list of choices.
    List(List),
    /// Cards.
    Carousel(Carousel),
    /// A form.
    Flow(Flow),
}

/// A template and the values of its placeholders.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Template {
    /// Id or name.
    pub template: String,
    /// Values by placeholder.
    pub variables: BTreeMap<String, String>,
    /// Replaces the header media of the template; its caption is empty.
    pub media: Option<Media>,
    /// Whether wording may be varied; `None` leaves it upstream.
    pub ai_rewrite: Option<bool>,
}

/// Free-form text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Text {
    /// The text.
    pub body: String,
    /// At most three buttons, with what surrounds them.
    pub buttons: Option<Buttons>,
}

/// Buttons; header and footer exist only together with them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Buttons {
    /// One to three.
    pub buttons: Vec<Button>,
    /// Above the text.
    pub header: Option<Header>,
    /// Below the text.
    pub footer: Option<String>,
}

/// A button under a text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Button {
    /// What it shows.
    pub label: String,
    /// What it does.
    pub action: ButtonAction,
}

/// What a button does.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ButtonAction {
    /// Replies with the label.
    Reply,
    /// Opens a URL.
    Url(WebUrl),
    /// Calls a phone number.
    Call(super::recipient::PhoneNumber),
    /// Copies a code.
    Copy(String),
}

/// What stands above a text with buttons.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Header {
    /// Text.
    Text(String),
    /// A picture.
    Image(WebUrl),
    /// A video.
    Video(WebUrl),
    /// A document.
    Document(WebUrl),
}

/// A media file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Media {
    /// The wire value: an http(s) URL or a base64 data URI.
    pub source: String,
    /// How it is shown.
    pub kind: MediaKind,
    /// Text under it.
    pub caption: Option<String>,
}

/// How a media file is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaKind {
    /// A picture.
    Image,
    /// A video.
    Video,
    /// A file.
    Document,
    /// Sound, delivered as a voice note.
    Audio,
    /// A voice note.
    Voice,
    /// A sticker.
    Sticker,
}

impl MediaKind {
    /// Pictures, videos and documents can carry a caption.
    pub const fn takes_caption(self) -> bool {
        matches!(self, Self::Image | Self::Video | Self::Document)
    }
}

/// A list of choices behind a button.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct List {
    /// Text above the button.
    pub body: String,
    /// Label of the button.
    pub button_text: String,
    /// Groups of choices.
    pub sections: Vec<ListSection>,
    /// Below the text.
    pub footer: Option<String>,
}

/// A group of choices.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ListSection {
    /// Heading.
    pub title: String,
    /// Choices.
    pub rows: Vec<ListRow>,
}

/// One choice.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ListRow {
    /// What is read.
    pub title: String,
    /// Second line.
    pub description: Option<String>,
    /// Comes back in the reply.
    pub row_id: String,
}

/// Cards to swipe through.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Carousel {
    /// Text above the cards.
    pub body: Option<String>,
    /// The cards.
    pub cards: Vec<Card>,
    /// Passed upstream as it is.
    pub card_template: Option<Map<String, Value>>,
}

/// One card.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Card {
    /// Its picture or video.
    pub media: Media,
    /// Its text.
    pub body: String,
    /// Its buttons.
    pub buttons: Vec<CardButton>,
}

/// A button on a card.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CardButton {
    /// What it shows.
    pub text: String,
    /// What it does.
    pub action: CardAction,
}

/// What a card's button does.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CardAction {
    /// Replies with this payload, which may be empty.
    QuickReply(String),
    /// Opens a URL.
    Url(WebUrl),
}

/// A form.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Flow {
    /// Text above the button.
    pub body: Option<String>,
    /// Id of the flow.
    pub flow_id: String,
    /// Label of the button.
    pub cta: String,
    /// How it starts.
    pub action: FlowAction,
    /// First screen.
    pub screen: Option<String>,
    /// Data for it.
    pub data: Option<Map<String, Value>>,
    /// Which version.
    pub mode: FlowMode,
}

/// How a flow starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowAction {
    /// Opens a screen.
    Navigate,
    /// Asks the flow's endpoint.
    DataExchange,
}

/// Which version of a flow is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowMode {
    /// The published one.
    Published,
    /// The draft.
    Draft,
}

/// A URL that others fetch or open: http or https, with a public-looking host and no credentials, at most 2048 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct WebUrl(String);

impl WebUrl {
    /// Checks a URL. Literal addresses of private, loopback and link-local networks are refused, since Pilot Status
    /// fetches what callers name; names are not resolved here.
    pub fn from_text(text: &str) -> Result<Self, super::Invalid> {
        let refuse = |why: &str| Err(super::Invalid::because(why));
        if text.len() > 2048 {
            return refuse("must be at most 2048 bytes");
        }
        let Ok(url) = url::Url::parse(text) else {
            return refuse("must be an absolute http or https URL");
        };
        if !matches!(url.scheme(), "http" | "https") {
            return refuse("must be an absolute http or https URL");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("must not carry credentials");
        }
        if is_private(&url) { refuse("must not name a private or local address") } else { Ok(Self(text.to_owned())) }
    }

    /// As given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_private(url: &url::Url) -> bool {
    match url.host() {
        None => true,
        Some(url::Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost") || name.ends_with(".internal")
        }
        Some(url::Host::Ipv4(ip)) => is_private_v4(ip),
        Some(url::Host::Ipv6(ip)) => match ip.to_ipv4_mapped() {
            Some(v4) => is_private_v4(v4),
            None => ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local(),
        },
    }
}

fn is_private_v4(ip: std::net::Ipv4Addr) -> bool {
    ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || ip.is_broadcast()
}
