//! Owns keys: which exist, what each reaches, and the `/v1/api-keys` routes.
//! It owns no number; a key only names one.

use std::collections::BTreeMap;

use axum::extract::State as Ext;
use axum::response::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::call::Call;
use super::clock::{iso, iso_or_null};
use super::errors::{ApiError, created, ok};
use super::ids::Chance;
use super::options::{Account, AccountNumber, Options};
use super::state::{Shared, State, held};

/// What a key reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    Number(String),
    Tenant,
}

#[derive(Debug, Clone)]
pub struct Key {
    pub id: String,
    pub secret: String,
    pub scope: Scope,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
}

impl Key {
    pub fn prefix(&self) -> String {
        self.secret.chars().take(7).collect()
    }

    pub fn last4(&self) -> String {
        last4(&self.secret)
    }

    pub fn name(&self) -> &'static str {
        match self.scope {
            Scope::Number(_) => "Default",
            Scope::Tenant => "Account",
        }
    }
}

pub fn last4(secret: &str) -> String {
    let skip = secret.chars().count().saturating_sub(4);
    secret.chars().skip(skip).collect()
}

/// One key per number, one for the account.
pub struct Keyring {
    keys: BTreeMap<String, Key>,
    by_secret: BTreeMap<String, String>,
}

impl Keyring {
    pub fn new(chance: &Chance, options: &Options) -> Self {
        let mut keyring = Self { keys: BTreeMap::new(), by_secret: BTreeMap::new() };
        keyring.add(chance, Scope::Tenant, options.tenant_key.clone());
        let first = Scope::Number(options.number.id.clone());
        keyring.add(chance, first, options.number_key.clone());
        for seed in &options.more_numbers {
            keyring.add(chance, Scope::Number(seed.id.clone()), None);
        }
        keyring
    }

    /// Gives `scope` a new key; the one it had is dead at once.
    pub fn add(&mut self, chance: &Chance, scope: Scope, secret: Option<String>) -> Key {
        self.remove(&scope);
        let key = Key {
            id: format!("key_{}", chance.hex(6)),
            secret: secret.unwrap_or_else(|| format!("ps_{}", chance.base36(36))),
            scope,
            created_at: Timestamp::now(),
            last_used_at: None,
        };
        self.by_secret.insert(key.secret.clone(), key.id.clone());
        self.keys.insert(key.id.clone(), key.clone());
        key
    }

    pub fn remove(&mut self, scope: &Scope) {
        if let Some(old) = self.of(scope) {
            self.by_secret.remove(&old.secret);
            self.keys.remove(&old.id);
        }
    }

    pub fn of(&self, scope: &Scope) -> Option<Key> {
        self.keys.values().find(|k| k.scope == *scope).cloned()
    }

    /// The key with this text, or with this id if there is no text.
    pub fn find(&mut self, secret: Option<&str>, id: Option<&str>) -> Option<Key> {
        let id = match secret {
            Some(secret) => self.by_secret.get(secret)?.clone(),
            None => id?.to_owned(),
        };
        let key = self.keys.get_mut(&id)?;
        key.last_used_at = Some(Timestamp::now());
        Some(key.clone())
    }
}

/// The account as it stands, deleted numbers left out.
pub fn account(state: &State) -> Account {
    let numbers = held(&state.numbers).live();
    let keyring = held(&state.keyring);
    let key = |scope: &Scope| keyring.of(scope).map(|k| k.secret).unwrap_or_default();
    Account {
        numbers: numbers
            .into_iter()
            .map(|n| AccountNumber { key: key(&Scope::Number(n.id.clone())), phone: n.phone(), id: n.id })
            .collect(),
        tenant_key: key(&Scope::Tenant),
        webhook_secret: state.webhook_secret.clone(),
    }
}

/// `GET /v1/api-keys`
pub async fn list(Ext(state): Ext<Shared>, call: Call) -> Result<Response, ApiError> {
    let caller = call.caller()?;
    if let Scope::Number(id) = &caller.scope {
        if !call.switches.number_key_lists_keys {
            return Err(ApiError::number_scope());
        }
        let number = held(&state.numbers).get(id)?;
        return Ok(ok(json!([{
            "id": caller.id, "name": caller.name(), "keyPrefix": caller.prefix(),
            "lastUsedAt": iso_or_null(caller.last_used_at), "createdAt": iso(caller.created_at),
            "webhookId": null, "projectId": null, "webhook": null,
            "whatsappInstanceId": number.id, "retentionDays": 30,
            "whatsappInstance": {
                "id": number.id, "instanceName": number.instance_name(),
                "displayName": number.name, "number": number.digits, "state": number.state,
            },
        }])));
    }
    let numbers = held(&state.numbers).live();
    let keyring = held(&state.keyring);
    let reveal = call.switches.reveal_keys;
    let row = |n: &super::numbers::Number| {
        let key = keyring.of(&Scope::Number(n.id.clone()))?;
        Some(json!({
            "numberId": n.id, "number": n.digits, "displayName": n.name, "keyId": key.id,
            "keyLast4": key.last4(), "key": reveal.then_some(key.secret), "revealable": reveal,
        }))
    };
    Ok(ok(numbers.iter().filter_map(row).collect::<Value>()))
}

/// `POST /v1/api-keys`
pub async fn regenerate_number(Ext(state): Ext<Shared>, call: Call) -> Result<Response, ApiError> {
    call.tenant()?;
    let body = call.object()?;
    let Some(id) = body.get("whatsappNumberId").and_then(Value::as_str) else {
        return Err(ApiError::invalid(&call.switches, "whatsappNumberId is required"));
    };
    let number = held(&state.numbers).get(id)?;
    let scope = Scope::Number(number.id.clone());
    let key = held(&state.keyring).add(&state.chance, scope, None);
    Ok(created(json!({
        "numberId": number.id, "keyId": key.id, "keyPrefix": key.prefix(),
        "keyLast4": key.last4(), "key": key.secret, "createdAt": iso(key.created_at),
    })))
}

/// `POST /v1/api-keys/regenerate`
pub async fn regenerate_own(Ext(state): Ext<Shared>, call: Call) -> Result<Response, ApiError> {
    let scope = call.caller()?.scope.clone();
    let key = held(&state.keyring).add(&state.chance, scope, None);
    let (word, number) = match &key.scope {
        Scope::Number(id) => ("number", json!(id)),
        Scope::Tenant => ("tenant", Value::Null),
    };
    Ok(created(json!({
        "id": key.id, "name": key.name(), "key": key.secret, "keyPrefix": key.prefix(),
        "keyLast4": key.last4(), "scope": word, "whatsappNumberId": number,
        "createdAt": iso(key.created_at),
    })))
}
