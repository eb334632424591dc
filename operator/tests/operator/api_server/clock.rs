//! The time of a world: tokio's, which stands still while anybody has something to do.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The first of January 2026.
const EPOCH_SECOND: i64 = 1_767_225_600;

#[derive(Clone, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// It starts now; within a runtime.
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.start.elapsed()).expect("not ages");
        Timestamp::from_second(EPOCH_SECOND).expect("a time") + passed
    }

    /// As objects have it.
    pub(crate) fn text(&self) -> String {
        Timestamp::from_second(self.now().as_second()).expect("a time").to_string()
    }
}
