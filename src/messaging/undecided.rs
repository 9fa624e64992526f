//! Looking after messages that are not decided yet. What an administrator does here is in the audit log, done or refused.

use super::{
    Messaging,
    resolve::{Resolution, ResolveError},
    running::Entry,
};
use crate::{
    domain::{
        audit::Act,
        failure::{Failure, FailureCode},
        ids::MessageId,
        merge::Observed,
        message::Message,
        status::{Origin, Status},
    },
    identity::{Acting, ManageOutbox, ViewOutbox},
    store::{Hasten, Hastened, StoreError, Undecided, UndecidedPage, UndecidedQuery, Withdrawn},
};

/// So many are looked at together, at most so many times, so that a filter that hardly anything passes ends somewhere.
const STEP: usize = 1_000;
const STEPS: usize = 20;

/// Why an administrator's wish was not fulfilled. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UndecidedError {
    /// There is no such message.
    #[error("no such message")]
    NotFound,
    /// It is not in the queue.
    #[error("the message is not queued")]
    NotQueued,
    /// It is in doubt, so that discarding it would say something that nobody knows.
    #[error("the message is in doubt; settle it by what was found out")]
    InDoubt,
    /// It is not in doubt.
    #[error("the message is {}, not in doubt", .0.as_str())]
    NotInDoubt(Status),
    /// It is being attempted right now.
    #[error("the message is being attempted right now")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Messaging {
    /// Messages that are not decided yet: a page of at most `query.limit`. It may be shorter, or empty, although others lie
    /// behind it.
    pub async fn undecided(
        &self,
        _: &Acting<ViewOutbox>,
        mut query: UndecidedQuery,
    ) -> Result<UndecidedPage, StoreError> {
        let most = query.limit;
        let mut found = Vec::new();
        for _ in 0..STEPS {
            query.limit = if found.is_empty() { most } else { STEP.min(most - found.len()) };
            let page = self.store.undecided(query.clone()).await?;
            found.extend(page.found);
            match page.last {
                Some(last) => query.after = last,
                None => return Ok(UndecidedPage { found, last: None }),
            }
            if found.len() >= most {
                break;
            }
        }
        Ok(UndecidedPage { found, last: Some(query.after) })
    }

    /// Makes a queued message due at once.
    pub async fn hasten(&self, acting: &Acting<ManageOutbox>, id: MessageId) -> Result<Undecided, UndecidedError> {
        let at = self.sources.now();
        let done = self.act(acting, "outbox.retry", id, "done");
        let hastened = self.store.hasten(Hasten { id, at, act: done }).await;
        let error = match hastened {
            Ok(Hastened::Due(undecided)) => {
                self.wakers.due(&undecided.message.origins.number);
                return Ok(*undecided);
            }
            Ok(Hastened::Leased) => UndecidedError::Busy,
            Ok(Hastened::Absent) => self.missing(id).await,
            Err(error) => error.into(),
        };
        Err(self.refused(acting, "outbox.retry", id, error).await)
    }

    /// Takes a queued message out before it is handed over.
    pub async fn discard(&self, acting: &Acting<ManageOutbox>, id: MessageId) -> Result<Message, UndecidedError> {
        let error = match self.discarded(acting, id).await {
            Ok(message) => return Ok(message),
            Err(error) => error,
        };
        Err(self.refused(acting, "outbox.discard", id, error).await)
    }

    async fn discarded(&self, acting: &Acting<ManageOutbox>, id: MessageId) -> Result<Message, UndecidedError> {
        // Entered before the look, so that no attempt comes in between.
        let Entry::Mine(_guard) = self.running.enter(id) else { return Err(UndecidedError::Busy) };
        let message = self.store.message(id).await?.ok_or(UndecidedError::NotFound)?;
        if message.status == Status::InDoubt {
            return Err(UndecidedError::InDoubt);
        }
        let failure = Failure::of_handoff(FailureCode::Discarded, "taken out of the queue by an administrator");
        let fact = self.fact(Observed::Failed(failure), Origin::Gateway);
        let act = self.act(acting, "outbox.discard", id, "done");
        match self.store.withdraw(id, Status::Pending, fact, Some(act)).await? {
            Withdrawn::Done(message) => {
                self.wakers.due(&message.origins.number);
                Ok(*message)
            }
            Withdrawn::Busy => Err(UndecidedError::Busy),
            Withdrawn::Absent => Err(UndecidedError::NotQueued),
        }
    }

    /// Settles a message in doubt by what somebody found out.
    pub async fn resolve(
        &self,
        acting: &Acting<ManageOutbox>,
        id: MessageId,
        resolution: Resolution,
    ) -> Result<Message, UndecidedError> {
        let mut act = self.act(acting, "outbox.resolve", id, "done");
        let found = match &resolution {
            Resolution::Sent(_) => "sent",
            Resolution::NotSent => "not_sent",
        };
        act.detail.insert("found".to_owned(), found.to_owned());
        let error = match self.settled_by_hand(id, resolution, act).await {
            Ok(message) => return Ok(message),
            Err(ResolveError::NotFound) => UndecidedError::NotFound,
            Err(ResolveError::NotInDoubt(status)) => UndecidedError::NotInDoubt(status),
            Err(ResolveError::Busy) => UndecidedError::Busy,
            Err(ResolveError::Store(error)) => error.into(),
        };
        Err(self.refused(acting, "outbox.resolve", id, error).await)
    }

    /// Why a message has no row of the outbox.
    async fn missing(&self, id: MessageId) -> UndecidedError {
        match self.store.message(id).await {
            Ok(Some(_)) => UndecidedError::NotQueued,
            Ok(None) => UndecidedError::NotFound,
            Err(error) => error.into(),
        }
    }

    fn act<D>(&self, acting: &Acting<D>, action: &str, id: MessageId, outcome: &str) -> Act {
        acting.act(self.sources.now(), action, format!("message/{id}"), outcome)
    }

    /// Notes that it was refused. That comes first: what is not in the audit log is not answered for.
    async fn refused<D>(
        &self,
        acting: &Acting<D>,
        action: &str,
        id: MessageId,
        error: UndecidedError,
    ) -> UndecidedError {
        let mut act = self.act(acting, action, id, "refused");
        act.detail.insert("error".to_owned(), error.to_string());
        match self.store.audit(vec![act]).await {
            Ok(()) => error,
            Err(failed) => failed.into(),
        }
    }
}
