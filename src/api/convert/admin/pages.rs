//! Page tokens of the platform team's lists: a place in the list, for one filter, signed.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::Violations;
use crate::domain::signed::{Fingerprint, SigningKey};

const PAGE: usize = 100;
const LONGEST_PAGE: usize = 1_000;

/// Makes and reads the page tokens of one list.
pub(in crate::api) struct PageTokens {
    key: SigningKey,
    filter: Fingerprint,
}

impl PageTokens {
    /// For the list of this name with this filter.
    pub(super) fn of<'a>(key: &[u8; 32], list: &'static str, filter: impl IntoIterator<Item = &'a str>) -> Self {
        let parts = std::iter::once((0, list.as_bytes())).chain(filter.into_iter().map(|part| (1, part.as_bytes())));
        Self { key: SigningKey::of(key, b"pilotgate admin page token"), filter: Fingerprint::of(parts) }
    }

    /// The token of the page behind this place.
    pub(super) fn encode(&self, place: &str) -> String {
        let proof = self.key.sign(&self.bound(place));
        format!("{}.{proof}", URL_SAFE_NO_PAD.encode(place))
    }

    /// The place of a token.
    pub(super) fn decode(&self, wrong: &mut Violations, token: &str) -> Option<String> {
        let open = || {
            let (place, proof) = token.split_once('.')?;
            let place = String::from_utf8(URL_SAFE_NO_PAD.decode(place).ok()?).ok()?;
            (self.key.open(proof)? == self.bound(&place)).then_some(place)
        };
        let place = open();
        if place.is_none() && !token.is_empty() {
            wrong.add("page_token", "is not one of this list with this filter");
        }
        place
    }

    fn bound(&self, place: &str) -> [u8; 8] {
        Fingerprint::of([(2, &self.filter.0[..]), (3, place.as_bytes())]).0
    }
}

/// How long a page is to be.
pub(super) fn page_size(wrong: &mut Violations, page_size: i32) -> usize {
    match usize::try_from(page_size) {
        Ok(0) => PAGE,
        Ok(size) => size.min(LONGEST_PAGE),
        Err(_) => {
            wrong.add("page_size", "must not be negative");
            PAGE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_of_one_list_and_filter() {
        let tokens = |list, filter| PageTokens::of(&[7; 32], list, [filter]);
        let read = |tokens: &PageTokens, token: &str| tokens.decode(&mut Violations::default(), token);
        let token = tokens("a", "x").encode("orders/é");
        assert_eq!(read(&tokens("a", "x"), &token).as_deref(), Some("orders/é"));
        assert_eq!(read(&tokens("b", "x"), &token), None);
        assert_eq!(read(&tokens("a", "y"), &token), None);
        let (_, proof) = token.split_once('.').unwrap();
        assert_eq!(read(&tokens("a", "x"), &format!("{}.{proof}", URL_SAFE_NO_PAD.encode("orders/e"))), None);
        let other = PageTokens::of(&[8; 32], "a", ["x"]);
        assert_eq!(read(&other, &token), None);
    }
}
