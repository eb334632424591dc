//! What flags do, on a running member.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use quorate_api::etcdserverpb::PutRequest;
use quorate_client::{Client, Options};

use crate::clients::{Member, body, free_port};

/// The answer to a request that is written out.
fn ask(mut stream: impl std::io::Read + std::io::Write, request: &str) -> String {
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn put(endpoint: String) -> Result<(), quorate_client::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let client = Client::connect(&[endpoint], Options::default()).expect("an address");
        let put = PutRequest { key: "a".into(), value: "b".into(), ..PutRequest::default() };
        client.put(put).await.map(drop)
    })
}

#[test]
fn http_has_addresses_of_its_own() {
    let port = free_port();
    let urls = format!("--listen-client-http-urls=http://127.0.0.1:{port}");
    let member = Member::start_with("http-urls", &[&urls]);
    let connect = || TcpStream::connect(("127.0.0.1", port)).expect("connects");
    let get = "GET /health HTTP/1.1\nhost: x\nconnection: close\n\n";
    let began = Instant::now();
    while !ask(connect(), get).starts_with("HTTP/1.1 200") {
        assert!(began.elapsed() < Duration::from_secs(30), "{}", ask(connect(), get));
        std::thread::sleep(Duration::from_millis(50));
    }
    let refused = member.get("GET", "/health");
    assert!(refused.starts_with("HTTP/1.1 415"), "{refused}");
    put(member.endpoint()).expect("gRPC is where it was");
    put(format!("http://127.0.0.1:{port}")).expect_err("gRPC is not where plain HTTP is");
}

#[test]
fn clients_come_by_a_socket_of_the_machine() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("flags.sock");
    let url = format!("--listen-metrics-urls=unix://{}", path.display());
    let _member = Member::start_with("unix", &[&url]);
    let get = "GET /livez HTTP/1.1\nhost: x\nconnection: close\n\n";
    let answer = ask(UnixStream::connect(&path).expect("connects"), get);
    assert_eq!(body(&answer), "ok\n", "{answer}");
}

#[test]
fn plain_http_knows_its_names_and_origins() {
    let words = ["--host-whitelist=known,x", "--cors=http://page:1"];
    let member = Member::start_with("hosts", &words);
    let connect = || TcpStream::connect(("127.0.0.1", member.client_port)).expect("connects");
    let known =
        "GET /version HTTP/1.1\nhost: known:2379\norigin: http://page:1\nconnection: close\n\n";
    let answer = ask(connect(), known);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("access-control-allow-origin: http://page:1"), "{answer}");
    let answer = ask(connect(), &known.replace("known:", "evil:"));
    assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
    let answer = ask(connect(), &known.replace("page", "evil"));
    assert!(!answer.contains("access-control"), "{answer}");
    let answer = ask(connect(), &known.replace("GET", "OPTIONS"));
    assert!(answer.starts_with("HTTP/1.1 200") && body(&answer).is_empty(), "{answer}");
    // Calls of gRPC are not pages'.
    put(member.endpoint()).expect("written");
}

