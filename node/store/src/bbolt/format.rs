//! The bytes of a bbolt file: headers, meta pages, elements. Source: bbolt v1.5.0's file format.

use bytes::{BufMut, BytesMut};

/// Bytes in a page of the files that the writer makes; the page size of the usual machines.
pub const PAGE_SIZE: usize = 4096;

/// Bytes of a page's header.
pub(super) const HEADER: usize = 16;
/// Bytes of one element, in a leaf as in a branch.
pub(super) const ELEMENT: usize = 16;
/// Bytes of a bucket's header, which is its value in the parent.
pub(super) const BUCKET_HEADER: usize = 16;
/// Bytes of the meta structure, which follows the page header of pages 0 and 1.
pub(super) const META: usize = 64;

/// Page holds children.
pub(super) const BRANCH: u16 = 0x01;
/// Page holds keys and values.
pub(super) const LEAF: u16 = 0x02;
/// Page is one of the two meta pages.
pub(super) const META_PAGE: u16 = 0x04;
/// The leaf element's value is a bucket.
pub(super) const BUCKET_ELEMENT: u32 = 0x01;

/// Longest key that bbolt stores.
pub(super) const KEY_BYTES_MAX: usize = 32_768;
/// Longest value that bbolt stores.
pub(super) const VALUE_BYTES_MAX: usize = (1 << 31) - 2;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
const NO_FREELIST: u64 = u64::MAX;

/// `N` bytes at `offset`, if they are there.
pub(super) fn bytes_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    let end = offset.checked_add(N)?;
    bytes.get(offset..end)?.try_into().ok()
}

/// A little-endian number at `offset`.
pub(super) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes_at(bytes, offset).map(u16::from_le_bytes)
}

/// A little-endian number at `offset`.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes_at(bytes, offset).map(u32::from_le_bytes)
}

/// A little-endian number at `offset`.
pub(super) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes_at(bytes, offset).map(u64::from_le_bytes)
}

/// The 16 bytes before a page's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// The page's number; its offset in the file divided by the page size.
    pub(super) id: u64,
    /// [`BRANCH`], [`LEAF`] or [`META_PAGE`].
    pub(super) flags: u16,
    /// Elements in the page.
    pub(super) count: u16,
    /// Pages after this one that belong to it.
    pub(super) overflow: u32,
}

impl PageHeader {
    pub(super) fn encode(&self, out: &mut BytesMut) {
        let Self { id, flags, count, overflow } = *self;
        out.put_u64_le(id);
        out.put_u16_le(flags);
        out.put_u16_le(count);
        out.put_u32_le(overflow);
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            id: u64_at(bytes, 0)?,
            flags: u16_at(bytes, 8)?,
            count: u16_at(bytes, 10)?,
            overflow: u32_at(bytes, 12)?,
        })
    }
}

/// What a meta page says of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    /// Bytes in a page.
    pub(super) page_size: u32,
    /// Root page of the tree of buckets.
    pub(super) root: u64,
    /// Number of pages that were ever in use: no page has this number or a higher one.
    pub(super) high_water: u64,
    /// The transaction that wrote the page; the valid meta page with the larger one counts.
    pub(super) transaction: u64,
}

impl Meta {
    /// The structure with its checksum, without a free list: bbolt then finds free pages itself.
    pub(super) fn encode(&self, out: &mut BytesMut) {
        let Self { page_size, root, high_water, transaction } = *self;
        let mut bytes = BytesMut::with_capacity(META);
        bytes.put_u32_le(MAGIC);
        bytes.put_u32_le(VERSION);
        bytes.put_u32_le(page_size);
        bytes.put_u32_le(0);
        bytes.put_u64_le(root);
        bytes.put_u64_le(0);
        bytes.put_u64_le(NO_FREELIST);
        bytes.put_u64_le(high_water);
        bytes.put_u64_le(transaction);
        let checksum = fnv_1a(&bytes);
        bytes.put_u64_le(checksum);
        out.put(bytes);
    }

    /// `None` if the bytes are not a meta structure with a right checksum.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let valid = u32_at(bytes, 0)? == MAGIC
            && u32_at(bytes, 4)? == VERSION
            && u64_at(bytes, 56)? == fnv_1a(bytes.get(..56)?);
        if !valid {
            return None;
        }
        Some(Self {
            page_size: u32_at(bytes, 8)?,
            root: u64_at(bytes, 16)?,
            high_water: u64_at(bytes, 40)?,
            transaction: u64_at(bytes, 48)?,
        })
    }
}

/// FNV-1a with 64 bits.
fn fnv_1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
