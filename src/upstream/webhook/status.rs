//! `message.sent` and its like: statuses of sent messages, in both schemas.

use serde_json::Value;

use super::{
    super::clean,
    Arrival, Item, Told,
    fields::{self, Fields},
};
use crate::domain::{
    failure::Failure,
    ids::{CorrelationId, ExternalId, UpstreamId},
    merge::{Fact, Observed},
    message::ForeignIds,
    status::{Origin, Status},
};

/// `None` if it names no message.
pub(super) fn read(status: Status, event: &Value, arrival: &Arrival<'_>) -> Option<Item> {
    let mut of = Fields::enveloped(event, arrival)?;
    let ids = ForeignIds {
        upstream: of.id(&["id", "internalMessageId"], UpstreamId::from_text),
        correlation: of.id(&["correlationId"], CorrelationId::from_text),
        external: of.id(&["messageId"], ExternalId::from_text),
    };
    if ids == ForeignIds::default() {
        return None;
    }
    let older_time: &[&str] = match status {
        Status::Sent => &["sentAt"],
        Status::Delivered => &["deliveredAt"],
        Status::Read => &["readAt"],
        Status::Failed => &["failedAt"],
        _ => &[],
    };
    let at = of.time(&[older_time, &["createdAt"]].concat()).unwrap_or(arrival.delivered_at);
    let status = if status == Status::Failed {
        let code = of.take(&["errorCode"], |value| clean::code(&fields::word(value)?, arrival.key).map(str::to_owned));
        let message =
            of.take(&["error", "errorMessage"], |value| Some(clean::text(&fields::word(value)?, arrival.key)));
        Observed::Failed(Failure::reported(code.unwrap_or_default(), message.unwrap_or_default()))
    } else {
        Observed::Reached(status)
    };
    // Only ever compared, so that they are taken as they are.
    let said = of.take(&["to", "destinationNumber"], fields::word).zip(of.take(&["content"], fields::word));
    let fact = Fact { status, at, observed_at: arrival.observed_at, origin: Origin::Webhook, ids };
    Some(Item::Status(Told { fact, said }))
}
