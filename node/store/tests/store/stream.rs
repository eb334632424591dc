//! RangeStream: messages of one revision.

use bytes::Bytes;
use prost::Message;
use quorate_api::Error;
use quorate_api::etcdserverpb::{CompactionRequest, PutRequest, RangeRequest};
use quorate_api::mvccpb::KeyValue;
use quorate_api::request::RequestKind;
use quorate_store::mvcc::ReadError;
use quorate_store::mvcc::stream::{RangeChunk, RangeEnd, RangeStream, StreamRefusal};

use crate::ours::Ours;

/// What messages should have, in bytes; a record of [`store`] has about 120.
const MESSAGE_BYTES: u64 = 5000;

fn put(ours: &mut Ours, key: String, value: Vec<u8>) {
    let put = PutRequest { key: key.into(), value: value.into(), ..PutRequest::default() };
    ours.request(RequestKind::Put, &put).reply.unwrap();
}

fn store(keys: usize) -> Ours {
    let mut ours = Ours::new();
    for number in 0..keys {
        put(&mut ours, format!("k{number:04}"), vec![b'v'; 100]);
    }
    ours
}

fn all(limit: i64) -> RangeRequest {
    let (key, range_end) = (Bytes::from_static(b"k"), Bytes::from_static(b"l"));
    RangeRequest { key, range_end, limit, ..RangeRequest::default() }
}

fn drain(stream: &mut RangeStream, ours: &Ours) -> Vec<RangeChunk> {
    let mut chunks = Vec::new();
    loop {
        let chunk = stream.next(ours.store.mvcc()).unwrap();
        let last = chunk.last.is_some();
        chunks.push(chunk);
        if last {
            return chunks;
        }
    }
}

fn sizes(chunks: &[RangeChunk]) -> Vec<usize> {
    chunks.iter().map(|chunk| chunk.kvs.len()).collect()
}

#[test]
fn messages_grow_towards_the_wanted_size() {
    let ours = store(200);
    let chunks = drain(&mut RangeStream::new(all(0), MESSAGE_BYTES).unwrap(), &ours);
    // 40 records of 120 bytes are neither under half nor over twice the wanted size.
    assert_eq!(sizes(&chunks), [10, 20, 40, 40, 40, 40, 10]);
    assert_eq!(chunks[6].last, Some(RangeEnd { revision: 201, more: false, count: 200 }));
    let keys: Vec<Bytes> = chunks
        .iter()
        .flat_map(|chunk| &chunk.kvs)
        .map(|kv| KeyValue::decode(kv.clone()).unwrap().key)
        .collect();
    assert_eq!(keys.len(), 200);
    assert!(keys.is_sorted());
}

#[test]
fn messages_shrink_when_records_are_large() {
    let mut ours = store(10);
    for number in 10..30 {
        put(&mut ours, format!("k{number:04}"), vec![b'v'; 1000]);
    }
    let chunks = drain(&mut RangeStream::new(all(0), MESSAGE_BYTES).unwrap(), &ours);
    assert_eq!(sizes(&chunks), [10, 20], "20 of 1000 bytes come before they are known to be");
    let chunks = drain(&mut RangeStream::new(all(0), 1000).unwrap(), &ours);
    assert_eq!(sizes(&chunks), [10, 10, 5, 2, 1, 1, 1]);
}

#[test]
fn the_limit_is_over_all_messages() {
    let ours = store(50);
    let chunks = drain(&mut RangeStream::new(all(25), MESSAGE_BYTES).unwrap(), &ours);
    assert_eq!(sizes(&chunks), [10, 15]);
    assert_eq!(chunks[1].last, Some(RangeEnd { revision: 51, more: true, count: 50 }));
}

#[test]
fn a_count_is_one_message() {
    let ours = store(50);
    let request = RangeRequest { count_only: true, ..all(5) };
    let chunks = drain(&mut RangeStream::new(request, MESSAGE_BYTES).unwrap(), &ours);
    assert_eq!(sizes(&chunks), [0]);
    assert_eq!(chunks[0].last, Some(RangeEnd { revision: 51, more: false, count: 50 }));
}

#[test]
fn the_revision_is_pinned_at_the_first_message() {
    let mut ours = store(15);
    let mut stream = RangeStream::new(all(0), MESSAGE_BYTES).unwrap();
    assert_eq!(stream.next(ours.store.mvcc()).unwrap().kvs.len(), 10);
    for number in 0..15 {
        put(&mut ours, format!("k{number:04}x"), Vec::new());
    }
    let chunks = drain(&mut stream, &ours);
    assert_eq!(sizes(&chunks), [5]);
    assert_eq!(chunks[0].last, Some(RangeEnd { revision: 16, more: false, count: 15 }));
}

#[test]
fn compaction_that_overtakes_ends_it() {
    let mut ours = store(15);
    let mut stream = RangeStream::new(all(0), MESSAGE_BYTES).unwrap();
    stream.next(ours.store.mvcc()).unwrap();
    put(&mut ours, "k".into(), Vec::new());
    let compaction = CompactionRequest { revision: 17, physical: false };
    ours.request(RequestKind::Compaction, &compaction).reply.unwrap();
    let error = stream.next(ours.store.mvcc()).unwrap_err();
    assert_eq!(error, ReadError::Refused(Error::Compacted));
}

#[test]
fn orders_and_filters_are_refused() {
    let refusal = |request| RangeStream::new(request, MESSAGE_BYTES).unwrap_err();
    assert_eq!(refusal(RangeRequest { sort_order: 2, ..all(0) }), StreamRefusal::Sorted);
    assert_eq!(refusal(RangeRequest { min_mod_revision: 2, ..all(0) }), StreamRefusal::Filtered);
    let empty = refusal(RangeRequest { key: Bytes::new(), ..all(0) });
    assert_eq!(empty, StreamRefusal::Request(Error::EmptyKey));
}
