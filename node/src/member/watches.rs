//! Watch streams of clients over the member's hub.
//!
//! Locks are taken in this order: the store, then the hub, then the streams' wakers.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use quorate_api::etcdserverpb::WatchCreateRequest;
use quorate_store::watch::{
    Backlog, Counts, Error, PollLimits, Polled, StreamId, WatchHub, WatchOptions,
};
use tokio::sync::Notify;

use super::Member;

/// All watch streams of a member.
pub(super) struct Watches {
    hub: Mutex<WatchHub>,
    wakers: Mutex<HashMap<StreamId, Arc<Notify>>>,
}

impl Watches {
    pub(super) fn new(revision: i64, options: WatchOptions) -> Self {
        Self { hub: Mutex::new(WatchHub::new(revision, options)), wakers: Mutex::default() }
    }

    pub(super) fn hub(&self) -> MutexGuard<'_, WatchHub> {
        self.hub.lock()
    }

    /// Wake streams that have news.
    pub(super) fn wake(&self, streams: &[StreamId]) {
        if streams.is_empty() {
            return;
        }
        let wakers = self.wakers.lock();
        for stream in streams {
            if let Some(waker) = wakers.get(stream) {
                waker.notify_one();
            }
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.hub.lock().counts()
    }
}

/// A client's watch stream: closed when it is dropped.
pub struct WatchStream {
    member: Member,
    id: StreamId,
    news: Arc<Notify>,
}

impl std::fmt::Debug for WatchStream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("WatchStream").field("id", &self.id).finish_non_exhaustive()
    }
}

impl WatchStream {
    pub(super) fn open(member: &Member) -> Self {
        let watches = &member.0.watches;
        let id = watches.hub().open_stream();
        let news = Arc::new(Notify::new());
        watches.wakers.lock().insert(id, news.clone());
        Self { member: member.clone(), id, news }
    }

    /// Create a watcher. Its answer comes from [`next`](Self::next).
    ///
    /// # Errors
    /// [`Backlog`] if the client does not read its answers; nothing happened then.
    pub async fn create(&self, request: &WatchCreateRequest) -> Result<(), Backlog> {
        let store = self.member.readable_store().await;
        let taken = self.member.0.watches.hub().create(self.id, store.mvcc(), request);
        drop(store);
        self.news.notify_one();
        taken
    }

    /// Cancel a watcher. Its answer comes from [`next`](Self::next).
    ///
    /// # Errors
    /// [`Backlog`] as in [`create`](Self::create).
    pub async fn cancel(&self, watch_id: i64) -> Result<(), Backlog> {
        let store = self.member.readable_store().await;
        let taken = self.member.0.watches.hub().cancel(self.id, store.mvcc(), watch_id);
        drop(store);
        self.news.notify_one();
        taken
    }

    /// Ask for progress of all watchers.
    pub fn request_progress(&self) {
        self.member.0.watches.hub().request_progress(self.id);
        self.news.notify_one();
    }

    /// The interval of progress notifications has passed.
    pub fn tick_progress(&self) {
        self.member.0.watches.hub().tick_progress(self.id);
        self.news.notify_one();
    }

    /// Whether another request can be taken now; if not, take responses first.
    #[must_use]
    pub fn takes_requests(&self) -> bool {
        self.member.0.watches.hub().takes_requests(self.id)
    }

    /// What there is to say now, perhaps nothing.
    ///
    /// # Errors
    /// If the store is damaged: the member has been told.
    pub async fn poll(&self, limits: PollLimits) -> Result<Polled, Error> {
        let store = self.member.readable_store().await;
        let polled = self.member.0.watches.hub().poll(self.id, store.mvcc(), limits);
        drop(store);
        if let Err(error) = &polled {
            self.member.0.damaged(&error.to_string());
        }
        polled
    }

    /// Wait until there is something to say. Can be dropped while it waits.
    ///
    /// # Errors
    /// If the store is damaged: the member has been told.
    pub async fn next(&self, limits: PollLimits) -> Result<Polled, Error> {
        loop {
            let polled = self.poll(limits).await?;
            if polled.more {
                // What the limits left for another call must not wait for news.
                self.news.notify_one();
            }
            if !polled.responses.is_empty() {
                return Ok(polled);
            }
            self.news.notified().await;
        }
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        let watches = &self.member.0.watches;
        watches.wakers.lock().remove(&self.id);
        watches.hub().close_stream(self.id);
    }
}
