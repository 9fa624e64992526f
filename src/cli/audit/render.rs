//! How entries of the audit log and what was found in it look.

use std::{collections::BTreeMap, fmt::Write};

use serde::Serialize;

use crate::{
    cli::{
        Ending,
        errors::CliError,
        output::{Form, Output},
        render::{
            human::{alarm, faint, strong},
            inbox::human::shown,
        },
        times,
    },
    proto::admin::v1::AuditEntry,
};

/// An entry for programs, with the names of the contract.
#[derive(Serialize)]
pub(super) struct Entry<'a> {
    sequence: i64,
    link: &'a str,
    text: &'a str,
    time: Option<String>,
    actor: &'a str,
    credential: &'a str,
    source_address: &'a str,
    action: &'a str,
    subject: &'a str,
    reason: &'a str,
    outcome: &'a str,
    details: &'a BTreeMap<String, String>,
}

impl<'a> From<&'a AuditEntry> for Entry<'a> {
    fn from(entry: &'a AuditEntry) -> Self {
        Self {
            sequence: entry.sequence,
            link: &entry.link,
            text: &entry.text,
            time: entry.time.as_ref().map(times::rfc3339),
            actor: &entry.actor,
            credential: &entry.credential,
            source_address: &entry.source_address,
            action: &entry.action,
            subject: &entry.subject,
            reason: &entry.reason,
            outcome: &entry.outcome,
            details: &entry.details,
        }
    }
}

/// An entry as a line for people.
pub(super) fn line(entry: &AuditEntry) -> String {
    let time = entry.time.as_ref().map_or_else(|| "-".to_owned(), times::rfc3339);
    if entry.action.is_empty() {
        return format!("{:>8}  {time}  {}", entry.sequence, alarm("unreadable"));
    }
    let outcome = match entry.outcome.as_str() {
        "done" | "accepted" => entry.outcome.clone(),
        other => alarm(&shown(other)),
    };
    let mut text = format!(
        "{:>8}  {}  {}  {}  {}  {outcome}",
        entry.sequence,
        faint(&time),
        shown(&entry.actor),
        strong(&shown(&entry.action)),
        shown(&entry.subject),
    );
    for (key, value) in &entry.details {
        let _ = write!(text, "  {}", faint(&shown(&format!("{key}={value}"))));
    }
    for (word, value) in [("with", &entry.credential), ("from", &entry.source_address), ("because", &entry.reason)] {
        if !value.is_empty() {
            let _ = write!(text, "  {} {}", faint(word), shown(value));
        }
    }
    text
}

/// What a check has found, with the names of the contract.
#[derive(Serialize)]
pub(super) struct Found {
    pub(super) intact: bool,
    pub(super) entries: i64,
    pub(super) first_sequence: i64,
    pub(super) last_sequence: i64,
    pub(super) last_link: String,
    pub(super) faults: Vec<Fault>,
}

/// Something wrong.
#[derive(Serialize)]
pub(super) struct Fault {
    /// In which line of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) line: Option<u64>,
    /// At which entry; none for a line that is none.
    pub(super) sequence: Option<i64>,
    pub(super) description: String,
}

impl Found {
    /// Prints it, and says how the command ends.
    pub(super) fn print(&self, out: &mut Output) -> Result<Ending, CliError> {
        match out.form() {
            Form::Json => out.json(self)?,
            Form::Human => {
                for Fault { line, sequence, description } in &self.faults {
                    let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
                    let sequence = sequence.map(|sequence| format!("entry {sequence}: ")).unwrap_or_default();
                    out.line(&format!("{line}{sequence}{description}"))?;
                }
                let entries = match self.entries {
                    0 => "no entries".to_owned(),
                    1 => "1 entry".to_owned(),
                    many => format!("{many} entries"),
                };
                let verdict = if self.intact { strong("intact") } else { alarm("not intact") };
                let (first, last) = (self.first_sequence, self.last_sequence);
                out.line(&format!("{verdict}  {entries}, {first} to {last}, last link {}", self.last_link))?;
            }
        }
        Ok(if self.intact { Ending::Done } else { Ending::Refused })
    }
}
