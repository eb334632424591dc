//! One connection: requests become frames, frames become answers.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context as _, bail};
use mio::net::TcpStream;

use super::frame::{self, HEAD_BYTES, Head, Headers, PAYLOAD_BYTES_MAX, WINDOW_BYTES_FIRST};

/// Bytes that a server may send on one stream, and on all of a connection: never the bottleneck.
const WINDOW_BYTES: u32 = 1 << 30;
/// After so many bytes the server is given them back.
const WINDOW_BYTES_STEP: u32 = 1 << 24;
/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;
/// Bytes before a message in gRPC's framing.
pub(super) const PREFIX_BYTES: usize = 5;

/// What is done with the messages of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keep {
    /// Count the bytes.
    Nothing,
    /// Hand the bytes over when the call ends.
    Body,
    /// Count what each message holds, as it arrives.
    Count(fn(&[u8]) -> u64),
}

/// A call that ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) sent: Instant,
    /// Bytes of the answer, framing included; less than a prefix is a failure.
    pub(super) bytes: u64,
    /// The answer's first message, if it was to be kept.
    pub(super) body: Vec<u8>,
}

#[derive(Debug)]
struct Stream {
    sent: Instant,
    bytes: u64,
    keep: Keep,
    /// With [`Keep::Body`] all, with [`Keep::Count`] the beginning of a message.
    buffer: Vec<u8>,
    /// Bytes since the stream's window was last opened.
    unacknowledged: u32,
}

/// A request for which the server has no room yet.
#[derive(Debug)]
struct Waiting {
    path: &'static str,
    body: Vec<u8>,
    keep: Keep,
    is_last: bool,
}

/// A connection to one server.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: TcpStream,
    headers: Headers,
    out: Vec<u8>,
    /// Bytes of `out` that are written.
    written: usize,
    input: Vec<u8>,
    /// Bytes of `input` that were read and not looked at.
    filled: usize,
    window: i64,
    waiting: VecDeque<Waiting>,
    next_stream: u32,
    streams: HashMap<u32, Stream>,
    unacknowledged: u32,
    /// What [`Keep::Count`] counted so far, on all streams.
    pub(super) counted: u64,
}

