//! Owns the numbers and the `/v1/numbers` routes: list, create, read, patch,
//! delete and back. Just enough of each, in the documented shapes; no device is
//! ever paired, a new number is simply OPEN.

use axum::extract::{Path, State as Ext};
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::account::Scope;
use super::call::Call;
use super::clock::{iso, iso_or_null};
use super::errors::{ApiError, created, ok};
use super::options::NumberSeed;
use super::state::{Shared, State, held};

const MOST: usize = 1_000;
const DAY: i64 = 24;

#[derive(Debug, Clone)]
pub struct Number {
    pub id: String,
    pub name: String,
    /// The phone without `+`.
    pub digits: String,
    pub provider: String,
    /// `OPEN`, `CONNECTING` or `CLOSE`.
    pub state: String,
    pub unpaid_since: Option<Timestamp>,
    deleted_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
    pii: (String, Option<u64>),
    settings: Map<String, Value>,
}

impl Number {
    fn new(id: String, name: String, phone: &str, provider: &str) -> Self {
        let settings = json!({
            "historyImportEnabled": true, "webhookHistoricalMessages": false,
            "ignoreNewsletters": false, "markReadOnSend": true, "alwaysOnline": null,
            "rejectCall": null, "msgRejectCall": null, "readMessages": null,
            "ignoreGroups": null, "ignoreStatus": null,
        });
        Self {
            id,
            name,
            digits: phone.trim_start_matches('+').to_owned(),
            provider: provider.to_owned(),
            state: "OPEN".into(),
            unpaid_since: None,
            deleted_at: None,
            created_at: Timestamp::now(),
            updated_at: Timestamp::now(),
            pii: ("STORE_INDEFINITE".into(), None),
            settings: settings.as_object().cloned().unwrap_or_default(),
        }
    }

    pub fn phone(&self) -> String {
        format!("+{}", self.digits)
    }

    pub fn instance_name(&self) -> String {
        format!("PS-{}", self.id)
    }

    fn is_open(&self) -> bool {
        self.state == "OPEN"
    }

    fn disconnect_at(&self) -> Option<Timestamp> {
        let week = SignedDuration::from_hours(7 * DAY);
        self.unpaid_since.and_then(|at| at.checked_add(week).ok())
    }

    fn row(&self, keys: &Value) -> Value {
        json!({
            "id": self.id, "instanceName": self.instance_name(), "number": self.digits,
            "name": self.name, "provider": self.provider, "state": self.state,
            "isFullyConnected": self.is_open(), "apiKeys": keys,
            "primaryLink": { "state": self.state, "connectedAt": iso(self.created_at) },
            "secondaryLink": null, "coexistence": { "status": "UNKNOWN", "evidence": null },
            "extraChargeUnpaidSince": iso_or_null(self.unpaid_since),
            "extraChargeDisconnectAt": iso_or_null(self.disconnect_at()),
            "createdAt": iso(self.created_at), "updatedAt": iso(self.updated_at),
        })
    }

    fn detail(&self) -> Value {
        let meta = self.provider == "META";
        let mut settings = self.settings.clone();
        settings.insert(
            "appliesTo".into(),
            json!({ "history": "all", "advanced": "none",
                    "sending": if meta { "meta" } else { "none" } }),
        );
        json!({
            "id": self.id, "number": self.digits, "name": self.name,
            "provider": self.provider, "state": self.state,
            "isFullyConnected": self.is_open(), "piiMode": self.pii.0,
            "piiRetentionDays": self.pii.1, "settings": settings,
            "createdAt": iso(self.created_at), "updatedAt": iso(self.updated_at),
            "health": {
                "qualityRating": "GREEN", "messagingLimitTier": "TIER_1K",
                "portfolioMessagingLimitTier": null, "metaStatus": "CONNECTED",
                "code": null, "reason": null, "sendable": self.is_open(),
            },
            "meta": null, "coexistence": { "status": "UNKNOWN", "evidence": null },
            "extraChargeUnpaidSince": iso_or_null(self.unpaid_since),
            "extraChargeDisconnectAt": iso_or_null(self.disconnect_at()),
        })
    }
}

/// In order of creation.
pub struct Numbers(Vec<Number>);

