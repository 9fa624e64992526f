//! Owns the way of an event to a webhook: the line, the attempts, the retries.
//!
//! Events of one message wait in line per webhook: the next one starts once the
//! first attempt of the one before has ended. Retries leave the line, so a
//! failing receiver sees events out of order, as it may upstream. A fixed number
//! of workers deliver; what exceeds `MOST_WAITING` is lost and counted.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::sync::oneshot::{self, Receiver, Sender};

use super::super::clock::Due;
use super::super::ledger::count;
use super::super::messages::Witness;
use super::super::state::{Shared, State, held};
use super::super::switches::{SignatureStyle, Switches};
use super::signature::{HEADER, sign};
use super::{Event, Log};

/// Events in line, in work or waiting for a retry, all webhooks together.
const MOST_WAITING: usize = 200_000;

/// Before each attempt, counted from the end of the one before.
const WAITS: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
];

/// The most of a receiver's answer that a log row keeps, in bytes.
const MOST_RESPONSE: usize = 1024;

/// What the fault rules want with an event.
#[derive(Default)]
pub struct Treatment {
    pub wrong_signature: bool,
    pub delay: Option<Duration>,
}

/// One event on its way to one webhook.
pub struct Job {
    hook: u64,
    event: Arc<Event>,
    /// Attempts that have ended.
    ended: u32,
    wrong_signature: bool,
    delay: Option<Duration>,
    /// Fires, by being dropped, when the first attempt has ended.
    witness: Option<Sender<()>>,
    /// Counts the jobs that exist.
    _ticket: Arc<()>,
}

type Line = (u64, u64);

pub struct Outbox {
    client: reqwest::Client,
    ready: Mutex<VecDeque<Job>>,
    permits: Semaphore,
    lines: Mutex<HashMap<Line, VecDeque<Job>>>,
    ticket: Arc<()>,
}

impl Outbox {
    pub fn new(client: reqwest::Client) -> Self {
        Self {
            client,
            ready: Mutex::default(),
            permits: Semaphore::new(0),
            lines: Mutex::default(),
            ticket: Arc::new(()),
        }
    }

    /// Events not yet delivered or given up.
    pub fn waiting(&self) -> usize {
        Arc::strong_count(&self.ticket) - 1
    }

    pub fn clear(&self) {
        held(&self.lines).clear();
        held(&self.ready).clear();
    }

    fn line(job: &Job) -> Option<Line> {
        job.event.line.map(|message| (job.hook, message))
    }

    fn push(&self, job: Job) {
        held(&self.ready).push_back(job);
        // A permit too many, left by `clear`, only wakes a worker for nothing.
        if self.permits.available_permits() < MOST_WAITING * 2 {
            self.permits.add_permits(1);
        }
    }
}

/// Hands an event to every webhook that wants it.
pub fn emit(state: &State, event: &Arc<Event>, treatment: &Treatment, witness: Witness) -> Vec<Receiver<()>> {
    let hooks = held(&state.hooks).subscribed(event.number_id.as_deref(), event.name.as_deref());
    let mut receivers = Vec::new();
    for hook in hooks {
        if state.outbox.waiting() >= MOST_WAITING {
            count(&state.stats.webhooks_lost);
            continue;
        }
        let (sender, receiver) = oneshot::channel();
        let job = Job {
            hook,
            event: Arc::clone(event),
            ended: 0,
            wrong_signature: treatment.wrong_signature,
            delay: treatment.delay,
            witness: (witness == Witness::Wanted).then_some(sender),
            _ticket: Arc::clone(&state.outbox.ticket),
        };
        receivers.push(receiver);
        if let Some(line) = Outbox::line(&job) {
            let mut lines = held(&state.outbox.lines);
            if let Some(waiting) = lines.get_mut(&line) {
                waiting.push_back(job);
                continue;
            }
            lines.insert(line, VecDeque::new());
        }
        start(state, job);
    }
    receivers
}

