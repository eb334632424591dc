//! Watch streams as etcd's bugs made them. Every case has the same six revisions behind it.

use crate::script::{Script, delete_event, expect, kv, put_event};
use judge::check::Rule;
use judge::check::watch::{Ending, check};
use judge::history::{
    Compare, Event, History, KeyRange, KeyValue, Put, Relation, Request, StreamId, Target, Time,
    Txn, TxnOperation, WatchCreate, WatchMessage,
};

const KEYS: [&str; 2] = ["a", "b"];

fn a(value: &str, modified: i64) -> KeyValue {
    let version = match modified {
        2 => 1,
        3 => 2,
        _ => 1,
    };
    kv("a", value, if modified <= 3 { 2 } else { modified }, modified, version)
}

/// 2: put a. 3: put a. 4: delete a. 5: put a and b together. 6: put c.
fn truth() -> Script {
    let mut script = Script::new();
    script.put((1, 2), "a", "1", 2).put((3, 4), "a", "2", 3).delete((5, 6), "a", 4);
    let put = |key: &'static str| TxnOperation::Put(Put::new(key, "5"));
    let keys = KeyRange::single("a");
    let compare = vec![Compare { keys, relation: Relation::Equal, target: Target::Create(0) }];
    let success = vec![put(KEYS[0]), put(KEYS[1])];
    let txn = Txn { compare, success, failure: vec![] };
    let put_done = judge::history::Body::Put { prev_kv: None };
    let results = vec![put_done.clone(), put_done];
    let body = judge::history::Body::Txn { succeeded: true, results };
    script.answer((7, 8), Request::Txn(txn), 5, body).put((9, 10), "c", "6", 6);
    script
}

fn a2() -> Event {
    put_event(a("1", 2))
}
fn a3() -> Event {
    put_event(a("2", 3))
}
fn a4() -> Event {
    delete_event("a", 4)
}
fn a5() -> Event {
    put_event(a("5", 5))
}
fn b5() -> Event {
    put_event(kv("b", "5", 5, 5, 1))
}
fn c6() -> Event {
    put_event(kv("c", "6", 6, 6, 1))
}

fn all_from(start: i64) -> WatchCreate {
    WatchCreate::new(KeyRange::all(), start)
}

struct Case {
    name: &'static str,
    create: WatchCreate,
    script: fn(&mut Script, StreamId),
    wanted: Option<Rule>,
}

