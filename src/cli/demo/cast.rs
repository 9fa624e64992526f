//! The five messages of the demo: what each says, to whom, and how it has to end.

use std::time::{Duration, SystemTime};

use crate::{
    cli::demo::is_final,
    proto::v1::{
        Button, MediaContent, MediaType, MessageStatus, Recipient, ReplyAction, SendMessageRequest, TemplateContent,
        TextContent, button::Action, media_content::Source, recipient::Kind, send_message_request::Content,
    },
};

/// A message of the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Template,
    Buttons,
    Document,
    Scheduled,
    Failing,
}

/// What has been seen of a message so far.
pub(super) struct Scene {
    pub(super) role: Role,
    pub(super) message_id: String,
    pub(super) steps: Vec<Step>,
}

/// One status, with when the gateway learned of it.
pub(super) struct Step {
    pub(super) status: MessageStatus,
    pub(super) at: Duration,
}

impl Role {
    pub(super) const ALL: [Self; 5] = [Self::Template, Self::Buttons, Self::Document, Self::Scheduled, Self::Failing];

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Template => "template",
            Self::Buttons => "text+buttons",
            Self::Document => "document",
            Self::Scheduled => "scheduled",
            Self::Failing => "unreachable",
        }
    }

    pub(super) const fn about(self) -> &'static str {
        match self {
            Self::Template => "order_update with name and order filled in",
            Self::Buttons => "a text with a reply and a link",
            Self::Document => "a PDF with a caption",
            Self::Scheduled => "a text scheduled for an hour from now, then canceled",
            Self::Failing => "a text to somebody who is not on WhatsApp",
        }
    }

    const fn ends_as(self) -> MessageStatus {
        match self {
            Self::Template | Self::Buttons | Self::Document => MessageStatus::Read,
            Self::Scheduled => MessageStatus::Canceled,
            Self::Failing => MessageStatus::Failed,
        }
    }

    /// The double decides by the last digits: 0001 is not on WhatsApp, others read what they get.
    const fn phone(self) -> &'static str {
        match self {
            Self::Template => "+5511987650101",
            Self::Buttons => "+5511987650102",
            Self::Document => "+5511987650103",
            Self::Scheduled => "+5511987650104",
            Self::Failing => "+5511987650001",
        }
    }
}

impl Scene {
    fn last(&self) -> Option<MessageStatus> {
        self.steps.last().map(|step| step.status)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.last().is_some_and(is_final)
    }

    pub(super) fn ended_as_expected(&self) -> bool {
        self.last() == Some(self.role.ends_as())
    }
}

/// The request for a role; the same one each time, down to the request id.
pub(super) fn request(role: Role, number: &str) -> SendMessageRequest {
    let text = |body: &str| TextContent { body: body.to_owned(), ..TextContent::default() };
    let button = |label: &str, action| Button { label: label.to_owned(), action: Some(action) };
    let content = match role {
        Role::Template => Content::Template(TemplateContent {
            template: "order_update".to_owned(),
            variables: [("name", "Rita"), ("order", "A-7731")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            ..TemplateContent::default()
        }),
        Role::Buttons => Content::Text(TextContent {
            buttons: vec![
                button("Yes, that's me", Action::Reply(ReplyAction {})),
                button("Track it", Action::Url("https://shop.example.com/orders/A-7731".to_owned())),
            ],
            footer: "The shop".to_owned(),
            ..text("Your order A-7731 is on its way. Are you at home?")
        }),
        Role::Document => Content::Media(MediaContent {
            source: Some(Source::Url("https://shop.example.com/invoices/A-7731.pdf".to_owned())),
            r#type: MediaType::Document.into(),
            caption: "Your invoice".to_owned(),
            ..MediaContent::default()
        }),
        Role::Scheduled => Content::Text(text("How did you like your order?")),
        Role::Failing => Content::Text(text("Hello?")),
    };
    let in_an_hour = SystemTime::now() + Duration::from_secs(3600);
    SendMessageRequest {
        number: number.to_owned(),
        recipient: Some(Recipient { kind: Some(Kind::PhoneNumber(role.phone().to_owned())) }),
        content: Some(content),
        deliver_at: (role == Role::Scheduled).then(|| in_an_hour.into()),
        request_id: format!("demo-{}", role.label()),
        ..SendMessageRequest::default()
    }
}

/// A time as the span since 1970, which is enough for taking differences.
pub(super) fn instant(time: prost_types::Timestamp) -> Option<Duration> {
    Some(Duration::new(u64::try_from(time.seconds).ok()?, u32::try_from(time.nanos).ok()?))
}
