//! How a recovered log goes on: as it is, after a cut, or under repair.
//!
//! ```text
//!   Clean      resume            ├ 41 ┤├ 42 ┤├ 43: empty ┤
//!   TornTail   cut_tail          ├ 41 ┤├ 42 ┤├ zeroes, synced ┤, then 43 over them
//!   Damaged    resume_repairing  ├ 41 ┤├ 42 ┤│ ??? │ …        segment 9, as it is
//!                                             ╲
//!                                              ├ header: continues 9 at this offset ┤├ 57 … ┤
//!                                                segment 12; 10 and 11 become .damaged
//! ```
//!
//! The header of the new segment is what cuts, and it says that the member is under repair: with
//! one sync, the log either still shows its damage, or is under repair. The damaged files keep
//! their names until that is durable, and stay aside until the repair is finished. Every batch
//! repeats where the repair ends, so that a start in the middle of it knows as much as the first.

use quorate_disk::{Disk, Operation};

use crate::extent::Extent;
use crate::segment::{FileName, RESERVE, ZEROES, damaged_path, segment_path};
use crate::writer::Log;
use crate::{Batch, BatchId, End, HardState};

/// How the log ends, as recovery sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Clean,
    Torn,
    Damaged,
}

/// What a repair comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// Peers have what is lost up to there.
    Repair(End),
    /// Nobody has.
    Accept,
    /// The entries that are there are of no use; peers have all up to there.
    Everything(End),
}

impl Log {
    /// Go on after [`Outcome::Clean`](crate::Outcome::Clean). Everything recovered is durable,
    /// and may be answered for, when the returned batch is.
    ///
    /// # Panics
    /// After another outcome.
    pub fn resume(&mut self, disk: &mut dyn Disk, boot: u64) -> BatchId {
        let ending = self.plan.as_ref().map(|plan| plan.ending);
        assert_eq!(ending, Some(Ending::Clean), "only a clean log is resumed as it is");
        self.go_on(disk, boot)
    }

    /// Go on after [`Outcome::TornTail`](crate::Outcome::TornTail) without the torn batches.
    ///
    /// # Panics
    /// After another outcome.
    pub fn cut_tail(&mut self, disk: &mut dyn Disk, boot: u64) -> BatchId {
        let ending = self.plan.as_ref().map(|plan| plan.ending);
        assert_eq!(ending, Some(Ending::Torn), "only a torn tail is cut");
        self.go_on(disk, boot)
    }

    /// Go on after damage, from the intact prefix, with this hard state. When the returned batch is
    /// durable, so is that the member is under repair until its log ends at `until` or later: it is
    /// in [`Recovered::repairing_until`](crate::Recovered::repairing_until) from then on, until
    /// [`Log::finish_repair`].
    ///
    /// # Panics
    /// After another outcome, or if the index of `until` is 0.
    pub fn resume_repairing(
        &mut self,
        disk: &mut dyn Disk,
        boot: u64,
        until: End,
        hard_state: HardState,
    ) -> BatchId {
        self.leave_damage(disk, boot, Loss::Repair(until), hard_state)
    }

    /// Go on without any of the entries, after whatever outcome, with this hard state: the state
    /// that they led to is lost, and peers have both up to `until`. When the returned batch is
    /// durable, the log is empty and under repair.
    ///
    /// # Panics
    /// If the log was not just opened, or if the index of `until` is 0.
    pub fn abandon(
        &mut self,
        disk: &mut dyn Disk,
        boot: u64,
        until: End,
        hard_state: HardState,
    ) -> BatchId {
        self.leave(disk, boot, Loss::Everything(until), hard_state)
    }

    /// A log that was taken for whole turns out to lack its end: it is under repair with the next
    /// batch that is appended.
    ///
    /// # Panics
    /// If the index of `until` is 0.
    pub fn begin_repair(&mut self, until: End) {
        assert!(until.index > 0, "a repair goes up to an index");
        self.repair_until = self.repair_until.max(until);
    }

    /// The member has every entry up to where its repair goes, durably: forget the repair. The
    /// damaged files are removed when the returned batch is durable.
    pub fn finish_repair(&mut self, disk: &mut dyn Disk) -> BatchId {
        self.repair_until = End::default();
        let names = disk.files().list("").unwrap_or_default();
        let damaged = names.into_iter().filter(|name| FileName::parse(name) == FileName::Damaged);
        let remove = damaged.map(|name| Operation::Remove { path: name.into() });
        let mut then: Vec<Operation> = remove.collect();
        then.push(Operation::SyncDirectory { path: "".into() });
        self.append_then(disk, Batch::default(), then)
    }

