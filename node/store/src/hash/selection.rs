//! Which changes a hash over the history of keys covers.
//!
//! ```text
//!             compact_revision          revision
//!   ─────────────────┬──────────────────────┬─────────►  revisions
//!   what compaction  │  all                 │  none
//!   there keeps, and │
//!   one at `revision`│
//!   would keep       │
//! ```
//! If a compaction at `revision` would keep nothing at all, everything that is left counts. A
//! deletion exactly at the compacted revision never does: releases of etcd differ in keeping it.

use std::ops::ControlFlow;

use super::body::BodySum;
use crate::mvcc::Mvcc;
use crate::mvcc::index::{Version, Versions};
use crate::mvcc::key_range::KeyRange;
use crate::mvcc::record;
use crate::revision::Revision;

/// Keys of one step.
const STEP_KEYS: usize = 512;

/// Whose hash it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// Whoever asks for a revision.
    Reader,
    /// The compaction at that revision: what it keeps has deletions exactly there among it.
    Compaction,
}

/// A change to hash.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    main: i64,
    sub: u32,
    pub(super) is_tombstone: bool,
    /// Its record's body.
    pub(super) body: BodySum,
}

impl Chosen {
    fn new(key: &[u8], version: &Version) -> Self {
        let is_tombstone = version.is_tombstone();
        let body = if is_tombstone { record::tombstone_sum(key) } else { version.body };
        let Revision { main, sub } = version.revision;
        let sub = u32::try_from(sub).expect("under 2^32 changes in one revision");
        Self { main, sub, is_tombstone, body }
    }

    pub(super) fn revision(&self) -> Revision {
        Revision { main: self.main, sub: i64::from(self.sub) }
    }
}

/// Collects them from the index, some keys a step.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    pub(super) compact_revision: i64,
    pub(super) revision: i64,
    asker: Asker,
    /// Where it goes on; `None` once all keys were seen.
    rest: Option<KeyRange>,
    /// Whether compaction at `revision` would keep anything, of whatever age.
    is_any_kept: bool,
    /// Old changes that count only if nothing is kept.
    superseded: Vec<Chosen>,
    chosen: Vec<Chosen>,
}

impl Selection {
    pub(super) fn new(compact_revision: i64, revision: i64, asker: Asker) -> Self {
        Self {
            compact_revision,
            revision,
            asker,
            rest: Some(KeyRange::all()),
            is_any_kept: false,
            superseded: Vec::new(),
            chosen: Vec::new(),
        }
    }

    /// Whether all keys were seen.
    pub(super) fn is_complete(&self) -> bool {
        self.rest.is_none()
    }

    /// Look at more keys.
    pub(super) fn step(&mut self, mvcc: &Mvcc) {
        let Some(range) = self.rest.take() else { return };
        let mut seen = 0;
        mvcc.index().visit(&range, &mut |key, versions| {
            self.see(key, versions);
            seen += 1;
            if seen < STEP_KEYS {
                return ControlFlow::Continue(());
            }
            self.rest = Some(range.after(key));
            ControlFlow::Break(())
        });
    }

    fn see(&mut self, key: &[u8], versions: &Versions) {
        let Some(newest) = versions.newest_until(self.revision) else { return };
        if self.is_kept(&newest) && !self.is_any_kept {
            self.is_any_kept = true;
            self.superseded = Vec::new();
        }
        // Nothing older than the newest change up to the compacted revision is left, whether or
        // not that compaction is carried out yet.
        match versions.at(self.compact_revision) {
            Some(base) if base == newest => self.chosen.push(Chosen::new(key, &base)),
            Some(base) if !self.is_any_kept => self.superseded.push(Chosen::new(key, &base)),
            Some(_) | None => {}
        }
        let later = versions.iter().filter(|version| {
            version.revision.main > self.compact_revision && version.revision.main <= self.revision
        });
        self.chosen.extend(later.map(|version| Chosen::new(key, &version)));
    }

    /// Whether a compaction at the revision keeps this, the newest change up to it.
    fn is_kept(&self, newest: &Version) -> bool {
        match self.asker {
            Asker::Reader => !newest.is_tombstone(),
            Asker::Compaction => !newest.is_tombstone() || newest.revision.main == self.revision,
        }
    }

    /// The chosen changes in the order of their revisions; for when all keys were seen.
    pub(super) fn take(&mut self) -> Vec<Chosen> {
        let mut chosen = std::mem::take(&mut self.chosen);
        chosen.append(&mut self.superseded);
        chosen.sort_unstable_by_key(|change| (change.main, change.sub));
        chosen
    }
}
