//! `pilotgate inbox`: follows what comes in at the numbers.
//!
//! Owns the arguments and the request. Following it through lost connections is the same as for `watch`. Called by the
//! command tree.

use std::future::Future;

use tonic::{Status, Streaming};

use crate::{
    cli::{
        Ending,
        connect::InboxClient,
        errors::CliError,
        output::{Form, Output},
        render::inbox::{human, json, kind_word},
        times,
        watch::{
            args::FollowArgs,
            follow::{self, Feed, Part},
            start,
        },
    },
    proto::v1::{
        InboundFilter, InboundKind, StreamInboundEventsRequest, StreamInboundEventsResponse,
        stream_inbound_events_request::Start, stream_inbound_events_response::Frame, stream_status_updates_request,
    },
};

const EXAMPLES: &str = "\
EXAMPLES:
    pilotgate inbox --number shop
    pilotgate inbox --kind message --kind lead --from earliest --json
    pilotgate inbox --cursor-file inbox.cursor --json >> inbox.jsonl

A lost connection is made anew and goes on behind the last event, so that none is missed or printed twice. The cursor
file is written after the event has been printed: after a crash in between, that event comes once more.

EXIT STATUS:
    0 ended as asked   1 refused   2 wrong command line   4 the gateway cannot be reached";

/// Which events, from where, until when.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only this number; repeatable
    #[arg(long, help_heading = "Filter")]
    number: Vec<String>,
    /// Only events of this kind: message, number, call, lead, unattributed or unrecognized; repeatable
    #[arg(long, value_parser = kind, help_heading = "Filter")]
    kind: Vec<InboundKind>,
    #[command(flatten)]
    pub(super) follow: FollowArgs,
}

/// Reads a kind, `MESSAGE` or `message`.
fn kind(text: &str) -> Result<InboundKind, String> {
    let all = (1..=6).filter_map(|it| InboundKind::try_from(it).ok());
    let words: Vec<_> = all.clone().map(|it| kind_word(it).to_lowercase()).collect();
    all.zip(&words)
        .find(|(_, word)| word.eq_ignore_ascii_case(text))
        .map(|(kind, _)| kind)
        .ok_or_else(|| format!("expected one of {}", words.join(", ")))
}

/// Follows until the end that was asked for.
///
/// # Errors
/// The gateway's refusal, or what went wrong on this side.
pub async fn run(args: Args, out: &mut Output) -> Result<Ending, CliError> {
    let Args { number, kind, follow: args } = args;
    let (mut client, inbox) = args.connect.clients()?;
    let (plan, mut progress) = (args.plan(), args.progress()?);
    let (start, on_expired) = start::place(args.from, &[], args.subscription.is_some());
    let request = StreamInboundEventsRequest {
        filter: Some(InboundFilter { numbers: number, kinds: kind.into_iter().map(i32::from).collect() }),
        start: start.map(place),
        subscription: args.subscription.unwrap_or_default(),
        on_expired: on_expired.into(),
        heartbeat_interval: Some(times::to_proto_span(args.heartbeat)),
    };
    follow::follow(&mut client, &mut Events { client: inbox, request }, &plan, &mut progress, out).await?;
    Ok(Ending::Done)
}

fn place(start: stream_status_updates_request::Start) -> Start {
    use stream_status_updates_request::Start as Any;
    match start {
        Any::Cursor(cursor) => Start::Cursor(cursor),
        Any::StartTime(time) => Start::StartTime(time),
        Any::Position(position) => Start::Position(position),
    }
}

/// Inbound events as a stream to follow.
struct Events {
    client: InboxClient,
    request: StreamInboundEventsRequest,
}

impl Feed for Events {
    const NOUN: &'static str = "events";
    type Response = StreamInboundEventsResponse;
    type Event = Frame;

    fn open(
        &mut self,
        after: Option<&str>,
    ) -> impl Future<Output = Result<Streaming<StreamInboundEventsResponse>, Status>> + Send {
        let mut request = self.request.clone();
        if let Some(cursor) = after {
            request.start = Some(Start::Cursor(cursor.to_owned()));
        }
        async { Ok(self.client.stream_inbound_events(request).await?.into_inner()) }
    }

    fn read(response: StreamInboundEventsResponse) -> (String, Part<Frame>) {
        let part = match response.frame {
            Some(Frame::Gap(gap)) => Part::Gap(gap),
            Some(Frame::Drain(drain)) => Part::Drain(drain),
            Some(Frame::Heartbeat(_)) | None => Part::SignOfLife,
            Some(event) => Part::Event(event),
        };
        (response.cursor, part)
    }

    fn print(&mut self, cursor: &str, event: &Frame, out: &mut Output) -> Result<(), CliError> {
        match out.form() {
            Form::Human => human::event(event).map_or(Ok(()), |line| out.line(&line)),
            Form::Json => json::EventFrame::new(cursor, event).map_or(Ok(()), |frame| out.json(&frame)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        assert_eq!(kind("LEAD"), Ok(InboundKind::Lead));
        assert_eq!(kind("unrecognized"), Ok(InboundKind::Unrecognized));
        assert_eq!(
            kind("mail").unwrap_err(),
            "expected one of message, number, call, lead, unattributed, unrecognized"
        );
    }
}
