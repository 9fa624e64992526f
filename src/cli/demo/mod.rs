//! `pilotgate demo`: the way of five messages, on this machine.
//!
//! Owns the story: what is sent, in which order, and when it is over. What each message is lies in `cast`, how it is
//! told in `tell`. An ordinary caller of an ordinary gateway: nothing here reaches behind the gRPC contract.

mod cast;
mod tell;

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tonic::Streaming;

use crate::{
    cli::{
        Ending,
        connect::{self, Client},
        errors::CliError,
        output::Output,
        stage::{Places, Stage},
    },
    proto::v1::{
        CancelMessagesRequest, MessageStatus, StreamStatusUpdatesRequest, StreamStatusUpdatesResponse,
        stream_status_updates_response::Frame,
    },
};
use cast::{Role, Scene};
use tell::Teller;

const EXAMPLES: &str = "\
EXAMPLES:
    pilotgate demo
    NO_COLOR=1 pilotgate demo | less";

/// Every message has ended by then, or something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// Nothing to choose.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

/// Plays the story. Succeeds if every message ended as it should.
///
/// # Errors
/// A server that did not start, or an answer that does not belong into the story.
pub async fn run(_: &Args, out: &mut Output) -> Result<Ending, CliError> {
    let stage = Stage::open(Places::FREE).await?;
    let played = play(&stage, out).await;
    stage.close().await;
    played
}

async fn play(stage: &Stage, out: &mut Output) -> Result<Ending, CliError> {
    let mut client = connect::client(&stage.grpc_url(), Some(&stage.token()))?;
    let mut teller = Teller::new(out);
    teller.opening(stage)?;

    // The stream stands before the first message is sent, so that it sees all of them from the start: its first frame
    // is a heartbeat that says so.
    let mut frames = client.stream_status_updates(StreamStatusUpdatesRequest::default()).await?.into_inner();
    frames.message().await?;
    teller.begin();
    let mut scenes = Vec::new();
    for role in Role::ALL {
        let scene = send(&mut client, stage, role).await?;
        teller.sent(&scene)?;
        scenes.push(scene);
    }
    let repeated = client.send_message(cast::request(Role::Template, stage.number())).await?.into_inner();
    teller.repeated(repeated.replayed)?;
    let scheduled = scenes.iter().filter(|scene| scene.role == Role::Scheduled);
    let message_ids = scheduled.map(|scene| scene.message_id.clone()).collect();
    client.cancel_messages(CancelMessagesRequest { message_ids }).await?;

    teller.curtain()?;
    let complete = timeout_at(Instant::now() + PATIENCE, watch(&mut frames, &mut scenes, &mut teller)).await;
    match complete {
        Ok(watched) => watched?,
        Err(_) => teller.overdue(&scenes)?,
    }
    teller.summary(&scenes, repeated.replayed)?;
    let as_expected = repeated.replayed && scenes.iter().all(Scene::ended_as_expected);
    Ok(if as_expected { Ending::Done } else { Ending::Refused })
}

async fn send(client: &mut Client, stage: &Stage, role: Role) -> Result<Scene, CliError> {
    let answer = client.send_message(cast::request(role, stage.number())).await?.into_inner();
    let message_id = answer.message.unwrap_or_default().message_id;
    Ok(Scene { role, message_id, steps: Vec::new() })
}

/// Follows until every message has ended.
async fn watch(
    frames: &mut Streaming<StreamStatusUpdatesResponse>,
    scenes: &mut [Scene],
    teller: &mut Teller<'_>,
) -> Result<(), CliError> {
    while !scenes.iter().all(Scene::has_ended) {
        let Some(frame) = frames.message().await? else {
            return Err(CliError::Local("the gateway ended the stream".to_owned()));
        };
        let Some(Frame::Update(update)) = frame.frame else { continue };
        let Some(scene) = scenes.iter_mut().find(|scene| scene.message_id == update.message_id) else { continue };
        // The time told is when the gateway learned of it; by now that may be a while ago.
        let at = update.observe_time.and_then(cast::instant).unwrap_or_default();
        scene.steps.push(cast::Step { status: update.status(), at });
        teller.update(scene, at, &update)?;
    }
    Ok(())
}

/// Whether nothing more comes after this status.
const fn is_final(status: MessageStatus) -> bool {
    matches!(status, MessageStatus::Read | MessageStatus::Failed | MessageStatus::Canceled)
}
