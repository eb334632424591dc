//! The second pass of a file's writing: keys and values in, the file's bytes out.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::field::Field;
use super::format::{
    BRANCH, ELEMENT, HEADER, KEY_BYTES_MAX, LEAF, META_PAGE, Meta, PAGE_SIZE, PageHeader,
    VALUE_BYTES_MAX,
};
use super::packing::{
    BranchElement, Extent as _, LeafElement, Packing, Pages, branch_content, leaf_content,
    pages_for,
};
use super::sizing::{FIRST_PAGE, Layout};

/// The transaction of meta page 0. It is even because bbolt writes transaction `t` to page
/// `t % 2`: the next one then replaces meta page 1, which is the older.
const TRANSACTION: u64 = 2;

/// Why a file cannot be written.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WriteError {
    /// Buckets must come in ascending order of their names, each once.
    #[error("bucket {name:?} does not come after the one before it")]
    BucketOrder {
        /// The bucket's name.
        name: String,
    },
    /// Keys must come in ascending order, each once.
    #[error("bucket {bucket:?}: key {key:02x?} does not come after the one before it")]
    KeyOrder {
        /// The open bucket.
        bucket: String,
        /// The key out of order.
        key: Bytes,
    },
    /// A key came before any bucket.
    #[error("a key outside of any bucket")]
    NoBucket,
    /// bbolt has no empty keys, and limits the length of keys and values.
    #[error("bucket {bucket:?}: a key of {key_bytes} and a value of {value_bytes} bytes")]
    Extent {
        /// The open bucket.
        bucket: String,
        /// The key's length.
        key_bytes: usize,
        /// The value's length.
        value_bytes: usize,
    },
    /// The data is not what the sizing was told.
    #[error("the data does not have the sizes announced: {planned:?}, not {written:?}")]
    Layout {
        /// From the sizing.
        planned: Layout,
        /// From the data.
        written: Layout,
    },
}

/// Writes a file as a stream: after each call, [`Writer::take`] has the bytes that are ready.
pub struct Writer {
    layout: Layout,
    packing: Packing<Field>,
    pages: Encoder,
    bucket: Option<String>,
    last_key: Field,
}

impl Writer {
    /// A file with this layout; the meta pages are ready at once.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        let mut pages = Encoder { next: FIRST_PAGE, out: BytesMut::new() };
        for id in 0..FIRST_PAGE {
            let end = pages.out.len() + PAGE_SIZE;
            PageHeader { id, flags: META_PAGE, count: 0, overflow: 0 }.encode(&mut pages.out);
            let meta = Meta {
                page_size: PAGE_SIZE as u32,
                root: layout.root,
                high_water: layout.pages,
                transaction: TRANSACTION - id,
            };
            meta.encode(&mut pages.out);
            pages.out.resize(end, 0);
        }
        Self { layout, packing: Packing::new(), pages, bucket: None, last_key: Field::copied(&[]) }
    }

    /// The keys that follow belong to this bucket.
    ///
    /// # Errors
    /// [`WriteError::BucketOrder`].
    pub fn begin_bucket(&mut self, name: &str) -> Result<(), WriteError> {
        if name.is_empty() || self.bucket.as_deref().is_some_and(|last| last >= name) {
            return Err(WriteError::BucketOrder { name: name.into() });
        }
        self.bucket = Some(name.into());
        self.last_key = Field::copied(&[]);
        self.packing.begin_bucket(Field::copied(name.as_bytes()), &mut self.pages);
        Ok(())
    }

    /// Add a key to the open bucket.
    ///
    /// # Errors
    /// [`WriteError::NoBucket`], [`WriteError::Extent`], [`WriteError::KeyOrder`].
    pub fn put(
        &mut self,
        key: impl Into<Field>,
        value: impl Into<Field>,
    ) -> Result<(), WriteError> {
        let (key, value) = (key.into(), value.into());
        let Some(bucket) = &self.bucket else { return Err(WriteError::NoBucket) };
        let (key_bytes, value_bytes) = (key.extent(), value.extent());
        if key_bytes == 0 || key_bytes > KEY_BYTES_MAX || value_bytes > VALUE_BYTES_MAX {
            return Err(WriteError::Extent { bucket: bucket.clone(), key_bytes, value_bytes });
        }
        if self.last_key.as_ref() >= key.as_ref() {
            let key = Bytes::copy_from_slice(key.as_ref());
            return Err(WriteError::KeyOrder { bucket: bucket.clone(), key });
        }
        self.last_key = key.clone();
        if self.packing.add(key, value, &mut self.pages) {
            Ok(())
        } else {
            Err(WriteError::NoBucket)
        }
    }

    /// Bytes that are ready and not yet taken.
    #[must_use]
    pub fn ready_bytes(&self) -> usize {
        self.pages.out.len()
    }

    /// Take the bytes that are ready: the file's next ones, whole pages. As many are expected by
    /// the next time: room for them is made at once, not page by page.
    pub fn take(&mut self) -> Bytes {
        let room = self.pages.out.len() + PAGE_SIZE;
        std::mem::replace(&mut self.pages.out, BytesMut::with_capacity(room)).freeze()
    }

    /// Close the file; gives its last bytes.
    ///
    /// # Errors
    /// [`WriteError::Layout`] if the meta pages, which are out already, said something else.
    pub fn finish(mut self) -> Result<Bytes, WriteError> {
        let root = self.packing.finish(&mut self.pages);
        let written = Layout { root, pages: self.pages.next };
        if written != self.layout {
            return Err(WriteError::Layout { planned: self.layout, written });
        }
        Ok(self.pages.out.freeze())
    }
}

