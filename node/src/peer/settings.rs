//! What a transport is told at its start, and its limits.

use std::path::PathBuf;
use std::time::Duration;

use quorate_api::urls::Url;

use super::dial::Dialer;

/// Nothing read from, or no byte taken by, a peer for so long: the connection is dead. etcd's.
pub(super) const SILENCE: Duration = Duration::from_secs(5);

/// Between two heartbeats of a link: three in the time that a peer waits.
pub(super) const LINK_HEARTBEAT: Duration = Duration::from_millis(1_666);

/// Between the end of a stream and the next attempt to dial it. etcd's.
pub(super) const REDIAL: Duration = Duration::from_millis(100);

/// Messages that wait for one stream. etcd's.
pub(super) const OUTBOX_MESSAGES_MAX: usize = 4_096;

/// Bytes of messages that wait for one stream: some seconds of a slow link. A message that is
/// larger is taken when nothing else waits.
pub(super) const OUTBOX_BYTES_MAX: usize = 64 << 20;

/// Messages that wait for the pipeline of a peer. etcd's.
pub(super) const PIPELINE_MESSAGES_MAX: usize = 64;

/// Posts of one peer's pipeline at a time. etcd's.
pub(super) const PIPELINE_WORKERS: usize = 4;

/// The longest body of a POST with one message: an append holds a mebibyte, or one entry, and
/// entries are as large as requests.
pub(super) const PIPELINE_BODY_BYTES_MAX: usize = 64 << 20;

/// The wait for the answer to a POST with one message, in which nothing is written to disk.
pub(super) const POST_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections of the peer port at a time: a few for each of the largest clusters' members.
pub(super) const CONNECTIONS_MAX: usize = 1_024;

/// Senders that are not known here and are answered all the same.
pub(super) const STRANGERS_MAX: usize = 16;

/// Snapshots that arrive at a time: one of the leader, and one of its successor.
pub(super) const SNAPSHOTS_ARRIVING_MAX: usize = 2;

/// The wait for the next bytes of a snapshot: its sender reads them from a disk.
pub(super) const SNAPSHOT_SILENCE: Duration = Duration::from_secs(30);

/// Between two probes of a peer. etcd's.
pub(super) const PROBE: Duration = Duration::from_secs(3);

/// What a transport is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cluster's id.
    pub cluster: u64,
    /// This member's id.
    pub member: u64,
    /// Where to listen.
    pub listen: Vec<Url>,
    /// Where peers reach this member: told to them with each request.
    pub advertise: Vec<Url>,
    /// Where arriving snapshots are written.
    pub snapshot_folder: PathBuf,
    /// The largest snapshot that is taken, in bytes.
    pub snapshot_bytes_max: u64,
    /// The wait for a connection.
    pub dial_timeout: Duration,
    /// How peers are connected to; its certificates are those that peers are shown, too.
    pub dialer: Dialer,
}

/// A peer as the membership knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its id.
    pub id: u64,
    /// Where it is reached.
    pub urls: Vec<String>,
}
