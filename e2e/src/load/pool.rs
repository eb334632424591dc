//! Many connections behind one poll.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use mio::{Events, Interest, Poll, Token};

use super::connection::{Connection, Ended, Keep, PREFIX_BYTES};

/// Events taken at once.
const EVENTS: usize = 256;

/// Connections to one side's servers.
#[derive(Debug)]
pub(crate) struct Pool {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    ended: Vec<Ended>,
}

/// A call that ended.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) sent: Instant,
    /// Bytes of the answer with its framing; none if it is an error.
    pub(crate) bytes: u64,
    /// The answer's first message, without framing, if it was to be kept.
    pub(crate) body: Vec<u8>,
}

impl Call {
    /// Whether it was answered with a message.
    pub(crate) fn is_answered(&self) -> bool {
        self.bytes >= PREFIX_BYTES as u64
    }

    /// An error unless it was answered with a message.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.is_answered(), "the server answered a call with an error");
        Ok(())
    }
}

impl Pool {
    /// So many connections, spread over the addresses.
    pub(crate) fn connect(addresses: &[SocketAddr], connections: usize) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let mut open = Vec::with_capacity(connections);
        for (index, address) in addresses.iter().cycle().take(connections).enumerate() {
            let mut connection = Connection::open(*address)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut connection.socket, Token(index), interest)?;
            connection.flush()?;
            open.push(connection);
        }
        let events = Events::with_capacity(EVENTS);
        Ok(Self { poll, events, connections: open, ended: Vec::new() })
    }

    /// How many connections there are.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// What [`Keep::Count`] counted so far.
    pub(crate) fn counted(&self) -> u64 {
        self.connections.iter().map(|connection| connection.counted).sum()
    }

    /// Begin a call of one message; it is on its way after the next [`Pool::turn`].
    pub(crate) fn call(
        &mut self,
        connection: usize,
        path: &'static str,
        message: Vec<u8>,
        keep: Keep,
    ) {
        let connection = connection % self.connections.len();
        if let Some(connection) = self.connections.get_mut(connection) {
            connection.call(path, message, keep, true);
        }
    }

    /// Open a stream with its first messages, or none. It ends with the connection.
    pub(crate) fn open_stream(
        &mut self,
        connection: usize,
        path: &'static str,
        messages: Vec<u8>,
        keep: Keep,
    ) {
        let connection = connection % self.connections.len();
        if let Some(connection) = self.connections.get_mut(connection) {
            connection.call(path, messages, keep, false);
        }
    }

    /// Send what is to be sent.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        self.connections.iter_mut().try_for_each(Connection::flush)
    }

    /// Wait for answers, at most so long, and hand each call over that ended. What `on_call` gives
    /// back is the next call on the same connection.
    pub(crate) fn turn(
        &mut self,
        wait: Option<Duration>,
        mut on_call: impl FnMut(Call) -> anyhow::Result<Option<Next>>,
    ) -> anyhow::Result<()> {
        match self.poll.poll(&mut self.events, wait) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            result => result.context("the connections cannot be waited for")?,
        }
        for event in &self.events {
            let Some(connection) = self.connections.get_mut(event.token().0) else { continue };
            if event.is_readable() {
                connection.receive(&mut self.ended)?;
                for Ended { sent, bytes, mut body } in self.ended.drain(..) {
                    body.drain(..PREFIX_BYTES.min(body.len()));
                    if let Some(next) = on_call(Call { sent, bytes, body })? {
                        connection.call(next.path, next.message, next.keep, true);
                    }
                }
            }
            connection.flush()?;
        }
        Ok(())
    }

    /// One call and the message that answers it.
    pub(crate) fn ask(
        &mut self,
        path: &'static str,
        message: Vec<u8>,
        wait_max: Duration,
    ) -> anyhow::Result<Vec<u8>> {
        let deadline = Instant::now() + wait_max;
        self.call(0, path, message, Keep::Body);
        self.flush()?;
        let mut answer = None;
        while answer.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("{path} was not answered within {wait_max:?}");
            }
            self.turn(Some(left), |call| {
                call.check()?;
                answer = Some(call.body);
                Ok(None)
            })?;
        }
        Ok(answer.unwrap_or_default())
    }
}

/// The call that follows one that ended.
#[derive(Debug)]
pub(crate) struct Next {
    pub(crate) path: &'static str,
    pub(crate) message: Vec<u8>,
    pub(crate) keep: Keep,
}
