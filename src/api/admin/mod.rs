//! `pilotgate.admin.v1`: the platform team's services.
//!
//! A handler proves the right before it looks at anything else, so that nobody learns from a refusal what there is.

mod audit;
mod callers;
mod numbers;
mod outbox;
mod subscriptions;
mod vault;

use tonic::{Request, Status};

pub use self::{
    audit::AuditApi, callers::CallerApi, numbers::NumberApi, outbox::OutboxApi, subscriptions::SubscriptionApi,
    vault::VaultApi,
};
use super::{
    connection::Connection,
    convert::admin::LONGEST_REASON,
    messaging::principal,
    status::{of_not_administrator, of_store},
};
use crate::{
    admin::Admin,
    domain::ids::CallerName,
    identity::{Acting, Duty},
};

/// Proof that the caller may do this, or its refusal, which the audit log then tells of.
async fn acting<D: Duty, T>(
    admin: &Admin,
    request: &Request<T>,
    reason: &str,
    (action, subject): (&str, &str),
) -> Result<Acting<D>, Status> {
    let principal = principal(request)?;
    let from = Connection::peer(request);
    // What does not fit into the audit log is told of by the conversion.
    let subject = shown(subject);
    let reason: String = reason.chars().take(LONGEST_REASON).collect();
    match admin.identity.administer(&principal, from, &reason) {
        Ok(acting) => Ok(acting),
        Err(error) => {
            let noted = admin.turned_away(&principal, from, D::RIGHT, (action, &subject)).await;
            noted.map_err(|error| of_store(&error))?;
            Err(of_not_administrator::<D>(error))
        }
    }
}

/// The same for an act on one thing, whose kind, name and reason stand in the request.
async fn acting_on<D: Duty, T>(
    admin: &Admin,
    request: &Request<T>,
    action: &str,
    about: impl FnOnce(&T) -> (&'static str, &str, &str),
) -> Result<Acting<D>, Status> {
    let (kind, name, reason) = about(request.get_ref());
    acting(admin, request, reason, (action, &format!("{kind}/{name}"))).await
}

/// What an act is about, without what can be no name: that may be a secret in a wrong field, and the audit log keeps it.
/// Of at most three parts, as all subjects are: whoever may do nothing must not fill the log either.
fn shown(subject: &str) -> String {
    let part = |part| if CallerName::from_text(part).is_ok() { part } else { "?" };
    subject.splitn(3, '/').map(part).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn a_subject_that_is_none_is_short() {
        assert_eq!(shown("subscription/orders/projector"), "subscription/orders/projector");
        assert_eq!(shown("number/ps_0123456789abcdef0123456789abcdef"), "number/?");
        assert_eq!(shown(&format!("caller/{}", "a/".repeat(1_000_000))), "caller/a/?");
    }
}
