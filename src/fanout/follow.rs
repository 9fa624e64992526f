//! One follower.

use std::{
    collections::{HashSet, VecDeque},
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    Beginning, Cursors, Fanout, Filter, FollowError, FollowRequest, OnExpired, Start,
    frame::{Frame, Idle, Notice},
    group::{Found, Kind, Over},
    line::Line,
    live::Member,
    ring::Draft,
    subscription::Held,
};
use crate::{
    domain::{event::Event, ids::MessageId, position::Position},
    identity::{Lapse, Standing},
};

/// A follower: a position and a filter.
pub struct Follow {
    fanout: Fanout,
    filter: Filter,
    on_expired: OnExpired,
    /// Everything up to here was given or did not pass.
    after: Position,
    /// Entries behind `after`, read and not looked at.
    page: VecDeque<Arc<Event>>,
    /// The place at the head of the log, once it was reached.
    member: Option<Member>,
    line: Option<Line>,
    heartbeat: Duration,
    next_heartbeat: Instant,
    /// When it is asked to come back over another connection.
    retire_at: Option<Instant>,
    /// Its hold on the subscription that it carries.
    held: Option<Box<Held>>,
    /// The right that it goes by.
    standing: Option<Box<Standing>>,
    /// Wakes by the next heartbeat, or earlier: frames that come meanwhile do not set it anew.
    alarm: Pin<Box<Sleep>>,
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

/// What a follower finds that has seen all it had read.
enum Next {
    /// Frames; the position has moved behind them.
    Frames(Bytes),
    /// The log has to be read.
    Elsewhere,
    /// Nothing for as long as a heartbeat; the position has moved behind what did not pass.
    Quiet,
    /// The process or the connection ends, or the right to go on, or a newer stream carries the subscription.
    Ending,
    /// Its group is over.
    Over(Over),
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
        beginning: Beginning,
        held: Option<Held>,
        request: FollowRequest,
    ) -> Self {
        let Beginning { after, gap } = beginning;
        let open =
            request.until_final.then(|| Open { messages: request.filter.messages().collect(), upto: Position::START });
        let next_heartbeat = Instant::now() + request.heartbeat;
        let wake_at = request.retire_at.map_or(next_heartbeat, |at| at.min(next_heartbeat));
        Self {
            fanout,
            filter: request.filter,
            on_expired: request.on_expired,
            after,
            page: VecDeque::new(),
            member: None,
            line: None,
            heartbeat: request.heartbeat,
            next_heartbeat,
            retire_at: request.retire_at,
            held: held.map(Box::new),
            standing: None,
            alarm: Box::pin(sleep_until(wake_at)),
            stage: Stage::Starting { gap, start: request.start },
            open,
            _place: place,
        }
    }

    /// The same, over this connection.
    pub fn over(self, line: Option<Line>) -> Self {
        Self { line, ..self }
    }

    /// The same, for as long as this right stands. Gives nothing more once it has ended.
    pub fn by(self, standing: Standing) -> Self {
        Self { standing: Some(Box::new(standing)), ..self }
    }

    /// Everything up to here was given or did not pass: the place to resume behind.
    pub const fn position(&self) -> Position {
        match &self.stage {
            // Whoever resumes before it was told has to be told then.
            Stage::Gap(from) => *from,
            Stage::Starting { .. } | Stage::Going | Stage::Draining | Stage::Ended => self.after,
        }
    }

    /// The filter that was asked for.
    pub const fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Cursors of the log that it follows.
    pub const fn cursors(&self) -> &Cursors {
        self.fanout.cursors()
    }

