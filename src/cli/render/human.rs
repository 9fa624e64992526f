//! Messages and updates as lines for people.
//!
//! Owns the columns and the colours. Writes colours always: `Output` takes them out where nobody would see them.
//! Called by the client commands and the demo.

use anstyle::{AnsiColor, Style};

use crate::{
    cli::{render, times},
    proto::v1::{CancelResult, Failure, Gap, Message, MessageStatus, StatusUpdate},
};

// As wide as the longest status word.
const STATUS_WIDTH: usize = 9;

/// The colour of a status: how far it is, and whether it is good.
pub fn status_style(status: MessageStatus) -> Style {
    match status {
        MessageStatus::Unspecified | MessageStatus::InDoubt => AnsiColor::Magenta.on_default(),
        MessageStatus::Pending => Style::new().dimmed(),
        MessageStatus::Queued => AnsiColor::Blue.on_default(),
        MessageStatus::Sent => AnsiColor::Cyan.on_default(),
        MessageStatus::Delivered => AnsiColor::Green.on_default(),
        MessageStatus::Read => AnsiColor::Green.on_default().bold(),
        MessageStatus::Failed => AnsiColor::Red.on_default().bold(),
        MessageStatus::Canceled => AnsiColor::Yellow.on_default(),
    }
}

/// Text that asks for attention.
pub fn alarm(text: &str) -> String {
    paint(AnsiColor::Red.on_default().bold(), text)
}

/// Text of second rank.
pub fn faint(text: &str) -> String {
    paint(Style::new().dimmed(), text)
}

/// Text of first rank.
pub fn strong(text: &str) -> String {
    paint(Style::new().bold(), text)
}

/// The status word in its colour; the upstream's own word if the gateway knows no better.
pub fn status(status: MessageStatus, raw: &str) -> String {
    paint(status_style(status), shown_word(status, raw))
}

fn shown_word(status: MessageStatus, raw: &str) -> &str {
    match (status, raw) {
        (MessageStatus::Unspecified, raw) if !raw.is_empty() => raw,
        _ => render::status_word(status),
    }
}

pub(super) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

fn status_column(status: MessageStatus, raw: &str) -> String {
    let word = shown_word(status, raw);
    let gap = STATUS_WIDTH.saturating_sub(word.chars().count());
    format!("{}{:gap$}", paint(status_style(status), word), "")
}

/// Code and text of a failure.
pub fn failure(failure: &Failure) -> String {
    let code = match failure.raw_code.as_str() {
        "" => render::failure_word(failure.code()),
        raw => raw,
    };
    match failure.message.as_str() {
        "" => code.to_owned(),
        text => format!("{code}: {text}"),
    }
}

/// One update: time, status, message, number, recipient, and what is particular about it.
pub fn update(update: &StatusUpdate) -> String {
    let time = update.fact_time.as_ref().or(update.observe_time.as_ref());
    let mut line = row(
        time,
        &status_column(update.status(), &update.raw_status),
        [&update.message_id, &update.number, render::address(update.recipient.as_ref())],
    );
    if let Some(why) = &update.failure {
        line += &format!("  {}", failure(why));
    }
    if update.current_status != update.status {
        let now = status(update.current_status(), "");
        line += &format!("  {}", faint(&format!("late, it is {now}")));
    }
    if update.correction {
        line += &format!("  {}", faint("corrects what was told before"));
    }
    line
}

/// One message in the columns of an update.
pub fn message_row(message: &Message) -> String {
    let time = message.queue_time.as_ref().or(message.create_time.as_ref());
    let mut line = row(
        time,
        &status_column(message.status(), &message.raw_status),
        [&message.message_id, &message.number, render::address(message.recipient.as_ref())],
    );
    if let Some(why) = &message.failure {
        line += &format!("  {}", failure(why));
    }
    line
}

fn row(time: Option<&prost_types::Timestamp>, status: &str, rest: [&str; 3]) -> String {
    let time = time.map_or_else(|| format!("{:<24}", "-"), times::rfc3339);
    format!("{}  {status}  {}", faint(&time), rest.join("  "))
}

/// Everything that is known of a message, one line for each thing that is.
pub fn message(message: &Message) -> String {
    let time = |time: &Option<prost_types::Timestamp>| time.as_ref().map(times::rfc3339).unwrap_or_default();
    let metadata: Vec<_> = message.metadata.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let rows = [
        ("message", strong(&message.message_id)),
        ("status", status(message.status(), &message.raw_status)),
        ("failure", message.failure.as_ref().map(failure).unwrap_or_default()),
        ("number", message.number.clone()),
        ("recipient", render::address(message.recipient.as_ref()).to_owned()),
        ("caller", message.caller.clone()),
        ("created", time(&message.create_time)),
        ("queued", time(&message.queue_time)),
        ("sent", time(&message.sent_time)),
        ("delivered", time(&message.delivered_time)),
        ("read", time(&message.read_time)),
        ("failed", time(&message.failed_time)),
        ("canceled", time(&message.cancel_time)),
        ("attempts", message.attempts.to_string()),
        ("labels", message.labels.join(", ")),
        ("metadata", metadata.join(", ")),
        ("request id", message.request_id.clone()),
        ("upstream id", message.upstream_id.clone()),
        ("correlation", message.correlation_id.clone()),
        ("external id", message.external_id.clone()),
        ("flow token", message.flow_token.clone()),
    ];
    let lines: Vec<_> = rows
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{}  {value}", faint(&format!("{name:<11}"))))
        .collect();
    lines.join("\n")
}

/// What became of one cancellation.
pub fn canceled(result: &CancelResult) -> String {
    let outcome = format!("{:<16}", render::outcome_word(result.outcome()));
    let outcome = match &result.message {
        Some(message) => paint(status_style(message.status()), &outcome),
        None => alarm(&outcome),
    };
    let line = format!("{outcome}  {}", result.message_id);
    match (&result.message, result.detail.as_str()) {
        (None, "") => line,
        (None, detail) => format!("{line}  {detail}"),
        (Some(message), "") => {
            format!("{line}  {}", status(message.status(), &message.raw_status))
        }
        (Some(message), detail) => {
            format!("{line}  {}  {detail}", status(message.status(), &message.raw_status))
        }
    }
}

/// That something is missing: updates, or whatever it is called.
pub fn gap(gap: &Gap, noun: &str) -> String {
    let from = if gap.from.is_empty() { "the start" } else { &gap.from };
    let reason = render::gap_reason_word(gap.reason());
    format!("{}: {noun} between {from} and {} can no longer be had ({reason})", alarm("gap"), gap.to)
}
