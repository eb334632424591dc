//! The member itself: its name, addresses, folders, timing and limits.

use super::{Entry, accepted, works};
use crate::args::kind::Kind::{
    Boolean, Duration, FeatureGates, OneOf, Signed, Text, Unsigned, Unsigned32, Urls,
};

pub(super) static IDENTITY: [Entry; 10] = [
    works("name", "default", Text, "The member's name, unique in its cluster."),
    works("data-dir", "${name}.etcd", Text, "The folder that holds the member's data."),
    works("wal-dir", "", Text, "Another folder for the write-ahead log, on a disk of its own."),
    works(
        "listen-client-urls",
        "http://localhost:2379",
        Urls,
        "Where to listen for clients: gRPC, health, metrics, version.",
    ),
    works(
        "advertise-client-urls",
        "http://localhost:2379",
        Urls,
        "Where clients reach this member; the cluster tells them.",
    ),
    works("listen-peer-urls", "http://localhost:2380", Urls, "Where to listen for peers."),
    works(
        "initial-advertise-peer-urls",
        "http://localhost:2380",
        Urls,
        "Where peers reach this member.",
    ),
    works(
        "listen-metrics-urls",
        "",
        Urls,
        "Further addresses for /metrics, /health, /livez and /readyz alone.",
    ),
    works(
        "listen-client-http-urls",
        "",
        Urls,
        "Addresses for plain HTTP. With any, --listen-client-urls serve gRPC alone.",
    ),
    works(
        "socket-reuse-port",
        "false",
        Boolean,
        "Let other processes listen for clients at the same ports.",
    ),
];

pub(super) static TIMING: [Entry; 10] = [
    works("heartbeat-interval", "100", Unsigned, "Milliseconds between two heartbeats."),
    works(
        "election-timeout",
        "1000",
        Unsigned,
        "Milliseconds without a leader after which an election begins; at least five heartbeats.",
    ),
    works(
        "pre-vote",
        "true",
        Boolean,
        "Ask before an election whether it can be won, so that a member that comes back does not \
         disturb the leader.",
    ),
    works(
        "initial-election-tick-advance",
        "true",
        Boolean,
        "Shorten the first election timeout after a start.",
    ),
    works(
        "watch-progress-notify-interval",
        "10m",
        Duration,
        "How often an idle watch that wants it hears how far it is.",
    ),
    works(
        "grpc-keepalive-min-time",
        "5s",
        Duration,
        "What must pass between two pings of a client; who pings more often is sent away.",
    ),
    works(
        "grpc-keepalive-interval",
        "2h",
        Duration,
        "How often a silent client is pinged; 0 for never.",
    ),
    works(
        "grpc-keepalive-timeout",
        "20s",
        Duration,
        "How long a pinged client may take to answer; 0 for ever.",
    ),
    accepted(
        "raft-read-timeout",
        "5s",
        Duration,
        "Read timeout of connections between members.",
        "Fixed here.",
    ),
    accepted(
        "raft-write-timeout",
        "5s",
        Duration,
        "Write timeout of connections between members.",
        "Fixed here.",
    ),
];

pub(super) static LIMITS: [Entry; 11] = [
    works(
        "quota-backend-bytes",
        "0",
        Signed,
        "Bytes of live data above which writes are refused; 0 for 2 GiB, negative for no limit.",
    ),
    works(
        "auto-compaction-mode",
        "periodic",
        Text,
        "What --auto-compaction-retention counts: periodic for time, revision for revisions.",
    ),
    works(
        "auto-compaction-retention",
        "0",
        Text,
        "How much history is kept: hours or a duration, or a number of revisions; 0 for all.",
    ),
    works("snapshot-count", "10000", Unsigned, "Applied entries between two checkpoints."),
    works(
        "snapshot-catchup-entries",
        "5000",
        Unsigned,
        "Entries kept behind a checkpoint for members that lag.",
    ),
    works("max-request-bytes", "1572864", Unsigned, "The largest request of a client, in bytes."),
    works("max-txn-ops", "128", Unsigned, "The most operations of a transaction."),
    works(
        "max-concurrent-streams",
        "4294967295",
        Unsigned32,
        "The most streams that one connection may have open.",
    ),
    works("max-learners", "1", Signed, "The most members without a vote."),
    works(
        "memory-limit-bytes",
        "0",
        Unsigned,
        "Bytes of memory that the member may have: answers that would take more than their part of \
         it are refused. 0 for the control group's limit, or else the machine's. etcd has no such \
         flag.",
    ),
    works(
        "segment-bytes",
        "67108864",
        Unsigned,
        "Bytes of a file of the log, of which a new member makes three, and of the store: a \
         multiple of 512 from 65536 to 268435456. etcd has no such flag.",
    ),
];

pub(super) static CONFIGURATION: [Entry; 3] = [
    works(
        "config-file",
        "",
        Text,
        "A file with all settings, YAML or JSON, which leaves flags and variables aside. Keys are \
         flags without dashes; durations are nanoseconds.",
    ),
    works(
        "feature-gates",
        "",
        FeatureGates,
        "etcd's feature gates, as Gate=true,Other=false. InitialCorruptCheck compares this \
         member's data with its peers' before it serves; what the other known ones turn on is \
         either always on here or has no effect.",
    ),
    works("version", "false", Boolean, "Print versions and exit."),
];

/// The states of a cluster that a member starts with.
pub(super) const CLUSTER_STATES: crate::args::kind::Kind = OneOf(&["new", "existing"]);
