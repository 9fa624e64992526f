//! The file: its shapes, and what is wrong with it.
//!
//! Owns what can be told of the file alone. Whether it fits what is there is told by `plan`.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Display,
    fs,
    io::{self, Read},
    path::Path,
    time::Duration,
};

use serde::Deserialize;

use super::forms::{caller_form, number_form};
use crate::{
    cli::{errors::CliError, times},
    config::{
        self, SecretRef,
        settings::{GrantSettings, PaceSettings, QuotaSettings},
    },
    domain::{
        caller,
        ids::{CallerName, NumberName},
        principal::{AdminRight, Grant},
        read_back::ReadBack,
        recipient::PhoneNumber,
    },
    proto::admin::v1::{Caller, NumberSettings},
};

/// Longest file that is read.
const MAX_FILE: u64 = 16 * 1024 * 1024;
const LONGEST_DESCRIPTION: usize = 500;
const LONGEST_ID: usize = 200;
const MOST_IDENTITIES: usize = 20;
const MOST_GRANTS: usize = 1_000;
const SHORTEST_INTERVAL: Duration = Duration::from_secs(3600);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    numbers: Vec<NumberShape>,
    #[serde(default)]
    callers: Vec<CallerShape>,
}

/// One `[[numbers]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NumberShape {
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) upstream_id: String,
    #[serde(default)]
    pub(super) phone: String,
    #[serde(default)]
    key: Option<SecretRef>,
    #[serde(default)]
    pub(super) rotate_every: Option<Interval>,
    #[serde(default)]
    pub(super) pace: PaceSettings,
    #[serde(default)]
    pub(super) quota: QuotaSettings,
    #[serde(default)]
    pub(super) read_back: Option<ReadBack>,
}

/// One `[[callers]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CallerShape {
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) identities: Vec<String>,
    #[serde(default)]
    pub(super) grants: Vec<GrantSettings>,
    #[serde(default)]
    pub(super) admin: Vec<String>,
    #[serde(default)]
    pub(super) quota: QuotaSettings,
}

/// A span that may be of days.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Interval(pub(super) Duration);

impl TryFrom<String> for Interval {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        times::span(&text).map(Self)
    }
}

/// A number as it is to stand.
pub(super) struct NumberWish {
    pub(super) settings: NumberSettings,
    pub(super) key: Option<SecretRef>,
}

/// Everything as it is to stand, by name.
#[derive(Default)]
pub(super) struct Wishes {
    pub(super) numbers: BTreeMap<String, NumberWish>,
    pub(super) callers: BTreeMap<String, Caller>,
}

/// Reads the file, or standard input for `-`, and checks it whole.
pub(super) fn load(path: &Path) -> Result<Wishes, CliError> {
    let shown = path.display();
    let failed = |error: io::Error| CliError::Local(format!("cannot read {shown}: {error}"));
    let mut text = String::new();
    let length = if path == Path::new("-") {
        io::stdin().take(MAX_FILE + 1).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text))
    };
    if length.map_err(failed)? as u64 > MAX_FILE {
        return Err(CliError::Local(format!("{shown} is too long")));
    }
    parse(&text).map_err(|problems| refused(&shown, &problems))
}

/// What is wrong with a file, one problem a line.
pub(super) fn refused(file: &dyn Display, problems: &[String]) -> CliError {
    CliError::Local(format!("{file} cannot be applied, nothing was changed:\n  {}", problems.join("\n  ")))
}

