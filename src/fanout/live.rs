//! The head of the log, read once for all who stand there.
//!
//! One task follows the log. It puts the frames of each entry into the ring of every group that wants it, and wakes the
//! members of those groups and nobody else. The rings of all groups together are bounded: the oldest frames go first,
//! and whoever has not taken them by then reads the log itself.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    task::{Context, Poll},
};

use tokio_util::sync::CancellationToken;

use super::{
    Cursors, Filter, Wire,
    group::{Found, Group, Kind, Over},
    line::{Line, Woken},
    ring::{Draft, Piece},
};
use crate::{
    domain::{event::Event, position::Position, signed::Fingerprint},
    store::{Store, StoreError},
};

/// Entries read at a time.
const PAGE: usize = 512;

/// How many entries are held against filters before others may run.
const STRETCH: usize = 8 * 1024;

/// The most that a group takes in while none of its members looks: as good as stuck, they read the log when they are back.
const MOST_UNSEEN: usize = 1 << 20;

/// The groups, and how far the log was read for them.
pub(super) struct Live {
    store: Arc<dyn Store>,
    cursors: Cursors,
    wire: Arc<dyn Wire>,
    draining: CancellationToken,
    most_bytes: usize,
    state: Mutex<State>,
    /// Every group has all that it wants up to here.
    handed_on: AtomicI64,
    drained: AtomicBool,
}

struct State {
    groups: HashMap<[u8; 8], Vec<Arc<Group>>>,
    /// A group that begins now begins here.
    position: Position,
    ended: bool,
}

/// A place in a group.
pub(super) struct Member {
    live: Arc<Live>,
    group: Arc<Group>,
    place: usize,
}

/// What the rings hold, oldest first.
#[derive(Default)]
struct Held {
    pieces: VecDeque<(Weak<Group>, Position, usize)>,
    bytes: usize,
}

impl Live {
    /// At the head of this log; `run` follows it. The rings hold at most `most_bytes`.
    pub(super) fn new(
        store: Arc<dyn Store>,
        cursors: Cursors,
        wire: Arc<dyn Wire>,
        draining: CancellationToken,
        most_bytes: usize,
    ) -> Self {
        let position = *store.head().borrow();
        let state = State { groups: HashMap::new(), position, ended: false };
        let (handed_on, drained) = (AtomicI64::new(position.0), AtomicBool::new(false));
        Self { store, cursors, wire, draining, most_bytes, state: Mutex::new(state), handed_on, drained }
    }

    /// Joins those with the same filter.
    pub(super) fn join(
        self: &Arc<Self>,
        filter: &Filter,
        kind: Kind,
        line: Option<Line>,
    ) -> Result<Member, StoreError> {
        let mut state = self.lock();
        if state.ended {
            return Err(StoreError::Unknown);
        }
        let position = state.position;
        let groups = state.groups.entry(filter.fingerprint().0).or_default();
        // Its short print can stand for two filters: what a caller may see changes, and prints can be made to collide.
        let known = groups.iter().find(|group| group.kind == kind && group.filter == *filter);
        let group = match known {
            Some(group) => Arc::clone(group),
            None => {
                let group = Arc::new(Group::new(filter.clone(), kind, position));
                groups.push(Arc::clone(&group));
                group
            }
        };
        let place = group.enter(line);
        drop(state);
        Ok(Member { live: Arc::clone(self), group, place })
    }

    /// Every member was given, or could have taken, all that it wants up to here.
    pub(super) fn handed_on(&self) -> Position {
        Position(self.handed_on.load(Ordering::Acquire))
    }

