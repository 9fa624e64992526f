//! The difference between a file and what is there, and whether it can be applied at all.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::{
    file::Wishes,
    forms::{Field, caller_fields, number_fields, present_caller, present_number},
    present::Present,
};
use crate::proto::admin::v1::{Caller, CallerState, Number, NumberState};

/// The word for a key that is set: nobody can tell whether it is another one.
pub(super) const KEY: &str = "key";

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Number,
    Caller,
}

/// What becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Action {
    Create,
    Change,
    Delete,
    /// It is as the file has it.
    Unchanged,
    /// The configuration declares it, so that it is left alone though the file names it.
    Declared,
    /// The file does not name it, and nobody asked for pruning.
    Kept,
}

#[derive(Serialize)]
pub(super) struct Change {
    pub(super) field: &'static str,
    #[serde(skip)]
    pub(super) path: &'static str,
    pub(super) before: String,
    pub(super) after: String,
}

/// A number or caller, and what becomes of it.
#[derive(Serialize)]
pub(super) struct Item {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) action: Action,
    pub(super) changes: Vec<Change>,
    /// Of the state that this was compared with.
    #[serde(skip)]
    pub(super) etag: String,
}

/// How to go about it.
#[derive(Clone, Copy, Default)]
pub(super) struct Manner {
    pub(super) prune: bool,
    pub(super) set_keys: bool,
}

impl Item {
    pub(super) const fn is_step(&self) -> bool {
        matches!(self.action, Action::Create | Action::Change | Action::Delete)
    }

    fn new(kind: Kind, name: &str, action: Action, etag: &str) -> Self {
        Self { kind, name: name.to_owned(), action, changes: Vec::new(), etag: etag.to_owned() }
    }

    fn changed(kind: Kind, name: &str, etag: &str, changes: Vec<Change>) -> Self {
        let action = if changes.is_empty() { Action::Unchanged } else { Action::Change };
        Self { changes, ..Self::new(kind, name, action, etag) }
    }

    /// Changes come first, since they free words that others are to have; numbers come before the grants that name them, and
    /// go after them.
    const fn rank(&self) -> u8 {
        match (self.action, self.kind) {
            (Action::Change, Kind::Number) => 0,
            (Action::Create, Kind::Number) => 1,
            (Action::Change, Kind::Caller) => 2,
            (Action::Create, Kind::Caller) => 3,
            (Action::Delete, Kind::Caller) => 4,
            (Action::Delete, Kind::Number) => 5,
            (Action::Unchanged | Action::Declared | Action::Kept, _) => 6,
        }
    }
}

/// All items in the order in which they are carried out, or why the file does not fit what is there.
pub(super) fn plan(wishes: &Wishes, present: &Present, manner: Manner) -> Result<Vec<Item>, Vec<String>> {
    let mut wrong = Vec::new();
    let mut items = Vec::new();
    numbers(wishes, &present.numbers, manner, &mut items, &mut wrong);
    callers(wishes, &present.callers, manner, &mut items, &mut wrong);
    grants(wishes, present, manner, &mut wrong);
    items.sort_by(|one, other| (one.rank(), &one.name).cmp(&(other.rank(), &other.name)));
    if wrong.is_empty() { Ok(items) } else { Err(wrong) }
}

