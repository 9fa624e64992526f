//! Subscribers of every temper, and what each was told.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pilotgate::proto::v1::{
    self, CommitCursorRequest, MessageStatus, Origin, StatusFilter, StreamStatusUpdatesRequest as StreamRequest,
    stream_status_updates_request::Start, stream_status_updates_response::Frame,
};
use tokio::sync::watch;
use tonic::{Code, Streaming};

use crate::caller::Client;

pub type Frames = Streaming<v1::StreamStatusUpdatesResponse>;

/// One update, as far as subscribers may compare.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Heard {
    pub id: String,
    pub request_id: String,
    pub status: MessageStatus,
    /// Of a failure.
    pub code: String,
    pub current: MessageStatus,
    pub origin: Origin,
    /// When it happened, in seconds.
    pub at: i64,
}

impl Heard {
    pub fn of(update: v1::StatusUpdate) -> Self {
        Self {
            status: update.status(),
            code: update.failure.as_ref().map(|failure| failure.raw_code.clone()).unwrap_or_default(),
            current: update.current_status(),
            origin: update.origin(),
            at: update.fact_time.as_ref().unwrap().seconds,
            id: update.message_id,
            request_id: update.request_id,
        }
    }

    /// Of the message among those that were sent.
    pub fn index(&self) -> usize {
        self.request_id.strip_prefix("r-").unwrap().parse().unwrap()
    }

    /// What makes it one fact and not another one.
    pub fn fact(&self) -> (&str, MessageStatus, &str) {
        (&self.id, self.status, &self.code)
    }
}

/// What a subscriber was told so far, in order. Clones are the same.
#[derive(Clone, Default)]
pub struct Notes(Arc<Mutex<Vec<Heard>>>);

impl Notes {
    pub fn lock(&self) -> MutexGuard<'_, Vec<Heard>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn count(&self) -> usize {
        self.lock().len()
    }
}

/// What a named subscription was told over one stream.
#[derive(Clone, Debug, Default)]
pub struct Run {
    pub heard: Vec<Heard>,
    /// So many of what the stream before it told were acknowledged for sure when this one was asked for.
    pub before: usize,
    /// So many of its own are now...
    pub committed: usize,
    /// ...and so many perhaps.
    pub asked: usize,
}

pub fn from_earliest() -> StreamRequest {
    StreamRequest { start: Some(Start::Position(v1::Position::Earliest.into())), ..Default::default() }
}

pub fn named(name: &str) -> StreamRequest {
    StreamRequest { subscription: name.to_owned(), ..Default::default() }
}

pub async fn open(client: &mut Client, request: StreamRequest) -> Frames {
    client.stream_status_updates(request).await.unwrap().into_inner()
}

/// The update in a frame, if there is one. Nothing is trimmed in these tests, so that there are no gaps.
pub fn update(response: v1::StreamStatusUpdatesResponse) -> Option<Heard> {
    match response.frame.unwrap() {
        Frame::Update(update) => Some(Heard::of(update)),
        Frame::Heartbeat(_) | Frame::Drain(_) => None,
        Frame::Gap(gap) => panic!("nothing was trimmed, but: {gap:?}"),
    }
}

/// The whole log up to where it stands.
pub async fn whole_log(client: &mut Client) -> Vec<Heard> {
    let heartbeat_interval = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let mut frames = open(client, StreamRequest { heartbeat_interval, ..from_earliest() }).await;
    let mut heard = Vec::new();
    loop {
        let response = frames.message().await.unwrap().unwrap();
        match &response.frame {
            Some(Frame::Heartbeat(heartbeat)) if heartbeat.backlog == 0 => return heard,
            _ => heard.extend(update(response)),
        }
    }
}

/// Follows over one stream for as long as it lasts.
pub async fn live(mut client: Client, notes: Notes) {
    let mut frames = open(&mut client, from_earliest()).await;
    while let Some(response) = frames.message().await.unwrap() {
        notes.lock().extend(update(response));
    }
}

