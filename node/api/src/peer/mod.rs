//! The protocol among members, as bytes: what goes over the peer port after the HTTP headers.
//!
//! ```text
//!   GET  /raft/stream/msgapp/<id>    append stream:  0 │ 1 entries… commit │ 2 len message
//!   GET  /raft/stream/message/<id>   message stream: len message, len message, …
//!   POST /raft                       one message, bare
//!   POST /raft/snapshot              len message, then the database until the body ends
//! ```
//!
//! `<id>` is the asking member, in hexadecimal. Lengths and counts are 8 bytes, big-endian.
//!
//! Decoders take bytes as they arrive and give whole messages; they hold state but do no IO. They
//! never trust a length before it is within its limit, and they never allocate for bytes that have
//! not arrived. After an error a stream is out of step and has to be closed.

mod append_stream;
mod claim;
mod frame;
mod http;
mod message_stream;

pub use append_stream::{AppendDecoder, AppendEncoder};
pub use claim::{Claim, IDENTITY_HEADER, IDENTITY_PATH, LogEnd, NONCES_MAX};
pub use frame::{FrameError, Incoming};
pub use http::{
    CLUSTER_ID_HEADER, DOWNGRADE_ENABLED_PATH, HASH_KV_PATH, LEASES_INTERNAL_PATH, LEASES_PATH,
    MEMBERS_PATH, MIN_CLUSTER_VERSION_HEADER, PEER_URLS_HEADER, PIPELINE_PATH, PROBING_PATH,
    PROMOTE_PATH_PREFIX, PROTOBUF_CONTENT_TYPE, RAFT_TO_HEADER, Refusal, SERVER_FROM_HEADER,
    SERVER_VERSION_HEADER, SNAPSHOT_CONTENT_TYPE, SNAPSHOT_PATH, STREAM_APPEND_PATH_PREFIX,
    STREAM_MESSAGE_PATH_PREFIX, VERSION_PATH, check_peer,
};
pub use message_stream::{MessageDecoder, decode_snapshot_head, encode_heartbeat, encode_message};
