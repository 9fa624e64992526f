//! What happens to keys by itself: changes whose outcome is not known are brought to their end, and keys that are old enough
//! are changed.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::recovery::{Outlook, Watch};
use crate::{
    admin::Admin,
    domain::{ids::NumberName, record::Source},
    identity::{Acting, ManageNumbers},
    keys::Number,
};

/// The wait before the second look for a key, doubled before each further one...
const LOOK_FIRST: Duration = Duration::from_millis(250);
/// ...up to this.
const LOOK_LONGEST: Duration = Duration::from_secs(60);

/// How often the age of keys is looked at, if nothing changes meanwhile.
const AGES: Duration = Duration::from_secs(30);

/// Between two keys that are changed by age lies a random part of this.
const SPREAD: Duration = Duration::from_secs(10);

/// How long a key is left alone at first that could not be changed; each further failure doubles it...
const AGAIN_FIRST: Duration = Duration::from_secs(60);
/// ...up to this.
const AGAIN_LONGEST: Duration = Duration::from_secs(3600);

impl Admin {
    /// Runs until the gateway drains, and then until the changes under way have come to their end.
    pub async fn run_rotations(self, draining: CancellationToken) {
        tokio::join!(self.recoveries(&draining), self.by_age(&draining));
        self.tasks.close();
        self.tasks.wait().await;
        // What was begun last may have brought keys that are not on disk.
        for name in self.unsaved.names() {
            self.clone().find_key(name, draining.clone()).await;
        }
    }

    async fn recoveries(&self, draining: &CancellationToken) {
        let mut changes = self.keys.changes();
        let mut looked_for = BTreeSet::new();
        let mut looks = JoinSet::new();
        loop {
            changes.borrow_and_update();
            for number in self.keys.all() {
                if number.rotation.is_some() && looked_for.insert(number.name.clone()) {
                    looks.spawn(self.clone().find_key(number.name.clone(), draining.clone()));
                }
            }
            tokio::select! {
                () = draining.cancelled() => break,
                Some(Ok(name)) = looks.join_next() => {
                    looked_for.remove(&name);
                }
                Ok(()) = changes.changed() => {}
            }
        }
        while looks.join_next().await.is_some() {}
    }

    /// Looks for a number's key until it is found, set, or the gateway drains. One that is held is not given up even then.
    async fn find_key(self, name: NumberName, draining: CancellationToken) -> NumberName {
        let mut changes = self.keys.changes();
        let (mut wait, mut watch) = (LOOK_FIRST, Watch::default());
        while !draining.is_cancelled() || self.unsaved.holds(&name) {
            changes.borrow_and_update();
            let news = match self.look_for_key(&name, &mut watch).await {
                Outlook::Settled => break,
                Outlook::Lost => {
                    // What has changed since before the look counts, marking it as lost included: one look too many.
                    wait = LOOK_LONGEST;
                    draining.run_until_cancelled(timeout(wait, changes.changed())).await.map(drop)
                }
                Outlook::Later(least, detail) => {
                    let pause = wait.max(least);
                    wait = (wait * 2).min(LOOK_LONGEST);
                    tracing::warn!(number = %name, %detail, ?pause, "a change of the key is not settled yet");
                    draining.run_until_cancelled(sleep(pause)).await
                }
            };
            if news.is_none() && self.unsaved.holds(&name) {
                sleep(LOOK_FIRST).await;
            }
        }
        name
    }

    /// One after the other, so that at most one number waits at any time.
    async fn by_age(&self, draining: &CancellationToken) {
        let mut changes = self.keys.changes();
        let mut failed = HashMap::<NumberName, (Instant, Duration)>::new();
        while !draining.is_cancelled() {
            changes.borrow_and_update();
            while let Some(name) = self.due(&failed) {
                if self.rotate_by_age(&name).await {
                    failed.remove(&name);
                } else {
                    let wait = failed.get(&name).map_or(AGAIN_FIRST, |(_, wait)| (*wait * 2).min(AGAIN_LONGEST));
                    failed.insert(name, (Instant::now() + wait, wait));
                }
                let pause = SPREAD.mul_f64(self.sources.chance());
                if draining.run_until_cancelled(sleep(pause)).await.is_none() {
                    return;
                }
            }
            draining.run_until_cancelled(timeout(AGES, changes.changed())).await;
        }
    }

    /// A number whose key has reached its age, unless it has just failed.
    fn due(&self, failed: &HashMap<NumberName, (Instant, Duration)>) -> Option<NumberName> {
        let rests = |name| failed.get(name).is_some_and(|(until, _)| Instant::now() < *until);
        let now = self.sources.now();
        let numbers = self.keys.all();
        numbers.iter().find(|number| is_due(number, now) && !rests(&number.name)).map(|number| number.name.clone())
    }

    async fn rotate_by_age(&self, name: &NumberName) -> bool {
        let acting = Acting::<ManageNumbers>::of_the_gateway("the key has reached its age");
        match self.rotate_number_key(&acting, name, None).await {
            Ok(number) => {
                tracing::info!(number = %number.name, generation = number.generation, "the key was changed by age");
                true
            }
            Err(error) => {
                tracing::warn!(number = %name, %error, "the key has reached its age and could not be changed");
                false
            }
        }
    }
}

/// Whether a key has reached its age. What the configuration declares never does.
fn is_due(number: &Number, now: Timestamp) -> bool {
    let Source::Stored { create_time, .. } = number.source else { return false };
    let Some(every) = number.rotate_every else { return false };
    let age = now.duration_since(number.key_time.unwrap_or(create_time));
    number.rotation.is_none() && age >= SignedDuration::try_from(every).unwrap_or(SignedDuration::MAX)
}
