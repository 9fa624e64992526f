//! `kill -9` between every two steps of a send, and what the next process makes of it.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use pilotgate::{
    proto::v1::{Handoff, Message, MessageStatus},
    sandbox::{self, Answered, Fault, FaultKind, On, Sandbox, SeenRequest, Unanswered},
};
use tokio::sync::watch;

use crate::{
    caller::{self, Follower, Send},
    place::{self, Place, eventually},
};

/// To whom everything is delivered, and who reads it.
const READER: &str = "+5511987650101";

/// How long the double keeps a request that is pending when its caller dies. The next process meets it.
const PENDING_MS: u64 = 400;

/// When a gateway is killed.
#[derive(Clone, Copy, Debug)]
enum Kill {
    /// At a call of its store.
    At(&'static str),
    /// While its request is pending upstream, which carries it out...
    Pending,
    /// ...or refuses it, unheard.
    PendingInVain,
}

/// Whether the message was recorded by the time of the kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record {
    /// No: only a repeated call sends it.
    None,
    /// Yes, and what became of it is not known.
    Open,
    /// Yes, with what became of it.
    Settled,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    handoff: Handoff,
    /// The first call upstream is carried out, and its reply lost.
    reply_lost: bool,
    kills: &'static [Kill],
    record: Record,
    /// How many messages the double has accepted by then.
    accepted: usize,
}

const fn case(handoff: Handoff, kills: &'static [Kill], record: Record, accepted: usize) -> Case {
    Case { handoff, reply_lost: false, kills, record, accepted }
}

const fn after_a_lost_reply(case: Case) -> Case {
    Case { reply_lost: true, ..case }
}

use Handoff::{Direct, Queued};
use Kill::{At, Pending, PendingInVain};

