//! The audit log: reading it, checking it, and stating now and then how it stands, so that a rewritten end is noticed.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Admin, AdminError};
use crate::{
    domain::{
        audit::{Act, Chain, Fault, Link},
        principal::{AdminRight, Principal},
    },
    identity::{Acting, ViewAudit},
    store::{AuditEnds, AuditQuery, AuditRecord, Checkpoint, StoreError},
};

/// Entries that are checked between two looks at whether the caller still waits.
const PAGE: usize = 1_000;

/// More faults than these are not told.
const MOST_FAULTS: usize = 20;

/// One call looks through so many entries at most for those that it asks for.
const STRETCH: i64 = 100_000;

/// How often a checkpoint is made of a log that has grown.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);

/// How often the head of the log is told, so that it stands somewhere else, too.
const TELL_EVERY: Duration = Duration::from_secs(3600);

/// A page of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditPage {
    /// The entries.
    pub entries: Vec<AuditRecord>,
    /// The number behind which the next page begins, or before which if newest come first; `None`: this was the last one.
    pub next: Option<i64>,
}

/// How the log was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many entries were checked.
    pub entries: u64,
    /// Where it begins and ends.
    pub ends: AuditEnds,
    /// What is wrong, as far as it is told.
    pub faults: Vec<Fault>,
}

impl Admin {
    /// A page of the log. It may be shorter than asked, or empty, although others lie behind it.
    pub async fn audit_page(&self, _: &Acting<ViewAudit>, mut query: AuditQuery) -> Result<AuditPage, AdminError> {
        let ends = self.store.audit_ends().await?;
        // Entries on a subject are found without looking through others.
        let most = if query.subject.is_some() { i64::MAX } else { STRETCH };
        let stretch = Stretch::of(&query, &ends, most);
        (query.after, query.before) = (stretch.after, Some(stretch.before));
        let limit = query.limit;
        // One more tells whether anything lies behind the page.
        query.limit = limit.saturating_add(1);
        let mut entries = self.store.audited(query).await?;
        if entries.len() > limit {
            entries.truncate(limit);
            let next = entries.last().map(|entry| entry.seq);
            return Ok(AuditPage { entries, next });
        }
        Ok(AuditPage { entries, next: stretch.next })
    }

    /// Goes through the whole log and tells what is wrong with it.
    pub async fn verify_audit(&self, _: &Acting<ViewAudit>) -> Result<Verified, AdminError> {
        // Before the log: what is stated later is of entries that this does not look at.
        let checkpoints = self.store.checkpoints().await?;
        let ends = self.store.audit_ends().await?;
        let mut walk = Walk { faults: Vec::new(), trimmed: None, checkpoints: &checkpoints, admin: self };
        walk.state(ends.trimmed, ends.anchor);
        let mut chain = Chain::behind(ends.trimmed, ends.anchor);
        let mut anchor = (ends.trimmed, ends.anchor);
        while let Some(last) = chain.last().filter(|last| *last < ends.head) {
            let query = AuditQuery { after: last, limit: PAGE, ..AuditQuery::default() };
            let page = self.store.audited(query).await?;
            if page.first().is_none_or(|entry| entry.seq != last + 1) {
                let now = self.store.audit_ends().await?;
                if now.trimmed > last {
                    chain.skip_to(now.trimmed, now.anchor);
                    anchor = (now.trimmed, now.anchor);
                    continue;
                }
            }
            if page.is_empty() {
                break;
            }
            for entry in page.into_iter().take_while(|entry| entry.seq <= ends.head) {
                let (act, faults) = chain.take(entry.seq, entry.link, &entry.text);
                walk.faults.extend(faults);
                walk.state(entry.seq, entry.link);
                walk.trimmed = act.and_then(|act| act.trimmed()).or(walk.trimmed);
            }
            if walk.faults.len() >= MOST_FAULTS {
                break;
            }
        }
        // What was trimmed during the walk may be told behind its end.
        if anchor.0 > 0 && anchor.0 == ends.trimmed && walk.trimmed != Some(anchor) {
            let what = "the entries up to this one are gone, and no entry says that they were trimmed";
            walk.faults.insert(0, Fault::at(anchor.0, what));
        }
        if let Some(beyond) = checkpoints.iter().find(|checkpoint| checkpoint.seq > ends.head) {
            let what = format!("the log ends at entry {}, but a checkpoint was made of this one", ends.head);
            walk.faults.push(Fault::at(beyond.seq, what));
        }
        let mut faults = walk.faults;
        faults.truncate(MOST_FAULTS);
        Ok(Verified { entries: chain.entries(), ends, faults })
    }

    /// What page tokens are signed with.
    pub(crate) fn page_key(&self) -> [u8; 32] {
        self.store.cursor_key()
    }

