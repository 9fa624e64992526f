//! Followers with the same filter: they get the same frames, byte for byte.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use super::{
    Filter,
    line::{Line, Woken},
    ring::{Ahead, Piece, Ring},
};
use crate::{
    domain::{event::Event, position::Position},
    store::StoreError,
};

/// What its members are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Frames.
    Frames,
    /// Word that something came. They look for themselves, since they also want to see messages end that they name.
    UntilFinal,
}

/// Those with this filter.
pub(super) struct Group {
    pub(super) filter: Filter,
    pub(super) kind: Kind,
    state: Mutex<State>,
}

struct State {
    ring: Ring,
    /// Who is there, by place.
    places: Vec<Place>,
    free: Vec<usize>,
    /// Bytes taken in since a member last looked.
    unseen: usize,
    over: Option<Over>,
}

/// A member's place.
#[derive(Default)]
struct Place {
    /// Set while it waits.
    waiting: Option<Waker>,
    line: Option<Line>,
}

/// Why a group gives nothing any more.
#[derive(Clone)]
pub(super) enum Over {
    /// For long nobody has looked.
    Forgotten,
    /// The log could not be read.
    Failed(StoreError),
}

/// What a member finds.
pub(super) enum Found {
    /// Frames, and the last entry among them.
    Frames(Bytes, Position),
    /// It has to read the log itself.
    Elsewhere,
    /// The group is over.
    Over(Over),
}

impl Group {
    /// For what comes behind `base`.
    pub(super) fn new(filter: Filter, kind: Kind, base: Position) -> Self {
        let state = State { ring: Ring::at(base), places: Vec::new(), free: Vec::new(), unseen: 0, over: None };
        Self { filter, kind, state: Mutex::new(state) }
    }

    /// Whether the entry is one that members want to know of.
    pub(super) fn wants(&self, event: &Event) -> bool {
        let ends = || event.update().is_some_and(|update| update.current.is_final() && self.filter.names(update));
        self.filter.passes(event) || (self.kind == Kind::UntilFinal && ends())
    }

    /// Gives a place to a new member.
    pub(super) fn enter(&self, line: Option<Line>) -> usize {
        let mut state = self.lock();
        state.unseen = 0;
        let place = state.free.pop().unwrap_or(state.places.len());
        if place == state.places.len() {
            state.places.push(Place::default());
        }
        state.places[place].line = line;
        place
    }

    /// Takes the place back. True if nobody is left.
    pub(super) fn leave(&self, place: usize) -> bool {
        let mut state = self.lock();
        state.places[place] = Place::default();
        state.free.push(place);
        state.free.len() == state.places.len()
    }

    /// What lies behind `after`; the member at this place is woken when that changes.
    pub(super) fn poll_ahead(&self, context: &Context<'_>, place: usize, after: Position) -> Poll<Found> {
        let mut state = self.lock();
        state.unseen = 0;
        if let Some(over) = &state.over {
            return Poll::Ready(Found::Over(over.clone()));
        }
        match state.ring.ahead(after) {
            Ahead::Frames(frames, last) => Poll::Ready(Found::Frames(frames, last)),
            Ahead::Elsewhere => Poll::Ready(Found::Elsewhere),
            Ahead::Nothing => {
                match &mut state.places[place].waiting {
                    Some(waker) if waker.will_wake(context.waker()) => {}
                    waiting => *waiting = Some(context.waker().clone()),
                }
                Poll::Pending
            }
        }
    }

    /// Takes in what follows and adds those who wait for it to `woken`. With more than `most` bytes from before that nobody has
    /// looked at, the group is over instead.
    pub(super) fn extend(&self, pieces: Vec<Piece>, most: usize, woken: &mut Woken) -> Result<(), Over> {
        let mut state = self.lock();
        state.wake(woken);
        if let Some(over) = &state.over {
            return Err(over.clone());
        }
        // What comes now nobody can have looked at.
        if state.unseen > most {
            state.end(Over::Forgotten);
            return Err(Over::Forgotten);
        }
        state.unseen += pieces.iter().map(Piece::bytes).sum::<usize>();
        state.ring.extend(pieces);
        Ok(())
    }

    /// Lets go of frames up to here. Whoever has not taken them reads the log.
    pub(super) fn cut(&self, up_to: Position) {
        self.lock().ring.cut(up_to);
    }

    /// Makes every member read the log up to here.
    pub(super) fn send_to_log(&self, up_to: Position, woken: &mut Woken) {
        let mut state = self.lock();
        state.ring.cut(up_to);
        state.wake(woken);
    }

    /// Ends it.
    pub(super) fn end(&self, over: Over, woken: &mut Woken) {
        let mut state = self.lock();
        state.end(over);
        state.wake(woken);
    }

    /// Adds everyone who waits to `woken`.
    pub(super) fn wake(&self, woken: &mut Woken) {
        self.lock().wake(woken);
    }

    /// Nothing panics halfway through a change, so that poisoning carries no news.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake(&mut self, woken: &mut Woken) {
        for place in &mut self.places {
            if let Some(waker) = place.waiting.take() {
                woken.add(waker, place.line.clone());
            }
        }
    }

    fn end(&mut self, over: Over) {
        self.ring = Ring::at(Position::START);
        self.over = Some(over);
    }
}
