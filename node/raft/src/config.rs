//! How a member is set up, and what is refused.

use crate::types::{Index, NodeId};

/// How a leader proves that it still leads before it lets a read through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadOnlyOption {
    /// A round of heartbeats answered by a quorum (thesis 6.4).
    #[default]
    Safe,
    /// The check-quorum lease: no messages, but only as right as the members' clocks are.
    LeaseBased,
}

/// The settings of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Who this member is.
    pub id: NodeId,
    /// Ticks without a leader after which a follower campaigns; each member waits a random
    /// time of one to two such spans.
    pub election_ticks: u32,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: u32,
    /// The last entry that the state machine has applied, at a restart. It counts as committed.
    pub applied: Index,
    /// Bytes of entries in one append; 0 for one entry each.
    pub max_message_bytes: u64,
    /// Bytes of committed entries handed out and not yet applied; 0 for `max_message_bytes`.
    pub max_committed_bytes_per_ready: u64,
    /// Bytes of proposals appended and not yet committed, beyond which a leader drops more; 0
    /// for no limit.
    pub max_uncommitted_bytes: u64,
    /// Appends sent to a follower and not yet acknowledged.
    pub max_inflight_messages: usize,
    /// Bytes of commands in those; 0 for no limit.
    pub max_inflight_bytes: u64,
    /// Whether a leader steps down when it has not heard a quorum for an election timeout, and
    /// followers ignore candidates while they hear a leader.
    pub check_quorum: bool,
    /// Whether an election is preceded by asking if it could be won (thesis 9.6).
    pub pre_vote: bool,
    /// How reads are confirmed.
    pub read_only: ReadOnlyOption,
    /// Whether storage work is handed out as messages that are answered when it is done, instead
    /// of being done before [`advance`](crate::RawNode::advance).
    pub async_storage_writes: bool,
    /// Whether a follower refuses proposals instead of forwarding them.
    pub disable_proposal_forwarding: bool,
    /// Whether configuration changes are appended unchecked; only for those who check and order
    /// them by other means.
    pub disable_conf_change_validation: bool,
    /// Whether a leader steps down when it applies its own removal or demotion.
    pub step_down_on_removal: bool,
    /// Seeds the jitter of election timeouts; must differ between members.
    pub seed: u64,
}

impl Config {
    /// Ticks of an election timeout unless told otherwise.
    pub const ELECTION_TICKS: u32 = 10;
    /// Appends in flight unless told otherwise, as etcd has it.
    pub const MAX_INFLIGHT_MESSAGES: usize = 512;
    /// Bytes of an append unless told otherwise, as etcd has it.
    pub const MAX_MESSAGE_BYTES: u64 = 512 * 1024;

    /// The defaults for member `id`: pre-vote and check-quorum on, reads by quorum.
    pub fn new(id: NodeId) -> Config {
        Config {
            id,
            election_ticks: Config::ELECTION_TICKS,
            heartbeat_ticks: 1,
            applied: Index::ZERO,
            max_message_bytes: Config::MAX_MESSAGE_BYTES,
            max_committed_bytes_per_ready: 0,
            max_uncommitted_bytes: 0,
            max_inflight_messages: Config::MAX_INFLIGHT_MESSAGES,
            max_inflight_bytes: 0,
            check_quorum: true,
            pre_vote: true,
            read_only: ReadOnlyOption::Safe,
            async_storage_writes: false,
            disable_proposal_forwarding: false,
            disable_conf_change_validation: false,
            step_down_on_removal: false,
            seed: id.0,
        }
    }

    /// Checks the settings and replaces each zero by the limit that it stands for.
    pub(crate) fn into_valid(mut self) -> Result<Config, ConfigError> {
        if self.id.is_none() || self.id.is_local_thread() {
            return Err(ConfigError::Id(self.id));
        }
        if self.heartbeat_ticks == 0 {
            return Err(ConfigError::HeartbeatTicks);
        }
        if self.election_ticks <= self.heartbeat_ticks {
            return Err(ConfigError::ElectionTicks);
        }
        if self.max_inflight_messages == 0 {
            return Err(ConfigError::InflightMessages);
        }
        if self.max_uncommitted_bytes == 0 {
            self.max_uncommitted_bytes = u64::MAX;
        }
        if self.max_committed_bytes_per_ready == 0 {
            self.max_committed_bytes_per_ready = self.max_message_bytes.max(1);
        }
        if self.max_inflight_bytes == 0 {
            self.max_inflight_bytes = u64::MAX;
        } else if self.max_inflight_bytes < self.max_message_bytes {
            return Err(ConfigError::InflightBytes);
        }
        if self.read_only == ReadOnlyOption::LeaseBased && !self.check_quorum {
            return Err(ConfigError::LeaseWithoutCheckQuorum);
        }
        Ok(self)
    }
}

/// Why a member was not set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Zero and the two storage pseudo-members cannot be members.
    #[error("{0} is not a member id")]
    Id(NodeId),
    /// A leader must send heartbeats.
    #[error("heartbeat ticks must be above 0")]
    HeartbeatTicks,
    /// A follower must outwait at least one heartbeat.
    #[error("election ticks must be above heartbeat ticks")]
    ElectionTicks,
    /// At least one append must be allowed in flight.
    #[error("in-flight messages must be above 0")]
    InflightMessages,
    /// A full message must fit in flight.
    #[error("in-flight bytes must not be below the bytes of a message")]
    InflightBytes,
    /// Without check-quorum there is no lease to read under.
    #[error("lease-based reads need check_quorum")]
    LeaseWithoutCheckQuorum,
    /// The stored configuration contradicts itself.
    #[error("stored configuration: {0}")]
    ConfState(#[from] crate::ConfChangeError),
    /// More is stored as committed than the stored log holds: its end is lost.
    #[error("stored commit index {commit} is beyond the stored log's end {last}")]
    CommitBeyondLog {
        /// What the hard state says.
        commit: Index,
        /// The end of the log.
        last: Index,
    },
    /// Something was applied that the stored log does not reach to.
    #[error("applied index {applied} is outside the stored log [{first}, {last}]")]
    AppliedOutOfRange {
        /// What the settings say.
        applied: Index,
        /// The last index that a snapshot covers.
        first: Index,
        /// The end of the log.
        last: Index,
    },
    /// The storage failed.
    #[error("storage: {0}")]
    Storage(#[from] crate::StorageError),
}
