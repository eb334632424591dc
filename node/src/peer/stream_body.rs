//! The body of a stream: what waits for the peer, encoded as it is sent.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use quorate_api::peer::{AppendEncoder, encode_heartbeat, encode_message};
use quorate_api::raftpb::Message;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::body::Broken;
use super::outbox::{Found, Outbox, Ticket};
use super::remote::Remote;
use super::settings::LINK_HEARTBEAT;

/// Bytes of messages that go to the socket at once.
const BATCH_BYTES: usize = 1 << 20;

/// Which of a peer's two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    /// Appends.
    Append,
    /// All else.
    Message,
}

enum Encoder {
    Append(AppendEncoder),
    Message,
}

/// Lives as long as the peer listens, unless it asks for the stream again.
pub(super) struct StreamBody {
    remote: Arc<Remote>,
    channel: Channel,
    ticket: Ticket,
    encoder: Encoder,
    heartbeat: Interval,
    batch: Vec<Message>,
    buffer: BytesMut,
}

impl StreamBody {
    pub(super) fn new(remote: Arc<Remote>, channel: Channel) -> Self {
        let (ticket, lost) = remote.outbox(channel).attach();
        if lost {
            remote.note_lost();
        }
        let encoder = match channel {
            Channel::Append => Encoder::Append(AppendEncoder::default()),
            Channel::Message => Encoder::Message,
        };
        let mut heartbeat = interval_at(Instant::now() + LINK_HEARTBEAT, LINK_HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (batch, buffer) = (Vec::new(), BytesMut::new());
        Self { remote, channel, ticket, encoder, heartbeat, batch, buffer }
    }

    fn outbox(&self) -> &Outbox {
        self.remote.outbox(self.channel)
    }

    fn frame(&mut self) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let bytes = self.buffer.split().freeze();
        self.remote.sent.inc_by(bytes.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        let mut batch = std::mem::take(&mut this.batch);
        let found = this.outbox().take(this.ticket, BATCH_BYTES, context.waker(), &mut batch);
        for message in batch.drain(..) {
            match &mut this.encoder {
                Encoder::Append(encoder) => encoder.encode(&message, &mut this.buffer),
                Encoder::Message => encode_message(&message, &mut this.buffer),
            }
        }
        this.batch = batch;
        match found {
            Found::Messages => this.frame(),
            Found::Ended => Poll::Ready(None),
            Found::Nothing => match this.heartbeat.poll_tick(context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(_) => {
                    match &mut this.encoder {
                        Encoder::Append(encoder) => encoder.encode_heartbeat(&mut this.buffer),
                        Encoder::Message => encode_heartbeat(&mut this.buffer),
                    }
                    this.frame()
                }
            },
        }
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        if self.outbox().detach(self.ticket) {
            self.remote.note_lost();
        }
    }
}
