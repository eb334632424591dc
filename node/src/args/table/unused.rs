//! Flags for parts of etcd that are not part of this server.

use super::{Entry, accepted, works};
use crate::args::kind::Kind::{Boolean, Duration, Ignored, OneOf, Signed, Text, Unsigned};
use crate::args::syntax::Flag;

const OTHER_STORE: &str = "The store here needs no such setting.";
const NO_DEFRAGMENTATION: &str = "Space is given back all the time.";

pub(super) static WITHOUT_EFFECT: [Entry; 14] = [
    accepted("max-wals", "5", Unsigned, "Log files to keep.", OTHER_STORE),
    accepted("max-snapshots", "5", Unsigned, "Snapshot files to keep.", OTHER_STORE),
    accepted("backend-batch-interval", "0s", Duration, "Time between commits.", OTHER_STORE),
    accepted("backend-batch-limit", "0", Signed, "Operations between commits.", OTHER_STORE),
    accepted(
        "backend-bbolt-freelist-type",
        "map",
        Text,
        "How bbolt keeps free pages.",
        OTHER_STORE,
    ),
    accepted("memory-mlock", "false", Boolean, "Keep bbolt's pages in memory.", OTHER_STORE),
    accepted(
        "bootstrap-defrag-threshold-megabytes",
        "0",
        Unsigned,
        "Defragment at start if it frees this much.",
        NO_DEFRAGMENTATION,
    ),
    accepted(
        "compaction-batch-limit",
        "1000",
        Signed,
        "Revisions that a step of a compaction removes.",
        OTHER_STORE,
    ),
    accepted(
        "compaction-sleep-interval",
        "10ms",
        Duration,
        "Time between two steps of a compaction.",
        OTHER_STORE,
    ),
    accepted(
        "compact-hash-check-time",
        "1m",
        Duration,
        "How often the leader compares hashes of compactions.",
        "Without effect here: see --corrupt-check-time.",
    ),
    accepted(
        "downgrade-check-time",
        "5s",
        Duration,
        "How often a downgrade is looked after.",
        "There are no downgrades here.",
    ),
    accepted(
        "enable-grpc-gateway",
        "true",
        Boolean,
        "Serve JSON beside gRPC.",
        "Without effect: there is no JSON gateway.",
    ),
    accepted(
        "socket-reuse-address",
        "false",
        Boolean,
        "Bind addresses that linger from before.",
        "Always so here.",
    ),
    accepted(
        "v2-deprecation",
        "write-only",
        OneOf(&["not-yet", "write-only", "write-only-skip-check", "write-only-drop-data", "gone"]),
        "What becomes of data of version 2.",
        "There is none here.",
    ),
];

pub(super) static UNSAFE: [Entry; 2] = [
    works(
        "force-new-cluster",
        "false",
        Boolean,
        "Make this member the only one of its cluster, with the data that it has; the others are \
         removed. For when they are lost for ever. Only for one start: every start with it removes \
         whoever was added since.",
    ),
    accepted(
        "unsafe-no-fsync",
        "false",
        Boolean,
        "Do not wait for the disk.",
        "Without effect: every write is synced all the same.",
    ),
];

const fn ignored(name: &'static str) -> Flag {
    Flag { name, default: "", kind: Ignored, help: "" }
}

pub(super) static IGNORED: [Flag; 13] = [
    ignored("cluster-active-size"),
    ignored("cluster-remove-delay"),
    ignored("cluster-sync-interval"),
    ignored("config"),
    ignored("force"),
    ignored("max-result-buffer"),
    ignored("max-retry-attempts"),
    ignored("peer-heartbeat-interval"),
    ignored("peer-election-timeout"),
    ignored("retry-interval"),
    ignored("snapshot"),
    ignored("v"),
    ignored("vv"),
];