fn numbers(wishes: &Wishes, present: &[Number], manner: Manner, items: &mut Vec<Item>, wrong: &mut Vec<String>) {
    let known: BTreeMap<&str, &Number> = present.iter().map(|number| (number.name.as_str(), number)).collect();
    let mut taken = HashMap::new();
    for number in present.iter().filter(|number| number.declared || !wishes.numbers.contains_key(&number.name)) {
        for word in [&number.name, &number.upstream_id, &number.phone_number] {
            taken.insert(word.as_str(), number.name.as_str());
        }
        if !wishes.numbers.contains_key(&number.name) && !number.declared {
            let action = if manner.prune { Action::Delete } else { Action::Kept };
            items.push(Item::new(Kind::Number, &number.name, action, &number.etag));
        }
    }
    for (name, wish) in &wishes.numbers {
        let mut note = |problem: &str| wrong.push(format!("number {name:?}: {problem}"));
        let after = number_fields(&wish.settings);
        let before = known.get(name.as_str());
        if before.is_some_and(|number| number.declared) {
            items.push(Item::new(Kind::Number, name, Action::Declared, ""));
            continue;
        }
        for word in [name, &wish.settings.upstream_id, &wish.settings.phone_number] {
            if let Some(other) = taken.get(word.as_str()).filter(|_| !word.is_empty()) {
                note(&format!("{word:?} already stands for number {other:?}, which the file does not change"));
            }
        }
        let Some(number) = before else {
            if wish.key.is_none() {
                note("key is missing, and the number is not registered yet");
            }
            let changes = differences(Vec::new(), after);
            items.push(Item { changes, ..Item::new(Kind::Number, name, Action::Create, "") });
            continue;
        };
        if number.state() == NumberState::Unreadable {
            note("the gateway cannot read its record: delete it first");
        }
        let mut changes = differences(number_fields(&present_number(number)), after);
        if manner.set_keys && wish.key.is_some() {
            let generation = number.key_generation;
            let (before, after) = (format!("generation {generation}"), "set anew".to_owned());
            changes.push(Change { field: KEY, path: KEY, before, after });
        }
        items.push(Item::changed(Kind::Number, name, &number.etag, changes));
    }
}

fn callers(wishes: &Wishes, present: &[Caller], manner: Manner, items: &mut Vec<Item>, wrong: &mut Vec<String>) {
    let known: BTreeMap<&str, &Caller> = present.iter().map(|caller| (caller.name.as_str(), caller)).collect();
    let mut taken = HashMap::new();
    for caller in present.iter().filter(|caller| caller.declared || !wishes.callers.contains_key(&caller.name)) {
        taken.extend(caller.identities.iter().map(|identity| (identity.as_str(), caller.name.as_str())));
        if !wishes.callers.contains_key(&caller.name) && !caller.declared {
            let action = if manner.prune { Action::Delete } else { Action::Kept };
            items.push(Item::new(Kind::Caller, &caller.name, action, &caller.etag));
        }
    }
    for (name, wish) in &wishes.callers {
        let mut note = |problem: &str| wrong.push(format!("caller {name:?}: {problem}"));
        let before = known.get(name.as_str());
        if before.is_some_and(|caller| caller.declared) {
            items.push(Item::new(Kind::Caller, name, Action::Declared, ""));
            continue;
        }
        for identity in &wish.identities {
            if let Some(other) = taken.get(identity.as_str()) {
                note(&format!("{identity:?} already stands for caller {other:?}, which the file does not change"));
            }
        }
        let after = caller_fields(wish);
        let Some(caller) = before else {
            let changes = differences(Vec::new(), after);
            items.push(Item { changes, ..Item::new(Kind::Caller, name, Action::Create, "") });
            continue;
        };
        if caller.state() == CallerState::Unreadable {
            note("the gateway cannot read its record: delete it first");
        }
        let changes = differences(caller_fields(&present_caller(caller)), after);
        items.push(Item::changed(Kind::Caller, name, &caller.etag, changes));
    }
}

/// Every grant must name a number that is there in the end.
fn grants(wishes: &Wishes, present: &Present, manner: Manner, wrong: &mut Vec<String>) {
    let stays = |name: &str| {
        let mut numbers = present.numbers.iter();
        name == "*"
            || wishes.numbers.contains_key(name)
            || numbers.any(|number| number.name == name && (number.declared || !manner.prune))
    };
    let declared = |name: &str| present.callers.iter().any(|caller| caller.declared && caller.name == name);
    for (name, wish) in wishes.callers.iter().filter(|(name, _)| !declared(name)) {
        let missing = wish.grants.iter().map(|grant| &grant.number).filter(|number| !stays(number));
        wrong.extend(missing.map(|number| format!("caller {name:?}: grants: there is no number {number:?}")));
    }
}

/// The fields that differ; without anything before, those that hold something.
fn differences(before: Vec<Field>, after: Vec<Field>) -> Vec<Change> {
    let mut before: HashMap<&str, String> = before.into_iter().map(|field| (field.name, field.value)).collect();
    let changes = after.into_iter().map(|field| Change {
        field: field.name,
        path: field.path,
        before: before.remove(field.name).unwrap_or_default(),
        after: field.value,
    });
    changes.filter(|change| change.before != change.after).collect()
}
