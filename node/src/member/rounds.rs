//! What a thread's tasks tell the core in one round, told together.
//!
//! ```text
//!   task, task, task ── tell ──► inbox        last of the round: one turn of the core
//! ```
//! A runtime of one thread runs all tasks that are ready before it waits for more. What they tell
//! the core is taken when the last of them has run: a turn of the core, a batch of the log and a
//! message to each peer then serve all of them. Nobody waits for it: there is no clock in it, and a
//! task that is alone has its turn at once.

use std::cell::RefCell;
use std::sync::Arc;

use quorate_replica::Event;
use tokio::sync::Notify;

use super::{Member, Shared};

thread_local! {
    /// Ends the round of this thread, if it has rounds.
    static ROUND: RefCell<Option<Arc<Notify>>> = const { RefCell::new(None) };
}

impl Member {
    /// From now on, this thread has rounds. To be run on the thread's own runtime for as long as
    /// there are tasks on it; never ends.
    pub(crate) async fn end_rounds(self) {
        let told = Arc::new(Notify::new());
        ROUND.with_borrow_mut(|own| *own = Some(told.clone()));
        loop {
            told.notified().await;
            // Whoever had a turn meanwhile has taken it along.
            if self.0.has_news() {
                self.0.drive();
            }
            if self.0.has_rest() {
                // Answers that are ready leave first.
                tokio::task::yield_now().await;
                self.0.write_rest();
            }
        }
    }
}

/// Let this thread's round end once more, if it has rounds: something is left to be done.
pub(super) fn end_round_again() -> bool {
    ROUND.with_borrow(|round| round.as_deref().map(Notify::notify_one)).is_some()
}

impl Shared {
    /// Tell the replica something by the end of this thread's round, or at once if the thread has
    /// none.
    pub(super) fn submit_in_round(&self, event: Event) {
        let Some(round) = ROUND.with_borrow(Clone::clone) else { return self.submit(event) };
        self.tell(event);
        // Behind all tasks that are ready: the runtime's queue is a queue.
        round.notify_one();
    }
}
