//! The limits of etcd 3.7.1, by name: what it has by default, and what it never exceeds.
//!
//! Bytes unless the name says otherwise. They are etcd's so that a client which works with etcd
//! works here, and one that is refused there is refused here.

/// `--max-request-bytes`: the largest request a member proposes.
pub const REQUEST_BYTES_DEFAULT: u64 = 3 * 512 * 1024;

/// What a transport accepts above the request limit, for the framing around a request. A watch
/// response is split above the request limit and this together.
pub const REQUEST_OVERHEAD_BYTES: u64 = 512 * 1024;

/// The largest `--max-request-bytes` that raises no warning.
pub const REQUEST_BYTES_RECOMMENDED_MAX: u64 = 10 * 1024 * 1024;

/// The largest message a server sends: gRPC's own length field allows no more.
pub const RESPONSE_BYTES_MAX: u64 = i32::MAX as u64;

/// `--max-txn-ops`: compares, and operations of each branch.
pub const TXN_OPS_DEFAULT: usize = 128;

/// `--quota-backend-bytes` when it is 0.
pub const QUOTA_BYTES_DEFAULT: u64 = 2 * 1024 * 1024 * 1024;

/// The largest quota that raises no warning.
pub const QUOTA_BYTES_RECOMMENDED_MAX: u64 = 8 * 1024 * 1024 * 1024;

/// The longest TTL of a lease, in seconds.
pub const LEASE_TTL_SECONDS_MAX: i64 = 9_000_000_000;

/// The body of a lease question among members.
pub const LEASE_BODY_BYTES_MAX: u64 = 64 * 1024;

/// Leases that may expire per second, so that a mass expiry does not crowd out writes.
pub const LEASE_REVOKES_PER_SECOND: u64 = 1000;

/// Revocations of expired leases in flight.
pub const LEASE_REVOKES_PENDING_MAX: usize = 16;

/// `--max-learners`.
pub const LEARNERS_DEFAULT: usize = 1;

/// `--max-concurrent-streams`: streams of one connection.
pub const CONCURRENT_STREAMS_DEFAULT: u32 = u32::MAX;

/// `--snapshot-count`: applied entries between snapshots.
pub const SNAPSHOT_ENTRIES_DEFAULT: u64 = 10_000;

/// Entries kept behind a snapshot for followers that are slightly behind.
pub const CATCH_UP_ENTRIES_DEFAULT: u64 = 5_000;

/// Committed and not yet applied entries above which proposals get
/// [`Error::TooManyRequests`](crate::Error::TooManyRequests).
pub const APPLY_GAP_ENTRIES_MAX: u64 = 5_000;

/// Entries' bytes in one append message.
pub const APPEND_BYTES_MAX: u64 = 1024 * 1024;

/// Append messages in flight to one follower.
pub const APPENDS_IN_FLIGHT_MAX: usize = 512;

/// Snapshots in flight to followers.
pub const SNAPSHOTS_IN_FLIGHT_MAX: usize = 16;

/// One message of a peer stream.
pub const PEER_MESSAGE_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// The message in front of a snapshot; the database behind it is not bounded by this.
pub const SNAPSHOT_MESSAGE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Keys of the first chunk of a ranged stream; the next ones follow the request limit.
pub const RANGE_STREAM_FIRST_KEYS: i64 = 10;

/// Watchers that one round of catching up serves.
pub const WATCHERS_PER_SYNC_MAX: usize = 512;

/// Revisions that one watcher gets in one batch of catching up.
pub const WATCH_BATCH_REVISIONS_MAX: usize = 1000;

/// Responses that wait for a slow watch stream.
pub const WATCH_CHANNEL_RESPONSES_MAX: usize = 128;

/// Keys that one step of a compaction removes.
pub const COMPACTION_BATCH_KEYS: usize = 1000;