    /// With `until_final`: strikes off the messages that are final already.
    pub(super) async fn look_for_final(&mut self) -> Result<(), FollowError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        for message in self.fanout.named(&self.filter).await?.iter().filter(|message| message.status.is_final()) {
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

    /// The next entries, for as long as the follower stands at the head of the log; `None` whenever what comes next is for
    /// [`next`](Self::next) to tell. Needs no more memory while it waits than the follower itself.
    ///
    /// Positions move only with what is returned.
    pub fn poll_at_head(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let at_head = self.member.is_some() && self.page.is_empty() && self.open.is_none();
        if !matches!(self.stage, Stage::Going) || !at_head || self.is_ending() {
            return Poll::Ready(None);
        }
        match ready!(self.poll_ahead(context)) {
            Next::Frames(frames) => {
                self.next_heartbeat = Instant::now() + self.heartbeat;
                Poll::Ready(Some(frames))
            }
            // Each of these is found again by whoever looks again.
            Next::Elsewhere | Next::Quiet | Next::Ending | Next::Over(_) => Poll::Ready(None),
        }
    }

    async fn advance(&mut self) -> Result<Option<Frame>, FollowError> {
        if !matches!(self.stage, Stage::Going)
            && let Some(lost) = self.lost()
        {
            return Err(lost);
        }
        match &self.stage {
            Stage::Going => {}
            Stage::Ended => return Ok(None),
            Stage::Draining => return Err(FollowError::Draining),
            &Stage::Gap(from) => {
                self.stage = Stage::Going;
                return Ok(Some(Frame::Notice(Notice::Gap { from })));
            }
            Stage::Starting { gap, start } => {
                let (gap, from_oldest) = (*gap, *start == Start::Earliest);
                let gone = self.fill().await?;
                // Whoever asked for the oldest entry kept misses nothing if trimming has gone on since.
                if from_oldest && let Some(up_to) = gone {
                    self.after = up_to;
                }
                self.stage = gap.map_or(Stage::Going, Stage::Gap);
                if self.page.is_empty() && gone.is_none() {
                    self.join()?;
                }
                return Ok(Some(self.sign_of_life(Idle::Started)));
            }
        }
        loop {
            match self.lost() {
                // It may come back at once, and the frame has the cursor to come back with.
                Some(FollowError::Lapsed(Lapse::Changed)) => return Ok(Some(self.drain(Duration::ZERO))),
                Some(lost) => return Err(lost),
                None => {}
            }
            if self.is_retired() {
                return Ok(Some(self.drain(Duration::ZERO)));
            }
            let frames = self.pass_on();
            if !frames.is_empty() {
                return Ok(Some(Frame::Events(frames.into_frames())));
            }
            // A hole: what stood there was trimmed before it could be read.
            if let Some(event) = self.page.front() {
                return self.jump(Position(event.position.0 - 1)).await;
            }
            if self.open.as_ref().is_some_and(|open| open.messages.is_empty() && self.after >= open.upto) {
                return Ok(None);
            }
            // What is left can be read after the restart; nobody's catching up holds up the end of the process.
            if self.fanout.draining.is_cancelled() {
                let spread = self.fanout.options.drain_spread;
                return Ok(Some(self.drain(spread.mul_f64(self.fanout.sources.chance()))));
            }
            // A long stretch without a match must not keep others from running.
            tokio::task::consume_budget().await;
            match poll_fn(|context| self.poll_ahead(context)).await {
                Next::Frames(frames) => return Ok(Some(Frame::Events(frames))),
                Next::Ending => {}
                Next::Over(Over::Forgotten) => self.member = None,
                Next::Over(Over::Failed(error)) => return Err(error.into()),
                next @ (Next::Quiet | Next::Elsewhere) => {
                    let gone = self.fill().await?;
                    // All that lay ahead was trimmed, so that no entry shows the hole.
                    if self.page.is_empty()
                        && let Some(up_to) = gone
                    {
                        return self.jump(up_to).await;
                    }
                    match next {
                        // What has come in this moment is read already: the heartbeat tells how old it is.
                        Next::Quiet => return Ok(Some(self.sign_of_life(Idle::CaughtUp))),
                        _ if self.page.is_empty() && self.member.is_none() => self.join()?,
                        _ if Instant::now() >= self.next_heartbeat && !self.page.is_empty() => {
                            return Ok(Some(self.sign_of_life(Idle::CatchingUp)));
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    /// The frames of what passes in the page, up to its end or to a hole, at most one piece of them.
    fn pass_on(&mut self) -> Draft {
        let mut frames = Draft::default();
        while !frames.is_full()
            && let Some(event) = self.page.pop_front_if(|event| event.position == self.after.next())
        {
            self.after = event.position;
            self.strike_off(&event);
            if self.filter.passes(&event) {
                self.fanout.live.frame(&event, self.filter.fingerprint(), &mut frames);
            }
        }
        frames
    }

    /// Takes a place at the head of the log. What was committed since the last look is still to be read from there.
    fn join(&mut self) -> Result<(), FollowError> {
        let kind = if self.open.is_some() { Kind::UntilFinal } else { Kind::Frames };
        match self.fanout.live.join(&self.filter, kind, self.line.clone()) {
            Ok(member) => self.member = Some(member),
            // Nobody is let in any more, which the follower learns when it looks again.
            Err(_) if self.fanout.draining.is_cancelled() => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Looks at the head of the log, and waits there no longer than until the next heartbeat.
    fn poll_ahead(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        let Some(member) = &self.member else { return Poll::Ready(Next::Elsewhere) };
        let held = self.held.as_mut().map(|held| held.poll_taken_over(context));
        let standing = self.standing.as_mut().map(|standing| standing.poll_lapsed(context));
        if [held, standing].into_iter().flatten().any(|ended| ended.is_ready()) {
            return Poll::Ready(Next::Ending);
        }
        // Before the look at the ring: it has all that passes up to here.
        let handed_on = self.fanout.live.handed_on();
        match member.poll_ahead(context, self.after) {
            Poll::Ready(Found::Frames(frames, last)) => {
                self.after = last;
                return Poll::Ready(Next::Frames(frames));
            }
            Poll::Ready(Found::Elsewhere) => return Poll::Ready(Next::Elsewhere),
            Poll::Ready(Found::Over(over)) => return Poll::Ready(Next::Over(over)),
            Poll::Pending => {}
        }
        // After the place in the group was taken: whoever drains wakes all who wait there.
        if self.fanout.live.is_drained() {
            return Poll::Ready(Next::Ending);
        }
        while self.alarm.as_mut().poll(context).is_ready() {
            if self.is_retired() {
                return Poll::Ready(Next::Ending);
            }
            if Instant::now() >= self.next_heartbeat {
                self.after = self.after.max(handed_on);
                return Poll::Ready(Next::Quiet);
            }
            let wake_at = self.retire_at.map_or(self.next_heartbeat, |at| at.min(self.next_heartbeat));
            self.alarm.as_mut().reset(wake_at);
        }
        Poll::Pending
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

    /// Asks the subscriber to come back.
    fn drain(&mut self, reconnect_after: Duration) -> Frame {
        self.stage = Stage::Draining;
        Frame::Notice(Notice::Drain { reconnect_after })
    }

    fn is_ending(&self) -> bool {
        self.lost().is_some() || self.is_retired()
    }

    fn lost(&self) -> Option<FollowError> {
        let lapsed = self.standing.as_ref().and_then(|standing| standing.lapse()).map(FollowError::Lapsed);
        lapsed.or_else(|| self.held.as_ref().and_then(|held| held.lost()))
    }

    fn is_retired(&self) -> bool {
        self.retire_at.is_some_and(|at| Instant::now() >= at)
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
        Ok(Some(Frame::Notice(Notice::Gap { from })))
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
        let backlog = u64::try_from(head.0 - self.after.0).unwrap_or_default();
        let committed = self.held.as_ref().map_or(self.after, |held| held.committed());
        let unacknowledged = u64::try_from(self.after.0 - committed.0).unwrap_or_default();
        Frame::Notice(Notice::Heartbeat { head_lag, backlog, unacknowledged, idle })
    }
}
