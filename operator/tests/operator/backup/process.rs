//! Real processes on loopback: a member, the operator's task, and a line between them that is cut.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use quorate_api::etcdserverpb::PutRequest;
use quorate_client::{Client, Options};
use quorate_operator::backup::task::{Report, Task};
use serde_json::Value;

/// How long anything may take that takes a moment.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A folder that is gone with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("quorate-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A process that is ended with the test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Waits until something is so.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < SOON, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The server's program, beside the operator's; built if it is not there or older than its sources.
pub(crate) fn quorate() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let program = Path::new(env!("CARGO_BIN_EXE_quorate-operator")).with_file_name("quorate");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let built = std::fs::metadata(&program).and_then(|file| file.modified()).ok();
        if built.is_none_or(|built| built < newest(&root.join("node"))) {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let output = Command::new(cargo)
                .args(["build", "--workspace", "--bin", "quorate", "--offline", "--locked"])
                .current_dir(root)
                .output()
                .expect("cargo runs this test, so it is there");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        program
    };
    PROGRAM.get_or_init(build).clone()
}

/// When something in a folder was changed last.
fn newest(folder: &Path) -> SystemTime {
    let entries =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let times = entries.map(|entry| match entry.file_type().expect("a type").is_dir() {
        true => newest(&entry.path()),
        false => entry.metadata().and_then(|file| file.modified()).expect("a time"),
    });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A member alone.
pub(crate) struct Member {
    process: Running,
    pub(crate) client_port: u16,
    pub(crate) data: PathBuf,
}

impl Member {
    /// The flags of a member of its own cluster, with these data.
    pub(crate) fn identity(data: &Path, peer_port: u16) -> Vec<String> {
        vec![
            "--name=m".to_owned(),
            format!("--data-dir={}", data.display()),
            format!("--initial-cluster=m=http://127.0.0.1:{peer_port}"),
            format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer_port}"),
            "--segment-bytes=1048576".to_owned(),
        ]
    }

    pub(crate) fn start(folder: &Path, name: &str) -> Self {
        Self::start_with(folder.join(name), free_port())
    }

    pub(crate) fn start_with(data: PathBuf, peer_port: u16) -> Self {
        let client_port = free_port();
        let mut words = Self::identity(&data, peer_port);
        words.extend([
            format!("--listen-peer-urls=http://127.0.0.1:{peer_port}"),
            format!("--listen-client-urls=http://127.0.0.1:{client_port}"),
            format!("--advertise-client-urls=http://127.0.0.1:{client_port}"),
            "--auto-compaction-retention=0".to_owned(),
        ]);
        let log = std::fs::File::create(data.with_extension("log")).expect("a file");
        let process = Command::new(quorate())
            .args(&words)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the server's program");
        let member = Self { process: Running(process), client_port, data };
        eventually("the member listens", || {
            TcpStream::connect(("127.0.0.1", client_port)).ok().map(drop)
        });
        member
    }

    pub(crate) fn stop(self) -> PathBuf {
        let Self { process, data, client_port: _ } = self;
        drop(process);
        data
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    pub(crate) async fn client(&self) -> Client {
        let client = Client::connect(&[self.endpoint()], Options::default()).expect("an endpoint");
        let began = Instant::now();
        while client.status().await.map_or(0, |status| status.leader) == 0 {
            assert!(began.elapsed() < SOON, "the member does not lead");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        client
    }

    /// Fills it with so many values of this size; the last revision.
    pub(crate) async fn fill(&self, count: usize, bytes: usize) -> i64 {
        let client = self.client().await;
        let mut revision = 0;
        for number in 0..count {
            let key = format!("key/{number:05}").into();
            // Not to be compressed, nor equal to another.
            let mut seed = number as u64 + 1;
            let value: Vec<u8> = (0..bytes)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (seed >> 33) as u8
                })
                .collect();
            let put = PutRequest { key, value: value.into(), ..PutRequest::default() };
            revision = client.put(put).await.expect("written").header.expect("a header").revision;
        }
        revision
    }
}

