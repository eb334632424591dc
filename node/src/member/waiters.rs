//! Who waits for which request.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;
use quorate_api::Error;
use quorate_replica::{RequestId, RequestIds};
use quorate_store::entry::Reply;
use tokio::sync::oneshot;

/// Makers of names, each with a lane of its own, so that threads rarely meet at one.
const LANES: u8 = 8;

/// Maps of waiting requests, so that threads rarely meet at one.
const SHARDS: usize = 16;

/// What a request comes to.
#[derive(Debug)]
pub(super) enum Answer {
    /// It was applied.
    Reply(Result<Reply, Error>),
    /// The store has all that the read must see.
    Ready,
    /// A lease was renewed.
    Renewed(i64),
    /// What a lease has: granted, left.
    TimeLeft(i64, i64),
    /// This member knows who to ask.
    AskLeader(u64),
    /// The leader is another, as asked.
    Transferred,
    /// It failed.
    Failed(Error),
}

type Shard = Mutex<HashMap<RequestId, oneshot::Sender<Answer>>>;

/// The requests of this member's clients that have no answer yet.
pub(super) struct Waiters {
    shards: Vec<Shard>,
    ids: Vec<Mutex<RequestIds>>,
}

thread_local! {
    static LANE: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Relaxed) % usize::from(LANES)
    };
}

impl Waiters {
    /// For a member that started at `start_ms` on the wall clock.
    pub(super) fn new(member: u64, start_ms: u64) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            ids: (0..LANES)
                .map(|lane| Mutex::new(RequestIds::new(member, start_ms, lane)))
                .collect(),
        }
    }

    /// A name for a request.
    pub(super) fn next_id(&self) -> RequestId {
        LANE.with(|lane| self.ids[*lane].lock().next_id())
    }

    /// Wait for a request that is about to be submitted.
    pub(super) fn wait(&self, request: RequestId) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        self.shard(request).lock().insert(request, sender);
        receiver
    }

    /// Whether somebody waits for this request.
    pub(super) fn has(&self, request: RequestId) -> bool {
        self.shard(request).lock().contains_key(&request)
    }

    /// Answer a request, if somebody waits for it.
    pub(super) fn answer(&self, request: RequestId, answer: Answer) {
        let sender = self.shard(request).lock().remove(&request);
        if let Some(sender) = sender {
            // Whoever waited may have gone.
            let _ = sender.send(answer);
        }
    }

    /// Answer everybody: the member ends.
    pub(super) fn fail_all(&self, error: Error) {
        for shard in &self.shards {
            for (_, sender) in std::mem::take(&mut *shard.lock()) {
                let _ = sender.send(Answer::Failed(error));
            }
        }
    }

    fn shard(&self, request: RequestId) -> &Shard {
        // The low bits are the lane, the next ones count.
        &self.shards[(request.0 >> 4) as usize % SHARDS]
    }
}
