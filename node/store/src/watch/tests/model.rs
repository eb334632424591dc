//! Random histories, watchers and interleavings against a naive model.
//!
//! The model keeps the whole history as decoded events. Of each watcher it knows what it asked
//! for and what it has been told, and judges every response: events in order, once, none left
//! out, whole revisions, right previous values; progress only after all events; cancellation only
//! when compaction has overtaken it; and in the end, that nothing is missing.

use std::collections::BTreeMap;

use proptest::prelude::*;
use quorate_api::etcdserverpb::{WatchCreateRequest, WatchResponse};
use quorate_api::mvccpb::{Event, KeyValue};

use super::world::{Change, Entry, World, prune};
use crate::watch::range::KeyRange;
use crate::watch::{PollLimits, StreamId, WatchOptions};

#[derive(Clone, Debug)]
enum Step {
    Change(Vec<(u8, Option<u8>)>),
    Compact(u8),
    Publish,
    Create { stream: usize, key: u8, end: Option<u8>, start: i64, flags: u8 },
    Cancel { stream: usize, nth: usize },
    Progress { stream: usize },
    Tick { stream: usize },
    Poll { stream: usize, bytes: usize, responses: usize },
    Reopen { stream: usize },
    Install { missed: Vec<(u8, Option<u8>)>, compact: bool },
}

const STREAMS: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    let changes =
        || prop::collection::vec((0_u8..6, prop::option::weighted(0.7, any::<u8>())), 1..4);
    let stream = 0..STREAMS;
    prop_oneof![
        12 => changes().prop_map(Step::Change),
        1 => (0_u8..6).prop_map(Step::Compact),
        8 => Just(Step::Publish),
        5 => (stream.clone(), 0_u8..6, prop::option::of(0_u8..8), -1_i64..25, any::<u8>()).prop_map(
            |(stream, key, end, start, flags)| Step::Create { stream, key, end, start, flags }
        ),
        1 => (stream.clone(), 0_usize..8).prop_map(|(stream, nth)| Step::Cancel { stream, nth }),
        2 => stream.clone().prop_map(|stream| Step::Progress { stream }),
        2 => stream.clone().prop_map(|stream| Step::Tick { stream }),
        8 => (stream.clone(), prop_oneof![Just(1_usize), Just(200), Just(10_000)], 1_usize..5)
            .prop_map(|(stream, bytes, responses)| Step::Poll { stream, bytes, responses }),
        1 => stream.prop_map(|stream| Step::Reopen { stream }),
        1 => (changes(), any::<bool>()).prop_map(|(missed, compact)| Step::Install { missed, compact }),
    ]
}

fn options() -> impl Strategy<Value = WatchOptions> {
    let bytes = prop_oneof![Just(0_u64), Just(600), Just(1500), Just(1 << 20)];
    (bytes, 1_u64..20, 1_usize..5, 1_usize..5, prop_oneof![Just(150_usize), Just(4096)]).prop_map(
        |(ring_bytes_max, ring_revisions_max, read, answered, fragment_bytes)| WatchOptions {
            ring_bytes_max,
            ring_revisions_max,
            catch_up_revisions_max: read,
            response_revisions_max: answered,
            fragment_bytes,
            ..WatchOptions::default()
        },
    )
}

/// A watcher as the model sees it.
#[derive(Debug)]
struct Expected {
    request: WatchCreateRequest,
    range: KeyRange,
    /// The first revision that it may get.
    start: i64,
    created: bool,
    /// How many of its events it got.
    got: usize,
    /// It was told that it has everything up to here.
    through: i64,
    /// It got a piece of a response whose rest must follow.
    in_pieces: bool,
}

struct Model {
    world: World,
    streams: Vec<StreamId>,
    watchers: Vec<BTreeMap<i64, Expected>>,
    history: Vec<Event>,
    state: BTreeMap<Vec<u8>, KeyValue>,
    revision: i64,
    compacted: i64,
    progress_told: u64,
    events_told: u64,
}

fn key(number: u8) -> Vec<u8> {
    vec![b'a' + number]
}

impl Model {
    fn new(options: WatchOptions) -> Self {
        let mut world = World::new(options);
        Self {
            streams: (0..STREAMS).map(|_| world.hub.open_stream()).collect(),
            watchers: (0..STREAMS).map(|_| BTreeMap::new()).collect(),
            world,
            history: Vec::new(),
            state: BTreeMap::new(),
            revision: 1,
            compacted: -1,
            progress_told: 0,
            events_told: 0,
        }
    }

