//! What became of a change of a key whose outcome is not known.
//!
//! With the account-wide key Pilot Status tells: it shows the number's key, or gives it another one if it cannot show it.
//! Without, only the old key tells: as long as it is accepted, nothing was changed.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

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
const GRACE: Duration = Duration::from_secs(2);

/// The change that is looked after, and since when. Its call had ended then, however long it took.
#[derive(Default)]
pub(super) struct Watch(Option<(Timestamp, Instant)>);

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
    pub(super) async fn look_for_key(&self, name: &NumberName, watch: &mut Watch) -> Outlook {
        let looked = async {
            let right = self.sole_use(name).await?;
            // Whoever held the key before may have settled it, and then there is nothing to be found out.
            let number = self.keys.get(name);
            match number.as_deref().and_then(|number| Some((number, number.rotation.as_ref()?))) {
                Some((number, rotation)) => {
                    let since = watch.since(rotation);
                    Box::pin(self.recover(&right, number, rotation, since)).await
                }
                None => {
                    self.unsaved.let_go(name);
                    Ok(Outlook::Settled)
                }
            }
        };
        looked.await.unwrap_or_else(|error: AdminError| Outlook::Later(Duration::ZERO, error.to_string()))
    }

    async fn recover(
        &self,
        right: &Exclusive,
        number: &Number,
        rotation: &Rotation,
        since: Instant,
    ) -> Result<Outlook, AdminError> {
        let held = self.unsaved.of(number);
        let asked = Instant::now();
        let why = format!("what became of the change of {} by {} was not known", rotation.begun, rotation.actor);
        let acting = Acting::<ManageNumbers>::of_the_gateway(&why);
        let act = |outcome| acting.act(self.sources.now(), RECOVER, subject(&number.name), outcome);
        let name = &number.name;
        let told = match held {
            Some(key) => Told::Changed(key),
            None => {
                let slot = self.upstream.read_slot().await.map_err(|error| of_read(&error))?;
                self.told_of(&slot, number).await
            }
        };
        match told {
            Told::Changed(key) => {
                self.adopt(&acting, RECOVER, right, number, key).await?;
                tracing::warn!(number = %name, "a change of the key was brought to its end; the new key is in use");
            }
            Told::Unchanged => {
                if let Some(left) = grace_left(asked.duration_since(since)) {
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

impl Watch {
    /// Since when this change is looked after.
    fn since(&mut self, rotation: &Rotation) -> Instant {
        match self.0 {
            Some((begun, since)) if begun == rotation.begun => since,
            _ => self.0.insert((rotation.begun, Instant::now())).1,
        }
    }
}

/// How long it is too early, so long after the call, to take a change for one that did not happen.
fn grace_left(passed: Duration) -> Option<Duration> {
    GRACE.checked_sub(passed).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_may_still_be_carried_out_for_a_moment() {
        let left = |seconds| grace_left(Duration::from_secs(seconds));
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!([left(0), left(1), left(2), left(60)], [seconds(2), seconds(1), None, None]);
    }

    #[test]
    fn each_change_is_looked_after_from_its_own_first_look() {
        let change =
            |begun: &str| Rotation { begun: begun.parse().unwrap(), actor: "somebody".to_owned(), lost: false };
        let (first, second) = (change("2027-01-12T12:00:00Z"), change("2027-01-12T12:00:01Z"));
        let mut watch = Watch::default();
        let since = watch.since(&first);
        assert_eq!(watch.since(&Rotation { lost: true, ..first }), since);
        assert!(watch.since(&second) > since);
    }
}
