//! A connection that asks and never reads: what no well-meant client does.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;

use super::frame::{self, Headers};

/// Bytes that the server may send on each stream, and on all: it has no reason to wait.
const WINDOW_BYTES: u32 = 1 << 30;
/// A server that takes nothing any more for so long is done with this client.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(5);
const CANCEL: u32 = 8;

/// A connection whose answers pile up.
#[derive(Debug)]
pub(crate) struct Deaf {
    socket: TcpStream,
    headers: Headers,
    next_stream: u32,
}

impl Deaf {
    /// Connect and greet.
    pub(crate) fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let mut socket = TcpStream::connect(address)
            .with_context(|| format!("{address} cannot be connected to"))?;
        socket.set_write_timeout(Some(WRITE_WAIT_MAX))?;
        let mut out = frame::PREFACE.to_vec();
        let mut settings = frame::SETTING_INITIAL_WINDOW.to_be_bytes().to_vec();
        settings.extend_from_slice(&WINDOW_BYTES.to_be_bytes());
        frame::put(&mut out, frame::SETTINGS, 0, 0, &settings);
        frame::put(&mut out, frame::WINDOW_UPDATE, 0, 0, &WINDOW_BYTES.to_be_bytes());
        socket.write_all(&out)?;
        let headers = Headers { authority: address.to_string(), path: None };
        Ok(Self { socket, headers, next_stream: 1 })
    }

    /// Ask for an answer that is not read.
    pub(crate) fn ask(&mut self, path: &'static str, message: &[u8]) -> anyhow::Result<()> {
        let mut out = Vec::new();
        self.put_call(&mut out, path, message);
        Ok(self.socket.write_all(&out)?)
    }

    /// Ask so many times, and take each call back at once.
    pub(crate) fn ask_and_reset(
        &mut self,
        path: &'static str,
        message: &[u8],
        times: u32,
    ) -> anyhow::Result<()> {
        let mut out = Vec::new();
        for _ in 0..times {
            let stream = self.put_call(&mut out, path, message);
            frame::put(&mut out, frame::RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
        }
        Ok(self.socket.write_all(&out)?)
    }

    fn put_call(&mut self, out: &mut Vec<u8>, path: &'static str, message: &[u8]) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        frame::put_headers(out, stream, &mut self.headers, path);
        frame::put_data(out, stream, message, true);
        stream
    }
}
