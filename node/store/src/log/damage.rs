//! The error of a read that did not give what had been written.

use std::fmt;
use std::io;

use crate::revision::Revision;

/// Bytes on this member's disk are not what was written there. Fatal for the member: it is never
/// part of a reply, and another member's copy is the cure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{file} is damaged at byte {offset} (revision {revision}): {kind}; re-sync this member from \
     its peers, or restore a backup"
)]
pub struct Damage {
    /// The file's name; empty if no file was found to hold the revision.
    pub file: String,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// The record's revision.
    pub revision: Revision,
    /// What is wrong.
    pub kind: DamageKind,
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// The record's header does not fit its checksum.
    Header,
    /// The record's body does not fit its checksum.
    Body,
    /// A sound record, of another revision or length than is expected here.
    Misplaced,
    /// The log knows of no such revision.
    Missing,
    /// The disk failed the read.
    Io(io::ErrorKind),
}

impl fmt::Display for DamageKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => write!(out, "its header does not fit its checksum"),
            Self::Body => write!(out, "its body does not fit its checksum"),
            Self::Misplaced => write!(out, "another record stands there"),
            Self::Missing => write!(out, "no record is known"),
            Self::Io(kind) => write!(out, "reading failed: {kind}"),
        }
    }
}
