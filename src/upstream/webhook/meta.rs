//! Bodies of Meta that are passed on as they are: `{object, entry: [{id, changes: [{field, value}]}]}`, where a value holds
//! `statuses` and `messages`.
//!
//! Each part stands for itself. Parts that cannot be read, and changes of other fields, are taken over as bodies of the
//! same shape that hold nothing else.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json, value::RawValue};

use super::{
    super::{clean, reply},
    Arrival, Item, Told,
    fields::{self, Fields},
    identity,
    items::Items,
    unrecognized,
};
use crate::domain::{
    failure::Failure,
    ids::ExternalId,
    inbound::{Happening, InboundMedia, InboundMessage, MessageSource, Quoted, Room},
    merge::{Fact, Observed},
    message::ForeignIds,
    status::{Origin, Status},
};

/// The field whose changes are statuses and messages.
const MESSAGES: &str = "messages";

/// What may be attached, each an object of its own.
const MEDIA: [&str; 6] = ["image", "video", "audio", "voice", "document", "sticker"];

/// Of a contact, not more than so many bytes are told with a message.
const MOST_CONTACT: usize = 4096;

/// False if it is no such body.
pub(super) fn read(body: &Value, arrival: &Arrival<'_>, items: &mut Items) -> bool {
    let Some(entries) = body.get("entry").and_then(Value::as_array).filter(|entries| !entries.is_empty()) else {
        return false;
    };
    for entry in entries {
        let shell = Shell { body, entry, arrival };
        match entry.get("changes").and_then(Value::as_array) {
            Some(changes) if !changes.is_empty() => changes.iter().for_each(|change| shell.read(change, items)),
            _ => items.push(shell.unrecognized("", entry.clone())),
        }
        if shell.holds_more() {
            items.push(shell.unrecognized("", without(entry, &["changes"])));
        }
    }
    let more = without(body, &["object", "entry"]);
    if more.as_object().is_some_and(|more| !more.is_empty()) {
        items.push(unrecognized::part("", &more, arrival));
    }
    true
}

/// How many items a body makes at least, told without reading more of it than it takes to count them.
pub(super) fn count(body: &RawValue) -> usize {
    let of_change = |change: &RawValue| {
        let change = inside(Some(&change));
        let field = change.get("field").and_then(|field| serde_json::from_str::<String>(field.get()).ok());
        let value = if field.is_some_and(|field| field == MESSAGES) { change.get("value") } else { None };
        let value = inside(value);
        ["statuses", "messages"].map(|name| elements(value.get(name)).len()).iter().sum::<usize>().max(1)
    };
    let of_entry = |entry: &RawValue| {
        let changes = elements(inside(Some(&entry)).get("changes"));
        changes.into_iter().map(of_change).sum::<usize>().max(1)
    };
    elements(inside(Some(&body)).get("entry")).into_iter().map(of_entry).sum::<usize>().max(1)
}

/// The fields of an object; none of anything else.
fn inside<'a>(value: Option<&&'a RawValue>) -> BTreeMap<String, &'a RawValue> {
    value.and_then(|value| serde_json::from_str(value.get()).ok()).unwrap_or_default()
}

/// The elements of an array; none of anything else.
fn elements<'a>(value: Option<&&'a RawValue>) -> Vec<&'a RawValue> {
    value.and_then(|value| serde_json::from_str(value.get()).ok()).unwrap_or_default()
}

/// What stands around a change.
struct Shell<'a> {
    body: &'a Value,
    entry: &'a Value,
    arrival: &'a Arrival<'a>,
}

