//! Bytes on the wire.

use prost::Message;
use quorate_api::etcdserverpb::{ResponseHeader, WatchCreateRequest};

use super::world::{Change, Entry, World};
use crate::watch::{PollLimits, WatchOptions};

/// What the hub concatenates is what a whole message encodes to.
#[test]
fn concatenated_responses_equal_encoded_messages() {
    let mut world = World::new(WatchOptions::default());
    let stream = world.hub.open_stream();
    let request = WatchCreateRequest {
        key: "a".into(),
        range_end: "z".into(),
        prev_kv: true,
        progress_notify: true,
        ..WatchCreateRequest::default()
    };
    world.hub.create(stream, &world.mvcc, &request).unwrap();
    world
        .hub
        .create(stream, &world.mvcc, &WatchCreateRequest { start_revision: -1, ..request })
        .unwrap();
    world.put("a", "1");
    world.put("a", &"long".repeat(100));
    world.apply(Entry::Transaction(vec![
        Change::Delete { key: "a".into() },
        Change::Put { key: "b".into(), value: vec![] },
    ]));
    world.publish();
    world.hub.request_progress(stream);
    let polled = world.hub.poll(stream, &world.mvcc, PollLimits::default()).unwrap();
    assert_eq!(polled.responses.len(), 4);
    assert_eq!(polled.responses[2].events.len(), 4);
    let header = ResponseHeader { cluster_id: 7, member_id: u64::MAX, revision: 0, raft_term: 3 };
    for response in polled.responses {
        let message = response.to_message(&header).unwrap();
        assert_eq!(message.header.as_ref().unwrap().revision, response.revision);
        assert_eq!(response.encode(&header), message.encode_to_vec());
        assert!(response.size() + 40 >= message.encoded_len());
    }
}

/// Watchers of one event share its bytes, whichever stream they are on.
#[test]
fn an_event_is_encoded_once() {
    let mut world = World::new(WatchOptions::default());
    let streams = [world.hub.open_stream(), world.hub.open_stream()];
    for stream in streams {
        world.watch(stream, "a", "", 0);
    }
    world.put("a", "1");
    let [first, second] = streams.map(|stream| {
        let polled = world.hub.poll(stream, &world.mvcc, PollLimits::default()).unwrap();
        polled.responses[1].events[0].clone()
    });
    assert_eq!(first.as_ptr(), second.as_ptr());
}