fn cases() -> Vec<Case> {
    let case = |name, create, script, wanted| Case { name, create, script, wanted };
    let only_a = |start| WatchCreate::new(KeyRange::single("a"), start);
    vec![
        case(
            "all of it",
            all_from(2),
            |s, w| {
                s.events(w, 20, 6, vec![a2(), a3()]).events(w, 21, 6, vec![a4(), a5(), b5()]);
                s.progress(w, 22, 5).events(w, 23, 6, vec![c6()]).progress(w, 24, 6);
            },
            None,
        ),
        case(
            "B19: progress ahead of events",
            all_from(2),
            |s, w| {
                s.progress(w, 20, 6).events(w, 21, 6, vec![a2(), a3(), a4(), a5(), b5(), c6()]);
            },
            Some(Rule::WatchBookmarkable),
        ),
        case(
            "B20: old revisions again after a partition",
            all_from(2),
            |s, w| {
                s.events(w, 20, 6, vec![a2(), a3(), a4()]);
                s.events(w, 21, 6, vec![a3(), a4(), a5(), b5(), c6()]);
            },
            Some(Rule::WatchUnique),
        ),
        case(
            "B20: below a bookmark",
            all_from(2),
            |s, w| {
                s.events(w, 20, 6, vec![a2(), a3(), a4(), a5(), b5()]).progress(w, 21, 5);
                s.events(w, 22, 6, vec![a5(), b5(), c6()]);
            },
            Some(Rule::WatchBookmarkable),
        ),
        case(
            "B21: an event twice",
            all_from(2),
            |s, w| {
                s.events(w, 20, 6, vec![a2(), a3(), a4(), a5(), a5(), b5(), c6()]);
            },
            Some(Rule::WatchUnique),
        ),
        case(
            "B22: a slow stream loses events",
            all_from(2),
            |s, w| {
                s.events(w, 20, 6, vec![a2()]).events(w, 22, 6, vec![a5(), b5(), c6()]);
            },
            Some(Rule::WatchReliable),
        ),
        case(
            "B22: the last events never come",
            all_from(2),
            |s, w| {
                s.events(w, 20, 6, vec![a2(), a3(), a4()]);
            },
            Some(Rule::WatchReliable),
        ),
        case(
            "B23: the deletion at the compaction is dropped",
            only_a(2),
            |s, w| {
                s.compact((11, 12), 4, 6).events(w, 20, 6, vec![a2(), a3()]);
                s.events(w, 21, 6, vec![a5()]);
            },
            Some(Rule::WatchReliable),
        ),
        case(
            "B24: opened at the compaction, without its deletion",
            only_a(4),
            |s, w| {
                s.compact((11, 12), 4, 6).events(w, 21, 6, vec![a5()]);
            },
            Some(Rule::WatchResumable),
        ),
        case(
            "B25: old events for a watcher of the future",
            all_from(9),
            |s, w| {
                s.events(w, 20, 6, vec![c6()]);
            },
            Some(Rule::WatchStart),
        ),
        case(
            "B26: old progress for a watcher of the future",
            all_from(9),
            |s, w| {
                s.progress(w, 20, 6);
            },
            Some(Rule::WatchStart),
        ),
        case("a watcher of the future that waits", all_from(9), |_, _| {}, None),
        case(
            "B29: revision 0 is from now on",
            all_from(0),
            |s, w| {
                s.events(w, 20, 6, vec![c6()]);
            },
            Some(Rule::WatchStart),
        ),
        case(
            "half a revision",
            all_from(5),
            |s, w| {
                s.events(w, 20, 6, vec![a5()]).events(w, 20, 6, vec![b5(), c6()]);
            },
            Some(Rule::WatchAtomic),
        ),
        case(
            "fragments if asked for",
            WatchCreate { fragment: true, ..all_from(5) },
            |s, w| {
                let fragment = WatchMessage::Events {
                    watch_id: 0,
                    revision: 6,
                    fragment: true,
                    events: vec![a5()],
                };
                s.history.message(w, Time::from_millis(20), fragment);
                s.events(w, 20, 6, vec![b5(), c6()]);
            },
            None,
        ),
        case(
            "a fragment without its rest",
            WatchCreate { fragment: true, ..all_from(5) },
            |s, w| {
                let fragment = WatchMessage::Events {
                    watch_id: 0,
                    revision: 6,
                    fragment: true,
                    events: vec![a5()],
                };
                s.history.message(w, Time::from_millis(20), fragment);
                s.events(w, 20, 6, vec![c6()]);
            },
            Some(Rule::WatchReliable),
        ),
        case(
            "another key",
            only_a(5),
            |s, w| {
                s.events(w, 20, 6, vec![a5(), b5()]);
            },
            Some(Rule::WatchFilter),
        ),
        case(
            "a filtered kind",
            WatchCreate { no_delete: true, ..only_a(3) },
            |s, w| {
                s.events(w, 20, 6, vec![a3(), a4(), a5()]);
            },
            Some(Rule::WatchFilter),
        ),
        case(
            "a filter kept",
            WatchCreate { no_delete: true, ..only_a(3) },
            |s, w| {
                s.events(w, 20, 6, vec![a3(), a5()]);
            },
            None,
        ),
        case(
            "B31: the value of another event",
            only_a(2),
            |s, w| {
                s.events(w, 20, 6, vec![put_event(a("2", 2)), a3(), a4(), a5()]);
            },
            Some(Rule::WatchEvent),
        ),
        case(
            "is-create is wrong",
            only_a(3),
            |s, w| {
                s.events(w, 20, 6, vec![put_event(kv("a", "2", 3, 3, 1)), a4(), a5()]);
            },
            Some(Rule::WatchEvent),
        ),
        case(
            "an event that never was",
            all_from(6),
            |s, w| {
                s.events(w, 20, 6, vec![put_event(kv("x", "6", 6, 6, 1))]);
            },
            Some(Rule::WatchEvent),
        ),
        case(
            "previous values",
            WatchCreate { prev_kv: true, ..only_a(2) },
            |s, w| {
                let before = |event: Event, kv| Event { prev_kv: Some(kv), ..event };
                let events = vec![a2(), before(a3(), a("1", 2)), before(a4(), a("2", 3)), a5()];
                s.events(w, 20, 6, events);
            },
            None,
        ),
        case(
            "a wrong previous value",
            WatchCreate { prev_kv: true, ..only_a(3) },
            |s, w| {
                s.events(w, 20, 6, vec![Event { prev_kv: Some(a("9", 2)), ..a3() }]);
            },
            Some(Rule::WatchPrevKv),
        ),
        case(
            "no previous value",
            WatchCreate { prev_kv: true, ..only_a(3) },
            |s, w| {
                s.events(w, 20, 6, vec![a3(), a4(), a5()]);
            },
            Some(Rule::WatchPrevKv),
        ),
        case(
            "a previous value compacted away",
            WatchCreate { prev_kv: true, ..only_a(5) },
            |s, w| {
                s.compact((11, 12), 5, 6).events(w, 20, 6, vec![a5()]);
            },
            None,
        ),
        case(
            "canceled where compacted",
            all_from(3),
            |s, w| {
                s.compact((11, 12), 5, 6);
                let canceled = WatchMessage::Canceled { watch_id: 0, compact_revision: 5 };
                s.history.message(w, Time::from_millis(20), canceled);
            },
            None,
        ),
        case(
            "canceled at the compaction itself",
            all_from(5),
            |s, w| {
                s.compact((11, 12), 5, 6);
                let canceled = WatchMessage::Canceled { watch_id: 0, compact_revision: 5 };
                s.history.message(w, Time::from_millis(20), canceled);
            },
            Some(Rule::WatchCompacted),
        ),
        case(
            "canceled without compaction",
            all_from(2),
            |s, w| {
                let canceled = WatchMessage::Canceled { watch_id: 0, compact_revision: 4 };
                s.history.message(w, Time::from_millis(20), canceled);
            },
            Some(Rule::WatchCompacted),
        ),
        case(
            "B30: events after the end",
            all_from(6),
            |s, w| {
                let canceled = WatchMessage::Canceled { watch_id: 0, compact_revision: 0 };
                s.history.message(w, Time::from_millis(20), canceled);
                s.events(w, 21, 6, vec![c6()]);
            },
            Some(Rule::WatchProtocol),
        ),
        case("B28: from a negative revision", all_from(-1), |_, _| {}, Some(Rule::WatchStart)),
        case(
            "B30: canceled once for each request",
            all_from(7),
            |s, w| {
                let ask = WatchMessage::CancelRequest { watch_id: 0 };
                let end = WatchMessage::Canceled { watch_id: 0, compact_revision: 0 };
                for (time, message) in (20..).zip([ask.clone(), end.clone(), ask, end]) {
                    s.history.message(w, Time::from_millis(time), message);
                }
            },
            Some(Rule::WatchProtocol),
        ),
        case(
            "a watcher that nobody wanted",
            all_from(9),
            |s, w| {
                let created = WatchMessage::Created { watch_id: 1, revision: 6 };
                s.history.message(w, Time::from_millis(20), created);
            },
            Some(Rule::WatchProtocol),
        ),
    ]
}

