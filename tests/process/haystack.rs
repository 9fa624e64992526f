//! What a program has let out, and the search for what it must not let out.

use std::{collections::BTreeSet, fmt::Write, fs, path::Path};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// Everything that the gateway lets out, by where it was found.
#[derive(Default)]
pub struct Haystack(Vec<(String, String)>);

impl Haystack {
    pub fn add(&mut self, place: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((place.into(), as_text(&bytes.into())));
    }

    pub fn add_files(&mut self, directory: &Path) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            self.add(name, fs::read(&path).unwrap());
        }
    }

    /// Where the text is found, as it is or in one of [`disguises`].
    pub fn places(&self, text: &str) -> Vec<&str> {
        self.holding(&disguises(text))
    }

    /// Where the bytes are found, as they are or written down as a text.
    pub fn places_of_bytes(&self, bytes: &[u8]) -> Vec<&str> {
        let mut forms = written(bytes);
        forms.insert(as_text(bytes));
        self.holding(&forms)
    }

    fn holding(&self, forms: &BTreeSet<String>) -> Vec<&str> {
        let holds = |text: &str| forms.iter().any(|form| text.contains(form.as_str()));
        self.0.iter().filter(|(_, text)| holds(text)).map(|(place, _)| place.as_str()).collect()
    }
}

/// Every byte as the character of that number: searching texts is much faster than comparing every place of a list of bytes.
fn as_text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// The ways in which a text may be written down: as it is, in either case, in hexadecimal, in base64 of either alphabet
/// and at any place of a longer text, percent-encoded, as a list of bytes.
fn disguises(text: &str) -> BTreeSet<String> {
    let percent = |mark: fn(u8) -> bool| {
        text.bytes().fold(String::new(), |mut written, byte| {
            if mark(byte) {
                write!(written, "%{byte:02X}").unwrap();
            } else {
                written.push(char::from(byte));
            }
            written
        })
    };
    let mut forms = written(text.as_bytes());
    forms.extend([
        text.to_owned(),
        text.to_uppercase(),
        text.to_lowercase(),
        percent(|byte| !(byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))),
        percent(|_| true),
    ]);
    forms
}

fn written(bytes: &[u8]) -> BTreeSet<String> {
    let list = format!("{bytes:?}");
    let mut forms =
        BTreeSet::from([hex::encode(bytes), hex::encode_upper(bytes), list.trim_matches(['[', ']']).to_owned()]);
    for before in 0..3 {
        // Whole groups of three bytes read the same whatever stands around them.
        let inner = bytes.get(before..).unwrap_or_default();
        let url_safe = URL_SAFE_NO_PAD.encode(&inner[..inner.len() / 3 * 3]);
        forms.insert(url_safe.replace('-', "+").replace('_', "/"));
        forms.insert(url_safe);
    }
    // Of a short text hardly anything is left, which is found everywhere.
    forms.retain(|form| form.len() >= bytes.len());
    forms
}

#[test]
fn the_search_sees_through_every_disguise() {
    use base64::engine::general_purpose::STANDARD;
    const KEY: &str = "NumberKey+Canary/0123456789abcdef=";
    let mut haystack = Haystack::default();
    haystack.add("nothing", "NumberKey");
    let list = format!("{:?}", format!("x{KEY}").as_bytes());
    for written in [
        format!("x {KEY}"),
        KEY.to_lowercase(),
        hex::encode(KEY),
        STANDARD.encode(format!("user:{KEY}")),
        STANDARD.encode(format!("a user:{KEY}\n")),
        URL_SAFE_NO_PAD.encode(format!("the user:{KEY}")),
        "NumberKey%2BCanary%2F0123456789abcdef%3D".to_owned(),
        list,
    ] {
        haystack.add(written.clone(), written);
    }
    assert_eq!(haystack.places(KEY).len(), haystack.0.len() - 1);

    let bytes = [0xf3; 32];
    let mut haystack = Haystack::default();
    haystack.add("nothing", &bytes[1..]);
    haystack.add("as it is", [&[0x01][..], &bytes, &[0x02]].concat());
    haystack.add("as a text", format!("key: {}", hex::encode(bytes)));
    assert_eq!(haystack.places_of_bytes(&bytes), ["as it is", "as a text"]);
}
