//! A store of its own, followers over it, and frames that are as plain as can be.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use pilotgate::{
    domain::{
        caller::Caller,
        event::Event,
        message::{Handoff, Origins},
        principal::{Grant, NumberScope, Permission, Principal},
        recipient::Recipient,
        sources::Sources,
    },
    fanout::{Fanout, Filter, Follow, FollowRequest, Frame, Notice, OnExpired, Options, Start, Wire},
    identity::Identity,
    store::{self, Draft, Store},
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// An entry's frame is its position and so many bytes more.
pub struct Plain {
    more: usize,
    pub bodies: AtomicUsize,
    pub frames: AtomicUsize,
}

impl Wire for Plain {
    fn body(&self, event: &Event) -> Vec<u8> {
        self.bodies.fetch_add(1, Ordering::Relaxed);
        event.position.0.to_be_bytes().to_vec()
    }

    fn frame(&self, _: &str, body: &[u8], frames: &mut Vec<u8>) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        frames.extend_from_slice(body);
        frames.resize(frames.len() + self.more, 0);
    }
}

pub struct World {
    pub store: Arc<dyn Store>,
    pub wire: Arc<Plain>,
    pub fanout: Fanout,
    pub draining: CancellationToken,
    sources: Sources,
    _directory: TempDir,
}

impl World {
    /// The store keeps so many entries in memory, and frames are this many bytes longer than they need be.
    pub async fn new(recent: usize, more: usize, options: Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = store::Options { recent, ..store::Options::at(directory.path().join("data")) };
        let store = store::open(at).await.unwrap();
        let (sources, draining) = (Sources::system(), CancellationToken::new());
        let wire = Arc::new(Plain { more, bodies: AtomicUsize::new(0), frames: AtomicUsize::new(0) });
        let over = (Arc::clone(&store), Arc::clone(&wire) as Arc<dyn Wire>);
        let fanout = Fanout::spawn(over.0, over.1, sources.clone(), options, draining.clone());
        Self { store, wire, fanout, draining, sources, _directory: directory }
    }

    /// Appends an entry with this label.
    pub async fn append(&self, label: &str) {
        let now = self.sources.now();
        let origins = Origins {
            message_id: self.sources.message_id(now),
            caller: "orders".to_owned().try_into().unwrap(),
            number: "main".to_owned().try_into().unwrap(),
            recipient: Recipient::Phone("+5511999990000".parse().unwrap()),
            request_id: None,
            handoff: Handoff::Direct,
            labels: vec![label.to_owned()],
            metadata: Default::default(),
            create_time: now,
            deliver_at: None,
        };
        self.store
            .accept(Draft { origins, fingerprint: [1; 32], likeness: None, queued: None, limits: Vec::new() })
            .await
            .unwrap();
    }

    /// A follower of entries with these labels that has begun.
    pub async fn follow(&self, start: Start, labels: &[&str]) -> Follow {
        let mut follow = self.fanout.follow(request(start, labels)).await.unwrap();
        let begun = follow.next().await;
        assert!(matches!(begun, Some(Ok(Frame::Notice(Notice::Heartbeat { .. })))), "{begun:?}");
        follow
    }

    /// The positions of the frames in what a follower was given.
    pub fn positions(&self, frames: &[u8]) -> Vec<i64> {
        let word = |frame: &[u8]| i64::from_be_bytes(frame[..8].try_into().unwrap());
        frames.chunks(8 + self.wire.more).map(word).collect()
    }

    /// The positions of the next so many entries.
    pub async fn next(&self, follow: &mut Follow, count: usize) -> Vec<i64> {
        let mut seen = Vec::new();
        let all = async {
            while seen.len() < count {
                match follow.next().await {
                    Some(Ok(Frame::Events(frames))) => seen.extend(self.positions(&frames)),
                    Some(Ok(Frame::Notice(Notice::Heartbeat { .. }))) => {}
                    other => panic!("{other:?}"),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), all).await.expect("not all came");
        seen
    }
}

pub fn request(start: Start, labels: &[&str]) -> FollowRequest {
    let grants = vec![Grant::of(NumberScope::All, vec![Permission::Read])];
    let name: pilotgate::domain::ids::CallerName = "orders".to_owned().try_into().unwrap();
    let identity = Identity::of(vec![Caller { grants, ..Caller::named(name.clone()) }]);
    let sight = identity.visibility(&Principal { caller: name, credential: "test".into(), expires: None });
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    FollowRequest {
        filter: Filter::updates(sight, HashSet::new(), HashSet::new(), HashSet::new(), labels),
        start,
        on_expired: OnExpired::Fail,
        heartbeat: Duration::from_secs(300),
        until_final: false,
        subscription: None,
        retire_at: None,
    }
}