impl Connection {
    /// Connect and greet.
    pub(super) fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let socket = std::net::TcpStream::connect(address)
            .with_context(|| format!("{address} cannot be connected to"))?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let mut out = frame::PREFACE.to_vec();
        let mut settings = frame::SETTING_INITIAL_WINDOW.to_be_bytes().to_vec();
        settings.extend_from_slice(&WINDOW_BYTES.to_be_bytes());
        frame::put(&mut out, frame::SETTINGS, 0, 0, &settings);
        frame::put(&mut out, frame::WINDOW_UPDATE, 0, 0, &WINDOW_BYTES.to_be_bytes());
        Ok(Self {
            socket: TcpStream::from_std(socket),
            headers: Headers { authority: address.to_string(), path: None },
            out,
            written: 0,
            input: vec![0; READ_BYTES],
            filled: 0,
            window: WINDOW_BYTES_FIRST,
            waiting: VecDeque::new(),
            next_stream: 1,
            streams: HashMap::new(),
            unacknowledged: 0,
            counted: 0,
        })
    }

    /// Begin a call: its frames are written at the next [`Connection::flush`]. A call that is not
    /// its `is_last` message stays open for more.
    pub(super) fn call(&mut self, path: &'static str, body: Vec<u8>, keep: Keep, is_last: bool) {
        let request = Waiting { path, body, keep, is_last };
        if self.waiting.is_empty() && self.has_room(&request.body) {
            self.begin(&request);
        } else {
            self.waiting.push_back(request);
        }
    }

    fn has_room(&self, body: &[u8]) -> bool {
        i64::try_from(body.len()).is_ok_and(|length| length <= self.window)
    }

    fn begin(&mut self, request: &Waiting) {
        let stream = self.next_stream;
        self.next_stream += 2;
        frame::put_headers(&mut self.out, stream, &mut self.headers, request.path);
        if request.is_last || !request.body.is_empty() {
            frame::put_data(&mut self.out, stream, &request.body, request.is_last);
        }
        self.window -= i64::try_from(request.body.len()).unwrap_or(i64::MAX);
        self.streams.insert(
            stream,
            Stream {
                sent: Instant::now(),
                bytes: 0,
                keep: request.keep,
                buffer: Vec::new(),
                unacknowledged: 0,
            },
        );
    }

    /// Write what can be written.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        while self.written < self.out.len() {
            match self.socket.write(self.out.get(self.written..).unwrap_or_default()) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("a request cannot be sent"),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Read until nothing is there, and note the calls that ended.
    pub(super) fn receive(&mut self, ended: &mut Vec<Ended>) -> anyhow::Result<()> {
        loop {
            let free = self.input.get_mut(self.filled..).unwrap_or_default();
            let asked = free.len();
            match self.socket.read(free) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(bytes) => {
                    self.filled += bytes;
                    self.take_frames(ended)?;
                    if bytes < asked {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("an answer cannot be read"),
            }
        }
    }

    fn take_frames(&mut self, ended: &mut Vec<Ended>) -> anyhow::Result<()> {
        let input = std::mem::take(&mut self.input);
        let mut rest = input.get(..self.filled).unwrap_or_default();
        let mut result = Ok(());
        while let Some(head) = Head::parse(rest) {
            if head.length > PAYLOAD_BYTES_MAX {
                result = Err(anyhow::anyhow!("a frame of {} bytes", head.length));
                break;
            }
            let Some(payload) = rest.get(HEAD_BYTES..HEAD_BYTES + head.length) else { break };
            result = self.take_frame(head, payload, ended);
            if result.is_err() {
                break;
            }
            rest = rest.get(HEAD_BYTES + head.length..).unwrap_or_default();
        }
        let left = rest.len();
        let begin = self.filled - left;
        self.input = input;
        self.input.copy_within(begin..self.filled, 0);
        self.filled = left;
        result
    }

    fn take_frame(
        &mut self,
        head: Head,
        payload: &[u8],
        ended: &mut Vec<Ended>,
    ) -> anyhow::Result<()> {
        match head.kind {
            frame::DATA => self.take_data(head, payload),
            frame::SETTINGS if head.flags & frame::FLAG_ACK == 0 => {
                frame::put(&mut self.out, frame::SETTINGS, frame::FLAG_ACK, 0, &[]);
            }
            frame::PING if head.flags & frame::FLAG_ACK == 0 => {
                frame::put(&mut self.out, frame::PING, frame::FLAG_ACK, 0, payload);
            }
            frame::WINDOW_UPDATE if head.stream == 0 => {
                let increment = payload.first_chunk::<4>().map_or(0, |b| u32::from_be_bytes(*b));
                self.window += i64::from(increment);
                self.begin_waiting();
            }
            frame::GOAWAY => bail!("the server sends its clients away"),
            _ => {}
        }
        let ends = match head.kind {
            frame::DATA | frame::HEADERS => head.flags & frame::FLAG_END_STREAM != 0,
            kind => kind == frame::RST_STREAM,
        };
        if ends && let Some(stream) = self.streams.remove(&head.stream) {
            let Stream { sent, bytes, buffer, .. } = stream;
            ended.push(Ended { sent, bytes, body: buffer });
        }
        Ok(())
    }

    fn begin_waiting(&mut self) {
        while let Some(request) = self.waiting.pop_front() {
            if !self.has_room(&request.body) {
                self.waiting.push_front(request);
                return;
            }
            self.begin(&request);
        }
    }

    fn take_data(&mut self, head: Head, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        self.unacknowledged += length;
        if self.unacknowledged >= WINDOW_BYTES_STEP {
            let step = self.unacknowledged.to_be_bytes();
            frame::put(&mut self.out, frame::WINDOW_UPDATE, 0, 0, &step);
            self.unacknowledged = 0;
        }
        let Some(stream) = self.streams.get_mut(&head.stream) else { return };
        stream.bytes += u64::from(length);
        stream.unacknowledged += length;
        if stream.unacknowledged >= WINDOW_BYTES_STEP {
            let step = stream.unacknowledged.to_be_bytes();
            frame::put(&mut self.out, frame::WINDOW_UPDATE, 0, head.stream, &step);
            stream.unacknowledged = 0;
        }
        match stream.keep {
            Keep::Nothing => {}
            Keep::Body => stream.buffer.extend_from_slice(payload),
            Keep::Count(count) => {
                if stream.buffer.is_empty() {
                    let left = count_messages(payload, count, &mut self.counted);
                    stream.buffer.extend_from_slice(left);
                } else {
                    stream.buffer.extend_from_slice(payload);
                    let left = count_messages(&stream.buffer, count, &mut self.counted).len();
                    let begin = stream.buffer.len() - left;
                    stream.buffer.drain(..begin);
                }
            }
        }
    }
}

/// Count what whole messages hold; the bytes that are not a whole message.
fn count_messages<'a>(mut bytes: &'a [u8], count: fn(&[u8]) -> u64, counted: &mut u64) -> &'a [u8] {
    while let Some((&[_, l0, l1, l2, l3], rest)) = bytes.split_first_chunk::<PREFIX_BYTES>() {
        let length = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        let Some((message, after)) = rest.split_at_checked(length) else { break };
        *counted += count(message);
        bytes = after;
    }
    bytes
}
