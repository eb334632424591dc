//! The faults that can be put into the disk, and how many of them were met.

use std::collections::BTreeMap;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// A write fails with EIO; any part of it may have happened.
    WriteError,
    /// A sync fails with EIO: the pages are clean for the kernel, some of them are lost for good,
    /// and a later sync that succeeds does not bring them back.
    SyncError,
    /// A write or creation fails because the disk is full.
    NoSpace,
    /// A write is reported as done, but its bytes go to another place of the same file, up to
    /// eight sectors away.
    MisdirectedWrite,
    /// A write is reported as done, and never happens.
    LostWrite,
    /// A read of a marked sector fails with EIO.
    ReadError,
    /// A bit at rest is flipped.
    FlippedBit,
    /// A sector at rest reads as zeroes.
    ZeroedSector,
    /// Power was lost.
    Crash,
    /// A crash lost or tore a change that was not synced.
    TornByCrash,
}

/// A fault that waits for its operation.
#[derive(Clone, Debug)]
struct Armed {
    kind: FaultKind,
    prefix: String,
    remaining: u64,
}

/// The faults that wait, and the count of those that were met.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    armed: Vec<Armed>,
    counts: BTreeMap<FaultKind, u64>,
}

impl Faults {
    pub(crate) fn arm(&mut self, kind: FaultKind, prefix: &str, nth: u64) {
        self.armed.push(Armed { kind, prefix: prefix.to_owned(), remaining: nth.max(1) });
    }

    pub(crate) fn disarm(&mut self) {
        self.armed.clear();
    }

    /// Count an operation on `path` that could meet these kinds; the one that it does meet.
    pub(crate) fn meet(&mut self, kinds: &[FaultKind], path: &str) -> Option<FaultKind> {
        let mut hit = None;
        for fault in &mut self.armed {
            if kinds.contains(&fault.kind) && path.starts_with(&fault.prefix) {
                fault.remaining -= 1;
                if fault.remaining == 0 && hit.is_none() {
                    hit = Some(fault.kind);
                }
            }
        }
        self.armed.retain(|fault| fault.remaining > 0);
        hit
    }

    pub(crate) fn count(&mut self, kind: FaultKind) {
        *self.counts.entry(kind).or_default() += 1;
    }

    pub(crate) fn counts(&self) -> BTreeMap<FaultKind, u64> {
        self.counts.clone()
    }
}
