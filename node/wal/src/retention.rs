//! Giving segments back, and having the next one ready.
//!
//! ```text
//!   release ─► a durable batch says first_segment ─► old segment ─► next │ reserve │ spare │ gone
//!   nothing to re-use ─► create ─► zeroes, a piece at a time ─► next │ reserve
//! ```
//!
//! A segment is given back only when a batch that no longer needs it is durable: else a crash
//! could leave a log that looks as if a segment were missing.

use std::io;

use bytes::Bytes;
use quorate_disk::{Disk, Operation, Path};

use crate::segment::{PREPARE_BYTES, RESERVE, ZEROES, segment_path, spare_path};
use crate::writer::{Log, Purpose, Space};

/// What a file is prepared for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Next(u64),
    Reserve,
}

/// A step of preparing a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Create(Role),
    /// Zeroes up to here.
    Fill(Role, u64),
    /// Sync after these zeroes.
    Sync(Role, u64),
    Name(Role),
}

/// Files without records.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// Sequence number and bytes of the next segment, which has its name durably.
    pub(crate) next: Option<(u64, u64)>,
    /// Bytes of the reserve.
    pub(crate) reserve: Option<u64>,
    pub(crate) spares: Vec<Path>,
    /// What is being made.
    pub(crate) making: Option<Role>,
    /// The disk was full.
    pub(crate) full: bool,
}

impl Log {
    /// Everything up to `index` is behind a checkpoint: segments wholly below are given back when
    /// the next batch is durable.
    pub fn release(&mut self, index: u64) {
        let kept = self.closed.iter().find(|closed| closed.max_index > index);
        let first = kept.map_or(self.current.sequence, |closed| closed.sequence);
        // What is not durable yet is needed whatever the caller says.
        let first = self.oldest_in_flight().map_or(first, |oldest| first.min(oldest));
        self.first_segment = self.first_segment.max(first);
    }

    /// Bytes of the reserve that is kept for a full disk; 0 when it is used up or not made yet.
    #[must_use]
    pub fn reserve_left(&self) -> u64 {
        self.pool.reserve.unwrap_or(0)
    }

    /// Whether the disk has room for more segments. `Low` comes before the reserve is touched.
    #[must_use]
    pub fn space(&self) -> Space {
        if !self.pool.full {
            return Space::Ample;
        }
        let room = self.options.segment_bytes.saturating_sub(self.current.offset);
        let next = self.pool.next.map_or(0, |(_, length)| length);
        Space::Low { bytes: room + next + self.reserve_left() }
    }

    /// Try again to make what a full disk has refused.
    pub fn retry_space(&mut self, disk: &mut dyn Disk) {
        self.pool.full = false;
        self.maintain(disk);
    }

    /// Give back what durable batches no longer need.
    pub(crate) fn recycle(&mut self, disk: &mut dyn Disk) {
        let mut changed = false;
        while let Some(first) = self.closed.front().copied()
            && first.sequence < self.first_segment_durable
        {
            self.closed.pop_front();
            let from = segment_path(first.sequence);
            let spares_enough = self.pool.spares.len() >= self.options.spares_max;
            let operation = if first.length == self.options.segment_bytes && !spares_enough {
                let to = spare_path(first.sequence);
                self.pool.spares.push(to.clone());
                Operation::Rename { from, to }
            } else {
                Operation::Remove { path: from }
            };
            self.submit_needed(disk, "give back", operation);
            changed = true;
        }
        if changed {
            self.submit_needed(disk, "sync", Operation::SyncDirectory { path: "".into() });
            self.pool.full = false;
        }
    }

    /// Take the file for the segment after the current one; its bytes.
    pub(crate) fn take_next(&mut self, disk: &mut dyn Disk, sequence: u64) -> Option<u64> {
        if let Some((at, length)) = self.pool.next
            && at == sequence
        {
            self.pool.next = None;
            if self.pool.making == Some(Role::Next(sequence)) {
                self.pool.making = None;
            }
            return Some(length);
        }
        if !self.pool.full {
            return None;
        }
        let length = self.pool.reserve.take()?;
        if self.pool.making == Some(Role::Next(sequence)) {
            self.pool.making = None;
        }
        let (from, to) = (RESERVE.into(), segment_path(sequence));
        self.submit_needed(disk, "rename", Operation::Rename { from, to });
        self.submit_needed(disk, "sync", Operation::SyncDirectory { path: "".into() });
        Some(length)
    }

