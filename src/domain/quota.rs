//! How much may be sent in a minute and in a day.
//!
//! Windows are those of the calendar in UTC: a minute begins with its second 0, a day at midnight. So a limit is exact, and
//! when it resets can be told.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::ids::{CallerName, NumberName};

/// How many messages may be accepted; `None`: as many as come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// In a minute.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub per_minute: Option<u64>,
    /// In a day.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub per_day: Option<u64>,
}

impl Quota {
    /// No limit.
    pub const NONE: Self = Self { per_minute: None, per_day: None };

    /// The limits that there are.
    pub fn limits(self) -> impl Iterator<Item = (Window, u64)> {
        [(Window::Minute, self.per_minute), (Window::Day, self.per_day)]
            .into_iter()
            .filter_map(|(window, limit)| Some((window, limit?)))
    }
}

/// What a limit counts over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// A minute of the clock.
    Minute,
    /// A day in UTC.
    Day,
}

impl Window {
    /// How long it is.
    pub const fn length(self) -> SignedDuration {
        match self {
            Self::Minute => SignedDuration::from_mins(1),
            Self::Day => SignedDuration::from_hours(24),
        }
    }

    /// When the window began that this time is in.
    pub fn start(self, at: Timestamp) -> Timestamp {
        let length = self.length().as_secs();
        let second = at.as_microsecond().div_euclid(1_000_000);
        Timestamp::from_second(second - second.rem_euclid(length)).unwrap_or(Timestamp::MIN)
    }

    /// When the next one begins.
    pub fn end(self, at: Timestamp) -> Timestamp {
        self.start(at).saturating_add(self.length()).unwrap_or(Timestamp::MAX)
    }

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Day => "day",
        }
    }
}

/// Whose messages a limit counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Those of a caller, over all numbers.
    Caller(CallerName),
    /// Those of a number, from all callers.
    Number(NumberName),
}

impl Subject {
    /// `caller:NAME` or `number:NAME`.
    pub fn to_text(&self) -> Arc<str> {
        match self {
            Self::Caller(name) => format!("caller:{name}").into(),
            Self::Number(name) => format!("number:{name}").into(),
        }
    }
}

/// A limit that a message counts towards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Whose.
    pub subject: Subject,
    /// Over what.
    pub window: Window,
    /// How many at most.
    pub most: u64,
}

/// A limit that is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Which.
    pub limit: Limit,
    /// When it begins anew.
    pub resets: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_those_of_the_calendar() {
        let at: Timestamp = "2026-11-24T17:52:34.567Z".parse().unwrap();
        let times =
            [Window::Minute, Window::Day].map(|window| (window.start(at).to_string(), window.end(at).to_string()));
        let expected =
            [("2026-11-24T17:52:00Z", "2026-11-24T17:53:00Z"), ("2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z")];
        assert_eq!(times, expected.map(|(start, end)| (start.to_owned(), end.to_owned())));
        let start = Window::Minute.start(at);
        assert_eq!(Window::Minute.start(start), start, "a window holds its start");
    }
}
