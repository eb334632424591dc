//! One member as a process of its own, with an address, a folder and a log of its own.
//!
//! Each has a loopback address to itself, made of this process's id and a number: so the usual
//! ports are free, stay free while a member is down, and tests that run beside each other never
//! meet.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use quorate_client::{Client, Options};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// Enough for anything that should happen at once, on a machine that does other things, too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// What a member says when it serves.
const READY: &str = "ready to serve client requests";

const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;

/// Look until there is something to see.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// A folder for a test. It is left where it is when the test fails.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let name = format!("{name}-{}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
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
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// The program, without the variables of whoever runs the tests.
pub(crate) fn quorate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("ETCD_") {
            command.env_remove(variable);
        }
    }
    command
}

/// A member, running or not. It ends with its value.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) data: PathBuf,
    folder: PathBuf,
    address: Ipv4Addr,
    /// What peers know it by, if not by its address.
    peer_host: Option<String>,
    arguments: Vec<String>,
    process: Option<Child>,
    starts: u32,
}

impl Member {
    /// A member that does not run yet, with its files in the folder.
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let address = next_address();
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let data = folder.join("data");
        let (name, arguments) = (name.to_owned(), Vec::new());
        let (peer_host, process) = (None, None);
        Self { name, data, folder, address, peer_host, arguments, process, starts: 0 }
    }

    pub(crate) fn client_url(&self) -> String {
        format!("http://{}:{CLIENT_PORT}", self.address)
    }

    pub(crate) fn peer_url(&self) -> String {
        match &self.peer_host {
            Some(host) => format!("http://{host}:{PEER_PORT}"),
            None => self.listen_peer_url(),
        }
    }

    fn listen_peer_url(&self) -> String {
        format!("http://{}:{PEER_PORT}", self.address)
    }

    /// Where it is.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its peers know it by this name.
    pub(crate) fn set_peer_host(&mut self, host: &str) {
        self.peer_host = Some(host.to_owned());
    }

    /// As `--initial-cluster` names it.
    pub(crate) fn as_initial(&self) -> String {
        format!("{}={}", self.name, self.peer_url())
    }

    /// It has nothing of what it wrote any more.
    pub(crate) fn begin_anew(&mut self) {
        assert!(self.process.is_none(), "{} runs", self.name);
        std::fs::remove_dir_all(&self.data).expect("it wrote something");
    }

    /// From now on it is elsewhere.
    pub(crate) fn move_away(&mut self) {
        self.address = next_address();
    }

    /// What it is started with from now on, beside who and where it is.
    pub(crate) fn set_arguments(&mut self, arguments: &[&str]) {
        self.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    }

    /// Start it, and do not wait.
    pub(crate) fn start(&mut self) {
        let command = quorate();
        self.start_under(command);
    }

    /// Start it by a command that takes its arguments.
    pub(crate) fn start_under(&mut self, mut command: Command) {
        assert!(self.process.is_none(), "{} runs", self.name);
        self.starts += 1;
        let log = std::fs::File::create(self.log_path()).expect("a file");
        let (client, peer) = (self.client_url(), self.peer_url());
        command
            .arg(format!("--name={}", self.name))
            .arg(format!("--data-dir={}", self.data.display()))
            .arg(format!("--listen-client-urls={client}"))
            .arg(format!("--advertise-client-urls={client}"))
            .arg(format!("--listen-peer-urls={}", self.listen_peer_url()))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::from(log));
        self.process = Some(command.spawn().expect("the program is there"));
    }

    /// The log of this start; each start has its own.
    fn log_path(&self) -> PathBuf {
        self.folder.join(format!("log-{}.txt", self.starts))
    }

    /// What it has said since its last start.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read(self.log_path()).expect("a log");
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Wait until it serves, or fail with what it says.
    pub(crate) async fn wait_ready(&mut self) {
        let what = format!("{} is ready: see {:?}", self.name, self.log_path());
        eventually(&what, async || {
            if self.log().contains(READY) {
                return Some(());
            }
            let ended = self.ended();
            assert!(ended.is_none(), "{} ended, {ended:?}:\n{}", self.name, self.log());
            None
        })
        .await;
    }

    /// Wait until it serves, and `true`, or ends.
    pub(crate) async fn ready_or_ended(&mut self) -> bool {
        let what = format!("{} is ready or ends: see {:?}", self.name, self.log_path());
        eventually(&what, async || match self.log().contains(READY) {
            true => Some(true),
            false => self.has_ended().then_some(false),
        })
        .await
    }

    /// Wait until it says this.
    pub(crate) async fn wait_for(&self, words: &str) {
        let what = format!("{} says {words:?}: see {:?}", self.name, self.log_path());
        eventually(&what, async || self.log().contains(words).then_some(())).await;
    }

    /// How it ended, if it has.
    fn ended(&mut self) -> Option<ExitStatus> {
        let ended = self.process.as_mut()?.try_wait().expect("its state");
        if ended.is_some() {
            self.process = None;
        }
        ended
    }

    /// Wait until it ends by itself.
    pub(crate) async fn wait_end(&mut self) -> ExitStatus {
        let what = format!("{} ends: see {:?}", self.name, self.log_path());
        eventually(&what, async || self.ended()).await
    }

    /// Whether it has ended by itself; how, is what [`Member::wait_end`] says.
    pub(crate) fn has_ended(&mut self) -> bool {
        let id = i32::try_from(self.id()).ok().and_then(Pid::from_raw).expect("an id");
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(id), options).expect("its state").is_some()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.id()).expect("an id");
        kill_process(Pid::from_raw(id).expect("not 0"), signal).expect("it runs");
    }

    /// End it at once.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().expect("killed");
        process.wait().expect("ended");
    }

    /// Ask it to end, and do not wait.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Let it stand still, as a machine that sleeps.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Let it go on.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Where it listens for its peers.
    pub(crate) fn listen_as_peer(&self) -> std::io::Result<TcpListener> {
        TcpListener::bind((self.address, PEER_PORT))
    }

    /// Kill it and start it again, and do not wait.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.start();
    }

    /// A client of this member alone.
    pub(crate) fn client(&self) -> Client {
        client(&[self.client_url()])
    }

    /// A connection to the port for clients.
    pub(crate) fn connect(&self) -> std::io::Result<TcpStream> {
        TcpStream::connect((self.address, CLIENT_PORT))
    }

    /// The answer to a plain request, headers and all; nothing if there is none.
    pub(crate) fn http(&self, method: &str, path: &str) -> Option<String> {
        let mut stream = self.connect().ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A loopback address that nobody else has.
fn next_address() -> Ipv4Addr {
    static NUMBER: AtomicU8 = AtomicU8::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    assert_ne!(number, 0, "no address is left for another member");
    let [.., high, low] = std::process::id().to_be_bytes();
    // Not 127.0.0.x, where other programs of the machine are.
    Ipv4Addr::new(127, 128 | high, low, number)
}

/// A client of these endpoints.
pub(crate) fn client(endpoints: &[String]) -> Client {
    Client::connect(endpoints, Options::default()).expect("endpoints")
}
