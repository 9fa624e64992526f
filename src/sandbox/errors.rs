//! Owns the shape of an error answer and the refusals that several rooms share.
//! It does not decide when one is due. Every handler returns it.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::switches::{Hint, Switches};

/// An error body: `error`, perhaps `code`, perhaps `details`, and further
/// top-level members such as `reason` or `retryAfterSeconds`.
#[derive(Debug, Clone)]
pub struct ApiError {
    pub status: u16,
    pub body: Map<String, Value>,
    pub retry_after_seconds: Option<u64>,
}

impl ApiError {
    pub fn new(status: u16, message: impl Into<Cow<'static, str>>) -> Self {
        let mut body = Map::new();
        body.insert("error".into(), Value::String(message.into().into_owned()));
        Self { status, body, retry_after_seconds: None }
    }

    /// The same with a machine code.
    pub fn coded(status: u16, code: &str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(status, message).with("code", json!(code))
    }

    /// Adds a top-level member.
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.body.insert(name.into(), value);
        self
    }

    /// A refused field of a send. Upstream documents no code for most of them.
    pub fn invalid(switches: &Switches, message: impl Into<Cow<'static, str>>) -> Self {
        match &switches.validation_code {
            Some(code) => Self::coded(400, code, message),
            None => Self::new(400, message),
        }
    }

    pub fn unauthorized(switches: &Switches) -> Self {
        match &switches.unauthorized_code {
            Some(code) => Self::coded(401, code, "Unauthorized"),
            None => Self::new(401, "Unauthorized"),
        }
    }

    pub fn tenant_scope() -> Self {
        Self::coded(403, "TENANT_SCOPE_NOT_ALLOWED", "This endpoint needs a number-scoped key")
    }

    pub fn number_scope() -> Self {
        Self::coded(403, "NUMBER_SCOPE_NOT_ALLOWED", "This endpoint needs an account-wide key")
    }

    pub fn number_not_found() -> Self {
        Self::coded(404, "NUMBER_NOT_FOUND", "Number not found")
    }

    /// A 429 that says how long to wait in the places `hint` names.
    pub fn rate_limited(hint: Hint, seconds: u64) -> Self {
        let mut error = Self::coded(429, "RATE_LIMITED", "Too many requests");
        error.hint(hint, seconds);
        error
    }

    /// Says how long to wait in the places `hint` names.
    pub fn hint(&mut self, hint: Hint, seconds: u64) {
        if hint.in_body() {
            self.body.insert("retryAfterSeconds".into(), json!(seconds));
        }
        if hint.in_header() {
            self.retry_after_seconds = Some(seconds);
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = json_response(self.status, Value::Object(self.body).to_string());
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A JSON answer from text that already is JSON.
pub fn json_response(status: u16, body: impl Into<axum::body::Body>) -> Response {
    (
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        [(header::CONTENT_TYPE, "application/json")],
        body.into(),
    )
        .into_response()
}

/// A 200 with a JSON value.
pub fn ok(value: Value) -> Response {
    json_response(200, value.to_string())
}

/// A 201 with a JSON value.
pub fn created(value: Value) -> Response {
    json_response(201, value.to_string())
}
