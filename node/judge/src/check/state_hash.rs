//! Equal applied index, equal state; equal revision, equal keys.
//!
//! Every member reports after every batch it applies. The first report of an index is the
//! reference for all later ones, also for the same member after a restart: a member that applied
//! an entry twice, or skipped one, meets its own former hash.

use super::{Rule, Violation};
use crate::history::{MemberId, Time};
use std::collections::BTreeMap;

/// References kept. Members that lag further behind the newest are not compared: far more than
/// any run applies between a member's crash and its catching up.
const REFERENCES_MAX: usize = 1 << 20;

/// A member's state after it applied an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppliedState {
    /// The index of the entry applied last.
    pub applied: u64,
    /// The hash over everything that applying determines.
    pub state_hash: u64,
    /// The store's revision.
    pub revision: i64,
    /// Up to where history is forgotten.
    pub compacted: i64,
}

/// What a member remembers of what a compaction found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionHash {
    /// The revision that was compacted to.
    pub revision: i64,
    /// The compaction before it.
    pub compact_revision: i64,
    /// etcd's hash of the keys between.
    pub hash: u32,
}

/// Whether there was something to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// With what another member reported.
    WithOther,
    /// Nobody else has reported it first.
    WithNone,
}

#[derive(Debug, Clone, Copy)]
struct Reference<T> {
    member: MemberId,
    time: Time,
    value: T,
}

/// Compares the states of all members.
#[derive(Debug, Clone, Default)]
pub struct StateHash {
    by_applied: BTreeMap<u64, Reference<AppliedState>>,
    by_revision: BTreeMap<(i64, i64), Reference<u32>>,
    by_compaction: BTreeMap<i64, Reference<CompactionHash>>,
}

impl StateHash {
    /// A check that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A member has applied up to an index.
    ///
    /// # Errors
    /// [`Rule::StateHash`] if another report of the index had another hash or forgot other history,
    /// [`Rule::RevisionMonotone`] if its revision differs, or is less than at a lower index or
    /// greater than at a higher one.
    pub fn observe(
        &mut self,
        time: Time,
        member: MemberId,
        state: AppliedState,
    ) -> Result<(), Violation> {
        let report = |rule, seen: &Reference<AppliedState>| {
            let text = format!(
                "member {:x} has {state:x?}, but member {:x} had {:x?} at {}",
                member.0, seen.member.0, seen.value, seen.time
            );
            Err(Violation::at(rule, time, text))
        };
        if let Some(seen) = self.by_applied.get(&state.applied) {
            if seen.value.revision != state.revision {
                return report(Rule::RevisionMonotone, seen);
            }
            let same = (seen.value.state_hash, seen.value.compacted);
            if same != (state.state_hash, state.compacted) {
                return report(Rule::StateHash, seen);
            }
            return Ok(());
        }
        if let Some((_, below)) = self.by_applied.range(..state.applied).next_back()
            && below.value.revision > state.revision
        {
            return report(Rule::RevisionMonotone, below);
        }
        if let Some((_, above)) = self.by_applied.range(state.applied..).next()
            && above.value.revision < state.revision
        {
            return report(Rule::RevisionMonotone, above);
        }
        self.by_applied.insert(state.applied, Reference { member, time, value: state });
        if self.by_applied.len() > REFERENCES_MAX {
            self.by_applied.pop_first();
        }
        Ok(())
    }

    /// A member computed etcd's key hash at a revision, itself compacted to `compact_revision`.
    ///
    /// # Errors
    /// [`Rule::HashKv`] if another member's hash for the same pair differed.
    pub fn observe_hash_kv(
        &mut self,
        time: Time,
        member: MemberId,
        revision: i64,
        compact_revision: i64,
        hash: u32,
    ) -> Result<(), Violation> {
        let key = (revision, compact_revision);
        let reference = Reference { member, time, value: hash };
        let seen = *self.by_revision.entry(key).or_insert(reference);
        if self.by_revision.len() > REFERENCES_MAX {
            self.by_revision.pop_first();
        }
        if seen.value == hash {
            return Ok(());
        }
        let text = format!(
            "keys at revision {revision}, compacted to {compact_revision}: member {:x} has hash \
             {hash:08x}, member {:x} had {:08x} at {}",
            member.0, seen.member.0, seen.value, seen.time
        );
        Err(Violation::at(Rule::HashKv, time, text))
    }

    /// A member remembers the hash of what a compaction found: compactions are in the log, so that
    /// each found the same on all members.
    ///
    /// # Errors
    /// [`Rule::HashKv`] if the first report of that compaction was another.
    pub fn observe_compaction(
        &mut self,
        time: Time,
        member: MemberId,
        hash: CompactionHash,
    ) -> Result<Compared, Violation> {
        let reference = Reference { member, time, value: hash };
        let seen = *self.by_compaction.entry(hash.revision).or_insert(reference);
        if self.by_compaction.len() > REFERENCES_MAX {
            self.by_compaction.pop_first();
        }
        if seen.value != hash {
            let text = format!(
                "member {:x} remembers {hash:x?}, but member {:x} had {:x?} at {}",
                member.0, seen.member.0, seen.value, seen.time
            );
            return Err(Violation::at(Rule::HashKv, time, text));
        }
        Ok(if seen.member == member { Compared::WithNone } else { Compared::WithOther })
    }
}
