//! Foreign text for our own outputs: bounded, and without anything that could be a key.

use std::borrow::Cow;

use serde_json::Value;

use crate::domain::secret::NumberKey;

/// Longest text that is taken over.
const MAX_TEXT: usize = 500;

/// Longest code that is taken over.
const MAX_CODE: usize = 64;

/// What stands for a key.
const BLOT: &str = "[key]";

/// A text that begins like a key is one if so many characters or more follow that a key may have.
const KEY_TAIL: usize = 8;

/// On one line. Blots out first and cuts then, so that no part of a key is left at the end.
pub(super) fn text(foreign: &str, key: &NumberKey) -> String {
    let blotted = foreign.replace(key.expose(), BLOT);
    let words = blotted.split_whitespace().map(|word| if word.contains("ps_") { BLOT } else { word });
    words.collect::<Vec<_>>().join(" ").chars().take(MAX_TEXT).collect()
}

/// A machine word: letters, digits and underscores, and no key.
pub(super) fn code<'a>(foreign: &'a str, key: &NumberKey) -> Option<&'a str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_word = (1..=MAX_CODE).contains(&foreign.len()) && foreign.bytes().all(fits);
    (is_word && !foreign.contains(key.expose()) && !foreign.contains("ps_")).then_some(foreign)
}

/// What people wrote, as they wrote it, but for keys and for what is beyond so many bytes.
pub(super) fn prose(foreign: &str, key: &NumberKey, most: usize) -> String {
    let blotted = blotted(foreign, key);
    blotted[..blotted.floor_char_boundary(most)].to_owned()
}

/// Whether a text holds nothing that could be a key.
pub(super) fn is_clean(foreign: &str, key: &NumberKey) -> bool {
    matches!(blotted(foreign, key), Cow::Borrowed(_))
}

/// Blots keys out of every text in a value. True if there were any.
pub(super) fn json(value: &mut Value, key: &NumberKey) -> bool {
    match value {
        Value::String(text) => match blotted(text, key) {
            Cow::Borrowed(_) => false,
            Cow::Owned(clean) => {
                *text = clean;
                true
            }
        },
        Value::Array(values) => all(values.iter_mut(), key),
        Value::Object(fields) => {
            let dirty = fields.keys().any(|name| !is_clean(name, key));
            if dirty {
                let renamed = |(name, value): (String, Value)| (blotted(&name, key).into_owned(), value);
                *fields = std::mem::take(fields).into_iter().map(renamed).collect();
            }
            all(fields.values_mut(), key) || dirty
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Every one of them, also behind the first that had any.
fn all<'a>(values: impl Iterator<Item = &'a mut Value>, key: &NumberKey) -> bool {
    values.filter_map(|value| json(value, key).then_some(())).count() > 0
}

/// Without the number's key and whatever else looks like one. People write words with `ps_` in them, so that only a long
/// word that begins like this counts. Borrowed if there was nothing to blot out.
fn blotted<'a>(foreign: &'a str, key: &NumberKey) -> Cow<'a, str> {
    let text = if foreign.contains(key.expose()) {
        Cow::Owned(foreign.replace(key.expose(), BLOT))
    } else {
        Cow::Borrowed(foreign)
    };
    let (mut clean, mut kept) = (String::new(), 0);
    for (start, prefix) in text.match_indices("ps_") {
        // Not looked at any further, or else every such text in a long word would be counted through to the word's end.
        if start < kept || text[..start].chars().next_back().is_some_and(char::is_alphanumeric) {
            continue;
        }
        let tail = &text[start + prefix.len()..];
        let tail = tail.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(byte)).count();
        if tail >= KEY_TAIL {
            clean.push_str(&text[kept..start]);
            clean.push_str(BLOT);
            kept = start + prefix.len() + tail;
        }
    }
    if kept == 0 {
        return text;
    }
    clean.push_str(&text[kept..]);
    Cow::Owned(clean)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use secrecy::SecretString;
    use serde_json::json;

    use super::*;

    const KEY: &str = "SomeKey0123456789";

    fn key() -> NumberKey {
        NumberKey::from_secret(SecretString::from(KEY)).unwrap()
    }

    #[test]
    fn a_word_of_many_beginnings_of_keys_takes_no_longer_than_many_words() {
        let shortest = |text: &str| {
            let took = (0..3).map(|_| {
                let began = Instant::now();
                prose(text, &key(), text.len());
                began.elapsed()
            });
            took.min().unwrap()
        };
        let words = shortest(&"ps_ ".repeat(10_000));
        for word in ["ps_".repeat(10_000), "xps_".repeat(10_000)] {
            let took = shortest(&word);
            assert!(took < 20 * words, "{took:?} rather than {words:?}");
        }
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

    #[test]
    fn what_people_write_stays_but_for_keys_and_length() {
        let lines = format!("steps_to_take_now\nmaps_2024.jpg {KEY}\n(ps_7f3aEXAMPLEONLYmm01) ps_short");
        let expected = "steps_to_take_now\nmaps_2024.jpg [key]\n([key]) ps_short";
        assert_eq!(prose(&lines, &key(), 1000), expected);
        assert_eq!(prose("añb", &key(), 2), "a", "cut where a character begins");
        assert!(is_clean("ps_short, maps_and_more", &key()) && !is_clean("x ps_ps_ps_123456", &key()));
    }

    #[test]
    fn no_text_in_a_value_holds_a_key() {
        let mut value = json!({ "a": [1, { "b": format!("-{KEY}-") }], "ps_7f3aEXAMPLEONLYmm01": null, "c": "fine" });
        assert!(json(&mut value, &key()));
        assert_eq!(value, json!({ "a": [1, { "b": "-[key]-" }], "[key]": null, "c": "fine" }));
        assert!(!json(&mut value, &key()));
    }
}