/// Runs a task to its end, with this root; its report, and what it printed.
pub(crate) fn run_task(root: &Path, task: &Task) -> (Report, String) {
    run_task_for(root, task, 2)
}

pub(crate) fn run_task_for(root: &Path, task: &Task, patience: u64) -> (Report, String) {
    let report = root.join("report");
    let output = task_command(root, task, patience, &report).output().expect("the program");
    finished(&report, output.status.success(), &output.stdout, &output.stderr)
}

pub(crate) fn task_command(root: &Path, task: &Task, patience: u64, report: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate-operator"));
    command
        .arg("task")
        .args(["--root", &root.to_string_lossy()])
        .args(["--report", &report.to_string_lossy()])
        .args(["--patience", &patience.to_string()])
        .arg(serde_json::to_string(task).expect("JSON"));
    command
}

pub(crate) fn finished(
    report: &Path,
    is_ok: bool,
    stdout: &[u8],
    stderr: &[u8],
) -> (Report, String) {
    let said = format!("{}{}", String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr));
    let text = std::fs::read_to_string(report).unwrap_or_else(|error| panic!("{error}: {said}"));
    let report = Report::parse(&text).unwrap_or_else(|| panic!("no report: {text}: {said}"));
    assert_eq!(is_ok, !matches!(report, Report::Failed(_)), "{report:?}");
    assert!(text.len() < 4096, "longer than a pod's last message may be");
    (report, said)
}

/// A line to an address that may be cut.
pub(crate) struct Line {
    pub(crate) port: u16,
    plan: Arc<Plan>,
}

struct Plan {
    to: SocketAddr,
    /// Bytes after which a connection is cut, both directions together; 0 for never.
    cut_after: AtomicU64,
    /// Connections that are cut; those that follow are left alone.
    cuts_left: AtomicUsize,
    passed: AtomicU64,
}

impl Line {
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let own = listener.local_addr().expect("an address").port();
        let plan = Arc::new(Plan {
            to: ([127, 0, 0, 1], port).into(),
            cut_after: AtomicU64::new(0),
            cuts_left: AtomicUsize::new(usize::MAX),
            passed: AtomicU64::new(0),
        });
        let shared = Arc::clone(&plan);
        // It ends with the process of the test.
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                carry(connection, &shared);
            }
        });
        Self { port: own, plan }
    }

    pub(crate) fn cut(&self, after: u64, times: usize) {
        self.plan.cut_after.store(after, SeqCst);
        self.plan.cuts_left.store(times, SeqCst);
    }

    pub(crate) fn passed(&self) -> u64 {
        self.plan.passed.load(SeqCst)
    }
}

fn carry(near: TcpStream, plan: &Arc<Plan>) {
    let Ok(far) = TcpStream::connect(plan.to) else { return };
    let so_far = Arc::new(AtomicU64::new(0));
    for (from, to) in [(&near, &far), (&far, &near)] {
        let (mut from, mut to) =
            (from.try_clone().expect("a line"), to.try_clone().expect("a line"));
        let (plan, so_far) = (Arc::clone(plan), Arc::clone(&so_far));
        std::thread::spawn(move || {
            let mut buffer = vec![0; 16 << 10];
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                let count = so_far.fetch_add(read as u64, SeqCst) + read as u64;
                plan.passed.fetch_add(read as u64, SeqCst);
                let limit = plan.cut_after.load(SeqCst);
                if limit != 0 && count > limit {
                    let left =
                        plan.cuts_left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
                    if left.is_ok() {
                        break;
                    }
                }
                if to.write_all(&buffer[..read]).is_err() {
                    break;
                }
            }
            let _ = from.shutdown(std::net::Shutdown::Both);
            let _ = to.shutdown(std::net::Shutdown::Both);
        });
    }
}

/// What a command of the server's prints as JSON.
pub(crate) fn json_of(words: &[&str]) -> Value {
    let output = Command::new(quorate()).args(words).output().expect("the program");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The names of all files below a folder, without those of the server's own.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("below");
                found.push(name.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}
