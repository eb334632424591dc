//! `RangeStream`: a range in messages, all of one revision.
//!
//! ```text
//!   10 keys │ 20 │ 40 │ …  doubled while a message is under half the wanted size,
//!                          halved when it is over twice that
//!   header, more and count only in the last message
//! ```

use bytes::Bytes;
use prost::encoding::encoded_len_varint;
use quorate_api::Error;
use quorate_api::etcdserverpb::RangeRequest;

use super::range::{has_revision_filters, is_default_order};
use super::{Mvcc, ReadError};

/// Keys of the first message.
const FIRST_KEYS: i64 = 10;

/// Why a stream is not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamRefusal {
    /// etcd's error.
    #[error(transparent)]
    Request(#[from] Error),
    /// Unimplemented, with this text.
    #[error("RangeStream does not support custom sort orders")]
    Sorted,
    /// Unimplemented, with this text.
    #[error("RangeStream does not support revision filters")]
    Filtered,
}

/// One message of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeChunk {
    /// The encoded `KeyValue`s.
    pub kvs: Vec<Bytes>,
    /// What only the last message has.
    pub last: Option<RangeEnd>,
}

/// The end of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeEnd {
    /// The header's revision: the store's when the stream began.
    pub revision: i64,
    /// Whether the limit left keys out.
    pub more: bool,
    /// Keys in the range.
    pub count: i64,
}

/// A range being streamed.
#[derive(Debug)]
pub struct RangeStream {
    request: RangeRequest,
    /// Wanted size of a message, in bytes.
    message_bytes: u64,
    total_limit: i64,
    header_revision: i64,
    count: i64,
}

impl RangeStream {
    /// Begin a stream whose messages should have about `message_bytes`.
    ///
    /// # Errors
    /// If the request cannot be streamed.
    pub fn new(mut request: RangeRequest, message_bytes: u64) -> Result<Self, StreamRefusal> {
        crate::apply::check::check_range(&request)?;
        if !is_default_order(&request) {
            return Err(StreamRefusal::Sorted);
        }
        if has_revision_filters(&request) {
            return Err(StreamRefusal::Filtered);
        }
        let total_limit = if request.limit == 0 { i64::MAX } else { request.limit };
        request.limit = FIRST_KEYS.min(total_limit);
        Ok(Self { request, message_bytes, total_limit, header_revision: 0, count: 0 })
    }

    /// The next message. After the one that has `last` there is none.
    ///
    /// # Errors
    /// etcd's error if the revision is gone, or damage.
    pub fn next(&mut self, mvcc: &Mvcc) -> Result<RangeChunk, ReadError> {
        let outcome = mvcc.range(&self.request)?;
        if self.request.count_only {
            let end = RangeEnd { revision: outcome.revision, more: false, count: outcome.count };
            return Ok(RangeChunk { kvs: Vec::new(), last: Some(end) });
        }
        if self.header_revision == 0 {
            self.header_revision = outcome.revision;
            if self.request.revision == 0 {
                self.request.revision = outcome.revision;
            }
        }
        let found = i64::try_from(outcome.kvs.len()).expect("a length fits");
        let size = message_size(&outcome.kvs);
        self.count += found;
        let last = (!outcome.more || self.count == self.total_limit).then_some(RangeEnd {
            revision: self.header_revision,
            more: outcome.more,
            // What is in the rest of the range, which begins where this message does.
            count: self.count - found + outcome.count,
        });
        if let (None, Some(body)) = (last, outcome.kvs.last()) {
            let mut next = super::range::read_key_value(body)?.key.to_vec();
            next.push(0);
            self.request.key = next.into();
            let limit = next_limit(self.request.limit, size, self.message_bytes);
            self.request.limit = limit.min(self.total_limit - self.count);
        }
        Ok(RangeChunk { kvs: outcome.kvs, last })
    }
}

fn message_size(kvs: &[Bytes]) -> u64 {
    kvs.iter().map(|kv| (1 + encoded_len_varint(kv.len() as u64) + kv.len()) as u64).sum()
}

fn next_limit(limit: i64, size: u64, wanted: u64) -> i64 {
    let limit = if size < wanted / 2 {
        limit.saturating_mul(2)
    } else if size > wanted.saturating_mul(2) {
        limit / 2
    } else {
        limit
    };
    limit.max(1)
}
