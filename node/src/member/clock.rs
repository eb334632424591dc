//! The only clock of a member's core.

use std::time::Instant;

use quorate_replica::Time;

/// Milliseconds since the member's start, by the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    /// A clock that starts now.
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// What it says.
    pub(super) fn now(&self) -> Time {
        Time(u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}
