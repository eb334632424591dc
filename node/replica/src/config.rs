//! What a member is told once.

use quorate_raft::NodeId;

/// A member's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// This member.
    pub member: NodeId,
    /// Differs at every start of the member; makes read contexts and request ids unique.
    pub boot: u64,
    /// Seed of the election jitter.
    pub seed: u64,
    /// Milliseconds from tick to tick: the heartbeat interval.
    pub tick_ms: u64,
    /// Ticks without a leader after which a follower campaigns.
    pub election_ticks: u32,
    /// Whether the first election timeout after a start is a short one.
    pub advance_first_election: bool,
    /// Whether a candidate asks first whether it could win.
    pub pre_vote: bool,
    /// Applied entries after which the in-memory log is cut.
    pub snapshot_entries: u64,
    /// Entries kept behind the cut for followers that lag.
    pub catch_up_entries: u64,
    /// Bytes of entries in memory above which the log is cut earlier.
    pub log_bytes_max: u64,
    /// Bytes of entries in one message to a peer.
    pub message_bytes_max: u64,
    /// Messages in flight to one follower.
    pub inflight_messages_max: usize,
    /// Live bytes above which the store takes no more growth; `None` for no limit.
    pub quota_bytes: Option<u64>,
    /// Whether membership changes that endanger the quorum are refused.
    pub strict_reconfiguration: bool,
    /// How many learners a cluster may have.
    pub learners_max: usize,
}

/// Ticks that the first election timeout has at least when it is shortened: a leader that is there
/// shows itself by then.
pub(crate) const FIRST_ELECTION_TICKS_MIN: u32 = 3;
/// Bytes in flight to one follower: keeps a slow one from pinning memory.
pub(crate) const INFLIGHT_BYTES_MAX: u64 = 64 << 20;
/// Bytes that a leader takes before a quorum has them.
pub(crate) const UNCOMMITTED_BYTES_MAX: u64 = 256 << 20;
/// Bytes of entries in one [`Effect::Apply`](crate::Effect::Apply).
pub(crate) const APPLY_BYTES_MAX: u64 = 4 << 20;
/// Requests that may wait for their end at one time.
pub(crate) const IN_FLIGHT_MAX: usize = 100_000;
/// Committed but not applied entries above which clients are refused (etcd's `maxGapBetween...`).
pub(crate) const APPLY_GAP_MAX: u64 = 5_000;
/// The same for requests of high priority.
pub(crate) const APPLY_GAP_HIGH_MAX: u64 = 10_000;
/// Milliseconds after which a confirmation of leadership is asked again.
pub(crate) const READ_RETRY_MS: u64 = 500;
/// Confirmations of leadership in flight at one time.
pub(crate) const READ_ATTEMPTS_MAX: usize = 8;
/// The part of a request's timeout that does not depend on elections, in milliseconds.
pub(crate) const REQUEST_TIMEOUT_MS: u64 = 5_000;
/// Milliseconds for which members must have been connected to count as healthy.
pub(crate) const HEALTH_INTERVAL_MS: u64 = 5_000;

impl Config {
    /// Bytes of entries in one message, unless somebody wants others (etcd's `maxSizePerMsg`).
    pub const MESSAGE_BYTES_MAX: u64 = 1 << 20;
    /// Messages in flight to one follower, likewise (etcd's `maxInflightMsgs`).
    pub const INFLIGHT_MESSAGES_MAX: usize = 512;

    /// Milliseconds of one election timeout.
    #[must_use]
    pub fn election_timeout_ms(&self) -> u64 {
        self.tick_ms.saturating_mul(u64::from(self.election_ticks))
    }

    /// Milliseconds after which a request fails: etcd's 5 s and two election timeouts.
    #[must_use]
    pub fn request_timeout_ms(&self) -> u64 {
        REQUEST_TIMEOUT_MS + 2 * self.election_timeout_ms()
    }

    /// Shortest lease in seconds: etcd's one and a half election timeouts, rounded up.
    #[must_use]
    pub fn lease_ttl_min_seconds(&self) -> i64 {
        let milliseconds = self.election_timeout_ms().saturating_mul(3).div_ceil(2);
        i64::try_from(milliseconds.div_ceil(1_000)).unwrap_or(i64::MAX)
    }
}
