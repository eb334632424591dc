//! What is in one file: sectors, of which those never written are zero and take no memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::SECTOR;

type Sector = Arc<[u8; SECTOR as usize]>;

/// A file's bytes. A clone shares its sectors, so that images of a disk are cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) length: u64,
    sectors: BTreeMap<u64, Sector>,
}

impl Content {
    /// The numbers of the sectors that hold something.
    pub(crate) fn sectors_from(&self, first: u64) -> impl Iterator<Item = u64> + '_ {
        self.sectors.range(first..).map(|(&number, _)| number)
    }

    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) {
        for (number, within, range) in pieces(offset, out.len()) {
            match self.sectors.get(&number) {
                Some(sector) => {
                    let end = within + range.len();
                    out[range].copy_from_slice(&sector[within..end]);
                }
                None => out[range].fill(0),
            }
        }
    }

    /// Write without touching the length.
    pub(crate) fn put(&mut self, offset: u64, data: &[u8]) {
        for (number, within, range) in pieces(offset, data.len()) {
            let sector =
                self.sectors.entry(number).or_insert_with(|| Arc::new([0; SECTOR as usize]));
            let end = within + range.len();
            Arc::make_mut(sector)[within..end].copy_from_slice(&data[range]);
        }
    }

    /// Write; the file grows if it is too short.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) {
        self.put(offset, data);
        self.length = self.length.max(offset + data.len() as u64);
    }

    /// Bytes from `size` on become zero, whatever the length is.
    pub(crate) fn clear_from(&mut self, size: u64) {
        let _ = self.sectors.split_off(&size.div_ceil(SECTOR));
        self.clear_in_sector(size / SECTOR, size);
    }

    /// Bytes of one sector from `size` on become zero.
    pub(crate) fn clear_in_sector(&mut self, number: u64, size: u64) {
        let start = number * SECTOR;
        if size <= start {
            self.sectors.remove(&number);
        } else if size < start + SECTOR
            && let Some(sector) = self.sectors.get_mut(&number)
        {
            Arc::make_mut(sector)[(size - start) as usize..].fill(0);
        }
    }

    pub(crate) fn set_length(&mut self, size: u64) {
        if size < self.length {
            self.clear_from(size);
        }
        self.length = size;
    }
}

/// Cut `length` bytes at `offset` at the sector boundaries: sector, where in it, range of the bytes.
pub(crate) fn pieces(
    offset: u64,
    length: usize,
) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let at = offset + done as u64;
        let within = (at % SECTOR) as usize;
        let size = (SECTOR as usize - within).min(length - done);
        let range = done..done + size;
        done += size;
        Some((at / SECTOR, within, range))
    })
}
