//! Owns the control API: the HTTP routes under `/sandbox/control`, without
//! authentication, for tests on the loopback. The same things are there in
//! process as [`Control`]; the routes only translate. The table of them is in
//! `control.md`.

mod handle;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State as Ext};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub use self::handle::{Control, NumberChange, NumberState, SeenMessage};
use super::account::account;
use super::errors::{ApiError, created, json_response, ok};
use super::faults::Fault;
use super::state::Shared;

pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/", get(overview))
        .route("/switches", patch(patch_switches))
        .route("/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/requests", get(requests))
        .route("/messages", get(messages))
        .route("/stats", get(stats))
        .route("/events", post(emit))
        .route("/numbers/{id}", post(change_number))
        .route("/reset", post(reset))
}

#[derive(Deserialize)]
struct Filter {
    idempotency_key: Option<String>,
    recipient: Option<String>,
    number_id: Option<String>,
    limit: Option<usize>,
}

impl Filter {
    fn holds(&self, key: Option<&str>, recipient: Option<&str>) -> bool {
        let same = |wanted: &Option<String>, is: Option<&str>| match (wanted, is) {
            (None, _) => true,
            (Some(wanted), Some(is)) => super::faults::same(wanted, is),
            (Some(_), None) => false,
        };
        same(&self.idempotency_key, key) && same(&self.recipient, recipient)
    }
}

fn bad(error: impl std::fmt::Display) -> ApiError {
    ApiError::new(400, error.to_string())
}

async fn overview(Ext(state): Ext<Shared>) -> Response {
    let control = Control::new(state.clone());
    ok(json!({
        "account": account(&state), "switches": control.switches(),
        "faults": control.faults(), "timelines": state.endings.to_json(),
    }))
}

async fn patch_switches(Ext(state): Ext<Shared>, body: Bytes) -> Result<Response, ApiError> {
    let patch: Map<String, Value> = serde_json::from_slice(&body).map_err(bad)?;
    let control = Control::new(state);
    control.patch_switches(&patch).map_err(bad)?;
    Ok(ok(json!(control.switches())))
}

async fn faults(Ext(state): Ext<Shared>) -> Response {
    ok(json!(Control::new(state).faults()))
}

async fn add_fault(Ext(state): Ext<Shared>, body: Bytes) -> Result<Response, ApiError> {
    let fault: Fault = serde_json::from_slice(&body).map_err(bad)?;
    let control = Control::new(state);
    control.add_fault(fault).map_err(bad)?;
    Ok(created(json!(control.faults())))
}

async fn clear_faults(Ext(state): Ext<Shared>) -> Response {
    Control::new(state).clear_faults();
    ok(json!([]))
}

async fn requests(Ext(state): Ext<Shared>, Query(filter): Query<Filter>) -> Response {
    let mut rows = Control::new(state).requests();
    rows.retain(|r| filter.holds(r.idempotency_key.as_deref(), r.recipient.as_deref()));
    ok(json!(rows))
}

async fn messages(Ext(state): Ext<Shared>, Query(filter): Query<Filter>) -> Response {
    let mut rows = Control::new(state).messages();
    rows.retain(|m| filter.holds(m.idempotency_key.as_deref(), Some(&m.recipient)));
    let skip = rows.len().saturating_sub(filter.limit.unwrap_or(usize::MAX));
    ok(json!(rows[skip..]))
}

async fn stats(Ext(state): Ext<Shared>) -> Response {
    ok(json!(Control::new(state).stats()))
}

async fn emit(Ext(state): Ext<Shared>, Query(filter): Query<Filter>, body: Bytes) -> Result<Response, ApiError> {
    let control = Control::new(state);
    let webhooks = control.emit(body, filter.number_id.as_deref());
    let body = json!({ "webhooks": webhooks.map_err(bad)? }).to_string();
    Ok(json_response(202, body))
}

async fn change_number(Ext(state): Ext<Shared>, Path(id): Path<String>, body: Bytes) -> Result<Response, Response> {
    let change: NumberChange = serde_json::from_slice(&body).map_err(bad).map_err(IntoResponse::into_response)?;
    let now = Control::new(state).change_number(&id, &change);
    let now = now.map_err(|e| ApiError::new(404, e).into_response())?;
    Ok(ok(json!({
        "id": id, "state": now.state, "extra_charge_unpaid": now.extra_charge_unpaid,
    })))
}

async fn reset(Ext(state): Ext<Shared>) -> Response {
    Control::new(state).reset();
    ok(json!({ "ok": true }))
}
