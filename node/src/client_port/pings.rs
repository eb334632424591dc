//! Clients that ping too often are sent away, as gRPC servers do.
//!
//! ```text
//!   socket ─► frames of the client: streams that begin or are reset, pings ─┐
//!                                                                           ├─ Policy ─► strikes
//!   socket ◄─ frames of the server: answers, streams that end ─────────────┘
//!                        └─ three strikes: GOAWAY(ENHANCE_YOUR_CALM, "too_many_pings"), and the end
//! ```
//! The HTTP/2 library answers pings by itself and tells nobody, so the frames are read on their way
//! through: headers of nine bytes, nothing of what is in them. The rules are grpc-go's, whose
//! clients adapt to this very answer by pinging less.
//!
//! A client that takes its calls back by the dozen is no small call's, either: it is read a little at
//! a time, when it has a turn of the thread (see `pace`).
//!
//! It never changes a byte of a connection that keeps to the rules, but for authorities that are none
//! (see `authority`), and looks at no connection that does not begin as HTTP/2.

use std::collections::HashSet;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::authority;
use crate::pace::{self, Turn};

/// What every HTTP/2 connection of a client begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a frame's header.
const HEADER_BYTES: usize = 9;
/// Pings too many that are forgiven.
const STRIKES_MAX: u32 = 2;
/// What may pass between two pings without a stream.
const IDLE_INTERVAL: Duration = Duration::from_secs(2 * 3_600);

/// Bytes that are taken at a time from a client that is sent away, and how often.
const DRAINED_BYTES: usize = 4 << 10;
const DRAINS_MAX: usize = 16;

/// Calls that a client has taken back before it is read in turns.
const TAKEN_BACK_MAX: u32 = 8;
/// How long it is, after it has last taken one back.
const IN_TURNS_LASTS: Duration = Duration::from_secs(1);
/// What such a client is read at a time.
const READ_IN_TURN_BYTES: usize = 256;
/// What is charged for a call that nobody waits for: more than it costs, as its client has no use for it.
const TAKEN_BACK_COSTS: Duration = Duration::from_micros(150);

/// Frame types.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
/// Flags of frames.
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
/// The error code ENHANCE_YOUR_CALM.
const CALM: u32 = 11;
/// What clients of gRPC look for beside the code.
const TOO_MANY_PINGS: &[u8] = b"too_many_pings";

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    kind: u8,
    flags: u8,
    stream: u32,
}

/// Finds the frames in bytes that come in pieces.
#[derive(Clone, Copy, Debug, Default)]
struct Frames {
    header: [u8; HEADER_BYTES],
    have: usize,
    /// Of the frame's content.
    left: usize,
}

impl Frames {
    /// The headers that are complete with these bytes, each with how many bytes follow it here.
    fn read(&mut self, mut bytes: &[u8], mut on: impl FnMut(Header, usize)) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            let taken = (HEADER_BYTES - self.have).min(bytes.len());
            let (head, rest) = bytes.split_at(taken);
            self.header[self.have..self.have + taken].copy_from_slice(head);
            self.have += taken;
            bytes = rest;
            if self.have == HEADER_BYTES {
                let [l2, l1, l0, kind, flags, s3, s2, s1, s0] = self.header;
                self.have = 0;
                self.left = u32::from_be_bytes([0, l2, l1, l0]) as usize;
                let stream = u32::from_be_bytes([s3, s2, s1, s0]) & (u32::MAX >> 1);
                on(Header { kind, flags, stream }, bytes.len());
            }
        }
    }

    /// Whether the last byte ended a frame.
    fn is_between(&self) -> bool {
        self.have == 0 && self.left == 0
    }
}

/// What a connection may do, and has done.
#[derive(Debug)]
struct Policy {
    /// What must pass between two pings of a client with streams.
    interval: Duration,
    open: HashSet<u32>,
    last_stream: u32,
    last_ping: Option<Instant>,
    strikes: u32,
    /// Something was answered since the last ping, which forgives all strikes.
    has_answered: bool,
    /// Calls that were taken back before their answer, that nobody was charged for yet.
    taken_back: u32,
}

impl Policy {
    fn new(interval: Duration) -> Self {
        Self {
            interval,
            open: HashSet::new(),
            last_stream: 0,
            last_ping: None,
            strikes: 0,
            has_answered: false,
            taken_back: 0,
        }
    }

    fn on_received(&mut self, frame: Header, now: Instant) {
        match frame.kind {
            HEADERS if frame.stream > self.last_stream => {
                self.last_stream = frame.stream;
                self.open.insert(frame.stream);
            }
            RST_STREAM => {
                self.taken_back += u32::from(self.open.remove(&frame.stream));
            }
            PING if frame.flags & ACK == 0 => self.on_ping(now),
            _ => {}
        }
    }

