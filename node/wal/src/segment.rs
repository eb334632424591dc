//! Segments: their names, sizes, and what of a file is kept in memory.

use quorate_disk::Path;

use crate::record::{SECTOR, SEGMENT_HEADER_BYTES};

/// How the log uses the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of a segment, a multiple of 512. A batch that is larger gets a segment of its size.
    pub segment_bytes: u64,
    /// How many given-back segments are kept for new lives, besides the next one and the reserve.
    pub spares_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, spares_max: 4 }
    }
}

/// The smallest segment: its header, a batch and a seal.
pub(crate) const SEGMENT_BYTES_MIN: u64 = SEGMENT_HEADER_BYTES + 2 * SECTOR;

/// Zeroes that a new segment is pre-written with at a time: small enough not to be felt by a batch
/// that waits behind them.
pub(crate) const PREPARE_BYTES: usize = 512 << 10;

pub(crate) static ZEROES: [u8; PREPARE_BYTES] = [0; PREPARE_BYTES];

/// The file that waits for a full disk.
pub(crate) const RESERVE: &str = "reserve";
/// The first segment, until the log's creation is durable.
pub(crate) const CREATING: &str = "creating";

pub(crate) fn segment_path(sequence: u64) -> Path {
    format!("{sequence:016x}.log").into()
}

pub(crate) fn spare_path(sequence: u64) -> Path {
    format!("{sequence:016x}.spare").into()
}

pub(crate) fn damaged_path(sequence: u64) -> Path {
    format!("{sequence:016x}.log.damaged").into()
}

/// What a file in the log's folder is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileName {
    Segment(u64),
    Spare,
    Reserve,
    Damaged,
    Creating,
    /// A log file of etcd.
    Foreign,
    Unknown,
}

impl FileName {
    pub(crate) fn parse(name: &str) -> Self {
        if name == RESERVE {
            return Self::Reserve;
        }
        if name == CREATING {
            return Self::Creating;
        }
        if name.ends_with(".wal") {
            return Self::Foreign;
        }
        let Some((stem, kind)) = name.split_once('.') else { return Self::Unknown };
        let Ok(sequence) = u64::from_str_radix(stem, 16) else { return Self::Unknown };
        match kind {
            "log" if stem.len() == 16 && sequence > 0 => Self::Segment(sequence),
            "spare" => Self::Spare,
            "log.damaged" => Self::Damaged,
            _ => Self::Unknown,
        }
    }
}

/// A segment that is full, or that the log has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) sequence: u64,
    /// The highest index of an entry that was ever in it; 0 for none.
    pub(crate) max_index: u64,
    /// Bytes of the file.
    pub(crate) length: u64,
}
