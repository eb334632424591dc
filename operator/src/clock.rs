//! What time it is: for what others compare with their own clocks, and for patience.
//!
//! Certificates are valid by the wall clock. How long a member may be away is not measured by it:
//! a wall clock that jumps would have members replaced that nobody has given time to come back.

use std::fmt;
use std::sync::Arc;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Where the time comes from.
#[derive(Clone)]
pub struct Clock {
    wall: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// When it was made, by both clocks; `None` if the wall clock is one that never jumps.
    anchor: Option<(Timestamp, Instant)>,
}

impl Clock {
    /// The system's.
    #[must_use]
    pub fn system() -> Self {
        let anchor = (Timestamp::now(), Instant::now());
        Self { wall: Arc::new(Timestamp::now), anchor: Some(anchor) }
    }

    /// One that never jumps, such as a test has it.
    #[must_use]
    pub fn of(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { wall: Arc::new(now), anchor: None }
    }

    /// What clocks on the wall show.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        (self.wall)()
    }

    /// What clocks on the wall would show if nobody had set them since the operator began.
    #[must_use]
    pub fn steady(&self) -> Timestamp {
        let Some((begin, instant)) = self.anchor else { return self.wall() };
        let elapsed = SignedDuration::try_from(instant.elapsed()).unwrap_or(SignedDuration::MAX);
        begin.checked_add(elapsed).unwrap_or(Timestamp::MAX)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Clock").field("anchor", &self.anchor).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Duration;

    use k8s_openapi::jiff::Timestamp;
    use tokio::time::Instant;

    use super::Clock;

    #[tokio::test(start_paused = true)]
    async fn patience_does_not_jump_with_the_wall_clock() {
        let seconds = Arc::new(AtomicI64::new(1_000));
        let wall = {
            let seconds = Arc::clone(&seconds);
            move || Timestamp::from_second(seconds.load(Ordering::Relaxed)).expect("in range")
        };
        let anchor = Some((wall(), Instant::now()));
        let clock = Clock { wall: Arc::new(wall), anchor };
        seconds.store(9_000, Ordering::Relaxed);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(clock.wall().as_second(), 9_000);
        assert_eq!(clock.steady().as_second(), 1_005);
    }
}
