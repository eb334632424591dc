//! How the process has its memory: in small pages, and what is kept for later goes back to the system.
//!
//! It keeps what was freed, and looks at what has not been used again for a while only when more is
//! asked for. A member that was opened, or has sent a snapshot, and then has little to do would
//! hold several times what it needs.

use std::time::{Duration, Instant};

use crate::pace;

/// How often memory is given back: what is asked for again sooner is not worth it.
const INTERVAL: Duration = Duration::from_secs(1);
/// The same while clients are served: whoever needs the memory again waits for the system.
const BUSY_INTERVAL: Duration = Duration::from_secs(10);

/// Gives memory back now and then.
#[derive(Debug, Default)]
pub(crate) struct GivingBack {
    last: Option<Instant>,
}

impl GivingBack {
    /// Give back what is free, the first time and then once an interval.
    pub(crate) fn look(&mut self) {
        let now = Instant::now();
        let interval = if pace::are_small_calls_served(now) { BUSY_INTERVAL } else { INTERVAL };
        if self.last.is_none_or(|last| now.duration_since(last) >= interval) {
            self.last = Some(now);
            give_back();
        }
    }
}

/// Have memory in small pages alone. The system clears a huge page when it is first touched, which
/// takes milliseconds, and whoever touches it may be serving clients.
pub(crate) fn use_small_pages() {
    // A system that has no huge pages does without this.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

#[expect(unsafe_code, reason = "the allocator has no other interface")]
fn give_back() {
    // SAFETY: it takes no pointer, and may be called by any thread at any time.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
