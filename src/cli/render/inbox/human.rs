//! Inbound events as lines for people.
//!
//! Others wrote most of what stands here, so nothing of it reaches a terminal as anything but text.

use std::{fmt::Write, time::Duration};

use anstyle::{AnsiColor, Style};

use super::{kind, kind_word, plain};
use crate::{
    cli::{
        render::{
            human::{alarm, failure, faint, paint, status},
            status_word,
        },
        times,
    },
    proto::v1::{
        CallEvent, InboundEvent, InboundKind, InboundMedia, InboundMessage, LeadEvent, MessageStatus, NumberEvent,
        UnattributedStatus, UnrecognizedEvent, stream_inbound_events_response::Frame,
    },
};

// As wide as the longest kind.
const KIND_WIDTH: usize = 12;

/// One event: time, kind, number, and what happened. `None` for a frame without an event.
pub fn event(frame: &Frame) -> Option<String> {
    let (event, parts) = match frame {
        Frame::Message(it) => (&it.event, message(it)),
        Frame::Number(it) => (&it.event, number(it)),
        Frame::Call(it) => (&it.event, call(it)),
        Frame::Lead(it) => (&it.event, lead(it)),
        Frame::Unattributed(it) => (&it.event, unattributed(it)),
        Frame::Unrecognized(it) => (&it.event, unrecognized(it)),
        Frame::Heartbeat(_) | Frame::Gap(_) | Frame::Drain(_) => return None,
    };
    let kind = kind(frame);
    let time = event.as_ref().and_then(|it| it.event_time.as_ref().or(it.observe_time.as_ref()));
    let time = time.map_or_else(|| format!("{:<24}", "-"), times::rfc3339);
    let number = event.as_ref().map(|it| shown(&it.number)).unwrap_or_default();
    let word = paint(style(kind), &format!("{:<KIND_WIDTH$}", kind_word(kind)));
    let mut line = format!("{}  {word}  {number}", faint(&time));
    for part in parts.into_iter().filter(|part| !part.is_empty()) {
        line += "  ";
        line += &part;
    }
    Some(line)
}

fn style(kind: InboundKind) -> Style {
    match kind {
        InboundKind::Message => AnsiColor::Green.on_default().bold(),
        InboundKind::Lead => AnsiColor::Green.on_default(),
        InboundKind::Call => AnsiColor::Cyan.on_default(),
        InboundKind::Number => AnsiColor::Blue.on_default(),
        InboundKind::Unattributed => Style::new().dimmed(),
        InboundKind::Unrecognized | InboundKind::Unspecified => AnsiColor::Magenta.on_default(),
    }
}

/// Foreign text on one line, without anything that a terminal would obey or show in another order.
pub fn shown(text: &str) -> String {
    let steers = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        if steers(letter) { line.extend(letter.escape_default()) } else { line.push(letter) }
    }
    line
}

fn name(event: Option<&InboundEvent>) -> String {
    event.map(|event| shown(&event.event)).unwrap_or_default()
}

/// A word in front of a text, if there is one.
fn with(word: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{word} {}", shown(text)) }
}

fn message(message: &InboundMessage) -> Vec<String> {
    let mut who = shown(&message.from);
    if !message.participant_name.is_empty() {
        let _ = write!(who, " ({})", shown(&message.participant_name));
    }
    let room = message.room.as_ref().map(|room| if room.name.is_empty() { &room.id } else { &room.name });
    let kind = match message.r#type.as_str() {
        "" | "text" => String::new(),
        other => format!("[{}]", shown(other)),
    };
    let quoted = message.quoted.as_ref().map(|quoted| {
        let known =
            [&quoted.message_id, &quoted.upstream_id, &quoted.external_id].into_iter().find(|id| !id.is_empty());
        faint(&with("answers", known.map_or(&quoted.text, |id| id)))
    });
    let own = if message.from_me { faint("own side") } else { String::new() };
    let mut parts = vec![who, own, with("in", room.map_or("", |room| room)), kind, shown(&message.text)];
    parts.extend([with("button", &message.button), message.media.as_ref().map(media).unwrap_or_default()]);
    parts.extend(quoted);
    parts
}

fn media(media: &InboundMedia) -> String {
    let known = [&media.url, &media.file_name, &media.media_id].into_iter().find(|it| !it.is_empty());
    let caption = if media.caption.is_empty() { String::new() } else { format!("{}  ", shown(&media.caption)) };
    format!("{caption}{}", known.map(|it| shown(it)).unwrap_or_default())
}

fn number(number: &NumberEvent) -> Vec<String> {
    let wrong = [&number.error_code, &number.error].into_iter().filter(|it| !it.is_empty()).map(|it| shown(it));
    let wrong = wrong.collect::<Vec<_>>().join(": ");
    vec![
        name(number.event.as_ref()),
        shown(&number.phone_number),
        shown(&number.display_name),
        if wrong.is_empty() { wrong } else { alarm(&wrong) },
    ]
}

fn call(call: &CallEvent) -> Vec<String> {
    let took = call.duration.map(|it| times::spell(Duration::try_from(it).unwrap_or_default()));
    vec![
        name(call.event.as_ref()),
        shown(&call.direction),
        with("from", &call.from),
        with("to", &call.to),
        shown(&call.status),
        took.unwrap_or_default(),
    ]
}

fn lead(lead: &LeadEvent) -> Vec<String> {
    let mut parts = vec![shown(&lead.full_name), shown(&lead.phone_number), shown(&lead.email)];
    let answers = lead.fields.iter().map(|field| format!("{}={}", shown(&field.key), shown(&field.values.join(", "))));
    parts.extend(answers);
    parts
}

fn unattributed(told: &UnattributedStatus) -> Vec<String> {
    let known = [&told.upstream_id, &told.correlation_id, &told.external_id].into_iter().find(|id| !id.is_empty());
    let word = match told.status() {
        MessageStatus::Unspecified => shown(&told.raw_status),
        reached => status(reached, status_word(reached)),
    };
    let claimed = if told.verified { String::new() } else { faint("not verified") };
    vec![
        word,
        known.map(|id| shown(id)).unwrap_or_default(),
        told.failure.as_ref().map(|it| shown(&failure(it))).unwrap_or_default(),
        claimed,
    ]
}

fn unrecognized(event: &UnrecognizedEvent) -> Vec<String> {
    let raw = event.raw.as_ref().map(|raw| shown(&plain(raw).to_string()));
    vec![name(event.event.as_ref()), raw.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_steers_no_terminal() {
        assert_eq!(shown("olá, \"Rita\" 👋 \\"), "olá, \"Rita\" 👋 \\");
        assert_eq!(shown("a\nb\t\u{1b}[2J\u{9b}\u{202e}"), "a\\nb\\t\\u{1b}[2J\\u{9b}\\u{202e}");
    }
}