impl Numbers {
    pub fn new<'a>(seeds: impl Iterator<Item = &'a NumberSeed>) -> Self {
        let number = |s: &NumberSeed| Number::new(s.id.clone(), s.display_name.clone(), &s.phone, &s.provider);
        Self(seeds.map(number).collect())
    }

    pub fn live(&self) -> Vec<Number> {
        let live = self.0.iter().filter(|n| n.deleted_at.is_none());
        live.cloned().collect()
    }

    /// A number that is not deleted.
    pub fn get(&self, id: &str) -> Result<Number, ApiError> {
        let found = self.0.iter().find(|n| n.id == id && n.deleted_at.is_none());
        found.cloned().ok_or_else(ApiError::number_not_found)
    }

    pub fn is_live(&self, id: &str) -> bool {
        self.0.iter().any(|n| n.id == id && n.deleted_at.is_none())
    }

    /// Changes a number that is not deleted.
    pub fn change(&mut self, id: &str, change: impl FnOnce(&mut Number)) -> Result<Number, ApiError> {
        let mut live = self.0.iter_mut().filter(|n| n.deleted_at.is_none());
        let number = live.find(|n| n.id == id);
        let number = number.ok_or_else(ApiError::number_not_found)?;
        change(number);
        number.updated_at = Timestamp::now();
        Ok(number.clone())
    }
}

/// The number of the path, if the key reaches it. Upstream gives no code here.
fn reached(state: &State, call: &Call, id: &str) -> Result<Number, ApiError> {
    let not_found = || ApiError::new(404, "Number not found");
    match &call.caller()?.scope {
        Scope::Number(own) if own != id => Err(not_found()),
        Scope::Number(_) | Scope::Tenant => held(&state.numbers).get(id).map_err(|_| not_found()),
    }
}

fn keys(state: &State, number: &Number) -> Value {
    let key = held(&state.keyring).of(&Scope::Number(number.id.clone()));
    key.map_or(json!([]), |k| json!([{ "name": k.name(), "keyPrefix": k.prefix(), "keyLast4": k.last4() }]))
}

/// `GET /v1/numbers`
pub async fn list(Ext(state): Ext<Shared>, call: Call) -> Result<Response, ApiError> {
    let scope = &call.caller()?.scope;
    let numbers = held(&state.numbers).live();
    let mine = |n: &&Number| !matches!(scope, Scope::Number(own) if *own != n.id);
    let rows = numbers.iter().filter(mine).map(|n| n.row(&keys(&state, n)));
    Ok(ok(rows.collect()))
}

/// `POST /v1/numbers`
pub async fn create(Ext(state): Ext<Shared>, call: Call) -> Result<Response, ApiError> {
    call.caller()?;
    let body = call.object()?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or("").trim();
    let digits = text("number").trim_start_matches('+').to_owned();
    if text("name").is_empty() || digits.len() < 10 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ApiError::invalid(&call.switches, "name and a number of 10 or more digits are required"));
    }
    let id = format!("wn_{}", state.chance.hex(6));
    let mut number = Number::new(id, text("name").to_owned(), &digits, "PILOT_STATUS");
    if let Some(Value::Object(settings)) = body.get("settings") {
        number.settings.extend(settings.clone());
    }
    {
        let mut numbers = held(&state.numbers);
        match numbers.0.iter().find(|n| n.digits == digits) {
            Some(old) if old.deleted_at.is_some() => {
                return Err(ApiError::coded(
                    409,
                    "NUMBER_SOFT_DELETED",
                    "The number was deleted and can be restored or purged",
                ));
            }
            Some(_) => return Err(ApiError::new(409, "The number already exists")),
            None if numbers.0.len() >= MOST => {
                return Err(ApiError::invalid(&call.switches, "Too many numbers"));
            }
            None => numbers.0.push(number.clone()),
        }
    }
    let scope = Scope::Number(number.id.clone());
    let key = held(&state.keyring).add(&state.chance, scope, None);
    let mut instance = number.row(&keys(&state, &number));
    instance["tenantId"] = json!(state.tenant_id);
    instance["displayName"] = json!(number.name);
    Ok(created(json!({
        "instance": instance, "qrcodeBase64": null, "pairingCode": null,
        "linkedApiKeyId": key.id,
    })))
}

/// `GET /v1/numbers/{id}`
pub async fn get(Ext(state): Ext<Shared>, Path(id): Path<String>, call: Call) -> Result<Response, ApiError> {
    Ok(ok(reached(&state, &call, &id)?.detail()))
}

