//! Looking after the subscriptions of all callers.

use jiff::Timestamp;

use super::{CursorError, Fanout, Start};
use crate::{
    domain::position::Position,
    identity::{Acting, ManageSubscriptions, ViewSubscriptions},
    store::{Seek, StoreError, StoredSubscription, SubscriptionKey, SubscriptionsQuery},
};

/// How a subscription stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionState {
    /// Which.
    pub key: SubscriptionKey,
    /// The cursor behind which it resumes.
    pub cursor: String,
    /// Entries of the log behind it.
    pub backlog: u64,
    /// A stream carries it now.
    pub connected: bool,
    /// When it was last opened or acknowledged.
    pub used_at: Timestamp,
}

/// Why a subscription was not moved. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeekError {
    /// There is no such subscription.
    #[error("no such subscription")]
    Unknown,
    /// The cursor is none, or not one of this subscription.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fanout {
    /// Subscriptions in the order of callers and names.
    pub async fn subscriptions(
        &self,
        _: &Acting<ViewSubscriptions>,
        query: SubscriptionsQuery,
    ) -> Result<Vec<SubscriptionState>, StoreError> {
        let stored = self.store.subscriptions(query).await?;
        Ok(stored.into_iter().map(|stored| self.state(stored)).collect())
    }

    /// Moves what a subscription has acknowledged, and ends the stream that carries it.
    pub async fn seek(
        &self,
        acting: &Acting<ManageSubscriptions>,
        key: &SubscriptionKey,
        to: Start,
    ) -> Result<SubscriptionState, SeekError> {
        let moved = self.moved(acting, key, "subscription.seek", Some(to)).await?;
        moved.map(|stored| self.state(stored)).ok_or(SeekError::Unknown)
    }

    /// Deletes a subscription, and ends the stream that carries it.
    pub async fn unsubscribe(
        &self,
        acting: &Acting<ManageSubscriptions>,
        key: &SubscriptionKey,
    ) -> Result<(), SeekError> {
        self.moved(acting, key, "subscription.delete", None).await.map(|_| ())
    }

    /// Moves or deletes, and notes what came of it. Answers with the subscription afterwards.
    async fn moved(
        &self,
        acting: &Acting<ManageSubscriptions>,
        key: &SubscriptionKey,
        action: &str,
        to: Option<Start>,
    ) -> Result<Option<StoredSubscription>, SeekError> {
        let act = |outcome| {
            acting.act(self.sources.now(), action, format!("subscription/{}/{}", key.caller, key.name), outcome)
        };
        // No stream opens it meanwhile, which would begin at one place and be acknowledged at another.
        let _turn = self.carried.turn(key).lock().await;
        let done = async {
            let stored = self.store.subscription(key).await?.ok_or(SeekError::Unknown)?;
            let to = match to {
                Some(start) => Some(self.place(&stored, start).await?),
                None => None,
            };
            let mut act = act("done");
            act.detail.insert("from".to_owned(), stored.position.0.to_string());
            act.detail.extend(to.map(|to| ("to".to_owned(), to.0.to_string())));
            if !self.store.seek(Seek { key: key.clone(), to, act }).await? {
                return Err(SeekError::Unknown);
            }
            self.carried.move_away(key);
            Ok(to.map(|position| StoredSubscription { position, ..stored }))
        };
        match done.await {
            Ok(stored) => Ok(stored),
            Err(error) => {
                let mut refused = act("refused");
                refused.detail.insert("error".to_owned(), error.to_string());
                self.store.audit(vec![refused]).await?;
                Err(error)
            }
        }
    }

    /// The position that a start stands for, of those that are kept.
    async fn place(&self, stored: &StoredSubscription, start: Start) -> Result<Position, SeekError> {
        let head = *self.store.head().borrow();
        let wanted = match start {
            Start::Latest => head,
            Start::Committed => stored.position,
            Start::Earliest => Position::START,
            Start::Time(time) => self.store.position_before(time).await?,
            Start::Cursor(text) => self.cursors.decode(&text, stored.filter, head)?,
        };
        let (oldest, _) = self.store.oldest().await?;
        Ok(wanted.max(oldest))
    }

    fn state(&self, stored: StoredSubscription) -> SubscriptionState {
        let head = *self.store.head().borrow();
        SubscriptionState {
            cursor: self.cursors.encode(stored.position, stored.filter),
            backlog: u64::try_from(head.0 - stored.position.0).unwrap_or_default(),
            connected: self.carried.is_carried(&stored.key),
            used_at: stored.used_at,
            key: stored.key,
        }
    }
}