    fn on_sent(&mut self, frame: Header) {
        match frame.kind {
            DATA | HEADERS => {
                self.has_answered = true;
                if frame.flags & END_STREAM != 0 {
                    self.open.remove(&frame.stream);
                }
            }
            RST_STREAM => {
                self.open.remove(&frame.stream);
            }
            _ => {}
        }
    }

    fn on_ping(&mut self, now: Instant) {
        let before = self.last_ping.replace(now);
        if std::mem::take(&mut self.has_answered) {
            self.strikes = 0;
            return;
        }
        let interval = if self.open.is_empty() { IDLE_INTERVAL } else { self.interval };
        if before.is_some_and(|before| now.duration_since(before) < interval) {
            self.strikes += 1;
        }
    }

    fn is_broken(&self) -> bool {
        self.strikes > STRIKES_MAX
    }

    /// What the client is told before its connection ends.
    fn farewell(&self) -> Vec<u8> {
        let length = 8 + TOO_MANY_PINGS.len();
        let mut frame = vec![0, 0, u8::try_from(length).unwrap_or(u8::MAX), GOAWAY, 0, 0, 0, 0, 0];
        frame.extend_from_slice(&self.last_stream.to_be_bytes());
        frame.extend_from_slice(&CALM.to_be_bytes());
        frame.extend_from_slice(TOO_MANY_PINGS);
        frame
    }
}

/// How a connection began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// So many bytes were those of HTTP/2.
    Maybe(usize),
    Http2,
    Other,
}

/// A client's connection whose pings are counted.
#[derive(Debug)]
pub(super) struct Pinged<S> {
    stream: S,
    protocol: Protocol,
    policy: Policy,
    received: Frames,
    sent: Frames,
    /// What is still to be sent before the end, once the policy is broken.
    farewell: Option<Vec<u8>>,
    /// Until when the client is read in turns.
    in_turns_until: Option<Instant>,
    turn: Turn,
}

impl<S> Pinged<S> {
    /// A connection whose client may ping once in `interval` while it has streams.
    pub(super) fn new(stream: S, interval: Duration) -> Self {
        Self {
            stream,
            protocol: Protocol::Maybe(0),
            policy: Policy::new(interval),
            received: Frames::default(),
            sent: Frames::default(),
            farewell: None,
            in_turns_until: None,
            turn: Turn::default(),
        }
    }

    fn on_received(&mut self, mut bytes: &mut [u8]) {
        if let Protocol::Maybe(matched) = self.protocol {
            let rest = PREFACE.get(matched..).unwrap_or_default();
            let length = rest.len().min(bytes.len());
            let (head, tail) = bytes.split_at_mut(length);
            self.protocol = match rest.split_at(length) {
                (expected, _) if expected != head => Protocol::Other,
                (_, []) => Protocol::Http2,
                (_, [_, ..]) => Protocol::Maybe(matched + length),
            };
            bytes = tail;
        }
        if self.protocol != Protocol::Http2 {
            return;
        }
        let policy = &mut self.policy;
        let mut now = None;
        // Frames that begin streams, by their flags and by what follows them.
        let mut begun = Vec::new();
        self.received.read(bytes, |frame, behind| {
            policy.on_received(frame, *now.get_or_insert_with(Instant::now));
            if frame.kind == HEADERS {
                begun.push((frame.flags, behind));
            }
        });
        for (flags, behind) in begun {
            let at = bytes.len() - behind;
            authority::mend(flags, bytes.get_mut(at..).unwrap_or_default());
        }
        if policy.is_broken() && self.farewell.is_none() {
            self.farewell = Some(policy.farewell());
        }
    }

    fn on_sent<'a>(&mut self, pieces: impl Iterator<Item = &'a [u8]>, mut count: usize) {
        if self.protocol != Protocol::Http2 {
            return;
        }
        let policy = &mut self.policy;
        for piece in pieces {
            let piece = piece.get(..count).unwrap_or(piece);
            self.sent.read(piece, |frame, _| policy.on_sent(frame));
            count -= piece.len();
            if count == 0 {
                return;
            }
        }
    }

    /// Whether the client has to wait for turns, for it took many calls back of late.
    fn is_read_in_turns(&mut self) -> bool {
        let taken_back = &mut self.policy.taken_back;
        let is_in_turns = self.in_turns_until.is_some_and(|until| Instant::now() < until);
        if *taken_back >= TAKEN_BACK_MAX || (is_in_turns && *taken_back > 0) {
            pace::charge(TAKEN_BACK_COSTS * std::mem::take(taken_back));
            self.in_turns_until = Some(Instant::now() + IN_TURNS_LASTS);
            return true;
        }
        if !is_in_turns {
            self.in_turns_until = None;
        }
        is_in_turns
    }

    /// Whether the end has come: nothing but the farewell may be sent any more.
    fn is_leaving(&self) -> bool {
        self.farewell.is_some() && self.sent.is_between()
    }
}

