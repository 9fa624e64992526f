//! One attempt of a queued message under its lease, and what its outcome means.
//!
//! Taken and refused are final, but never a refusal after a doubt. What concerns the number and not the message, its key
//! or its pace or the way to Pilot Status, only puts the message off.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::super::{Messaging, gate::Leave, idempotency_key, running::Entry, settle::failure_of};
use crate::{
    domain::{
        failure::{Failure, FailureCode},
        merge::Observed,
        message::Message,
        status::{Origin, Status},
    },
    keys::Number,
    store::{Claim, LeaseEnd, Leased, Next, Settlement},
    upstream::{RefusalClass, SendBody, SendOutcome},
    vault::Place,
};

impl Messaging {
    pub(super) async fn hand_off(&self, leased: Leased, number: Number, leave: Leave) {
        let id = leased.lease.id;
        // Another attempt whose lease has ended under it, or a doubt that is being settled by hand.
        let Entry::Mine(_guard) = self.running.enter(id) else {
            let end = self.again(&leased, leased.message.status, None);
            return self
                .end(&leased, LeaseEnd { settlement: Settlement { attempts: 0, ..end.settlement }, ..end })
                .await;
        };
        // A webhook, or somebody, has settled it meanwhile.
        if !leased.message.status.is_unsettled() {
            let known = self.settlement(Observed::Reached(leased.message.status), Origin::Gateway, Claim::Kept, 0);
            return self.end(&leased, LeaseEnd { settlement: known, next: Next::Gone }).await;
        }
        let body = match self.body(&leased) {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(message_id = %id, %error, "the body of a queued message cannot be read");
                let failure = Failure::of_handoff(FailureCode::BodyUnreadable, "the stored body could not be read");
                return self.end(&leased, self.given_up(&leased.message, failure)).await;
            }
        };
        if leased.message.status == Status::InDoubt && !self.is_replayable(leased.since) {
            tracing::warn!(message_id = %id, "a message stays in doubt: its key is no longer known upstream");
            let failure = Failure::of_handoff(FailureCode::QueueExpired, "");
            return self.end(&leased, self.given_up(&leased.message, failure)).await;
        }
        let outcome = self.upstream.send(leave.slot(), &number.key, &body, &idempotency_key(id)).await;
        self.gate.report(&number.name, leave, &outcome);
        self.end(&leased, self.verdict(&leased, outcome)).await;
    }

    fn body(&self, leased: &Leased) -> Result<SendBody, String> {
        let bytes = self.vault.unseal(Place::Outbox(leased.lease.id), &leased.body);
        let bytes = bytes.map_err(|error| error.to_string())?;
        SendBody::kept(&bytes, leased.since).map_err(|error| error.to_string())
    }

    /// What an outcome means for the message and its row.
    fn verdict(&self, leased: &Leased, outcome: SendOutcome) -> LeaseEnd {
        let message = &leased.message;
        let in_doubt = message.status == Status::InDoubt;
        match outcome {
            SendOutcome::Accepted(receipt) => LeaseEnd { settlement: self.accepted(receipt), next: Next::Gone },
            SendOutcome::Unknown(doubt) => {
                tracing::warn!(message_id = %leased.lease.id, detail = doubt.detail, "a queued message is in doubt");
                self.again(leased, Status::InDoubt, doubt.retry_after)
            }
            SendOutcome::NotSent { .. } => self.again(leased, message.status, None),
            SendOutcome::Refused(refusal) => match refusal.class {
                RefusalClass::KeyRefused | RefusalClass::Blocked | RefusalClass::RateLimited => {
                    self.again(leased, message.status, refusal.retry_after)
                }
                _ if in_doubt => {
                    tracing::warn!(message_id = %leased.lease.id, %refusal, "a repeated call was refused");
                    self.again(leased, Status::InDoubt, refusal.retry_after)
                }
                RefusalClass::Invalid
                | RefusalClass::Payment
                | RefusalClass::Forbidden
                | RefusalClass::NotFound
                | RefusalClass::Conflict => {
                    tracing::warn!(message_id = %leased.lease.id, %refusal, "a queued message was refused");
                    let failed = Observed::Failed(failure_of(&refusal));
                    LeaseEnd {
                        settlement: self.settlement(failed, Origin::SendReply, Claim::Kept, 1),
                        next: Next::Gone,
                    }
                }
            },
        }
    }

    fn again(&self, leased: &Leased, status: Status, asked: Option<Duration>) -> LeaseEnd {
        let attempts = leased.message.attempts + 1;
        let wait = self.options.queue.backoff.wait(attempts, asked, self.sources.chance());
        let now = self.sources.now();
        let after = |start: Timestamp, span: SignedDuration| start.saturating_add(span).unwrap_or(Timestamp::MAX);
        let in_doubt = status == Status::InDoubt;
        LeaseEnd {
            settlement: self.settlement(Observed::Reached(status), Origin::Gateway, Claim::Kept, 1),
            next: Next::Again {
                due: after(now, SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX)),
                // A doubt is pursued as long as it can be settled; how long the message may wait no longer matters.
                expires: if in_doubt { after(leased.since, self.replay_window()) } else { leased.expires },
                arrived: in_doubt,
            },
        }
    }

    /// No further attempt follows. A doubt stays one.
    fn given_up(&self, message: &Message, failure: Failure) -> LeaseEnd {
        let status = match message.status {
            Status::InDoubt => Observed::Reached(Status::InDoubt),
            _ => Observed::Failed(failure),
        };
        LeaseEnd { settlement: self.settlement(status, Origin::Gateway, Claim::Kept, 0), next: Next::Gone }
    }

    async fn end(&self, leased: &Leased, end: LeaseEnd) {
        let id = leased.lease.id;
        let Settlement { fact, .. } = end.settlement.clone();
        let again = match end.next {
            Next::Again { expires, .. } => Some(expires),
            Next::Gone => None,
        };
        match self.store.settle_lease(leased.lease, end).await {
            Ok(Some(settled)) => {
                // The dispatcher knows of a row under a lease only when that would have ended, which is later.
                if again.is_some() || settled.followed {
                    self.wakers.due(&leased.message.origins.number);
                }
                if let Some(expires) = again {
                    self.wakers.expires(expires);
                }
            }
            // Somebody else has taken over. That the message was accepted is true all the same.
            Ok(None) if fact.ids.upstream.is_some() => {
                if let Err(error) = self.store.merge(id, vec![fact]).await {
                    tracing::error!(message_id = %id, %error, "an accepted message was not recorded as such");
                }
            }
            Ok(None) => tracing::warn!(message_id = %id, "an attempt outlasted its lease"),
            // Its lease ends, and then it is asked again with the same key.
            Err(error) => tracing::error!(message_id = %id, %error, "an attempt of the queue was not recorded"),
        }
    }
}