    fn go_on(&mut self, disk: &mut dyn Disk, boot: u64) -> BatchId {
        let Some(plan) = self.plan.take() else { unreachable!("checked by the callers") };
        self.identity.boot = boot;
        for (path, from, to) in plan.wipe {
            self.wipe(disk, &path, from, to);
        }
        for path in plan.unsynced {
            self.submit_needed(disk, "sync", Operation::Sync { path });
        }
        // The highest first: a lower one that is gone alone would look as if it were missing.
        let mut gone: Vec<_> = plan.behind.iter().map(|at| segment_path(*at)).collect();
        gone.extend(plan.useless);
        gone.sort_by(|one, other| other.cmp(one));
        for path in gone {
            self.submit_needed(disk, "clear", Operation::Remove { path });
            self.submit_needed(disk, "sync", Operation::SyncDirectory { path: "".into() });
        }
        self.submit_needed(disk, "sync", Operation::SyncDirectory { path: "".into() });
        // What an earlier repair has left goes aside only when that repair's header is durable, and
        // old segments go only when a batch is that says so.
        let mut then = set_aside(&plan.superseded);
        then.extend(remove(&plan.old));
        self.append_then(disk, Batch::default(), then)
    }

    /// Zeroes over traces of batches, synced before anything else is written.
    fn wipe(&mut self, disk: &mut dyn Disk, path: &str, from: u64, to: u64) {
        let mut offset = from;
        let mut data = Vec::new();
        while offset < to {
            let size = (to - offset).min(ZEROES.len() as u64);
            data.push(bytes::Bytes::from_static(&ZEROES).slice(..size as usize));
            offset += size;
        }
        self.submit_needed(
            disk,
            "write",
            Operation::Write { path: path.into(), offset: from, data },
        );
        self.submit_needed(disk, "sync", Operation::Sync { path: path.into() });
    }

    fn leave_damage(
        &mut self,
        disk: &mut dyn Disk,
        boot: u64,
        loss: Loss,
        hard_state: HardState,
    ) -> BatchId {
        let ending = self.plan.as_ref().map(|plan| plan.ending);
        assert_eq!(ending, Some(Ending::Damaged), "only a damaged log is left behind");
        self.leave(disk, boot, loss, hard_state)
    }

    fn leave(
        &mut self,
        disk: &mut dyn Disk,
        boot: u64,
        loss: Loss,
        hard_state: HardState,
    ) -> BatchId {
        let Some(plan) = self.plan.take() else { panic!("only a log just opened is left") };
        self.identity.boot = boot;
        if let Loss::Repair(until) | Loss::Everything(until) = loss {
            self.begin_repair(until);
        }
        for path in plan.unsynced {
            self.submit_needed(disk, "sync", Operation::Sync { path });
        }
        let sequence = plan.last_sequence + 1;
        let is_nothing_kept = plan.is_headless || matches!(loss, Loss::Everything(_));
        let end =
            if is_nothing_kept { (0, 0) } else { (self.current.sequence, self.current.offset) };
        self.leave_current(sequence, 0, end);
        let mut left = Vec::new();
        if is_nothing_kept {
            let closed = self.closed.drain(..);
            if !plan.is_headless {
                left.extend(closed.map(|closed| closed.sequence));
            }
            self.first_segment = sequence;
            self.extent = Extent::default();
            self.mark = None;
        }
        // Numbers never come twice, also not those of batches that are lost.
        self.number = plan.last_number;
        self.durable = self.number;
        self.submit_file(disk, sequence);
        let removed = plan.useless.into_iter().map(|path| Operation::Remove { path });
        let mut then: Vec<Operation> = removed.collect();
        then.extend(set_aside(&left));
        then.extend(set_aside(&plan.behind));
        then.extend(set_aside(&plan.superseded));
        then.extend(remove(&plan.old));
        let batch = Batch { hard_state: Some(hard_state), ..Batch::default() };
        self.append_then(disk, batch, then)
    }

    /// A file for the segment, if possible one that is there: the disk may be full.
    fn submit_file(&mut self, disk: &mut dyn Disk, sequence: u64) {
        let to = segment_path(sequence);
        let spare = self.pool.spares.pop();
        let reserve = || self.pool.reserve.take().map(|_| RESERVE.into());
        let operation = match spare.or_else(reserve) {
            Some(from) => Operation::Rename { from, to },
            None => Operation::Create { path: to, size: 0 },
        };
        self.submit_needed(disk, "create", operation);
        self.submit_needed(disk, "sync", Operation::SyncDirectory { path: "".into() });
    }
}

/// Give segments the name of damaged ones.
fn set_aside(segments: &[u64]) -> Vec<Operation> {
    let rename = |at: &u64| Operation::Rename { from: segment_path(*at), to: damaged_path(*at) };
    let mut operations: Vec<Operation> = segments.iter().map(rename).collect();
    if !operations.is_empty() {
        operations.push(Operation::SyncDirectory { path: "".into() });
    }
    operations
}

/// Remove segments.
fn remove(segments: &[u64]) -> Vec<Operation> {
    let remove = |at: &u64| Operation::Remove { path: segment_path(*at) };
    let mut operations: Vec<Operation> = segments.iter().map(remove).collect();
    if !operations.is_empty() {
        operations.push(Operation::SyncDirectory { path: "".into() });
    }
    operations
}

/// Give up what is lost: go on from the intact prefix as if nothing had been behind it. For the
/// explicit command of a lone member, which no peer can help; acknowledged writes are lost.
///
/// # Panics
/// If the log was not opened with damage.
pub fn force_truncate(log: &mut Log, disk: &mut dyn Disk, boot: u64) -> BatchId {
    let hard_state = log.hard_state;
    log.leave_damage(disk, boot, Loss::Accept, hard_state)
}
