//! What a loss of power leaves: the durable image and a legal subset of what was not synced.
//!
//! ```text
//!   sector      durable   change 1   change 2   change 3
//!      7          A          B          –          D        ──► any one of A, B, D
//!      8          A          –          C          –        ──► A or C, whatever 7 is
//!   length       100         –         150        200       ──► any one of 100, 150, 200
//!   names     their own subset, until the folder's sync
//! ```
//!
//! A sector never mixes two moments: the kernel writes the page as it is at one of them.

use std::collections::BTreeMap;

use crate::SECTOR;
use crate::content::{Content, pieces};
use crate::random::Random;
use crate::state::{Change, File, State};

/// How much of what was not synced is there after a loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CrashPolicy {
    /// Nothing.
    LoseUnsynced,
    /// Everything, also what was only queued: what a killed process leaves at best.
    KeepAll,
    /// Changes up to a random one in their order; that one is cut at a sector.
    Prefix,
    /// Any subset of sectors, lengths and names: a torn write-back.
    Torn,
    /// One of the others, drawn at random.
    Any,
}

impl CrashPolicy {
    /// Every policy but [`CrashPolicy::Any`], to enumerate.
    pub const EACH: [Self; 4] = [Self::LoseUnsynced, Self::KeepAll, Self::Prefix, Self::Torn];
}

/// Which changes stay.
pub(crate) enum Keep {
    None,
    All,
    /// Changes before this sequence, and a part of that one.
    Before(u64),
    AnySectors,
}

impl Keep {
    pub(crate) fn draw(policy: CrashPolicy, last: u64, first: u64, random: &mut Random) -> Self {
        match policy {
            CrashPolicy::LoseUnsynced => Self::None,
            CrashPolicy::KeepAll => Self::All,
            CrashPolicy::Prefix => Self::Before(first + random.below(last + 2 - first)),
            CrashPolicy::Torn => Self::AnySectors,
            CrashPolicy::Any => {
                let policy = CrashPolicy::EACH[random.below(4) as usize];
                Self::draw(policy, last, first, random)
            }
        }
    }

    fn keeps_name(&self, sequence: u64, random: &mut Random) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Before(cut) => sequence < *cut,
            Self::AnySectors => random.chance_of_half(),
        }
    }
}

impl State {
    /// The sequence of the oldest change that is not durable.
    pub(crate) fn first_pending(&self) -> u64 {
        let names = self.pending_names.iter().map(|pending| pending.sequence);
        let files = self.files.values().flat_map(|file| file.pending.iter().map(|(at, _)| *at));
        names.chain(files).min().unwrap_or(self.sequence + 1)
    }

    /// Lose power. True if anything was lost.
    pub(crate) fn crash(&mut self, policy: CrashPolicy, random: &mut Random) -> bool {
        let keep = Keep::draw(policy, self.sequence, self.first_pending(), random);
        let before = self.current.clone();
        let mut lost = false;
        for file in self.files.values_mut() {
            settle_file(file, &keep, random);
            lost |= file.current != file.durable;
            file.current = file.durable.clone();
        }
        for pending in std::mem::take(&mut self.pending_names) {
            if keep.keeps_name(pending.sequence, random) {
                self.durable.apply(&pending.change);
            }
        }
        let directories = &self.durable.directories;
        self.durable.files.retain(|path, _| {
            let folder = crate::state::parent(path);
            folder.is_empty() || directories.contains(folder)
        });
        self.current = self.durable.clone();
        self.forget_unnamed();
        lost || before != self.current
    }
}

/// Decide for each pending change of the file whether it is durable; none is pending afterwards.
/// What readers see is not touched.
pub(crate) fn settle_file(file: &mut File, keep: &Keep, random: &mut Random) {
    let pending = std::mem::take(&mut file.pending);
    match keep {
        Keep::None => {}
        Keep::All => {
            for (_, change) in &pending {
                apply(&mut file.durable, change);
            }
        }
        Keep::Before(cut) => {
            for (sequence, change) in &pending {
                if sequence < cut {
                    apply(&mut file.durable, change);
                } else if sequence == cut {
                    apply_part(&mut file.durable, change, random);
                }
            }
        }
        Keep::AnySectors => {
            let changes: Vec<Change> = pending.into_iter().map(|(_, change)| change).collect();
            apply_any_sectors(&mut file.durable, &changes, random);
        }
    }
}

fn apply(content: &mut Content, change: &Change) {
    match change {
        Change::Write { offset, data } => content.write(*offset, data),
        Change::Length { size } => content.set_length(*size),
    }
}

/// The change up to the end of one of its sectors.
fn apply_part(content: &mut Content, change: &Change, random: &mut Random) {
    if let Change::Write { offset, data } = change {
        let ends: Vec<usize> = pieces(*offset, data.len()).map(|(_, _, range)| range.end).collect();
        let kept = random.below(ends.len() as u64 + 1) as usize;
        let end = if kept == 0 { 0 } else { ends[kept - 1] };
        if end > 0 {
            content.write(*offset, &data[..end]);
        }
    }
}

fn apply_any_sectors(durable: &mut Content, changes: &[Change], random: &mut Random) {
    let mut touched: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    let mut lengths = vec![durable.length];
    let mut length = durable.length;
    for (number, change) in changes.iter().enumerate() {
        match change {
            Change::Write { offset, data } => {
                for (sector, _, _) in pieces(*offset, data.len()) {
                    touched.entry(sector).or_default().push(number);
                }
                length = length.max(offset + data.len() as u64);
            }
            Change::Length { size } => {
                let first = size / SECTOR;
                let mut cleared: Vec<u64> = durable.sectors_from(first).collect();
                cleared.extend(touched.range(first..).map(|(&sector, _)| sector));
                for sector in cleared {
                    let changes = touched.entry(sector).or_default();
                    if changes.last() != Some(&number) {
                        changes.push(number);
                    }
                }
                length = *size;
            }
        }
        lengths.push(length);
    }
    for (sector, numbers) in &touched {
        let kept = random.below(numbers.len() as u64 + 1) as usize;
        for &number in &numbers[..kept] {
            apply_to_sector(durable, *sector, &changes[number]);
        }
    }
    let length = lengths[random.below(lengths.len() as u64) as usize];
    durable.clear_from(length);
    durable.length = length;
}

fn apply_to_sector(content: &mut Content, wanted: u64, change: &Change) {
    match change {
        Change::Write { offset, data } => {
            for (sector, within, range) in pieces(*offset, data.len()) {
                if sector == wanted {
                    content.put(sector * SECTOR + within as u64, &data[range]);
                }
            }
        }
        Change::Length { size } => content.clear_in_sector(wanted, *size),
    }
}
