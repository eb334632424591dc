//! When followers need a snapshot, and what the log in memory may forget.
//!
//! ```text
//!   Raft finds a follower behind the log ──► PinSnapshot ──► SnapshotPinned: on offer
//!        ──► SendSnapshot … SnapshotSent ──► nobody is sent to ──► ReleaseSnapshot
//! ```
//!
//! While a snapshot is on offer the log is kept behind it, so that its receiver can go on with
//! entries; an offer has an end, so that a receiver that never finishes costs bounded memory.

use std::collections::BTreeSet;

use quorate_raft::NodeId;

use crate::Time;
use crate::config::Config;

/// An offer that is being sent ends after this at the latest.
const OFFER_MS_MAX: u64 = 600_000;
/// An offer that nobody takes ends after this.
const OFFER_IDLE_MS_MAX: u64 = 30_000;

/// The snapshot for followers.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    /// The executor has been asked for a pin.
    asked: bool,
    offered: Option<Offer>,
}

#[derive(Debug)]
struct Offer {
    since: Time,
    idle_since: Time,
    receivers: BTreeSet<NodeId>,
}

impl Snapshots {
    /// Raft wants a snapshot; whether a pin is to be asked for.
    pub(crate) fn on_wanted(&mut self) -> bool {
        !std::mem::replace(&mut self.asked, true)
    }

    pub(crate) fn on_pinned(&mut self, now: Time) {
        self.asked = false;
        self.offered = Some(Offer { since: now, idle_since: now, receivers: BTreeSet::new() });
    }

    pub(crate) fn on_sending(&mut self, to: NodeId) {
        if let Some(offer) = &mut self.offered {
            offer.receivers.insert(to);
        }
    }

    pub(crate) fn on_sent(&mut self, to: NodeId, now: Time) {
        if let Some(offer) = &mut self.offered {
            offer.receivers.remove(&to);
            offer.idle_since = now;
        }
    }

    /// Whether the offer has come to its end.
    pub(crate) fn take_ended(&mut self, now: Time) -> bool {
        let ended = self.offered.as_ref().is_some_and(|offer| {
            let idle =
                offer.receivers.is_empty() && now.since(offer.idle_since) >= OFFER_IDLE_MS_MAX;
            idle || now.since(offer.since) >= OFFER_MS_MAX
        });
        if ended {
            self.offered = None;
        }
        ended
    }
}

/// Up to which index the log in memory can be cut, if it is worth it. `half` is where the newest
/// entries begin that take half of the bytes that the log may have.
pub(crate) fn log_cut(
    config: &Config,
    first: u64,
    applied: u64,
    half: Option<u64>,
    offered: Option<u64>,
) -> Option<u64> {
    let held = (applied + 1).saturating_sub(first);
    let by_count = held > config.snapshot_entries.saturating_add(config.catch_up_entries);
    let cut = if let Some(half) = half {
        // Too many bytes, whatever followers would like.
        half.saturating_sub(1).min(applied)
    } else if by_count {
        applied.saturating_sub(config.catch_up_entries)
    } else {
        return None;
    };
    let cut = offered.map_or(cut, |offer| cut.min(offer));
    (cut >= first).then_some(cut)
}