/// Starts a job whose turn has come.
fn start(state: &State, mut job: Job) {
    match job.delay.take() {
        Some(delay) => drop(state.clock.set(delay, Due::Attempt(Box::new(job)))),
        None => state.outbox.push(job),
    }
}

/// Puts a job whose wait is over before the workers.
pub fn retry(state: &State, job: Job) {
    state.outbox.push(job);
}

/// Delivers until the double stops. Several of these run.
pub async fn work(state: Shared) {
    loop {
        let permit = tokio::select! {
            () = state.stop.cancelled() => return,
            permit = state.outbox.permits.acquire() => permit,
        };
        match permit {
            Ok(permit) => permit.forget(),
            Err(_) => return,
        }
        let job = held(&state.outbox.ready).pop_front();
        if let Some(job) = job {
            tokio::select! {
                () = state.stop.cancelled() => return,
                () = deliver(&state, job) => {}
            }
        }
    }
}

async fn deliver(state: &State, mut job: Job) {
    let switches = state.switches();
    let target = held(&state.hooks).target(job.hook);
    let Some(url) = target else {
        next_in_line(state, &job);
        return;
    };
    let begun = Instant::now();
    let (status, response) = attempt(state, &job, &url, &switches).await;
    let delivered = status.is_some_and(|s| (200..300).contains(&s));
    held(&state.hooks).log(
        job.hook,
        Log {
            event: job.event.name.clone(),
            status_code: status,
            payload: job.event.payload.clone(),
            response,
            duration_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            at: Timestamp::now(),
        },
    );
    count(if delivered { &state.stats.webhooks_delivered } else { &state.stats.webhooks_failed });
    if job.ended == 0 {
        job.witness = None;
        next_in_line(state, &job);
    }
    job.ended += 1;
    let wait = WAITS.get(job.ended as usize);
    let wait = wait.filter(|_| !delivered && job.ended < switches.webhook_attempts);
    if let Some(wait) = wait {
        let wait = wait.mul_f64(switches.time_scale);
        state.clock.set(wait, Due::Attempt(Box::new(job)));
        return;
    }
    if !delivered {
        count(&state.stats.webhooks_given_up);
    }
    let disable_after = switches.webhook_auto_disable_after;
    held(&state.hooks).settled(job.hook, delivered, disable_after);
}

fn next_in_line(state: &State, job: &Job) {
    let Some(line) = Outbox::line(job) else {
        return;
    };
    let mut lines = held(&state.outbox.lines);
    let next = lines.get_mut(&line).and_then(VecDeque::pop_front);
    if next.is_none() {
        lines.remove(&line);
    }
    drop(lines);
    if let Some(next) = next {
        start(state, next);
    }
}

/// One POST: its status, if there was one, and the start of the answer.
async fn attempt(state: &State, job: &Job, url: &str, switches: &Switches) -> (Option<u16>, String) {
    let payload: Bytes = job.event.payload.clone();
    let mut request = state
        .outbox
        .client
        .post(url)
        .timeout(Duration::from_millis(switches.webhook_timeout_ms))
        .header("content-type", "application/json");
    let style = if job.wrong_signature { SignatureStyle::Wrong } else { switches.signature };
    let secret = &state.webhook_secret;
    let signature = match style {
        SignatureStyle::Plain => Some(sign(secret, &payload)),
        SignatureStyle::Prefixed => Some(format!("sha256={}", sign(secret, &payload))),
        SignatureStyle::Wrong => Some(sign(secret, b"something else")),
        SignatureStyle::Absent => None,
    };
    if let Some(signature) = signature {
        request = request.header(HEADER, signature);
    }
    match request.body(payload).send().await {
        Ok(mut response) => {
            let status = response.status().as_u16();
            let mut text = Vec::new();
            while text.len() < MOST_RESPONSE
                && let Ok(Some(chunk)) = response.chunk().await
            {
                text.extend_from_slice(&chunk);
            }
            text.truncate(MOST_RESPONSE);
            (Some(status), String::from_utf8_lossy(&text).into_owned())
        }
        Err(error) => (None, error.without_url().to_string()),
    }
}
