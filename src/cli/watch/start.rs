//! Where a stream of updates starts, and which statuses it carries, as the command line names them.
//!
//! Owns the words `latest` and `earliest` and the start that fits when none was named. Called by `watch`.

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    cli::{render, times},
    proto::v1::{MessageStatus, OnExpired, Position, stream_status_updates_request::Start},
};

/// A place in the log of updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Only what comes from now on.
    Latest,
    /// Everything kept.
    Earliest,
    /// At this time.
    Time(Timestamp),
    /// Behind the frame that had this cursor.
    After(String),
}

/// Reads `latest`, `earliest`, a time or a cursor; a cursor is what is none of the others.
///
/// # Errors
/// A text for the person who typed it.
pub fn origin(text: &str) -> Result<Origin, String> {
    match text {
        "" => Err("expected latest, earliest, a time or a cursor".into()),
        "latest" => Ok(Origin::Latest),
        "earliest" => Ok(Origin::Earliest),
        text => Ok(text.parse().map_or_else(|_| Origin::After(text.to_owned()), Origin::Time)),
    }
}

/// Reads a status word, `READ` or `read`.
///
/// # Errors
/// A text for the person who typed it, with all words.
pub fn status(text: &str) -> Result<MessageStatus, String> {
    let all = (1..=8).filter_map(|it| MessageStatus::try_from(it).ok());
    let words: Vec<_> = all.clone().map(|it| render::status_word(it).to_lowercase()).collect();
    all.zip(&words)
        .find(|(_, word)| word.eq_ignore_ascii_case(text) || word.replace('_', "-") == text)
        .map(|(status, _)| status)
        .ok_or_else(|| format!("expected one of {}", words.join(", ")))
}

/// The start of a stream. Of named messages everything is shown, so that a stream that ends when they are final also
/// tells how they ended: their ids hold the time of their creation. A subscription has a place of its own.
pub fn place(from: Option<Origin>, message_ids: &[String], subscribed: bool) -> (Option<Start>, OnExpired) {
    let named = match from {
        Some(Origin::Latest) => Start::Position(Position::Latest.into()),
        Some(Origin::Earliest) => Start::Position(Position::Earliest.into()),
        Some(Origin::Time(time)) => Start::StartTime(times::to_proto(time)),
        Some(Origin::After(cursor)) => Start::Cursor(cursor),
        None if subscribed => return (None, OnExpired::Fail),
        None => {
            let creations = message_ids.iter().filter_map(|id| created(id));
            let creation = creations.min_by_key(|time| (time.seconds, time.nanos));
            return (creation.map(Start::StartTime), OnExpired::Earliest);
        }
    };
    (Some(named), OnExpired::Fail)
}

fn created(message_id: &str) -> Option<prost_types::Timestamp> {
    let (seconds, nanos) = Uuid::parse_str(message_id).ok()?.get_timestamp()?.to_unix();
    Some(prost_types::Timestamp { seconds: i64::try_from(seconds).ok()?, nanos: i32::try_from(nanos).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        assert_eq!(origin("latest"), Ok(Origin::Latest));
        assert_eq!(origin("earliest"), Ok(Origin::Earliest));
        let noon = "2026-11-24T12:00:00Z".parse().unwrap();
        assert_eq!(origin("2026-11-24T09:00:00-03:00"), Ok(Origin::Time(noon)));
        assert_eq!(origin("djE6MTA0Mg"), Ok(Origin::After("djE6MTA0Mg".into())));
        assert_eq!(origin(""), Err("expected latest, earliest, a time or a cursor".into()));
    }

    #[test]
    fn statuses() {
        assert_eq!(status("READ"), Ok(MessageStatus::Read));
        assert_eq!(status("in_doubt"), Ok(MessageStatus::InDoubt));
        assert_eq!(status("in-doubt"), Ok(MessageStatus::InDoubt));
        assert_eq!(
            status("seen").unwrap_err(),
            "expected one of pending, in_doubt, queued, sent, delivered, read, failed, canceled"
        );
    }

    #[test]
    fn without_a_name_the_start_is_where_the_oldest_message_was_made() {
        let at = |millis: i64| {
            let stamp = uuid::Timestamp::from_unix_time(
                u64::try_from(millis / 1000).unwrap(),
                u32::try_from(millis % 1000 * 1_000_000).unwrap(),
                0,
                0,
            );
            Uuid::new_v7(stamp).to_string()
        };
        let older = prost_types::Timestamp { seconds: 1_795_000_000, nanos: 250_000_000 };
        let ids = [at(1_795_000_009_000), at(1_795_000_000_250), "not-an-id".to_owned()];
        let found = place(None, &ids, false);
        assert_eq!(found, (Some(Start::StartTime(older)), OnExpired::Earliest));
        assert_eq!(place(None, &[], false), (None, OnExpired::Earliest));
        assert_eq!(place(None, &ids, true), (None, OnExpired::Fail));
    }
}