impl Shell<'_> {
    fn read(&self, change: &Value, items: &mut Items) {
        let field = change.get("field").and_then(Value::as_str).unwrap_or_default();
        let before = items.len();
        let value = if field == MESSAGES { change.get("value") } else { None };
        let left = match value.and_then(|value| Fields::of(value, self.arrival.key)) {
            Some(value) => {
                let left = self.read_value(value, items);
                let mut change = without(change, &["value"]);
                if let Some(change) = change.as_object_mut()
                    && !left.is_empty()
                {
                    change.insert("value".to_owned(), left.left());
                }
                change
            }
            None => change.clone(),
        };
        if items.len() == before {
            items.push(self.of_change(field, change.clone()));
        } else if left.as_object().is_some_and(|left| left.len() > 1) {
            items.push(self.of_change(field, left));
        }
    }

    /// Returns what could not be read.
    fn read_value<'b>(&self, mut value: Fields<'b>, items: &mut Items) -> Fields<'b> {
        let array = |value: &mut Fields<'b>, name| value.take(&[name], |array| array.as_array().cloned());
        let [statuses, messages, contacts] = ["statuses", "messages", "contacts"].map(|name| array(&mut value, name));
        let mut metadata = value.inner("metadata");
        let to = metadata.as_mut().map(|metadata| metadata.text(&["display_phone_number"])).unwrap_or_default();
        let phone_id = metadata.as_mut().map(|metadata| metadata.text(&["phone_number_id"])).unwrap_or_default();
        if let Some(metadata) = metadata {
            value.put_back("metadata", metadata);
        }
        value.take(&["messaging_product"], |product| (product == "whatsapp").then_some(()));

        let mut contacts = Contacts::of(contacts.unwrap_or_default());
        let (mut unread, mut any_status) = (Vec::new(), false);
        for one in statuses.unwrap_or_default() {
            match self.status(&one) {
                Some(item) => {
                    items.push(item);
                    any_status = true;
                }
                None => unread.push(one),
            }
        }
        put_array(&mut value, "statuses", unread);
        let mut unread = Vec::new();
        for one in messages.unwrap_or_default() {
            match self.message(&one, &to, &phone_id, &mut contacts) {
                Some(item) => items.push(item),
                None => unread.push(one),
            }
        }
        put_array(&mut value, "messages", unread);
        // Those of statuses are the recipients.
        if !any_status {
            put_array(&mut value, "contacts", contacts.untold());
        }
        value
    }

    fn status(&self, one: &Value) -> Option<Item> {
        let mut of = Fields::of(one, self.arrival.key)?;
        let external = of.id(&["id"], ExternalId::from_text)?;
        let word = of.text(&["status"]);
        let status = match reply::status_of(&word) {
            Some(Status::Failed) => Observed::Failed(self.failure(one.get("errors"))),
            Some(status) => Observed::Reached(status),
            None if word.is_empty() => return None,
            None => Observed::Unknown(clean::text(&word, self.arrival.key)),
        };
        let fact = Fact {
            status,
            at: of.time(&["timestamp"]).unwrap_or(self.arrival.delivered_at),
            observed_at: self.arrival.observed_at,
            origin: Origin::Webhook,
            ids: ForeignIds { external: Some(external), ..ForeignIds::default() },
        };
        Some(Item::Status(Told { fact, said: None }))
    }

    fn failure(&self, errors: Option<&Value>) -> Failure {
        let key = self.arrival.key;
        let error = errors.and_then(|errors| errors.get(0));
        let text = |name: &str| error.and_then(|error| fields::word(error.get(name)?));
        let code = text("code").and_then(|code| clean::code(&code, key).map(str::to_owned));
        let title = text("title").or_else(|| text("message"));
        let details = error.and_then(|error| fields::word(error.get("error_data")?.get("details")?));
        let message = [title, details].into_iter().flatten().collect::<Vec<_>>().join(": ");
        Failure::reported(code.unwrap_or_default(), clean::text(&message, key))
    }

    fn message(&self, one: &Value, to: &str, phone_id: &str, contacts: &mut Contacts) -> Option<Item> {
        let mut of = Fields::of(one, self.arrival.key)?;
        let external = of.id(&["id"], ExternalId::from_text);
        let identity = identity::of(MESSAGES, &[external.as_ref().map_or("", ExternalId::as_str)], one, self.arrival);
        let from = of.text(&["from"]);
        if external.is_none() && from.is_empty() {
            return None;
        }
        let at = of.time(&["timestamp"]);
        let mut message = InboundMessage {
            kind: of.text(&["type"]),
            to: to.to_owned(),
            participant: contacts.name_of(&from, &mut of),
            from,
            ids: ForeignIds { external, ..ForeignIds::default() },
            ..InboundMessage::default()
        };
        read_content(&mut of, &mut message);
        if let Some(mut context) = of.inner("context") {
            if let Some(id) = context.id(&["id"], ExternalId::from_text) {
                message.source = MessageSource::Reply;
                message.quoted = Some(quoted(id));
            }
            of.put_back("context", context);
        }
        let room = of.text(&["group_id"]);
        if !room.is_empty() {
            message.source = MessageSource::Group;
            message.room = Some(Room { id: room, name: String::new() });
        }
        if !phone_id.is_empty() {
            of.put("phone_number_id", Value::String(phone_id.to_owned()));
        }
        message.extra = of.rest();
        Some(Item::Event(self.arrival.inbound(MESSAGES, at, Happening::Message(Box::new(message))), identity))
    }

    /// Whether an entry tells of more than changes.
    fn holds_more(&self) -> bool {
        let more =
            |entry: &Map<String, Value>| entry.keys().any(|name| !["id", "time", "changes"].contains(&name.as_str()));
        self.entry.get("changes").is_some() && self.entry.as_object().is_some_and(more)
    }

    fn of_change(&self, field: &str, change: Value) -> Item {
        let mut entry = Map::new();
        for name in ["id", "time"] {
            let short = |value: &&Value| fields::word(value).is_some_and(|word| word.len() <= fields::SHORT);
            entry.extend(self.entry.get(name).filter(short).map(|value| (name.to_owned(), value.clone())));
        }
        entry.insert("changes".to_owned(), Value::Array(vec![change]));
        self.unrecognized(field, Value::Object(entry))
    }

    fn unrecognized(&self, name: &str, entry: Value) -> Item {
        let object = self.body.get("object").and_then(fields::word).filter(|word| word.len() <= fields::SHORT);
        unrecognized::part(name, &json!({ "object": object, "entry": [entry] }), self.arrival)
    }
}