#[test]
fn every_case_gets_its_name() {
    for Case { name, create, script, wanted } in cases() {
        let mut told = truth();
        let stream = told.watch(15, create, 6);
        script(&mut told, stream);
        let linearization = told.linearize();
        let at = Time::from_secs(1);
        let ending = Ending::Healed { at, until: at, revision: 6, progress_within: None };
        let healed = check(&told.history, &linearization, ending);
        expect(name, healed, wanted);
    }
}

/// What is asked of watchers whose first revision, 7, writes and deletes b in one transaction,
/// deletes the other keys, and was compacted to at 30 ms.
struct Twice {
    name: &'static str,
    create: WatchCreate,
    time: u64,
    /// Events of one response each; all but the last are fragments.
    events: Vec<Vec<Event>>,
    wanted: Option<Rule>,
}

#[test]
fn of_a_compacted_revision_the_last_change_of_a_key_is_left() {
    let put = put_event(kv("b", "7", 5, 7, 2));
    let gone = |key| delete_event(key, 7);
    let d8 = || put_event(kv("d", "8", 8, 8, 1));
    let only_b = || WatchCreate::new(KeyRange::single("b"), 7);
    let in_parts = || WatchCreate { fragment: true, ..all_from(7) };
    let case = |name, create, time, events: &[&[Event]], wanted| {
        let events = events.iter().map(|events| events.to_vec()).collect();
        Twice { name, create, time, events, wanted }
    };
    let (whole, left) = (
        [put.clone(), gone("a"), gone("b"), gone("c"), d8()],
        [gone("a"), gone("b"), gone("c"), d8()],
    );
    let puts = WatchCreate { no_delete: true, ..all_from(7) };
    let cases = [
        case("all before", all_from(7), 29, &[&whole], None),
        case("the last before", all_from(7), 29, &[&left], Some(Rule::WatchOrdered)),
        case("all after", all_from(7), 31, &[&whole], None),
        case("the last after", all_from(7), 31, &[&left], None),
        case("one key", only_b(), 31, &[&[gone("b")]], None),
        case("nothing of one key", only_b(), 31, &[&[d8()]], Some(Rule::WatchFilter)),
        case(
            "the first alone",
            only_b(),
            31,
            &[std::slice::from_ref(&put)],
            Some(Rule::WatchAtomic),
        ),
        case("only puts before", puts.clone(), 29, &[&[d8()]], Some(Rule::WatchResumable)),
        case("only puts after", puts, 31, &[&[d8()]], None),
        case("all in parts", in_parts(), 31, &[&whole[..2], &whole[2..]], None),
        case("the last in parts", in_parts(), 31, &[&left[..1], &left[1..]], None),
        case(
            "the one and then the other",
            in_parts(),
            31,
            &[&whole[..2], &left[2..]],
            Some(Rule::WatchAtomic),
        ),
    ];
    for Twice { name, create, time, events, wanted } in cases {
        let mut script = truth();
        let delete = judge::history::DeleteRange { keys: KeyRange::all(), prev_kv: false };
        let success =
            vec![TxnOperation::Put(Put::new("b", "7")), TxnOperation::DeleteRange(delete)];
        let txn = Txn { compare: vec![], success, failure: vec![] };
        let results = vec![
            judge::history::Body::Put { prev_kv: None },
            judge::history::Body::DeleteRange { deleted: 3, prev_kvs: vec![] },
        ];
        let body = judge::history::Body::Txn { succeeded: true, results };
        script.answer((11, 12), Request::Txn(txn), 7, body).put((13, 14), "d", "8", 8);
        script.compact((30, 30), 7, 8);
        let stream = script.watch(15, create, 8);
        let last = events.len() - 1;
        for (position, events) in events.into_iter().enumerate() {
            let fragment = position < last;
            let message = WatchMessage::Events { watch_id: 0, revision: 8, fragment, events };
            script.history.message(stream, Time::from_millis(time), message);
        }
        let linearization = script.linearize();
        expect(name, check(&script.history, &linearization, Ending::Abrupt), wanted);
    }
}

