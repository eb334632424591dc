//! A walk over the keys of one tree.

use bytes::Bytes;

use super::page::{Kind, Page};
use super::reader::{Bucket, ReadError, Reader, Root, parse_bucket};
use super::source::ReadAt;

/// Deepest tree: with two children for each branch, which is the least, more pages than a file
/// can have.
const DEPTH_MAX: usize = 64;

/// What a key stands for.
#[derive(Clone, Debug)]
pub enum Item {
    /// A value.
    Value(Bytes),
    /// A bucket, whose keys [`Reader::keys`] gives.
    Bucket(Bucket),
}

/// A walk over the keys of one tree, in ascending order. After an error it is at its end.
pub struct Cursor<S> {
    reader: Reader<S>,
    /// The tree, until the walk begins.
    root: Option<Root>,
    /// Pages from the root down, each with the element that comes next.
    path: Vec<(Page, usize)>,
    last_key: Bytes,
}

impl<S: ReadAt> Cursor<S> {
    pub(super) fn new(reader: Reader<S>, root: Root) -> Self {
        Self { reader, root: Some(root), path: Vec::new(), last_key: Bytes::new() }
    }

    /// The next key and what it stands for; `None` at the end.
    ///
    /// # Errors
    /// A [`ReadError`] names the page and what is wrong with it.
    #[expect(clippy::should_implement_trait, reason = "an iterator's `?` would be in the way")]
    pub fn next(&mut self) -> Result<Option<(Bytes, Item)>, ReadError> {
        let next = self.advance();
        if next.is_err() {
            self.root = None;
            self.path.clear();
        }
        next
    }

    fn advance(&mut self) -> Result<Option<(Bytes, Item)>, ReadError> {
        if let Some(root) = self.root.take() {
            let page = match root {
                Root::Page(id) => self.reader.page(id)?,
                Root::Inline(bytes) => inline_page(bytes)?,
            };
            if page.kind == Kind::Branch {
                verify_branch(&page)?;
            }
            self.path.push((page, 0));
        }
        while let Some((page, next)) = self.path.last_mut() {
            if *next == page.count {
                self.path.pop();
                continue;
            }
            let index = *next;
            *next += 1;
            match page.kind {
                Kind::Leaf => {
                    let element = page.leaf(index)?;
                    let page = page.id;
                    return self.element(page, element).map(Some);
                }
                Kind::Branch => {
                    let (_, child) = page.branch(index)?;
                    self.descend(child)?;
                }
            }
        }
        Ok(None)
    }

    fn descend(&mut self, child: u64) -> Result<(), ReadError> {
        let damaged = |what| ReadError::Page { page: child, what };
        if self.path.len() == DEPTH_MAX {
            return Err(damaged("is deeper than any tree can be"));
        }
        let page = self.reader.page(child)?;
        // An empty page below the root would let a walk go on without its keys ascending.
        if page.count == 0 {
            return Err(damaged("is empty, but not the root of a tree"));
        }
        if page.kind == Kind::Branch {
            verify_branch(&page)?;
        }
        self.path.push((page, 0));
        Ok(())
    }

    fn element(
        &mut self,
        page: u64,
        (is_bucket, key, value): (bool, Bytes, Bytes),
    ) -> Result<(Bytes, Item), ReadError> {
        if key <= self.last_key {
            return Err(ReadError::Page { page, what: "has keys that do not ascend" });
        }
        self.last_key = key.clone();
        let item =
            if is_bucket { Item::Bucket(parse_bucket(page, &value)?) } else { Item::Value(value) };
        Ok((key, item))
    }
}

fn inline_page(bytes: Bytes) -> Result<Page, ReadError> {
    let page = Page::parse(0, bytes)?;
    match page.kind {
        Kind::Leaf => Ok(page),
        Kind::Branch => Err(ReadError::Page { page: 0, what: "is inline, but not a leaf" }),
    }
}

/// A branch has children, whose keys ascend: two that are equal are the same child twice.
fn verify_branch(page: &Page) -> Result<(), ReadError> {
    let damaged = |what| ReadError::Page { page: page.id, what };
    if page.count == 0 {
        return Err(damaged("is a branch without children"));
    }
    let mut last: Option<Bytes> = None;
    for index in 0..page.count {
        let (key, _) = page.branch(index)?;
        if last.is_some_and(|last| last >= key) {
            return Err(damaged("has children that do not ascend"));
        }
        last = Some(key);
    }
    Ok(())
}
