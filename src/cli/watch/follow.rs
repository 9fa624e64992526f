//! Follows one stream through any number of connections.
//!
//! Owns what is worth reconnecting for, and that nothing is printed twice: a new connection resumes behind the last
//! frame, and a frame that comes again all the same is passed over. Refuses to know where cursors are remembered, which
//! is `progress`, and what a stream carries: that is a [`Feed`]. Called by `watch` and `inbox`.

use std::{future::Future, time::Duration};

use futures_util::FutureExt;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Status, Streaming};

use crate::{
    cli::{
        backoff::{Backoff, chance},
        connect::Client,
        errors::{CliError, Refusal},
        output::{Form, Output},
        render::{human, json},
        times,
        watch::progress::Progress,
    },
    proto::v1::{Drain, Gap},
};

/// A kind of stream.
pub trait Feed {
    /// What the things that it carries are called.
    const NOUN: &'static str;
    /// What comes over the wire.
    type Response: Send + 'static;
    /// What it carries.
    type Event;

    /// Opens the stream, behind a cursor or where it starts.
    fn open(&mut self, after: Option<&str>) -> impl Future<Output = Result<Streaming<Self::Response>, Status>> + Send;

    /// The cursor of a frame, and what the frame holds.
    fn read(response: Self::Response) -> (String, Part<Self::Event>);

    /// Prints what a frame carries.
    ///
    /// # Errors
    /// As for [`Output::line`].
    fn print(&mut self, cursor: &str, event: &Self::Event, out: &mut Output) -> Result<(), CliError>;
}

/// What a frame holds.
#[derive(Debug)]
pub enum Part<Event> {
    /// Something to print.
    Event(Event),
    /// Something is missing.
    Gap(Gap),
    /// The gateway asks to come back later.
    Drain(Drain),
    /// Nothing else.
    SignOfLife,
}

/// How to follow and for how long.
#[derive(Debug)]
pub struct Plan {
    /// Whether a lost connection is made anew.
    pub reconnect: bool,
    /// End after so many things printed; none: never.
    pub count: Option<u64>,
    /// The stream ends by itself when all is said.
    pub until_final: bool,
    /// How long the first connection may take, and the answer to each call.
    pub patience: Duration,
    /// A stream that is silent for so long is taken for lost.
    pub longest_silence: Duration,
}

/// What was seen.
#[derive(Default)]
struct Seen {
    printed: u64,
    frames: u64,
    last_printed: Option<String>,
}

enum StreamEnd {
    /// All that was asked for has been printed.
    Complete,
    /// The gateway asked to come back later.
    Drained(Duration),
    Lost(Refusal),
}

/// Prints what the feed carries until the end that the plan names. `client` is for the place that is remembered.
///
/// # Errors
/// A refusal that reconnecting cannot mend, a gateway that was never reached within the patience, or what went wrong on
/// this side.
pub async fn follow(
    client: &mut Client,
    feed: &mut impl Feed,
    plan: &Plan,
    progress: &mut Progress,
    out: &mut Output,
) -> Result<(), CliError> {
    let give_up = Instant::now() + plan.patience;
    let mut seen = Seen::default();
    let mut backoff = Backoff::new();
    loop {
        let before = seen.frames;
        let end = one_stream(client, feed, plan, progress, &mut seen, out).await?;
        progress.keep(client).await?;
        if seen.frames > before {
            backoff = Backoff::new();
        }
        let (pause, why) = match end {
            StreamEnd::Complete => return Ok(()),
            StreamEnd::Drained(after) => {
                (backoff.pause(Some(after), chance()), "the gateway moves the connection".into())
            }
            StreamEnd::Lost(refusal) => {
                let pause = backoff.pause(refusal.retry_after, chance());
                let too_late = seen.frames == 0 && Instant::now() + pause >= give_up;
                if !plan.reconnect || too_late || !refusal.is_unavailable() {
                    return Err(refusal.into());
                }
                (pause, refusal.line())
            }
        };
        if !plan.reconnect {
            return Err(ended(&why).into());
        }
        out.note(&human::faint(&format!("{why}; reconnecting in {}", times::spell(pause))));
        sleep(pause).await;
    }
}

async fn one_stream<F: Feed>(
    client: &mut Client,
    feed: &mut F,
    plan: &Plan,
    progress: &mut Progress,
    seen: &mut Seen,
    out: &mut Output,
) -> Result<StreamEnd, CliError> {
    let mut frames = match timeout(plan.patience, feed.open(progress.cursor())).await {
        Ok(Ok(frames)) => frames,
        Ok(Err(status)) => return Ok(StreamEnd::Lost(status.into())),
        Err(_) => return Ok(StreamEnd::Lost(ended("the gateway does not answer"))),
    };
    loop {
        let frame = match next(&mut frames, client, plan, progress).await? {
            Ok(Some(frame)) => frame,
            Ok(None) if plan.until_final => return Ok(StreamEnd::Complete),
            Ok(None) => return Ok(StreamEnd::Lost(ended("the gateway ended the stream"))),
            Err(refusal) => return Ok(StreamEnd::Lost(refusal)),
        };
        seen.frames += 1;
        let (cursor, part) = F::read(frame);
        let drained = print(&cursor, part, feed, seen, out)?;
        if !cursor.is_empty() {
            progress.advance(cursor);
        }
        if let Some(after) = drained {
            return Ok(StreamEnd::Drained(after));
        }
        if plan.count.is_some_and(|count| seen.printed >= count) {
            return Ok(StreamEnd::Complete);
        }
    }
}

/// The next frame. While frames are there they are only printed; the place is kept as soon as there is none, and
/// before anything is waited for.
async fn next<T>(
    frames: &mut Streaming<T>,
    client: &mut Client,
    plan: &Plan,
    progress: &mut Progress,
) -> Result<Result<Option<T>, Refusal>, CliError> {
    if let Some(ready) = frames.message().now_or_never() {
        return Ok(ready.map_err(Refusal::from));
    }
    progress.keep(client).await?;
    Ok(match timeout(plan.longest_silence, frames.message()).await {
        Ok(frame) => frame.map_err(Refusal::from),
        Err(_) => Err(ended("the gateway has fallen silent")),
    })
}

/// Prints a frame; tells how long to stay away if the gateway asks for it.
fn print<F: Feed>(
    cursor: &str,
    part: Part<F::Event>,
    feed: &mut F,
    seen: &mut Seen,
    out: &mut Output,
) -> Result<Option<Duration>, CliError> {
    match part {
        Part::Event(event) => {
            if seen.last_printed.as_deref() == Some(cursor) {
                return Ok(None);
            }
            feed.print(cursor, &event, out)?;
            seen.last_printed = Some(cursor.to_owned());
            seen.printed += 1;
        }
        Part::Gap(gap) => match out.form() {
            Form::Human => out.note(&human::gap(&gap, F::NOUN)),
            Form::Json => out.json(&json::GapFrame::new(cursor, &gap))?,
        },
        Part::Drain(drain) => {
            let after = drain.reconnect_after.unwrap_or_default();
            return Ok(Some(Duration::try_from(after).unwrap_or_default()));
        }
        Part::SignOfLife => {}
    }
    Ok(None)
}

fn ended(why: &str) -> Refusal {
    Refusal::local(Code::Unavailable, "STREAM_ENDED", why.to_owned())
}
