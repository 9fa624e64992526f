//! Owns the small reads: groups, newsletters, the dashboard. Fixed content in
//! the documented shapes; nothing else depends on it.

use axum::extract::State as Ext;
use axum::response::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::call::Call;
use super::errors::{ApiError, ok};
use super::messages::Status;
use super::state::{Shared, State, held};
use super::switches::ListShape;

/// `GET /v1/groups`
pub async fn groups(Ext(state): Ext<Shared>, call: Call) -> Result<Response, ApiError> {
    connected(&state, &call)?;
    let id = "120363077700011122@g.us";
    Ok(ok(match call.switches.groups_shape {
        ListShape::Wrapped => json!({ "groups": [{ "id": id, "name": "Sandbox group" }] }),
        ListShape::Bare => json!([{ "id": id, "subject": "Sandbox group" }]),
    }))
}

/// `GET /v1/newsletters`
pub async fn newsletters(Ext(state): Ext<Shared>, call: Call) -> Result<Response, ApiError> {
    connected(&state, &call)?;
    let rows = json!([{ "id": "120363055500044433@newsletter", "name": "Sandbox news" }]);
    Ok(ok(match call.switches.newsletters_shape {
        ListShape::Wrapped => json!({ "newsletters": rows }),
        ListShape::Bare => rows,
    }))
}

fn connected(state: &State, call: &Call) -> Result<(), ApiError> {
    let number = call.number_or_header(state)?;
    if held(&state.numbers).get(&number)?.state == "OPEN" {
        return Ok(());
    }
    Err(ApiError::coded(409, "WHATSAPP_INSTANCE_NOT_CONNECTED", "The number is not connected"))
}

/// `GET /v1/analytics/dashboard`: percentages against an earlier time are 0.
pub async fn dashboard(Ext(state): Ext<Shared>, call: Call) -> Result<Response, ApiError> {
    let number = call.number_or_header(&state)?;
    let mut by_status = [0_u64; 6];
    for message in held(&state.messages).rows() {
        if message.draft.number_id == number {
            by_status[message.status as usize] += 1;
        }
    }
    let of = |status: Status| by_status[status as usize];
    let sent = of(Status::Sent) + of(Status::Delivered) + of(Status::Read);
    let failed = of(Status::Failed);
    let total = by_status.iter().sum::<u64>();
    let per_myriad = (failed * 10_000).checked_div(total).unwrap_or(0);
    let rate = f64::from(u32::try_from(per_myriad).unwrap_or(0)) / 100.0;
    let today: String = super::clock::iso(Timestamp::now()).chars().take(10).collect();
    let daily: Value = json!([{ "date": today, "count": total }]);
    Ok(ok(json!({
        "totalSent": sent, "totalFailed": failed, "sentPercentChange": 0.0,
        "failedPercentChange": 0.0, "failureRate": rate, "dailyMessages": daily,
        "statusDistribution": {
            "queued": of(Status::Queued), "sent": of(Status::Sent),
            "delivered": of(Status::Delivered), "failed": failed, "read": of(Status::Read),
        },
    })))
}
