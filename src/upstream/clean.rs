//! Foreign text for our own outputs: one line, bounded, and without anything that could be a key.

use crate::domain::secret::NumberKey;

/// Longest text that is taken over.
const MAX_TEXT: usize = 500;

/// Longest code that is taken over.
const MAX_CODE: usize = 64;

/// Blots out first and cuts then, so that no part of a key is left at the end.
pub(super) fn text(foreign: &str, key: &NumberKey) -> String {
    let blotted = foreign.replace(key.expose(), "[key]");
    let words = blotted.split_whitespace().map(|word| if word.contains("ps_") { "[key]" } else { word });
    words.collect::<Vec<_>>().join(" ").chars().take(MAX_TEXT).collect()
}

/// A machine word: letters, digits and underscores, and no key.
pub(super) fn code<'a>(foreign: &'a str, key: &NumberKey) -> Option<&'a str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_word = (1..=MAX_CODE).contains(&foreign.len()) && foreign.bytes().all(fits);
    (is_word && !foreign.contains(key.expose()) && !foreign.contains("ps_")).then_some(foreign)
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    const KEY: &str = "SomeKey0123456789";

    fn key() -> NumberKey {
        NumberKey::from_secret(SecretString::from(KEY)).unwrap()
    }

    #[test]
    fn no_part_of_a_key_is_left_where_the_text_is_cut() {
        for before in 470..500 {
            let foreign = format!("{}{KEY} and more", "x".repeat(before));
            let cleaned = text(&foreign, &key());
            assert!(!cleaned.contains("SomeKey"), "{cleaned}");
        }
        assert_eq!(text("a\n ps_other,\tb", &key()), "a [key] b");
    }

    #[test]
    fn a_key_is_no_code() {
        assert_eq!(code("META_OUTSIDE_24H_WINDOW", &key()), Some("META_OUTSIDE_24H_WINDOW"));
        for foreign in ["", "two words", KEY, "ps_0123", &"X".repeat(65)] {
            assert_eq!(code(foreign, &key()), None, "{foreign}");
        }
    }
}
