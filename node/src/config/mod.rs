//! A member's configuration: every setting checked, every default applied, in one place.
//!
//! ```text
//!   Given (flags, environment) ──► Config::read ──► Config + notices     or a ConfigError, exit 1
//!   Config + an empty directory ──► Config::check_initial_cluster
//! ```
//!
//! The rules and the texts of errors are etcd's. It opens nothing and asks nobody, except for
//! the addresses of names when peer URLs of this member are compared.
//!
//! ```text
//!   data-dir/lock     held by the running member
//!   data-dir/log/     the write-ahead log, unless --wal-dir is its folder
//!   data-dir/store/   the store
//! ```

mod bootstrap;
mod error;
mod read;
#[cfg(test)]
mod tests;
mod tls;

use std::path::PathBuf;
use std::time::Duration;

use quorate_api::urls::{InitialCluster, Url, Urls};

use crate::args::gates::Gate;
use crate::tls::Options;
pub use error::ConfigError;

/// The folder of the log in the data directory.
pub const LOG_FOLDER: &str = "log";
/// The folder of the store in the data directory.
pub const STORE_FOLDER: &str = "store";

/// How a member runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// The member's name (`--name`).
    pub name: String,
    /// The folder of its data (`--data-dir`).
    pub data_dir: PathBuf,
    /// Another folder for the log (`--wal-dir`).
    pub wal_dir: Option<PathBuf>,
    /// Where to listen for clients; at least one.
    pub listen_client_urls: Urls,
    /// Where to listen for peers; at least one.
    pub listen_peer_urls: Urls,
    /// Where to listen for plain HTTP of clients. If anywhere, the client URLs are for gRPC alone.
    pub listen_client_http_urls: Vec<Url>,
    /// Where to listen for metrics and health alone; often nothing.
    pub listen_metrics_urls: Vec<Url>,
    /// Whether other processes may listen at the same ports.
    pub shares_ports: bool,
    /// Names that plain HTTP may call the member by, joined by commas; `*` for any.
    pub host_whitelist: String,
    /// Origins whose pages may ask over plain HTTP, joined by commas; `*` for any.
    pub cors: String,
    /// Where clients reach the member.
    pub advertise_client_urls: Urls,
    /// Where peers reach the member.
    pub initial_advertise_peer_urls: Urls,
    /// The first members, by name. Of meaning only for an empty directory.
    pub initial_cluster: InitialCluster,
    /// What an empty directory becomes.
    pub initial_cluster_state: ClusterState,
    /// Whether a directory with data becomes the only member of its cluster.
    pub force_new_cluster: bool,
    /// Keeps clusters with the same URLs apart.
    pub initial_cluster_token: String,
    /// Milliseconds from tick to tick, above 0.
    pub heartbeat_ms: u64,
    /// Milliseconds of an election timeout: at least five heartbeats, at most 50 000.
    pub election_ms: u64,
    /// Whether a candidate asks first whether it could win.
    pub pre_vote: bool,
    /// Whether the first election timeout after a start is a short one.
    pub advance_first_election: bool,
    /// Applied entries between two checkpoints, above 0.
    pub snapshot_entries: u64,
    /// Entries kept behind a checkpoint for members that lag.
    pub catch_up_entries: u64,
    /// Bytes of a file of the log and of the store, a multiple of 512.
    pub segment_bytes: u64,
    /// Bytes of live data above which writes are refused; `None` for no limit.
    pub quota_bytes: Option<u64>,
    /// How much history is kept without being asked.
    pub auto_compaction: AutoCompaction,
    /// The largest request of a client, in bytes.
    pub request_bytes_max: u64,
    /// The most operations of a transaction.
    pub txn_ops_max: usize,
    /// The most streams that one connection may have open.
    pub concurrent_streams_max: u32,
    /// The most members without a vote.
    pub learners_max: usize,
    /// Whether changes of members that would cost the majority are refused.
    pub strict_reconfiguration: bool,
    /// How often an idle watch that wants it hears how far it is.
    pub watch_progress_interval: Duration,
    /// etcd's gates, as they are set.
    pub gates: Vec<Gate>,
    /// Whether the member compares its data with its peers' before it serves.
    pub compares_first: bool,
    /// How often a leader compares its data with its peers'; `None` for never.
    pub comparison_interval: Option<Duration>,
    /// Pings on connections of clients.
    pub keep_alive: KeepAlive,
    /// Bytes of memory that the process may have; `None` for what the system says.
    pub memory_bytes_max: Option<u64>,
    /// What takes longer to apply is written to the log.
    pub slow_apply: Duration,
    /// What takes longer to answer is written to the log.
    pub slow_call: Duration,
    /// Whether the time of every call is measured.
    pub measures_calls: bool,
    /// The TLS of clients; `None` if no address speaks it.
    pub client_tls: Option<Options>,
    /// The TLS of peers; `None` if none is asked for.
    pub peer_tls: Option<Options>,
    /// The log for people.
    pub logging: Logging,
}

/// What an empty directory becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterState {
    /// One of the first members of a new cluster.
    New,
    /// A member that a running cluster has added.
    Existing,
}

/// How much history is kept without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCompaction {
    /// All of it.
    Off,
    /// What is younger than this.
    Periodic(Duration),
    /// So many revisions.
    Revisions(i64),
}

/// Pings on connections of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// How often a silent client is pinged; `None` for never.
    pub interval: Option<Duration>,
    /// How long it may take to answer; `None` for ever.
    pub timeout: Option<Duration>,
    /// What must pass between two pings of a client.
    pub ping_interval_min: Duration,
}

/// The log for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// What is written.
    pub level: Level,
    /// How it looks.
    pub format: LogFormat,
    /// Where it goes: to all of these.
    pub outputs: Vec<LogOutput>,
}

/// The least serious lines that are written. etcd's two above error are written as errors here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Everything.
    Debug,
    /// What happens.
    Info,
    /// What may need a look.
    Warn,
    /// What needs one.
    Error,
}

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One object a line.
    Json,
    /// Columns.
    Console,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// The end of a file.
    File(PathBuf),
}

impl Default for Logging {
    fn default() -> Self {
        Self { level: Level::Info, format: LogFormat::Json, outputs: vec![LogOutput::Stderr] }
    }
}

impl Config {
    /// The folder of the log.
    #[must_use]
    pub fn log_folder(&self) -> PathBuf {
        self.wal_dir.clone().unwrap_or_else(|| self.data_dir.join(LOG_FOLDER))
    }

    /// The folder of the store.
    #[must_use]
    pub fn store_folder(&self) -> PathBuf {
        self.data_dir.join(STORE_FOLDER)
    }

    /// The folders that a running member locks: each that it writes to and that can be named
    /// without the other.
    #[must_use]
    pub fn locked_folders(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.data_dir.clone()];
        folders.extend(self.wal_dir.clone());
        folders
    }

    /// Heartbeats in an election timeout.
    #[must_use]
    pub fn election_ticks(&self) -> u32 {
        u32::try_from(self.election_ms / self.heartbeat_ms.max(1)).unwrap_or(u32::MAX)
    }
}
