//! One follower.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::Instant,
};

use super::{Fanout, Filter, FollowError, FollowRequest, OnExpired, Start};
use crate::{
    domain::{event::Event, ids::MessageId, position::Position},
    store::StoreError,
};

/// What a follower is given, one after the other.
#[derive(Clone, Debug)]
pub enum Frame {
    /// An entry that passes the filter.
    Event(Arc<Event>),
    /// A sign of life.
    Heartbeat {
        /// Age of the oldest entry not looked at yet.
        head_lag: Duration,
        /// How many entries lie ahead.
        backlog: u64,
        /// Why nothing else came.
        idle: Idle,
    },
    /// Entries were trimmed before they could be read.
    Gap {
        /// The last position before them.
        from: Position,
    },
    /// The process is about to end.
    Drain {
        /// How long to wait before coming back.
        reconnect_after: Duration,
    },
}

/// Why a follower is given a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// It has just begun.
    Started,
    /// It has seen everything.
    CaughtUp,
    /// It reads old entries, of which none passed lately.
    CatchingUp,
}

/// A follower: a position and a filter.
pub struct Follow {
    fanout: Fanout,
    filter: Filter,
    on_expired: OnExpired,
    /// Everything up to here was given or did not pass.
    after: Position,
    /// Entries behind `after`, read and not looked at.
    page: VecDeque<Arc<Event>>,
    head: watch::Receiver<Position>,
    heartbeat: Duration,
    next_heartbeat: Instant,
    stage: Stage,
    open: Option<Open>,
    _place: OwnedSemaphorePermit,
}

enum Stage {
    Starting { gap: Option<Position>, start: Start },
    Gap(Position),
    Going,
    Draining,
    Ended,
}

/// The messages that are waited for, with `until_final`.
struct Open {
    messages: HashSet<MessageId>,
    /// Entries up to here are still given, since messages found final at the start became so by then.
    upto: Position,
}

impl Follow {
    pub(super) fn at(
        fanout: Fanout,
        place: OwnedSemaphorePermit,
        after: Position,
        gap: Option<Position>,
        request: FollowRequest,
    ) -> Self {
        let head = fanout.store.head();
        let open =
            request.until_final.then(|| Open { messages: request.filter.messages().collect(), upto: Position::START });
        Self {
            fanout,
            filter: request.filter,
            on_expired: request.on_expired,
            after,
            page: VecDeque::new(),
            head,
            heartbeat: request.heartbeat,
            next_heartbeat: Instant::now() + request.heartbeat,
            stage: Stage::Starting { gap, start: request.start },
            open,
            _place: place,
        }
    }

    /// Everything up to here was given or did not pass: the place to resume behind.
    pub const fn position(&self) -> Position {
        self.after
    }

    /// The filter that was asked for.
    pub const fn filter(&self) -> &Filter {
        &self.filter
    }

