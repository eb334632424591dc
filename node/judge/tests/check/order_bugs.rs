//! Answers out of order, and writes that are gone.

use crate::script::{Script, delete_event, expect, found, kv, put_event, session};
use judge::check::Rule;
use judge::check::durability::{self, FinalState};
use judge::check::linearizable::{self, Maker, Witness};
use judge::check::serializable::{self, AfterRestart};
use judge::history::{
    Body, DeleteRange, KeyRange, Outcome, Put, Range, Refusal, Request, Response, Session, Txn,
    TxnOperation, WatchCreate,
};

type Telling = fn(&mut Script);

fn unknown_put(script: &mut Script, times: (u64, u64), value: &'static str) {
    let request = Request::Put(Put::new("a", value));
    script.outcome(times, session(1), request, Outcome::Unknown);
}

fn refused(script: &mut Script, times: (u64, u64), request: Request, refusal: Refusal) {
    script.outcome(times, session(1), request, Outcome::Refused(refusal));
}

fn read_at(revision: i64) -> Request {
    Request::Range(Range { revision, ..Range::current(KeyRange::single("a")) })
}

#[test]
fn orders_are_judged() {
    let cases: &[(&str, Telling, Option<Rule>)] = &[
        ("nothing at all", |_| {}, None),
        (
            "in order",
            |s| {
                s.get((1, 2), "a", 1, vec![]).put((3, 4), "a", "1", 2);
                s.get((5, 6), "a", 2, vec![kv("a", "1", 2, 2, 1)]);
            },
            None,
        ),
        (
            "a read beside a write may see either",
            |s| {
                s.put((1, 9), "a", "1", 2).get((2, 4), "a", 1, vec![]);
                s.get((5, 6), "a", 2, vec![kv("a", "1", 2, 2, 1)]);
            },
            None,
        ),
        (
            "B32: a new leader answers before it committed",
            |s| {
                s.put((1, 2), "a", "1", 2).get((3, 4), "a", 1, vec![]);
            },
            Some(Rule::RealTime),
        ),
        (
            "B34: a read confirmed by an old round",
            |s| {
                s.put((1, 2), "a", "1", 2).put((3, 4), "a", "2", 3);
                s.get((5, 6), "a", 2, vec![kv("a", "1", 2, 2, 1)]);
            },
            Some(Rule::RealTime),
        ),
        (
            "B33: the right revision with old keys",
            |s| {
                s.put((1, 2), "a", "1", 2).put((3, 4), "a", "2", 3);
                s.get((5, 6), "a", 3, vec![kv("a", "1", 2, 2, 1)]);
            },
            Some(Rule::Linearizable),
        ),
        (
            "B36: a deleted key is read",
            |s| {
                s.put((1, 2), "a", "1", 2).delete((3, 4), "a", 3);
                s.get((5, 6), "a", 3, vec![kv("a", "1", 2, 2, 1)]);
            },
            Some(Rule::Linearizable),
        ),
        (
            "two writes, one revision",
            |s| {
                s.put((1, 2), "a", "1", 2).put((1, 2), "b", "1", 2);
            },
            Some(Rule::Linearizable),
        ),
        (
            "B03: a revision that nobody made",
            |s| {
                s.put((1, 2), "a", "1", 2).put((3, 4), "a", "2", 4);
            },
            Some(Rule::Linearizable),
        ),
        (
            "B04: revisions go back after a crash",
            |s| {
                s.put((1, 2), "a", "1", 2).put((3, 4), "a", "2", 3).put((5, 6), "a", "3", 3);
            },
            Some(Rule::RealTime),
        ),
        (
            "B05: a write is lost, its revision used again",
            |s| {
                s.put((1, 2), "a", "1", 2).get((3, 4), "a", 2, vec![]);
            },
            Some(Rule::Linearizable),
        ),
        (
            "an unknown write fills the gap",
            |s| {
                unknown_put(s, (1, 2), "1");
                s.put((3, 4), "b", "2", 3);
            },
            None,
        ),
        (
            "an unknown write is not there before it was asked",
            |s| {
                s.put((1, 2), "b", "2", 3);
                unknown_put(s, (3, 4), "1");
            },
            Some(Rule::Linearizable),
        ),
        (
            "an unknown write happens once",
            |s| {
                unknown_put(s, (1, 2), "1");
                s.put((3, 4), "b", "2", 4);
            },
            Some(Rule::Linearizable),
        ),
        (
            "the read tells which of two",
            |s| {
                unknown_put(s, (1, 2), "1");
                unknown_put(s, (1, 2), "2");
                s.put((3, 4), "b", "2", 3).get((5, 6), "a", 3, vec![kv("a", "2", 2, 2, 1)]);
            },
            None,
        ),
        (
            "later than its client waited",
            |s| {
                unknown_put(s, (1, 2), "1");
                s.get((3, 4), "a", 1, vec![]).get((5, 6), "a", 2, vec![kv("a", "1", 2, 2, 1)]);
            },
            None,
        ),
        (
            "seen, then not",
            |s| {
                unknown_put(s, (1, 2), "1");
                s.get((3, 4), "a", 2, vec![kv("a", "1", 2, 2, 1)]).get((5, 6), "a", 1, vec![]);
            },
            Some(Rule::RealTime),
        ),
        (
            "a failed write that happened",
            |s| {
                let request = Request::Put(Put::new("a", "1"));
                s.outcome((1, 2), session(1), request, Outcome::NotApplied);
                s.get((3, 4), "a", 2, vec![kv("a", "1", 2, 2, 1)]);
            },
            Some(Rule::Linearizable),
        ),
        (
            "compacted, truly",
            |s| {
                s.put((1, 2), "a", "1", 2).put((3, 4), "a", "2", 3).compact((5, 6), 3, 3);
                refused(s, (7, 8), read_at(2), Refusal::Compacted);
                s.answer((9, 10), read_at(3), 3, found(vec![kv("a", "2", 2, 3, 2)]));
            },
            None,
        ),
        (
            "compacted, for no reason",
            |s| {
                s.put((1, 2), "a", "1", 2).put((3, 4), "a", "2", 3).compact((5, 6), 2, 3);
                refused(s, (7, 8), read_at(2), Refusal::Compacted);
            },
            Some(Rule::Refusal),
        ),
        (
            "B16: read below the compaction",
            |s| {
                s.put((1, 2), "a", "1", 2).put((3, 4), "a", "2", 3).compact((5, 6), 3, 3);
                s.answer((7, 8), read_at(2), 3, found(vec![kv("a", "1", 2, 2, 1)]));
            },
            Some(Rule::Linearizable),
        ),
        (
            "compacted twice to one revision",
            |s| {
                s.put((1, 2), "a", "1", 2).compact((3, 4), 2, 2).compact((5, 6), 2, 2);
            },
            Some(Rule::Linearizable),
        ),
        (
            "the future, for no reason",
            |s| {
                s.put((1, 2), "a", "1", 2);
                refused(s, (3, 4), read_at(2), Refusal::FutureRevision);
            },
            Some(Rule::Refusal),
        ),
        (
            "no key, for no reason",
            |s| {
                s.put((1, 2), "a", "1", 2);
                let put = Put { ignore_value: true, ..Put::new("a", "") };
                refused(s, (3, 4), Request::Put(put), Refusal::KeyNotFound);
            },
            Some(Rule::Refusal),
        ),
        (
            "no key, beside its deletion",
            |s| {
                s.put((1, 2), "a", "1", 2).delete((3, 6), "a", 3);
                let put = Put { ignore_value: true, ..Put::new("a", "") };
                refused(s, (4, 5), Request::Put(put), Refusal::KeyNotFound);
            },
            None,
        ),
        (
            "malformed, for no reason",
            |s| {
                refused(s, (4, 5), Request::Put(Put::new("a", "1")), Refusal::Invalid);
            },
            Some(Rule::Refusal),
        ),
    ];
    for (name, tell, wanted) in cases {
        let mut script = Script::new();
        tell(&mut script);
        let found = linearizable::check(&script.history, &Witness::new());
        expect(name, found.map(|_| ()), *wanted);
    }
}

