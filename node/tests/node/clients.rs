//! One member, as its clients meet it: plain HTTP, many watches at once, and etcdctl.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use quorate_api::etcdserverpb::{PutRequest, WatchCreateRequest};
use quorate_client::{Client, Options};
use rustix::process::{Pid, Signal, kill_process};

/// A running member with a directory of its own, which ends with the test.
pub(crate) struct Member {
    process: Child,
    pub(crate) client_port: u16,
    /// Removed at the end, but for a test that fails.
    folder: PathBuf,
}

/// Whether the member is ready, or at this address plain HTTP is not served.
fn is_ready(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.1 415")
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

impl Member {
    fn start(name: &str) -> Self {
        Self::start_with(name, &[])
    }

    /// A member with further arguments.
    pub(crate) fn start_with(name: &str, arguments: &[&str]) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("clients-{name}"));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        let log = std::fs::File::create(folder.join("log.txt")).expect("a file");
        let (client_port, peer_port) = (free_port(), free_port());
        let (client, peer) =
            (format!("http://127.0.0.1:{client_port}"), format!("http://127.0.0.1:{peer_port}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("ETCD_") {
                command.env_remove(variable);
            }
        }
        let process = command
            .args(["--name", "one", "--data-dir"])
            .arg(folder.join("data"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("one={peer}")])
            .args(arguments)
            .stderr(Stdio::from(log))
            .spawn()
            .expect("the program is there");
        let member = Self { process, client_port, folder };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", client_port)).is_err()
            || !is_ready(&member.get("GET", "/readyz"))
        {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "not ready: see {:?}",
                member.folder
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        member
    }

    /// The answer to a plain request, headers and all.
    pub(crate) fn get(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.client_port)).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    fn terminate(&self) {
        let id = i32::try_from(self.process.id()).expect("an id");
        kill_process(Pid::from_raw(id).expect("not 0"), Signal::TERM).expect("it runs");
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

pub(crate) fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("headers and a body").1
}

#[test]
fn plain_requests_are_answered_as_etcd_does() {
    let member = Member::start("http");
    for (method, path, status, expected) in [
        ("GET", "/health", "200 OK", "{\"health\":\"true\",\"reason\":\"\"}"),
        ("GET", "/health?serializable=true", "200 OK", "{\"health\":\"true\",\"reason\":\"\"}"),
        ("POST", "/health", "405 Method Not Allowed", "Method Not Allowed\n"),
        ("GET", "/livez", "200 OK", "ok\n"),
        ("GET", "/livez?verbose", "200 OK", "[+]serializable_read ok\nok\n"),
        ("GET", "/readyz/non_learner?verbose", "200 OK", "[+]non_learner ok\nok\n"),
        (
            "GET",
            "/readyz?verbose&exclude=linearizable_read",
            "200 OK",
            "[+]data_corruption ok\n[+]serializable_read ok\n[+]non_learner ok\nok\n",
        ),
        ("PUT", "/readyz", "405 Method Not Allowed", "Method Not Allowed\n"),
        ("GET", "/readyz/unknown", "404 Not Found", "404 page not found\n"),
        ("GET", "/", "404 Not Found", "404 page not found\n"),
    ] {
        let answer = member.get(method, path);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{path}: {answer}");
        assert_eq!(body(&answer), expected, "{path}");
    }
    let began = Instant::now();
    let decided = "{\"etcdserver\":\"3.7.1\",\"etcdcluster\":\"3.7.0\",\"storage\":\"3.7.0\"}";
    while body(&member.get("GET", "/version")) != decided {
        assert!(began.elapsed() < Duration::from_secs(10), "{}", member.get("GET", "/version"));
        std::thread::sleep(Duration::from_millis(20));
    }
    let metrics = member.get("GET", "/metrics");
    for line in ["etcd_server_has_leader 1", "etcd_server_is_leader 1", "etcd_server_id{"] {
        assert!(body(&metrics).lines().any(|found| found.starts_with(line)), "{line}: {metrics}");
    }
}

/// Watches that a client creates in one burst, without reading an answer before the last.
const BURST: usize = 5000;

#[test]
fn thousands_of_watches_are_created_in_one_burst_on_one_stream() {
    let member = Member::start("burst");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let client = Client::connect(&[member.endpoint()], Options::default()).expect("an address");
        let create = |number: usize| WatchCreateRequest {
            key: format!("key/{number}").into_bytes().into(),
            ..WatchCreateRequest::default()
        };
        let mut watch = client.watch(create(0)).await.expect("a stream");
        for number in 1..BURST {
            watch.create(create(number)).await.expect("taken");
        }
        for number in 0..BURST {
            let answer = watch.next().await.expect("an answer");
            assert!(answer.created && !answer.canceled, "{answer:?}");
            assert_eq!(answer.watch_id, number as i64);
        }
        let put = PutRequest {
            key: format!("key/{}", BURST - 1).into_bytes().into(),
            value: "value".into(),
            ..PutRequest::default()
        };
        let revision = client.put(put).await.expect("written").header.expect("a header").revision;
        let answer = watch.next().await.expect("an event");
        assert_eq!(answer.watch_id, BURST as i64 - 1);
        assert_eq!(answer.events.len(), 1);
        watch.request_progress().await.expect("asked");
        let answer = watch.next().await.expect("progress");
        assert_eq!((answer.watch_id, answer.events.len()), (-1, 0));
        assert_eq!(answer.header.expect("a header").revision, revision);
    });
}

/// Where the genuine programs are, if they were built.
fn genuine() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let folder = cache.join("quorate/bin");
    folder.join("etcdctl").exists().then_some(folder)
}