    /// With `until_final`: strikes off the messages that are final already.
    pub(super) async fn look_for_final(&mut self) -> Result<(), FollowError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let known = self.fanout.store.messages(open.messages.iter().copied().collect()).await?;
        if known.iter().filter(|message| self.filter.sees(message)).count() != open.messages.len() {
            return Err(FollowError::UnknownMessage);
        }
        for message in known.iter().filter(|message| message.status.is_final()) {
            open.messages.remove(&message.origins.message_id);
        }
        open.upto = *self.fanout.store.head().borrow();
        Ok(())
    }

    /// The next frame; `None` at the end. After an error there is only the end.
    ///
    /// Cancel safe: a frame that was not returned is not lost, because positions move only with it.
    pub async fn next(&mut self) -> Option<Result<Frame, FollowError>> {
        let frame = self.advance().await;
        if let Err(_) | Ok(None) = &frame {
            self.stage = Stage::Ended;
        }
        self.next_heartbeat = Instant::now() + self.heartbeat;
        frame.transpose()
    }

    async fn advance(&mut self) -> Result<Option<Frame>, FollowError> {
        match &self.stage {
            Stage::Going => {}
            Stage::Ended => return Ok(None),
            Stage::Draining => return Err(FollowError::Draining),
            &Stage::Gap(from) => {
                self.stage = Stage::Going;
                return Ok(Some(Frame::Gap { from }));
            }
            Stage::Starting { gap, start } => {
                let (gap, from_oldest) = (*gap, *start == Start::Earliest);
                let gone = self.fill().await?;
                // Whoever asked for the oldest entry kept misses nothing if trimming has gone on since.
                if from_oldest && let Some(up_to) = gone {
                    self.after = up_to;
                }
                self.stage = gap.map_or(Stage::Going, Stage::Gap);
                return Ok(Some(self.sign_of_life(Idle::Started)));
            }
        }
        loop {
            while let Some(event) = self.page.pop_front() {
                // A hole: what stood there was trimmed before it could be read.
                if event.position != self.after.next() {
                    let to = Position(event.position.0 - 1);
                    self.page.push_front(event);
                    return self.jump(to).await;
                }
                self.after = event.position;
                self.strike_off(&event);
                if self.filter.passes(&event) {
                    return Ok(Some(Frame::Event(event)));
                }
            }
            if self.open.as_ref().is_some_and(|open| open.messages.is_empty() && self.after >= open.upto) {
                return Ok(None);
            }
            // What is left can be read after the restart; nobody's catching up holds up the end of the process.
            if self.fanout.draining.is_cancelled() {
                return Ok(Some(self.drain()));
            }
            // A long stretch without a match must not keep others from running.
            tokio::task::consume_budget().await;
            let gone = self.fill().await?;
            if self.page.is_empty() {
                // All that lay ahead was trimmed, so that no entry shows the hole.
                if let Some(up_to) = gone {
                    return self.jump(up_to).await;
                }
                if let Some(frame) = self.wait().await? {
                    return Ok(Some(frame));
                }
            } else if Instant::now() >= self.next_heartbeat {
                return Ok(Some(self.sign_of_life(Idle::CatchingUp)));
            }
        }
    }

    /// Takes the next entries, if there are any and none are left. Tells up to where entries were trimmed before that.
    async fn fill(&mut self) -> Result<Option<Position>, FollowError> {
        if !self.page.is_empty() {
            return Ok(None);
        }
        let page = self.fanout.store.events(self.after, self.fanout.options.page.max(1)).await?;
        let up_to = page.events.first().map_or(page.head, |event| Position(event.position.0 - 1));
        self.page = page.events.into();
        Ok((up_to > self.after).then_some(up_to))
    }

    /// Waits for entries, and no longer than until the next heartbeat or a drain.
    async fn wait(&mut self) -> Result<Option<Frame>, FollowError> {
        let after = self.after;
        let came = tokio::select! {
            biased;
            () = self.fanout.draining.cancelled() => return Ok(None),
            moved = self.head.wait_for(|head| *head > after) => {
                moved.map_err(|_| StoreError::Unknown)?;
                true
            }
            () = tokio::time::sleep_until(self.next_heartbeat) => false,
        };
        Ok(if came { None } else { Some(self.sign_of_life(Idle::CaughtUp)) })
    }

    /// Asks the subscriber to come back, later than some and earlier than others.
    fn drain(&mut self) -> Frame {
        self.stage = Stage::Draining;
        let chance = self.fanout.sources.chance();
        Frame::Drain { reconnect_after: self.fanout.options.drain_spread.mul_f64(chance) }
    }

    /// Entries up to `to` were trimmed while this follower was behind.
    async fn jump(&mut self, to: Position) -> Result<Option<Frame>, FollowError> {
        let from = self.after;
        if self.on_expired == OnExpired::Fail {
            let (oldest, oldest_time) = self.fanout.store.oldest().await?;
            return Err(self.fanout.expired(self.filter.fingerprint(), oldest, oldest_time));
        }
        if let Some(open) = &mut self.open {
            // What became final in the gap is told of no more, and neither is a message that is gone itself.
            let known = self.fanout.store.messages(open.messages.iter().copied().collect()).await?;
            let awaited = known.into_iter().filter(|message| !message.status.is_final());
            open.messages = awaited.map(|message| message.origins.message_id).collect();
            open.upto = *self.fanout.store.head().borrow();
        }
        self.after = to;
        Ok(Some(Frame::Gap { from }))
    }

    fn strike_off(&mut self, event: &Event) {
        if let Some(open) = &mut self.open
            && let Some(update) = event.update()
            && update.current.is_final()
        {
            open.messages.remove(&update.origins.message_id);
        }
    }

    fn sign_of_life(&self, idle: Idle) -> Frame {
        let head = *self.fanout.store.head().borrow();
        let now = self.fanout.sources.now();
        let oldest = self.page.front().map(|event| event.observed_at());
        let head_lag = oldest.and_then(|at| Duration::try_from(now.duration_since(at)).ok()).unwrap_or_default();
        Frame::Heartbeat { head_lag, backlog: u64::try_from(head.0 - self.after.0).unwrap_or_default(), idle }
    }
}
