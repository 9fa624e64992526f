//! One webhook.

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::Door;
use crate::{tracking::IntakeError, upstream::webhook::SIGNATURE_HEADER};

/// Hands the bytes over as they came: the signature covers them and nothing else. Reads them only if the path is known.
pub(super) async fn receive(State(door): State<Door>, Path(token): Path<String>, request: Request) -> Response {
    if !door.tracking.is_taken_at(&token) {
        return answer(StatusCode::NOT_FOUND, "unknown path");
    }
    let signature = request.headers().get(SIGNATURE_HEADER).cloned();
    let body = match Bytes::from_request(request, &()).await {
        Ok(body) => body,
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            door.tracking.refused_as_too_large();
            return answer(StatusCode::PAYLOAD_TOO_LARGE, "too large");
        }
        Err(broken_off) => return broken_off.into_response(),
    };
    let signature = signature.as_ref().and_then(|value| value.to_str().ok());
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
