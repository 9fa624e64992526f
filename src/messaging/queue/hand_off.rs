//! One attempt of a queued message under its lease, and what its outcome means.
//!
//! Taken and refused are final, but never a refusal after a doubt. What concerns the number and not the message, its key
//! or its pace or the way to Pilot Status, only puts the message off.

use std::time::Duration;

use super::super::{Messaging, after, gate::Leave, idempotency_key, running::Entry, settle::failure_of};
use crate::{
    domain::{
        failure::{Failure, FailureCode},
        merge::Observed,
        message::Message,
        status::{Origin, Status},
    },
    store::{Claim, LeaseEnd, Leased, Next},
    upstream::{RefusalClass, SendBody, SendOutcome},
    vault::Place,
};

impl Messaging {
    /// Makes one attempt of a leased message, or finds that none is to be made, and ends its lease.
    pub(super) async fn hand_off(&self, leased: Leased, leave: Leave) {
        let id = leased.lease.id;
        // Another attempt whose lease has ended under it, or a doubt that is being settled by hand.
        let Entry::Mine(_guard) = self.running.enter(id) else {
            return self.end(&leased, self.again(&leased, leased.message.status, self.brief(), 0)).await;
        };
        match leased.message.status {
            Status::InDoubt if !self.is_replayable(leased.since) => {
                tracing::warn!(message_id = %id, "a message stays in doubt: its key is no longer known upstream");
                return self.end(&leased, self.given_up(&leased.message)).await;
            }
            Status::Pending | Status::InDoubt => {}
            // A webhook, or somebody, has settled it meanwhile.
            _ => return self.end(&leased, self.given_up(&leased.message)).await,
        }
        let body = match self.body(&leased) {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(message_id = %id, %error, "the body of a queued message cannot be read");
                return self.end(&leased, self.given_up(&leased.message)).await;
            }
        };
        let outcome = self.upstream.send(leave.slot(), leave.key(), &body, &idempotency_key(id)).await;
        let attempt = self.attempted(&leased.message, leave.number(), &outcome);
        let mut end = if self.gate.report(leave, &outcome) {
            self.verdict(&leased, outcome)
        } else {
            // It waits for the new key at the gate.
            self.again(&leased, leased.message.status, Duration::ZERO, 1)
        };
        end.settlement.audit = Some(attempt);
        self.end(&leased, end).await;
    }

    fn body(&self, leased: &Leased) -> Result<SendBody, String> {
        let bytes = self.vault.unseal(&Place::Outbox(leased.lease.id), &leased.body);
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
                self.again(leased, Status::InDoubt, self.growing(leased, doubt.retry_after), 1)
            }
            SendOutcome::NotSent { .. } => self.again(leased, message.status, self.brief(), 1),
            SendOutcome::Refused(refusal) => match refusal.class {
                RefusalClass::KeyRefused | RefusalClass::Blocked => self.again(leased, message.status, self.brief(), 1),
                RefusalClass::RateLimited => {
                    self.again(leased, message.status, self.growing(leased, refusal.retry_after), 1)
                }
                _ if in_doubt => {
                    tracing::warn!(message_id = %leased.lease.id, %refusal, "a repeated call was refused");
                    self.again(leased, Status::InDoubt, self.growing(leased, refusal.retry_after), 1)
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

    /// Another attempt follows, after so many calls made by this one.
    fn again(&self, leased: &Leased, status: Status, wait: Duration, calls: u32) -> LeaseEnd {
        let in_doubt = status == Status::InDoubt;
        LeaseEnd {
            settlement: self.settlement(Observed::Reached(status), Origin::Gateway, Claim::Kept, calls),
            next: Next::Again {
                due: after(self.sources.now(), wait),
                // A doubt is pursued as long as it can be settled; how long the message may wait no longer matters.
                expires: if in_doubt { after(leased.since, self.options.replay_window) } else { leased.expires },
                arrived: in_doubt,
            },
        }
    }

    /// The wait for what lies with the message itself: longer with every attempt.
    fn growing(&self, leased: &Leased, asked: Option<Duration>) -> Duration {
        self.options.queue.backoff.wait(leased.message.attempts + 1, asked, self.sources.chance())
    }

    /// The wait for what lies with the host or the number: when these are asked again is for the gate to say, and once they
    /// are well nothing should wait for longer.
    fn brief(&self) -> Duration {
        self.options.queue.backoff.wait(1, None, self.sources.chance())
    }

    /// No further attempt follows. What was never tried has failed; anything else stays as it is known.
    fn given_up(&self, message: &Message) -> LeaseEnd {
        let status = match message.status {
            Status::Pending => {
                let unreadable = FailureCode::BodyUnreadable;
                Observed::Failed(Failure::of_handoff(unreadable, "the stored body could not be read"))
            }
            known => Observed::Reached(known),
        };
        LeaseEnd { settlement: self.settlement(status, Origin::Gateway, Claim::Kept, 0), next: Next::Gone }
    }

    async fn end(&self, leased: &Leased, end: LeaseEnd) {
        let id = leased.lease.id;
        let (fact, attempt) = (end.settlement.fact.clone(), end.settlement.audit.clone());
        let again = match end.next {
            Next::Again { expires, .. } => Some(expires),
            Next::Gone => None,
        };
        let ended = self.store.settle_lease(leased.lease, end).await;
        if let (Ok(None), Some(attempt)) = (&ended, attempt)
            && let Err(error) = self.store.audit(vec![attempt]).await
        {
            tracing::error!(message_id = %id, %error, "an attempt is not in the audit log");
        }
        match ended {
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
