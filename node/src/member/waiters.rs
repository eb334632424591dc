//! Who waits for which request.
//!
//! ```text
//!   applier ── answers of a batch ──► mailbox of a thread ── one wake-up ──► its requests' tasks
//! ```
//! Waking a task from another thread costs a system call; waking it from its own thread does not.
//! So a thread that serves clients has a mailbox, which is woken once for all answers of a batch.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;
use quorate_api::Error;
use quorate_replica::{RequestId, RequestIds};
use quorate_store::entry::Reply;
use tokio::sync::{Notify, oneshot};

/// Makers of names, each with a lane of its own, so that threads rarely meet at one.
const LANES: u8 = 8;

/// Maps of waiting requests, so that threads rarely meet at one.
const SHARDS: usize = 16;

/// Answers that are given one by one: a mailbox would be a step more.
const ANSWERS_SINGLE_MAX: usize = 1;

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

/// A request that has no answer yet.
struct Waiter {
    sender: oneshot::Sender<Answer>,
    /// Of the thread on which it waits, if that has one.
    mailbox: Option<Arc<Mailbox>>,
}

impl Waiter {
    fn answer(self, answer: Answer) {
        // Whoever waited may have gone.
        let _ = self.sender.send(answer);
    }
}

type Shard = Mutex<HashMap<RequestId, Waiter>>;

/// Answers on their way to the thread where their requests wait.
#[derive(Default)]
struct Mailbox {
    arrived: Mutex<Vec<(Waiter, Answer)>>,
    news: Notify,
}

thread_local! {
    static MAILBOX: RefCell<Option<Arc<Mailbox>>> = const { RefCell::new(None) };
}

thread_local! {
    /// Clients' connections of this thread.
    static CONNECTIONS: Cell<usize> = const { Cell::new(0) };
}

/// A client's connection, for as long as it is served by the thread that made this.
#[derive(Debug)]
pub(crate) struct Connected(());

impl Connected {
    /// One more on this thread.
    pub(crate) fn here() -> Self {
        CONNECTIONS.set(CONNECTIONS.get() + 1);
        Self(())
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        CONNECTIONS.set(CONNECTIONS.get() - 1);
    }
}

/// Whether this thread serves one client, and nobody else: what it waits for keeps no other waiting.
pub(super) fn serves_one_client() -> bool {
    MAILBOX.with_borrow(Option::is_some) && CONNECTIONS.get() <= 1
}

/// From now on, requests of this thread get their answers from here. To be run on the thread's own
/// runtime for as long as it has requests; never ends.
pub(crate) async fn deliver() {
    let mailbox = Arc::new(Mailbox::default());
    MAILBOX.with_borrow_mut(|own| *own = Some(mailbox.clone()));
    loop {
        mailbox.news.notified().await;
        let arrived = std::mem::take(&mut *mailbox.arrived.lock());
        for (waiter, answer) in arrived {
            waiter.answer(answer);
        }
    }
}

/// The requests of this member's clients that have no answer yet.
pub(super) struct Waiters {
    shards: Vec<Shard>,
    count: AtomicUsize,
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
            count: AtomicUsize::new(0),
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
        let mailbox = MAILBOX.with_borrow(Clone::clone);
        self.shard(request).lock().insert(request, Waiter { sender, mailbox });
        self.count.fetch_add(1, Relaxed);
        receiver
    }

    /// How many requests wait.
    pub(super) fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    fn take(&self, request: RequestId) -> Option<Waiter> {
        let waiter = self.shard(request).lock().remove(&request)?;
        self.count.fetch_sub(1, Relaxed);
        Some(waiter)
    }

    /// Whether somebody waits for this request.
    pub(super) fn has(&self, request: RequestId) -> bool {
        self.shard(request).lock().contains_key(&request)
    }

    /// Answer a request, if somebody waits for it.
    pub(super) fn answer(&self, request: RequestId, answer: Answer) {
        if let Some(waiter) = self.take(request) {
            waiter.answer(answer);
        }
    }

    /// Answer requests, as far as somebody waits for them.
    pub(super) fn answer_all(&self, answers: impl ExactSizeIterator<Item = (RequestId, Answer)>) {
        if answers.len() <= ANSWERS_SINGLE_MAX {
            return answers.for_each(|(request, answer)| self.answer(request, answer));
        }
        let mut woken: Vec<Arc<Mailbox>> = Vec::new();
        for (request, answer) in answers {
            let Some(waiter) = self.take(request) else { continue };
            let Some(mailbox) = waiter.mailbox.clone() else {
                waiter.answer(answer);
                continue;
            };
            mailbox.arrived.lock().push((waiter, answer));
            if !woken.iter().any(|known| Arc::ptr_eq(known, &mailbox)) {
                woken.push(mailbox);
            }
        }
        for mailbox in woken {
            mailbox.news.notify_one();
        }
    }

    /// Answer everybody: the member ends.
    pub(super) fn fail_all(&self, error: Error) {
        for shard in &self.shards {
            let waiters = std::mem::take(&mut *shard.lock());
            self.count.fetch_sub(waiters.len(), Relaxed);
            for (_, waiter) in waiters {
                waiter.answer(Answer::Failed(error));
            }
        }
    }

    fn shard(&self, request: RequestId) -> &Shard {
        // The low bits are the lane, the next ones count.
        &self.shards[(request.0 >> 4) as usize % SHARDS]
    }
}