#[test]
fn too_many_orders_are_an_error() {
    let mut script = Script::new();
    // Thirteen writes of which nothing is known, and an end that contradicts all their orders.
    for _ in 0..13 {
        let request = Request::Put(Put::new("a", "same"));
        script.outcome((1, 2), session(1), request, Outcome::Unknown);
    }
    script.get((5, 6), "a", 14, vec![]);
    let found = linearizable::check(&script.history, &Witness::new());
    expect("gives up", found.map(|_| ()), Some(Rule::Undecided));
}

/// What ended a lease is known long after, when somebody needs it: too late to find it by trying.
#[test]
fn a_lease_that_is_needed_later_was_not_ended_before() {
    let mut script = Script::new();
    let attached = |key| Put { lease: 7, ..Put::new(key, "1") };
    script.answer((1, 2), Request::Put(attached("a")), 2, Body::Put { prev_kv: None });
    script.outcome((3, 4), session(1), Request::LeaseRevoke { id: 7 }, Outcome::Unknown);
    let deletion = DeleteRange { keys: KeyRange::single("a"), prev_kv: false };
    let deletion = Request::DeleteRange(deletion);
    let lost = script.outcome((5, 6), session(1), deletion, Outcome::Unknown);
    script.get((7, 8), "a", 3, vec![]);
    for _ in 0..13 {
        let request = Request::Put(Put::new("b", "same"));
        script.outcome((9, 10), session(1), request, Outcome::Unknown);
    }
    script.answer((11, 12), Request::Put(attached("c")), 17, Body::Put { prev_kv: None });
    let linearization = script.linearize();
    assert_eq!(linearization.made(3).map(|made| made.maker), Some(Maker::Operation(lost)));
}

