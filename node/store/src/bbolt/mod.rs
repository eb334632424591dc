//! bbolt files (version 2), the format in which etcd's snapshots travel.
//!
//! The [`Writer`] builds a file once, from sorted keys, bottom up and as a stream; the [`Reader`]
//! walks any valid file. Neither changes a file in place, and neither knows what etcd keeps in it.
//!
//! ```text
//!  page 0   page 1   page 2 …                                            last page
//! ┌────────┬────────┬──────┬──────┬───┬────────┬──────┬───┬────────────┬───────────┐
//! │ meta   │ meta   │ leaf │ leaf │ … │ branch │ leaf │ … │ bucket's   │ leaf of   │
//! │ txid 2 │ txid 1 │      │      │   │        │      │   │ root page  │ buckets   │
//! └────────┴────────┴──────┴──────┴───┴────────┴──────┴───┴────────────┴───────────┘
//!
//!  page:  id u64 │ flags u16 │ count u16 │ overflow u32 │ count elements │ keys and values
//!  leaf element:    flags u32 │ pos u32 │ key size u32 │ value size u32
//!  branch element:  pos u32 │ key size u32 │ child page u64
//!  bucket's value:  root page u64 │ sequence u64 │ (root = 0: the page itself, inline)
//! ```
//! All numbers are little-endian; `pos` counts from the start of its element. A page whose
//! content is longer than a page goes on over the `overflow` pages that follow it.
//!
//! Invariants:
//! - What the writer gives has every page reachable exactly once, keys in ascending order, and
//!   is as long as its high-water mark says. It needs its sizes before its bytes
//!   ([`Sizing`]), because the meta pages come first, and holds one page for each level.
//! - The reader holds one page for each level, verifies every offset before use, and ends on
//!   any input: keys must ascend, pages below the root must not be empty and depth is bounded,
//!   so that no page can be visited without end.

mod cursor;
mod field;
mod format;
mod packing;
mod page;
mod reader;
mod sizing;
mod source;
mod writer;

#[cfg(test)]
mod tests;

pub use cursor::{Cursor, Item};
pub use field::Field;
pub use format::PAGE_SIZE;
pub use reader::{Bucket, ReadError, Reader};
pub use sizing::{Layout, Sizing};
pub use source::{FileSource, ReadAt};
pub use writer::{WriteError, Writer};
