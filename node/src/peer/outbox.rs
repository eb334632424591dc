//! Messages that wait for a stream which the peer has asked for.

use std::collections::VecDeque;
use std::task::Waker;

use parking_lot::Mutex;
use quorate_api::raftpb::Message;

use super::settings::{OUTBOX_BYTES_MAX, OUTBOX_MESSAGES_MAX};

/// Bytes of a message besides its entries' and its context's, rounded up.
const MESSAGE_OVERHEAD_BYTES: usize = 128;

/// The queue of one stream. Without a stream that takes from it, it takes nothing.
#[derive(Default)]
pub(super) struct Outbox {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Message>,
    bytes: usize,
    /// Counts streams; the last one owns the queue.
    streams: u64,
    is_attached: bool,
    /// What waits still goes out, and no more comes.
    is_closed: bool,
    waker: Option<Waker>,
}

/// The stream that owns a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// What became of a message.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is looked at at once and kept nowhere")]
pub(super) enum Pushed {
    /// It waits.
    Taken,
    /// It is gone: the queue is full.
    Dropped,
    /// There is no stream.
    Returned(Message),
}

/// What a stream finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Messages.
    Messages,
    /// Nothing; the waker is called when there is something.
    Nothing,
    /// Another stream owns the queue, or it is closed and empty.
    Ended,
}

impl Outbox {
    pub(super) fn push(&self, message: Message) -> Pushed {
        let mut state = self.state.lock();
        if !state.is_attached || state.is_closed {
            return Pushed::Returned(message);
        }
        let bytes = size(&message);
        let is_full = state.waiting.len() >= OUTBOX_MESSAGES_MAX
            || (!state.waiting.is_empty() && state.bytes.saturating_add(bytes) > OUTBOX_BYTES_MAX);
        if is_full {
            return Pushed::Dropped;
        }
        state.bytes = state.bytes.saturating_add(bytes);
        state.waiting.push_back(message);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Pushed::Taken
    }

    /// A stream takes over. What waited for its predecessor is lost; says whether it was anything.
    pub(super) fn attach(&self) -> (Ticket, bool) {
        let mut state = self.state.lock();
        state.streams += 1;
        let lost = state.detach();
        state.is_attached = true;
        (Ticket(state.streams), lost)
    }

    #[cfg(test)]
    pub(super) fn is_attached(&self) -> bool {
        self.state.lock().is_attached
    }

    /// A stream has ended; says whether anything was lost with it.
    pub(super) fn detach(&self, ticket: Ticket) -> bool {
        let mut state = self.state.lock();
        state.streams == ticket.0 && state.detach()
    }

    /// Takes no more. The stream ends once what waits is on its way.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// Takes messages until they are this many bytes or more.
    pub(super) fn take(
        &self,
        ticket: Ticket,
        bytes_wanted: usize,
        waker: &Waker,
        into: &mut Vec<Message>,
    ) -> Found {
        let mut state = self.state.lock();
        if state.streams != ticket.0 {
            return Found::Ended;
        }
        let mut taken = 0_usize;
        while taken < bytes_wanted {
            let Some(message) = state.waiting.pop_front() else { break };
            let bytes = size(&message);
            taken = taken.saturating_add(bytes);
            state.bytes = state.bytes.saturating_sub(bytes);
            into.push(message);
        }
        if taken > 0 {
            return Found::Messages;
        }
        if state.is_closed {
            return Found::Ended;
        }
        state.waker = Some(waker.clone());
        Found::Nothing
    }
}

impl State {
    fn detach(&mut self) -> bool {
        self.is_attached = false;
        self.bytes = 0;
        let lost = !self.waiting.is_empty();
        self.waiting.clear();
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        lost
    }
}

/// About how many bytes a message is.
fn size(message: &Message) -> usize {
    let entries: usize = message
        .entries
        .iter()
        .map(|entry| MESSAGE_OVERHEAD_BYTES + entry.data.as_ref().map_or(0, |data| data.len()))
        .sum();
    MESSAGE_OVERHEAD_BYTES + entries + message.context.as_ref().map_or(0, |context| context.len())
}
