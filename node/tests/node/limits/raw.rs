//! HTTP/2 by hand: a client that does what no library does.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// The setting of how much of a stream may come before it is taken.
const INITIAL_WINDOW_SIZE: u16 = 4;
const CANCEL: u32 = 8;

/// A frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("small").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(content);
    bytes
}

/// A connection that reads only when it is told to.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
}

impl Connection {
    /// Connect, and let the member send so much of each stream, and of all of them.
    pub(super) fn open(address: SocketAddr, window: u32) -> Self {
        let mut stream = TcpStream::connect(address).expect("connects");
        stream.set_nodelay(true).expect("no delay");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        stream.set_write_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let mut setting = INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
        setting.extend(window.to_be_bytes());
        hello.extend(frame(SETTINGS, 0, 0, &setting));
        if window > 65_535 {
            let more = window - 65_535;
            hello.extend(frame(WINDOW_UPDATE, 0, 0, &more.to_be_bytes()));
        }
        stream.write_all(&hello).expect("sent");
        Self { stream }
    }

    /// Wait until the member has answered something.
    pub(super) fn await_settings(&mut self) {
        let mut header = [0; 9];
        self.stream.read_exact(&mut header).expect("a frame");
        assert_eq!(header[3], SETTINGS);
    }

    /// Call a method with one message.
    pub(super) fn call(&mut self, stream: u32, path: &str, message: &[u8]) {
        let bytes = [headers(stream, path), data(stream, END_STREAM, message)].concat();
        self.stream.write_all(&bytes).expect("sent");
    }

    /// The same, and more messages may come.
    pub(super) fn call_on(&mut self, stream: u32, path: &str, message: &[u8]) {
        let bytes = [headers(stream, path), data(stream, 0, message)].concat();
        self.stream.write_all(&bytes).expect("sent");
    }

    /// Call a method and take it back at once.
    pub(super) fn try_call_and_reset(
        &mut self,
        stream: u32,
        path: &str,
        message: &[u8],
    ) -> io::Result<()> {
        let reset = frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
        let bytes = [headers(stream, path), data(stream, END_STREAM, message), reset].concat();
        self.stream.write_all(&bytes)
    }
}

/// Everything that a client sends for one call.
pub(super) fn exchange(path: &str, message: &[u8]) -> Vec<u8> {
    exchange_with(path, "localhost", message)
}

/// The same, with this authority.
pub(super) fn exchange_with(path: &str, authority: &str, message: &[u8]) -> Vec<u8> {
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let settings = frame(SETTINGS, 0, 0, &[]);
    let headers = headers_with(1, path, authority);
    [hello, settings, headers, data(1, END_STREAM, message)].concat()
}

fn data(stream: u32, flags: u8, message: &[u8]) -> Vec<u8> {
    let mut content = vec![0];
    content.extend(u32::try_from(message.len()).expect("small").to_be_bytes());
    content.extend_from_slice(message);
    frame(DATA, flags, stream, &content)
}

/// The headers of a call, none of them compressed but for those that HPACK has by number.
fn headers(stream: u32, path: &str) -> Vec<u8> {
    headers_with(stream, path, "localhost")
}

fn headers_with(stream: u32, path: &str, authority: &str) -> Vec<u8> {
    /// `:method: POST` and `:scheme: http`.
    const POST: u8 = 0x83;
    const HTTP: u8 = 0x86;
    /// A value for `:authority`, to be kept.
    const AUTHORITY: u8 = 0x41;
    let mut block = vec![POST, HTTP, AUTHORITY];
    block.push(u8::try_from(authority.len()).expect("short"));
    block.extend_from_slice(authority.as_bytes());
    let mut add = |name: &str, value: &str| {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("short"));
            block.extend_from_slice(text.as_bytes());
        }
    };
    add(":path", path);
    add("content-type", "application/grpc");
    add("te", "trailers");
    frame(HEADERS, END_HEADERS, stream, &block)
}
