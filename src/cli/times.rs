//! Times and spans as the command line and the contract write them.
//!
//! Owns reading (`+10m`, RFC 3339) and writing (UTC, milliseconds). The present is an input. Called by the commands
//! for their arguments and by `render`.

use std::time::Duration;

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

/// A moment as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// This time.
    At(Timestamp),
    /// So long from now.
    In(SignedDuration),
}

impl Moment {
    /// The moment in the contract's form; none if it lies beyond the end of time.
    pub fn to_proto(self, now: Timestamp) -> Option<prost_types::Timestamp> {
        let time = match self {
            Self::At(time) => time,
            Self::In(span) => now.checked_add(span).ok()?,
        };
        Some(to_proto(time))
    }
}

/// Reads `2026-11-24T09:00:00Z` (any offset) or `+10m`.
///
/// # Errors
/// A text for the person who typed it.
pub fn moment(text: &str) -> Result<Moment, String> {
    match text.strip_prefix('+') {
        Some(ahead) => signed_span(ahead).map(Moment::In),
        None => text
            .parse()
            .map(Moment::At)
            .map_err(|_| "expected a time such as 2026-11-24T09:00:00Z, or a span from now such as +10m".into()),
    }
}

/// Reads a positive span: `30s`, `1m 30s`, `2h`, `1d`.
///
/// # Errors
/// A text for the person who typed it.
pub fn span(text: &str) -> Result<Duration, String> {
    let span = signed_span(text)?;
    match Duration::try_from(span) {
        Ok(span) if !span.is_zero() => Ok(span),
        _ => Err("expected a span longer than nothing".into()),
    }
}

fn signed_span(text: &str) -> Result<SignedDuration, String> {
    text.parse::<Span>()
        .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
        .map_err(|_| "expected a span such as 30s, 10m, 2h or 1d".into())
}

/// The contract's form of a time.
pub fn to_proto(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}

/// The contract's form of a span.
pub fn to_proto_span(span: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(span.subsec_nanos()).unwrap_or(0),
    }
}

/// RFC 3339 in UTC with milliseconds; a dash for a time that no calendar has.
pub fn rfc3339(time: &prost_types::Timestamp) -> String {
    Timestamp::new(time.seconds, time.nanos).map_or_else(|_| "-".to_owned(), |time| format!("{time:.3}"))
}

/// A span for people: `0.250 s`, `1.500 s`, `2 min 05 s`.
pub fn spell(span: Duration) -> String {
    match span.as_secs() {
        0..60 => format!("{:.3} s", span.as_secs_f64()),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: &str = "2026-11-24T12:00:00Z";

    fn at(text: &str) -> Option<String> {
        let now = NOON.parse().unwrap();
        moment(text).ok()?.to_proto(now).as_ref().map(rfc3339)
    }

    #[test]
    fn moments() {
        assert_eq!(at("+10m").unwrap(), "2026-11-24T12:10:00.000Z");
        assert_eq!(at("+1h 30m").unwrap(), "2026-11-24T13:30:00.000Z");
        assert_eq!(at("+2d").unwrap(), "2026-11-26T12:00:00.000Z");
        assert_eq!(at("2026-12-01T09:00:00.25-03:00").unwrap(), "2026-12-01T12:00:00.250Z");
        assert_eq!(at("+99999999h"), None);
        assert_eq!(
            moment("tomorrow").unwrap_err(),
            "expected a time such as 2026-11-24T09:00:00Z, or a span from now such as +10m"
        );
        assert_eq!(moment("+soon").unwrap_err(), "expected a span such as 30s, 10m, 2h or 1d");
    }

    #[test]
    fn spans() {
        assert_eq!(span("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(span("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(span("0s").unwrap_err(), "expected a span longer than nothing");
        assert_eq!(span("-5s").unwrap_err(), "expected a span longer than nothing");
        assert_eq!(spell(Duration::from_millis(1500)), "1.500 s");
        assert_eq!(spell(Duration::from_secs(125)), "2 min 05 s");
    }
}
