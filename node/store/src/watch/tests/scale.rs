//! Many watchers: what an event touches is what it concerns.

use super::world::World;
use crate::watch::WatchOptions;

const STREAMS: usize = 100;
const WATCHERS_EACH: usize = 1000;

#[test]
fn an_event_wakes_only_those_it_concerns() {
    let mut world = World::new(WatchOptions::default());
    let streams: Vec<_> = (0..STREAMS).map(|_| world.hub.open_stream()).collect();
    for (s, stream) in streams.iter().enumerate() {
        for w in 0..WATCHERS_EACH {
            let key = format!("/registry/{s:03}/{w:04}");
            match w % 10 {
                // All keys below it: one range in ten.
                0 => world.watch(*stream, &format!("{key}/"), &format!("{key}0"), 0),
                _ => world.watch(*stream, &key, "", 0),
            }
            if w % 500 == 499 {
                let created = world.drain(*stream);
                assert_eq!(created.len(), 500);
            }
        }
    }
    let counts = world.hub.counts();
    assert_eq!(counts.watchers, STREAMS * WATCHERS_EACH);
    assert_eq!((counts.ranges, counts.behind), (counts.watchers, 0));

    assert_eq!(world.put("/registry/042/0007", "x"), [streams[42]]);
    assert_eq!(world.hub.counts().behind, 1);
    assert_eq!(world.put("/registry/007/0990/deep", "x"), [streams[7]]);
    assert_eq!(world.hub.counts().behind, 2);
    assert_eq!(world.put("/registry/007/0990", "x"), []);
    assert_eq!(world.put("/elsewhere", "x"), []);
    for stream in &streams {
        let expected = usize::from([streams[42], streams[7]].contains(stream));
        assert_eq!(world.drain(*stream).len(), expected);
    }

    for stream in streams {
        world.hub.close_stream(stream);
    }
    let counts = world.hub.counts();
    assert_eq!((counts.streams, counts.watchers, counts.ranges, counts.behind), (0, 0, 0, 0));
}

#[test]
fn watchers_of_one_range_share_a_group() {
    let mut world = World::new(WatchOptions::default());
    let streams: Vec<_> = (0..1000).map(|_| world.hub.open_stream()).collect();
    for stream in &streams {
        world.watch(*stream, "/a/", "/a0", 0);
        world.drain(*stream);
    }
    assert_eq!(world.hub.counts().ranges, 1);
    assert_eq!(world.put("/a/1", "x"), streams);
    assert_eq!(world.put("/a/2", "x"), [], "all are awake");
    for stream in &streams {
        assert_eq!(world.drain(*stream)[0].events.len(), 2);
    }
    assert_eq!(world.hub.counts().behind, 0);
}
