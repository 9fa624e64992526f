//! Messages that are not decided yet, for whoever looks after them.

use jiff::Timestamp;

use crate::domain::{
    audit::Act,
    ids::{CallerName, MessageId, NumberName},
    message::Message,
    status::Status,
};

/// Which of them to read. They are numbered in the order in which they were accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UndecidedQuery {
    /// Behind this number.
    pub after: i64,
    /// Of this number only.
    pub number: Option<NumberName>,
    /// Of this caller only.
    pub caller: Option<CallerName>,
    /// With this status only.
    pub status: Option<Status>,
    /// At most so many are looked at.
    pub limit: usize,
}

/// Some of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndecidedPage {
    /// Those that the query asks for.
    pub found: Vec<Undecided>,
    /// The number of the last one looked at; `None` if none lies behind it.
    pub last: Option<i64>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecided {
    /// PENDING or IN_DOUBT.
    pub message: Message,
    /// Its row of the outbox, if it has one.
    pub row: Option<UndecidedRow>,
}

/// A row of the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UndecidedRow {
    /// When it is due, or when its lease ends.
    pub due: Timestamp,
    /// When it expires.
    pub expires: Timestamp,
    /// It is under a lease.
    pub leased: bool,
    /// No earlier row of its recipient is in the way.
    pub first: bool,
}

/// The wish that a row is due at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hasten {
    /// Of which message.
    pub id: MessageId,
    /// The present time.
    pub at: Timestamp,
    /// What the audit log says of it.
    pub act: Act,
}

/// What became of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hastened {
    /// It is due.
    Due(Box<Undecided>),
    /// It is under a lease; nothing was changed.
    Leased,
    /// It has no row; nothing was changed.
    Absent,
}
