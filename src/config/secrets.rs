//! Where a secret is found: in a file, in a variable of the environment, in what a command prints, or in the
//! configuration itself.

use std::{
    env, fmt, fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use secrecy::{ExposeSecret, SecretString};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};
use zeroize::Zeroizing;

/// Longest secret file that is read.
const MAX_FILE: u64 = 64 * 1024;

/// How long a command may take to print a secret.
const PATIENCE: Duration = Duration::from_secs(10);

/// A reference to a secret: `{ file = "PATH" }`, `{ env = "NAME" }`, `{ command = ["PROGRAM", "ARGUMENT"] }`, or the text
/// itself.
///
/// The text itself is taken only from a file that nobody but its owner can read.
#[derive(Clone, Debug)]
pub enum SecretRef {
    /// The content of a file, without the line end.
    File(String),
    /// The value of a variable.
    Env(String),
    /// What a program prints, which is run without a shell.
    Command(Vec<String>),
    /// The text itself.
    Inline(SecretString),
}

impl SecretRef {
    /// The secret. The error says what is wrong with the reference and never repeats a secret. `exposed` is the file that
    /// the reference stands in, if others than its owner can read that.
    pub fn resolve(self, exposed: Option<&Path>) -> Result<SecretString, String> {
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
            Self::Command(words) => return printed(&words),
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

    /// Whether what it refers to may be another secret later, while the process runs.
    pub(super) const fn may_change(&self) -> bool {
        matches!(self, Self::File(_) | Self::Command(_))
    }
}

/// What the command prints. Its errors are not repeated: nobody knows what a program says when it fails.
fn printed(words: &[String]) -> Result<SecretString, String> {
    let [program, arguments @ ..] = words else { return Err("the command is empty".to_owned()) };
    let failed = |what: &str| format!("the command {program} {what}");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(&format!("cannot be run: {error}")))?;
    let stdout = child.stdout.take();
    let (read, printed) = mpsc::channel();
    // On a thread of its own: what the command leaves behind may hold its output open.
    thread::spawn(move || {
        let mut text = Zeroizing::new(Vec::with_capacity(4096));
        let ended = stdout.map(|stdout| stdout.take(MAX_FILE + 1).read_to_end(&mut text));
        // Nobody waits any more if the time is over.
        drop(read.send(ended.and_then(Result::ok).map(|_| text)));
    });
    let deadline = Instant::now() + PATIENCE;
    let text = printed.recv_timeout(PATIENCE);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if text.is_ok() && Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
            Ok(None) | Err(_) => break None,
        }
    };
    let Some(status) = status else {
        // It may just have ended; reaping it is what matters.
        drop(child.kill());
        drop(child.wait());
        return Err(failed(&format!("took longer than {} s", PATIENCE.as_secs())));
    };
    if !status.success() {
        return Err(failed(&format!("failed: {status}; run it by hand to see why")));
    }
    let text = text.ok().flatten().ok_or_else(|| failed("printed what cannot be read"))?;
    if text.len() as u64 > MAX_FILE {
        return Err(failed("printed more than a secret"));
    }
    match std::str::from_utf8(&text).map(str::trim) {
        Ok("") => Err(failed("printed nothing")),
        Ok(text) => Ok(SecretString::from(text)),
        Err(_) => Err(failed("printed what is no text")),
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
                f.write_str("{ file = \"PATH\" }, { env = \"NAME\" }, { command = [\"PROGRAM\"] } or a text")
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
                let shape =
                    || de::Error::custom("a secret is referred to by exactly one of `file`, `env` and `command`");
                let Some(kind) = map.next_key::<String>()? else { return Err(shape()) };
                let reference = match kind.as_str() {
                    "file" => SecretRef::File(map.next_value()?),
                    "env" => SecretRef::Env(map.next_value()?),
                    "command" => SecretRef::Command(map.next_value().map_err(|_| {
                        de::Error::custom("`command` must be a list of texts: the program and its arguments")
                    })?),
                    _ => return Err(shape()),
                };
                if map.next_key::<String>()?.is_some() { Err(shape()) } else { Ok(reference) }
            }
        }

        deserializer.deserialize_any(Reference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(words: &[&str]) -> Result<String, String> {
        let command = SecretRef::Command(words.iter().map(|word| (*word).to_owned()).collect());
        command.resolve(None).map(|secret| secret.expose_secret().to_owned())
    }

    #[test]
    fn what_a_command_prints_is_the_secret() {
        assert_eq!(run(&["printf", "  a secret \n"]), Ok("a secret".to_owned()));
        assert_eq!(run(&["echo", "$HOME; ls"]), Ok("$HOME; ls".to_owned()), "no shell");
    }

    #[test]
    fn a_command_that_fails_tells_no_secret() {
        let failed = run(&["sh", "-c", "echo secret; echo secret >&2; exit 3"]).unwrap_err();
        assert_eq!(failed, "the command sh failed: exit status: 3; run it by hand to see why");
        assert_eq!(run(&["true"]).unwrap_err(), "the command true printed nothing");
        assert_eq!(run(&[]).unwrap_err(), "the command is empty");
        assert!(run(&["/nowhere/key"]).unwrap_err().starts_with("the command /nowhere/key cannot be run: "));
        assert_eq!(
            run(&["head", "-c", "70000", "/dev/zero"]).unwrap_err(),
            "the command head printed more than a secret"
        );
    }

    #[test]
    fn a_command_is_a_list_of_texts() {
        let read = |text: &str| toml_value(text).map_err(|error| error.to_string());
        assert!(matches!(read("command = ['p', 'a']"), Ok(SecretRef::Command(words)) if words == ["p", "a"]));
        let told = read("command = 'a secret'").unwrap_err();
        assert!(told.contains("`command` must be a list of texts") && !told.contains("a secret"), "{told}");
    }

    fn toml_value(text: &str) -> Result<SecretRef, Box<figment::Error>> {
        use figment::{
            Figment,
            providers::{Format, Toml},
        };
        Figment::from(Toml::string(&format!("key = {{ {text} }}"))).extract_inner("key").map_err(Box::new)
    }
}