/// Leaves after every few frames and comes back by cursor.
pub async fn restless(mut client: Client, notes: Notes, few: usize) {
    let mut start = from_earliest().start;
    loop {
        let mut frames = open(&mut client, StreamRequest { start: start.take(), ..Default::default() }).await;
        for _ in 0..few {
            let response = frames.message().await.unwrap().unwrap();
            start = Some(Start::Cursor(response.cursor.clone()));
            notes.lock().extend(update(response));
        }
    }
}

/// Lets the others, as `others` has them, get ahead by so many updates before it goes on, until that is `over`.
pub async fn slow(mut client: Client, notes: Notes, others: Notes, ahead: usize, mut over: watch::Receiver<bool>) {
    let mut frames = open(&mut client, from_earliest()).await;
    while let Some(response) = frames.message().await.unwrap() {
        notes.lock().extend(update(response));
        if notes.count().is_multiple_of(100) {
            let waits = async {
                while others.count() < notes.count() + ahead {
                    // Nothing announces what another subscriber is told.
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            };
            tokio::select! {
                () = waits => {}
                _ = over.wait_for(|over| *over) => {}
            }
        }
    }
}

/// Carries a subscription over one stream, acknowledges every 25th update, and leaves after `most`, or when another stream
/// takes over.
pub async fn carry(client: &mut Client, name: &str, most: usize, runs: &Mutex<Vec<Run>>) {
    let before = runs.lock().unwrap().last().map_or(0, |run| run.committed);
    let mut frames = open(client, named(name)).await;
    runs.lock().unwrap().push(Run { before, ..Run::default() });
    let mine = runs.lock().unwrap().len() - 1;
    let note = |change: &dyn Fn(&mut Run)| change(&mut runs.lock().unwrap()[mine]);
    loop {
        let response = match frames.message().await {
            Ok(response) => response.unwrap(),
            Err(status) => return assert_eq!(status.code(), Code::Aborted, "{status:?}"),
        };
        let cursor = response.cursor.clone();
        let Some(heard) = update(response) else { continue };
        note(&|run| run.heard.push(heard.clone()));
        let count = runs.lock().unwrap()[mine].heard.len();
        if count.is_multiple_of(25) {
            note(&|run| run.asked = count);
            let request = CommitCursorRequest { subscription: name.to_owned(), cursor };
            client.commit_cursor(request).await.unwrap();
            note(&|run| run.committed = count);
        }
        if count == most {
            return;
        }
    }
}

/// Until their messages are final; gives all that was told of them.
pub async fn until_final(mut client: Client, id: String) -> Vec<Heard> {
    let filter = Some(StatusFilter { message_ids: vec![id], ..Default::default() });
    let mut frames = open(&mut client, StreamRequest { filter, until_final: true, ..from_earliest() }).await;
    let mut heard = Vec::new();
    while let Some(response) = frames.message().await.unwrap() {
        heard.extend(update(response));
    }
    heard
}

/// Each stream of a named subscription goes on behind what was acknowledged over the ones before, and nothing is left out.
pub fn assert_resumed(name: &str, runs: &[Run], log: &[Heard]) {
    let places: BTreeMap<_, _> = log.iter().enumerate().map(|(at, heard)| (heard.fact(), at)).collect();
    let (mut begin, mut least, mut most, mut end) = (0, 0, 0, 0);
    for run in runs {
        // Whoever was taken over may still acknowledge what it was told.
        least = least.max(begin + run.before);
        let Some(first) = run.heard.first() else { continue };
        begin = places[&first.fact()];
        assert!((least..=most).contains(&begin), "{name}: {least} to {most} are acknowledged, it resumed at {begin}");
        assert!(log[begin..].starts_with(&run.heard), "{name}: other updates than in the log behind {begin}");
        (most, end) = (most.max(begin + run.asked), begin + run.heard.len());
    }
    assert_eq!(end, log.len(), "{name}: the last stream came to the end");
}

/// Tasks that follow for as long as the test lasts, and whose failure fails it.
#[derive(Default)]
pub struct Crowd(tokio::task::JoinSet<()>);

impl Crowd {
    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(task);
    }

    /// Fails if one of them has.
    pub fn check(&mut self) {
        while let Some(ended) = self.0.try_join_next() {
            ended.unwrap();
        }
    }
}
