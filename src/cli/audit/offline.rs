//! Checks an export of the audit log, line by line, without a gateway.
//!
//! What a line says is not believed: its link is computed again from the line before and its own text.

use std::{
    borrow::Cow,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::render::{Fault, Found};
use crate::{
    cli::{Ending, errors::CliError, output::Output},
    domain::audit::{Chain, Link},
};

/// A line of an export.
#[derive(Serialize, Deserialize)]
pub(super) struct Line<'a> {
    pub(super) sequence: i64,
    pub(super) link: Cow<'a, str>,
    /// Exactly as it was chained.
    pub(super) entry: Cow<'a, str>,
}

/// An entry whose link somebody has noted.
#[derive(Clone, Debug)]
pub(super) struct Noted {
    sequence: i64,
    link: Link,
}

/// Reads `SEQUENCE:LINK`.
pub(super) fn noted(text: &str) -> Result<Noted, String> {
    let read = || {
        let (sequence, link) = text.split_once(':')?;
        Some(Noted { sequence: sequence.parse().ok()?, link: Link::from_hex(link)? })
    };
    read().ok_or_else(|| "expected the number of an entry, a colon and the 64 digits of its link".to_owned())
}

/// Checks the file and tells every fault with its line.
pub(super) fn verify(path: &Path, noted: Option<&Noted>, out: &mut Output) -> Result<Ending, CliError> {
    let unreadable = |error| CliError::Local(format!("cannot read {}: {error}", path.display()));
    let file = BufReader::new(File::open(path).map_err(unreadable)?);
    check(file, noted).map_err(unreadable)?.print(out)
}

fn check(file: impl BufRead, noted: Option<&Noted>) -> Result<Found, std::io::Error> {
    let mut chain = Chain::somewhere();
    let mut found = Found {
        intact: true,
        entries: 0,
        first_sequence: 0,
        last_sequence: 0,
        last_link: String::new(),
        faults: Vec::new(),
    };
    for (number, text) in (1..).zip(file.split(b'\n')) {
        let text = text?;
        let parsed = serde_json::from_slice::<Line<'_>>(&text).ok();
        let parsed = parsed.and_then(|line| Some((Link::from_hex(&line.link)?, line)));
        let Some((link, line)) = parsed else {
            // The entry that should be here is told as missing by the next one.
            found.faults.push(Fault {
                line: Some(number),
                sequence: None,
                description: "it is no line of an export".to_owned(),
            });
            continue;
        };
        if chain.last().is_none() {
            found.first_sequence = line.sequence;
        }
        let (_, faults) = chain.take(line.sequence, link, &line.entry);
        let told = faults.into_iter();
        found.faults.extend(told.map(|fault| Fault {
            line: Some(number),
            sequence: Some(fault.seq),
            description: fault.what,
        }));
        if noted.is_some_and(|noted| noted.sequence == line.sequence && noted.link != link) {
            let description = "its link is not the one that was noted".to_owned();
            found.faults.push(Fault { line: Some(number), sequence: Some(line.sequence), description });
        }
        (found.last_sequence, found.last_link) = (line.sequence, link.to_hex());
    }
    if let Some(noted) = noted.filter(|noted| noted.sequence > found.last_sequence) {
        let description = format!("it was noted, but the export ends at entry {}", found.last_sequence);
        found.faults.push(Fault { line: None, sequence: Some(noted.sequence), description });
    }
    found.intact = found.faults.is_empty();
    found.entries = i64::try_from(chain.entries()).unwrap_or(i64::MAX);
    Ok(found)
}
