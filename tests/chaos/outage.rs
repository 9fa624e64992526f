//! An upstream that is not there for the whole time of ten thousand sends.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use pilotgate::{
    proto::v1::{Handoff, MessageStatus},
    sandbox::{self, Fault, FaultKind, On, Switches, Timeline},
};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use crate::{
    caller::{self, Send},
    place::{self, Gateway, MACHINE, PATIENCE, Place, eventually, free_port},
};

const SENDS: usize = 10_000;
/// Callers that send one after the other, and the recipients of each.
const UNARY: usize = 32;
const RECIPIENTS: usize = 5;
/// Callers that send over streams, this many messages on each.
const BULK: usize = 2;
const STREAM: usize = 500;

/// What a gateway may hold in memory, in MiB: at its highest, and more at the end than at the beginning. What is in flight
/// and what is listed may stand in memory, what is queued may not.
const MOST_MEMORY: u64 = 160;
const MOST_GROWTH: u64 = 90;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_queued_while_nobody_listens_arrives_once_somebody_does() {
    let _machine = MACHINE.lock().await;
    let start = Instant::now();
    let upstream = free_port();
    let place = Place::before(upstream);
    let mut gateway = place.serve();
    let (clients, client) = watch::channel(place.client().await);
    let mut memory = gateway.memory("VmRSS");

    let answered = Arc::new(Mutex::new(HashMap::new()));
    let (count, mut progress) = watch::channel(0_usize);
    let count = Arc::new(count);
    let note = {
        let answered = Arc::clone(&answered);
        move |send: &Send, id: String| {
            answered.lock().unwrap().insert(send.request_id.clone(), id);
            count.send_modify(|count| *count += 1);
        }
    };
    let unary = one_by_one();
    let mut callers = JoinSet::new();
    for sends in unary.clone() {
        let (client, note) = (client.clone(), note.clone());
        callers.spawn(async move {
            for send in sends {
                let message = caller::send(&client, &send).await.message.unwrap();
                note(&send, message.message_id);
            }
        });
    }
    let next = Arc::new(AtomicUsize::new(SENDS / 2));
    for _ in 0..BULK {
        let (client, note, next) = (client.clone(), note.clone(), Arc::clone(&next));
        callers.spawn(async move {
            loop {
                let first = next.fetch_add(STREAM, Ordering::Relaxed);
                let sends: Vec<_> = (first..SENDS.min(first + STREAM)).map(in_bulk).collect();
                if sends.is_empty() {
                    return;
                }
                caller::send_bulk(&client, &sends, |send, message| note(send, message.message_id)).await;
            }
        });
    }

    progress.wait_for(|count| *count >= SENDS / 2).await.unwrap();
    assert_memory_is_flat(&gateway, memory);
    gateway.kill();
    gateway = place.serve();
    clients.send_replace(place.client().await);
    memory = gateway.memory("VmRSS");
    let all = async { while callers.join_next().await.is_some_and(|ended| ended.is_ok()) {} };
    timeout(PATIENCE, all).await.expect("callers are answered in time");
    eprintln!("queued after {:?}", start.elapsed());
    let answered = answered.lock().unwrap().clone();
    assert_eq!(answered.len(), SENDS, "every send is accepted while nobody listens");
    let mut client = clients.borrow().clone();
    let waiting = caller::list(&mut client).await;
    assert_eq!(waiting.len(), SENDS);
    assert!(waiting.values().all(|message| message.status() == MessageStatus::Pending));

    let double =
        sandbox::open(sandbox::Options { listen: upstream, ..place::double(all_stay_queued()) }).await.unwrap();
    // It comes back as such things do: not quite well at first, which is where an order is lost if it can be.
    let unwell =
        Fault { times: Some(500), probability: 0.2, status: Some(503), ..Fault::new(On::Send, FaultKind::Http) };
    double.control().add_fault(unwell).unwrap();
    let taken = async || (double.control().stats().sends_accepted >= SENDS as u64).then_some(());
    eventually("everything arrives", taken).await;
    eventually("everything is known to have arrived", async || {
        let queued = |message: &_| pilotgate::proto::v1::Message::status(message) == MessageStatus::Queued;
        caller::list(&mut client).await.values().all(queued).then_some(())
    })
    .await;
    assert_memory_is_flat(&gateway, memory);
    eprintln!("drained after {:?}", start.elapsed());

    let arrived = double.control().messages();
    assert_eq!((arrived.len(), arrived.iter().filter(|seen| seen.accepted == 1).count()), (SENDS, SENDS));
    let arrived = arrived.iter().enumerate();
    let places: BTreeMap<_, _> = arrived.map(|(at, seen)| (seen.idempotency_key.clone().unwrap(), at)).collect();
    let place_of = |send: &Send| places.get(&format!("pilotgate-{}", answered[&send.request_id]));
    for send in unary.iter().flatten().chain(&(SENDS / 2..SENDS).map(in_bulk).collect::<Vec<_>>()) {
        assert!(place_of(send).is_some(), "{send:?} was accepted here and never arrived");
    }
    let mut lanes: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for send in unary.iter().flatten() {
        lanes.entry(&send.phone).or_default().push(place_of(send));
    }
    for (phone, places) in lanes {
        assert!(places.len() > 1 && places.is_sorted(), "to {phone} in another order: {places:?}");
    }
}

/// What each caller sends one after the other, to its recipients in turn.
fn one_by_one() -> Vec<Vec<Send>> {
    let mut callers = vec![Vec::new(); UNARY];
    for index in 0..SENDS / 2 {
        let (caller, turn) = (index % UNARY, index / UNARY);
        let phone = format!("+55119{caller:04}{:04}", turn % RECIPIENTS);
        callers[caller].push(Send { number: 0, request_id: format!("u-{index}"), phone, handoff: Handoff::Queued });
    }
    callers
}

fn in_bulk(index: usize) -> Send {
    let phone = format!("+55118{:08}", index % 1_000);
    Send { number: 0, request_id: format!("b-{index}"), phone, handoff: Handoff::Queued }
}

/// Their statuses are not what is tested, and each would be a webhook.
fn all_stay_queued() -> Switches {
    let timelines = (0..10).map(|digit| (digit.to_string(), Timeline::default())).collect();
    Switches { timelines, ..Default::default() }
}

fn assert_memory_is_flat(gateway: &Gateway, at_first: u64) {
    let (now, most) = (gateway.memory("VmRSS"), gateway.memory("VmHWM"));
    eprintln!("memory in MiB: {at_first} at first, {now} now, {most} at most");
    assert!(most < MOST_MEMORY && now < at_first + MOST_GROWTH, "{at_first} MiB at first, {now} now, {most} at most");
}