/// Turns pages into bytes.
struct Encoder {
    next: u64,
    out: BytesMut,
}

impl Encoder {
    /// Write the header; gives the page's number and where its last page ends in `out`.
    fn begin(&mut self, flags: u16, count: usize, content: usize) -> (u64, usize) {
        let id = self.next;
        let pages = pages_for(content);
        let bytes = pages as usize * PAGE_SIZE;
        let end = self.out.len() + bytes;
        self.out.reserve(bytes);
        let count = u16::try_from(count).expect("a page of 4 KiB has few elements");
        let overflow = u32::try_from(pages - 1).expect("keys and values are shorter than 2 GiB");
        PageHeader { id, flags, count, overflow }.encode(&mut self.out);
        self.next += pages;
        (id, end)
    }
}

/// Lengths in a page were verified when their key was put.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("keys and values are shorter than 2 GiB")
}

impl Pages<Field> for Encoder {
    fn leaf(&mut self, elements: Vec<LeafElement<Field>>) -> u64 {
        let (id, end) = self.begin(LEAF, elements.len(), leaf_content(&elements));
        let mut position = elements.len() * ELEMENT;
        for LeafElement { flags, key, value } in &elements {
            self.out.put_u32_le(*flags);
            self.out.put_u32_le(length(position));
            self.out.put_u32_le(length(key.extent()));
            self.out.put_u32_le(length(value.extent()));
            position = position + key.extent() + value.extent() - ELEMENT;
        }
        for LeafElement { flags: _, key, value } in &elements {
            self.out.put_slice(key.as_ref());
            self.out.put_slice(value.as_ref());
        }
        self.out.resize(end, 0);
        id
    }

    fn branch(&mut self, elements: Vec<BranchElement<Field>>) -> u64 {
        let (id, end) = self.begin(BRANCH, elements.len(), branch_content(&elements));
        let mut position = elements.len() * ELEMENT;
        for BranchElement { key, child } in &elements {
            self.out.put_u32_le(length(position));
            self.out.put_u32_le(length(key.extent()));
            self.out.put_u64_le(*child);
            position = position + key.extent() - ELEMENT;
        }
        for BranchElement { key, child: _ } in &elements {
            self.out.put_slice(key.as_ref());
        }
        self.out.resize(end, 0);
        id
    }
}

const _: () = assert!(PAGE_SIZE / ELEMENT < u16::MAX as usize && HEADER + ELEMENT < PAGE_SIZE);
