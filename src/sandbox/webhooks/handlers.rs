//! Owns the `/v1/webhooks` routes. No answer ever carries the secret.

use axum::extract::{Path, State as Ext};
use axum::response::Response;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::super::account::Scope;
use super::super::call::Call;
use super::super::clock::iso;
use super::super::errors::{ApiError, json_response, ok};
use super::super::state::{Shared, State, held};
use super::super::switches::{ChangeAnswer, ListShape};
use super::{EVENTS, Hook, Log};

/// `GET /v1/webhooks`
pub async fn list(Ext(state): Ext<Shared>, call: Call) -> Result<Response, ApiError> {
    let number = match &call.caller()?.scope {
        Scope::Number(id) => Some(id.clone()),
        Scope::Tenant => call.header("x-whatsapp-number-id").map(str::to_owned),
    };
    let hooks: Vec<Hook> = {
        let hooks = held(&state.hooks);
        let wanted = |h: &&Hook| number.as_ref().is_none_or(|n| *n == h.number_id);
        hooks.all().filter(wanted).cloned().collect()
    };
    Ok(ok(hooks.iter().map(|h| shown(&state, h)).collect()))
}

/// `POST /v1/webhooks`
pub async fn create(Ext(state): Ext<Shared>, call: Call) -> Result<Response, ApiError> {
    let body = call.object()?;
    let number_id = number_of(&state, &call, body)?;
    let patch = Patch::of(&call, body)?;
    let required = |name: &'static str| ApiError::invalid(&call.switches, format!("{name} is required"));
    let now = Timestamp::now();
    let hook = Hook {
        seq: 0,
        id: format!("wh_{}", state.chance.hex(6)),
        number_id,
        name: patch.name.ok_or_else(|| required("name"))?,
        url: patch.url.ok_or_else(|| required("url"))?,
        active: patch.active.unwrap_or(true),
        events: patch.events.unwrap_or_default(),
        last_triggered: None,
        created_at: now,
        updated_at: now,
        given_up_in_a_row: 0,
    };
    let added = held(&state.hooks).add(hook);
    let hook = added.ok_or_else(|| ApiError::invalid(&call.switches, "Too many webhooks"))?;
    let body = shown(&state, &hook).to_string();
    Ok(json_response(call.switches.webhook_create_status, body))
}

/// `GET /v1/webhooks/{id}`
pub async fn get(Ext(state): Ext<Shared>, Path(id): Path<String>, call: Call) -> Result<Response, ApiError> {
    let hook = in_scope(&state, &call, &id)?;
    Ok(ok(shown(&state, &hook)))
}

/// `PATCH /v1/webhooks/{id}`
pub async fn update(Ext(state): Ext<Shared>, Path(id): Path<String>, call: Call) -> Result<Response, ApiError> {
    in_scope(&state, &call, &id)?;
    let patch = Patch::of(&call, call.object()?)?;
    let hook = {
        let mut hooks = held(&state.hooks);
        let (hook, _) = hooks.by_id(&id).ok_or_else(not_found)?;
        if let Some(name) = patch.name {
            hook.name = name;
        }
        if let Some(url) = patch.url {
            hook.url = url;
        }
        if let Some(events) = patch.events {
            hook.events = events;
        }
        if let Some(active) = patch.active {
            hook.active = active;
            hook.given_up_in_a_row = 0;
        }
        hook.updated_at = Timestamp::now();
        hook.clone()
    };
    Ok(ok(match call.switches.webhook_update_answer {
        ChangeAnswer::Whole => shown(&state, &hook),
        ChangeAnswer::Subset => json!({ "id": hook.id, "updatedAt": iso(hook.updated_at) }),
    }))
}

/// `DELETE /v1/webhooks/{id}`: the body is a guess.
pub async fn delete(Ext(state): Ext<Shared>, Path(id): Path<String>, call: Call) -> Result<Response, ApiError> {
    let hook = in_scope(&state, &call, &id)?;
    held(&state.hooks).remove(hook.seq);
    Ok(ok(json!({ "ok": true })))
}

