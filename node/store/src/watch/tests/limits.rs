//! What is bounded, and by what.

use quorate_api::etcdserverpb::WatchCreateRequest;

use super::world::World;
use crate::watch::groups::Group;
use crate::watch::options::CONTROL_RESPONSES_MAX;
use crate::watch::stream::Stream;
use crate::watch::watcher::Watcher;
use crate::watch::{Backlog, PollLimits, WatchOptions};

#[test]
fn a_watcher_is_small() {
    // Beside it: its id in its stream (about 32 bytes), and for a range of its own the key, and
    // its place in the map (about 40 bytes).
    assert!(size_of::<Watcher>() <= 48, "{}", size_of::<Watcher>());
    assert!(size_of::<Group>() <= 72, "{}", size_of::<Group>());
    assert!(size_of::<Stream>() <= 192, "{}", size_of::<Stream>());
}

#[test]
fn too_many_watchers_are_refused() {
    let options = WatchOptions { stream_watchers_max: 2, watchers_max: 3, ..Default::default() };
    let mut world = World::new(options);
    let (first, second) = (world.hub.open_stream(), world.hub.open_stream());
    for stream in [first, second] {
        for _ in 0..3 {
            world.watch(stream, "a", "", 0);
        }
    }
    let refused = |world: &mut World, stream| -> Vec<bool> {
        let responses = world.drain(stream);
        for response in responses.iter().filter(|r| r.canceled) {
            assert_eq!(response.cancel_reason, "etcdserver: too many requests");
            assert_eq!(response.watch_id, -1);
        }
        responses.iter().map(|response| response.canceled).collect()
    };
    assert_eq!(refused(&mut world, first), [false, false, true]);
    assert_eq!(refused(&mut world, second), [false, true, true]);
    world.hub.close_stream(first);
    world.watch(second, "a", "", 0);
    assert_eq!(refused(&mut world, second), [false]);
}

#[test]
fn unread_answers_stop_the_requests() {
    let mut world = World::new(WatchOptions::default());
    let stream = world.hub.open_stream();
    let request = WatchCreateRequest { start_revision: -1, ..Default::default() };
    for _ in 0..CONTROL_RESPONSES_MAX {
        assert!(world.hub.takes_requests(stream));
        world.hub.create(stream, &world.mvcc, &request).unwrap();
    }
    assert!(!world.hub.takes_requests(stream));
    assert_eq!(world.hub.create(stream, &world.mvcc, &request), Err(Backlog));
    assert_eq!(world.hub.cancel(stream, &world.mvcc, 0), Err(Backlog));
    let limits = PollLimits { responses: 1, ..Default::default() };
    assert_eq!(world.poll(stream, limits).0.len(), 1);
    world.hub.create(stream, &world.mvcc, &request).unwrap();
    assert_eq!(world.drain(stream).len(), CONTROL_RESPONSES_MAX);
}

#[test]
fn the_ring_keeps_its_limits_whatever_is_read_or_not() {
    let options = WatchOptions { ring_bytes_max: 10_000, ..Default::default() };
    let mut world = World::new(options);
    let stream = world.hub.open_stream();
    world.watch(stream, "a", "", 0);
    for _ in 0..200 {
        world.put("a", &"x".repeat(100));
        assert!(world.hub.counts().ring_bytes <= 10_000);
    }
    let events: usize = world.drain(stream).iter().map(|r| r.events.len()).sum();
    assert_eq!(events, 200);
    let counts = world.hub.counts();
    assert!(counts.ring_bytes <= 10_000 && counts.ring_events > 10, "{counts:?}");

    let options = WatchOptions { ring_revisions_max: 3, ..Default::default() };
    let mut world = World::new(options);
    for _ in 0..10 {
        world.put("a", "x");
    }
    assert_eq!(world.hub.counts().ring_events, 3);
}

#[test]
fn a_slow_reader_costs_what_an_idle_one_costs() {
    let options = WatchOptions { ring_bytes_max: 10_000, ..Default::default() };
    let mut world = World::new(options);
    let (slow, idle) = (world.hub.open_stream(), world.hub.open_stream());
    world.watch(slow, "a", "", 0);
    world.watch(idle, "b", "", 0);
    assert_eq!(world.put("a", "1"), [slow]);
    for _ in 0..1000 {
        assert_eq!(world.put("a", "2"), [], "a stream is woken once");
    }
    let limits = PollLimits { bytes: 300, responses: 1 };
    let mut seen = 0;
    loop {
        let (responses, more) = world.poll(slow, limits);
        assert!(responses.len() <= 1);
        seen += responses.iter().map(|response| response.events.len()).sum::<usize>();
        if !more {
            break;
        }
    }
    assert_eq!(seen, 1001);
    assert_eq!(world.put("a", "3"), [slow]);
}