/// `PATCH /v1/numbers/{id}`
pub async fn update(Ext(state): Ext<Shared>, Path(id): Path<String>, call: Call) -> Result<Response, ApiError> {
    reached(&state, &call, &id)?;
    let body = call.object()?;
    let names = ["piiMode", "piiRetentionDays", "settings"];
    if !names.iter().any(|n| body.contains_key(*n)) {
        return Err(ApiError::coded(400, "EMPTY_PATCH", "Nothing to change"));
    }
    let mode = body.get("piiMode").and_then(Value::as_str);
    let days = body.get("piiRetentionDays").and_then(Value::as_u64);
    let modes = ["STORE_INDEFINITE", "STORE_X_DAYS", "RELAY_ONLY"];
    if mode.is_some_and(|m| !modes.contains(&m))
        || mode == Some("STORE_X_DAYS") && !days.is_some_and(|d| (1..=3650).contains(&d))
    {
        return Err(ApiError::invalid(&call.switches, "piiMode is invalid"));
    }
    let settings = body.get("settings").and_then(Value::as_object).cloned();
    let number = held(&state.numbers).change(&id, |number| {
        if let Some(mode) = mode {
            number.pii = (mode.to_owned(), days);
        }
        number.settings.extend(settings.clone().unwrap_or_default());
    })?;
    let mut detail = number.detail();
    if settings.is_some() {
        detail["settingsSync"] = json!({ "applied": 1, "failed": 0, "skipped": 0 });
    }
    Ok(ok(detail))
}

/// `GET /v1/numbers/{id}/status`
pub async fn status(Ext(state): Ext<Shared>, Path(id): Path<String>, call: Call) -> Result<Response, ApiError> {
    let number = reached(&state, &call, &id)?;
    Ok(ok(json!({
        "id": number.id, "state": number.state, "stale": false,
        "checkedAt": iso(Timestamp::now()),
    })))
}

/// `GET /v1/numbers/{id}/connect`
pub async fn connect(Ext(state): Ext<Shared>, Path(id): Path<String>, call: Call) -> Result<Response, ApiError> {
    let number = reached(&state, &call, &id)?;
    let code = (!number.is_open()).then(|| state.chance.hex(4).to_uppercase());
    Ok(ok(json!({ "qrcodeBase64": null, "pairingCode": code })))
}

/// `DELETE /v1/numbers/{id}`
pub async fn delete(Ext(state): Ext<Shared>, Path(id): Path<String>, call: Call) -> Result<Response, ApiError> {
    reached(&state, &call, &id)?;
    let now = Timestamp::now();
    held(&state.numbers).change(&id, |number| number.deleted_at = Some(now))?;
    let until = now.checked_add(SignedDuration::from_hours(30 * DAY)).ok();
    Ok(ok(json!({ "ok": true, "restorableUntil": iso_or_null(until) })))
}

/// `POST /v1/numbers/{id}/restore`
pub async fn restore(Ext(state): Ext<Shared>, Path(id): Path<String>, call: Call) -> Result<Response, ApiError> {
    call.tenant()?;
    let mut numbers = held(&state.numbers);
    let deleted = |n: &&mut Number| n.id == id && n.deleted_at.is_some();
    let number = numbers.0.iter_mut().find(deleted);
    let number = number.ok_or_else(|| ApiError::new(404, "Number not found"))?;
    number.deleted_at = None;
    number.updated_at = Timestamp::now();
    Ok(ok(json!({ "ok": true, "requiresReconnect": true })))
}

/// `DELETE /v1/numbers/{id}/purge`
pub async fn purge(Ext(state): Ext<Shared>, Path(id): Path<String>, call: Call) -> Result<Response, ApiError> {
    call.tenant()?;
    {
        let mut numbers = held(&state.numbers);
        let index = numbers.0.iter().position(|n| n.id == id);
        let index = index.ok_or_else(|| ApiError::new(404, "Number not found"))?;
        numbers.0.remove(index);
    }
    held(&state.keyring).remove(&Scope::Number(id.clone()));
    held(&state.hooks).remove_number(&id);
    held(&state.templates).remove_number(&id);
    Ok(ok(json!({ "ok": true })))
}

/// `POST /v1/numbers/{id}/pay`
pub async fn pay(Ext(state): Ext<Shared>, Path(id): Path<String>, call: Call) -> Result<Response, ApiError> {
    call.tenant()?;
    let mut owed = false;
    held(&state.numbers).change(&id, |number| owed = number.unpaid_since.take().is_some())?;
    let status = if owed { "paid" } else { "not_required" };
    Ok(ok(json!({ "ok": true, "status": status })))
}
