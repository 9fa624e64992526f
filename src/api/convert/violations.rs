//! Collecting what is wrong with a request.

use tonic::Status;
use tonic_types::FieldViolation;

use super::super::status::invalid_request;
use crate::domain::Invalid;

/// More violations than this are not listed; the client has more than enough to go on with.
const MOST: usize = 20;

/// Longer field paths are cut: they may hold a key that the caller chose.
const FIELD: usize = 100;

/// What is wrong so far.
#[derive(Default)]
pub(in crate::api) struct Violations(Vec<FieldViolation>);

impl Violations {
    /// Notes a violation.
    pub(in crate::api) fn add(&mut self, field: impl Into<String>, text: impl Into<String>) {
        if self.0.len() < MOST {
            let field = field.into().chars().take(FIELD).collect::<String>();
            self.0.push(FieldViolation::new(field, text.into()));
        }
    }

    /// The value, or `None` with its violation noted.
    pub(super) fn take<T>(&mut self, field: impl Into<String>, value: Result<T, Invalid>) -> Option<T> {
        value.map_err(|invalid| self.add(field, invalid.0)).ok()
    }

    /// A required text of at most `most` characters.
    pub(super) fn text(&mut self, field: impl Into<String>, text: String, most: usize) -> Option<String> {
        let length = text.chars().take(most + 1).count();
        if text.trim().is_empty() {
            self.add(field, "is required and must not be blank");
        } else if length > most {
            self.add(field, format!("must be at most {most} characters"));
        } else {
            return Some(text);
        }
        None
    }

    /// An optional text of at most `most` characters; the empty one stands for none.
    pub(super) fn optional_text(&mut self, field: impl Into<String>, text: String, most: usize) -> Option<String> {
        if text.is_empty() { None } else { self.text(field, text, most) }
    }

    /// A required message field.
    pub(super) fn required<T>(&mut self, field: impl Into<String>, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.add(field, "is required");
        }
        value
    }

    /// The number of values in a repeated field. `None` if it is wrong: then the values themselves are not looked at, for
    /// there may be millions of them.
    pub(super) fn count(
        &mut self,
        field: impl Into<String>,
        count: usize,
        range: std::ops::RangeInclusive<usize>,
    ) -> Option<()> {
        if range.contains(&count) {
            return Some(());
        }
        self.add(field, format!("must have {} to {} entries", range.start(), range.end()));
        None
    }

    /// The converted value if there were no violations, else all of them as a status.
    pub(in crate::api) fn finish<T>(self, value: Option<T>) -> Result<T, Status> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(invalid_request(self.0)),
        }
    }
}