    /// Notes in the audit log that somebody tried what it has not the right for.
    pub(crate) async fn turned_away(
        &self,
        principal: &Principal,
        from: Option<std::net::IpAddr>,
        right: AdminRight,
        (action, subject): (&str, &str),
    ) -> Result<(), StoreError> {
        let act = Act {
            at: self.sources.now(),
            actor: principal.caller.to_string(),
            credential: Some(principal.credential.to_string()),
            from: from.map(|from| from.to_string()),
            action: action.to_owned(),
            subject: subject.to_owned(),
            reason: None,
            outcome: "refused".to_owned(),
            detail: [("error", "not an administrator of this".to_owned()), ("right", right.to_string())]
                .map(|(key, value)| (key.to_owned(), value))
                .into(),
        };
        self.store.audit(vec![act]).await
    }

    /// Makes checkpoints of the log as it grows, until `draining`.
    pub async fn run_checkpoints(self, draining: CancellationToken) {
        let (mut stated, mut told) = (0, None::<Instant>);
        loop {
            match self.checkpoint(stated).await {
                Ok(ends) => {
                    let is_time = told.is_none_or(|told| told.elapsed() >= TELL_EVERY);
                    if ends.head > stated && is_time {
                        tell(&ends);
                        told = Some(Instant::now());
                    }
                    stated = ends.head;
                }
                Err(error) => tracing::warn!(%error, "a checkpoint of the audit log could not be made"),
            }
            if draining.run_until_cancelled(sleep(CHECKPOINT_EVERY)).await.is_none() {
                return;
            }
        }
    }

    /// The last checkpoint, once nothing more comes.
    pub async fn last_checkpoint(&self) {
        match self.checkpoint(0).await {
            Ok(ends) if ends.head > 0 => tell(&ends),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the last checkpoint of the audit log could not be made"),
        }
    }

    /// States how the log stands, if it has grown beyond this entry.
    async fn checkpoint(&self, stated: i64) -> Result<AuditEnds, StoreError> {
        let ends = self.store.audit_ends().await?;
        if ends.head > stated {
            let mac = self.vault.attest(ends.head, &ends.link);
            self.store.keep_checkpoint(Checkpoint { seq: ends.head, mac }).await?;
        }
        Ok(ends)
    }
}

/// What one call looks through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    /// Behind this entry...
    after: i64,
    /// ...and before this one.
    before: i64,
    /// Where the next call goes on if this one found all there is; `None` if nothing lies beyond.
    next: Option<i64>,
}

impl Stretch {
    /// The first part of what is asked for, of so many entries at most.
    fn of(query: &AuditQuery, ends: &AuditEnds, most: i64) -> Self {
        let first = query.after.max(ends.trimmed);
        let behind = query.before.unwrap_or(i64::MAX).min(ends.head.saturating_add(1));
        if query.backwards {
            let after = first.max(behind.saturating_sub(1).saturating_sub(most));
            Self { after, before: behind, next: Some(after.saturating_add(1)).filter(|_| after > first) }
        } else {
            let before = behind.min(first.saturating_add(most).saturating_add(1));
            Self { after: first, before, next: Some(before.saturating_sub(1)).filter(|_| before < behind) }
        }
    }
}

/// A walk through the log.
struct Walk<'a> {
    faults: Vec<Fault>,
    /// What the newest entry about trimming says.
    trimmed: Option<(i64, Link)>,
    /// Those that were not passed yet, oldest first.
    checkpoints: &'a [Checkpoint],
    admin: &'a Admin,
}

impl Walk<'_> {
    /// Compares an entry with the checkpoint that was made of it, if there is one.
    fn state(&mut self, seq: i64, link: Link) {
        while let [checkpoint, rest @ ..] = self.checkpoints
            && checkpoint.seq <= seq
        {
            self.checkpoints = rest;
            if checkpoint.seq == seq && checkpoint.mac != self.admin.vault.attest(seq, &link) {
                let what =
                    "a checkpoint was made of another entry: the log was rewritten, or the checkpoint was changed";
                self.faults.push(Fault::at(seq, what));
            }
        }
    }
}

fn tell(ends: &AuditEnds) {
    tracing::info!(sequence = ends.head, link = ends.link.to_hex(), "the audit log stands here");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn stretches_follow_each_other_without_a_gap(
            trimmed in 0..20_i64,
            kept in 0..40_i64,
            after in 0..50_i64,
            most in 1..15_i64,
            backwards in any::<bool>(),
        ) {
            let (anchor, link) = (Link::START, Link::START);
            let ends = AuditEnds { trimmed, anchor, head: trimmed + kept, link };
            let mut query = AuditQuery { after, backwards, ..AuditQuery::default() };
            let mut seen = Vec::new();
            for _ in 0..100 {
                let stretch = Stretch::of(&query, &ends, most);
                let entries = stretch.after + 1..stretch.before;
                prop_assert!(entries.end - entries.start <= most);
                if backwards { seen.extend(entries.rev()) } else { seen.extend(entries) }
                match stretch.next {
                    Some(next) if backwards => query.before = Some(next),
                    Some(next) => query.after = next,
                    None => break,
                }
            }
            let mut expected: Vec<_> = (after.max(trimmed) + 1..=trimmed + kept).collect();
            if backwards {
                expected.reverse();
            }
            prop_assert_eq!(seen, expected);
        }
    }
}
