//! Where a message goes.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Invalid;

/// A phone number in E.164: a plus and 8 to 15 digits, the first not zero.
///
/// Only the shape is checked. Which numbers exist is for the provider to say, and it answers per message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// With the leading plus.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PhoneNumber {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digits = text.strip_prefix('+').unwrap_or_default().as_bytes();
        let valid = (8..=15).contains(&digits.len()) && digits[0] != b'0' && digits.iter().all(u8::is_ascii_digit);
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::because("must be E.164: '+' and 8 to 15 digits, for example +5511999990000"))
        }
    }
}

impl TryFrom<String> for PhoneNumber {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<PhoneNumber> for String {
    fn from(phone: PhoneNumber) -> Self {
        phone.0
    }
}

impl fmt::Display for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The address of a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipient {
    /// A person, by phone number.
    Phone(PhoneNumber),
    /// A person, by business-scoped user id.
    User(String),
    /// A group, by JID.
    Group(String),
    /// A newsletter, by JID.
    Newsletter(String),
}

impl Recipient {
    /// A business-scoped user id: two letters, a dot and digits or letters, at most 128 characters.
    pub fn user(id: &str) -> Result<Self, Invalid> {
        let valid = id.split_once('.').is_some_and(|(country, rest)| {
            country.len() == 2
                && country.bytes().all(|byte| byte.is_ascii_uppercase())
                && (1..=125).contains(&rest.len())
                && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
        if valid {
            Ok(Self::User(id.to_owned()))
        } else {
            Err(Invalid::because("must be a business-scoped user id, for example BR.13491208655302741918"))
        }
    }

    /// A group JID: digits, perhaps a dash and more digits, then `@g.us`.
    pub fn group(jid: &str) -> Result<Self, Invalid> {
        jid_of(jid, "@g.us").map(Self::Group)
    }

    /// A newsletter JID: digits, then `@newsletter`.
    pub fn newsletter(jid: &str) -> Result<Self, Invalid> {
        jid_of(jid, "@newsletter").map(Self::Newsletter)
    }

    /// The address without its kind.
    pub fn address(&self) -> &str {
        match self {
            Self::Phone(phone) => phone.as_str(),
            Self::User(id) | Self::Group(id) | Self::Newsletter(id) => id,
        }
    }
}

impl Recipient {
    /// The address with most of it blotted out: of a phone the country and at most the last four digits are left.
    pub fn masked(&self) -> String {
        match self {
            Self::Phone(phone) => {
                let digits = phone.as_str().trim_start_matches('+');
                format!("+{}", blotted(digits, country_code(digits)))
            }
            Self::User(id) => blotted(id, 3),
            Self::Group(jid) | Self::Newsletter(jid) => {
                let (local, domain) = jid.split_once('@').unwrap_or((jid, ""));
                format!("{}@{domain}", blotted(local, 0))
            }
        }
    }
}

/// The text with stars between its first so many characters and its last four, or fewer where it is short.
fn blotted(text: &str, first: usize) -> String {
    let length = text.chars().count();
    let last = (length.saturating_sub(first) / 2).min(4);
    let hidden = first..length - last;
    text.chars().enumerate().map(|(index, letter)| if hidden.contains(&index) { '*' } else { letter }).collect()
}

/// How many digits the country code has that these digits begin with.
fn country_code(digits: &str) -> usize {
    match digits.as_bytes() {
        [b'1' | b'7', ..] => 1,
        [b'2', b'0' | b'7', ..]
        | [b'3', b'0'..=b'4' | b'6' | b'9', ..]
        | [b'4', b'0' | b'1' | b'3'..=b'9', ..]
        | [b'5', b'1'..=b'8', ..]
        | [b'6', b'0'..=b'6', ..]
        | [b'8', b'1' | b'2' | b'4' | b'6', ..]
        | [b'9', b'0'..=b'5' | b'8', ..] => 2,
        _ => 3,
    }
}

fn jid_of(jid: &str, suffix: &str) -> Result<String, Invalid> {
    let local = jid.strip_suffix(suffix).unwrap_or_default();
    let valid = (1..=64).contains(&local.len()) && local.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if valid { Ok(jid.to_owned()) } else { Err(Invalid::because(format!("must be digits followed by {suffix}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_masked_address_too_little_is_left_to_write_to_it() {
        let phone = |text: &str| Recipient::Phone(text.parse().unwrap()).masked();
        let phones = ["+5511987650101", "+12025550123", "+351912345678", "+35191234", "+442079460018"].map(phone);
        assert_eq!(phones, ["+55*******0101", "+1******0123", "+351*****5678", "+351***34", "+44******0018"]);
        let others = [
            Recipient::user("BR.13491208655302741918").unwrap(),
            Recipient::user("BR.1").unwrap(),
            Recipient::group("120363021234567890@g.us").unwrap(),
            Recipient::newsletter("7@newsletter").unwrap(),
        ];
        let masked = others.map(|recipient| recipient.masked());
        assert_eq!(masked, ["BR.****************1918", "BR.*", "**************7890@g.us", "*@newsletter"]);
    }
}
