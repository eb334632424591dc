//! What the port answers, by the client's functions and byte for byte.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::*;
use crate::peer::client::{self, AskError};

/// Runs a question.
pub(super) fn ask<T>(question: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(question)
}

fn refused<T: std::fmt::Debug>(answer: Result<T, AskError>) -> Error {
    match answer {
        Err(AskError::Refused(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// Sends a request as it is; the answer, whole.
pub(super) fn raw(node: &Node, request: &str) -> String {
    let mut socket = TcpStream::connect(node.address()).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(node: &Node, path: &str, headers: &str) -> String {
    raw(node, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n"))
}

const HEADERS: &str = "X-Server-From: b\r\nX-Server-Version: 3.7.1\r\n\
                       X-Min-Cluster-Version: 3.0.0\r\nX-Raft-To: a\r\n";

#[test]
fn questions_are_answered() {
    let node = Node::start(0xa);
    let nowhere = "http://127.0.0.1:1".to_owned();
    let urls = [nowhere, node.url()];
    ask(async {
        assert_eq!(client::renew_lease(&Dialer::default(), &urls, 1, PATIENCE).await.unwrap(), 60);
        let lost = client::renew_lease(&Dialer::default(), &urls, 5, PATIENCE).await;
        assert_eq!(refused(lost), Error::LeaseNotFound);
        let elsewhere = client::renew_lease(&Dialer::default(), &urls, 2, PATIENCE).await;
        assert!(matches!(elsewhere, Err(AskError::Answer { .. })), "{elsewhere:?}");
        let left =
            client::lease_time_left(&Dialer::default(), &urls, 1, true, PATIENCE).await.unwrap();
        assert_eq!((left.ttl, left.granted_ttl, left.keys.len()), (5, 60, 1));
        let lost = client::lease_time_left(&Dialer::default(), &urls, 3, true, PATIENCE).await;
        assert_eq!(refused(lost), Error::LeaseNotFound);

        let members = client::promote(&Dialer::default(), &urls, 1, None, PATIENCE).await.unwrap();
        assert_eq!(members, node.ear.members());
        for (member, error) in
            [(2, Error::MemberNotLearner), (3, Error::LearnerNotReady), (9, Error::MemberNotFound)]
        {
            assert_eq!(
                refused(client::promote(&Dialer::default(), &urls, member, None, PATIENCE).await),
                error
            );
        }
        let with_token =
            client::promote(&Dialer::default(), &urls, 4, Some("secret"), PATIENCE).await;
        assert!(matches!(with_token, Err(AskError::Answer { .. })), "{with_token:?}");

        let members = client::fetch_members(&Dialer::default(), &urls, PATIENCE).await.unwrap();
        assert_eq!(members, (CLUSTER, node.ear.members()));
        let version = client::fetch_version(&Dialer::default(), &urls, PATIENCE).await.unwrap();
        assert_eq!((version.server.as_str(), version.cluster.as_str()), ("3.7.1", "3.7.0"));
        assert!(
            !client::fetch_downgrade_enabled(&Dialer::default(), &urls, PATIENCE).await.unwrap()
        );

        let hash = client::hash_kv(&Dialer::default(), &urls, CLUSTER, 5, PATIENCE).await.unwrap();
        assert_eq!(hash, node.ear.hash_kv(5).await.unwrap());
        for (cluster, revision, error) in [
            (CLUSTER, 1, Error::Compacted),
            (CLUSTER, 9, Error::FutureRevision),
            (CLUSTER + 1, 5, Error::ClusterIdMismatch),
        ] {
            let answer =
                client::hash_kv(&Dialer::default(), &urls, cluster, revision, PATIENCE).await;
            assert_eq!(refused(answer), error);
        }
    });
}

#[test]
fn nobody_answers() {
    let urls = ["http://127.0.0.1:1".to_owned()];
    let answer = ask(client::fetch_version(&Dialer::default(), &urls, PATIENCE));
    assert!(matches!(answer, Err(AskError::Dial(_))), "{answer:?}");
    let answer = ask(client::fetch_version(&Dialer::default(), &["nonsense".to_owned()], PATIENCE));
    assert!(matches!(answer, Err(AskError::NoAddress)), "{answer:?}");
}

#[test]
fn answers_are_etcds() {
    let node = Node::start(0xa);
    for (path, status, body) in [
        (
            "/members",
            200,
            "[{\"id\":7,\"peerURLs\":[\"http://a:1\"],\"name\":\"\\u003ca\\u003e\"}]\n",
        ),
        ("/version", 200, r#"{"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}"#),
        ("/downgrade/enabled", 200, "false"),
        ("/nothing", 404, "404 page not found\n"),
        ("/raft", 405, "Method Not Allowed\n"),
        ("/raft/snapshot", 405, "Method Not Allowed\n"),
        ("/leases", 405, "Method Not Allowed\n"),
        ("/members/promote/1", 405, "Method Not Allowed\n"),
    ] {
        let answer = get(&node, path, "");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{path}: {answer}");
    }
    assert!(get(&node, "/members", "").contains("x-etcd-cluster-id: c\r\n"));
    assert!(get(&node, "/raft", "").contains("allow: POST\r\n"));
    let probe = get(&node, "/raft/probing", "");
    assert!(probe.contains("{\"OK\":true,\"Now\":\"20") && probe.ends_with("Z\"}\n"), "{probe}");
}

#[test]
fn streams_are_refused_as_etcd_does() {
    let node = Node::start(0xa);
    node.ear.removed.lock().insert(0xdead);
    let cluster = format!("{HEADERS}X-Etcd-Cluster-ID: c\r\n");
    let known = PeerInfo { id: 0xb, urls: vec!["http://127.0.0.1:1".to_owned()] };
    node.transport.set_peers(&[known]);
    let old = "X-Server-Version: 2.3.0\r\nX-Min-Cluster-Version: 2.3.0\r\n";
    let other = format!("{HEADERS}X-Etcd-Cluster-ID: d\r\n");
    let elsewhere = cluster.replace("X-Raft-To: a", "X-Raft-To: e");
    for (path, headers, status, body) in [
        ("/raft/stream/msgapp/b", old, 412, "incompatible version"),
        ("/raft/stream/msgapp/b", &other, 412, "cluster ID mismatch"),
        ("/raft/stream/msgapp/b", &elsewhere, 412, "to field mismatch"),
        ("/raft/stream/message/dead", &cluster, 410, "removed member"),
        ("/raft/stream/message/f", &cluster, 404, "error sender not found"),
        ("/raft/stream/message/xyz", &cluster, 404, "invalid from"),
        ("/raft/stream/other/b", &cluster, 404, "invalid path"),
    ] {
        let answer = get(&node, path, headers);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{body}\n")), "{path}: {answer}");
        assert!(answer.contains("x-etcd-cluster-id: c\r\n"), "{path}: {answer}");
        assert!(answer.contains("x-server-version: 3.7.1\r\n"), "{path}: {answer}");
    }
}

#[test]
fn posts_are_refused_as_etcd_does() {
    let node = Node::start(0xa);
    let post = |path: &str, body: &[u8], cluster: &str| {
        let mut socket = TcpStream::connect(node.address()).unwrap();
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{HEADERS}\
             X-Etcd-Cluster-ID: {cluster}\r\ncontent-length: {length}\r\n\r\n"
        );
        socket.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    };
    for (path, body, cluster, status, text) in [
        ("/raft", &b"\xff\xff"[..], "c", 400, "error unmarshalling raft message"),
        ("/raft", b"", "d", 412, "cluster ID mismatch"),
        ("/raft", b"", "c", 403, "cannot process message to mismatch member"),
        ("/raft/snapshot", b"", "c", 400, "it ends early"),
        ("/raft/snapshot", &[0xff; 8], "c", 400, "exceeds the limit"),
        ("/raft/snapshot", &[0; 8], "c", 400, "wrong raft message type"),
        ("/leases", &[0; 65_537], "c", 413, "request body too large"),
        ("/leases", b"\xff", "c", 400, "error unmarshalling request"),
        ("/leases", b"\x08\x02", "c", 500, "not a primary lessor"),
        ("/members/promote/12x", b"", "c", 404, "member 12x not found in cluster"),
    ] {
        let answer = post(path, body, cluster);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
        assert!(answer.contains(text), "{path}: {answer}");
    }
}