#[test]
fn b27_an_idle_watcher_hears_nothing() {
    let mut script = truth();
    let create = WatchCreate { progress_notify: true, ..all_from(0) };
    let stream = script.watch(15, create, 6);
    let linearization = script.linearize();
    let ending = |seconds| Ending::Healed {
        at: Time::from_secs(seconds),
        until: Time::from_secs(seconds),
        revision: 6,
        progress_within: Some(Time::from_secs(10)),
    };
    expect("early", check(&script.history, &linearization, ending(9)), None);
    let late = check(&script.history, &linearization, ending(11));
    expect("late", late, Some(Rule::WatchBookmarkable));
    script.progress(stream, 9000, 6);
    expect("told", check(&script.history, &linearization, ending(11)), None);
}

#[test]
fn a_watcher_of_what_is_to_come_is_told_nothing_until_it_comes() {
    let mut script = truth();
    let keys = KeyRange::single("a");
    let create = WatchCreate { progress_notify: true, ..WatchCreate::new(keys, 7) };
    script.watch(15, create, 6);
    script.put((8_000, 8_001), "d", "7", 7);
    let linearization = script.linearize();
    let ending = |seconds| Ending::Healed {
        at: Time::from_secs(seconds),
        until: Time::from_secs(seconds),
        revision: 7,
        progress_within: Some(Time::from_secs(10)),
    };
    expect("early", check(&script.history, &linearization, ending(17)), None);
    let late = check(&script.history, &linearization, ending(19));
    expect("late", late, Some(Rule::WatchBookmarkable));
}

#[test]
fn nobody_knows_the_future() {
    let mut script = truth();
    let stream = script.watch(1, all_from(6), 1);
    script.events(stream, 2, 6, vec![c6()]);
    let seen = judge::check::linearizable::check(&script.history, &Default::default());
    expect("an event before its request", seen.map(|_| ()), Some(Rule::RealTime));
    assert_ne!(script.history, History::new());
}
