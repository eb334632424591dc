//! From a socket that connected to a connection whose other end is known.
//!
//! ```text
//!   socket ─► gate ─► hello ─► the certificates of now ─► handshake ─► address ─► connection
//!             └───────────── within HANDSHAKE_TIMEOUT, or it ends ─────────────┘
//! ```
//! All listeners of all kinds come through here. It knows no request.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use rustls::server::Acceptor as Hello;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::gate::{Gate, Limits, Place};
use super::live::Live;
use super::names::{Names, SystemDirectory, is_of_address};

/// How long a handshake may take. Go's clients give up sooner, and a name server that is asked for
/// a peer's name has answered by then.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a handshake has inside before it gives way to others: several round trips around the
/// world, and the wait for a busy processor.
const PACE: Duration = Duration::from_secs(1);

/// Handshakes that go on at a time on one listener. Each holds at most a hello of 64 KiB; a
/// thousand are more than a processor gets done in [`PACE`].
const INSIDE_MAX: usize = 1_024;

/// Connections of one listener that have said nothing yet, or wait. Each costs a socket and less
/// than two kibibytes.
const OUTSIDE_MAX: usize = 8_192;

/// Between two lines about refused connections of one listener.
const REFUSALS_EVERY: Duration = Duration::from_secs(1);

/// Why a connection did not come to be.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    /// It is cut off, or what was said is refused.
    #[error(transparent)]
    Broken(#[from] io::Error),
    /// It took too long.
    #[error("the handshake took more than {} s", HANDSHAKE_TIMEOUT.as_secs())]
    Timeout,
    /// Too many others came.
    #[error("too many handshakes at a time")]
    TooMany,
    /// There is no certificate to show.
    #[error("there is no certificate to show")]
    NoCertificate,
    /// A certificate of somewhere else.
    #[error(
        "the certificate is for {names}, and comes from {address}; \
         --peer-skip-client-san-verification lets it in"
    )]
    Address {
        /// Whose certificate it is.
        names: String,
        /// Who has shown it.
        address: IpAddr,
    },
}

/// A socket that connected.
pub(crate) trait Arrived: AsyncRead + AsyncWrite + Unpin + Send + Sync {
    /// Waits until there is something to read.
    fn said_something(&self) -> impl Future<Output = io::Result<()>> + Send;
    /// Where it comes from, if that is an address.
    fn from(&self) -> Option<IpAddr>;
}

impl Arrived for TcpStream {
    async fn said_something(&self) -> io::Result<()> {
        self.readable().await
    }

    fn from(&self) -> Option<IpAddr> {
        self.peer_addr().ok().map(|address| address.ip().to_canonical())
    }
}

impl Arrived for UnixStream {
    async fn said_something(&self) -> io::Result<()> {
        self.readable().await
    }

    fn from(&self) -> Option<IpAddr> {
        None
    }
}

/// The handshakes of one listener.
pub(crate) struct Acceptor {
    live: Arc<Live>,
    gate: Mutex<Gate<Arc<Notify>>>,
    refusals: Refusals,
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").field("live", &self.live).finish_non_exhaustive()
    }
}

impl Acceptor {
    pub(crate) fn new(live: &Arc<Live>) -> Arc<Self> {
        let live = live.clone();
        let limits = Limits { outside: OUTSIDE_MAX, inside: INSIDE_MAX };
        let gate = Mutex::new(Gate::new(limits));
        Arc::new(Self { live, gate, refusals: Refusals::default() })
    }

    /// There is no room for more connections: one whose handshake has not ended has to end.
    pub(crate) fn give_way(&self) {
        let ended = self.gate.lock().give_way();
        wake(ended);
    }

    /// The connection of a socket; says why if there is none.
    pub(crate) async fn accept<S: Arrived>(&self, socket: S) -> Option<TlsStream<S>> {
        let from = socket.from();
        match self.shake_hands(socket).await {
            Ok(stream) => Some(stream),
            Err(error) => {
                self.refusals.tell(self.live.options().side.name(), from, &error);
                None
            }
        }
    }

    async fn shake_hands<S: Arrived>(&self, socket: S) -> Result<TlsStream<S>, HandshakeError> {
        let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
        let visit = Visit::new(&self.gate);
        let inside = timeout_at(deadline, visit.inside(socket.said_something()));
        inside.await.map_err(|_| HandshakeError::Timeout)??;
        // What follows is large; those that never come so far do without.
        let shaken = Box::pin(timeout_at(deadline, self.shake_hands_inside(socket)));
        tokio::select! {
            shaken = shaken => shaken.map_err(|_| HandshakeError::Timeout)?,
            () = visit.ended() => Err(HandshakeError::TooMany),
        }
    }