/// etcdctl of 3.7, and of older releases where they were asked for.
const ETCDCTLS: [&str; 3] = ["etcdctl", "etcdctl-3.6", "etcdctl-3.5"];

#[test]
fn etcdctl_finds_its_member() {
    let Some(folder) = genuine() else {
        eprintln!("SKIPPED: e2e/genuine-etcd has not built etcdctl");
        return;
    };
    for name in ETCDCTLS {
        if folder.join(name).exists() {
            etcdctl_works(&folder, name);
        } else {
            eprintln!("SKIPPED: {name}, which e2e/genuine-etcd --versions builds");
        }
    }
}

fn etcdctl_works(folder: &Path, name: &str) {
    let member = Member::start(name);
    let backup = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("clients-{name}.db"));
    let _ = std::fs::remove_file(&backup);
    let ctl = |words: &[&str]| {
        let output = Command::new(folder.join(name))
            .args(["--endpoints", &member.endpoint()])
            .args(words)
            .output()
            .expect("etcdctl runs");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    };
    for (words, expected) in [
        (&["put", "a", "1"][..], "OK\n"),
        (&["put", "b", "2"], "OK\n"),
        (&["get", "a"], "a\n1\n"),
        (&["get", "", "--prefix", "--keys-only"], "a\n\nb\n\n"),
        (&["get", "a", "--consistency=s", "--print-value-only"], "1\n"),
        (&["put", "a", "3", "--prev-kv"], "OK\na\n1\n"),
        (&["get", "a", "--rev=2"], "a\n1\n"),
        (&["del", "b", "--prev-kv"], "1\nb\n2\n"),
        (&["compact", "4", "--physical"], "compacted revision 4\n"),
        (&["lease", "grant", "100"], "lease "),
        (&["lease", "list"], "found 1 leases\n"),
        (&["lease", "revoke", "1"], "requested lease not found"),
        (&["lease", "timetolive", "1"], "lease 0000000000000001 already expired\n"),
        (&["member", "list"], ", started, one, "),
        (&["member", "remove", "1"], "member not found"),
        (&["member", "promote", "1"], "member not found"),
        (&["endpoint", "health"], "is healthy"),
        (&["endpoint", "status"], ", 3.7.1, "),
        (&["endpoint", "hashkv"], ", "),
        (&["alarm", "list"], ""),
        (&["defrag"], "Finished defragmenting etcd member["),
        (&["get", "a", "--rev=2"], "mvcc: required revision has been compacted"),
        (&["user", "list"], "unknown service etcdserverpb.Auth"),
    ] {
        let (_, text) = ctl(words);
        assert!(text.contains(expected), "{name} {words:?}: {text}");
    }
    let path = backup.to_str().expect("text");
    let (success, text) = ctl(&["snapshot", "save", path]);
    assert!(success, "{text}");
    let status = Command::new(folder.join("etcdutl"))
        .args(["snapshot", "status", path])
        .output()
        .expect("etcdutl runs");
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("small").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(content);
    bytes
}

#[test]
fn a_client_that_pings_too_often_is_sent_away_as_etcd_does() {
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    let member = Member::start("pings");
    let mut stream = TcpStream::connect(("127.0.0.1", member.client_port)).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    hello.extend(frame(SETTINGS, 0, 0, &[]));
    for _ in 0..4 {
        hello.extend(frame(PING, 0, 0, b"01234567"));
    }
    stream.write_all(&hello).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer and an end");
    let mut goodbye = vec![0, 0, 0, 0, 0, 0, 0, 11];
    goodbye.extend(b"too_many_pings");
    let goodbye = frame(7, 0, 0, &goodbye);
    assert!(answer.ends_with(&goodbye), "{answer:?}");
}

/// A frame's header and content; nothing at the end.
fn read_frame(stream: &mut TcpStream) -> Option<([u8; 9], Vec<u8>)> {
    let mut header = [0; 9];
    let read = stream.read(&mut header).expect("an end that is no reset");
    if read == 0 {
        return None;
    }
    stream.read_exact(&mut header[read..]).expect("a header");
    let mut content = vec![0; u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize];
    stream.read_exact(&mut content).expect("a frame");
    Some((header, content))
}

/// A reset would keep from it that the request was not carried out, as the last GOAWAY says.
#[test]
fn a_client_that_still_asks_while_its_member_stops_is_not_reset() {
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const GOAWAY: u8 = 7;
    const ACK: u8 = 1;
    let mut member = Member::start("asks-on");
    let mut stream = TcpStream::connect(("127.0.0.1", member.client_port)).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    hello.extend(frame(SETTINGS, 0, 0, &[]));
    stream.write_all(&hello).expect("sent");
    let (first, _) = read_frame(&mut stream).expect("a frame");
    assert_eq!(first[3], SETTINGS);
    member.terminate();
    let mut goodbyes = 0;
    while let Some((header, content)) = read_frame(&mut stream) {
        match header[3] {
            PING => stream.write_all(&frame(PING, ACK, 0, &content)).expect("sent"),
            GOAWAY => goodbyes += 1,
            _ => {}
        }
    }
    assert_eq!(goodbyes, 2);
    // The first bytes behind its end reset a socket that is closed, the next ones would be refused.
    for number in 0..4 {
        stream.write_all(&frame(HEADERS, 0, 2 * number + 1, b"as if")).expect("not reset");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(stream.read(&mut [0]).expect("no reset"), 0);
    drop(stream);
    assert_eq!(member.process.wait().expect("ends").code(), Some(0));
}