const CASES: &[Case] = &[
    case(Direct, &[At("before accept 1")], Record::None, 0),
    case(Direct, &[At("after accept 1")], Record::Open, 0),
    case(Direct, &[Pending], Record::Open, 0),
    case(Direct, &[PendingInVain], Record::Open, 0),
    case(Direct, &[At("before settle 1")], Record::Open, 1),
    case(Direct, &[At("after settle 1")], Record::Settled, 1),
    // Between two attempts: the first one's doubt is recorded by the first settle.
    after_a_lost_reply(case(Direct, &[At("before settle 1")], Record::Open, 1)),
    after_a_lost_reply(case(Direct, &[At("after settle 1")], Record::Open, 1)),
    after_a_lost_reply(case(Direct, &[At("before settle 2")], Record::Open, 1)),
    after_a_lost_reply(case(Direct, &[At("after settle 2")], Record::Settled, 1)),
    // And again while the next process finds out about it.
    case(Direct, &[At("after accept 1"), At("before settle 1")], Record::Open, 0),
    case(Direct, &[At("before settle 1"), At("after settle 1")], Record::Open, 1),
    case(Queued, &[At("before accept 1")], Record::None, 0),
    case(Queued, &[At("after accept 1")], Record::Open, 0),
    case(Queued, &[At("after lease 1")], Record::Open, 0),
    case(Queued, &[Pending], Record::Open, 0),
    case(Queued, &[PendingInVain], Record::Open, 0),
    case(Queued, &[At("before settle_lease 1")], Record::Open, 1),
    case(Queued, &[At("after settle_lease 1")], Record::Settled, 1),
    after_a_lost_reply(case(Queued, &[At("after settle_lease 1")], Record::Open, 1)),
    after_a_lost_reply(case(Queued, &[At("after lease 2")], Record::Open, 1)),
    after_a_lost_reply(case(Queued, &[At("before settle_lease 2")], Record::Open, 1)),
    case(Queued, &[At("after lease 1"), At("after lease 1"), At("before settle_lease 1")], Record::Open, 1),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_between_any_two_steps_neither_loses_nor_repeats() {
    stream::iter(CASES).for_each_concurrent(4, |case| Box::pin(case.holds())).await;
}

impl Case {
    async fn holds(&self) {
        let double = sandbox::open(place::double(sandbox::Switches::default())).await.unwrap();
        let place = Place::in_front_of(&double).await;
        let send = Send { number: 0, request_id: "r-1".to_owned(), phone: READER.to_owned(), handoff: self.handoff };

        let told = self.crash(&place, &double, &send).await;
        let sends_before = sends(&double).len();
        assert_eq!(double.control().messages().len(), self.accepted, "{self:?}: accepted by the time of the kill");

        let _gateway = place.serve();
        let mut client = place.client().await;
        let now = watch::channel(client.clone()).1;
        let follower = Follower::start(now.clone());
        let recorded: Vec<_> = caller::list(&mut client).await.into_values().collect();
        self.assert_recorded(&recorded);
        if self.handoff == Queued && self.record != Record::None {
            // Nobody but the new process does anything.
            eventually(&format!("{self:?}: the queue hands over"), async || is_taken(&double).then_some(())).await;
        }
        let answer = caller::send(&now, &send).await;
        let message = answer.message.unwrap();
        if let Some(recorded) = recorded.first() {
            assert_eq!(
                message.message_id, recorded.message_id,
                "{self:?}: the repeated call is about the same message"
            );
        }
        if let Some(told) = told {
            assert_eq!(message.message_id, told.message_id, "{self:?}: what was answered before the kill holds");
        }
        match self.record {
            Record::None => assert!(!answer.replayed, "{self:?}"),
            Record::Settled => {
                assert!(answer.replayed, "{self:?}");
                assert_eq!(sends(&double).len(), sends_before, "{self:?}: a settled send calls nobody again");
            }
            Record::Open => {}
        }
        self.assert_ends_well(&double, &mut client, &follower, &message.message_id).await;
    }

    /// Sends, with all the kills. Returns what the caller was told before the first one.
    async fn crash(&self, place: &Place, double: &Sandbox, send: &Send) -> Option<Message> {
        let fault = |kind| {
            let fault = Fault { times: Some(1), ms: Some(PENDING_MS), status: Some(500), ..Fault::new(On::Send, kind) };
            double.control().add_fault(fault).unwrap();
        };
        if self.reply_lost {
            fault(FaultKind::DropReply);
        }
        let first = self.kills[0];
        let doomed = match first {
            At(moment) => place.serve_until(moment),
            Pending | PendingInVain => {
                fault(FaultKind::Delay);
                if matches!(first, PendingInVain) {
                    fault(FaultKind::Http);
                }
                place.serve()
            }
        };
        let mut client = place.client().await;
        let request = send.request();
        let call = tokio::spawn(async move { client.send_message(request).await });
        if let At(_) = first {
            doomed.killed(place).await;
        } else {
            let pending = |seen: &SeenRequest| seen.status == Answered::Not(Unanswered::Pending);
            let is_pending = async || sends(double).iter().any(pending).then_some(());
            eventually("the request is pending upstream", is_pending).await;
            doomed.kill();
        }
        for kill in &self.kills[1..] {
            let At(moment) = kill else { panic!("{self:?}: only the first one waits for the double") };
            place.serve_until(moment).killed(place).await;
        }
        let told = call.await.unwrap();
        let unanswered = self.handoff == Direct || matches!(first, At("before accept 1" | "after accept 1"));
        assert!(!unanswered || told.is_err(), "{self:?}: answered before the kill");
        told.ok().and_then(|told| told.into_inner().message)
    }

    /// What the next process finds, before anybody repeats anything.
    fn assert_recorded(&self, recorded: &[Message]) {
        use MessageStatus::{Delivered, InDoubt, Pending, Read, Sent};
        let statuses: Vec<_> = recorded.iter().map(Message::status).collect();
        let holds = match (self.record, statuses.as_slice()) {
            (Record::None, []) => true,
            (Record::Open, [status]) if self.handoff == Direct && self.accepted == 0 => *status == InDoubt,
            // A webhook may have told more already, and the queue may have been quick.
            (Record::Open, [_]) => true,
            (Record::Settled, [MessageStatus::Queued | Sent | Delivered | Read]) => true,
            _ => false,
        };
        assert!(holds, "{self:?}: found {statuses:?} ({Pending:?} is no answer)");
    }

    /// One message on both sides, in the same state, under one key; and no status was kept from whoever follows.
    async fn assert_ends_well(&self, double: &Sandbox, client: &mut caller::Client, follower: &Follower, id: &str) {
        let read = async || {
            let listed = caller::list(client).await;
            let message = listed.get(id)?.clone();
            (message.status() == MessageStatus::Read).then_some((listed.len(), message))
        };
        let (count, message) = eventually(&format!("{self:?}: READ"), read).await;
        let seen = double.control().messages();
        assert_eq!((count, seen.len()), (1, 1), "{self:?}: messages here and upstream");
        assert_eq!(seen[0].idempotency_key, Some(format!("pilotgate-{id}")), "{self:?}");
        assert_eq!((&seen[0].id, seen[0].accepted), (&message.upstream_id, 1), "{self:?}");
        use MessageStatus::{Delivered, InDoubt, Pending, Queued, Read, Sent};
        let mut expected = BTreeSet::from([Pending, Queued, Sent, Delivered, Read]);
        // A queued message is in doubt only once it was leased; a direct one has nobody to ask but its caller.
        let leased = self.handoff == Direct || !matches!(self.kills, [At("after accept 1")]);
        if self.reply_lost || (self.record == Record::Open && leased) {
            expected.insert(InDoubt);
        }
        // Those that the double told while nobody listened come late, and last.
        let heard = async || {
            let told: Vec<_> = follower.told().into_iter().map(|(_, status)| status).collect();
            told.contains(&Read).then_some(()).filter(|()| told.len() >= expected.len()).map(|()| told)
        };
        let told = eventually(&format!("{self:?}: the follower hears {expected:?}"), heard).await;
        assert_eq!(told.iter().copied().collect::<BTreeSet<_>>(), expected, "{self:?}");
        assert_eq!(told.len(), expected.len(), "{self:?}: each once, but {told:?}");
    }
}

fn is_taken(double: &Sandbox) -> bool {
    !double.control().messages().is_empty()
}

fn sends(double: &Sandbox) -> Vec<SeenRequest> {
    let mut seen = double.requests();
    seen.retain(|request| request.path == "/v1/messages/send");
    seen
}