#[test]
fn headers_have_a_limit() {
    let member = Member::start_with("headers", &[]);
    let mut stream = TcpStream::connect(("127.0.0.1", member.client_port)).expect("connects");
    let large = "x".repeat(200 << 10);
    // The answer may come, and the connection be closed, before all is sent.
    let _ = stream.write_all(format!("GET / HTTP/1.1\r\nhost: {large}").as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert!(member.get("GET", "/health").starts_with("HTTP/1.1 200"));
}

#[test]
fn lines_go_to_files_and_slow_requests_are_among_them() {
    let path: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join("flags-log.json");
    let _ = std::fs::remove_file(&path);
    let outputs = format!("--log-outputs=stderr,{}", path.display());
    let words = [&outputs, "--warning-unary-request-duration=1ns", "--warning-apply-duration=1ns"];
    let member = Member::start_with("log-file", &words);
    put(member.endpoint()).expect("written");
    // A line is written when what it tells of has been answered already.
    let slow_put = |line: &str| line.contains("request took too long") && line.contains("Put");
    let said = |log: &str| {
        log.contains("ready to serve client requests")
            && log.contains("apply request took too long")
            && log.lines().any(slow_put)
    };
    let began = Instant::now();
    let log = loop {
        let log = std::fs::read_to_string(&path).expect("a log");
        if said(&log) && log.ends_with('\n') {
            break log;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{log}");
        std::thread::sleep(Duration::from_millis(20));
    };
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    }
}

#[test]
fn the_times_of_calls_are_measured_when_asked_for() {
    let member = Member::start_with("extensive", &["--metrics=extensive"]);
    put(member.endpoint()).expect("written");
    let metrics = member.get("GET", "/metrics");
    let labels = "{grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"";
    for expected in [
        format!("grpc_server_handling_seconds_count{labels}}} 1"),
        format!("grpc_server_handling_seconds_bucket{labels},le=\"10\"}} 1"),
        format!("grpc_server_msg_received_total{labels}}} 1"),
        format!("grpc_server_msg_sent_total{labels}}} 1"),
    ] {
        assert!(metrics.contains(&expected), "{expected}: {metrics}");
    }
}

/// A peer that knows nothing but the hash of its data, until the test ends.
fn peer_with_hash(answer: &'static str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let count = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..count]).into_owned();
            let status =
                if request.contains("/members/hashkv") { "200 OK" } else { "404 Not Found" };
            let _ = stream.write_all(
                format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{answer}",
                    answer.len()
                )
                .as_bytes(),
            );
        }
    });
    url
}

#[test]
fn a_member_whose_peers_have_other_data_does_not_serve() {
    let start = |name: &str, peer: &str| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("flags-compare-{name}"));
        let _ = std::fs::remove_dir_all(&folder);
        let own = format!("http://127.0.0.1:{}", free_port());
        let client = format!("http://127.0.0.1:{}", free_port());
        let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_quorate"))
            .args(["--name=one", &format!("--data-dir={}", folder.display())])
            .args([format!("--listen-client-urls={client}")])
            .args([format!("--advertise-client-urls={client}")])
            .args([format!("--listen-peer-urls={own}")])
            .args([format!("--initial-advertise-peer-urls={own}")])
            .args([format!("--initial-cluster=one={own},two={peer}")])
            .arg("--feature-gates=InitialCorruptCheck=true")
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("the program is there");
        let stderr = process.stderr.take().expect("a pipe");
        let mut said = String::new();
        // To the line that ends the look, whichever it is.
        for line in std::io::BufRead::lines(std::io::BufReader::new(stderr)) {
            let line = line.expect("text");
            said.push_str(&line);
            said.push('\n');
            if line.contains("no other data") || line.contains("found data inconsistency") {
                break;
            }
        }
        let ended = said.contains("found data inconsistency").then(|| process.wait());
        let code = ended.map(|ended| ended.expect("ended").code());
        let _ = process.kill();
        let _ = process.wait();
        let _ = std::fs::remove_dir_all(&folder);
        (code, said)
    };
    // An empty store has compacted nothing.
    let other = peer_with_hash(r#"{"header":{"revision":1},"hash":1,"compact_revision":-1}"#);
    let (code, said) = start("other", &other);
    assert_eq!(code, Some(Some(1)), "{said}");
    assert!(said.contains("have other data at revision 1"), "{said}");
    // One that has compacted otherwise, and one that does not answer, are no proof.
    let apart = peer_with_hash(r#"{"header":{"revision":9},"hash":1,"compact_revision":7}"#);
    let (code, said) = start("apart", &apart);
    assert_eq!(code, None, "{said}");
    assert!(said.contains("a peer has compacted otherwise"), "{said}");
    let (code, said) = start("silent", &format!("http://127.0.0.1:{}", free_port()));
    assert_eq!(code, None, "{said}");
    assert!(said.contains("a peer's data cannot be compared"), "{said}");
}
