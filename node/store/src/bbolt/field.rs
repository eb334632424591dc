//! A key or a value on its way into a page.

use bytes::{BufMut, Bytes, BytesMut};

use super::format::{BUCKET_HEADER, HEADER, LEAF, PageHeader};
use super::packing::Extent;

/// Bytes that are held in place: a revision's key, and a bucket's header.
const IN_PLACE_BYTES_MAX: usize = 22;

/// A key or a value. Short ones need no memory of their own, and no count of who shares it.
#[derive(Clone, Debug)]
pub struct Field(Held);

#[derive(Clone, Debug)]
enum Held {
    InPlace { bytes: [u8; IN_PLACE_BYTES_MAX], length: u8 },
    Shared(Bytes),
}

impl Field {
    /// A field of its own.
    #[must_use]
    pub fn copied(from: &[u8]) -> Self {
        let mut bytes = [0; IN_PLACE_BYTES_MAX];
        match (bytes.get_mut(..from.len()), u8::try_from(from.len())) {
            (Some(room), Ok(length)) => {
                room.copy_from_slice(from);
                Self(Held::InPlace { bytes, length })
            }
            _ => Self(Held::Shared(Bytes::copy_from_slice(from))),
        }
    }
}

impl From<Bytes> for Field {
    fn from(bytes: Bytes) -> Self {
        Self(Held::Shared(bytes))
    }
}

impl AsRef<[u8]> for Field {
    fn as_ref(&self) -> &[u8] {
        match &self.0 {
            Held::InPlace { bytes, length } => &bytes[..usize::from(*length)],
            Held::Shared(bytes) => bytes,
        }
    }
}

impl Extent for Field {
    fn extent(&self) -> usize {
        self.as_ref().len()
    }

    fn bucket(root: u64) -> Self {
        let mut value = BytesMut::with_capacity(BUCKET_HEADER);
        value.put_u64_le(root);
        value.put_u64_le(0);
        value.freeze().into()
    }

    fn empty_bucket() -> Self {
        let mut value = BytesMut::with_capacity(BUCKET_HEADER + HEADER);
        value.put_bytes(0, BUCKET_HEADER);
        PageHeader { id: 0, flags: LEAF, count: 0, overflow: 0 }.encode(&mut value);
        value.freeze().into()
    }
}
