//! The plan and what became of it, in words.

use serde::Serialize;

use super::plan::{Action, Item, Kind};
use crate::cli::{
    errors::CliError,
    output::{Form, Output},
    render::human,
};

/// What became of a step.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Became {
    Applied,
    /// Some of its fields were changed, and others were not.
    PartlyApplied,
    NotApplied,
    /// The gateway gave no answer.
    Unknown,
}

#[derive(Serialize)]
struct Told<'a> {
    kind: Kind,
    name: &'a str,
    action: Action,
    result: Became,
}

#[derive(Serialize)]
struct Counts {
    create: usize,
    change: usize,
    delete: usize,
    unchanged: usize,
}

/// The plan: each step with its fields, then how many there are of each.
pub(super) fn plan(items: &[Item], out: &mut Output) -> Result<(), CliError> {
    for item in items {
        if out.form() == Form::Json {
            out.json(item)?;
            continue;
        }
        let name = format!("{} {}", kind(item.kind), human::strong(&item.name));
        match item.action {
            Action::Create => out.line(&format!("+ {name}"))?,
            Action::Change => out.line(&format!("~ {name}"))?,
            Action::Delete => out.line(&format!("- {name}"))?,
            Action::Unchanged => {}
            Action::Declared => out.line(&format!("! {name}  declared in the configuration, left alone"))?,
            Action::Kept => out.line(&human::faint(&format!("  {name}  not in the file; --prune deletes it")))?,
        }
        for change in &item.changes {
            let (before, after) = (or_nothing(&change.before), or_nothing(&change.after));
            out.line(&match item.action {
                Action::Create => format!("    {}  {after}", change.field),
                _ => format!("    {}  {before} -> {after}", change.field),
            })?;
        }
    }
    let count = |action: Action| items.iter().filter(|item| item.action == action).count();
    let counts = Counts {
        create: count(Action::Create),
        change: count(Action::Change),
        delete: count(Action::Delete),
        unchanged: count(Action::Unchanged),
    };
    if out.form() == Form::Json {
        return out.json(&counts);
    }
    let Counts { create, change, delete, unchanged } = counts;
    out.line(&format!("{create} to create, {change} to change, {delete} to delete, {unchanged} unchanged"))
}

/// What became of one step.
pub(super) fn became(item: &Item, result: Became, out: &mut Output) -> Result<(), CliError> {
    if out.form() == Form::Json {
        return out.json(&Told { kind: item.kind, name: &item.name, action: item.action, result });
    }
    let done = match item.action {
        Action::Create => "created",
        Action::Change => "changed",
        Action::Delete => "deleted",
        Action::Unchanged | Action::Declared | Action::Kept => "left alone",
    };
    let name = format!("{} {}", kind(item.kind), human::strong(&item.name));
    out.line(&match result {
        Became::Applied => format!("{done}  {name}"),
        Became::PartlyApplied => human::alarm(&format!("partly {done}  {name}")),
        Became::NotApplied => human::alarm(&format!("not {done}  {name}")),
        Became::Unknown => human::alarm(&format!("not known whether {done}  {name}")),
    })
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Number => "number",
        Kind::Caller => "caller",
    }
}

const fn or_nothing(value: &str) -> &str {
    if value.is_empty() { "none" } else { value }
}
