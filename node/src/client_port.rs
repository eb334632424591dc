//! The port for clients: gRPC and plain HTTP on one address.
//!
//! ```text
//!   listener of each thread ─► TLS, if it is ─► HTTP/1.1 or HTTP/2 ─► application/grpc ? grpc
//!   (SO_REUSEPORT)             https        stays on the thread                        : http
//! ```
//! Each thread has a runtime of its own, and a connection stays where it lands: no work moves
//! between threads. It knows no request, only how requests arrive.

mod authority;
mod connection;
mod lingering;
mod listen;
mod open_files;
mod output;
mod pings;

use std::io;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use quorate_api::limits::REQUEST_OVERHEAD_BYTES;
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::grpc::{Grpc, GrpcOptions};
use crate::http::{Access, Paths, Plain, Transport};
use crate::member::{Member, deliver};
use crate::memory::Budget;
use crate::pace;
use crate::stopping::StopSwitch;
use crate::tls::{Acceptor, Live};
use connection::{Connections, Door, Serves, Service};
use listen::Ports;

/// How long calls may take to end once the member stops: longer than a request waits for its
/// entry would only keep the process.
const DRAIN: Duration = Duration::from_secs(5);

/// Tasks that a thread runs before it looks for what has arrived. The runtime's usual number suits
/// tasks of a microsecond; a small call must not stand behind dozens that write large answers.
const TASKS_BETWEEN_EVENTS: u32 = 4;

/// Why the port cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {url}: {source}")]
    Listen {
        /// The URL as it was given.
        url: String,
        /// What the system says.
        source: io::Error,
    },
    /// No connection could be served.
    #[error(transparent)]
    Files(#[from] open_files::TooFew),
    /// No thread or runtime can be had.
    #[error("cannot start a thread for clients: {0}")]
    Thread(#[from] io::Error),
}

/// The port, open but not served: connections wait until [`ClientPort::serve`].
#[derive(Debug)]
pub struct ClientPort {
    /// For each thread its listeners.
    listeners: Vec<Vec<(Door, Serves)>>,
    grpc: GrpcOptions,
    access: Arc<Access>,
    connections: Connections,
}

impl ClientPort {
    /// Open the addresses of clients and of metrics, with the TLS that those with `https` speak.
    ///
    /// # Errors
    /// [`Error::Listen`].
    pub fn open(config: &Config, live: Option<&Arc<Live>>) -> Result<Self, Error> {
        let clients_tls = live.map(Acceptor::new);
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let mut listeners: Vec<Vec<_>> = (0..threads).map(|_| Vec::new()).collect();
        let connections_max = open_files::connections_max()?;
        let is_split = !config.listen_client_http_urls.is_empty();
        let clients = if is_split { Serves::Grpc } else { Serves::Everything };
        let clients = config.listen_client_urls.as_slice().iter().map(|url| (url, clients));
        let plain = config.listen_client_http_urls.iter().map(|url| (url, Serves::Http));
        let metrics = config.listen_metrics_urls.iter().map(|url| (url, Serves::Metrics));
        let ports = if config.shares_ports { Ports::Shared } else { Ports::Own };
        for (url, serves) in clients.chain(plain).chain(metrics) {
            let secure = url.scheme().is_tls();
            let opened = listen::open(url, threads, ports)
                .map_err(|source| Error::Listen { url: url.to_string(), source })?;
            for (thread, listener) in listeners.iter_mut().zip(opened) {
                // Clients share their room, so those on their way to it are one crowd, too.
                let tls = secure.then(|| match serves {
                    Serves::Metrics => live.map(Acceptor::new),
                    Serves::Everything | Serves::Grpc | Serves::Http => clients_tls.clone(),
                });
                let tls = tls.flatten();
                assert_eq!(tls.is_some(), secure, "https is never served without TLS");
                thread.push((Door { listener, tls }, serves));
            }
        }
        let message_bytes = config.request_bytes_max.saturating_add(REQUEST_OVERHEAD_BYTES);
        Ok(Self {
            listeners,
            grpc: GrpcOptions {
                message_bytes_max: usize::try_from(message_bytes).unwrap_or(usize::MAX),
                request_bytes_max: config.request_bytes_max,
                watch_progress_interval: config.watch_progress_interval,
                election_timeout: Duration::from_millis(config.election_ms),
                quota_bytes: config.quota_bytes,
                slow_call: config.slow_call,
                budget: Budget::new(config.memory_bytes_max),
            },
            access: Arc::new(Access::new(&config.host_whitelist, &config.cors)),
            connections: Connections {
                streams_max: config.concurrent_streams_max,
                keep_alive: config.keep_alive,
                room: Arc::new(Semaphore::new(connections_max)),
            },
        })
    }

    /// Serve clients, on threads of its own.
    ///
    /// # Errors
    /// [`Error::Thread`].
    pub fn serve(self, member: &Member) -> Result<Serving, Error> {
        let (switch, stopping) = StopSwitch::new();
        let mut threads = Vec::new();
        for (number, listeners) in self.listeners.into_iter().enumerate() {
            let grpc = Grpc::new(member, &self.grpc, &stopping);
            let plain = Plain {
                member: member.clone(),
                paths: Paths::All,
                transport: Transport::Plain,
                access: self.access.clone(),
                budget: self.grpc.budget.clone(),
            };
            let (connections, stopping) = (self.connections.clone(), stopping.clone());
            let member = member.clone();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .event_interval(TASKS_BETWEEN_EVENTS)
                .build()?;
            let run = move || {
                let all = listeners.into_iter().map(|(door, serves)| {
                    let plain = Plain { transport: door.transport(), ..plain.clone() };
                    let service = Service::new(grpc.clone(), plain, serves);
                    let connections = match serves {
                        Serves::Metrics => connections.of_metrics(),
                        Serves::Everything | Serves::Grpc | Serves::Http => connections.clone(),
                    };
                    connection::accept(door, service, connections, stopping.clone())
                });
                runtime.spawn(pace::keep());
                runtime.spawn(deliver());
                runtime.spawn(member.end_rounds());
                runtime.block_on(connection::run(all.collect(), DRAIN));
                // Blocking readers of snapshots see that nobody takes their pieces.
                runtime.shutdown_background();
            };
            threads.push(thread::Builder::new().name(format!("clients-{number}")).spawn(run)?);
        }
        Ok(Serving { switch, threads })
    }
}

/// The port being served.
#[derive(Debug)]
pub struct Serving {
    switch: StopSwitch,
    threads: Vec<JoinHandle<()>>,
}

impl Serving {
    /// Take no more connections, end streams, let calls end for some seconds, and return.
    pub fn stop(self) {
        self.switch.throw();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread for clients has panicked");
            }
        }
    }
}
