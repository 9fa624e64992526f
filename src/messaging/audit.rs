//! What the audit log says of an attempt to send: who, from which number with which of its keys, to whom, and how it ended.

use serde::Deserialize;

use super::Messaging;
use crate::{
    domain::{audit::Act, message::Message},
    keys::Number,
    upstream::SendOutcome,
};

/// How the audit log names recipients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recipients {
    /// With most of the address blotted out.
    #[default]
    Masked,
    /// By what stands for the address under the vault's key.
    Hashed,
    /// With the whole address.
    Full,
    /// Not at all.
    None,
}

impl Messaging {
    /// The entry about an attempt that has ended.
    pub(super) fn attempted(&self, message: &Message, number: &Number, outcome: &SendOutcome) -> Act {
        let (word, status, code) = match outcome {
            SendOutcome::Accepted(_) => ("accepted", None, None),
            SendOutcome::Refused(refusal) => ("refused", Some(refusal.status), refusal.code.as_deref()),
            SendOutcome::NotSent { .. } => ("not_sent", None, None),
            SendOutcome::Unknown(doubt) => ("unknown", doubt.status, doubt.code.as_deref()),
        };
        let recipient = &message.origins.recipient;
        let recipient = match self.options.recipients {
            Recipients::Masked => Some(recipient.masked()),
            Recipients::Hashed => Some(self.vault.alias(recipient)),
            Recipients::Full => Some(recipient.address().to_owned()),
            Recipients::None => None,
        };
        let mut act = Act::attempt(message, self.sources.now(), word);
        let more = [
            ("generation", Some(number.generation.to_string())),
            ("recipient", recipient),
            ("upstream_status", status.map(|status| status.to_string())),
            ("upstream_code", code.filter(|code| is_word(code)).map(str::to_owned)),
        ];
        act.detail.extend(more.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
        act
    }
}

/// Whether it is a code and not a text, in which anything might stand.
fn is_word(code: &str) -> bool {
    (1..=64).contains(&code.len())
        && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}
