//! The tokens of a caller: issued, replaced, ended, forgotten.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{
    admin::AdminError,
    domain::{
        caller::{Caller, Token},
        secret::TokenHash,
    },
};

/// Live tokens that a caller may have.
const MOST_LIVE: usize = 20;
/// How long a token that has ended is remembered, so that it is told from one that never was.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(90 * 24);
/// Tokens that have ended, of which no more are remembered.
const MOST_ENDED: usize = 100;

/// Adds a token that ends after its lifetime, if it has one.
pub(super) fn issue(
    caller: &mut Caller,
    hash: TokenHash,
    lifetime: Option<Duration>,
    now: Timestamp,
) -> Result<(), AdminError> {
    let expire_time = lifetime.map(|lifetime| later(now, lifetime));
    caller.tokens.push(Token { create_time: Some(now), expire_time, ..Token::of(hash) });
    if caller.tokens.iter().filter(|token| token.is_live(now)).count() > MOST_LIVE {
        return Err(AdminError::NotNow(format!("a caller has at most {MOST_LIVE} live tokens; revoke one first")));
    }
    Ok(())
}

/// Lets a token end after the grace, or when it would anyway.
pub(super) fn end_after(caller: &mut Caller, id: &str, grace: Duration, now: Timestamp) -> Result<(), AdminError> {
    let token = find(caller, id)?;
    if !token.is_live(now) {
        return Err(AdminError::NotNow(format!("token {id} has ended already")));
    }
    let end = later(now, grace);
    token.expire_time = Some(token.expire_time.map_or(end, |before| before.min(end)));
    Ok(())
}

/// Ends a token at once. One that is revoked already stays as it is.
pub(super) fn revoke(caller: &mut Caller, id: &str, now: Timestamp) -> Result<(), AdminError> {
    find(caller, id)?.revoke_time.get_or_insert(now);
    Ok(())
}

/// Drops the tokens that ended long ago.
pub(super) fn forget(caller: &mut Caller, now: Timestamp) {
    let ended = |token: &Token| {
        let ends = token.expire_time.into_iter().chain(token.revoke_time);
        ends.min().filter(|end| *end <= now)
    };
    caller.tokens.retain(|token| ended(token).is_none_or(|end| now.duration_since(end) < REMEMBERED));
    let mut too_many = caller.tokens.iter().filter(|token| ended(token).is_some()).count().saturating_sub(MOST_ENDED);
    caller.tokens.retain(|token| {
        let goes = too_many > 0 && ended(token).is_some();
        too_many -= usize::from(goes);
        !goes
    });
}

fn find<'a>(caller: &'a mut Caller, id: &str) -> Result<&'a mut Token, AdminError> {
    let found = caller.tokens.iter_mut().find(|token| token.id == id);
    found.ok_or_else(|| AdminError::NotFound(format!("such a token of caller {}", caller.name)))
}

fn later(now: Timestamp, span: Duration) -> Timestamp {
    now.checked_add(span).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::CallerName;

    fn at(days: i64) -> Timestamp {
        Timestamp::from_second(days * 86_400).unwrap()
    }

    fn caller() -> Caller {
        Caller::named(CallerName::from_text("orders").unwrap())
    }

    #[test]
    fn what_ended_is_remembered_for_ninety_days() {
        let mut caller = caller();
        for (text, expires, revoked) in
            [("a", Some(9), None), ("b", Some(11), None), ("c", Some(200), Some(9)), ("d", None, Some(11))]
        {
            let token = Token::of(TokenHash::of(text));
            caller.tokens.push(Token { expire_time: expires.map(at), revoke_time: revoked.map(at), ..token });
        }
        caller.tokens.push(Token::of(TokenHash::of("e")));
        let kept = [1, 3, 4].map(|index: usize| caller.tokens[index].clone());
        forget(&mut caller, at(100));
        assert_eq!(caller.tokens, kept);
    }

    #[test]
    fn no_more_than_a_hundred_that_ended_are_remembered_and_no_live_one_is_forgotten() {
        let mut caller = caller();
        caller.tokens.push(Token::of(TokenHash::of("live")));
        for n in 0..103 {
            let token = Token::of(TokenHash::of(&n.to_string()));
            caller.tokens.push(Token { revoke_time: Some(at(99)), ..token });
        }
        let mut kept = caller.tokens.clone();
        kept.drain(1..4);
        forget(&mut caller, at(100));
        assert_eq!(caller.tokens, kept);
    }
}
