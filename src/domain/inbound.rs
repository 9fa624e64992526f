//! What comes in at a number and is no status of a message sent through this gateway.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    ids::{MessageId, NumberName},
    merge::Fact,
    message::{ForeignIds, Micros},
};

/// An inbound event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inbound {
    /// The number it came in at.
    pub number: NumberName,
    /// Its name as Pilot Status writes it; empty if it has none.
    pub name: String,
    /// When it happened; the time of observation where the source does not tell.
    #[serde(with = "jiff::fmt::serde::timestamp::microsecond::required")]
    pub at: Timestamp,
    /// When the gateway learned of it.
    #[serde(with = "jiff::fmt::serde::timestamp::microsecond::required")]
    pub observed_at: Timestamp,
    /// What happened.
    pub what: Happening,
}

impl Inbound {
    /// What happened at one time at this number. The time is cut to what is stored, so that it is the same before and
    /// after.
    pub fn at(number: NumberName, name: String, (at, observed_at): (Timestamp, Timestamp), what: Happening) -> Self {
        let [at, observed_at] = [at, observed_at].map(|time| Micros::of(time).get());
        Self { number, name, at, observed_at, what }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// Somebody wrote.
    Message(Box<InboundMessage>),
    /// The number itself changed: its life or its health.
    Number(NumberChange),
    /// A call rang, began, ended or was missed, or the permission to call changed.
    Call(Call),
    /// A lead came in.
    Lead(Box<Lead>),
    /// A status of a message that was not sent through this gateway, or whose hand-off nobody can tell.
    Unattributed(Unattributed),
    /// None of these: the text of the JSON as it came. JSON that is too long or nested too deeply is kept as one JSON
    /// string that holds its beginning.
    Unrecognized(String),
}

impl Happening {
    /// Which kind it is.
    pub const fn kind(&self) -> InboundKind {
        match self {
            Self::Message(_) => InboundKind::Message,
            Self::Number(_) => InboundKind::Number,
            Self::Call(_) => InboundKind::Call,
            Self::Lead(_) => InboundKind::Lead,
            Self::Unattributed(_) => InboundKind::Unattributed,
            Self::Unrecognized(_) => InboundKind::Unrecognized,
        }
    }
}

/// The kinds of inbound events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InboundKind {
    /// Messages and replies, also in groups and newsletters.
    Message,
    /// Life and health of the number.
    Number,
    /// Calls.
    Call,
    /// Leads.
    Lead,
    /// Statuses of messages that were not sent through this gateway.
    Unattributed,
    /// Everything else.
    Unrecognized,
}

/// A message that came in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InboundMessage {
    /// How it came.
    pub source: MessageSource,
    /// Its ids.
    pub ids: ForeignIds,
    /// True if the number's own side wrote it, on the phone for example.
    pub from_me: bool,
    /// What it is: `text`, `image` and so on, as Pilot Status writes it; empty if not told.
    pub kind: String,
    /// Who wrote, as Pilot Status writes it; may be empty by policy.
    pub from: String,
    /// To whom.
    pub to: String,
    /// The writer's display name.
    pub participant: String,
    /// What it says; may be empty by policy.
    pub text: String,
    /// What is attached.
    pub media: Option<InboundMedia>,
    /// What it answers.
    pub quoted: Option<Quoted>,
    /// The group or newsletter it was written in.
    pub room: Option<Room>,
    /// The button that was pressed.
    pub button: String,
    /// Further fields as a JSON object; empty if there are none.
    pub extra: String,
}

/// How a message came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageSource {
    /// Written to the number.
    #[default]
    Received,
    /// Written as an answer to one of its messages.
    Reply,
    /// Written in a group.
    Group,
    /// Written in a newsletter.
    Newsletter,
}

/// An attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InboundMedia {
    /// Where it can be fetched; empty if only an id is told.
    pub url: String,
    /// The provider's id of it.
    pub id: String,
    /// Its type, as Pilot Status writes it.
    pub kind: String,
    /// Its caption.
    pub caption: String,
    /// Its file name.
    pub file_name: String,
}

/// The message that an inbound message answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quoted {
    /// Its ids.
    pub ids: ForeignIds,
    /// Its text, if told.
    pub text: String,
    /// Our id, if it was sent through this gateway. Filled in by the store.
    pub message_id: Option<MessageId>,
}

/// A group or newsletter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Its id.
    pub id: String,
    /// Its name; empty if not told.
    pub name: String,
}

/// A change of the number itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NumberChange {
    /// Its phone.
    pub phone: String,
    /// Its label at Pilot Status.
    pub display_name: String,
    /// What went wrong, if anything did.
    pub error: String,
    /// The code of that.
    pub error_code: String,
    /// Further fields as a JSON object; empty if there are none.
    pub extra: String,
}

/// A step of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Call {
    /// Pilot Status's id; empty if it has none.
    pub call_id: String,
    /// The provider's id.
    pub external_id: String,
    /// `INBOUND` or `OUTBOUND`, as Pilot Status writes it.
    pub direction: String,
    /// The status word.
    pub status: String,
    /// Who calls.
    pub from: String,
    /// Who is called.
    pub to: String,
    /// How many seconds it took, if it is over.
    pub seconds: Option<u64>,
    /// Further fields as a JSON object; empty if there are none.
    pub extra: String,
}

/// A lead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lead {
    /// Pilot Status's id.
    pub lead_id: String,
    /// The platform's id.
    pub leadgen_id: String,
    /// The page it came from.
    pub page_id: String,
    /// The form that was filled in.
    pub form_id: String,
    /// `fb` or `ig`, as Pilot Status writes it.
    pub platform: String,
    /// The person's name.
    pub full_name: String,
    /// The person's address.
    pub email: String,
    /// The person's phone.
    pub phone: String,
    /// Whether no ad led to it, if told.
    pub organic: Option<bool>,
    /// Whether the person agreed to be contacted, if told.
    pub consent: Option<bool>,
    /// The answers in the form.
    pub fields: Vec<LeadField>,
    /// Further fields as a JSON object; empty if there are none.
    pub extra: String,
}

/// An answer in a lead's form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeadField {
    /// Which question.
    pub key: String,
    /// The question as it was shown.
    pub label: String,
    /// The answers.
    pub values: Vec<String>,
}

/// A status that belongs to no message of this gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unattributed {
    /// What was told.
    pub fact: Fact,
    /// Whether it is certain that Pilot Status told it.
    pub trust: Trust,
}

/// Whether what a webhook tells may be taken as Pilot Status's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// It may.
    Proven,
    /// It may of a message that its ids name. Of one that only looks like it, not before it was read back.
    Named,
    /// Not before it was read back.
    Claimed,
}

/// What makes two deliveries the same event, within one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventIdentity([u8; 16]);

impl EventIdentity {
    /// Of these parts of an event at this number.
    pub fn of<'a>(number: &'a NumberName, parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut digest = Sha256::new();
        for part in std::iter::once(number.as_str().as_bytes()).chain(parts) {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let mut short = [0; 16];
        short.copy_from_slice(&digest.finalize()[..16]);
        Self(short)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}
