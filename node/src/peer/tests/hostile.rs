//! Bytes that are no messages, from both sides of a connection.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use proptest::prelude::*;

use super::answers::raw;
use super::*;

/// Answers every stream with these bytes, chunk after chunk, until the listener is dropped.
fn liar(chunks: Vec<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for chunk in chunks.into_iter() {
            let Ok((mut socket, _)) = listener.accept() else { return };
            let mut request = [0; 4_096];
            let _ = socket.read(&mut request);
            let _ = socket.write_all(&chunk);
        }
    });
    address
}

fn stream_of(bytes: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nX-Server-Version: 3.7.1\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n",
        bytes.len()
    );
    [head.as_bytes(), bytes, b"\r\n"].concat()
}

/// Whether the node still does its work.
fn still_serves(node: &Node) {
    let other = Node::start(0xe);
    link(&[node, &other]);
    other.transport.send(message(MessageKind::MsgHeartbeat, other.id, node.id, 9));
    until("a message", || node.ear.messages.lock().iter().any(|message| message.index == Index(9)));
}

#[test]
fn malformed_streams_are_closed_and_dialled_again() {
    let node = Node::start(0xa);
    let frames: [&[u8]; 5] = [
        &[9],
        &[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[2, 0, 0, 0, 0, 0, 0, 0, 2, 0xff, 0xff],
        &[0xff; 8],
        &[0, 0, 0, 0, 0, 0, 0, 2, 0xff, 0xff],
    ];
    // Twice, because either of the two streams may take the first.
    let chunks: Vec<_> = frames.iter().chain(&frames).map(|bytes| stream_of(bytes)).collect();
    let count = chunks.len();
    let address = liar(chunks);
    node.transport.set_peers(&[PeerInfo { id: 0xb, urls: vec![format!("http://{address}")] }]);
    until("all lies to be told", || TcpStream::connect(&address).is_err());
    let ups = node.ear.links.lock().iter().filter(|(_, up)| *up).count();
    assert!((1..=count).contains(&ups), "{ups}");
    assert_eq!(node.received(), 0);
    still_serves(&node);
}

#[test]
fn requests_that_are_none_end_their_connections() {
    let node = Node::start(0xa);
    for request in ["\r\n\r\n\r\n", "GET", "\0\0\0\0", "POST /raft HTTP/9.9\r\n\r\n"] {
        let mut socket = TcpStream::connect(node.address()).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        drop(socket);
    }
    let answer = raw(&node, "NONSENSE\r\n\r\n");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    still_serves(&node);
}

#[test]
fn any_bytes_posted_are_refused_or_taken() {
    let node = Node::start(0xa);
    let paths = prop::sample::select(vec!["/raft", "/raft/snapshot", "/leases", "/members/hashkv"]);
    let config = ProptestConfig { failure_persistence: None, cases: 64, ..Default::default() };
    proptest!(config, |(path in paths, body in prop::collection::vec(any::<u8>(), 0..200))| {
        let method = if path == "/members/hashkv" { "GET" } else { "POST" };
        let mut socket = TcpStream::connect(node.address()).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nX-Server-From: b\r\n\
             X-Server-Version: 3.7.1\r\nX-Min-Cluster-Version: 3.0.0\r\nX-Etcd-Cluster-ID: c\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        socket.write_all(&[head.as_bytes(), &body].concat()).unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        prop_assert!(answer.starts_with(b"HTTP/1.1 "));
    });
    assert_eq!(node.received(), 0);
    still_serves(&node);
}
