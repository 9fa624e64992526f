//! A gateway that is ended and killed again and again under a thousand subscribers, each of whom comes back.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use pilotgate::{
    proto::v1::{
        self, CommitCursorRequest, Handoff, MessageStatus, StatusFilter, StreamStatusUpdatesRequest as StreamRequest,
        messaging_service_client::MessagingServiceClient, stream_status_updates_request::Start,
        stream_status_updates_response::Frame,
    },
    sandbox::{self, Switches},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use crate::{
    caller::{self, Bearer, Client, Now, Send},
    place::{self, Gateway, House, MACHINE, NUMBERS, PATIENCE, Place, eventually},
    plan,
    subscriber::{self, Crowd, Heard, Notes, Run},
};

const SUBSCRIBERS: usize = 1_000;
const CONNECTIONS: usize = 20;
/// So many of the subscribers are named subscriptions.
const NAMED: usize = 40;
/// Each message has one of so many labels.
const LABELS: usize = 50;
/// Subscribers are asked to come back within this span.
const SPREAD: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_subscribers_miss_nothing_and_hear_nothing_twice_over_restarts() {
    let seed = plan::seed();
    let _machine = MACHINE.lock().await;
    let switches = Switches { sent_after_ms: 20, delivered_after_ms: 20, ..Default::default() };
    let double = sandbox::open(sandbox::Options { seed: Some(seed), ..place::double(switches) }).await.unwrap();
    // What no webhook has told by the time the gateway is back is read back.
    let sections = format!(
        "[streams]\ndrain_spread = \"{SPREAD:?}\"\n\
         [reconcile]\nfirst = \"1s\"\nsilence = \"2s\"\nread_first = \"1s\"\nlongest = \"2s\"\n"
    );
    let place = Place::with(&double, &House { sections, ..House::default() }).await;
    let began = Instant::now();
    let gateway = place.serve();
    let (clients, client) = watch::channel(place.client().await);
    let mut crowd = Crowd::default();
    let streams = watch::Sender::default();
    let subscribers = spawn_subscribers(&place, seed, &streams, &mut crowd);
    all_stand(&streams, 1, &mut crowd).await;
    eprintln!("all stand {:?} after the start", began.elapsed());

    let (over, ends) = watch::channel(false);
    let mut senders = JoinSet::new();
    for lane in 0..4 {
        senders.spawn(send_until(client.clone(), lane, ends.clone()));
    }
    let mut gateway = Some(gateway);
    for (time, kill) in [false, true, false].into_iter().enumerate() {
        let ended = gateway.take().unwrap();
        let asked = Instant::now();
        if kill {
            ended.kill()
        } else {
            ended.end(&place).await
        }
        eprintln!("ended after {:?}, killed: {kill}", asked.elapsed());
        gateway = Some(place.serve());
        clients.send_replace(place.client().await);
        all_stand(&streams, time + 2, &mut crowd).await;
        eprintln!("all stand again after {:?}", asked.elapsed());
    }
    over.send_replace(true);
    let sent: Vec<usize> = timeout(PATIENCE, senders.join_all()).await.expect("callers are answered");
    let sent = sent.into_iter().sum();

    let mut client = clients.borrow().clone();
    let log = log_with(&mut client, sent).await;
    eprintln!("{sent} sent, {} updates, {:?} after the start", log.len(), began.elapsed());
    for subscriber in &subscribers {
        subscriber.assert_heard(&log, &mut crowd).await;
    }
    assert_drained(&subscribers);
    eprintln!("all heard {:?} after the start", began.elapsed());
    drop::<Option<Gateway>>(gateway);
}

