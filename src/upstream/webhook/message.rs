//! `message.received`, `message.reply`, `message.group` and `message.newsletter`, in both schemas.

use serde_json::Value;

use super::{Arrival, Item, fields::Fields, identity};
use crate::domain::{
    ids::{CorrelationId, ExternalId, UpstreamId},
    inbound::{Happening, InboundMedia, InboundMessage, MessageSource, Quoted, Room},
    message::ForeignIds,
};

pub(super) fn read(name: &str, source: MessageSource, event: &Value, arrival: &Arrival<'_>) -> Option<Item> {
    let mut of = Fields::enveloped(event, arrival)?;
    let at = of.time(&["createdAt", "receivedAt", "happenedAt"]);
    let mut ids = ForeignIds {
        upstream: of.id(&["id", "internalMessageId"], UpstreamId::from_text),
        correlation: None,
        external: of.id(&["messageId"], ExternalId::from_text),
    };
    // What a reply has in common with a message that was sent is named after that one.
    let correlation = of.id(&["correlationId"], CorrelationId::from_text);
    let (text, quoted) = match source {
        MessageSource::Reply => {
            let (text, quoted_text) = texts_of_reply(&mut of);
            (text, quoted(&mut of, correlation, quoted_text))
        }
        MessageSource::Received | MessageSource::Group | MessageSource::Newsletter => {
            ids.correlation = correlation;
            let text = of.prose(&["content"]);
            let quoted_text = of.prose(&["contentReplied"]);
            (text, quoted(&mut of, None, quoted_text))
        }
    };
    let media = InboundMedia {
        url: of.link(&["mediaLink"]),
        id: of.text(&["mediaId"]),
        kind: of.text(&["mediaType"]),
        caption: of.prose(&["mediaCaption"]),
        file_name: of.text(&["mediaFilename"]),
    };
    let room = Room { id: of.text(&["groupId", "newsletterId"]), name: of.text(&["groupName", "newsletterName"]) };
    let upstream = ids.upstream.as_ref().map_or("", UpstreamId::as_str);
    let external = ids.external.as_ref().map_or("", ExternalId::as_str);
    let identity = identity::of(name, &[upstream, external], event, arrival);
    let message = InboundMessage {
        source,
        from_me: of.flag(&["fromMe"]).unwrap_or_default(),
        kind: of.text(&["type"]),
        from: of.text(&["from", "fromNumber"]),
        to: of.text(&["to", "destinationNumber"]),
        participant: of.text(&["participantName", "fromName"]),
        text,
        media: (media != InboundMedia::default()).then_some(media),
        quoted,
        room: (room != Room::default()).then_some(room),
        button: of.text(&["buttonId"]),
        ids,
        extra: of.rest(),
    };
    Some(Item::Event(arrival.inbound(name, at, Happening::Message(Box::new(message))), identity))
}

/// What a reply says and what the message said that it answers. In the older schema `content` is the latter.
fn texts_of_reply(of: &mut Fields<'_>) -> (String, String) {
    let has = |names: &[&str]| names.iter().any(|name| of.has(name));
    let newer = has(&["contentReplied", "createdAt", "to", "numberId"]);
    let older = has(&["receivedAt", "destinationNumber", "messageRepliedId", "environment"]);
    if has(&["replyContent"]) || (older && !newer) {
        (of.prose(&["replyContent"]), of.prose(&["contentReplied", "content"]))
    } else {
        (of.prose(&["content"]), of.prose(&["contentReplied"]))
    }
}

fn quoted(of: &mut Fields<'_>, correlation: Option<CorrelationId>, text: String) -> Option<Quoted> {
    let ids = ForeignIds {
        upstream: of.id(&["messageRepliedId"], UpstreamId::from_text),
        correlation,
        external: of.id(&["quotedMessageId"], ExternalId::from_text),
    };
    let quoted = Quoted { ids, text, message_id: None };
    (quoted != Quoted::default()).then_some(quoted)
}