    async fn shake_hands_inside<S: Arrived>(
        &self,
        socket: S,
    ) -> Result<TlsStream<S>, HandshakeError> {
        let from = socket.from();
        let hello = LazyConfigAcceptor::new(Hello::default(), socket).await?;
        let config = self.live.now().server.ok_or(HandshakeError::NoCertificate)?;
        let stream = hello.into_stream(config).await?;
        if let Some(from) = from
            && self.live.options().checks_addresses
        {
            check_address(&stream, from).await?;
        }
        Ok(stream)
    }
}

/// A certificate, if one was shown, is of the address that it comes from.
async fn check_address<S>(stream: &TlsStream<S>, from: IpAddr) -> Result<(), HandshakeError> {
    let (_, connection) = stream.get_ref();
    let Some(certificate) = connection.peer_certificates().and_then(|all| all.first()) else {
        return Ok(());
    };
    let Some(names) = Names::of(certificate) else {
        let error = "the certificate's names cannot be read";
        return Err(io::Error::new(io::ErrorKind::InvalidData, error).into());
    };
    let text = names.to_string();
    let look_up = move || is_of_address(&names, from, &SystemDirectory);
    let is_of_address = tokio::task::spawn_blocking(look_up).await.unwrap_or(false);
    if is_of_address { Ok(()) } else { Err(HandshakeError::Address { names: text, address: from }) }
}

/// One connection at the gate, which it leaves when this is dropped.
struct Visit<'a> {
    gate: &'a Mutex<Gate<Arc<Notify>>>,
    number: u64,
    news: Arc<Notify>,
}

impl<'a> Visit<'a> {
    fn new(gate: &'a Mutex<Gate<Arc<Notify>>>) -> Self {
        let news = Arc::new(Notify::new());
        let (number, ended) = gate.lock().arrive(news.clone());
        wake(ended);
        Self { gate, number, news }
    }

    fn place(&self) -> Place {
        self.gate.lock().place(self.number)
    }

    /// Waits for its first byte, and then for a place inside.
    async fn inside(
        &self,
        said_something: impl Future<Output = io::Result<()>>,
    ) -> Result<(), HandshakeError> {
        tokio::select! {
            said = said_something => said?,
            () = self.until(|place| place == Place::Ended) => return Err(HandshakeError::TooMany),
        }
        let ended = self.gate.lock().knock(self.number);
        wake(ended);
        self.until(|place| matches!(place, Place::Inside | Place::Ended)).await;
        match self.place() {
            Place::Inside => Ok(()),
            Place::Silent | Place::Waiting | Place::Ended => Err(HandshakeError::TooMany),
        }
    }

    /// Waits until it has had its time inside, and somebody else needs its place.
    async fn ended(&self) {
        tokio::time::sleep(PACE).await;
        let admitted = self.gate.lock().grow_slow(self.number);
        wake(admitted);
        self.until(|place| place == Place::Ended).await;
    }

    async fn until(&self, is_so: impl Fn(Place) -> bool) {
        while !is_so(self.place()) {
            self.news.notified().await;
        }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let admitted = self.gate.lock().leave(self.number);
        wake(admitted);
    }
}

fn wake(other: Option<Arc<Notify>>) {
    if let Some(other) = other {
        other.notify_one();
    }
}

/// Lines about connections that were refused: some, however many there are.
#[derive(Debug, Default)]
struct Refusals {
    last: Mutex<Option<Instant>>,
    untold: AtomicU64,
}

impl Refusals {
    fn tell(&self, side: &str, from: Option<IpAddr>, error: &HandshakeError) {
        let from = from.map(|address| address.to_string()).unwrap_or_default();
        let now = Instant::now();
        let is_told = {
            let mut last = self.last.lock();
            let is_told = last.is_none_or(|last| now.duration_since(last) >= REFUSALS_EVERY);
            if is_told {
                *last = Some(now);
            }
            is_told
        };
        if is_told {
            let untold = self.untold.swap(0, Relaxed);
            tracing::warn!(side, from, %error, untold, "a connection is refused");
        } else {
            self.untold.fetch_add(1, Relaxed);
            tracing::debug!(side, from, %error, "a connection is refused");
        }
    }
}
