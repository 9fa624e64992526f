//! Where a secret is found: in a file, in a variable of the environment, or in the configuration itself.

use std::{env, fmt, fs, os::unix::fs::PermissionsExt, path::Path};

use secrecy::{ExposeSecret, SecretString};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};

/// Longest secret file that is read.
const MAX_FILE: u64 = 64 * 1024;

/// A reference to a secret: `{ file = "PATH" }`, `{ env = "NAME" }`, or the text itself.
///
/// The text itself is taken only from a file that nobody but its owner can read.
#[derive(Clone, Debug)]
pub enum SecretRef {
    /// The content of a file, without the line end.
    File(String),
    /// The value of a variable.
    Env(String),
    /// The text itself.
    Inline(SecretString),
}

impl SecretRef {
    /// The secret. The error says what is wrong with the reference and never repeats a secret.
    pub(super) fn resolve(self, exposed: Option<&Path>) -> Result<SecretString, String> {
        let text = match self {
            Self::Inline(text) => match exposed {
                None => return Ok(text),
                Some(file) => {
                    return Err(format!(
                        "a secret stands in {file}, which others than its owner can read; run `chmod 600 {file}` or \
                         refer to it by file or env",
                        file = file.display(),
                    ));
                }
            },
            // A secret may stand where its name or path should, so only what is clearly one is repeated.
            Self::Env(name) => env::var(&name).map_err(|_| {
                let is_name =
                    name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
                format!("the environment has no variable {}", if is_name { &name } else { "of the name under env" })
            })?,
            Self::File(path) => {
                let shown = if path.contains(['/', '.']) { &path } else { "the file under file" };
                let io = |error: std::io::Error| format!("cannot read {shown}: {error}");
                if fs::metadata(&path).map_err(io)?.len() > MAX_FILE {
                    return Err(format!("{shown} is too long for a secret"));
                }
                fs::read_to_string(&path).map_err(io)?
            }
        };
        let text = SecretString::from(text);
        match text.expose_secret().trim_end_matches(['\r', '\n']) {
            "" => Err("the secret is empty".to_owned()),
            trimmed => Ok(SecretString::from(trimmed)),
        }
    }
}

/// Whether others than its owner can read a file.
pub(super) fn is_exposed(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

/// By hand, since an error of a derived one would repeat a text that it did not expect, and that text is the secret.
impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reference;

        impl<'de> Visitor<'de> for Reference {
            type Value = SecretRef;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("{ file = \"PATH\" }, { env = \"NAME\" } or a text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretRef, E> {
                Ok(SecretRef::Inline(SecretString::from(text)))
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<SecretRef, E> {
                Err(E::custom("a secret must be written in quotes"))
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<SecretRef, E> {
                Err(E::custom("a secret must be written in quotes"))
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<SecretRef, E> {
                Err(E::custom("a secret must be written in quotes"))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SecretRef, A::Error> {
                let shape = || de::Error::custom("a secret is referred to by exactly one of `file` and `env`");
                let Some(kind) = map.next_key::<String>()? else { return Err(shape()) };
                let reference = match kind.as_str() {
                    "file" => SecretRef::File(map.next_value()?),
                    "env" => SecretRef::Env(map.next_value()?),
                    _ => return Err(shape()),
                };
                if map.next_key::<String>()?.is_some() { Err(shape()) } else { Ok(reference) }
            }
        }

        deserializer.deserialize_any(Reference)
    }
}
