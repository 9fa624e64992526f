//! Owns the rules of the nested parts of a send: text with its trimmings,
//! buttons, lists, carousels, flows. `check` decides which are due.

use serde_json::{Map, Value};

use super::super::errors::ApiError;
use super::super::messages::Draft;
use super::super::switches::Switches;

/// A body under check. A member that is null counts as absent (ours).
pub struct Fields<'a> {
    pub body: &'a Map<String, Value>,
    pub switches: &'a Switches,
}

impl Fields<'_> {
    pub fn has(&self, name: &str) -> bool {
        self.body.get(name).is_some_and(|v| !v.is_null())
    }

    pub fn bad(&self, message: impl Into<std::borrow::Cow<'static, str>>) -> ApiError {
        ApiError::invalid(self.switches, message)
    }

    /// Refuses the first of `others` that is there.
    pub fn none_of(&self, mode: &str, others: &[&str]) -> Result<(), ApiError> {
        match others.iter().find(|o| self.has(o)) {
            Some(other) => Err(self.bad(format!("{other} does not go with {mode}"))),
            None => Ok(()),
        }
    }
}

pub fn is_text(text: &str) -> bool {
    !text.trim().is_empty()
}

pub fn string(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or("")
}

fn text_at(value: &Value, name: &str) -> bool {
    value.get(name).and_then(Value::as_str).is_some_and(is_text)
}

/// `text`, and `buttons` with `header` and `footer`.
pub fn text(fields: &Fields) -> Result<(), ApiError> {
    plain_text(fields)?;
    if !fields.has("buttons") {
        return match ["header", "footer"].into_iter().find(|n| fields.has(n)) {
            Some(name) => Err(fields.bad(format!("{name} needs buttons"))),
            None => Ok(()),
        };
    }
    let buttons = fields.body["buttons"].as_array();
    let buttons = buttons.ok_or_else(|| fields.bad("buttons must be an array"))?;
    if buttons.len() > 3 {
        return Err(fields.bad("At most 3 buttons"));
    }
    for (i, button) in buttons.iter().enumerate() {
        let needs = match string(button.get("type")) {
            "reply" => None,
            "url" => Some("url"),
            "call" => Some("phoneNumber"),
            "copy" => Some("copyCode"),
            _ => return Err(fields.bad(format!("buttons[{i}].type is invalid"))),
        };
        for name in std::iter::once("label").chain(needs) {
            if !text_at(button, name) {
                return Err(fields.bad(format!("buttons[{i}].{name} is required")));
            }
        }
    }
    if let Some(header) = fields.body.get("header").filter(|h| !h.is_null()) {
        let known = ["text", "image", "video", "document"];
        if !known.contains(&string(header.get("type"))) || !text_at(header, "content") {
            return Err(fields.bad("header needs a type and content"));
        }
    }
    if fields.has("footer") && !fields.body["footer"].is_string() {
        return Err(fields.bad("footer must be a string"));
    }
    Ok(())
}

fn plain_text(fields: &Fields) -> Result<(), ApiError> {
    let text = string(fields.body.get("text"));
    if !is_text(text) {
        return Err(fields.bad("text must be a non-blank string"));
    }
    match fields.switches.max_text_chars {
        Some(most) if text.chars().count() > most => Err(fields.bad(format!("text is longer than {most} characters"))),
        _ => Ok(()),
    }
}

/// The one of `list`, `carousel`, `flow` that is there.
pub fn interactive(fields: &Fields, mode: &str, draft: &mut Draft) -> Result<(), ApiError> {
    let value = &fields.body[mode];
    if !value.is_object() {
        return Err(fields.bad(format!("{mode} must be an object")));
    }
    if mode == "list" || fields.has("text") {
        plain_text(fields)?;
        string(fields.body.get("text")).clone_into(&mut draft.content);
    }
    match mode {
        "list" => list(fields, value),
        "carousel" => carousel(fields, value),
        _ => {
            draft.carries_flow = true;
            flow(fields, value)
        }
    }
}

fn list(fields: &Fields, list: &Value) -> Result<(), ApiError> {
    if !text_at(list, "buttonText") {
        return Err(fields.bad("list.buttonText is required"));
    }
    let filled = |v: Option<&Value>| v.and_then(Value::as_array).filter(|a| !a.is_empty()).cloned();
    let sections = filled(list.get("sections"));
    let sections = sections.ok_or_else(|| fields.bad("list.sections must not be empty"))?;
    let mut count = 0;
    for (i, section) in sections.iter().enumerate() {
        let at = format!("list.sections[{i}]");
        if !section.get("title").is_some_and(Value::is_string) {
            return Err(fields.bad(format!("{at}.title is required")));
        }
        let rows = filled(section.get("rows"));
        let rows = rows.ok_or_else(|| fields.bad(format!("{at}.rows must not be empty")))?;
        count += rows.len();
        for (j, row) in rows.iter().enumerate() {
            if let Some(name) = ["title", "rowId"].into_iter().find(|n| !text_at(row, n)) {
                return Err(fields.bad(format!("{at}.rows[{j}].{name} is required")));
            }
        }
    }
    match fields.switches.max_list_rows {
        Some(most) if count > most => Err(fields.bad(format!("At most {most} list rows"))),
        _ => Ok(()),
    }
}

fn carousel(fields: &Fields, carousel: &Value) -> Result<(), ApiError> {
    let cards = carousel.get("cards").and_then(Value::as_array);
    let cards = cards.filter(|c| !c.is_empty()).ok_or_else(|| fields.bad("carousel.cards must not be empty"))?;
    for (i, card) in cards.iter().enumerate() {
        let at = format!("carousel.cards[{i}]");
        let media = card.get("media").and_then(Value::as_object);
        if !media.is_some_and(|m| !m.is_empty() && m.values().all(Value::is_string)) {
            return Err(fields.bad(format!("{at}.media is required")));
        }
        if !card.get("body").is_some_and(Value::is_string) {
            return Err(fields.bad(format!("{at}.body is required")));
        }
        let none = Vec::new();
        let buttons = card.get("buttons").map(Value::as_array);
        let buttons = match buttons {
            None => &none,
            Some(Some(buttons)) => buttons,
            Some(None) => return Err(fields.bad(format!("{at}.buttons must be an array"))),
        };
        for (j, button) in buttons.iter().enumerate() {
            let kind = string(button.get("type"));
            let right = match kind {
                "QUICK_REPLY" => text_at(button, "text"),
                "URL" => text_at(button, "text") && text_at(button, "url"),
                _ => false,
            };
            if !right {
                return Err(fields.bad(format!("{at}.buttons[{j}] is invalid")));
            }
        }
    }
    Ok(())
}

fn flow(fields: &Fields, flow: &Value) -> Result<(), ApiError> {
    if let Some(name) = ["flowId", "cta"].into_iter().find(|n| !text_at(flow, n)) {
        return Err(fields.bad(format!("flow.{name} is required")));
    }
    if !["navigate", "data_exchange"].contains(&string(flow.get("action"))) {
        return Err(fields.bad("flow.action must be navigate or data_exchange"));
    }
    let mode = flow.get("mode");
    if mode.is_some() && !["published", "draft"].contains(&string(mode)) {
        return Err(fields.bad("flow.mode must be published or draft"));
    }
    if !fields.switches.flow_window_open {
        return Err(ApiError::coded(
            fields.switches.flow_window_closed_status,
            "FLOW_WINDOW_CLOSED",
            "The conversation window is closed",
        ));
    }
    Ok(())
}