/// What a revision left is known long after, when somebody looks back at it.
#[test]
fn who_looks_back_shows_what_a_revision_left() {
    let mut script = Script::new();
    script.put((1, 2), "a", "1", 2);
    let deletion = DeleteRange { keys: KeyRange::single("a"), prev_kv: false };
    let deletion = Request::DeleteRange(deletion);
    let lost = script.outcome((3, 20), session(1), deletion, Outcome::Unknown);
    for _ in 0..13 {
        let request = Request::Put(Put::new("b", "same"));
        script.outcome((4, 20), session(1), request, Outcome::Unknown);
    }
    script.put((5, 6), "c", "1", 15);
    let before = found(vec![kv("a", "1", 2, 2, 1)]);
    script.answer((7, 8), read_at(3), 15, before);
    script.get((9, 10), "a", 15, vec![]);
    let linearization = script.linearize();
    let makers = |first| linearization.made_from(first).map(|(_, made)| made.maker);
    assert_eq!(makers(3).position(|maker| maker == Maker::Operation(lost)), Some(1));
}

/// One watcher wants no deletions, the other nothing else: together they have seen that a key was
/// written and deleted at once.
#[test]
fn a_key_that_was_written_and_deleted_at_once_is_seen_twice() {
    let mut script = Script::new();
    script.put((1, 2), "a", "1", 2);
    let deletion = || DeleteRange { keys: KeyRange::all(), prev_kv: false };
    let request = Request::DeleteRange(deletion());
    script.outcome((3, 20), session(1), request, Outcome::Unknown);
    let success =
        vec![TxnOperation::Put(Put::new("a", "2")), TxnOperation::DeleteRange(deletion())];
    let txn = Request::Txn(Txn { success, ..Txn::default() });
    let both = script.outcome((4, 20), session(1), txn, Outcome::Unknown);
    let all = || WatchCreate::new(KeyRange::all(), 3);
    let puts = script.watch(5, WatchCreate { no_delete: true, ..all() }, 2);
    let deletions = script.watch(5, WatchCreate { no_put: true, ..all() }, 2);
    script.events(puts, 6, 3, vec![put_event(kv("a", "2", 2, 3, 2))]);
    script.events(deletions, 7, 3, vec![delete_event("a", 3)]);
    let linearization = script.linearize();
    assert_eq!(linearization.made(3).map(|made| made.maker), Some(Maker::Operation(both)));
}

#[test]
fn makers_are_named() {
    let mut script = Script::new();
    let lost =
        script.outcome((1, 2), session(1), Request::Put(Put::new("a", "1")), Outcome::Unknown);
    script.put((3, 4), "b", "2", 3);
    let linearization = script.linearize();
    assert_eq!(linearization.made(2).map(|made| made.maker), Some(Maker::Operation(lost)));
    assert_eq!(linearization.made(1), None);
    assert_eq!(linearization.made(4), None);
}

/// A lease that lost its key to somebody else's deletion, and is revoked when that has been seen.
#[test]
fn what_had_been_seen_was_not_made_by_what_was_asked_for_later() {
    let mut script = Script::new();
    let attached = Put { lease: 7, ..Put::new("a", "1") };
    script.answer((1, 2), Request::Put(attached), 2, Body::Put { prev_kv: None });
    let deletion = DeleteRange { keys: KeyRange::single("a"), prev_kv: false };
    let deletion = Request::DeleteRange(deletion);
    let lost = script.outcome((3, 9), session(1), deletion, Outcome::Unknown);
    let request = Request::Range(Range::serializable(KeyRange::all()));
    script.answer((5, 6), request, 3, found(vec![]));
    script.answer((10, 11), Request::LeaseRevoke { id: 7 }, 3, Body::LeaseRevoke);
    let linearization = script.linearize();
    assert_eq!(linearization.made(3).map(|made| made.maker), Some(Maker::Operation(lost)));
    let result = serializable::check(&script.history, &linearization, AfterRestart::MayGoBack);
    expect("a prefix", result, None);
}

