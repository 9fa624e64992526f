//! The key ring: which numbers are registered, and each one's key.
//!
//! The only way from a number's name to its key. Keys go from here into a request header and nowhere else. What is
//! registered may change at any time: whoever looks gets what stands now, and [`KeyRing::changes`] tells that something
//! else does.
//!
//! **Use and change of a key.** Whoever calls Pilot Status with a number's key holds an [`InUse`] for as long as the call
//! lasts. Whoever changes the key holds an [`Exclusive`], which waits until no call is under way with the old key and keeps
//! others waiting until the new one stands. So a change of the key costs a send some time and nothing else. As long as it is
//! not known whether a key was changed, [`Number::rotation`], it is not used at all.

mod ask;
mod each;
mod locks;
mod number;
mod ring;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch;

pub use self::{
    ask::Asking,
    each::for_each,
    locks::{Exclusive, InUse, NotUsable},
    number::{KeyState, Number, Pacing, Rotation, WebhookDoor},
};
use self::{locks::Locks, ring::Ring};
pub use crate::domain::record::Source;
use crate::domain::{ids::NumberName, secret::TenantKey};

/// The registered numbers. Changes are seen by all who hold it.
#[derive(Debug)]
pub struct KeyRing {
    ring: ArcSwap<Ring>,
    locks: Locks,
    /// Changes are made one at a time.
    changing: Mutex<()>,
    changes: watch::Sender<u64>,
}

/// A name, id, phone or webhook path already stands for another number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} already stands for number {other}")]
pub struct Taken {
    /// What; never the path itself.
    pub what: String,
    /// For which number.
    pub other: NumberName,
}

