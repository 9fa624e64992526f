//! Status updates as a stream to follow.

use std::{collections::BTreeMap, future::Future};

use tonic::{Status, Streaming};

use crate::{
    cli::{
        connect::Client,
        errors::CliError,
        output::{Form, Output},
        render::{human, json},
        watch::follow::{Feed, Part},
    },
    proto::v1::{
        MessageStatus, StatusUpdate, StreamStatusUpdatesRequest, StreamStatusUpdatesResponse,
        stream_status_updates_request::Start, stream_status_updates_response::Frame,
    },
};

/// Updates from one gateway.
#[derive(Debug)]
pub struct Updates {
    client: Client,
    request: StreamStatusUpdatesRequest,
    /// Where each message stands, by id; kept only for a stream that ends when its messages are final.
    pub current: BTreeMap<String, MessageStatus>,
}

impl Updates {
    /// What the request asks for.
    pub fn of(client: &Client, request: StreamStatusUpdatesRequest) -> Self {
        Self { client: client.clone(), request, current: BTreeMap::new() }
    }

    /// The ids of the messages asked for.
    pub fn message_ids(&self) -> impl Iterator<Item = &String> {
        self.request.filter.iter().flat_map(|filter| &filter.message_ids)
    }
}

impl Feed for Updates {
    const NOUN: &'static str = "updates";
    type Response = StreamStatusUpdatesResponse;
    type Event = StatusUpdate;

    fn open(
        &mut self,
        after: Option<&str>,
    ) -> impl Future<Output = Result<Streaming<StreamStatusUpdatesResponse>, Status>> + Send {
        let mut request = self.request.clone();
        if let Some(cursor) = after {
            request.start = Some(Start::Cursor(cursor.to_owned()));
        }
        async { Ok(self.client.stream_status_updates(request).await?.into_inner()) }
    }

    fn read(response: StreamStatusUpdatesResponse) -> (String, Part<StatusUpdate>) {
        let part = match response.frame {
            Some(Frame::Update(update)) => Part::Event(update),
            Some(Frame::Gap(gap)) => Part::Gap(gap),
            Some(Frame::Drain(drain)) => Part::Drain(drain),
            Some(Frame::Heartbeat(_)) | None => Part::SignOfLife,
        };
        (response.cursor, part)
    }

    fn print(&mut self, cursor: &str, update: &StatusUpdate, out: &mut Output) -> Result<(), CliError> {
        match out.form() {
            Form::Human => out.line(&human::update(update))?,
            Form::Json => out.json(&json::UpdateFrame::new(cursor, update))?,
        }
        if self.request.until_final {
            self.current.insert(update.message_id.clone(), update.current_status());
        }
        Ok(())
    }
}
