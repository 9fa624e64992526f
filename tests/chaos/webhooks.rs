//! The truth, whatever webhooks tell: lost, repeated, out of order, before the answer, forged; or none at all.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use pilotgate::{
    proto::v1::{
        self, Handoff,
        MessageStatus::{self, Delivered, Failed, InDoubt, Pending, Queued, Read, Sent},
        Origin, StreamInboundEventsRequest as InboxRequest,
        inbox_service_client::InboxServiceClient,
        messaging_service_client::MessagingServiceClient,
        stream_inbound_events_request::Start as InboxStart,
        stream_inbound_events_response::Frame as InboxFrame,
    },
    sandbox::{self, After, Fault, FaultKind, On, Sandbox, SeenMessage, Switches},
};
use rand::{
    Rng, SeedableRng,
    rngs::StdRng,
    seq::{IndexedMutRandom, IndexedRandom},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};

use crate::{
    audience::Audience,
    caller::{self, Bearer, Now, Send},
    forger::{self, FORGED, FORGED_AT, Forged},
    place::{self, Doors, House, MACHINE, NUMBERS, PATIENCE, Place, eventually, status_of},
    plan,
    subscriber::{self, Crowd, Heard},
};

/// A status, and the code of a failure.
type Fact = (MessageStatus, &'static str);

/// What the double makes of a recipient, by its last digits, how often it is chosen, and what there is to tell of it.
const ENDINGS: [(&str, u32, &[Fact]); 8] = [
    ("0101", 45, WHOLE),
    ("0001", 15, &[(Failed, "WHATSAPP_NOT_EXIST")]),
    ("0004", 10, &[(Sent, ""), (Failed, UNCONFIRMED)]),
    ("0005", 10, &[(Sent, ""), (Failed, UNCONFIRMED), (Delivered, ""), (Read, "")]),
    ("0008", 5, &[(Sent, ""), (Delivered, "")]),
    ("0009", 5, WHOLE),
    ("0020", 5, WHOLE),
    ("0021", 5, WHOLE),
];
const WHOLE: &[Fact] = &[(Sent, ""), (Delivered, ""), (Read, "")];
const UNCONFIRMED: &str = "DELIVERED_NOT_CONFIRMED";

/// Polls of a number each second, and at once after a quiet time: so many as claims take...
const PER_SECOND: f64 = 150.0;
/// ...or fewer than would be made otherwise.
const FEW_PER_SECOND: f64 = 50.0;
/// Polls at once, of all numbers.
const IN_FLIGHT: usize = 16;
/// After so long at most a message is read back again.
const LONGEST: Duration = Duration::from_secs(2);
/// What a machine that others use as well may add.
const STRAIN: Duration = Duration::from_secs(15);

/// Memory for few updates, so that who falls behind reads the log; polls soon.
fn house(doors: Doors, per_second: f64) -> House {
    let sections = format!(
        "[tracking]\nread_back = \"terminal\"\nunattributed_after = \"500ms\"\n\
         [streams]\nlive_bytes = 65536\npage = 32\n\
         [reconcile]\nper_second = {per_second:?}\nin_flight = {IN_FLIGHT}\nfirst = \"200ms\"\nsilence = \"1s\"\n\
         longest = \"{LONGEST:?}\"\nread_first = \"200ms\"\nclaim_retry = \"50ms\"\n"
    );
    House { doors, store: "recent = 64\n", sections, ..House::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_that_lie_or_are_lost_change_nothing_of_the_truth() {
    let (seed, sends) = (plan::seed(), plan::sends(2_000));
    let _machine = MACHINE.lock().await;
    let scene = Scene::open(seed, Doors::Unsigned, PER_SECOND).await;
    for (kind, on, probability) in [
        (FaultKind::WebhookDrop, On::Webhook, 0.3),
        (FaultKind::WebhookDuplicate, On::Webhook, 0.2),
        (FaultKind::WebhookReorder, On::Webhook, 0.8),
        (FaultKind::WebhookBeforeReply, On::Send, 0.2),
    ] {
        scene.double.control().add_fault(Fault { probability, ..Fault::new(on, kind) }).unwrap();
    }
    let mut crowd = Crowd::default();
    let audience = Audience::gather(&scene, &mut crowd).await;
    let (over, ends) = watch::channel(false);
    let forger = tokio::spawn(forger::forge(scene.double.control(), seed, scene.doors(), ends.clone()));
    let (answered, taken_over) = tokio::join!(scene.send(sends, seed), audience.take_over(&scene, sends, &mut crowd));
    let ended = scene.ended(sends).await;
    over.send_replace(true);
    let forged = timeout(PATIENCE, forger).await.expect("the forger ends").unwrap();

    let messages = scene.truth(sends, ended).await;
    scene.assert_budget();
    let mut client = scene.client.borrow().clone();
    let log = subscriber::whole_log(&mut client).await;
    eprintln!(
        "settled {:?} after the start: {} updates, {} forged, {:?}",
        scene.began.elapsed(),
        log.len(),
        forged.posts,
        scene.double.control().stats()
    );
    assert_log(&log, &messages, &answered);
    audience.assert_heard(&log, taken_over, &mut crowd).await;
    assert_not_forged(&log, &messages);
    assert_got(&mut client, &messages).await;
    scene.assert_inbox(&forged, &messages).await;
    let lost = scene.double.control().stats().webhooks_lost;
    assert!(lost as usize > sends / 2, "hardly a webhook was lost: {lost}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_webhooks_the_truth_is_found_in_time_and_within_the_budget() {
    let (seed, sends) = (plan::seed(), plan::sends(2_000));
    let _machine = MACHINE.lock().await;
    let scene = Scene::open(seed, Doors::None, FEW_PER_SECOND).await;
    let answered = scene.send(sends, seed).await;
    let ended = scene.ended(sends).await;
    let messages = scene.truth(sends, ended).await;
    scene.assert_budget();
    let mut client = scene.client.borrow().clone();
    let log = subscriber::whole_log(&mut client).await;
    eprintln!("settled {:?} after the start: {} updates", scene.began.elapsed(), log.len());
    assert_log(&log, &messages, &answered);
}

/// A gateway, its double, and the clock.
pub struct Scene {
    double: Sandbox,
    place: Place,
    pub client: Now,
    began: Instant,
    began_at: Timestamp,
    per_second: f64,
    /// How many messages have been answered.
    pub answered: Arc<watch::Sender<usize>>,
    _keep: (place::Gateway, watch::Sender<caller::Client>),
}

impl Scene {
    async fn open(seed: u64, doors: Doors, per_second: f64) -> Self {
        // Slow enough for lies to come before the truth.
        let switches = Switches {
            sent_after_ms: 100,
            delivered_after_ms: 100,
            read_after: After::Millis(100),
            signature: sandbox::SignatureStyle::Absent,
            ..Default::default()
        };
        let options = sandbox::Options { seed: Some(seed), ..place::double(switches) };
        let double = sandbox::open(options).await.unwrap();
        let place = Place::with(&double, &house(doors, per_second)).await;
        let (began, began_at) = (Instant::now(), Timestamp::now());
        let gateway = place.serve();
        let (clients, client) = watch::channel(place.client().await);
        Self { double, place, client, began, per_second, began_at, answered: Arc::default(), _keep: (gateway, clients) }
    }

    /// A client with room for few frames on the way, so that what it does not read stays at the gateway.
    pub async fn narrow(&self) -> caller::Client {
        let endpoint = self.place.endpoint().initial_stream_window_size(8192);
        MessagingServiceClient::with_interceptor(self.place.channel(endpoint).await, Bearer)
    }

    fn doors(&self) -> HashMap<String, String> {
        let numbers = self.double.account().numbers.into_iter().enumerate();
        numbers.map(|(index, number)| (number.id, self.place.door(index))).collect()
    }

    /// Sends so many messages in every way; gives our id of each and what its recipient ends with.
    async fn send(&self, sends: usize, seed: u64) -> BTreeMap<String, String> {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut lanes: Vec<Vec<Send>> = vec![Vec::new(); 16];
        for index in 0..sends {
            let (ending, ..) = ENDINGS.choose_weighted(&mut dice, |(_, weight, _)| *weight).unwrap();
            lanes.choose_mut(&mut dice).unwrap().push(Send {
                number: dice.random_range(0..NUMBERS),
                request_id: format!("r-{index}"),
                phone: format!("+55118{:05}{ending}", dice.random_range(0..100_000)),
                handoff: if dice.random() { Handoff::Queued } else { Handoff::Direct },
            });
        }
        let (told, mut answers) = mpsc::unbounded_channel();
        let mut callers = JoinSet::new();
        for (lane, sends) in lanes.into_iter().enumerate() {
            let (client, told, count) = (self.client.clone(), told.clone(), Arc::clone(&self.answered));
            let note = move |send: &Send, message: v1::Message| {
                told.send((message.message_id, send.phone.clone())).unwrap();
                count.send_modify(|count| *count += 1);
            };
            callers.spawn(async move {
                if lane < 4 {
                    return caller::send_bulk(&client, &sends, note).await;
                }
                for send in sends {
                    note(&send, caller::send(&client, &send).await.message.unwrap());
                }
            });
        }
        drop(told);
        let mut answered = BTreeMap::new();
        let all = async {
            while let Some((id, phone)) = answers.recv().await {
                answered.insert(id, phone[phone.len() - 4..].to_owned());
            }
        };
        let patience = PATIENCE * u32::try_from(sends.div_ceil(2_000)).unwrap();
        timeout(patience, all).await.expect("callers are answered in time");
        eprintln!("answered {:?} after the start", self.began.elapsed());
        callers.join_all().await;
        assert_eq!(answered.len(), sends);
        answered
    }

    /// Waits until the double has come to the end of every message; tells when that was.
    async fn ended(&self, sends: usize) -> Instant {
        let control = self.double.control();
        let done = |seen: &SeenMessage| Some(status_of(seen)) == end_of(&seen.recipient).map(|(status, _)| status);
        let all = eventually("the double ends", async || {
            let messages = control.messages();
            (messages.len() == sends && messages.iter().all(done) && control.deliveries_waiting() == 0).then_some(())
        });
        all.await;
        Instant::now()
    }

    /// The messages here, once each stands where it stands at the double: no later than all of a number's messages can be
    /// read, which are due by [`LONGEST`] after the last of them has moved.
    async fn truth(&self, sends: usize, ended: Instant) -> BTreeMap<String, v1::Message> {
        let upstream: HashMap<_, _> =
            self.double.control().messages().into_iter().map(|seen| (seen.id.clone(), seen)).collect();
        // Claims, true and forged, are read apart from that; so are pages that do not help.
        let reads = 2.0 * (sends as f64 / NUMBERS as f64 / self.per_second);
        let bound = LONGEST + Duration::from_secs_f64(reads) + STRAIN;
        loop {
            let here = caller::list(&mut self.client.borrow().clone()).await;
            let wrong: Vec<_> = here.values().filter(|message| !is_true(message, &upstream)).collect();
            if wrong.is_empty() {
                eprintln!("true {:?} after the end, of {bound:?}", ended.elapsed());
                assert_eq!((here.len(), upstream.len()), (sends, sends));
                return here;
            }
            let first = (wrong[0], upstream.get(&wrong[0].upstream_id));
            assert!(ended.elapsed() < bound, "{} are not true within {bound:?}: {first:#?}", wrong.len());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Of no number was more asked, since the start or in any stretch of time, than its rate allows and the burst of a quiet
    /// time. What comes late may make a stretch look busier by as many as may be under way.
    fn assert_budget(&self) {
        let mut polls: BTreeMap<_, Vec<f64>> = BTreeMap::new();
        for seen in self.double.control().requests() {
            if seen.method == "GET" && seen.path.starts_with("/v1/messages/") {
                let at: Timestamp = seen.at.parse().unwrap();
                polls.entry(seen.key_last4).or_default().push(at.duration_since(self.began_at).as_secs_f64());
            }
        }
        eprintln!("polls: {:?} within {:?}", polls.values().map(Vec::len).collect::<Vec<_>>(), self.began.elapsed());
        assert_eq!(polls.len(), NUMBERS);
        for times in polls.values() {
            let mut busiest: f64 = 0.0;
            for (count, at) in times.iter().enumerate() {
                // How far these are behind what the rate would have allowed.
                let behind = count as f64 - self.per_second * at;
                busiest = busiest.max(-behind);
                // Times are told in milliseconds.
                assert!(behind <= self.per_second + 1.0, "{count} polls within {at} s of the start");
                assert!(behind + busiest <= self.per_second + IN_FLIGHT as f64 + 1.0, "too many polls up to {at} s");
            }
        }
    }

    /// Of what was made up, all that shows is that somebody said so.
    async fn assert_inbox(&self, forged: &Forged, messages: &BTreeMap<String, v1::Message>) {
        let channel = self.place.channel(self.place.endpoint()).await;
        let mut client = InboxServiceClient::with_interceptor(channel, Bearer);
        let request =
            InboxRequest { start: Some(InboxStart::Position(v1::Position::Earliest.into())), ..Default::default() };
        let mut frames = client.stream_inbound_events(request).await.unwrap().into_inner();
        let ours: BTreeSet<_> =
            messages.values().flat_map(|message| [&message.upstream_id, &message.external_id]).collect();
        let mut missing = forged.made_up.clone();
        while !missing.is_empty() {
            let next = timeout(PATIENCE, frames.message()).await.unwrap_or_else(|_| panic!("untold: {missing:?}"));
            match next.unwrap().unwrap().frame.unwrap() {
                InboxFrame::Heartbeat(_) => {}
                InboxFrame::Unattributed(told) => {
                    let sure = told.status() == Sent;
                    assert!(sure || !told.verified, "taken at its word: {told:?}");
                    let known = ours.contains(&told.upstream_id) || ours.contains(&told.external_id);
                    let made_up = [told.upstream_id.clone(), told.external_id.clone()];
                    let made_up = made_up.iter().any(|id| missing.remove(id) || forged.made_up.contains(id));
                    assert!(known || made_up, "of nobody: {told:?}");
                }
                other => panic!("nobody told of that: {other:?}"),
            }
        }
    }
}

/// How a message to this recipient ends.
fn end_of(recipient: &str) -> Option<(MessageStatus, &'static str)> {
    let (.., told) = ENDINGS.iter().find(|(ending, ..)| recipient.ends_with(ending))?;
    told.last().copied()
}

/// Whether a message stands here where it stands at the double, for the same reason and under the same ids.
fn is_true(message: &v1::Message, upstream: &HashMap<String, SeenMessage>) -> bool {
    let Some(seen) = upstream.get(&message.upstream_id) else { return false };
    let code = message.failure.as_ref().map(|failure| failure.raw_code.as_str());
    let external = seen.external_id.as_deref().unwrap_or_default();
    message.status() == status_of(seen) && code == seen.error_code.as_deref() && message.external_id == external
}

/// The log tells every fact of every message once, and none that is not one.
fn assert_log(log: &[Heard], messages: &BTreeMap<String, v1::Message>, answered: &BTreeMap<String, String>) {
    let facts: BTreeSet<_> = log.iter().map(Heard::fact).collect();
    assert_eq!(facts.len(), log.len(), "a fact was told twice");
    let mut told: BTreeMap<&str, BTreeSet<(MessageStatus, &str)>> = BTreeMap::new();
    for (id, status, code) in facts {
        told.entry(id).or_default().insert((status, code));
    }
    assert_eq!((told.len(), messages.len()), (answered.len(), answered.len()));
    for (id, ending) in answered {
        let (.., tells) = ENDINGS.iter().find(|(known, ..)| known == ending).unwrap();
        let mut expected: BTreeSet<_> =
            [(Pending, ""), (Queued, "")].into_iter().chain(tells.iter().copied()).collect();
        // A failure that was overcome is not told any more by who is asked later.
        if ending == "0005" && !told[id.as_str()].contains(&(Failed, UNCONFIRMED)) {
            expected.remove(&(Failed, UNCONFIRMED));
        }
        // Where the machine is slow an answer may come too late; the doubt is settled then, like every other.
        let doubt = told[id.as_str()].get(&(InDoubt, "")).copied();
        expected.extend(doubt);
        assert_eq!(told[id.as_str()], expected, "{id} {ending}");
    }
    let ends: BTreeMap<_, _> = log.iter().map(|heard| (heard.id.as_str(), heard.current)).collect();
    let here: BTreeMap<_, _> = messages.iter().map(|(id, message)| (id.as_str(), message.status())).collect();
    assert_eq!(ends, here, "who hears all updates knows where each message stands");
}

/// Whoever asks for one message is told the same.
async fn assert_got(client: &mut caller::Client, messages: &BTreeMap<String, v1::Message>) {
    for message in messages.values().take(200) {
        let key = Some(v1::get_message_request::Key::MessageId(message.message_id.clone()));
        let got = client.get_message(v1::GetMessageRequest { key, refresh: false }).await.unwrap().into_inner();
        assert_eq!(got.message.as_ref(), Some(message));
    }
}

/// Nothing that was forged shows, and no end that a webhook told was taken at its word.
fn assert_not_forged(log: &[Heard], messages: &BTreeMap<String, v1::Message>) {
    for heard in log {
        assert!(heard.code != FORGED && heard.at != FORGED_AT, "forged: {heard:?}");
        let told = matches!(heard.status, Delivered | Read | Failed) && heard.origin != Origin::Poll;
        assert!(!told, "not read back: {heard:?}");
    }
    for message in messages.values() {
        let times = [message.sent_time, message.delivered_time, message.read_time, message.failed_time];
        assert!(times.iter().flatten().all(|time| time.seconds != FORGED_AT), "forged: {message:?}");
    }
}
