//! What the member says of itself.

use super::{Entry, accepted, works};
use crate::args::kind::Kind::{Boolean, Duration, OneOf, Signed, Text};

const NO_ROTATION: &str = "Without effect: files only grow, so that logrotate may copy and \
                           truncate them.";

pub(super) static LOGGING: [Entry; 8] = [
    works(
        "log-level",
        "info",
        OneOf(&["debug", "info", "warn", "error", "panic", "fatal"]),
        "The least serious lines that are written: debug, info, warn, error, panic or fatal.",
    ),
    works("log-format", "json", OneOf(&["json", "console"]), "How they look: json or console."),
    works(
        "log-outputs",
        "default",
        Text,
        "Where they go: stderr (the default), stdout or files, several with commas.",
    ),
    works("logger", "zap", OneOf(&["zap"]), "Always zap; there is no other."),
    accepted(
        "enable-log-rotation",
        "false",
        Boolean,
        "Begin a new log file now and then.",
        NO_ROTATION,
    ),
    accepted(
        "log-rotation-config-json",
        r#"{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}"#,
        Text,
        "When to begin one.",
        NO_ROTATION,
    ),
    works(
        "warning-apply-duration",
        "100ms",
        Duration,
        "A line is written for an apply that takes longer.",
    ),
    works(
        "warning-unary-request-duration",
        "300ms",
        Duration,
        "A line is written for a request that takes longer.",
    ),
];

pub(super) static METRICS: [Entry; 2] = [
    works(
        "metrics",
        "basic",
        OneOf(&["basic", "extensive"]),
        "basic, or extensive for the times of every call.",
    ),
    accepted(
        "enable-pprof",
        "false",
        Boolean,
        "Serve profiles of Go's runtime.",
        "Without effect: there is no such runtime.",
    ),
];

const NO_TRACING: &str = "Without effect: there is no tracing.";

pub(super) static TRACING: [Entry; 5] = [
    accepted("enable-distributed-tracing", "false", Boolean, "Send traces.", NO_TRACING),
    accepted("distributed-tracing-address", "localhost:4317", Text, "Where to.", NO_TRACING),
    accepted("distributed-tracing-service-name", "etcd", Text, "Under which name.", NO_TRACING),
    accepted("distributed-tracing-instance-id", "", Text, "And which instance.", NO_TRACING),
    accepted(
        "distributed-tracing-sampling-rate",
        "0",
        Signed,
        "How many of a million.",
        NO_TRACING,
    ),
];
