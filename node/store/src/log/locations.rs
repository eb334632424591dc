//! Where each record is: revision → slot, about 8 bytes a revision.
//!
//! ```text
//!   main revision   0 ......... 511 │ 512 ........ 1023 │ ...
//!   chunk           0               │ 1                 │        a chunk without records is gone,
//!                   dense: [slot; 512] or sparse: [(main, slot)]   one with few is sparse
//!
//!   slot   63 62 │ 61 .. 38       │ 37 .. 12          │ 11 .. 0
//!          1     │ segment number │ offset / 8        │ size / 8 (0: see the segment's list)
//!          2     │ sequence number in the tail
//!          3       several: the revision's slots are in the chunk's list, by sub
//! ```
//! Chunks are shared: a copy of the whole table costs one pointer a chunk, and a chunk is copied
//! when it is changed while such a copy exists.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::format::ALIGNMENT;
use crate::revision::Revision;

/// Main revisions a chunk.
const CHUNK: usize = 512;

/// A dense chunk with fewer records than this becomes sparse: a third of the slots, so that one
/// at the edge does not turn to and fro.
const SPARSE_BELOW: usize = CHUNK / 6;

/// A sparse chunk with more records than this becomes dense.
const DENSE_ABOVE: usize = CHUNK / 3;

/// Segment numbers are below this.
pub(crate) const SEGMENT_NUMBERS: u32 = 1 << 24;

/// Records begin below this offset.
pub(crate) const OFFSETS: u64 = (1 << 26) * ALIGNMENT;

/// Records below this size have it in their slot, exactly.
pub(crate) const SLOT_SIZES: u64 = (1 << 12) * ALIGNMENT;

const TAG: u32 = 62;
const ON_DISK: u64 = 1;
const IN_TAIL: u64 = 2;
const SEVERAL: u64 = 3 << TAG;

/// Where one record is, in eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u64);

/// What a slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a segment.
    Disk(DiskPlace),
    /// In the tail, under this sequence number.
    Tail(u64),
}

/// A place in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DiskPlace {
    /// The segment's number (not its id).
    pub(crate) segment: u32,
    /// In bytes.
    pub(crate) offset: u64,
    /// In bytes, with header and padding; 0: the segment's list of large records knows.
    pub(crate) size: u64,
}

impl Slot {
    /// The slot of a record in a segment; a size that does not fit is left out.
    pub(crate) fn on_disk(place: DiskPlace) -> Self {
        let DiskPlace { segment, offset, size } = place;
        assert!(segment < SEGMENT_NUMBERS && offset < OFFSETS && offset.is_multiple_of(ALIGNMENT));
        let size = if size < SLOT_SIZES { size / ALIGNMENT } else { 0 };
        Self(ON_DISK << TAG | u64::from(segment) << 38 | (offset / ALIGNMENT) << 12 | size)
    }

    /// The slot of a record in the tail.
    pub(crate) fn in_tail(sequence: u64) -> Self {
        assert!(sequence < 1 << TAG);
        Self(IN_TAIL << TAG | sequence)
    }

    /// What the slot says.
    pub(crate) fn place(self) -> Place {
        if self.0 >> TAG == IN_TAIL {
            return Place::Tail(self.0 & ((1 << TAG) - 1));
        }
        Place::Disk(DiskPlace {
            segment: (self.0 >> 38) as u32 & (SEGMENT_NUMBERS - 1),
            offset: (self.0 >> 12 & ((1 << 26) - 1)) * ALIGNMENT,
            size: (self.0 & ((1 << 12) - 1)) * ALIGNMENT,
        })
    }
}

/// Revision → slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Locations {
    chunks: BTreeMap<i64, Arc<Chunk>>,
}

#[derive(Clone, Debug)]
struct Chunk {
    slots: Slots,
    /// The slots of main revisions with more than one record, or with one whose sub is not 0.
    several: BTreeMap<u16, BTreeMap<u32, Slot>>,
}

#[derive(Clone, Debug)]
enum Slots {
    Dense { slots: Box<[u64; CHUNK]>, used: usize },
    Sparse(Vec<(u16, u64)>),
}

fn split(main: i64) -> (i64, u16) {
    (main.div_euclid(CHUNK as i64), main.rem_euclid(CHUNK as i64) as u16)
}

fn sub(revision: Revision) -> Option<u32> {
    u32::try_from(revision.sub).ok()
}

impl Locations {
    /// The slot of a revision.
    pub(crate) fn get(&self, revision: Revision) -> Option<Slot> {
        let (number, within) = split(revision.main);
        let chunk = self.chunks.get(&number)?;
        match chunk.slots.get(within) {
            0 => None,
            SEVERAL => chunk.several.get(&within)?.get(&sub(revision)?).copied(),
            slot => (revision.sub == 0).then_some(Slot(slot)),
        }
    }

    /// Set the slot of a revision that has none or another.
    pub(crate) fn set(&mut self, revision: Revision, slot: Slot) {
        let (number, within) = split(revision.main);
        let sub = sub(revision).expect("a transaction has fewer than 2^32 changes");
        let chunk = Arc::make_mut(self.chunks.entry(number).or_insert_with(Chunk::empty));
        let old = chunk.slots.get(within);
        if sub == 0 && old != SEVERAL {
            chunk.slots.set(within, slot.0);
            return;
        }
        if old != SEVERAL {
            let first = (old != 0).then_some((0, Slot(old)));
            chunk.several.insert(within, first.into_iter().collect());
            chunk.slots.set(within, SEVERAL);
        }
        chunk.several.entry(within).or_default().insert(sub, slot);
    }

