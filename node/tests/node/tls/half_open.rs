//! Thousands who connect and never finish their handshake: nobody else notices.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::authority::{Authority, as_is};
use super::caller::{Caller, DOORS, PATIENCE, range_again, roots};
use super::member::{Folder, Member, OK, block_on};

/// Connections that stay half open.
const HALF_OPEN: usize = 10_000;

/// Files that a process needs beside them.
const FILES_BESIDE: u64 = 500;

/// Memory that they may cost.
const BYTES_MAX: u64 = 64 << 20;

/// How long a client may wait for a new connection meanwhile. It is the machine that takes long.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// As many connections as this process, and one that it starts, may have; says so if it is fewer
/// than wanted.
fn connections() -> usize {
    let wanted = HALF_OPEN as u64 + FILES_BESIDE;
    let limit = getrlimit(Resource::Nofile);
    let maximum = limit.maximum.unwrap_or(u64::MAX);
    if limit.current.is_none_or(|current| current >= wanted) {
        return HALF_OPEN;
    }
    let raised = Rlimit { current: Some(wanted.min(maximum)), maximum: limit.maximum };
    let higher = Rlimit { current: Some(wanted), maximum: Some(wanted.max(maximum)) };
    let possible = match setrlimit(Resource::Nofile, higher) {
        Ok(()) => wanted,
        Err(_) => match setrlimit(Resource::Nofile, raised) {
            Ok(()) => wanted.min(maximum),
            Err(_) => limit.current.unwrap_or(wanted),
        },
    };
    let connections = usize::try_from(possible - FILES_BESIDE).unwrap_or(HALF_OPEN);
    if connections < HALF_OPEN {
        eprintln!("SCALED DOWN: only {connections} connections, as the limit of open files is low");
    }
    connections.min(HALF_OPEN)
}

#[test]
fn ten_thousand_half_open_connections_starve_nobody() {
    let connections = connections();
    let root = Authority::root("root", &as_is);
    let folder = Folder::new("half-open");
    let member = root.member("one", &as_is);
    folder.write("member.pem", &member.chain);
    folder.write("member.key", &member.key);
    folder.write("ca.pem", &root.pem);
    let mut one = Member::start(
        &folder,
        &[
            "--cert-file=member.pem",
            "--key-file=member.key",
            "--trusted-ca-file=ca.pem",
            "--peer-cert-file=member.pem",
            "--peer-key-file=member.key",
            "--peer-trusted-ca-file=ca.pem",
        ],
    );
    one.wait_until_ready();
    let client = root.client("client", &as_is);
    let caller = Caller::new(&roots(&root.pem), Some(&client));
    block_on(async {
        let stream = caller.connect(one.client, &[b"h2"]).await.expect("it lets a client in");
        let (executor, io) =
            (hyper_util::rt::TokioExecutor::new(), hyper_util::rt::TokioIo::new(stream));
        let (mut old, connection) =
            hyper::client::conn::http2::handshake(executor, io).await.expect("HTTP/2");
        tokio::spawn(connection);
        for door in DOORS {
            assert_eq!(caller.ask(door, one.address(door)).await, OK, "{door:?}");
        }
        let before = one.resident_bytes();
        let mut half_open = Vec::with_capacity(connections);
        let (mut most, mut slowest) = (before, Duration::ZERO);
        for number in 0..connections {
            // Most at the clients' address, some at the peers'; some begin to speak.
            let address = if number % 4 == 3 { one.peer } else { one.client };
            let mut stream = TcpStream::connect(address).expect("the listener listens");
            if number % 3 == 1 {
                let _ = stream.write_all(&[22, 3, 1, 1, 0, 1, 0, 0]);
            }
            half_open.push(stream);
            if number % 500 == 499 {
                for door in DOORS {
                    let began = Instant::now();
                    let outcome = caller.ask(door, one.address(door)).await;
                    assert_eq!(outcome, OK, "{door:?} after {number}");
                    slowest = slowest.max(began.elapsed());
                    let asked = range_again(&mut old, one.client).await;
                    assert!(matches!(asked, Ok(200)), "after {number}: {asked:?}");
                }
                most = most.max(one.resident_bytes());
            }
        }
        let grown = most.saturating_sub(before);
        eprintln!(
            "{connections} half-open connections: {} KiB more, the slowest answer in {slowest:?}",
            grown >> 10
        );
        assert!(grown <= BYTES_MAX, "{grown} bytes more");
        assert!(slowest <= CONNECT_MAX, "an answer took {slowest:?}");
        // They are not waited for: the member hangs up.
        let last = half_open.last().expect("some");
        last.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let ended = std::io::Read::read(&mut { last }, &mut [0; 64]);
        let is_waiting = ended.as_ref().is_err_and(|error| {
            matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
        });
        assert!(!is_waiting, "{ended:?}");
        for door in DOORS {
            assert_eq!(caller.ask(door, one.address(door)).await, OK, "{door:?}");
        }
    });
}