    /// Get the next segment and the reserve ready, one step at a time.
    pub(crate) fn maintain(&mut self, disk: &mut dyn Disk) {
        if self.plan.is_some() || self.pool.making.is_some() || self.durable == 0 {
            return;
        }
        let sequence = self.current.sequence + 1;
        let role = if self.pool.next.is_none() {
            Role::Next(sequence)
        } else if self.pool.reserve.is_none() {
            Role::Reserve
        } else {
            return;
        };
        if let Some(from) = self.pool.spares.pop() {
            let to = path(role);
            self.pool.making = Some(role);
            self.submit_needed(disk, "rename", Operation::Rename { from, to: to.clone() });
            let sync = Operation::SyncDirectory { path: "".into() };
            self.submit(disk, to, Purpose::Prepare(Step::Name(role)), sync);
        } else if !self.pool.full {
            self.pool.making = Some(role);
            let path = path(role);
            let create = Operation::Create { path: path.clone(), size: 0 };
            self.submit(disk, path.clone(), Purpose::Prepare(Step::Create(role)), create);
            let sync = Operation::SyncDirectory { path: "".into() };
            self.submit(disk, path, Purpose::Prepare(Step::Name(role)), sync);
        }
    }

    /// A step of preparing has ended. A full disk is no error here.
    pub(crate) fn on_prepared(
        &mut self,
        disk: &mut dyn Disk,
        step: Step,
        result: io::Result<()>,
    ) -> io::Result<()> {
        let (Step::Create(role) | Step::Fill(role, _) | Step::Sync(role, _) | Step::Name(role)) =
            step;
        if self.pool.making != Some(role) {
            // The file is in use by now, or was given up: only a broken disk matters.
            return match result {
                Err(error) if !is_benign(&error) => Err(error),
                _ => Ok(()),
            };
        }
        match (step, result) {
            (_, Err(error)) if error.kind() == io::ErrorKind::StorageFull => {
                self.give_up(disk, role);
                Ok(())
            }
            (_, Err(error)) => Err(error),
            (Step::Create(_), Ok(())) => {
                self.fill(disk, role, 0);
                Ok(())
            }
            // Named, and made of an old segment: it is whole. Else the zeroes are under way.
            (Step::Name(_), Ok(())) => {
                if !self.is_filling(role) {
                    self.finish(role);
                } else if let Role::Next(sequence) = role {
                    self.pool.next = Some((sequence, 0));
                }
                Ok(())
            }
            (Step::Fill(..), Ok(())) => Ok(()),
            (Step::Sync(_, filled), Ok(())) => {
                if filled == self.options.segment_bytes {
                    self.finish(role);
                } else {
                    self.fill(disk, role, filled);
                }
                Ok(())
            }
        }
    }

    fn is_filling(&self, role: Role) -> bool {
        self.has_ticket(|purpose| match purpose {
            Purpose::Prepare(Step::Fill(at, _) | Step::Sync(at, _)) => *at == role,
            _ => false,
        })
    }

    fn finish(&mut self, role: Role) {
        let length = self.options.segment_bytes;
        match role {
            Role::Next(sequence) => self.pool.next = Some((sequence, length)),
            Role::Reserve => self.pool.reserve = Some(length),
        }
        self.pool.making = None;
    }

    fn fill(&mut self, disk: &mut dyn Disk, role: Role, from: u64) {
        let size = (self.options.segment_bytes - from).min(PREPARE_BYTES as u64);
        let filled = from + size;
        let path = path(role);
        let data = vec![Bytes::from_static(&ZEROES).slice(..size as usize)];
        let write = Operation::Write { path: path.clone(), offset: from, data };
        self.submit(disk, path.clone(), Purpose::Prepare(Step::Fill(role, filled)), write);
        let sync = Operation::Sync { path: path.clone() };
        self.submit(disk, path, Purpose::Prepare(Step::Sync(role, filled)), sync);
    }

    /// The disk is full: take back what was made of the file.
    fn give_up(&mut self, disk: &mut dyn Disk, role: Role) {
        self.pool.full = true;
        self.pool.making = None;
        if let Role::Next(_) = role {
            self.pool.next = None;
        }
        self.submit_needed(disk, "remove", Operation::Remove { path: path(role) });
    }
}

/// A full disk, or a file that a full disk has prevented.
fn is_benign(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::NotFound)
}

fn path(role: Role) -> Path {
    match role {
        Role::Next(sequence) => segment_path(sequence),
        Role::Reserve => RESERVE.into(),
    }
}
