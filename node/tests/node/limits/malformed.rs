//! What no client and no peer should send: bytes by chance, and requests of which some bytes were
//! changed, left out, doubled or cut off, on every port. Nobody else may notice.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use prost::Message as _;
use quorate_api::etcdserverpb::{
    DeleteRangeRequest, HashKvRequest, LeaseGrantRequest, LeaseKeepAliveRequest, PutRequest,
    RangeRequest, TxnRequest, WatchCreateRequest, WatchRequest, watch_request,
};

use super::cluster::{Cluster, figure};
use super::raw;

/// What one connection waits for an answer's end.
const WAIT: Duration = Duration::from_secs(5);

/// Numbers by chance, the same in every run (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// Change some bytes in one of the ways in which senders are wrong.
    fn spoil(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let (at, length) = (self.below(bytes.len()), self.below(40));
            let end = (at + length).min(bytes.len());
            match self.below(6) {
                0 => bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << (length % 8)),
                1 => bytes.truncate(at),
                2 => drop(bytes.drain(at..end)),
                3 => bytes.splice(at..at, bytes[at..end].to_vec()).for_each(drop),
                4 => bytes.splice(at..end, self.bytes(length)).for_each(drop),
                _ => bytes[at..end].fill(if length % 2 == 0 { 0 } else { 0xff }),
            }
        }
    }
}

/// Messages by their methods: those that change keys at most, and no members.
fn calls() -> Vec<(&'static str, Vec<u8>)> {
    let key = b"malformed".to_vec();
    let watch = WatchRequest {
        request_union: Some(watch_request::RequestUnion::CreateRequest(WatchCreateRequest {
            key: key.clone().into(),
            prev_kv: true,
            ..WatchCreateRequest::default()
        })),
    };
    let put = PutRequest { key: key.clone().into(), lease: 7, ..PutRequest::default() };
    let range = RangeRequest { key: key.clone().into(), limit: 9, ..RangeRequest::default() };
    let delete = DeleteRangeRequest { key: key.into(), ..DeleteRangeRequest::default() };
    let grant = LeaseGrantRequest { ttl: 60, id: 0 };
    vec![
        ("/etcdserverpb.KV/Put", put.encode_to_vec()),
        ("/etcdserverpb.KV/Range", range.encode_to_vec()),
        ("/etcdserverpb.KV/RangeStream", range.encode_to_vec()),
        ("/etcdserverpb.KV/DeleteRange", delete.encode_to_vec()),
        ("/etcdserverpb.KV/Txn", TxnRequest::default().encode_to_vec()),
        ("/etcdserverpb.Watch/Watch", watch.encode_to_vec()),
        ("/etcdserverpb.Lease/LeaseGrant", grant.encode_to_vec()),
        ("/etcdserverpb.Lease/LeaseKeepAlive", LeaseKeepAliveRequest { id: 5 }.encode_to_vec()),
        ("/etcdserverpb.Maintenance/HashKV", HashKvRequest { revision: 0 }.encode_to_vec()),
        ("/etcdserverpb.Maintenance/Status", Vec::new()),
        ("/etcdserverpb.Auth/Authenticate", Vec::new()),
        ("/grpc.health.v1.Health/Check", Vec::new()),
        ("/no.such.Service/Method", Vec::new()),
    ]
}

