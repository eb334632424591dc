//! The requests that are sent: the same bytes to both sides.

use bytes::Bytes;
use prost::Message;
use quorate_api::etcdserverpb::{
    PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest, WatchRequest, request_op,
    watch_request,
};

/// Bytes of a value.
const VALUE_BYTES: usize = 256;

/// Keys of one length and prefix, by number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys {
    prefix: &'static str,
    /// Bytes of a key.
    bytes: usize,
}

impl Keys {
    /// Keys that begin with a prefix, the rest a number with zeros before it.
    pub(crate) const fn new(prefix: &'static str, bytes: usize) -> Self {
        Self { prefix, bytes }
    }

    /// One key.
    pub(crate) fn key(self, number: u64) -> Bytes {
        let width = self.bytes - self.prefix.len();
        Bytes::from(format!("{}{number:0width$}", self.prefix))
    }

    /// The end of the range of all keys.
    pub(crate) fn end(self) -> Bytes {
        let mut end = self.prefix.as_bytes().to_vec();
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        Bytes::from(end)
    }

    /// A put of one of the keys, framed.
    pub(crate) fn put(self, number: u64, value: &Bytes, lease: i64) -> Vec<u8> {
        let key = self.key(number);
        framed(&PutRequest { key, value: value.clone(), lease, ..PutRequest::default() })
    }

    /// A linearizable read of one key, framed.
    pub(crate) fn get(self, number: u64) -> Vec<u8> {
        framed(&RangeRequest { key: self.key(number), ..RangeRequest::default() })
    }
}

/// A value without repetitions that a file system could make use of.
pub(crate) fn value(seed: u64) -> Bytes {
    let mut state = seed | 1;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    })
    .take(VALUE_BYTES)
    .collect();
    Bytes::from(bytes)
}

/// A page of a range, framed.
pub(crate) fn range(from: Bytes, end: Bytes, limit: i64) -> Vec<u8> {
    framed(&RangeRequest { key: from, range_end: end, limit, ..RangeRequest::default() })
}

/// A transaction that puts the keys of a range of numbers, framed.
pub(crate) fn txn_of_puts(keys: Keys, numbers: std::ops::Range<u64>, value: &Bytes) -> Vec<u8> {
    let success = numbers
        .map(|number| {
            let put =
                PutRequest { key: keys.key(number), value: value.clone(), ..PutRequest::default() };
            RequestOp { request: Some(request_op::Request::RequestPut(put)) }
        })
        .collect();
    framed(&TxnRequest { success, ..TxnRequest::default() })
}

/// A watch of a range with previous values, framed.
pub(crate) fn watch(key: Bytes, range_end: Bytes) -> Vec<u8> {
    let create =
        WatchCreateRequest { key, range_end, prev_kv: true, ..WatchCreateRequest::default() };
    let request_union = Some(watch_request::RequestUnion::CreateRequest(create));
    framed(&WatchRequest { request_union })
}

/// A message behind gRPC's prefix: not compressed, its length.
pub(crate) fn framed(message: &impl Message) -> Vec<u8> {
    let length = message.encoded_len();
    let mut bytes = Vec::with_capacity(length + 5);
    bytes.push(0);
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    message.encode(&mut bytes).expect("a vector grows");
    bytes
}
