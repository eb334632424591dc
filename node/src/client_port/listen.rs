//! Sockets that clients connect to.

use std::fs;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;

use quorate_api::urls::Url;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that wait to be accepted: many clients may come at once after a restart.
const BACKLOG: i32 = 4096;

/// One thread's socket of an address.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(std::net::TcpListener),
    Unix(UnixListener),
}

/// Whose a port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ports {
    /// This process's.
    Own,
    /// Also that of other processes which share it.
    Shared,
}

/// Open an address for so many threads. A Unix socket is for the first thread alone.
pub(super) fn open(url: &Url, threads: usize, ports: Ports) -> io::Result<Vec<Listener>> {
    if url.scheme().is_unix() {
        return Ok(vec![Listener::Unix(open_unix(url.address())?)]);
    }
    let address = resolve(url)?;
    if ports == Ports::Own {
        // Sockets that share a port would share it with another member of this user, too: first
        // make sure that nobody has it.
        drop(open_tcp(address, Sharing::Alone)?);
    }
    (0..threads).map(|_| open_tcp(address, Sharing::WithThreads).map(Listener::Tcp)).collect()
}

/// The first address of the host, IPv4 before IPv6, as Go picks it.
fn resolve(url: &Url) -> io::Result<SocketAddr> {
    let addresses: Vec<SocketAddr> = if url.host().is_empty() {
        format!("[::]{}", url.address()).to_socket_addrs()?.collect()
    } else {
        url.address().to_socket_addrs()?.collect()
    };
    let first = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    first.copied().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the host has no address"))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Alone,
    WithThreads,
}

fn open_tcp(address: SocketAddr, sharing: Sharing) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if sharing == Sharing::WithThreads {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() && address.ip().is_unspecified() {
        // Every address of the machine, those of IPv4 among them.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if sharing == Sharing::WithThreads {
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}

fn open_unix(path: &str) -> io::Result<UnixListener> {
    // A socket that nobody listens on any more is left by a process that was killed.
    let is_stale = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
        && std::os::unix::net::UnixStream::connect(path).is_err();
    if is_stale {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