    /// Take the slot of a revision away.
    pub(crate) fn remove(&mut self, revision: Revision) -> Option<Slot> {
        let found = self.get(revision)?;
        let (number, within) = split(revision.main);
        let shared = self.chunks.get_mut(&number)?;
        let chunk = Arc::make_mut(shared);
        if chunk.slots.get(within) == SEVERAL {
            let list = chunk.several.entry(within).or_default();
            sub(revision).and_then(|sub| list.remove(&sub));
            if !list.is_empty() {
                return Some(found);
            }
            chunk.several.remove(&within);
        }
        chunk.slots.set(within, 0);
        if chunk.slots.is_empty() {
            self.chunks.remove(&number);
        }
        Some(found)
    }

    /// Forget everything.
    pub(crate) fn clear(&mut self) {
        self.chunks.clear();
    }

    /// All records from `from` on, in order.
    pub(crate) fn iter_from(&self, from: Revision) -> impl Iterator<Item = (Revision, Slot)> + '_ {
        let (first, within) = split(from.main);
        self.chunks.range(first..).flat_map(move |(number, chunk)| {
            let within = if *number == first { within } else { 0 };
            chunk.iter_from(number * CHUNK as i64, within, from)
        })
    }

    /// Memory that the table takes, in bytes, about.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.chunks.values().map(|chunk| chunk.memory_bytes()).sum()
    }
}

impl Chunk {
    fn empty() -> Arc<Self> {
        Arc::new(Self { slots: Slots::Sparse(Vec::new()), several: BTreeMap::new() })
    }

    /// Its records from `from` on, which is not before the main revision `base + within`. A
    /// transaction may have many records: those before `from` are not walked through.
    fn iter_from(
        &self,
        base: i64,
        within: u16,
        from: Revision,
    ) -> impl Iterator<Item = (Revision, Slot)> + '_ {
        self.slots.iter_from(within).flat_map(move |(within, slot)| {
            let main = base + i64::from(within);
            let first = if main == from.main { sub(from).unwrap_or(u32::MAX) } else { 0 };
            let is_one = slot != SEVERAL && first == 0;
            let one = is_one.then_some((Revision::new(main, 0), Slot(slot)));
            let several = (slot == SEVERAL).then(|| self.several.get(&within)).flatten();
            let several = several.into_iter().flat_map(move |list| list.range(first..));
            one.into_iter().chain(
                several.map(move |(sub, slot)| (Revision::new(main, i64::from(*sub)), *slot)),
            )
        })
    }

    fn memory_bytes(&self) -> u64 {
        let slots = match &self.slots {
            Slots::Dense { .. } => CHUNK * size_of::<u64>(),
            Slots::Sparse(list) => list.capacity() * size_of::<(u16, u64)>(),
        };
        // A tree's nodes are about two thirds full.
        let lists = self.several.values().map(|list| list.len() * 24);
        (slots + lists.sum::<usize>() + self.several.len() * 40 + size_of::<Self>() + 40) as u64
    }
}

impl Slots {
    fn get(&self, within: u16) -> u64 {
        match self {
            Self::Dense { slots, .. } => slots.get(usize::from(within)).copied().unwrap_or(0),
            Self::Sparse(list) => list
                .binary_search_by_key(&within, |(within, _)| *within)
                .ok()
                .and_then(|at| list.get(at))
                .map_or(0, |(_, slot)| *slot),
        }
    }

    fn set(&mut self, within: u16, slot: u64) {
        match self {
            Self::Dense { slots, used } => {
                let old = std::mem::replace(&mut slots[usize::from(within)], slot);
                *used = *used + usize::from(slot != 0) - usize::from(old != 0);
                if *used < SPARSE_BELOW && slot == 0 {
                    *self = Self::Sparse(self.iter().collect());
                }
            }
            Self::Sparse(list) => {
                match (list.binary_search_by_key(&within, |(within, _)| *within), slot) {
                    (Ok(at), 0) => {
                        list.remove(at);
                        if list.capacity() > 4 * list.len() {
                            list.shrink_to(2 * list.len());
                        }
                    }
                    (Ok(at), slot) => list[at].1 = slot,
                    (Err(_), 0) => {}
                    (Err(at), slot) => list.insert(at, (within, slot)),
                }
                if list.len() > DENSE_ABOVE {
                    self.make_dense();
                }
            }
        }
    }

    fn make_dense(&mut self) {
        let mut slots = Box::new([0; CHUNK]);
        let mut used = 0;
        for (within, slot) in self.iter() {
            slots[usize::from(within)] = slot;
            used += 1;
        }
        *self = Self::Dense { slots, used };
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Dense { used, .. } => *used == 0,
            Self::Sparse(list) => list.is_empty(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        self.iter_from(0)
    }

    fn iter_from(&self, first: u16) -> impl Iterator<Item = (u16, u64)> + '_ {
        let (dense, sparse) = match self {
            Self::Dense { slots, .. } => (&slots[..], &[][..]),
            Self::Sparse(list) => {
                let before = list.partition_point(|(within, _)| *within < first);
                (&[][..], list.get(before..).unwrap_or_default())
            }
        };
        let dense = dense.iter().enumerate().skip(usize::from(first));
        let dense = dense.filter(|(_, slot)| **slot != 0);
        dense.map(|(within, slot)| (within as u16, *slot)).chain(sparse.iter().copied())
    }
}
