//! Bodies whose bytes, messages and ends are counted, and whose memory is bounded.
//!
//! ```text
//!   service ─► answer, perhaps large ─► pieces, one when the client has room ─► connection
//!                └─ room held in the budget; taken back from a client that does not read
//! ```

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;
use prometheus::IntCounter;
use quorate_api::Code;
use tonic::Status;
use tonic::body::Body;

use super::messages::Messages;
use super::status;
use super::streams::Answers;
use crate::memory::{COUNTED_BYTES_MIN, Held, Holder, Registered};
use crate::metrics::{self, Call};
use crate::pace::{self, Turn};

/// Calls whose answers are large, whatever comes of them.
const LARGE: [&str; 2] = ["RangeStream", "Snapshot"];

const STATUS: &str = "grpc-status";
const MESSAGE: &str = "grpc-message";

/// What is handed to a connection at a time: what it has taken, it keeps until the client reads.
pub(super) const PIECE_BYTES: usize = 64 << 10;

/// A client's request, counted as it arrives.
pub(super) struct Received {
    body: Incoming,
    messages: Messages,
    count: Option<&'static IntCounter>,
}

impl Received {
    pub(super) fn new(body: Incoming, count: Option<&'static IntCounter>) -> Self {
        Self { body, messages: Messages::default(), count }
    }
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            metrics::client_received(data.len());
            let ended = self.messages.read(data);
            if let Some(count) = self.count {
                count.inc_by(ended);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Room that an answer holds: it travels with it, from who builds it to who sends it.
#[derive(Clone, Debug)]
pub(super) struct Room(Arc<Mutex<Option<Held>>>);

impl Room {
    pub(super) fn new(held: Held) -> Self {
        Self(Arc::new(Mutex::new(Some(held))))
    }
}

/// An answer that is written as it is sent: it travels beside an empty one, from who builds it to
/// who sends it.
#[derive(Clone)]
pub(super) struct InPieces(Arc<Mutex<Option<Answers<Bytes>>>>);

impl InPieces {
    /// Of messages with their prefixes, cut anywhere.
    pub(super) fn new(pieces: Answers<Bytes>) -> Self {
        Self(Arc::new(Mutex::new(Some(pieces))))
    }
}

/// The body of one.
struct PiecesBody {
    pieces: Answers<Bytes>,
    is_ended: bool,
}

impl HttpBody for PiecesBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_ended {
            return Poll::Ready(None);
        }
        let status = match ready!(self.pieces.as_mut().poll_next(context)) {
            Some(Ok(piece)) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        self.is_ended = true;
        Poll::Ready(Some(Ok(ended(&status))))
    }
}

/// An answer, counted as it goes; its trailers end the call.
pub(crate) struct Measured {
    answer: Answer,
    messages: Messages,
    sent: Option<&'static IntCounter>,
    call: Option<Call>,
    /// Of one that is large, each piece has a turn; whether it has come.
    turn: Option<(Turn, bool)>,
}

enum Answer {
    Small(Content),
    /// One that can lose its content while nobody takes it.
    Large(Arc<Large>, #[expect(dead_code, reason = "held until the end")] Registered),
}

/// What is still to be sent.
struct Content {
    body: Option<Body>,
    /// Of the last data that the body gave.
    rest: Bytes,
}

struct Large {
    state: Mutex<LargeState>,
}

struct LargeState {
    content: Content,
    held: Option<Held>,
    last_taken: Instant,
}

impl Measured {
    /// An answer that is no call's.
    pub(crate) fn plain(body: Body) -> Self {
        let answer = Answer::Small(Content::new(body));
        Self { answer, messages: Messages::default(), sent: None, call: None, turn: None }
    }
}

/// Count an answer. One that failed at once ends its call here.
pub(super) fn measure(mut response: Response<Body>, call: &mut Call) -> Response<Measured> {
    let sent = call.sent();
    if let Some(code) = code_of(response.headers()) {
        call.end(code);
        say_as_etcd(response.headers_mut());
    }
    let mut is_large = LARGE.contains(&call.name());
    if let Some(in_pieces) = response.extensions_mut().remove::<InPieces>()
        && let Some(pieces) = in_pieces.0.lock().take()
    {
        is_large = true;
        *response.body_mut() = Body::new(PiecesBody { pieces, is_ended: false });
    }
    if !is_large {
        pace::small_call_answered(Instant::now());
    }
    let turn = is_large.then(Default::default);
    let room = response.extensions_mut().remove::<Room>();
    let held = room.and_then(|room| room.0.lock().take());
    let call = Some(std::mem::replace(call, Call::none()));
    response.map(|body| {
        let answer = match held.filter(|held| held.bytes() >= COUNTED_BYTES_MIN) {
            Some(held) => Answer::large(body, held),
            None => Answer::Small(Content::new(body)),
        };
        Measured { answer, messages: Messages::default(), sent, call, turn }
    })
}

fn code_of(headers: &HeaderMap) -> Option<Code> {
    let number = headers.get(STATUS)?.to_str().ok()?.parse().ok()?;
    Some(Code::from_number(number).unwrap_or(Code::Unknown))
}

/// A message above the limit has another code and text in etcd than in tonic.
fn say_as_etcd(headers: &mut HeaderMap) {
    let text = headers.get(MESSAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // The message is percent-encoded; spaces and commas of this one stand for themselves or as %20.
    let Some(message) = status::too_large(&text.replace("%20", " ")) else { return };
    if let Ok(message) = HeaderValue::try_from(message) {
        headers.insert(MESSAGE, message);
        headers.insert(STATUS, HeaderValue::from(Code::ResourceExhausted.number()));
    }
}

impl Content {
    fn new(body: Body) -> Self {
        Self { body: Some(body), rest: Bytes::new() }
    }

    /// The next piece, or what ends the answer.
    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        while self.rest.is_empty() {
            let Some(body) = &mut self.body else { return Poll::Ready(None) };
            match ready!(Pin::new(body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_at_end(&self) -> bool {
        self.rest.is_empty() && self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }
}

impl Answer {
    fn large(body: Body, held: Held) -> Self {
        let budget = held.budget();
        let state = LargeState {
            content: Content::new(body),
            held: Some(held),
            last_taken: Instant::now(),
        };
        let large = Arc::new(Large { state: Mutex::new(state) });
        let holder: Weak<Large> = Arc::downgrade(&large);
        Self::Large(large, budget.register(holder))
    }

    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self {
            Self::Small(content) => content.poll_piece(context),
            Self::Large(large, _) => {
                let mut state = large.state.lock();
                if state.content.body.is_none() {
                    return Poll::Ready(Some(Ok(given_up())));
                }
                let piece = ready!(state.content.poll_piece(context));
                state.last_taken = Instant::now();
                Poll::Ready(piece)
            }
        }
    }
}

/// The end of an answer that was taken back.
fn given_up() -> Frame<Bytes> {
    let status = Status::resource_exhausted(
        "etcdserver: the answer was not read for too long, and others needed its memory",
    );
    ended(&status)
}

/// The end of an answer.
fn ended(status: &Status) -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    // Their texts have nothing that a header cannot have.
    let _ = status.add_header(&mut trailers);
    Frame::trailers(trailers)
}

impl Holder for Large {
    fn last_taken(&self) -> Instant {
        self.state.lock().last_taken
    }

    fn give_up(&self) {
        let mut state = self.state.lock();
        let gone = (state.content.body.take(), std::mem::take(&mut state.content.rest));
        let held = state.held.take();
        // What ends with the body may ask the budget, and so this, again.
        drop(state);
        drop((gone, held));
    }
}

impl HttpBody for Measured {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if let Some((turn, has_come)) = &mut this.turn {
            if !*has_come {
                ready!(turn.poll(context));
            }
            *has_come = true;
        }
        let frame = match &mut this.turn {
            None => ready!(this.answer.poll_piece(context)),
            Some((_, has_come)) => {
                let frame = ready!(pace::charged(|| this.answer.poll_piece(context)));
                *has_come = false;
                frame
            }
        };
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame) };
        if let Some(data) = frame.data_ref() {
            if let Some(sent) = this.sent {
                metrics::client_sent(data.len());
                sent.inc_by(this.messages.read(data));
            }
        } else if let (Some(code), Some(call)) =
            (frame.trailers_ref().and_then(code_of), &mut this.call)
        {
            call.end(code);
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.answer {
            Answer::Small(content) => content.is_at_end(),
            Answer::Large(large, _) => {
                let state = large.state.lock();
                // One that was given up has its trailers to send.
                state.content.body.is_some() && state.content.is_at_end()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.answer {
            Answer::Small(Content { body: Some(body), rest }) if rest.is_empty() => {
                body.size_hint()
            }
            Answer::Small(_) | Answer::Large(..) => SizeHint::default(),
        }
    }
}
