//! One peer, as the transport knows it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

use parking_lot::Mutex;
use prometheus::IntCounter;
use quorate_api::raftpb::{Message, MessageType};
use quorate_api::urls::Url;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;

use super::outbox::{Outbox, Pushed};
use super::settings::{PIPELINE_MESSAGES_MAX, PeerInfo};
use super::stream_body::Channel;
use crate::metrics;

/// A peer. Its tasks end with [`Remote::close`].
pub(super) struct Remote {
    pub(super) id: u64,
    pub(super) standing: Standing,
    /// Bytes sent and received.
    pub(super) sent: IntCounter,
    pub(super) received: IntCounter,
    urls: Mutex<Urls>,
    append: Outbox,
    message: Outbox,
    pipeline: mpsc::Sender<Message>,
    /// Wakes the task that tells the member of lost messages.
    lost: Notify,
    /// How many of the two streams that the peer sends us are up.
    streams_up: AtomicU8,
    /// Whether somebody else answers where the peer should.
    is_doubted: AtomicBool,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// How a peer is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The membership has it.
    Member,
    /// It has sent something. It is answered by POST, and not dialled for streams.
    Stranger,
}

/// A peer's addresses; the one that answers is kept.
struct Urls {
    urls: Vec<Url>,
    next: usize,
}

impl Remote {
    /// A peer, and the other end of its pipeline.
    pub(super) fn new(info: &PeerInfo, standing: Standing) -> (Arc<Self>, mpsc::Receiver<Message>) {
        let (pipeline, posts) = mpsc::channel(PIPELINE_MESSAGES_MAX);
        let remote = Self {
            id: info.id,
            standing,
            sent: metrics::peer_sent(info.id),
            received: metrics::peer_received(info.id),
            urls: Mutex::new(Urls { urls: usable(&info.urls), next: 0 }),
            append: Outbox::default(),
            message: Outbox::default(),
            pipeline,
            lost: Notify::new(),
            streams_up: AtomicU8::new(0),
            is_doubted: AtomicBool::new(false),
            tasks: Mutex::new(Vec::new()),
        };
        (Arc::new(remote), posts)
    }

    /// The task ends with the peer.
    pub(super) fn own(&self, task: AbortHandle) {
        let mut tasks = self.tasks.lock();
        tasks.retain(|task| !task.is_finished());
        tasks.push(task);
    }

    /// The peer is gone. What waits for its streams still goes out: a member that is removed
    /// learns so of its removal.
    pub(super) fn close(&self) {
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
        self.append.close();
        self.message.close();
    }

    pub(super) fn outbox(&self, channel: Channel) -> &Outbox {
        match channel {
            Channel::Append => &self.append,
            Channel::Message => &self.message,
        }
    }

    /// Hands a message to the best stream there is, or to the pipeline.
    pub(super) fn send(&self, message: Message) {
        let mut pushed = Pushed::Returned(message);
        for channel in [Channel::Append, Channel::Message] {
            let Pushed::Returned(message) = pushed else { break };
            pushed = if channel == Channel::Append && message.r#type() != MessageType::MsgApp {
                Pushed::Returned(message)
            } else {
                self.outbox(channel).push(message)
            };
        }
        let is_dropped = match pushed {
            Pushed::Taken => false,
            Pushed::Dropped => true,
            Pushed::Returned(message) => self.pipeline.try_send(message).is_err(),
        };
        if is_dropped {
            self.note_lost();
        }
    }

    /// A message may have been lost: the member will be told.
    pub(super) fn note_lost(&self) {
        metrics::peer_sent_failure(self.id);
        self.lost.notify_one();
    }

    /// Waits until a message may have been lost.
    pub(super) async fn lost(&self) {
        self.lost.notified().await;
    }

    /// The address to try; `None` if the peer has none that is usable.
    pub(super) fn url(&self) -> Option<Url> {
        let urls = self.urls.lock();
        let position = urls.next.checked_rem(urls.urls.len())?;
        urls.urls.get(position).cloned()
    }

    /// This address does not answer: the next one is tried.
    pub(super) fn avoid(&self, url: &Url) {
        let mut urls = self.urls.lock();
        let current = urls.next.checked_rem(urls.urls.len());
        if current.and_then(|position| urls.urls.get(position)) == Some(url) {
            urls.next = urls.next.wrapping_add(1);
        }
    }

    /// The peer has moved.
    pub(super) fn set_urls(&self, texts: &[String]) {
        let usable = usable(texts);
        let mut urls = self.urls.lock();
        if urls.urls != usable {
            *urls = Urls { urls: usable, next: 0 };
        }
    }

    /// A stream of the peer is up; says whether it is the first.
    pub(super) fn stream_up(&self) -> bool {
        self.streams_up.fetch_add(1, Relaxed) == 0
    }

    /// A stream of the peer has ended; says whether it was the last.
    pub(super) fn stream_down(&self) -> bool {
        self.streams_up.fetch_sub(1, Relaxed) == 1
    }

    /// Whether somebody else answers where the peer should.
    pub(super) fn is_doubted(&self) -> bool {
        self.is_doubted.load(Relaxed)
    }

    pub(super) fn set_doubted(&self, is_doubted: bool) {
        self.is_doubted.store(is_doubted, Relaxed);
    }

    pub(super) fn is_connected(&self) -> bool {
        self.streams_up.load(Relaxed) > 0
    }
}

/// The addresses that are addresses. A membership can hold others: etcd does not check them all.
fn usable(urls: &[String]) -> Vec<Url> {
    urls.iter().filter_map(|url| Url::parse(url).ok()).collect()
}