/// `GET /v1/webhooks/{id}/logs`
pub async fn logs(Ext(state): Ext<Shared>, Path(id): Path<String>, call: Call) -> Result<Response, ApiError> {
    in_scope(&state, &call, &id)?;
    let limit = call.param("limit").unwrap_or("50").parse::<usize>();
    let limit = limit.ok().filter(|l| (1..=50).contains(l));
    let limit = limit.ok_or_else(|| ApiError::invalid(&call.switches, "limit must be 1 to 50"))?;
    let rows: Vec<Value> = {
        let mut hooks = held(&state.hooks);
        let (_, logs) = hooks.by_id(&id).ok_or_else(not_found)?;
        let event = call.param("event");
        let wanted = |l: &&Log| event.is_none() || l.event.as_deref() == event;
        let newest = logs.iter().rev().filter(wanted);
        newest.take(limit).map(Log::to_json).collect()
    };
    Ok(ok(match call.switches.webhook_logs_shape {
        ListShape::Bare => json!(rows),
        ListShape::Wrapped => json!({ "logs": rows }),
    }))
}

fn not_found() -> ApiError {
    ApiError::coded(404, "WEBHOOK_NOT_FOUND", "Webhook not found")
}

fn in_scope(state: &State, call: &Call, id: &str) -> Result<Hook, ApiError> {
    let scope = &call.caller()?.scope;
    let hook = held(&state.hooks).by_id(id).map(|(hook, _)| hook.clone());
    let hook = hook.ok_or_else(not_found)?;
    match scope {
        Scope::Number(number) if *number != hook.number_id => Err(not_found()),
        Scope::Number(_) | Scope::Tenant => Ok(hook),
    }
}

fn shown(state: &State, hook: &Hook) -> Value {
    let key = held(&state.keyring).of(&Scope::Number(hook.number_id.clone()));
    let keys = key.map_or(json!([]), |k| json!([{ "id": k.id, "name": k.name() }]));
    hook.to_json(&state.tenant_id, &keys)
}

/// The number a new webhook is for: the key's, the body's or the header's.
fn number_of(state: &State, call: &Call, body: &Map<String, Value>) -> Result<String, ApiError> {
    let named = body.get("whatsappNumberId").and_then(Value::as_str);
    match &call.caller()?.scope {
        Scope::Number(own) if named.is_some_and(|n| n != own) => {
            Err(ApiError::coded(400, "NUMBER_MISMATCH", "The key belongs to another number"))
        }
        Scope::Number(own) => Ok(own.clone()),
        Scope::Tenant => {
            let named = named
                .or(call.header("x-whatsapp-number-id"))
                .ok_or_else(|| ApiError::coded(400, "NUMBER_REQUIRED", "whatsappNumberId is required"))?;
            Ok(held(&state.numbers).get(named)?.id)
        }
    }
}

/// The members a create and an update share, checked.
struct Patch {
    name: Option<String>,
    url: Option<String>,
    active: Option<bool>,
    events: Option<Vec<String>>,
}

impl Patch {
    fn of(call: &Call, body: &Map<String, Value>) -> Result<Self, ApiError> {
        let bad = |text: &'static str| ApiError::invalid(&call.switches, text);
        let text = |name: &str| body.get(name).filter(|v| !v.is_null());
        let name = match text("name").map(Value::as_str) {
            None => None,
            Some(Some(name)) if !name.trim().is_empty() => Some(name.to_owned()),
            Some(_) => return Err(bad("name must be a non-blank string")),
        };
        let url = match text("url").map(Value::as_str) {
            None => None,
            Some(Some(url)) if is_url(url) => Some(url.to_owned()),
            Some(_) => return Err(bad("url must be an http(s) URL")),
        };
        let active = match text("active").map(Value::as_bool) {
            None => None,
            Some(Some(active)) => Some(active),
            Some(None) => return Err(bad("active must be a boolean")),
        };
        let events = match text("events") {
            None => None,
            Some(value) => {
                let list = value.as_array().ok_or(());
                let names: Result<Vec<&str>, ()> = list.and_then(|l| l.iter().map(|v| v.as_str().ok_or(())).collect());
                let names = names.map_err(|()| bad("events must be an array of strings"))?;
                let dropped = |name: &str| call.switches.webhook_events_dropped.iter().any(|d| d == name);
                let known = names.into_iter().filter(|n| *n == "*" || (EVENTS.contains(n) && !dropped(n)));
                Some(known.map(str::to_owned).collect())
            }
        };
        Ok(Self { name, url, active, events })
    }
}

fn is_url(text: &str) -> bool {
    reqwest::Url::parse(text).is_ok_and(|u| matches!(u.scheme(), "http" | "https"))
}
