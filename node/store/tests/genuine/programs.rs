//! The genuine programs: where they are, how they are run.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for a genuine member to answer.
const START_MAX: Duration = Duration::from_secs(20);

/// The programs' folder; `None`, said loudly, if they are not there.
pub(crate) fn folder(test: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let folder = cache.or_else(home)?.join("quorate").join("bin");
    let missing = |name: &&str| !folder.join(name).exists();
    let missing: Vec<_> =
        ["bbolt", "etcd", "etcdctl", "etcdutl"].into_iter().filter(missing).collect();
    if missing.is_empty() {
        return Some(folder);
    }
    eprintln!("SKIPPED {test}: no {missing:?} in {}: run e2e/genuine-etcd", folder.display());
    None
}

/// An empty folder for a test.
pub(crate) fn scratch(test: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Run a program to its end, which must be a good one; what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (out, err) = (&output.stdout, &output.stderr);
    let both = || format!("{}\n{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err));
    assert!(output.status.success(), "{command:?}\n{}", both());
    String::from_utf8(output.stdout).unwrap()
}

/// What a program printed, as JSON.
pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A genuine member that runs until it is dropped.
pub(crate) struct Etcd {
    child: Child,
    endpoint: String,
    programs: PathBuf,
}

impl Etcd {
    /// Start a lone member on a data folder, and wait until it answers.
    pub(crate) fn start(programs: &Path, data: &Path) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (client, peer) = (format!("http://{}", free()), format!("http://{}", free()));
        let child = Command::new(programs.join("etcd"))
            .args(["--name", "default", "--data-dir"])
            .arg(data)
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let etcd = Self { child, endpoint: client, programs: programs.to_owned() };
        let begun = Instant::now();
        while !etcd.command(&["endpoint", "health"]).output().unwrap().status.success() {
            assert!(begun.elapsed() < START_MAX, "the genuine member does not answer");
            thread::sleep(Duration::from_millis(50));
        }
        etcd
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join("etcdctl"));
        command.args(["--endpoints", &self.endpoint]).args(arguments);
        command
    }

    /// Run `etcdctl`; what it printed.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> String {
        run(&mut self.command(arguments))
    }

    /// The HashKV at a revision.
    pub(crate) fn hash_kv(&self, revision: i64) -> u32 {
        let revision = revision.to_string();
        let answer = json(&self.ctl(&["endpoint", "hashkv", "--rev", &revision, "-w", "json"]));
        let hash = answer[0]["HashKV"]["hash"].as_u64().unwrap();
        u32::try_from(hash).unwrap()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
