//! What callers may do, how far, how often; and what becomes of that when it changes.

mod changes;
mod narrowed;
mod quotas;
mod waiting;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use jiff::Timestamp;
use pilotgate::{
    domain::{
        caller::{Caller, Token},
        ids::CallerName,
        principal::{Grant, NumberScope, Permission},
        secret::TokenHash,
        sources::Sources,
    },
    identity::Registered,
    server::Gateway,
};

/// A caller with one token.
pub fn caller(name: &str, token: &str, grants: Vec<Grant>) -> Caller {
    let tokens = vec![Token::of(TokenHash::of(token))];
    Caller { tokens, grants, ..Caller::named(named(name)) }
}

/// These permissions on this number, or on all.
pub fn grant(number: &str, permissions: &[Permission]) -> Grant {
    Grant::of(NumberScope::try_from(number.to_owned()).unwrap(), permissions.to_vec())
}

pub fn named(name: &str) -> CallerName {
    CallerName::from_text(name).unwrap()
}

/// Changes a caller of a running gateway.
pub fn change(gateway: &Gateway, name: &str, change: impl FnOnce(&mut Caller)) {
    let Registered { mut caller, source } = (*gateway.identity().caller(&named(name)).unwrap()).clone();
    change(&mut caller);
    gateway.identity().put(Registered { caller, source }).unwrap();
}

/// A clock that goes when it is told to.
#[derive(Clone)]
pub struct Clock(Arc<AtomicI64>);

impl Clock {
    pub fn at(time: &str) -> Self {
        Self(Arc::new(AtomicI64::new(time.parse::<Timestamp>().unwrap().as_microsecond())))
    }

    pub fn put_forward(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.0.load(Ordering::Relaxed)).unwrap()
    }

    pub fn sources(&self) -> Sources {
        let clock = self.clone();
        Sources::new(move || clock.now(), |bytes| getrandom::fill(bytes).unwrap())
    }
}
