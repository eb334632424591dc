//! Reads a bbolt file of any origin: finds the meta page that counts, buckets and their keys.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use super::cursor::{Cursor, Item};
use super::format::{BUCKET_HEADER, HEADER, META, Meta, PageHeader, u64_at};
use super::page::Page;
use super::source::ReadAt;

/// Page sizes that machines have; bbolt takes the machine's.
const PAGE_SIZES: std::ops::RangeInclusive<u32> = 512..=65_536;

/// Most bytes of a page with its overflow: far above a value that etcd takes in one request,
/// and a bound to what a damaged header can make us read at once.
const PAGE_BYTES_MAX: u64 = 256 << 20;

/// Why a file cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The disk failed.
    #[error("reading {length} bytes at {offset}")]
    Io {
        /// Where.
        offset: u64,
        /// How many.
        length: usize,
        /// What the disk says.
        source: io::Error,
    },
    /// Neither meta page is valid: this is no bbolt file, or its beginning is destroyed.
    #[error("not a bbolt file: neither meta page is valid")]
    NotBbolt,
    /// A meta page with a right checksum says what cannot be.
    #[error("the meta page {what}")]
    Meta {
        /// What is wrong.
        what: &'static str,
    },
    /// The file is shorter than its meta page says.
    #[error("the file has {length} bytes, its meta page speaks of {expected}")]
    Truncated {
        /// What is there.
        length: u64,
        /// What should be.
        expected: u64,
    },
    /// A page is damaged.
    #[error("page {page} {what}")]
    Page {
        /// The page's number; 0 for an inline bucket.
        page: u64,
        /// What is wrong.
        what: &'static str,
    },
}

/// Where a bucket's keys are.
#[derive(Clone, Debug)]
pub struct Bucket {
    pub(super) root: Root,
}

/// The top of a bucket's tree.
#[derive(Clone, Debug)]
pub(super) enum Root {
    /// A page of the file.
    Page(u64),
    /// The value in the parent is the page.
    Inline(Bytes),
}

/// A file that is read; a clone reads the same file.
pub struct Reader<S> {
    file: Arc<File<S>>,
}

impl<S> Clone for Reader<S> {
    fn clone(&self) -> Self {
        Self { file: Arc::clone(&self.file) }
    }
}

struct File<S> {
    source: S,
    meta: Meta,
}

impl<S: ReadAt> Reader<S> {
    /// Read a whole file.
    ///
    /// # Errors
    /// As [`Reader::open_prefix`].
    pub fn open(source: S) -> Result<Self, ReadError> {
        let length = source.length();
        let length = length.map_err(|source| ReadError::Io { offset: 0, length: 0, source })?;
        Self::open_prefix(source, length)
    }

    /// Read the first `length` bytes of a file, behind which something else may follow.
    ///
    /// # Errors
    /// A [`ReadError`] if the meta pages are not valid or the file is too short.
    pub fn open_prefix(source: S, length: u64) -> Result<Self, ReadError> {
        let meta = find_meta(&source, length)?.ok_or(ReadError::NotBbolt)?;
        let Meta { page_size, root, high_water, transaction: _ } = meta;
        if !page_size.is_power_of_two() || !PAGE_SIZES.contains(&page_size) {
            return Err(ReadError::Meta { what: "has an impossible page size" });
        }
        if root < 2 || root >= high_water {
            return Err(ReadError::Meta { what: "has a root page outside of the file" });
        }
        let expected = high_water
            .checked_mul(u64::from(page_size))
            .ok_or(ReadError::Meta { what: "has an impossible number of pages" })?;
        if expected > length {
            return Err(ReadError::Truncated { length, expected });
        }
        Ok(Self { file: Arc::new(File { source, meta }) })
    }

    /// What the bytes are read from.
    #[must_use]
    pub fn source(&self) -> &S {
        &self.file.source
    }

    /// The bytes of the file that the meta page speaks of; more may follow.
    #[must_use]
    pub fn size(&self) -> u64 {
        // No overflow: the product was verified when it was opened.
        self.file.meta.high_water * u64::from(self.file.meta.page_size)
    }

