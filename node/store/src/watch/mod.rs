//! Watches: every change of a range of keys, once, in order, to everyone who asked.
//!
//! One [`WatchHub`] stands beside the store. The executor publishes what apply changed, and polls
//! the streams that the hub says have news.
//!
//! ```text
//!  publish(records) ─► ring  ░░▒▒▓▓██│ newest           log  ░░░░░░░░▒▒▒▒▓▓▓▓██
//!        │                  ▲    ▲                           ▲
//!        │ key              │    └── watcher.next            │ lags behind the ring:
//!        ▼                  └─────── watcher.next            │ one bounded chunk, shared
//!     groups: single keys │ interval tree
//!        │ only those whose range holds the key
//!        ▼                                            first news
//!     group.waiting  ── watchers that saw everything ──────────────► stream.ready ─► poll
//!                    ◄──────────── took everything up to group.last_match ───────────┘
//! ```
//!
//! A watcher is a cursor (`next`), not a queue: a client that does not read costs what an idle
//! one costs, and apply waits for nobody. An event is encoded when the first watcher takes it,
//! and its previous value is looked up when the first watcher that wants it does; both are shared
//! by all others. The most recent events come from the ring, older ones from the revision log.
//!
//! It never blocks, never reads a clock, and never delays or changes what is applied.
//!
//! Invariants:
//! - A watcher gets each event of its range, from its start on, once, in order, a revision as a
//!   whole, unless it is told that it is canceled.
//! - `created` comes before all else about a watcher, and answers come in the order of requests.
//! - Progress at revision R means: of this watcher (of all watchers of the stream, if the id is
//!   [`NO_WATCHER`]) every event up to R was given out before.
//! - A watcher stands in exactly one list: in its group's `waiting` if it has all that it wants of
//!   the events up to the group's last match, in its stream's `ready` else.
//! - Memory is bounded by [`WatchOptions`], whatever clients do.

mod catch_up;
mod event;
mod groups;
mod hub;
mod interval;
mod options;
mod poll;
mod range;
mod response;
mod ring;
mod slab;
mod stream;
#[cfg(test)]
mod tests;
mod watcher;
mod window;

pub use hub::{Backlog, Counts, WatchHub};
pub use options::{PollLimits, WatchOptions};
pub use poll::Polled;
pub use response::{NO_WATCHER, Response};
pub use stream::StreamId;

use crate::log::Damage;
use crate::revision::Revision;

/// Why events cannot be given out. Fatal for the member, like every unreadable record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The log cannot be read.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// A record is not the `KeyValue` that was applied.
    #[error("the record of revision {revision} is not a key-value pair")]
    Malformed {
        /// The record's revision.
        revision: Revision,
    },
}
