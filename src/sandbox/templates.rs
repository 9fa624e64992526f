//! Owns the templates: the ones every number has from the start, the ones a
//! number makes, and the `/v1/templates` routes. It sends nothing.

use axum::extract::{Path, State as Ext};
use axum::response::Response;
use serde_json::{Value, json};

use super::call::Call;
use super::errors::{ApiError, created, ok};
use super::state::{Shared, held};

const MOST: usize = 1_000;

#[derive(Debug, Clone)]
pub struct Template {
    pub id: String,
    pub name: String,
    /// `MARKETING`, `UTILITY` or `OTP`.
    pub category: String,
    pub text: String,
    language: String,
    /// `None`: every number's.
    number_id: Option<String>,
}

impl Template {
    /// Names of its placeholders, each once, in order.
    pub fn variables(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for piece in self.text.split("{{").skip(1) {
            if let Some((name, _)) = piece.split_once("}}")
                && !names.iter().any(|n| n == name)
            {
                names.push(name.to_owned());
            }
        }
        names
    }

    fn to_json(&self) -> Value {
        json!({
            "id": self.id, "name": self.name, "category": self.category,
            "body": json!({ "body": { "text": self.text } }).to_string(),
            "variables": self.variables(), "source": "META", "metaStatus": "APPROVED",
            "metaLanguage": self.language, "sendable": true,
        })
    }

    fn is(&self, number: &str, wanted: &str) -> bool {
        (self.id == wanted || self.name == wanted) && self.number_id.as_deref().is_none_or(|n| n == number)
    }
}

pub struct Templates(Vec<Template>);

impl Templates {
    pub fn seeded() -> Self {
        let seed = |id: &str, name: &str, category: &str, text: &str| Template {
            id: id.into(),
            name: name.into(),
            category: category.into(),
            text: text.into(),
            language: "pt_BR".into(),
            number_id: None,
        };
        Self(vec![
            seed("tpl_1", "order_update", "UTILITY", "Hi {{name}}, order {{order}} is on its way."),
            seed("tpl_2", "promo", "MARKETING", "Hi {{name}}, there is something new in store."),
            seed("tpl_3", "otp_code", "OTP", "Your code is {{code}}, do not share it."),
            seed("tpl_4", "onboarding-test", "UTILITY", "Hi {{name}}, order {{order_id}} is in."),
            seed("tpl_5", "hello", "UTILITY", "Hello there."),
        ])
    }

    /// By id or name, in the number's scope.
    pub fn find(&self, number: &str, wanted: &str) -> Option<Template> {
        self.0.iter().find(|t| t.is(number, wanted)).cloned()
    }

    pub fn remove_number(&mut self, number: &str) {
        self.0.retain(|t| t.number_id.as_deref() != Some(number));
    }
}

pub fn not_found() -> ApiError {
    ApiError::coded(404, "TEMPLATE_NOT_FOUND", "Template not found")
}

/// `GET /v1/templates`
pub async fn list(Ext(state): Ext<Shared>, call: Call) -> Result<Response, ApiError> {
    let number = call.number_or_header(&state)?;
    let templates = held(&state.templates);
    let mine = templates.0.iter().filter(|t| t.is(&number, &t.id));
    Ok(ok(mine.map(Template::to_json).collect()))
}

/// `GET /v1/templates/{id or name}`
pub async fn get(Ext(state): Ext<Shared>, Path(id): Path<String>, call: Call) -> Result<Response, ApiError> {
    let number = call.number_or_header(&state)?;
    let found = held(&state.templates).find(&number, &id);
    Ok(ok(found.ok_or_else(not_found)?.to_json()))
}

/// `POST /v1/templates`
pub async fn create(Ext(state): Ext<Shared>, call: Call) -> Result<Response, ApiError> {
    let number = call.number()?;
    let body = call.object()?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or("");
    let bad = |what: &'static str| ApiError::invalid(&call.switches, what);
    let (name, category) = (text("name"), text("category"));
    if name.is_empty() || !["MARKETING", "UTILITY", "OTP"].contains(&category) {
        return Err(bad("name and a known category are required"));
    }
    let template = Template {
        id: format!("tpl_{}", state.chance.hex(6)),
        name: name.into(),
        category: category.into(),
        text: body_text(body.get("body")).ok_or_else(|| bad("body is required"))?,
        language: body.get("language").and_then(Value::as_str).unwrap_or("pt_BR").into(),
        number_id: Some(number.clone()),
    };
    check_examples(&template, body.get("examples"))?;
    let mut templates = held(&state.templates);
    if templates.find(&number, name).is_some() {
        return Err(ApiError::new(409, "A template of this name exists"));
    }
    if templates.0.len() >= MOST {
        return Err(bad("Too many templates"));
    }
    templates.0.push(template.clone());
    Ok(created(json!({
        "id": template.id, "name": template.name, "category": template.category,
        "metaStatus": "APPROVED",
    })))
}

/// `PUT /v1/templates/{id or name}`
pub async fn update(Ext(state): Ext<Shared>, Path(id): Path<String>, call: Call) -> Result<Response, ApiError> {
    let number = call.number()?;
    let body = call.object()?;
    let mut templates = held(&state.templates);
    let found = templates.0.iter_mut().find(|t| t.is(&number, &id));
    let found = found.ok_or_else(not_found)?;
    let text = body_text(body.get("body"));
    let text = text.ok_or_else(|| ApiError::invalid(&call.switches, "body is required"))?;
    let changed = Template { text, ..found.clone() };
    check_examples(&changed, body.get("examples"))?;
    *found = changed;
    Ok(ok(found.to_json()))
}

/// `DELETE /v1/templates/{id or name}`: the body is a guess.
pub async fn delete(Ext(state): Ext<Shared>, Path(id): Path<String>, call: Call) -> Result<Response, ApiError> {
    let number = call.number()?;
    let mut templates = held(&state.templates);
    let index = templates.0.iter().position(|t| t.is(&number, &id));
    templates.0.remove(index.ok_or_else(not_found)?);
    Ok(ok(json!({ "ok": true })))
}

/// The text of a body given as an object, as that object in a JSON text, or plain.
fn body_text(body: Option<&Value>) -> Option<String> {
    let text_of = |v: &Value| v["body"]["text"].as_str().map(str::to_owned);
    match body? {
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(object @ Value::Object(_)) => text_of(&object),
            _ => Some(text.clone()),
        },
        object => text_of(object),
    }
}

fn check_examples(template: &Template, examples: Option<&Value>) -> Result<(), ApiError> {
    let given = |name: &String| examples.is_some_and(|e| e.get(name).is_some());
    let missing: Vec<String> = template.variables().into_iter().filter(|n| !given(n)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(ApiError::coded(400, "TEMPLATE_EXAMPLES_REQUIRED", "Every variable needs an example")
        .with("details", json!({ "missing": missing })))
}