    /// The top-level buckets in ascending order of their names. A plain key beside them, which
    /// bbolt does not make, shows as [`Item::Value`].
    #[must_use]
    pub fn buckets(&self) -> Cursor<S> {
        Cursor::new(self.clone(), Root::Page(self.file.meta.root))
    }

    /// A top-level bucket.
    ///
    /// # Errors
    /// A [`ReadError`] if a page on the way is damaged.
    pub fn bucket(&self, name: &str) -> Result<Option<Bucket>, ReadError> {
        let mut buckets = self.buckets();
        while let Some((key, item)) = buckets.next()? {
            if key != name.as_bytes() {
                continue;
            }
            let Item::Bucket(bucket) = item else { return Ok(None) };
            return Ok(Some(bucket));
        }
        Ok(None)
    }

    /// The keys of a bucket, in ascending order.
    #[must_use]
    pub fn keys(&self, bucket: &Bucket) -> Cursor<S> {
        Cursor::new(self.clone(), bucket.root.clone())
    }

    pub(super) fn page(&self, id: u64) -> Result<Page, ReadError> {
        let damaged = |what| ReadError::Page { page: id, what };
        let File { source, meta } = &*self.file;
        if id < 2 || id >= meta.high_water {
            return Err(damaged("is referred to, but outside of the file"));
        }
        let page_size = u64::from(meta.page_size);
        // No overflow: the product with the high-water mark was verified.
        let offset = id * page_size;
        let bytes = read(source, offset, page_size as usize)?;
        let header = PageHeader::decode(&bytes).ok_or(damaged("too short for its header"))?;
        let overflow = u64::from(header.overflow);
        if overflow == 0 {
            return Page::parse(id, bytes);
        }
        if overflow >= meta.high_water - id {
            return Err(damaged("overflows the end of the file"));
        }
        let length = (overflow + 1) * page_size;
        if length > PAGE_BYTES_MAX {
            return Err(damaged("is larger than any page can be"));
        }
        Page::parse(id, read(source, offset, length as usize)?)
    }
}

/// A bucket from its value in the parent.
pub(super) fn parse_bucket(page: u64, value: &Bytes) -> Result<Bucket, ReadError> {
    let damaged = |what| ReadError::Page { page, what };
    let root = u64_at(value, 0).ok_or(damaged("has a bucket without a header"))?;
    if root != 0 {
        return Ok(Bucket { root: Root::Page(root) });
    }
    if value.len() < BUCKET_HEADER + HEADER {
        return Err(damaged("has an inline bucket without a page"));
    }
    Ok(Bucket { root: Root::Inline(value.slice(BUCKET_HEADER..)) })
}

fn read<S: ReadAt>(source: &S, offset: u64, length: usize) -> Result<Bytes, ReadError> {
    let failed = |source| ReadError::Io { offset, length, source };
    let bytes = source.read_at(offset, length).map_err(failed)?;
    if bytes.len() == length { Ok(bytes) } else { Err(failed(io::ErrorKind::UnexpectedEof.into())) }
}

/// The valid meta page with the larger transaction. Where the second one is depends on the page
/// size, which the first one says; if that is destroyed, all page sizes are tried.
fn find_meta<S: ReadAt>(source: &S, length: u64) -> Result<Option<Meta>, ReadError> {
    if let Some(first) = meta_at(source, 0, length)? {
        let second = meta_at(source, u64::from(first.page_size), length)?;
        let second = second.filter(|second| second.transaction > first.transaction);
        return Ok(Some(second.unwrap_or(first)));
    }
    let mut page_size = *PAGE_SIZES.start();
    while PAGE_SIZES.contains(&page_size) {
        let second = meta_at(source, u64::from(page_size), length)?;
        if let Some(second) = second.filter(|second| second.page_size == page_size) {
            return Ok(Some(second));
        }
        page_size *= 2;
    }
    Ok(None)
}

fn meta_at<S: ReadAt>(source: &S, offset: u64, length: u64) -> Result<Option<Meta>, ReadError> {
    if offset.checked_add((HEADER + META) as u64).is_none_or(|end| end > length) {
        return Ok(None);
    }
    let bytes = read(source, offset, HEADER + META)?;
    Ok(bytes.get(HEADER..).and_then(Meta::decode))
}