/// A request over plain HTTP.
fn plain(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut bytes =
        format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {length}\r\n\r\n")
            .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// What is sent to the client port next.
fn to_clients(random: &mut Random) -> Vec<u8> {
    let calls = calls();
    let (path, message) = &calls[random.below(calls.len())];
    let mut message = message.clone();
    let mut bytes = match random.below(5) {
        0 => return random.bytes(200),
        1 => {
            // The frames are right, and what they carry is not.
            random.spoil(&mut message);
            return raw::exchange(path, &message);
        }
        2 => {
            let paths = ["/health", "/metrics", "/readyz?verbose", "/version", "/v3/kv/put", "/%"];
            let method = ["GET", "POST", "PUT", "HEAD", "PRI"][random.below(5)];
            plain(method, paths[random.below(paths.len())], "", &message)
        }
        _ => raw::exchange(path, &message),
    };
    random.spoil(&mut bytes);
    bytes
}

/// What is sent to the peer port next. `identity` are the headers of a member of this cluster.
fn to_peers(random: &mut Random, identity: &str) -> Vec<u8> {
    let body = random.bytes(64);
    let headers = if random.below(2) == 0 { identity } else { "x-etcd-cluster-id: 1\r\n" };
    let mut bytes = match random.below(9) {
        0 => return random.bytes(200),
        1 => plain("POST", "/raft", headers, &body),
        2 => plain("POST", "/raft/snapshot", headers, &body),
        3 => plain("GET", "/raft/stream/msgapp/1", headers, b""),
        4 => plain("GET", "/raft/stream/message/zz", headers, b""),
        5 => plain("POST", "/leases", headers, &body),
        6 => plain("POST", "/leases/internal", headers, &body),
        7 => plain("GET", "/members/hashkv", headers, &body),
        _ => plain("POST", "/members/promote/x", headers, b""),
    };
    if random.below(2) == 0 {
        random.spoil(&mut bytes);
    }
    bytes
}

/// Send it all, say that nothing follows, and take whatever is answered.
fn send(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(WAIT)).expect("a timeout");
    stream.set_write_timeout(Some(WAIT)).expect("a timeout");
    // The member may have had enough before that.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// Send it all, and take what is answered until that says something. A connection whose client has
/// said that nothing follows may end with what was asked on it.
fn ask(address: SocketAddr, bytes: &[u8], something: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(WAIT)).expect("a timeout");
    stream.write_all(bytes).expect("it reads");
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    while !answer.windows(something.len()).any(|bytes| bytes == something) {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(read) => answer.extend_from_slice(&piece[..read]),
        }
    }
    answer
}

/// As etcd's Go client before 3.5 does it for maintenance.
#[test]
fn an_address_is_taken_for_an_authority() {
    let member = crate::clients::Member::start_with("authority", &[]);
    let path = "/etcdserverpb.Maintenance/Status";
    let address = member.endpoint();
    let to: SocketAddr = (Ipv4Addr::LOCALHOST, member.client_port).into();
    for authority in [address.as_str(), "https://[::1]:2379", "localhost"] {
        let answer = ask(to, &raw::exchange_with(path, authority, b""), b"3.7.1");
        let has_version = answer.windows(5).any(|bytes| bytes == b"3.7.1");
        assert!(has_version, "{authority}: {:?}", String::from_utf8_lossy(&answer));
    }
    let answer = send(to, &raw::exchange_with(path, "not an authority", b""));
    assert!(!answer.windows(5).any(|bytes| bytes == b"3.7.1"));
}

#[test]
fn malformed_requests_harm_nobody() {
    super::run(async {
        let count = figure("QUORATE_TEST_MALFORMED", 3_000);
        let metrics = crate::clients::free_port();
        let cluster = Cluster::start_with("malformed", |number| match number {
            0 => vec![format!("--listen-metrics-urls=http://127.0.0.1:{metrics}")],
            _ => Vec::new(),
        });
        let identity = cluster.peer_headers().await;
        let metrics: SocketAddr = (Ipv4Addr::LOCALHOST, metrics).into();
        let before = cluster.retained().await;
        let mut random = Random(3);
        for number in 0..count {
            match number % 5 {
                0 | 1 => drop(send(cluster.address(), &to_clients(&mut random))),
                2 | 3 => drop(send(cluster.peer_address(), &to_peers(&mut random, &identity))),
                _ => {
                    let mut bytes = plain("GET", "/metrics", "", b"");
                    random.spoil(&mut bytes);
                    send(metrics, &bytes);
                }
            }
            if number % 500 == 0 {
                super::assert_served(&cluster).await;
            }
        }
        super::assert_served(&cluster).await;
        cluster.assert_nobody_panicked();
        let grown = cluster.retained().await.saturating_sub(before);
        eprintln!("{count} malformed requests: {} KiB", grown >> 10);
        assert!(grown < super::SLACK_BYTES, "{grown} bytes");
    });
}
