//! Settling a doubt by what somebody found out.

use super::{Messaging, running::Entry};
use crate::{
    domain::{
        audit::Act,
        failure::{Failure, FailureCode},
        ids::{MessageId, UpstreamId},
        merge::{Fact, Observed},
        message::{ForeignIds, Handoff, Message},
        status::{Origin, Status},
    },
    store::{Claim, Settlement, StoreError, Withdrawn},
};

/// What was found out about a message in doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Pilot Status took it; the id, if it was found, brings its further statuses.
    Sent(Option<UpstreamId>),
    /// It did not, so that sending it again is safe.
    NotSent,
}

/// Why a doubt was not settled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ResolveError {
    /// There is no such message.
    #[error("no such message")]
    NotFound,
    /// It is not in doubt, so there is nothing to settle.
    #[error("the message is not in doubt")]
    NotInDoubt(Status),
    /// It is being attempted right now, which may settle it.
    #[error("the message is being attempted right now")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Messaging {
    /// Settles a message in doubt; it is not attempted any more. The `request_id` of one that was not sent may be used
    /// again, unless the queue had answered for it.
    pub(super) async fn settled_by_hand(
        &self,
        id: MessageId,
        resolution: Resolution,
        act: Act,
    ) -> Result<Message, ResolveError> {
        // Entered before the look, so that no repeated call of the caller comes in between.
        let Entry::Mine(_guard) = self.running.enter(id) else { return Err(ResolveError::Busy) };
        let message = self.store.message(id).await?.ok_or(ResolveError::NotFound)?;
        if message.status != Status::InDoubt {
            return Err(ResolveError::NotInDoubt(message.status));
        }
        let fact = match resolution {
            Resolution::Sent(upstream) => Fact {
                ids: ForeignIds { upstream, ..ForeignIds::default() },
                ..self.fact(Observed::Reached(Status::Queued), Origin::Gateway)
            },
            Resolution::NotSent => {
                let failure = Failure::of_handoff(FailureCode::ResolvedNotSent, "found not to have been sent");
                self.fact(Observed::Failed(failure), Origin::Gateway)
            }
        };
        match self.store.withdraw(id, Status::InDoubt, fact.clone(), Some(act.clone())).await? {
            Withdrawn::Done(message) => {
                self.wakers.due(&message.origins.number);
                Ok(*message)
            }
            Withdrawn::Busy => Err(ResolveError::Busy),
            Withdrawn::Absent => {
                let not_sent = matches!(fact.status, Observed::Failed(_));
                let free = not_sent && message.origins.handoff == Handoff::Direct;
                let claim = if free { Claim::Released } else { Claim::Kept };
                Ok(self
                    .store
                    .settle(id, Settlement { fact, attempts: 0, flow_token: None, claim, audit: Some(act) })
                    .await?)
            }
        }
    }
}
