//! What a caller wants sent.

use jiff::Timestamp;

use super::{content::Content, recipient::Recipient};

/// A message to be handed to Pilot Status, without who asked and from which number.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// Where it goes.
    pub recipient: Recipient,
    /// What it says.
    pub content: Content,
    /// Not before.
    pub deliver_at: Option<Timestamp>,
    /// Not after.
    pub deliver_until: Option<Timestamp>,
    /// Tags for the recipient.
    pub labels: Vec<String>,
    /// Whether the recipient's last message is marked as read.
    pub mark_read: Option<bool>,
}
