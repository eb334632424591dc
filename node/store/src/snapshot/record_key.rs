//! The keys of the records: a revision, and whether it is a deletion.

use bytes::Bytes;

use crate::revision::Revision;

const SEPARATOR: u8 = b'_';
const TOMBSTONE: u8 = b't';

/// Highest main revision taken from a file: the store must be able to go on from it for ever.
const MAIN_MAX: i64 = 1 << 62;
/// Highest sub revision: changes of one transaction.
const SUB_MAX: i64 = u32::MAX as i64;

/// Bytes of a revision; a tombstone's key has one more.
pub(super) const REVISION_BYTES: usize = 17;

/// Bytes of a record's key, at most: a tombstone's.
pub(super) const KEY_BYTES_MAX: usize = REVISION_BYTES + 1;

/// A revision as etcd writes it, also as a value.
pub(crate) fn encode(revision: Revision, tombstone: bool) -> Bytes {
    Bytes::copy_from_slice(of(revision, tombstone).as_ref())
}

/// A record's key in place.
pub(crate) struct RecordKey {
    bytes: [u8; KEY_BYTES_MAX],
    length: usize,
}

impl AsRef<[u8]> for RecordKey {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The same without an allocation.
pub(crate) fn of(revision: Revision, tombstone: bool) -> RecordKey {
    let mut bytes = [TOMBSTONE; KEY_BYTES_MAX];
    bytes[..8].copy_from_slice(&revision.main.to_be_bytes());
    bytes[8] = SEPARATOR;
    bytes[9..REVISION_BYTES].copy_from_slice(&revision.sub.to_be_bytes());
    RecordKey { bytes, length: REVISION_BYTES + usize::from(tombstone) }
}

/// The revision and whether it is a tombstone's; `None` if the bytes are no such key, or the
/// revision is beyond what a store can have.
pub(super) fn decode(key: &[u8]) -> Option<(Revision, bool)> {
    let (revision, mark) = key.split_at_checked(REVISION_BYTES)?;
    let (main, rest) = revision.split_first_chunk()?;
    let (separator, sub) = rest.split_first()?;
    let revision =
        Revision { main: i64::from_be_bytes(*main), sub: i64::from_be_bytes(sub.try_into().ok()?) };
    let tombstone = match mark {
        [] => false,
        [TOMBSTONE] => true,
        _ => return None,
    };
    let valid = *separator == SEPARATOR
        && (0..=MAIN_MAX).contains(&revision.main)
        && (0..=SUB_MAX).contains(&revision.sub);
    valid.then_some((revision, tombstone))
}