/// Sends one message after the other until that is over; tells how many.
async fn send_until(client: Now, lane: usize, over: watch::Receiver<bool>) -> usize {
    let mut count = 0;
    while !*over.borrow() {
        let index = count * 4 + lane;
        let send = Send {
            number: index % NUMBERS,
            request_id: format!("r-{index}"),
            phone: format!("+55118{index:05}0101"),
            handoff: if index.is_multiple_of(3) { Handoff::Queued } else { Handoff::Direct },
        };
        let request = v1::SendMessageRequest { labels: vec![label(index)], ..send.request() };
        caller::send_request(&client, request).await;
        count += 1;
        // As fast as the subscribers together can take it.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    count
}

fn label(index: usize) -> String {
    format!("label-{}", index % LABELS)
}

/// The whole log, once all of these messages have been read.
async fn log_with(client: &mut Client, sent: usize) -> Vec<Heard> {
    eventually("all messages are read", async || {
        let here = caller::list(client).await;
        let all = here.len() == sent && here.values().all(|message| message.status() == MessageStatus::Read);
        all.then_some(())
    })
    .await;
    subscriber::whole_log(client).await
}

/// Waits until every subscriber has a stream of this gateway, by its number.
async fn all_stand(streams: &watch::Sender<usize>, gateway: usize, crowd: &mut Crowd) {
    let mut streams = streams.subscribe();
    timeout(PATIENCE, streams.wait_for(|count| *count == SUBSCRIBERS * gateway))
        .await
        .expect("all have streams")
        .unwrap();
    crowd.check();
}

/// One of the thousand. Clones are the same.
#[derive(Clone)]
struct Subscriber {
    index: usize,
    notes: Notes,
    /// Of a named subscription.
    runs: Arc<Mutex<Vec<Run>>>,
    /// After how long it was asked to come back, each time.
    asked: Arc<Mutex<Vec<Duration>>>,
}

fn spawn_subscribers(place: &Place, seed: u64, streams: &watch::Sender<usize>, crowd: &mut Crowd) -> Vec<Subscriber> {
    let connections: Vec<_> = (0..CONNECTIONS).map(|_| place.endpoint().connect_lazy()).collect();
    let subscriber = |index: usize| {
        let subscriber = Subscriber { index, notes: Notes::default(), runs: Arc::default(), asked: Arc::default() };
        let client = MessagingServiceClient::with_interceptor(connections[index % CONNECTIONS].clone(), Bearer);
        let dice = StdRng::seed_from_u64(seed.wrapping_add(index as u64));
        crowd.spawn(subscriber.clone().follow(client, dice, streams.clone()));
        subscriber
    };
    (0..SUBSCRIBERS).map(subscriber).collect()
}

impl Subscriber {
    fn is_named(&self) -> bool {
        self.index < NAMED
    }

    /// Most follow a label; others a number, some statuses, or everything.
    fn filter(&self) -> Option<StatusFilter> {
        let mut filter = StatusFilter::default();
        match self.index % 100 {
            97 => return None,
            98 => filter.numbers = vec![place::number_name(self.index / 100 % NUMBERS)],
            99 => filter.statuses = vec![MessageStatus::Queued.into(), MessageStatus::Read.into()],
            _ => filter.labels = vec![label(self.index)],
        }
        Some(filter)
    }

    async fn follow(self, mut client: Client, mut dice: StdRng, streams: watch::Sender<usize>) {
        let mut start = subscriber::from_earliest().start;
        loop {
            // A named subscription says where it begins only when it is made.
            let before = self.runs.lock().unwrap().last().map_or(0, |run| run.committed);
            let subscription = if self.is_named() { format!("named-{}", self.index) } else { String::new() };
            let begin = if self.is_named() && !self.runs.lock().unwrap().is_empty() { None } else { start.clone() };
            let request = StreamRequest { filter: self.filter(), start: begin, subscription, ..Default::default() };
            let mut pause = Duration::from_millis(dice.random_range(10..200));
            if let Ok(frames) = client.stream_status_updates(request).await {
                let mut frames = frames.into_inner();
                let mut stands = false;
                while let Ok(Some(response)) = frames.message().await {
                    if !stands {
                        stands = true;
                        self.runs.lock().unwrap().push(Run { before, ..Run::default() });
                        streams.send_modify(|count| *count += 1);
                    }
                    start = Some(Start::Cursor(response.cursor.clone()));
                    match &response.frame {
                        Some(Frame::Drain(drain)) => {
                            pause = drain.reconnect_after.unwrap().try_into().unwrap();
                            self.asked.lock().unwrap().push(pause);
                        }
                        _ => self.hear(response, &mut client).await,
                    }
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn hear(&self, response: v1::StreamStatusUpdatesResponse, client: &mut Client) {
        let cursor = response.cursor.clone();
        let Some(heard) = subscriber::update(response) else { return };
        if !self.is_named() {
            return self.notes.lock().push(heard);
        }
        let with_run = |change: &dyn Fn(&mut Run)| change(self.runs.lock().unwrap().last_mut().unwrap());
        with_run(&|run| run.heard.push(heard.clone()));
        let count = self.runs.lock().unwrap().last().unwrap().heard.len();
        if count.is_multiple_of(7) {
            with_run(&|run| run.asked = count);
            let request = CommitCursorRequest { subscription: format!("named-{}", self.index), cursor };
            if client.commit_cursor(request).await.is_ok() {
                with_run(&|run| run.committed = count);
            }
        }
    }

    /// Waits until it has heard all of the log that passes its filter, and compares.
    async fn assert_heard(&self, log: &[Heard], crowd: &mut Crowd) {
        let filter = self.filter().unwrap_or_default();
        let passes = |heard: &&Heard| {
            let (labels, numbers) = (&filter.labels, &filter.numbers);
            (labels.is_empty() || labels.contains(&label(heard.index())))
                && (numbers.is_empty() || numbers.contains(&place::number_name(heard.index() % NUMBERS)))
                && (filter.statuses.is_empty() || filter.statuses.contains(&heard.status.into()))
        };
        let expected: Vec<_> = log.iter().filter(passes).cloned().collect();
        assert!(!expected.is_empty(), "nothing passes {filter:?}");
        let name = format!("subscriber {} of {filter:?}", self.index);
        let heard = eventually(&name, async || {
            crowd.check();
            let runs = self.runs.lock().unwrap();
            let last = runs.iter().rev().find_map(|run| run.heard.last());
            let done = if self.is_named() { last == expected.last() } else { self.notes.count() >= expected.len() };
            done.then(|| runs.clone())
        });
        let runs = heard.await;
        assert_eq!(runs.len(), 4, "{name}: streams");
        if self.is_named() {
            return subscriber::assert_resumed(&name, &runs, &expected);
        }
        let heard = self.notes.lock();
        let differs = heard.iter().zip(&expected).position(|(heard, expected)| heard != expected);
        assert_eq!((heard.len(), differs), (expected.len(), None), "{name}: left out or repeated");
    }
}

/// Each was asked to come back both times that the gateway ended in order, and not all at once.
fn assert_drained(subscribers: &[Subscriber]) {
    for time in 0..2 {
        let mut tenths = [0; 10];
        for subscriber in subscribers {
            let asked = subscriber.asked.lock().unwrap();
            assert_eq!(asked.len(), 2, "subscriber {}: {asked:?}", subscriber.index);
            let tenth = (asked[time].as_secs_f64() / SPREAD.as_secs_f64() * 10.0) as usize;
            tenths[tenth.min(9)] += 1;
        }
        assert!(tenths.iter().all(|count| (50..200).contains(count)), "not spread evenly: {tenths:?}");
    }
}