/// What a message says, by whichever of the objects it has.
fn read_content(of: &mut Fields<'_>, message: &mut InboundMessage) {
    if let Some(mut text) = of.inner("text") {
        message.text = text.prose(&["body"]);
        of.put_back("text", text);
    }
    for kind in MEDIA {
        let Some(mut media) = of.inner(kind) else { continue };
        let attached = InboundMedia {
            url: media.link(&["link", "url"]),
            id: media.text(&["id"]),
            kind: media.text(&["mime_type"]),
            caption: media.prose(&["caption"]),
            file_name: media.text(&["filename"]),
        };
        message.text.clone_from(&attached.caption);
        message.media = Some(attached);
        of.put_back(kind, media);
        break;
    }
    if let Some(mut button) = of.inner("button") {
        (message.text, message.button) = (button.prose(&["text"]), button.text(&["payload"]));
        of.put_back("button", button);
    }
    if let Some(mut interactive) = of.inner("interactive") {
        for kind in ["button_reply", "list_reply", "nfm_reply"] {
            let Some(mut chosen) = interactive.inner(kind) else { continue };
            (message.text, message.button) = (chosen.prose(&["title", "body"]), chosen.text(&["id"]));
            interactive.take(&["type"], |told| (told == kind).then_some(()));
            interactive.put_back(kind, chosen);
            break;
        }
        of.put_back("interactive", interactive);
    }
    if let Some(mut reaction) = of.inner("reaction") {
        message.text = reaction.text(&["emoji"]);
        message.quoted = reaction.id(&["message_id"], ExternalId::from_text).map(quoted);
        of.put_back("reaction", reaction);
    }
}

fn quoted(id: ExternalId) -> Quoted {
    Quoted { ids: ForeignIds { external: Some(id), ..ForeignIds::default() }, ..Quoted::default() }
}

/// Who wrote, as told beside the messages.
struct Contacts {
    /// What is still to be told of each.
    left: Vec<Option<Value>>,
    /// The first one with each phone.
    by_phone: HashMap<String, Contact>,
}

struct Contact {
    /// Among those that are left.
    place: usize,
    /// Empty if it has none; `None` until somebody asks.
    name: Option<String>,
}

impl Contacts {
    fn of(contacts: Vec<Value>) -> Self {
        let mut by_phone = HashMap::new();
        for (place, contact) in contacts.iter().enumerate() {
            if let Some(phone) = contact.get("wa_id").and_then(fields::word) {
                by_phone.entry(phone).or_insert(Contact { place, name: None });
            }
        }
        Self { left: contacts.into_iter().map(Some).collect(), by_phone }
    }

    /// The name of the one with this phone. What else is told of that contact goes to the first message that asks.
    fn name_of(&mut self, phone: &str, message: &mut Fields<'_>) -> String {
        let Some(Contact { place, name }) = self.by_phone.get_mut(phone) else { return String::new() };
        if let Some(name) = name {
            return name.clone();
        }
        let left = &mut self.left[*place];
        let Some(mut contact) = left.as_ref().and_then(|contact| message.sibling(contact)) else {
            return String::new();
        };
        contact.text(&["wa_id"]);
        let mut profile = contact.inner("profile");
        let told = profile.as_mut().map(|profile| profile.text(&["name"])).unwrap_or_default();
        if let Some(profile) = profile {
            contact.put_back("profile", profile);
        }
        let rest = contact.left();
        if rest.to_string().len() <= MOST_CONTACT {
            *left = None;
            if rest.as_object().is_some_and(|rest| !rest.is_empty()) {
                message.put("contact", rest);
            }
        }
        name.insert(told).clone()
    }

    fn untold(self) -> Vec<Value> {
        self.left.into_iter().flatten().collect()
    }
}

fn put_array(fields: &mut Fields<'_>, name: &str, values: Vec<Value>) {
    if !values.is_empty() {
        fields.put(name, Value::Array(values));
    }
}

fn without(value: &Value, names: &[&str]) -> Value {
    let mut value = value.clone();
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, _| !names.contains(&name.as_str()));
    }
    value
}