    /// Note a transaction in the model's history; its entry.
    fn transaction(&mut self, changes: &[(u8, Option<u8>)]) -> Entry {
        let mut distinct: BTreeMap<u8, Option<u8>> = BTreeMap::new();
        distinct.extend(changes.iter().copied());
        let revision = self.revision + 1;
        let mut entry = Vec::new();
        for (number, value) in distinct {
            let key = key(number);
            let before = self.state.get(&key).cloned();
            let mut event = Event { prev_kv: before.clone(), ..Event::default() };
            if let Some(value) = value {
                let value = vec![b'v'; usize::from(value)];
                let pair = KeyValue {
                    key: key.clone().into(),
                    create_revision: before.as_ref().map_or(revision, |kv| kv.create_revision),
                    mod_revision: revision,
                    version: before.map_or(0, |kv| kv.version) + 1,
                    value: value.clone().into(),
                    lease: 0,
                };
                self.state.insert(key.clone(), pair.clone());
                event.kv = Some(pair);
                entry.push(Change::Put { key, value });
            } else {
                entry.push(Change::Delete { key: key.clone() });
                if self.state.remove(&key).is_none() {
                    continue;
                }
                event.r#type = 1;
                let key = key.into();
                event.kv = Some(KeyValue { key, mod_revision: revision, ..KeyValue::default() });
            }
            self.revision = revision;
            self.history.push(event);
        }
        Entry::Transaction(entry)
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Change(changes) => {
                let entry = self.transaction(&changes);
                self.world.apply(entry);
            }
            Step::Compact(back) => {
                let revision = self.revision - i64::from(back);
                if revision > self.compacted {
                    self.compacted = revision;
                    self.world.compact(revision);
                }
            }
            Step::Publish => {
                self.world.publish();
            }
            Step::Create { stream, key, end, start, flags } => {
                self.create(stream, key, end, start, flags);
            }
            Step::Cancel { stream, nth } => {
                let Some(id) = self.watchers[stream].keys().nth(nth).copied() else { return };
                self.world.hub.cancel(self.streams[stream], &self.world.mvcc, id).unwrap();
                // What it is still told, the rest of a response, is of no interest.
                self.watchers[stream].remove(&id);
            }
            Step::Progress { stream } => self.world.hub.request_progress(self.streams[stream]),
            Step::Tick { stream } => {
                self.world.hub.tick_progress(self.streams[stream]);
            }
            Step::Poll { stream, bytes, responses } => {
                self.poll(stream, PollLimits { bytes, responses });
            }
            Step::Reopen { stream } => {
                self.world.hub.close_stream(self.streams[stream]);
                self.watchers[stream].clear();
                self.streams[stream] = self.world.hub.open_stream();
            }
            Step::Install { missed, compact } => {
                let entry = self.transaction(&missed);
                self.world.log.push(entry);
                if compact && self.revision > self.compacted {
                    self.compacted = self.revision;
                    self.world.log.push(Entry::Compact(self.revision));
                }
                self.world.install(self.world.log.len());
            }
        }
        prune(&mut self.world.mvcc);
        assert_eq!(self.world.mvcc.current_revision(), self.revision);
        assert_eq!(self.world.mvcc.compact_revision(), self.compacted);
    }

    fn create(&mut self, stream: usize, first: u8, end: Option<u8>, start: i64, flags: u8) {
        let bit = |n: u8| flags & (1 << n) != 0;
        let mut request = WatchCreateRequest {
            key: key(first).into(),
            range_end: end
                .map_or(Vec::new(), |end| if end == 7 { vec![0] } else { key(end) })
                .into(),
            start_revision: if bit(0) { 0 } else { start },
            prev_kv: bit(1),
            fragment: bit(2),
            progress_notify: bit(3),
            ..WatchCreateRequest::default()
        };
        if bit(4) && bit(5) {
            request.filters.push(i32::from(bit(6)));
        }
        self.world.hub.create(self.streams[stream], &self.world.mvcc, &request).unwrap();
        let Some(range) = KeyRange::from_request(&request.key, &request.range_end) else { return };
        if request.start_revision < 0 {
            return;
        }
        // The hub's rule: count up, from 0.
        let next_id = self.world.hub.streams.get(self.streams[stream].slot).next_id - 1;
        let start = match request.start_revision {
            0 => self.revision + 1,
            start => start,
        };
        let expected = Expected {
            request,
            range,
            start,
            created: false,
            got: 0,
            through: 0,
            in_pieces: false,
        };
        assert!(self.watchers[stream].insert(next_id, expected).is_none());
    }

    fn events_of<'a>(
        history: &'a [Event],
        watcher: &'a Expected,
    ) -> impl Iterator<Item = &'a Event> {
        history.iter().filter(|event| {
            let kv = event.kv.as_ref().unwrap();
            kv.mod_revision >= watcher.start
                && watcher.range.contains(&kv.key)
                && !watcher.request.filters.contains(&event.r#type)
        })
    }

    /// How many of a watcher's events are at or below a revision.
    fn due(history: &[Event], watcher: &Expected, revision: i64) -> usize {
        Self::events_of(history, watcher)
            .filter(|event| event.kv.as_ref().unwrap().mod_revision <= revision)
            .count()
    }

    fn poll(&mut self, stream: usize, limits: PollLimits) -> bool {
        let (responses, more) = self.world.poll(self.streams[stream], limits);
        assert!(responses.len() <= limits.responses);
        for response in responses {
            self.judge(stream, response);
        }
        more
    }

    fn judge(&mut self, stream: usize, response: WatchResponse) {
        let revision = response.header.as_ref().unwrap().revision;
        let id = response.watch_id;
        if id == -1 && response.created {
            assert!(response.canceled && !response.cancel_reason.is_empty());
            return;
        }
        if id == -1 {
            assert_eq!(response, progress(&response));
            assert!(!self.watchers[stream].is_empty());
            for watcher in self.watchers[stream].values() {
                self.check_progress(watcher, revision);
            }
            self.progress_told += 1;
            return;
        }
        let in_pieces = self.watchers[stream].values().filter(|w| w.in_pieces).count();
        let Some(watcher) = self.watchers[stream].get_mut(&id) else {
            return;
        };
        assert!(in_pieces <= usize::from(watcher.in_pieces), "nothing goes between pieces");
        if response.created {
            assert!(!watcher.created && !response.canceled);
            watcher.created = true;
        } else if response.canceled {
            let compacted = response.compact_revision;
            assert!(watcher.created && compacted <= self.compacted);
            assert_eq!((revision, response.cancel_reason.as_str()), (0, ""));
            assert!(watcher.start < compacted && watcher.through < compacted);
            self.watchers[stream].remove(&id);
        } else if response.events.is_empty() {
            assert_eq!(response, progress(&response));
            assert!(watcher.created && watcher.request.progress_notify);
            self.check_progress(&self.watchers[stream][&id], revision);
            self.progress_told += 1;
        } else {
            assert!(watcher.created);
            Self::judge_events(&self.history, self.compacted, watcher, &response);
            self.events_told += response.events.len() as u64;
        }
    }

    fn judge_events(
        history: &[Event],
        compacted: i64,
        watcher: &mut Expected,
        response: &WatchResponse,
    ) {
        let revision = response.header.as_ref().unwrap().revision;
        let expected: Vec<Event> = Self::events_of(history, watcher)
            .skip(watcher.got)
            .take(response.events.len())
            .cloned()
            .collect();
        assert_eq!(expected.len(), response.events.len());
        for (told, mut expected) in response.events.iter().zip(expected) {
            let before = expected.kv.as_ref().unwrap().mod_revision - 1;
            let lost = told.prev_kv.is_none() && before < compacted;
            if !watcher.request.prev_kv || lost {
                expected.prev_kv = None;
            }
            assert_eq!(*told, expected);
        }
        watcher.got += response.events.len();
        watcher.in_pieces = response.fragment;
        assert!(!response.fragment || watcher.request.fragment);
        if !response.fragment {
            // Whole revisions: all that the header's revision promises was given.
            assert!(revision >= response.events.last().unwrap().kv.as_ref().unwrap().mod_revision);
            assert_eq!(watcher.got, Self::due(history, watcher, revision));
            watcher.through = revision;
        }
    }

    /// Progress at `revision` is true of this watcher.
    fn check_progress(&self, watcher: &Expected, revision: i64) {
        assert!(watcher.created && revision <= self.revision && !watcher.in_pieces);
        assert!(watcher.got >= Self::due(&self.history, watcher, revision), "ahead of events");
        assert!(revision >= watcher.request.start_revision, "below its start");
        assert!(revision >= watcher.through, "back in time");
    }

    fn finish(&mut self) {
        self.world.publish();
        for stream in 0..STREAMS {
            let mut polls = 0;
            while self.poll(stream, PollLimits::default()) {
                polls += 1;
                assert!(polls < 10_000, "the stream never ends");
            }
            for watcher in self.watchers[stream].values() {
                assert!(watcher.created && !watcher.in_pieces);
                assert_eq!(watcher.got, Self::due(&self.history, watcher, i64::MAX), "{watcher:?}");
            }
            // With everything told, progress is always told, unless a start is to come.
            let told = self.progress_told;
            self.world.hub.request_progress(self.streams[stream]);
            self.poll(stream, PollLimits::default());
            let watchers = &self.watchers[stream];
            let waits = watchers.values().any(|w| w.request.start_revision > self.revision);
            let tells = !watchers.is_empty() && !waits;
            assert_eq!(self.progress_told - told, u64::from(tells));
        }
        assert_eq!(self.world.hub.counts().behind, 0);
    }
}

fn progress(response: &WatchResponse) -> WatchResponse {
    WatchResponse {
        header: response.header,
        watch_id: response.watch_id,
        ..WatchResponse::default()
    }
}

#[test]
fn a_start_that_came_is_not_waited_for_after_a_snapshot() {
    let mut model = Model::new(WatchOptions::default());
    for step in [
        Step::Change(vec![(0, Some(0))]),
        Step::Create { stream: 0, key: 1, end: None, start: 3, flags: 0b10 },
        Step::Change(vec![(0, Some(0))]),
        Step::Publish,
        Step::Install { missed: vec![(1, None)], compact: false },
    ] {
        model.run(step);
    }
    model.finish();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn every_watcher_gets_what_the_model_says(
        options in options(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut model = Model::new(options);
        for step in steps {
            model.run(step);
        }
        model.finish();
    }
}
