//! Follows one stream of updates through any number of connections.
//!
//! Owns what is worth reconnecting for, and that no update is printed twice: a new connection resumes behind the last
//! frame, and a frame that comes again all the same is passed over. Refuses to know where cursors are remembered: that
//! is `progress`. Called by `watch`.

use std::{collections::BTreeMap, time::Duration};

use futures_util::FutureExt;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Streaming};

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
    proto::v1::{
        MessageStatus, StreamStatusUpdatesRequest, StreamStatusUpdatesResponse, stream_status_updates_request::Start,
        stream_status_updates_response::Frame,
    },
};

/// What to follow and for how long.
#[derive(Debug)]
pub struct Plan {
    /// The first request; later ones start behind the last frame instead.
    pub request: StreamStatusUpdatesRequest,
    /// Whether a lost connection is made anew.
    pub reconnect: bool,
    /// End after so many updates; none: never.
    pub count: Option<u64>,
    /// How long the first connection may take, and the answer to each call.
    pub patience: Duration,
    /// A stream that is silent for so long is taken for lost.
    pub longest_silence: Duration,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Followed {
    /// Where each message stands, by id; kept only for a stream that ends when its messages are final.
    pub current: BTreeMap<String, MessageStatus>,
    updates: u64,
    frames: u64,
    last_update: Option<String>,
}

enum StreamEnd {
    /// All that was asked for has been printed.
    Complete,
    /// The gateway asked to come back later.
    Drained(Duration),
    Lost(Refusal),
}

/// Prints updates until the end that the plan names.
///
/// # Errors
/// A refusal that reconnecting cannot mend, a gateway that was never reached within the patience, or what went wrong on
/// this side.
pub async fn follow(
    client: &mut Client,
    plan: &Plan,
    progress: &mut Progress,
    out: &mut Output,
) -> Result<Followed, CliError> {
    let give_up = Instant::now() + plan.patience;
    let mut followed = Followed::default();
    let mut backoff = Backoff::new();
    loop {
        let before = followed.frames;
        let end = one_stream(client, plan, progress, &mut followed, out).await?;
        progress.keep(client).await?;
        if followed.frames > before {
            backoff = Backoff::new();
        }
        let (pause, why) = match end {
            StreamEnd::Complete => return Ok(followed),
            StreamEnd::Drained(after) => {
                (backoff.pause(Some(after), chance()), "the gateway moves the connection".into())
            }
            StreamEnd::Lost(refusal) => {
                let pause = backoff.pause(refusal.retry_after, chance());
                let too_late = followed.frames == 0 && Instant::now() + pause >= give_up;
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

async fn one_stream(
    client: &mut Client,
    plan: &Plan,
    progress: &mut Progress,
    followed: &mut Followed,
    out: &mut Output,
) -> Result<StreamEnd, CliError> {
    let mut request = plan.request.clone();
    if let Some(cursor) = progress.cursor() {
        request.start = Some(Start::Cursor(cursor.to_owned()));
    }
    let mut frames = match timeout(plan.patience, client.stream_status_updates(request)).await {
        Ok(Ok(answer)) => answer.into_inner(),
        Ok(Err(status)) => return Ok(StreamEnd::Lost(status.into())),
        Err(_) => return Ok(StreamEnd::Lost(ended("the gateway does not answer"))),
    };
    loop {
        let frame = match next(&mut frames, client, plan, progress).await? {
            Ok(Some(frame)) => frame,
            Ok(None) if plan.request.until_final => return Ok(StreamEnd::Complete),
            Ok(None) => return Ok(StreamEnd::Lost(ended("the gateway ended the stream"))),
            Err(refusal) => return Ok(StreamEnd::Lost(refusal)),
        };
        followed.frames += 1;
        let drained = print(&frame, plan, followed, out)?;
        if !frame.cursor.is_empty() {
            progress.advance(frame.cursor);
        }
        if let Some(after) = drained {
            return Ok(StreamEnd::Drained(after));
        }
        if plan.count.is_some_and(|count| followed.updates >= count) {
            return Ok(StreamEnd::Complete);
        }
    }
}

/// The next frame. While frames are there they are only printed; the place is kept as soon as there is none, and
/// before anything is waited for.
async fn next(
    frames: &mut Streaming<StreamStatusUpdatesResponse>,
    client: &mut Client,
    plan: &Plan,
    progress: &mut Progress,
) -> Result<Result<Option<StreamStatusUpdatesResponse>, Refusal>, CliError> {
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
fn print(
    frame: &StreamStatusUpdatesResponse,
    plan: &Plan,
    followed: &mut Followed,
    out: &mut Output,
) -> Result<Option<Duration>, CliError> {
    match &frame.frame {
        Some(Frame::Update(update)) => {
            if followed.last_update.as_ref() == Some(&frame.cursor) {
                return Ok(None);
            }
            match out.form() {
                Form::Human => out.line(&human::update(update))?,
                Form::Json => out.json(&json::UpdateFrame::new(&frame.cursor, update))?,
            }
            followed.last_update = Some(frame.cursor.clone());
            followed.updates += 1;
            if plan.request.until_final {
                followed.current.insert(update.message_id.clone(), update.current_status());
            }
        }
        Some(Frame::Gap(gap)) => match out.form() {
            Form::Human => out.note(&human::gap(gap)),
            Form::Json => out.json(&json::GapFrame::new(&frame.cursor, gap))?,
        },
        Some(Frame::Drain(drain)) => {
            let after = drain.reconnect_after.unwrap_or_default();
            return Ok(Some(Duration::try_from(after).unwrap_or_default()));
        }
        Some(Frame::Heartbeat(_)) | None => {}
    }
    Ok(None)
}

fn ended(why: &str) -> Refusal {
    Refusal::local(Code::Unavailable, "STREAM_ENDED", why.to_owned())
}
