//! Members that differ, or grow.

use crate::script::expect;
use judge::check::Rule;
use judge::check::bounded::Bounded;
use judge::check::state_hash::{AppliedState, CompactionHash, Compared, StateHash};
use judge::history::{MemberId, Time};

fn state(applied: u64, state_hash: u64, revision: i64) -> AppliedState {
    AppliedState { applied, state_hash, revision, compacted: -1 }
}

#[test]
fn states_that_differ_are_named() {
    let one = MemberId(1);
    let two = MemberId(2);
    type Report = (MemberId, AppliedState);
    let cases: &[(&str, &[Report], Option<Rule>)] = &[
        ("equal", &[(one, state(5, 7, 3)), (two, state(5, 7, 3)), (one, state(6, 8, 3))], None),
        (
            "B13: keys deleted in another order",
            &[(one, state(5, 7, 3)), (two, state(5, 9, 3))],
            Some(Rule::StateHash),
        ),
        (
            "what is compacted is forgotten in a restart",
            &[(one, AppliedState { compacted: 2, ..state(5, 7, 3) }), (one, state(5, 7, 3))],
            Some(Rule::StateHash),
        ),
        (
            "B01: entries skipped in a restart",
            &[(one, state(5, 7, 3)), (one, state(6, 8, 4)), (one, state(6, 7, 3))],
            Some(Rule::RevisionMonotone),
        ),
        (
            "B03: another revision after a crash",
            &[(one, state(5, 7, 3)), (one, state(5, 7, 4))],
            Some(Rule::RevisionMonotone),
        ),
        (
            "B04: the revision goes back",
            &[(one, state(5, 7, 3)), (one, state(6, 8, 2))],
            Some(Rule::RevisionMonotone),
        ),
        (
            "B14: applied twice, seen from below",
            &[(one, state(6, 8, 3)), (two, state(5, 7, 4))],
            Some(Rule::RevisionMonotone),
        ),
    ];
    for (name, reports, wanted) in cases {
        let mut check = StateHash::new();
        let result =
            reports.iter().try_for_each(|(member, state)| check.observe(Time(1), *member, *state));
        expect(name, result, *wanted);
    }
}

#[test]
fn key_hashes_agree_at_a_revision() {
    let mut check = StateHash::new();
    let mut report = |member, revision, compacted, hash| {
        check.observe_hash_kv(Time(1), MemberId(member), revision, compacted, hash)
    };
    expect("first", report(1, 5, 0, 7), None);
    expect("same", report(2, 5, 0, 7), None);
    expect("other compaction", report(2, 5, 3, 8), None);
    expect("B16: differs", report(3, 5, 3, 9), Some(Rule::HashKv));
}

#[test]
fn what_compactions_found_agrees() {
    let mut check = StateHash::new();
    let mut report = |member, revision, compact_revision, hash| {
        let hash = CompactionHash { revision, compact_revision, hash };
        check.observe_compaction(Time(1), MemberId(member), hash)
    };
    assert_eq!(report(1, 5, -1, 7).unwrap(), Compared::WithNone);
    assert_eq!(report(1, 5, -1, 7).unwrap(), Compared::WithNone);
    assert_eq!(report(2, 5, -1, 7).unwrap(), Compared::WithOther);
    assert_eq!(report(2, 8, 5, 8).unwrap(), Compared::WithNone);
    expect("differs", report(1, 8, 5, 9).map(drop), Some(Rule::HashKv));
    expect("began elsewhere", report(1, 8, 6, 8).map(drop), Some(Rule::HashKv));
}

#[test]
fn gauges_have_limits() {
    let mut check = Bounded::new([("inbox", 10), ("watchers", 5)]);
    let mut observe = |gauge, value| check.observe(Time(1), MemberId(1), gauge, value);
    expect("at its limit", observe("inbox", 10), None);
    expect("over it", observe("inbox", 11), Some(Rule::Bounded));
    expect("without one", observe("outbox", 1), Some(Rule::Bounded));
    expect("never looked at", check.finish(), Some(Rule::Bounded));
    check.observe(Time(1), MemberId(1), "watchers", 0).expect("under its limit");
    expect("all looked at", check.finish(), None);
    assert_eq!(check.highest().get("inbox"), Some(&11));
}
