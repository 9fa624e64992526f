//! One webhook.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::Door;
use crate::{
    tracking::{Intake, IntakeError},
    upstream::webhook::SIGNATURE_HEADER,
};

/// Hands the bytes over as they came: the signature covers them and nothing else.
pub(super) async fn receive(
    State(door): State<Door>,
    Path(token): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let signature = headers.get(SIGNATURE_HEADER).and_then(|value| value.to_str().ok());
    match door.tracking.ingest(&token, signature, &body).await {
        Ok(Intake::Recorded(_)) => answer(StatusCode::OK, "recorded"),
        Ok(Intake::Ignored(_)) => answer(StatusCode::OK, "ignored"),
        Err(IntakeError::UnknownPath) => answer(StatusCode::NOT_FOUND, "unknown path"),
        Err(IntakeError::BadSignature) => answer(StatusCode::UNAUTHORIZED, "signature missing or wrong"),
        Err(IntakeError::Malformed) => answer(StatusCode::BAD_REQUEST, "not json"),
        Err(IntakeError::Store(error)) => {
            tracing::error!(%error, "a webhook was not recorded");
            answer(StatusCode::SERVICE_UNAVAILABLE, "not recorded, try again")
        }
    }
}

fn answer(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "status": text }))).into_response()
}
