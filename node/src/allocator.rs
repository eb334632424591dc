//! What the allocator keeps for later goes back to the system.
//!
//! It keeps what was freed, and looks at what has not been used again for a while only when more is
//! asked for. A member that was opened, or has sent a snapshot, and then has little to do would
//! hold several times what it needs.

use std::time::{Duration, Instant};

/// How often memory is given back: what is asked for again sooner is not worth it.
const INTERVAL: Duration = Duration::from_secs(1);

/// Gives memory back now and then.
#[derive(Debug, Default)]
pub(crate) struct GivingBack {
    last: Option<Instant>,
}

impl GivingBack {
    /// Give back what is free, the first time and then once an interval.
    pub(crate) fn look(&mut self) {
        if self.last.is_none_or(|last| last.elapsed() >= INTERVAL) {
            self.last = Some(Instant::now());
            give_back();
        }
    }
}

#[expect(unsafe_code, reason = "the allocator has no other interface")]
fn give_back() {
    // SAFETY: it takes no pointer, and may be called by any thread at any time.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
