//! A genuine member: one process, and requests to its JSON gateway.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::json;
use crate::request::{Answer, Request};

/// Tries to reach a member that starts, 50 ms apart.
const START_TRIES: usize = 400;

/// Where genuine etcd is, if it is anywhere.
pub(super) fn program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("QUORATE_TEST_ETCD") {
        return Some(named.into());
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    Some(cache.join("quorate/bin/etcd")).filter(|program| program.exists())
}

/// A running member.
pub(super) struct Member {
    command: Command,
    process: Child,
    address: String,
    folder: PathBuf,
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

impl Member {
    pub(super) fn start(program: &Path) -> Self {
        static STARTED: AtomicU64 = AtomicU64::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("quorate-genuine-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let (address, peers) = (free_address(), free_address());
        let (clients, peers) = (format!("http://{address}"), format!("http://{peers}"));
        let mut command = Command::new(program);
        command
            .args(["--name", "one", "--unsafe-no-fsync", "--log-level", "error"])
            .arg("--data-dir")
            .arg(&folder)
            .args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("one={peers}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = command.spawn().unwrap();
        let member = Self { command, process, address, folder };
        member.wait_for_start();
        member
    }

    /// Kill the member, and start it again with what it has on its disk.
    pub(super) fn restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = self.command.spawn().unwrap();
        self.wait_for_start();
    }

    fn wait_for_start(&self) {
        for _ in 0..START_TRIES {
            if self.post("/v3/maintenance/status", "{}").is_some() {
                return;
            }
            wait();
        }
        panic!("genuine etcd does not start");
    }

    fn post(&self, path: &str, body: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        // HTTP/1.0: the answer is one piece, up to the end of the stream.
        let length = body.len();
        let head = format!("POST {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        serde_json::from_str(body).ok()
    }

    pub(super) fn answer(&mut self, request: &Request) -> Answer {
        let (path, body) = json::encode(request);
        let answer = self.post(path, &body.to_string()).expect("the member answers");
        if answer.get("code").is_some() {
            return Err(answer["message"].as_str().unwrap().to_owned());
        }
        Ok(json::decode(request, &answer))
    }
}

#[expect(clippy::disallowed_methods, reason = "a process of its own takes its time to start")]
fn wait() {
    std::thread::sleep(Duration::from_millis(50));
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