#[test]
fn stale_reads_are_a_prefix() {
    let at = |member, incarnation| Session { incarnation, ..session(member) };
    type Read = (u64, Session, i64);
    let cases: &[(&str, &[Read], AfterRestart, Option<Rule>)] = &[
        (
            "one member after the other",
            &[(11, at(1, 0), 3), (13, at(2, 0), 2), (15, at(2, 0), 3)],
            AfterRestart::StaysMonotone,
            None,
        ),
        (
            "B20: a member goes back",
            &[(11, at(1, 0), 3), (13, at(1, 0), 2)],
            AfterRestart::MayGoBack,
            Some(Rule::SerializableMonotone),
        ),
        (
            "a restart may go back",
            &[(11, at(1, 0), 3), (13, at(1, 1), 2)],
            AfterRestart::MayGoBack,
            None,
        ),
        (
            "a restart may not go back",
            &[(11, at(1, 0), 3), (13, at(1, 1), 2)],
            AfterRestart::StaysMonotone,
            Some(Rule::SerializableMonotone),
        ),
    ];
    for (name, reads, after_restart, wanted) in cases {
        let mut script = Script::new();
        script.put((1, 2), "a", "1", 2).put((3, 4), "a", "2", 3);
        for (time, session, revision) in *reads {
            let request = Request::Range(Range::serializable(KeyRange::single("a")));
            let value = if *revision == 2 { "1" } else { "2" };
            let body = found(vec![kv("a", value, 2, *revision, *revision - 1)]);
            let outcome = Outcome::Ok(Response { revision: *revision, body });
            script.outcome((*time, *time + 1), *session, request, outcome);
        }
        let linearization = script.linearize();
        let result = serializable::check(&script.history, &linearization, *after_restart);
        expect(name, result, *wanted);
    }
    let mut script = Script::new();
    script.put((1, 2), "a", "1", 2).put((3, 4), "b", "2", 3);
    let request = Request::Range(Range::serializable(KeyRange::all()));
    let body = found(vec![kv("b", "2", 3, 3, 1)]);
    script.answer((5, 6), request, 3, body);
    let result = linearizable::check(&script.history, &Witness::new());
    expect("not a prefix", result.map(|_| ()), Some(Rule::SerializablePrefix));
}

#[test]
fn acknowledged_writes_are_there() {
    let mut script = Script::new();
    script.put((1, 2), "a", "1", 2).put((3, 4), "b", "2", 3).delete((5, 6), "a", 4);
    script.put((7, 8), "a", "3", 5).put((9, 10), "b", "4", 6);
    script.answer(
        (11, 12),
        Request::Range(Range::current(KeyRange::all())),
        6,
        found(vec![kv("a", "3", 5, 5, 1), kv("b", "4", 3, 6, 2)]),
    );
    let linearization = script.linearize();
    let good = FinalState {
        revision: 6,
        kvs: vec![kv("a", "3", 5, 5, 1), kv("b", "4", 3, 6, 2)],
        changes: linearization
            .made_from(3)
            .map(|(revision, made)| (revision, made.events.to_vec()))
            .collect(),
    };
    expect("good", durability::check(&script.history, &good), None);
    expect("good", durability::check_linearized(&linearization, &good), None);
    type Harm = fn(&mut FinalState);
    let cases: &[(&str, Harm)] = &[
        ("B05: back behind an acknowledgement", |state| state.revision = 5),
        ("a key is gone", |state| state.kvs.truncate(1)),
        ("an old version stands", |state| state.kvs[1] = kv("b", "2", 3, 3, 1)),
        ("another value stands", |state| state.kvs[1] = kv("b", "9", 3, 6, 2)),
        ("B06: what was deleted stands again", |state| state.kvs[0] = kv("a", "1", 2, 2, 1)),
        ("the log holds something else", |state| {
            let other = state.changes[&5].clone();
            state.changes.insert(6, other);
        }),
        ("the log lost a deletion", |state| state.changes.get_mut(&4).expect("there").clear()),
    ];
    for (name, harm) in cases {
        let mut state = good.clone();
        harm(&mut state);
        expect(name, durability::check(&script.history, &state), Some(Rule::Durable));
    }
    let mut state = good.clone();
    state.kvs[0] = kv("a", "3", 4, 5, 1);
    let result = durability::check_linearized(&linearization, &state);
    expect("a wrong creation", result, Some(Rule::Durable));
    let result = durability::check_linearized(&linearization, &FinalState { revision: 7, ..good });
    expect("unread", result, Some(Rule::Undecided));
    assert!(matches!(
        script.history.operations()[0].response().expect("ok").body,
        Body::Put { .. }
    ));
}
