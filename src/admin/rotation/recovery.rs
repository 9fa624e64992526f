//! What became of a change of a key whose outcome is not known.
//!
//! With the account-wide key Pilot Status tells: it shows the number's key, or gives it another one if it cannot show it.
//! Without, only the old key tells: as long as it is accepted, nothing was changed.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{is_same, of_read, subject};
use crate::{
    admin::{Admin, AdminError},
    domain::{ids::NumberName, secret::NumberKey},
    identity::{Acting, ManageNumbers},
    keys::{Exclusive, Number, Rotation},
    upstream::{KeyChange, KeyStanding, ListedKey, ReadError, Slot},
};

const RECOVER: &str = "number.key.recover";

/// A call whose answer was lost may be carried out for so long after it. Before that nothing is taken for unchanged.
const GRACE: SignedDuration = SignedDuration::from_secs(2);

/// Where a change stands after a look.
pub(super) enum Outlook {
    /// Its outcome is known.
    Settled,
    /// The key is lost. It may be found later, if another account-wide key comes.
    Lost,
    /// Nothing is known yet; not before this time, and why.
    Later(Duration, String),
}

/// What Pilot Status tells of a number's key.
enum Told {
    /// It is this one.
    Changed(NumberKey),
    /// It is the one it was.
    Unchanged,
    /// It is another one, which nobody can tell.
    Gone,
    /// Nothing, for this reason.
    Nothing(String),
}

/// What the account-wide key sees of a number's key.
enum Shown {
    Key(NumberKey),
    /// The number, without its key.
    Hidden,
    /// Nothing of the number, or there is no account-wide key.
    Nowhere,
    /// Pilot Status did not answer.
    Silence(String),
}

impl Admin {
    /// Looks once.
    pub(super) async fn look_for_key(&self, name: &NumberName) -> Outlook {
        let looked = async {
            let right = self.sole_use(name).await?;
            // Whoever held the key before may have settled it, and then there is nothing to be found out.
            let number = self.keys.get(name);
            match number.as_deref().and_then(|number| Some((number, number.rotation.as_ref()?))) {
                Some((number, rotation)) => Box::pin(self.recover(&right, number, rotation)).await,
                None => Ok(Outlook::Settled),
            }
        };
        looked.await.unwrap_or_else(|error: AdminError| Outlook::Later(Duration::ZERO, error.to_string()))
    }

    async fn recover(&self, right: &Exclusive, number: &Number, rotation: &Rotation) -> Result<Outlook, AdminError> {
        let slot = self.upstream.read_slot().await.map_err(|error| of_read(&error))?;
        let why = format!("what became of the change of {} by {} was not known", rotation.begun, rotation.actor);
        let acting = Acting::<ManageNumbers>::of_the_gateway(&why);
        let act = |outcome| acting.act(self.sources.now(), RECOVER, subject(&number.name), outcome);
        let name = &number.name;
        match self.told_of(&slot, number).await {
            Told::Changed(key) => {
                self.adopt(&acting, RECOVER, right, number, key).await?;
                tracing::warn!(number = %name, "a change of the key was brought to its end; the new key is in use");
            }
            Told::Unchanged => {
                if let Some(left) = grace_left(self.sources.now(), rotation) {
                    return Ok(Outlook::Later(left, "the change may still be carried out".to_owned()));
                }
                self.stay(right, number, act("unchanged")).await?;
                tracing::warn!(number = %name, "a change of the key did not happen; the old key is in use");
            }
            Told::Gone if rotation.lost => return Ok(Outlook::Lost),
            Told::Gone => {
                let rotation = Some(Rotation { lost: true, ..rotation.clone() });
                self.store_number(right, Number { rotation, ..number.clone() }, vec![act("lost")]).await?;
                tracing::error!(number = %name, "the number's key was changed and the new one is lost; set a key");
                return Ok(Outlook::Lost);
            }
            Told::Nothing(detail) => return Ok(Outlook::Later(Duration::ZERO, detail)),
        }
        Ok(Outlook::Settled)
    }

    async fn told_of(&self, slot: &Slot, number: &Number) -> Told {
        let shown = match self.shown(slot, number).await {
            Shown::Key(key) if is_same(&key, &number.key) => return Told::Unchanged,
            Shown::Key(key) => return Told::Changed(key),
            shown => shown,
        };
        match self.upstream.key_standing(slot, &number.key).await {
            KeyStanding::Accepted => return Told::Unchanged,
            KeyStanding::Unknown { detail } => return Told::Nothing(detail),
            KeyStanding::Refused => {}
        }
        match (shown, self.account_access(number)) {
            (Shown::Hidden, Some((tenant, id))) => match self.upstream.change_key(slot, &tenant, id).await {
                KeyChange::New(key) => Told::Changed(key),
                KeyChange::Refused(refusal) => Told::Nothing(refusal.to_string()),
                KeyChange::NotSent { detail } | KeyChange::Unknown { detail } => Told::Nothing(detail),
            },
            (Shown::Silence(detail), _) => Told::Nothing(detail),
            (Shown::Key(_) | Shown::Hidden | Shown::Nowhere, _) => Told::Gone,
        }
    }

    async fn shown(&self, slot: &Slot, number: &Number) -> Shown {
        let Some((tenant, id)) = self.account_access(number) else { return Shown::Nowhere };
        match self.upstream.keys(slot, &tenant).await {
            Ok(listed) => match listed.into_iter().find(|row| row.number_id == id) {
                Some(ListedKey { key: Some(key), .. }) => Shown::Key(key),
                Some(ListedKey { key: None, .. }) => Shown::Hidden,
                None => Shown::Nowhere,
            },
            Err(error @ (ReadError::Refused(_) | ReadError::NotFound)) => {
                tracing::warn!(number = %number.name, %error, "the account-wide key does not show the number's");
                Shown::Nowhere
            }
            Err(ReadError::Unavailable { detail }) => Shown::Silence(detail),
        }
    }
}

/// How long it is too early to take a change for one that did not happen.
fn grace_left(now: Timestamp, rotation: &Rotation) -> Option<Duration> {
    let left = GRACE - now.duration_since(rotation.begun);
    // A clock that was put back makes nobody wait longer.
    Duration::try_from(left.min(GRACE)).ok().filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_may_still_be_carried_out_for_a_moment() {
        let begun: Timestamp = "2027-01-12T12:00:00Z".parse().unwrap();
        let rotation = Rotation { begun, actor: "somebody".to_owned(), lost: false };
        let left = |seconds: i64| grace_left(begun + SignedDuration::from_secs(seconds), &rotation);
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!([left(0), left(1), left(2), left(60)], [seconds(2), seconds(1), None, None]);
        // The clock was put back.
        assert_eq!(left(-3600), seconds(2));
    }
}
