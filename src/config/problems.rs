//! What is wrong with a configuration, in words that repeat no value: any of them could be a misplaced secret.

use figment::error::{Actual, Error, Kind};

/// One line for each problem: where it stands, and what was expected.
pub(super) fn told(errors: Error) -> Vec<String> {
    errors.into_iter().map(|error| format!("{}{}", place(&error), what(&error.kind))).collect()
}

fn place(error: &Error) -> String {
    let key = error.path.join(".");
    let source =
        error.metadata.as_ref().map(|metadata| metadata.name.as_ref()).filter(|name| name.contains("environment"));
    match (key.as_str(), source) {
        ("", None) => String::new(),
        ("", Some(source)) => format!("{source}: "),
        (key, None) => format!("{key}: "),
        (key, Some(source)) => format!("{key} ({source}): "),
    }
}

fn what(kind: &Kind) -> String {
    match kind {
        Kind::Message(text) => without_quotes(text),
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            format!("expected {expected}, found {}", word(found))
        }
        Kind::InvalidLength(found, expected) => format!("expected {expected}, found {found} elements"),
        Kind::UnknownVariant(_, expected) => format!("must be one of {}", expected.join(", ")),
        Kind::UnknownField(name, expected) => format!("unknown setting {name}; known here: {}", expected.join(", ")),
        Kind::MissingField(name) => format!("{name} is missing"),
        Kind::DuplicateField(name) => format!("{name} is there twice"),
        Kind::ISizeOutOfRange(_) | Kind::USizeOutOfRange(_) => "the number is out of range".to_owned(),
        Kind::Unsupported(found) | Kind::UnsupportedKey(found, _) => format!("{} cannot stand here", word(found)),
    }
}

/// A parser's text without the lines of the file that it shows.
fn without_quotes(text: &str) -> String {
    let own = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains('|'));
    own.collect::<Vec<_>>().join(": ")
}

const fn word(found: &Actual) -> &'static str {
    match found {
        Actual::Bool(_) => "true or false",
        Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_) => "a number",
        Actual::Char(_) | Actual::Str(_) | Actual::Bytes(_) => "a text",
        Actual::Seq => "a list",
        Actual::Map | Actual::Enum | Actual::StructVariant => "a table",
        Actual::Unit
        | Actual::Option
        | Actual::NewtypeStruct
        | Actual::UnitVariant
        | Actual::NewtypeVariant
        | Actual::TupleVariant
        | Actual::Other(_) => "something else",
    }
}