    /// Whether members have to leave.
    pub(super) fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Acquire)
    }

    /// Appends the frame of an entry for this filter.
    pub(super) fn frame(&self, event: &Event, filter: Fingerprint, draft: &mut Draft) {
        self.frame_of(event.position, &self.wire.body(event), filter, draft);
    }

    fn frame_of(&self, position: Position, body: &[u8], filter: Fingerprint, draft: &mut Draft) {
        let cursor = self.cursors.encode(position, filter);
        draft.add(position, |frames| self.wire.frame(&cursor, body, frames));
    }

    /// Follows the log until draining or the end of the store.
    pub(super) async fn run(self: Arc<Self>) {
        let mut head = self.store.head();
        let mut held = Held::default();
        loop {
            let position = self.lock().position;
            tokio::select! {
                biased;
                () = self.draining.cancelled() => {
                    self.drained.store(true, Ordering::Release);
                    return self.end(|group, woken| group.wake(woken));
                }
                moved = head.wait_for(|head| *head > position) => if moved.is_err() {
                    return self.end(|group, woken| group.end(Over::Failed(StoreError::Unknown), woken));
                }
            }
            let newest = *head.borrow_and_update();
            if self.skip_unless_wanted(newest) {
                continue;
            }
            match self.store.events(position, PAGE).await {
                Ok(page) => {
                    let first = page.events.first().map_or(page.head, |event| Position(event.position.0 - 1));
                    if first > position {
                        self.tell_of_hole(first);
                    }
                    self.hand_on(&page.events, &mut held).await;
                }
                Err(error) => {
                    tracing::error!(%error, "the log could not be read for those who follow it");
                    self.fail(newest, &error);
                }
            }
            // Those who were woken come first: what is appended meanwhile is one page for all of it.
            tokio::task::yield_now().await;
        }
    }

    /// True if nobody wants to know what lies before `newest`.
    fn skip_unless_wanted(&self, newest: Position) -> bool {
        let mut state = self.lock();
        if state.groups.is_empty() {
            state.position = newest;
            self.handed_on.store(newest.0, Ordering::Release);
        }
        state.groups.is_empty()
    }

    async fn hand_on(&self, events: &[Arc<Event>], held: &mut Held) {
        let Some(last) = events.last().map(|event| event.position) else { return };
        // Whoever joins from now on is not in the list, and begins behind these entries.
        let groups = self.advance(last);
        let mut bodies: Vec<Option<Vec<u8>>> = vec![None; events.len()];
        let mut woken = Woken::default();
        let mut looked_at = 0;
        for group in groups {
            self.hand_to(&group, events, &mut bodies, held, &mut woken);
            looked_at += events.len();
            if looked_at >= STRETCH {
                looked_at = 0;
                woken.wake();
                tokio::task::yield_now().await;
            }
        }
        self.handed_on.store(last.0, Ordering::Release);
        woken.wake();
    }

    fn hand_to(
        &self,
        group: &Arc<Group>,
        events: &[Arc<Event>],
        bodies: &mut [Option<Vec<u8>>],
        held: &mut Held,
        woken: &mut Woken,
    ) {
        let mut wanted = events.iter().zip(bodies).filter(|(event, _)| group.wants(event)).peekable();
        if wanted.peek().is_none() {
            return;
        }
        if group.kind == Kind::UntilFinal {
            let last = wanted.last().map_or(Position::START, |(event, _)| event.position);
            return group.send_to_log(last, woken);
        }
        let (mut pieces, mut draft) = (Vec::new(), Draft::default());
        for (event, body) in wanted {
            let body = body.get_or_insert_with(|| self.wire.body(event));
            self.frame_of(event.position, body, group.filter.fingerprint(), &mut draft);
            if draft.is_full() {
                pieces.push(Piece::of(std::mem::take(&mut draft)));
            }
        }
        if !draft.is_empty() {
            pieces.push(Piece::of(draft));
        }
        let sizes: Vec<_> = pieces.iter().map(|piece| (piece.last(), piece.bytes())).collect();
        match group.extend(pieces, MOST_UNSEEN.min(self.most_bytes), woken) {
            Ok(()) => held.note(group, sizes, self.most_bytes),
            Err(_) => self.lock().remove(group),
        }
    }

    /// What was trimmed before it could be handed on is for each member to see in the log.
    fn tell_of_hole(&self, up_to: Position) {
        let mut woken = Woken::default();
        for group in self.advance(up_to) {
            group.send_to_log(up_to, &mut woken);
        }
        self.handed_on.store(up_to.0, Ordering::Release);
        woken.wake();
    }

    /// Ends every group with this error. Those that come later begin anew.
    fn fail(&self, newest: Position, error: &StoreError) {
        let mut state = self.lock();
        state.position = state.position.max(newest);
        // Under one lock: nobody may join a group that is let go of and was not ended.
        let groups: Vec<_> = std::mem::take(&mut state.groups).into_values().flatten().collect();
        drop(state);
        let mut woken = Woken::default();
        for group in groups {
            group.end(Over::Failed(error.clone()), &mut woken);
        }
        woken.wake();
    }

    fn end(&self, each: impl Fn(&Group, &mut Woken)) {
        self.lock().ended = true;
        let mut woken = Woken::default();
        for group in self.advance(Position::START) {
            each(&group, &mut woken);
        }
        woken.wake();
    }

    /// Moves the place where later groups begin, and tells which ones there are.
    fn advance(&self, position: Position) -> Vec<Arc<Group>> {
        let mut state = self.lock();
        state.position = state.position.max(position);
        state.groups.values().flatten().cloned().collect()
    }

    /// Nothing panics halfway through a change, so that poisoning carries no news.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, group: &Arc<Group>) {
        let fingerprint = group.filter.fingerprint().0;
        if let Some(groups) = self.groups.get_mut(&fingerprint) {
            groups.retain(|known| !Arc::ptr_eq(known, group));
            if groups.is_empty() {
                self.groups.remove(&fingerprint);
            }
        }
    }
}

