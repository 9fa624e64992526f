//! Subscribers of every kind who watch the same messages, and have to end with the same truth.

use std::{
    collections::BTreeSet,
    mem,
    sync::{Arc, Mutex},
};

use pilotgate::proto::v1::MessageStatus::{Failed, Read};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use crate::{
    place::{PATIENCE, eventually},
    subscriber::{self, Crowd, Heard, Notes, Run},
    webhooks::Scene,
};

/// Subscribers that are there from the beginning.
pub struct Audience {
    live: Notes,
    restless: Notes,
    slow: Notes,
    /// Tells the slow one that nothing more comes for which it would wait.
    over: watch::Sender<bool>,
    leaving: Arc<Mutex<Vec<Run>>>,
}

/// What became of the subscription that was taken over, and of streams that wait for one message's end.
pub struct TakenOver {
    runs: Arc<Mutex<Vec<Run>>>,
    finals: JoinSet<Vec<Heard>>,
    /// The messages that these wait for.
    ids: BTreeSet<String>,
}

impl Audience {
    pub async fn gather(scene: &Scene, crowd: &mut Crowd) -> Self {
        let (live, restless, slow) = (Notes::default(), Notes::default(), Notes::default());
        crowd.spawn(subscriber::live(scene.client.borrow().clone(), live.clone()));
        let narrow = scene.narrow().await;
        crowd.spawn(subscriber::restless(narrow.clone(), restless.clone(), 60));
        let (over, ends) = watch::channel(false);
        crowd.spawn(subscriber::slow(narrow.clone(), slow.clone(), live.clone(), 500, ends));
        let leaving = Arc::<Mutex<Vec<Run>>>::default();
        let (mut leaver, runs) = (narrow, Arc::clone(&leaving));
        // Made before anything is sent: a new subscription begins with what comes next.
        for name in ["leaving", "handed-over"] {
            drop(subscriber::open(&mut leaver, subscriber::named(name)).await);
        }
        crowd.spawn(async move {
            loop {
                subscriber::carry(&mut leaver, "leaving", 110, &runs).await;
            }
        });
        Self { live, restless, slow, over, leaving }
    }

    /// A subscription that changes hands in the middle; and then some streams until messages are final.
    pub async fn take_over(&self, scene: &Scene, sends: usize, crowd: &mut Crowd) -> TakenOver {
        let runs = Arc::<Mutex<Vec<Run>>>::default();
        let (mut first, mine) = (scene.narrow().await, Arc::clone(&runs));
        let carried = tokio::spawn(async move {
            subscriber::carry(&mut first, "handed-over", usize::MAX, &mine).await;
        });
        scene.answered.subscribe().wait_for(|count| *count > sends / 2).await.unwrap();
        let committed = eventually("half of it is acknowledged", async || {
            runs.lock().unwrap().first().is_some_and(|run| run.committed > 0).then_some(())
        });
        committed.await;
        let (mut second, theirs) = (scene.narrow().await, Arc::clone(&runs));
        crowd.spawn(async move { subscriber::carry(&mut second, "handed-over", usize::MAX, &theirs).await });
        timeout(PATIENCE, carried).await.expect("the older stream ends").unwrap();
        let ids: BTreeSet<_> = self.live.lock().iter().rev().map(|heard| heard.id.clone()).take(200).collect();
        let mut finals = JoinSet::new();
        for id in &ids {
            finals.spawn(subscriber::until_final(scene.client.borrow().clone(), id.clone()));
        }
        TakenOver { runs, finals, ids }
    }

    pub async fn assert_heard(self, log: &[Heard], taken: TakenOver, crowd: &mut Crowd) {
        self.over.send_replace(true);
        let last = |runs: &Mutex<Vec<Run>>| {
            let runs = runs.lock().unwrap();
            runs.iter().rev().find_map(|run| run.heard.last()) == log.last()
        };
        let all = eventually("all subscribers hear the end", async || {
            crowd.check();
            let counts = [&self.live, &self.restless, &self.slow].map(Notes::count);
            let heard = counts.iter().all(|count| *count >= log.len()) && last(&self.leaving) && last(&taken.runs);
            heard.then_some(())
        });
        all.await;
        for (name, notes) in [("live", &self.live), ("restless", &self.restless), ("slow", &self.slow)] {
            let heard = mem::take(&mut *notes.lock());
            let differs = heard.iter().zip(log).position(|(heard, logged)| heard != logged);
            assert_eq!((heard.len(), differs), (log.len(), None), "{name}: not what the log tells, once and in order");
        }
        let runs = self.leaving.lock().unwrap().clone();
        assert!(runs.len() > 1, "it never left");
        subscriber::assert_resumed("leaving", &runs, log);
        let runs = taken.runs.lock().unwrap().clone();
        assert_eq!(runs.len(), 2);
        subscriber::assert_resumed("handed-over", &runs, log);
        assert_final(taken.finals, &taken.ids, log).await;
    }
}

/// Each of these streams was told of its message what the log tells, up to its end.
async fn assert_final(mut finals: JoinSet<Vec<Heard>>, ids: &BTreeSet<String>, log: &[Heard]) {
    let is_final = |heard: &&Heard| matches!(heard.current, Failed | Read) && ids.contains(&heard.id);
    let ends: BTreeSet<_> = log.iter().filter(is_final).map(|heard| &heard.id).collect();
    assert!(ends.len() > ids.len() / 2, "hardly one of {} is final", ids.len());
    // The others wait for ever.
    for _ in &ends {
        let heard = timeout(PATIENCE, finals.join_next()).await.expect("the stream ends").unwrap().unwrap();
        let logged: Vec<_> = log.iter().filter(|logged| logged.id == heard[0].id).cloned().collect();
        assert!(logged.starts_with(&heard), "{heard:?}\nin the log: {logged:?}");
        assert!(ends.contains(&heard[0].id) && heard.iter().any(|heard| is_final(&heard)), "too early: {heard:?}");
    }
}
