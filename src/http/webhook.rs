//! One webhook.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::Door;
use crate::{tracking::IntakeError, upstream::webhook::SIGNATURE_HEADER};

/// Hands the bytes over as they came: the signature covers them and nothing else.
pub(super) async fn receive(
    State(door): State<Door>,
    Path(token): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            door.tracking.refused_as_too_large();
            return answer(StatusCode::PAYLOAD_TOO_LARGE, "too large");
        }
        Err(broken_off) => return broken_off.into_response(),
    };
    let signature = headers.get(SIGNATURE_HEADER).and_then(|value| value.to_str().ok());
    match door.tracking.ingest(&token, signature, &body).await {
        Ok(_) => answer(StatusCode::OK, "recorded"),
        Err(IntakeError::UnknownPath | IntakeError::UnknownNumber) => answer(StatusCode::NOT_FOUND, "unknown path"),
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