impl Held {
    /// Counts what a group took in, and lets the oldest go that is too much.
    fn note(&mut self, group: &Arc<Group>, sizes: Vec<(Position, usize)>, most: usize) {
        for (last, bytes) in sizes {
            self.pieces.push_back((Arc::downgrade(group), last, bytes));
            self.bytes += bytes;
        }
        while self.bytes > most
            && let Some((group, last, bytes)) = self.pieces.pop_front()
        {
            self.bytes -= bytes;
            if let Some(group) = group.upgrade() {
                group.cut(last);
            }
        }
    }
}

impl Member {
    /// What lies behind `after` for its group.
    pub(super) fn poll_ahead(&self, context: &Context<'_>, after: Position) -> Poll<Found> {
        self.group.poll_ahead(context, self.place, after)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Under the lock that is needed to join, so that nobody enters a group that has just been given up.
        let mut state = self.live.lock();
        if self.group.leave(self.place) {
            state.remove(&self.group);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, task::Waker};

    use super::*;
    use crate::{
        domain::{
            caller::Caller,
            principal::{Grant, NumberScope, Permission, Principal},
        },
        identity::Identity,
    };

    fn group() -> Arc<Group> {
        let grants = vec![Grant::of(NumberScope::All, vec![Permission::Read])];
        let caller = Caller { grants, ..Caller::named("orders".to_owned().try_into().unwrap()) };
        let principal = Principal { caller: caller.name.clone(), credential: "test".into(), expires: None };
        let sight = Identity::of(vec![caller]).visibility(&principal);
        let filter = Filter::updates(sight, HashSet::new(), HashSet::new(), HashSet::new(), HashSet::new());
        Arc::new(Group::new(filter, Kind::Frames, Position::START))
    }

    fn has(group: &Group, place: usize, after: i64) -> bool {
        let context = Context::from_waker(Waker::noop());
        matches!(group.poll_ahead(&context, place, Position(after)), Poll::Ready(Found::Frames(..)))
    }

    #[test]
    fn of_all_frames_kept_the_oldest_go_first_whosever_they_are() {
        let groups = [group(), group()];
        let places = [groups[0].enter(None), groups[1].enter(None)];
        let mut held = Held::default();
        let (mut woken, mut size) = (Woken::default(), 0);
        for position in 1..=20 {
            let group = &groups[usize::from(position % 2 == 0)];
            let mut draft = Draft::default();
            draft.add(Position(position), |frames| frames.resize(100, 0));
            let piece = Piece::of(draft);
            size = piece.bytes();
            assert!(group.extend(vec![piece], usize::MAX, &mut woken).is_ok());
            held.note(group, vec![(Position(position), size)], 6 * size + 1);
            assert!(held.bytes <= 6 * size + 1, "{} bytes", held.bytes);
        }
        assert_eq!(held.bytes, 6 * size);
        for position in 1..=20 {
            let at = usize::from(position % 2 == 0);
            assert_eq!(has(&groups[at], places[at], position - 1), position > 14, "{position}");
        }
    }
}