/// What the file wants, or everything that is wrong with it.
pub(super) fn parse(text: &str) -> Result<Wishes, Vec<String>> {
    let file: File = config::read(text).map_err(|error| error.0)?;
    let mut wrong = Vec::new();
    let mut wishes = Wishes::default();
    let mut words: HashMap<String, String> = HashMap::new();
    for shape in file.numbers {
        let place = format!("number {:?}", shape.name);
        let mut found = check_number(&shape);
        // A number may use one word in several of its own fields.
        let own: HashSet<&String> =
            [&shape.name, &shape.upstream_id, &shape.phone].into_iter().filter(|word| !word.is_empty()).collect();
        for word in own {
            if let Some(other) = words.insert(word.clone(), shape.name.clone()) {
                found.push(format!("{word:?} already stands for number {other:?}"));
            }
        }
        wrong.extend(found.into_iter().map(|problem| format!("{place}: {problem}")));
        let wish = NumberWish { settings: number_form(&shape), key: shape.key };
        wishes.numbers.insert(shape.name, wish);
    }
    let mut names = HashSet::new();
    let mut identities = HashSet::new();
    for shape in file.callers {
        let place = format!("caller {:?}", shape.name);
        let mut found = check_caller(&shape);
        if !names.insert(shape.name.clone()) {
            found.push("is there twice".to_owned());
        }
        let again = shape.identities.iter().filter(|identity| !identities.insert((*identity).clone()));
        found.extend(again.map(|identity| format!("identities: {identity:?} is there twice")));
        wrong.extend(found.into_iter().map(|problem| format!("{place}: {problem}")));
        wishes.callers.insert(shape.name.clone(), caller_form(&shape));
    }
    if wrong.is_empty() { Ok(wishes) } else { Err(wrong) }
}

fn check_number(shape: &NumberShape) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut note = |field: &str, problem: &dyn Display| wrong.push(format!("{field}: {problem}"));
    if let Err(error) = NumberName::from_text(&shape.name) {
        note("name", &error.0);
    }
    check_description(&shape.description, &mut note);
    if shape.upstream_id.chars().count() > LONGEST_ID {
        note("upstream_id", &format!("must be at most {LONGEST_ID} characters"));
    }
    if !shape.phone.is_empty()
        && let Err(error) = shape.phone.parse::<PhoneNumber>()
    {
        note("phone", &error.0);
    }
    if matches!(shape.key, Some(SecretRef::Inline(_))) {
        note("key", &"must be a reference such as { file = \"PATH\" }, not the key itself");
    }
    if shape.rotate_every.is_some_and(|interval| interval.0 < SHORTEST_INTERVAL) {
        note("rotate_every", &"must be at least 1h");
    }
    if let Err(error) = config::pacing(shape.pace) {
        note("pace", &error);
    }
    wrong
}

fn check_caller(shape: &CallerShape) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut note = |field: &str, problem: &dyn Display| wrong.push(format!("{field}: {problem}"));
    if let Err(error) = CallerName::from_text(&shape.name) {
        note("name", &error.0);
    }
    check_description(&shape.description, &mut note);
    if shape.identities.len() > MOST_IDENTITIES {
        note("identities", &format!("must be at most {MOST_IDENTITIES}"));
    }
    for text in &shape.identities {
        if let Err(error) = caller::identity(text) {
            note("identities", &format!("{text:?} {}", error.0));
        }
    }
    for text in &shape.admin {
        if let Err(error) = text.parse::<AdminRight>() {
            note("admin", &format!("{text:?} {error}"));
        }
    }
    if shape.grants.len() > MOST_GRANTS {
        note("grants", &format!("must be at most {MOST_GRANTS}"));
    }
    for GrantSettings { number, permissions, templates, recipient_prefixes } in &shape.grants {
        let place = format!("grants: on {number:?}");
        if number != "*"
            && let Err(error) = NumberName::from_text(number)
        {
            note(&place, &format!("number {}", error.0));
        }
        if permissions.is_empty() {
            note(&place, &"permissions must not be empty");
        }
        if let Err(error) = Grant::check_templates(templates) {
            note(&place, &format!("templates {error}"));
        }
        if let Err(error) = Grant::check_recipient_prefixes(recipient_prefixes) {
            note(&place, &format!("recipient_prefixes {error}"));
        }
    }
    wrong
}

fn check_description(text: &str, note: &mut impl FnMut(&str, &dyn Display)) {
    if text.chars().count() > LONGEST_DESCRIPTION {
        note("description", &format!("must be at most {LONGEST_DESCRIPTION} characters"));
    }
}