impl KeyRing {
    /// Takes the numbers. That no name, id, phone or path token stands for two of them was checked by the configuration.
    pub fn of(numbers: Vec<Number>, tenant_key: Option<TenantKey>) -> Self {
        Self {
            ring: ArcSwap::from_pointee(Ring::of(numbers.into_iter().map(Arc::new), tenant_key)),
            locks: Locks::default(),
            changing: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// The number with this name.
    pub fn get(&self, name: &NumberName) -> Option<Arc<Number>> {
        self.ring.load().get(name).cloned()
    }

    /// The name of the number that a caller means by its name, its upstream id or its phone.
    pub fn find(&self, word: &str) -> Option<NumberName> {
        self.ring.load().find(word)
    }

    /// All numbers, in the order of their names.
    pub fn all(&self) -> Vec<Arc<Number>> {
        self.ring.load().all()
    }

    /// The names of all numbers, in order.
    pub fn names(&self) -> Vec<NumberName> {
        self.all().iter().map(|number| number.name.clone()).collect()
    }

    /// The number whose webhooks come in at this path. The lookup goes by hash, so its timing helps no one to guess.
    pub fn behind(&self, path_token: &str) -> Option<Arc<Number>> {
        self.ring.load().behind(path_token).cloned()
    }

    /// The account-wide key.
    pub fn tenant_key(&self) -> Option<TenantKey> {
        self.ring.load().tenant_key().cloned()
    }

    /// The account-wide key, under which a number's webhook is managed, with the number's upstream id, which that takes. If
    /// either is unknown, the number's own key does it.
    pub fn managing(&self, number: &Number) -> Option<(TenantKey, String)> {
        self.tenant_key().zip(number.upstream_id.clone())
    }

    /// Counts the changes. It may skip values; it is a hint to look.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The number with its key for a call, if that takes no waiting.
    pub fn use_now(&self, name: &NumberName) -> Result<InUse, NotUsable> {
        if self.get(name).is_none() {
            return Err(NotUsable::Absent);
        }
        let guard = self.locks.of(name).try_read_owned().map_err(|_| NotUsable::Changing)?;
        // Looked up under the guard: what is read now does not change before the guard goes.
        let number = self.get(name).ok_or(NotUsable::Absent)?;
        if number.rotation.is_some() { Err(NotUsable::Changing) } else { Ok(InUse { number, guard }) }
    }

    /// The same, waiting for as long as the key is being changed. `None` once there is no such number. To be dropped again
    /// by whoever has other things to wait for before the call.
    pub async fn use_in_time(&self, name: &NumberName) -> Option<InUse> {
        let mut changes = self.changes();
        loop {
            changes.borrow_and_update();
            self.get(name)?;
            let guard = self.locks.of(name).read_owned().await;
            let number = self.get(name)?;
            if number.rotation.is_none() {
                return Some(InUse { number, guard });
            }
            drop(guard);
            changes.changed().await.ok()?;
        }
    }

    /// Whether the key of this generation is the one, for whoever was told that it is none. `false`: it was changed, is being
    /// changed, or somebody waits to change it. Not to be asked by whoever still uses it.
    pub fn is_settled(&self, name: &NumberName, generation: u32) -> bool {
        match self.use_now(name) {
            Ok(in_use) => in_use.number.generation == generation,
            Err(NotUsable::Absent) => true,
            Err(NotUsable::Changing) => false,
        }
    }

    /// Waits until nobody uses the number's key, and keeps others from it until the answer is dropped.
    pub async fn exclusive(&self, name: &NumberName) -> Exclusive {
        self.locks.forget(|name| self.get(name).is_some());
        Exclusive { name: name.clone(), guard: self.locks.of(name).write_owned().await }
    }

    /// Registers a number, or changes it. Its key may be another one only under the right to that.
    pub fn put(&self, number: Number, _right: &Exclusive) -> Result<(), Taken> {
        self.swap(|ring| ring.with(Arc::new(number)))
    }

    /// Takes a number out.
    pub fn remove(&self, right: &Exclusive) {
        // Nothing can be taken by what goes.
        let _ = self.swap(|ring| Ok(ring.without(&right.name)));
    }

    /// Puts the account-wide key in place, or takes it out.
    pub fn set_tenant_key(&self, key: Option<TenantKey>) {
        let _ = self.swap(|ring| Ok(Ring::of(ring.all(), key)));
    }

    /// Whether the number could be put, without putting it.
    pub fn check(&self, number: &Number) -> Result<(), Taken> {
        self.ring.load().check(number)
    }

    fn swap(&self, change: impl FnOnce(&Ring) -> Result<Ring, Taken>) -> Result<(), Taken> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&self.ring.load())?;
        self.ring.store(Arc::new(changed));
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use jiff::Timestamp;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::domain::{quota::Quota, secret::NumberKey};

    fn number(name: &str, generation: u32) -> Number {
        Number {
            name: named(name),
            description: String::new(),
            upstream_id: None,
            phone: None,
            key: NumberKey::from_secret(format!("ps_live_{generation}").into()).unwrap(),
            generation,
            key_time: None,
            rotate_every: None,
            rotation: None,
            disabled: false,
            webhook: None,
            pacing: Pacing::default(),
            quota: Quota::default(),
            read_back: None,
            source: Source::Declared,
        }
    }

    fn named(name: &str) -> NumberName {
        NumberName::from_text(name).unwrap()
    }

    fn rotating(number: Number) -> Number {
        let rotation = Rotation { begun: Timestamp::UNIX_EPOCH, actor: "test".to_owned(), lost: false };
        Number { rotation: Some(rotation), ..number }
    }

    fn now(ring: &KeyRing) -> Result<u32, NotUsable> {
        ring.use_now(&named("main")).map(InUse::into_generation)
    }

    #[tokio::test]
    async fn a_change_waits_for_those_who_use_the_key_and_keeps_the_next_waiting() {
        let ring = Arc::new(KeyRing::of(vec![number("main", 1)], None));
        let main = named("main");
        let in_use = ring.use_now(&main).unwrap();
        let mut exclusive = Box::pin(ring.exclusive(&main));
        assert!(exclusive.as_mut().now_or_never().is_none());
        assert_eq!(now(&ring), Err(NotUsable::Changing), "somebody waits to change it");
        assert!(!ring.is_settled(&main, 1));
        let mut waiting = Box::pin(ring.use_in_time(&main));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(in_use);
        let right = exclusive.await;
        ring.put(rotating(number("main", 1)), &right).unwrap();
        drop(right);
        assert_eq!(now(&ring), Err(NotUsable::Changing), "nobody knows which key it is");
        assert!(waiting.as_mut().now_or_never().is_none());
        let right = ring.exclusive(&main).await;
        ring.put(number("main", 2), &right).unwrap();
        drop(right);
        assert_eq!(waiting.await.map(InUse::into_generation), Some(2));
        assert_eq!((ring.is_settled(&main, 1), ring.is_settled(&main, 2)), (false, true));
    }

    #[tokio::test]
    async fn whoever_waits_for_a_number_that_goes_is_told() {
        let ring = KeyRing::of(vec![rotating(number("main", 1))], None);
        let main = named("main");
        let mut waiting = Box::pin(ring.use_in_time(&main));
        assert!(waiting.as_mut().now_or_never().is_none());
        ring.remove(&ring.exclusive(&main).await);
        assert!(waiting.await.is_none());
        assert_eq!(now(&ring), Err(NotUsable::Absent));
    }

    #[tokio::test]
    async fn locks_are_kept_for_registered_numbers_only() {
        let ring = KeyRing::of(vec![number("main", 1)], None);
        for n in 0..10 {
            let unknown = named(&format!("unknown-{n}"));
            assert!(ring.use_now(&unknown).is_err() && ring.use_in_time(&unknown).await.is_none());
        }
        assert_eq!(ring.locks.count(), 0);
        assert_eq!(now(&ring), Ok(1));
        for n in 0..10 {
            drop(ring.exclusive(&named(&format!("unknown-{n}"))).await);
        }
        assert_eq!(ring.locks.count(), 2, "the registered one, and the one asked for last");
        // One that is held stays the same lock, registered or not.
        let new = named("new");
        let held = ring.exclusive(&new).await;
        let mut second = Box::pin(ring.exclusive(&new));
        assert!(second.as_mut().now_or_never().is_none());
        drop(held);
        second.await;
    }

    #[tokio::test]
    async fn a_task_runs_for_each_number_as_long_as_it_is_registered() {
        let ring = Arc::new(KeyRing::of(vec![number("main", 1)], None));
        let (draining, running) = (CancellationToken::new(), watch::Sender::new(Vec::new()));
        let each = tokio::spawn(for_each(Arc::clone(&ring), draining.clone(), {
            let running = running.clone();
            move |name: NumberName| {
                let running = running.clone();
                async move {
                    let _ended = Ended(name.clone(), running.clone());
                    running.send_modify(|names| names.push(name));
                    std::future::pending().await
                }
            }
        }));
        let until = async |expected: &[&str]| {
            let expected: Vec<NumberName> = expected.iter().map(|name| named(name)).collect();
            running.subscribe().wait_for(|names| *names == expected).await.map(drop).unwrap();
        };
        until(&["main"]).await;
        let other = named("other");
        ring.put(number("other", 1), &ring.exclusive(&other).await).unwrap();
        until(&["main", "other"]).await;
        ring.remove(&ring.exclusive(&named("main")).await);
        until(&["other"]).await;
        draining.cancel();
        each.await.unwrap();
        assert_eq!(running.borrow().len(), 0, "none runs any more");
    }

    struct Ended(NumberName, watch::Sender<Vec<NumberName>>);

    impl Drop for Ended {
        fn drop(&mut self) {
            self.1.send_modify(|names| names.retain(|name| *name != self.0));
        }
    }
}
