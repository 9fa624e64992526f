//! Sends of every kind while replies get lost, calls are refused, and the gateway is killed again and again.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use pilotgate::{
    proto::v1::{self, Handoff, MessageStatus},
    sandbox::{self, After, Fault, FaultKind, On, Sandbox, SeenMessage, Switches},
};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use crate::{
    caller::{self, Client, Follower, Now, Send},
    place::{self, Gateway, MACHINE, PATIENCE, Place, eventually, status_of},
    plan::{self, Plan, shared_phone},
};

/// Calls that are refused while the key is.
const REFUSED_CALLS: u64 = 20;

/// What callers were told: the message of each request id.
#[derive(Clone)]
struct Answered {
    messages: Arc<Mutex<BTreeMap<String, v1::Message>>>,
    count: Arc<watch::Sender<usize>>,
}

impl Answered {
    fn note(&self, send: &Send, message: v1::Message) {
        let before = self.messages.lock().unwrap().insert(send.request_id.clone(), message);
        assert_eq!(before, None, "{}: answered OK twice", send.request_id);
        self.count.send_modify(|count| *count += 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_loses_nothing_and_repeats_nothing() {
    let (seed, sends) = (plan::seed(), plan::sends(5_000));
    let plan = Plan::of(seed, sends);
    let _machine = MACHINE.lock().await;
    let double = sandbox::open(sandbox::Options { seed: Some(seed), ..place::double(switches()) }).await.unwrap();
    let place = Place::in_front_of(&double).await;
    misfortune(&double);

    let start = Instant::now();
    let gateway = place.serve();
    let (clients, client) = watch::channel(place.client().await);
    let follower = Follower::start(client.clone());
    let answered = Answered { messages: Arc::default(), count: Arc::new(watch::channel(0).0) };
    let callers = spawn_callers(&plan, &client, &answered);
    let gateway = tokio::join!(
        kill_again_and_again(&place, gateway, &clients, &plan.kills, &answered),
        refuse_the_key(&double, &plan.refusals, &answered),
        all_end(callers, PATIENCE * u32::try_from(sends.div_ceil(5_000)).unwrap()),
    )
    .0;
    eprintln!("answered after {:?}", start.elapsed());

    let mut client = clients.borrow().clone();
    let truth = Truth::settled(&double, &mut client).await;
    eprintln!("settled after {:?}; {:?}", start.elapsed(), double.control().stats());
    let answered = answered.messages.lock().unwrap().clone();
    assert_eq!(answered.len(), sends);
    truth.assert_is_what_was_answered(&answered);
    truth.assert_in_order(&plan, &answered);
    assert_told(&follower, &truth, &clients.subscribe()).await;
    drop(gateway);
}

/// Statuses come soon, so that many webhooks are on their way at each kill.
fn switches() -> Switches {
    Switches { sent_after_ms: 20, delivered_after_ms: 20, read_after: After::Millis(20), ..Default::default() }
}

fn misfortune(double: &Sandbox) {
    let sometimes = |kind, probability| Fault { probability, ..Fault::new(On::Send, kind) };
    let answer = |status, probability| Fault { status: Some(status), ..sometimes(FaultKind::Http, probability) };
    for fault in [
        sometimes(FaultKind::DropReply, 0.2),
        answer(503, 0.1),
        // Of those that the rule before it has not struck.
        answer(429, 0.11),
        sometimes(FaultKind::Reset, 0.03),
    ] {
        double.control().add_fault(fault).unwrap();
    }
}

fn spawn_callers(plan: &Plan, client: &Now, answered: &Answered) -> JoinSet<()> {
    let mut callers = JoinSet::new();
    for sends in plan.unary.clone() {
        let (client, answered) = (client.clone(), answered.clone());
        callers.spawn(async move {
            for send in sends {
                let message = caller::send(&client, &send).await.message.unwrap();
                answered.note(&send, message);
            }
        });
    }
    for streams in plan.bulk.clone() {
        let (client, answered) = (client.clone(), answered.clone());
        callers.spawn(async move {
            for sends in streams {
                caller::send_bulk(&client, &sends, |send, message| answered.note(send, message)).await;
            }
        });
    }
    callers
}

async fn all_end(mut callers: JoinSet<()>, patience: Duration) {
    let all = async {
        while let Some(ended) = callers.join_next().await {
            ended.unwrap();
        }
    };
    timeout(patience, all).await.expect("callers are answered in time");
}

async fn kill_again_and_again(
    place: &Place,
    mut gateway: Gateway,
    clients: &watch::Sender<Client>,
    moments: &[usize],
    answered: &Answered,
) -> Gateway {
    let mut progress = answered.count.subscribe();
    for moment in moments {
        progress.wait_for(|count| count >= moment).await.unwrap();
        gateway.kill();
        gateway = place.serve();
        clients.send_replace(place.client().await);
    }
    gateway
}

async fn refuse_the_key(double: &Sandbox, moments: &[usize], answered: &Answered) {
    let mut progress = answered.count.subscribe();
    for moment in moments {
        progress.wait_for(|count| count >= moment).await.unwrap();
        let refused = Fault { times: Some(REFUSED_CALLS), ..Fault::new(On::Send, FaultKind::Unauthorized) };
        double.control().add_fault(refused).unwrap();
    }
}

/// Both sides, once nothing moves any more.
struct Truth {
    /// What the double accepted, in order.
    upstream: Vec<SeenMessage>,
    /// What the gateway knows, by our id.
    here: BTreeMap<String, v1::Message>,
}

impl Truth {
    /// Waits until every status here is that of the double, and nothing is open.
    async fn settled(double: &Sandbox, client: &mut Client) -> Self {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let waiting = double.control().deliveries_waiting();
            let here = caller::list(client).await;
            let truth = Self { upstream: double.control().messages(), here };
            let open = truth.open();
            if waiting == 0 && open.is_empty() {
                let stats = double.control().stats();
                assert_eq!(
                    (stats.webhooks_given_up, stats.webhooks_lost),
                    (0, 0),
                    "the double kept statuses to itself"
                );
                return truth;
            }
            let first = &open[..open.len().min(5)];
            let counts = (open.len(), waiting);
            assert!(
                Instant::now() < deadline,
                "not settled within {PATIENCE:?}: {counts:?} open and on the way: {first:#?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Messages that are undecided here, or stand otherwise upstream.
    fn open(&self) -> Vec<String> {
        let upstream: HashMap<_, _> = self.upstream.iter().map(|seen| (id_of(seen), seen)).collect();
        let undecided = self.here.values().filter_map(|message| {
            let expected = upstream.get(message.message_id.as_str()).map(|seen| status_of(seen));
            let unsent = expected.is_none() && message.status() == MessageStatus::Failed;
            (!unsent && expected != Some(message.status())).then(|| format!("{expected:?} upstream: {message:?}"))
        });
        let unknown = upstream.iter().filter(|(id, _)| !self.here.contains_key(**id));
        undecided.chain(unknown.map(|(id, seen)| format!("{id} is unknown here: {seen:?}"))).collect()
    }

    fn assert_is_what_was_answered(&self, answered: &BTreeMap<String, v1::Message>) {
        let twice: Vec<_> = self.upstream.iter().filter(|seen| seen.accepted != 1).collect();
        assert!(twice.is_empty(), "accepted more than once: {twice:#?}");
        let upstream: HashMap<_, _> = self.upstream.iter().map(|seen| (id_of(seen), seen.id.as_str())).collect();
        assert_eq!(upstream.len(), self.upstream.len(), "one message for each key");
        let acknowledged: BTreeMap<_, _> = answered.iter().map(|(id, message)| (&message.message_id, id)).collect();
        assert_eq!(acknowledged.len(), answered.len(), "each request id has a message of its own");
        let wanted: BTreeSet<_> = acknowledged.keys().map(|id| id.as_str()).collect();
        let taken: BTreeSet<_> = upstream.keys().copied().collect();
        let (lost, too_many): (Vec<_>, Vec<_>) =
            (wanted.difference(&taken).collect(), taken.difference(&wanted).collect());
        assert!(lost.is_empty() && too_many.is_empty(), "lost: {lost:?}, sent without being wanted: {too_many:?}");
        for (id, request_id) in acknowledged {
            let message = &self.here[id];
            assert_eq!((&message.request_id, message.upstream_id.as_str()), (request_id, upstream[id.as_str()]));
        }
        let unsent = self.here.values().filter(|message| !upstream.contains_key(message.message_id.as_str()));
        for message in unsent {
            let failure = message.failure.as_ref().expect("only failed ones are unsent");
            let of_a_direct_one = message.handoff() == Handoff::Direct && failure.safe_to_resend;
            assert!(of_a_direct_one, "unsent, but not known to be: {message:?}");
        }
    }

    /// What one caller queued for one recipient, one after the other, arrived in that order.
    fn assert_in_order(&self, plan: &Plan, answered: &BTreeMap<String, v1::Message>) {
        let places: HashMap<_, _> = self.upstream.iter().enumerate().map(|(at, seen)| (id_of(seen), at)).collect();
        let mut compared = 0;
        for (caller, sends) in plan.unary.iter().enumerate() {
            let phone = shared_phone(caller);
            let in_order = sends.iter().filter(|send| send.phone == phone && send.handoff == Handoff::Queued);
            let taken: Vec<_> =
                in_order.map(|send| (places[answered[&send.request_id].message_id.as_str()], send)).collect();
            assert!(taken.is_sorted_by_key(|(at, _)| *at), "to {phone} in another order: {taken:#?}");
            compared += taken.len();
        }
        assert!(compared > answered.len() / 20, "hardly anything was sent in order");
    }
}

/// The follower heard the end of every message, and over all the kills exactly what stands in the log.
async fn assert_told(follower: &Follower, truth: &Truth, client: &Now) {
    let all = eventually("the follower hears how every message ended", async || {
        let told = follower.told();
        let heard: BTreeSet<_> = told.iter().cloned().collect();
        let ended = |(id, message): (&String, &v1::Message)| heard.contains(&(id.clone(), message.status()));
        truth.here.iter().all(ended).then_some(told)
    });
    let all = all.await;
    let afresh = Follower::start(client.clone());
    let whole = eventually("the whole log is read again", async || {
        let told = afresh.told();
        (told.len() >= all.len()).then_some(told)
    });
    let differs = whole.await.iter().zip(&all).position(|(whole, told)| whole != told);
    assert_eq!(differs, None, "after a kill the stream went on elsewhere");
}

fn id_of(seen: &SeenMessage) -> &str {
    seen.idempotency_key.as_deref().and_then(|key| key.strip_prefix("pilotgate-")).expect("a key of ours")
}
