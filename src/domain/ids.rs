//! Ids. Four kinds name one message and are never mixed up: ours, Pilot Status's, the business correlation id and the
//! provider's.

use std::{fmt, str::FromStr, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Invalid;

/// The gateway's id of a message: a UUID version 7, so that later messages sort behind earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(Uuid);

impl MessageId {
    /// Sorts before every id that is made.
    pub const LEAST: Self = Self(Uuid::nil());
    /// Sorts behind every id that is made.
    pub const GREATEST: Self = Self(Uuid::max());

    /// Sorts before every id made in the millisecond of `time` or later, and behind every earlier one.
    pub fn least_at(time: Timestamp) -> Self {
        let millis = u64::try_from(time.as_millisecond()).unwrap_or_default();
        Self(Uuid::from_u128(u128::from(millis) << 80))
    }

    /// Wraps a UUID made by [`super::sources::Sources`].
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The 16 bytes, in the order that sorts by time.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Reads what [`MessageId::as_bytes`] gave.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Invalid> {
        Uuid::from_slice(bytes).map(Self).map_err(|_| Invalid::because("a message id is 16 bytes"))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for MessageId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Uuid::try_parse(text).map(Self).map_err(|_| Invalid::because("must be a message id of the gateway (a UUID)"))
    }
}

/// Declares a checked string: cheap to clone, compared by text.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Checks and takes a text.
            pub fn from_text(text: &str) -> Result<Self, Invalid> {
                let check: fn(&str) -> Result<(), Invalid> = $check;
                check(text).map(|()| Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;

            fn try_from(text: String) -> Result<Self, Invalid> {
                Self::from_text(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                (*id.0).to_owned()
            }
        }
    };
}

text_id!(
    /// Pilot Status's id of a message, from the 202 answer. Opaque, 1 to 512 bytes.
    UpstreamId,
    opaque
);
text_id!(
    /// Pilot Status's business id of a message. Opaque, 1 to 512 bytes.
    CorrelationId,
    opaque
);
text_id!(
    /// The provider's id of a message (wamid). Opaque, 1 to 512 bytes.
    ExternalId,
    opaque
);
text_id!(
    /// A caller's idempotency key: 1 to 200 visible ASCII characters, unique within the caller.
    RequestId,
    |text| {
        if (1..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(())
        } else {
            Err(Invalid::because("must be 1 to 200 visible ASCII characters"))
        }
    }
);
text_id!(
    /// The stable name of a registered number; outlives its keys.
    NumberName,
    name
);
text_id!(
    /// The stable name of a caller; outlives its tokens.
    CallerName,
    name
);

text_id!(
    /// The name of a caller's subscription.
    SubscriptionName,
    name
);

fn opaque(text: &str) -> Result<(), Invalid> {
    if (1..=512).contains(&text.len()) && !text.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(Invalid::because("must be 1 to 512 bytes without control characters"))
    }
}

fn name(text: &str) -> Result<(), Invalid> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    let bytes = text.as_bytes();
    let starts_well = bytes.first().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    // Names are told everywhere, so that a key or a token in the place of one must not become one.
    let is_secret = ["ps_", "pgt_"].iter().any(|it| text.strip_prefix(it).is_some_and(|rest| rest.len() >= 16));
    if is_secret {
        Err(Invalid::because("must not look like a key or a token"))
    } else if starts_well && bytes.len() <= 63 && bytes.iter().all(|byte| inner(*byte)) {
        Ok(())
    } else {
        Err(Invalid::because(
            "must be 1 to 63 characters of a-z, 0-9, '-', '_' and '.', starting with a letter or digit",
        ))
    }
}