fn too_many_pings() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the client pings too often")
}

impl<S: AsyncRead + AsyncWrite + Unpin> Pinged<S> {
    /// Send the farewell, then fail. What the client has sent meanwhile is taken, for a socket that
    /// is closed over unread bytes takes the farewell back.
    fn poll_leave(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        while let Some(farewell) = self.farewell.as_mut().filter(|bytes| !bytes.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(context, farewell)) {
                Ok(0) | Err(_) => farewell.clear(),
                Ok(written) => {
                    farewell.drain(..written);
                }
            }
        }
        let _ = ready!(Pin::new(&mut self.stream).poll_flush(context));
        let mut bytes = [0; DRAINED_BYTES];
        for _ in 0..DRAINS_MAX {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) | Poll::Pending => break,
            }
        }
        Poll::Ready(too_many_pings())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Pinged<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_leaving() {
            return this.poll_leave(context).map(Err);
        }
        let before = buffer.filled().len();
        if this.is_read_in_turns() {
            ready!(this.turn.poll(context));
            let mut bytes = [0; READ_IN_TURN_BYTES];
            let (room, _) = bytes.split_at_mut(buffer.remaining().min(READ_IN_TURN_BYTES));
            let mut little = ReadBuf::new(room);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut little))?;
            buffer.put_slice(little.filled());
        } else {
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        }
        let new = buffer.filled_mut().get_mut(before..).unwrap_or_default();
        this.on_received(new);
        if this.is_leaving() {
            return this.poll_leave(context).map(Err);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Pinged<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_leaving() {
            return this.poll_leave(context).map(Err);
        }
        let written = ready!(Pin::new(&mut this.stream).poll_write(context, bytes))?;
        this.on_sent(std::iter::once(bytes), written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_leaving() {
            return this.poll_leave(context).map(Err);
        }
        let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(context, pieces))?;
        this.on_sent(pieces.iter().map(|piece| &**piece), written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const INTERVAL: Duration = Duration::from_secs(5);

    fn frame(kind: u8, flags: u8, stream: u32, content: usize) -> Vec<u8> {
        let length = u32::try_from(content).expect("small").to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags];
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.resize(HEADER_BYTES + content, 0xff);
        bytes
    }

    fn ping() -> Vec<u8> {
        frame(PING, 0, 0, 8)
    }

    fn header(kind: u8, flags: u8, stream: u32) -> Header {
        Header { kind, flags, stream }
    }

    /// Whether a client that pings at these seconds may stay.
    fn stays(policy: &mut Policy, seconds: &[u32]) -> bool {
        let start = Instant::now();
        for second in seconds {
            policy.on_received(header(PING, 0, 0), start + *second * SECOND);
        }
        !policy.is_broken()
    }

    #[test]
    fn a_client_that_takes_its_calls_back_is_read_a_little_at_a_time() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let (mut client, server) = tokio::io::duplex(1 << 20);
            let mut pinged = Pinged::new(server, INTERVAL);
            let mut buffer = vec![0; 64 << 10];
            let mut read_all = async |client: &mut tokio::io::DuplexStream, bytes: &[u8]| {
                client.write_all(bytes).await.expect("there is room");
                let (mut read, mut largest) = (0, 0);
                while read < bytes.len() {
                    let new = pinged.read(&mut buffer).await.expect("it stays");
                    (read, largest) = (read + new, largest.max(new));
                }
                largest
            };
            let call = |number: u32| frame(HEADERS, 4, 2 * number + 1, 300);
            let back = |number: u32| frame(RST_STREAM, 0, 2 * number + 1, 4);
            let mut first = PREFACE.to_vec();
            first.extend((0..40).flat_map(call));
            // Calls alone, and a few that are taken back, are nothing unusual.
            first.extend((0..TAKEN_BACK_MAX - 1).flat_map(back));
            let bytes = first.len();
            assert_eq!(read_all(&mut client, &first).await, bytes);
            // The same stream twice is one call.
            let again: Vec<u8> = (0..TAKEN_BACK_MAX - 1).flat_map(back).collect();
            assert_eq!(read_all(&mut client, &again).await, again.len());
            read_all(&mut client, &back(20)).await;
            let many: Vec<u8> =
                (40..80).flat_map(|number| [call(number), back(number)]).flatten().collect();
            let largest = read_all(&mut client, &many).await;
            assert!(largest <= READ_IN_TURN_BYTES, "{largest} bytes at a time");
        });
    }

    #[test]
    fn three_pings_too_early_are_too_many() {
        let with_stream = || {
            let mut policy = Policy::new(INTERVAL);
            policy.on_received(header(HEADERS, 4, 1), Instant::now());
            policy
        };
        assert!(stays(&mut with_stream(), &[0, 5, 10, 15, 20]));
        assert!(stays(&mut with_stream(), &[0, 1, 2]), "two strikes are forgiven");
        assert!(!stays(&mut with_stream(), &[0, 1, 2, 3]));
        // Without a stream, nothing is to be kept alive.
        assert!(!stays(&mut Policy::new(INTERVAL), &[0, 60, 120, 180]));
        assert!(stays(&mut Policy::new(INTERVAL), &[0, 7_200, 14_400, 21_600]));
        // A stream that has ended is none.
        let mut ended = with_stream();
        ended.on_sent(header(HEADERS, END_STREAM, 1));
        assert!(!stays(&mut ended, &[0, 60, 120, 180, 240]));
        let mut reset = with_stream();
        reset.on_received(header(RST_STREAM, 0, 1), Instant::now());
        assert!(!stays(&mut reset, &[0, 60, 120, 180]));
    }

    #[test]
    fn whoever_is_answered_may_ping() {
        let mut policy = Policy::new(INTERVAL);
        let now = Instant::now();
        policy.on_received(header(HEADERS, 4, 1), now);
        for _ in 0..100 {
            policy.on_received(header(PING, 0, 0), now);
            policy.on_sent(header(DATA, 0, 1));
        }
        assert!(!policy.is_broken());
        // An acknowledgement is no ping.
        for _ in 0..100 {
            policy.on_received(header(PING, ACK, 0), now);
        }
        assert!(!policy.is_broken());
    }

    proptest! {
        /// However the bytes are cut, the same frames are found.
        #[test]
        fn frames_are_found_across_pieces(
            contents in proptest::collection::vec((0_u8..10, 0_u32..100, 0_usize..300), 1..20),
            cuts in proptest::collection::vec(1_usize..50, 1..100),
        ) {
            let mut bytes = Vec::new();
            for (kind, stream, content) in &contents {
                bytes.extend(frame(*kind, 0, *stream, *content));
            }
            let (mut frames, mut found) = (Frames::default(), Vec::new());
            let mut rest = bytes.as_slice();
            for cut in cuts.iter().cycle() {
                let (piece, next) = rest.split_at((*cut).min(rest.len()));
                frames.read(piece, |frame, _| found.push((frame.kind, frame.stream)));
                rest = next;
                if rest.is_empty() {
                    break;
                }
            }
            let expected: Vec<(u8, u32)> =
                contents.iter().map(|(kind, stream, _)| (*kind, *stream)).collect();
            prop_assert_eq!(found, expected);
            prop_assert!(frames.is_between());
        }
    }

    #[test]
    fn the_farewell_stands_between_two_frames() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let (mut client, server) = tokio::io::duplex(1 << 16);
            let mut server = Pinged::new(server, INTERVAL);
            client.write_all(PREFACE).await.expect("sent");
            client.write_all(&frame(HEADERS, 4, 7, 20)).await.expect("sent");
            let answer = frame(DATA, 0, 7, 100);
            let mut buffer = [0; 1024];
            while server.read(&mut buffer).await.expect("good") < 20 {}
            // Half an answer is out when the pings come.
            server.write_all(&answer[..50]).await.expect("sent");
            for _ in 0..5 {
                client.write_all(&ping()).await.expect("sent");
            }
            assert!(server.read(&mut buffer).await.expect("good") > 0, "a frame is not cut");
            server.write_all(&answer[50..]).await.expect("sent");
            let error = server.write_all(&answer).await.expect_err("the end");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
            assert!(server.read(&mut buffer).await.is_err());
            drop(server);
            let mut received = Vec::new();
            client.read_to_end(&mut received).await.expect("good");
            let mut expected = answer;
            expected.extend([0, 0, 22, GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 11]);
            expected.extend(b"too_many_pings");
            assert_eq!(received, expected);
        });
    }

    #[test]
    fn what_is_no_http2_is_left_alone() {
        let mut connection = Pinged::new((), INTERVAL);
        connection.on_received(&mut b"PRI * HTTP/1.1\r\n".to_vec());
        for _ in 0..100 {
            connection.on_received(&mut ping());
        }
        assert_eq!((connection.protocol, connection.is_leaving()), (Protocol::Other, false));
    }
}
