//! Owns what every handler knows of its request: the caller, the body read
//! once, the switches of that moment. `front` makes it; handlers take it as an
//! argument and ask it for the right they need.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use bytes::Bytes;
use serde_json::{Map, Value};

use super::account::{Key, Scope};
use super::errors::ApiError;
use super::state::{State, held};
use super::switches::Switches;

/// What a fault rule can be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Send,
    Status,
    Cancel,
    History,
    Keys,
    Other,
}

impl Operation {
    /// `path` without the prefix `/v1`.
    pub fn of(method: &Method, path: &str) -> Self {
        let reads = ["history", "unread", "group", "opt-in"];
        match (method.as_str(), path) {
            ("POST", "/messages/send") => Self::Send,
            ("DELETE", "/messages/cancel") => Self::Cancel,
            ("GET", "/messages/history") => Self::History,
            ("POST", "/api-keys" | "/api-keys/regenerate") => Self::Keys,
            ("GET", path) => match path.strip_prefix("/messages/") {
                Some(id) if !id.is_empty() && !reads.contains(&id) => Self::Status,
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

/// One request, as its handler sees it.
#[derive(Clone)]
pub struct Call(Arc<CallParts>);

pub struct CallParts {
    pub switches: Arc<Switches>,
    pub headers: HeaderMap,
    pub query: Vec<(String, String)>,
    pub body: Bytes,
    pub json: Option<Value>,
    pub key: Option<Key>,
    /// Of a send, a rule `delay`: waits while the idempotency key is in use.
    pub delay: Option<Duration>,
    /// Of a send, a rule `webhook_before_reply`.
    pub event_before_reply: bool,
}

impl std::ops::Deref for Call {
    type Target = CallParts;

    fn deref(&self) -> &CallParts {
        &self.0
    }
}

impl From<CallParts> for Call {
    fn from(parts: CallParts) -> Self {
        Self(Arc::new(parts))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Call {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let call = parts.extensions.get::<Self>().cloned();
        call.ok_or_else(|| ApiError::new(500, "Internal error"))
    }
}

impl Call {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    pub fn param(&self, name: &str) -> Option<&str> {
        let pair = self.query.iter().find(|(n, _)| n == name);
        pair.map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    /// Any live key.
    pub fn caller(&self) -> Result<&Key, ApiError> {
        let key = self.key.as_ref();
        key.ok_or_else(|| ApiError::unauthorized(&self.switches))
    }

    /// The account-wide key.
    pub fn tenant(&self) -> Result<(), ApiError> {
        match self.caller()?.scope {
            Scope::Tenant => Ok(()),
            Scope::Number(_) => Err(ApiError::number_scope()),
        }
    }

    /// A number's own key; gives the number.
    pub fn number(&self) -> Result<String, ApiError> {
        match &self.caller()?.scope {
            Scope::Number(id) => Ok(id.clone()),
            Scope::Tenant => Err(ApiError::tenant_scope()),
        }
    }

    /// A number's own key, or the account-wide one with a number header.
    pub fn number_or_header(&self, state: &State) -> Result<String, ApiError> {
        match (&self.caller()?.scope, self.header("x-whatsapp-number-id")) {
            (Scope::Number(id), _) => Ok(id.clone()),
            (Scope::Tenant, Some(id)) => Ok(held(&state.numbers).get(id)?.id),
            (Scope::Tenant, None) => Err(ApiError::tenant_scope()),
        }
    }

    /// The body as a JSON object.
    pub fn object(&self) -> Result<&Map<String, Value>, ApiError> {
        match &self.json {
            Some(Value::Object(map)) => Ok(map),
            Some(_) => Err(ApiError::invalid(&self.switches, "The body must be a JSON object")),
            None => Err(ApiError::invalid(&self.switches, "The body is not valid JSON")),
        }
    }

    /// `page` and `pageSize`, held to 1.. and 1..=100.
    pub fn page(&self) -> (usize, usize) {
        let number = |name, default| {
            let text: Option<&str> = self.param(name);
            text.and_then(|v| v.parse::<usize>().ok()).unwrap_or(default).max(1)
        };
        (number("page", 1), number("pageSize", 30).min(100))
    }
}
