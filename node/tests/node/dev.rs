//! `quorate dev`: real members, by their real program.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use quorate_api::etcdserverpb::{PutRequest, RangeRequest};
use quorate_client::{Client, Options};
use rustix::process::{Pid, Signal, kill_process};

/// Enough for three members on a machine that does other things, too.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `quorate dev`.
struct Dev {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Dev {
    fn start(folder: &Path, words: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_quorate"))
            .arg("dev")
            .arg("--data-dir")
            .arg(folder)
            .args(words)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program is there");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, said: Vec::new() }
    }

    /// Read up to a line with this in it.
    fn wait_for(&mut self, part: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("{part:?} was not said, but:\n{}", self.said.join("\n"));
            };
            self.said.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("an id");
        kill_process(Pid::from_raw(id).expect("not 0"), signal).expect("it runs");
    }

    /// Ctrl-C; its exit code.
    fn stop(mut self) -> Option<i32> {
        self.signal(Signal::INT);
        self.wait_for("stopped; the data is in");
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // Its members end with it when it is asked to, not when it is killed.
            self.signal(Signal::TERM);
            let _ = self.child.wait();
        }
    }
}

/// A folder that is gone with its value.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("dev-{}-{name}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The first of so many free ports in a row.
fn free_ports(count: u16) -> u16 {
    for _ in 0..100 {
        let Ok(first) = TcpListener::bind(("127.0.0.1", 0)) else { continue };
        let Ok(address) = first.local_addr() else { continue };
        let base = address.port();
        let Some(last) = base.checked_add(count - 1) else { continue };
        if (base + 1..=last).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return base;
        }
    }
    panic!("no {count} free ports in a row");
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

/// The process of a member, by the arguments that it was started with.
fn member(folder: &Path, name: &str) -> Option<Pid> {
    let data = format!("--data-dir={}", folder.join(name).display());
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    processes.into_iter().find_map(|process| {
        let arguments = std::fs::read(process.path().join("cmdline")).ok()?;
        let mut arguments = arguments.split(|byte| *byte == 0);
        arguments.any(|argument| argument == data.as_bytes()).then_some(())?;
        Pid::from_raw(process.file_name().to_str()?.parse().ok()?)
    })
}

#[test]
fn a_cluster_comes_up_and_goes_on_where_it_was() {
    let folder = Folder::new("cluster");
    let base = free_ports(6).to_string();
    let mut dev = Dev::start(&folder.0, &["--base-port", &base]);
    dev.wait_for("a new cluster");
    dev.wait_for("Ready: 3 members");
    let export = dev.wait_for("export ETCDCTL_ENDPOINTS=");
    let endpoints = export.split_once('=').expect("a variable").1.to_owned();
    let endpoints: Vec<&str> = endpoints.split(',').collect();
    assert_eq!(endpoints.len(), 3);
    block_on(async {
        let client = Client::connect(&endpoints, Options::default()).expect("endpoints");
        let put = PutRequest { key: "k".into(), value: "v".into(), ..PutRequest::default() };
        client.put(put).await.expect("written");
    });
    assert_eq!(dev.stop(), Some(0));
    assert_eq!(member(&folder.0, "m1"), None, "no member outlives it");

    let mut dev = Dev::start(&folder.0, &[]);
    dev.wait_for("going on with the data");
    dev.wait_for("Ready: 3 members");
    block_on(async {
        let client = Client::connect(&endpoints, Options::default()).expect("endpoints");
        let range = RangeRequest { key: "k".into(), ..RangeRequest::default() };
        let range = client.range(range).await.expect("read");
        assert_eq!(range.kvs.first().map(|kv| kv.value.as_ref()), Some(&b"v"[..]));
    });
    let victim = member(&folder.0, "m2").expect("m2 runs");
    kill_process(victim, Signal::KILL).expect("killed");
    dev.wait_for("has ended (signal: 9 (SIGKILL)); it is not restarted");
    dev.wait_for("the last lines of");
    assert_eq!(dev.stop(), Some(0));
}

#[test]
fn one_that_is_terminated_takes_its_members_along() {
    let folder = Folder::new("terminated");
    let base = free_ports(2).to_string();
    let mut dev = Dev::start(&folder.0, &["--members=1", "--base-port", &base]);
    dev.wait_for("Ready: 1 member,");
    dev.signal(Signal::TERM);
    dev.wait_for("stopped; the data is in");
    assert_eq!(dev.child.wait().expect("it ends").code(), Some(0));
    assert_eq!(member(&folder.0, "m1"), None);
}
