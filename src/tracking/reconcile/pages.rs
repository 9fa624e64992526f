//! Reading many messages of a number at once, from the pages of its history.
//!
//! A page costs one call and tells of up to a hundred messages. It knows them by the provider's id alone and knows no
//! reason of a failure, so that some are left to be read one by one.

use std::{
    collections::{HashMap, hash_map::Entry},
    ops::Range,
    sync::atomic::Ordering::Relaxed,
};

use jiff::{SignedDuration, Timestamp};

use super::{Pace, Parts};
use crate::{
    domain::{ids::ExternalId, read_back::ReadBack, status::Status},
    keys::Number,
    store::{DueCheck, StoreError},
    tracking::reader::{CLOCKS, Leaves},
    upstream::{ReadError, RefusalClass},
};

/// Fewer messages are read one by one.
const WORTH_A_PAGE: usize = 8;

/// Pages read for one cluster at most.
const MOST_PAGES: usize = 10;

/// Messages further apart than this are not looked for on the same pages.
const GAP: SignedDuration = SignedDuration::from_hours(1);

/// Messages by the provider's id.
type Wanted = HashMap<ExternalId, DueCheck>;

impl Parts {
    /// Reads what can be read from pages; what is left is to be read one by one.
    pub(super) async fn read_pages(
        &self,
        number: &Number,
        pace: &Pace,
        due: Vec<DueCheck>,
    ) -> Result<Vec<DueCheck>, StoreError> {
        // The provider's id may come from an unproven SENT then, and lead to the row of another message.
        let ids_proven = number.read_back.unwrap_or(self.read_back) != ReadBack::Terminal;
        if due.len() < WORTH_A_PAGE || !ids_proven || !pace.reads_pages() {
            return Ok(due);
        }
        let (mut fit, mut left): (Vec<_>, Vec<_>) = due.into_iter().partition(fits);
        fit.sort_by_key(sent_after);
        let mut clusters: Vec<Vec<DueCheck>> = Vec::new();
        for check in fit {
            match clusters.last_mut() {
                Some(cluster) if cluster.last().is_some_and(|last| sent_after(&check) - sent_after(last) < GAP) => {
                    cluster.push(check);
                }
                _ => clusters.push(vec![check]),
            }
        }
        for cluster in clusters {
            if cluster.len() < WORTH_A_PAGE || !pace.reads_pages() {
                left.extend(cluster);
            } else {
                self.read_cluster(number, pace, cluster, &mut left).await?;
            }
        }
        Ok(left)
    }

    async fn read_cluster(
        &self,
        number: &Number,
        pace: &Pace,
        cluster: Vec<DueCheck>,
        left: &mut Vec<DueCheck>,
    ) -> Result<(), StoreError> {
        let span = span(&cluster, self.reader.sources.now());
        let (mut wanted, mut found) = (by_external_id(cluster, left), 0);
        for page in 1..=MOST_PAGES {
            self.counters.pages.fetch_add(1, Relaxed);
            let told = self.reader.history(&number.name, &Leaves::Polled(pace), span.clone(), page).await;
            let told = match told {
                Ok(told) => told,
                Err(error) => {
                    // Reading one by one tells whether anything but the history is refused.
                    let about_calls =
                        matches!(&error, ReadError::Refused(refusal) if refusal.class == RefusalClass::RateLimited);
                    if about_calls {
                        self.holds_number(number, pace, &error);
                    } else {
                        tracing::info!(number = %number.name, %error, "the history could not be read");
                        pace.shut_pages();
                    }
                    break;
                }
            };
            pace.answered();
            let now = self.reader.sources.now();
            let mut read = Vec::new();
            for past in told.past {
                let Some(check) = wanted.remove(&past.external) else { continue };
                found += 1;
                match past.facts(now) {
                    Some(facts) => read.push((check, facts)),
                    None => left.push(check),
                }
            }
            self.record(number, pace, read).await?;
            // Further pages have to tell of more messages than they cost calls.
            if !(1..wanted.len()).contains(&told.behind) {
                break;
            }
        }
        if found == 0 {
            pace.shut_pages();
        }
        left.extend(wanted.into_values());
        Ok(())
    }
}

/// Whether a row may tell all that there is to know. A history may not know of a failure, so that a message on its way is
/// read by its own id every other time.
fn fits(check: &DueCheck) -> bool {
    let failure_claimed = matches!(check.claimed, Some(Status::Failed | Status::Canceled));
    let message = &check.message;
    let told_elsewhere = message.status == Status::Delivered || message.status == Status::Failed;
    message.ids.external.is_some() && !failure_claimed && (told_elsewhere || check.checks.is_multiple_of(2))
}

/// Before this time it was not sent.
fn sent_after(check: &DueCheck) -> Timestamp {
    check.message.origins.create_time
}

/// When the messages were sent, by whatever clock.
fn span(cluster: &[DueCheck], now: Timestamp) -> Range<Timestamp> {
    let from = cluster.iter().map(sent_after).min().unwrap_or(now);
    let to = cluster.iter().map(|check| check.message.times.get(Status::Sent).unwrap_or(now)).max().unwrap_or(now);
    let before = |time: Timestamp| time.saturating_sub(CLOCKS).unwrap_or(Timestamp::MIN);
    let after = |time: Timestamp| time.saturating_add(CLOCKS).unwrap_or(Timestamp::MAX);
    before(from)..after(to.max(from))
}

/// The provider's ids are not promised to be unique; of those that are not, none is looked for.
fn by_external_id(cluster: Vec<DueCheck>, left: &mut Vec<DueCheck>) -> Wanted {
    let mut wanted = Wanted::with_capacity(cluster.len());
    let mut twice = Vec::new();
    for check in cluster {
        let Some(external) = check.message.ids.external.clone() else {
            left.push(check);
            continue;
        };
        match wanted.entry(external) {
            Entry::Vacant(place) => drop(place.insert(check)),
            Entry::Occupied(place) => {
                twice.push(place.key().clone());
                left.push(check);
            }
        }
    }
    left.extend(twice.iter().filter_map(|external| wanted.remove(external)));
    wanted
}
