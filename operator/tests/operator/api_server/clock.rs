//! The time of a world: tokio's, which stands still while anybody has something to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The first of January 2026.
const EPOCH_SECOND: i64 = 1_767_225_600;

#[derive(Clone, Debug)]
pub(crate) struct Clock {
    start: Instant,
    /// By which it is wrong, for whoever has this clock.
    skew_seconds: Arc<AtomicI64>,
}

impl Clock {
    /// It starts now; within a runtime.
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), skew_seconds: Arc::default() }
    }

    /// Another that goes wrong by itself.
    pub(crate) fn another(&self) -> Self {
        Self { start: self.start, skew_seconds: Arc::default() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.start.elapsed()).expect("not ages");
        let skew = self.skew_seconds.load(Ordering::Relaxed);
        Timestamp::from_second(EPOCH_SECOND + skew).expect("a time") + passed
    }

    /// From now on it is wrong by so much.
    pub(crate) fn jump(&self, seconds: i64) {
        self.skew_seconds.store(seconds, Ordering::Relaxed);
    }

    /// As objects have it.
    pub(crate) fn text(&self) -> String {
        Timestamp::from_second(self.now().as_second()).expect("a time").to_string()
    }
}
