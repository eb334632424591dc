//! Building an index from ascending keys, and the bytes of a history.

use bytes::{Buf, BufMut};
use prost::encoding::{decode_varint, encode_varint};

use super::leaf::{LEAF_KEYS_MAX, Leaf};
use super::node::{Child, Node};
use super::versions::{Version, Versions};
use super::{ExportedKey, Index, LoadError};
use crate::hash::BodySum;
use crate::revision::Revision;

/// Builds an index leaf by leaf, comparing each key with the one before only.
#[derive(Debug, Default)]
pub struct Loader {
    leaves: Vec<Child>,
    block: Vec<(Vec<u8>, Versions)>,
    /// The last key of the last leaf.
    last: Option<Vec<u8>>,
    keys: usize,
}

impl Loader {
    /// Add the next key.
    ///
    /// # Errors
    /// If keys or changes do not ascend.
    pub fn push(&mut self, key: ExportedKey) -> Result<(), LoadError> {
        let ExportedKey { key, versions } = key;
        let at = self.keys;
        let versions = Some(versions)
            .filter(|versions| versions.is_sorted_by(|a, b| a.revision < b.revision))
            .and_then(|versions| Versions::from_slice(&versions))
            .ok_or(LoadError::Changes { at })?;
        let before = self.block.last().map(|(key, _)| key).or(self.last.as_ref());
        if before.is_some_and(|before| *before >= key) {
            return Err(LoadError::Order { at });
        }
        self.block.push((key, versions));
        self.keys += 1;
        if self.block.len() == LEAF_KEYS_MAX {
            self.last = self.block.last().map(|(key, _)| key.clone());
            self.close_leaf();
        }
        Ok(())
    }

    fn close_leaf(&mut self) {
        self.leaves.push(Child::new(Node::Leaf(Leaf::from_sorted(self.block.drain(..)))));
    }

    /// The index of all keys that were added.
    #[must_use]
    pub fn finish(mut self) -> Index {
        if !self.block.is_empty() {
            self.close_leaf();
        }
        Index { root: Node::build(self.leaves) }
    }
}

/// Append the bytes of a history, as a checkpoint holds it:
///
/// ```text
///   change …     main varint │ sub varint │ version varint │ if it is not 0, a tombstone's:
///                main - create_revision varint │ checksum u32 LE │
///                length u32 LE
/// ```
pub fn encode_versions(versions: &[Version], out: &mut impl BufMut) {
    for Version { revision, create_revision, version, body } in versions {
        encode_varint(revision.main.cast_unsigned(), out);
        encode_varint(revision.sub.cast_unsigned(), out);
        encode_varint(version.cast_unsigned(), out);
        if *version != 0 {
            encode_varint(revision.main.wrapping_sub(*create_revision).cast_unsigned(), out);
            out.put_u32_le(body.crc);
            out.put_u32_le(body.length);
        }
    }
}

/// Read a history back; `None` if the bytes are none.
pub fn decode_versions(mut input: &[u8]) -> Option<Vec<Version>> {
    let mut versions = Vec::with_capacity(1);
    while !input.is_empty() {
        let mut number = || decode_varint(&mut input).ok().map(u64::cast_signed);
        let revision = Revision { main: number()?, sub: number()? };
        let version = number()?;
        if revision.main < 0 || u32::try_from(revision.sub).is_err() || version < 0 {
            return None;
        }
        if version == 0 {
            versions.push(Version::tombstone(revision));
            continue;
        }
        let create_revision = revision.main.checked_sub(number()?)?;
        let (crc, length) = (input.try_get_u32_le().ok()?, input.try_get_u32_le().ok()?);
        let body = BodySum { crc, length };
        versions.push(Version { revision, create_revision, version, body });
    }
    Some(versions)
}
