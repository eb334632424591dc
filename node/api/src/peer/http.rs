//! Paths, headers and refusals of the peer port.

use crate::identity::format_id;
use crate::version::is_peer_compatible;

/// One message per POST; answered with 204.
pub const PIPELINE_PATH: &str = "/raft";
/// Round-trip probes.
pub const PROBING_PATH: &str = "/raft/probing";
/// A snapshot per POST; answered with 204 when Raft has taken it.
pub const SNAPSHOT_PATH: &str = "/raft/snapshot";
/// The append stream, before the id of the asking member.
pub const STREAM_APPEND_PATH_PREFIX: &str = "/raft/stream/msgapp/";
/// The message stream, before the id of the asking member.
pub const STREAM_MESSAGE_PATH_PREFIX: &str = "/raft/stream/message/";
/// The members, as JSON.
pub const MEMBERS_PATH: &str = "/members";
/// Promotes a learner, before its id in decimal.
pub const PROMOTE_PATH_PREFIX: &str = "/members/promote/";
/// The hash of the keys at a revision, as JSON both ways.
pub const HASH_KV_PATH: &str = "/members/hashkv";
/// Renews a lease at the leader: `LeaseKeepAliveRequest`, `LeaseKeepAliveResponse`.
pub const LEASES_PATH: &str = "/leases";
/// Asks the leader for a lease: `LeaseInternalRequest`, `LeaseInternalResponse`.
pub const LEASES_INTERNAL_PATH: &str = "/leases/internal";
/// Whether a downgrade is under way: `true` or `false`.
pub const DOWNGRADE_ENABLED_PATH: &str = "/downgrade/enabled";
/// The versions of the member, as JSON.
pub const VERSION_PATH: &str = "/version";

/// The sender's id.
pub const SERVER_FROM_HEADER: &str = "X-Server-From";
/// The sender's version.
pub const SERVER_VERSION_HEADER: &str = "X-Server-Version";
/// The oldest cluster version that the sender supports.
pub const MIN_CLUSTER_VERSION_HEADER: &str = "X-Min-Cluster-Version";
/// The cluster's id, on requests and answers.
pub const CLUSTER_ID_HEADER: &str = "X-Etcd-Cluster-ID";
/// The id of the member that a stream is asked of.
pub const RAFT_TO_HEADER: &str = "X-Raft-To";
/// The sender's peer URLs, joined by commas.
pub const PEER_URLS_HEADER: &str = "X-PeerURLs";

/// The type of a POST to [`PIPELINE_PATH`].
pub const PROTOBUF_CONTENT_TYPE: &str = "application/protobuf";
/// The type of a POST to [`SNAPSHOT_PATH`].
pub const SNAPSHOT_CONTENT_TYPE: &str = "application/octet-stream";

/// Why a peer's request is refused. `Display` is the body of the answer, without its line feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The versions do not fit. Answered with 412.
    #[error("incompatible version")]
    IncompatibleVersion,
    /// The sender is of another cluster. Answered with 412.
    #[error("cluster ID mismatch")]
    ClusterIdMismatch,
    /// The request is meant for another member. Answered with 412.
    #[error("to field mismatch")]
    ToMismatch,
    /// The sender has been removed from the cluster. Answered with 410 on streams.
    #[error("removed member")]
    Removed,
    /// The sender is not known here, or not yet. Answered with 404.
    #[error("error sender not found")]
    UnknownSender,
    /// The path holds no id. Answered with 404.
    #[error("invalid from")]
    InvalidFrom,
}

impl Refusal {
    /// The status of the HTTP answer.
    pub const fn status(self) -> u16 {
        match self {
            Self::IncompatibleVersion | Self::ClusterIdMismatch | Self::ToMismatch => 412,
            Self::Removed => 410,
            Self::UnknownSender | Self::InvalidFrom => 404,
        }
    }

    /// The refusal that this answer's body names.
    pub fn from_body(body: &str) -> Option<Self> {
        let all = [
            Self::IncompatibleVersion,
            Self::ClusterIdMismatch,
            Self::ToMismatch,
            Self::Removed,
            Self::UnknownSender,
            Self::InvalidFrom,
        ];
        let body = body.strip_suffix('\n').unwrap_or(body);
        all.into_iter().find(|refusal| refusal.to_string() == body)
    }
}

/// Checks the headers that every request to `/raft…` carries, in etcd's order: versions first,
/// then the cluster. `header` gives the value of a header.
pub fn check_peer<'a>(
    cluster_id: u64,
    header: impl Fn(&str) -> Option<&'a str>,
) -> Result<(), Refusal> {
    if !is_peer_compatible(header(SERVER_VERSION_HEADER), header(MIN_CLUSTER_VERSION_HEADER)) {
        return Err(Refusal::IncompatibleVersion);
    }
    if header(CLUSTER_ID_HEADER) != Some(format_id(cluster_id).as_str()) {
        return Err(Refusal::ClusterIdMismatch);
    }
    Ok(())
}
