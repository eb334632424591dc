//! Leases that die too early, too late, or not for good.

use crate::script::{Script, expect, session};
use judge::check::Rule;
use judge::check::lease::{Terms, check};
use judge::history::{Body, KeyRange, Outcome, Put, Range, Refusal, Request, Time};

const ID: i64 = 7;

fn granted() -> Script {
    let mut script = Script::new();
    let body = Body::LeaseGrant { id: ID, ttl: 10 };
    script.answer((0, 100), Request::LeaseGrant { id: ID, ttl: 10 }, 1, body);
    let put = Request::Put(Put { lease: ID, ..Put::new("a", "1") });
    script.answer((200, 300), put, 2, Body::Put { prev_kv: None });
    script
}

fn renew(script: &mut Script, at: u64, ttl: i64) {
    let body = Body::LeaseKeepAlive { id: ID, ttl };
    script.answer((at, at + 100), Request::LeaseKeepAlive { id: ID }, 2, body);
}

fn left(script: &mut Script, at: u64, ttl: i64) {
    let granted_ttl = if ttl < 0 { 0 } else { 10 };
    let body = Body::LeaseTimeToLive { id: ID, ttl, granted_ttl, keys: vec![] };
    let request = Request::LeaseTimeToLive { id: ID, keys: false };
    script.answer((at, at + 100), request, 2, body);
}

/// A read after the lease took its key.
fn empty(script: &mut Script, at: u64) {
    let request = Request::Range(Range::current(KeyRange::all()));
    script.answer((at, at + 100), request, 3, crate::script::found(vec![]));
}

fn revoke(script: &mut Script, at: u64) {
    script.answer((at, at + 100), Request::LeaseRevoke { id: ID }, 3, Body::LeaseRevoke);
}

fn terms() -> Terms {
    Terms {
        late_bound: Time::from_secs(3),
        stable: vec![(Time(0), Time::from_secs(1000))],
        ..Terms::default()
    }
}

#[test]
fn lives_are_judged() {
    type Telling = fn(&mut Script);
    let cases: &[(&str, Telling, Option<Rule>)] = &[
        (
            "in its time",
            |s| {
                renew(s, 5000, 10);
                left(s, 8000, 7);
                empty(s, 16_000);
                left(s, 17_000, -1);
            },
            None,
        ),
        (
            "B39: an old leader takes it early",
            |s| {
                renew(s, 5000, 10);
                empty(s, 11_000);
            },
            Some(Rule::LeaseEarly),
        ),
        ("early, never renewed", |s| empty(s, 9000), Some(Rule::LeaseEarly)),
        ("not found early", |s| left(s, 5000, -1), Some(Rule::LeaseEarly)),
        ("not renewed early", |s| renew(s, 5000, 0), Some(Rule::LeaseEarly)),
        (
            "not attached early",
            |s| {
                let put = Request::Put(Put { lease: ID, ..Put::new("b", "1") });
                s.outcome((5000, 5100), session(1), put, Outcome::Refused(Refusal::LeaseNotFound));
            },
            Some(Rule::LeaseEarly),
        ),
        ("B38: over, and still there", |s| left(s, 14_000, 0), Some(Rule::LeaseLate)),
        (
            "B40: renewed after its end",
            |s| {
                revoke(s, 5000);
                renew(s, 6000, 10);
            },
            Some(Rule::LeaseGone),
        ),
        (
            "B40: renewed beside its end",
            |s| {
                renew(s, 5000, 10);
                revoke(s, 5000);
            },
            None,
        ),
        (
            "revoked twice",
            |s| {
                revoke(s, 5000);
                revoke(s, 6000);
            },
            Some(Rule::LeaseGone),
        ),
        (
            "B43: gone without its key",
            |s| {
                renew(s, 12_000, 0);
                let body = crate::script::found(vec![judge::history::KeyValue {
                    lease: ID,
                    ..crate::script::kv("a", "1", 2, 2, 1)
                }]);
                s.answer(
                    (13_000, 13_100),
                    Request::Range(Range::current(KeyRange::all())),
                    2,
                    body,
                );
            },
            Some(Rule::LeaseGone),
        ),
        ("B41: time added without renewal", |s| left(s, 6000, 9), Some(Rule::LeaseTtl)),
        (
            "time taken away",
            |s| {
                renew(s, 5000, 10);
                left(s, 6000, 3);
            },
            Some(Rule::LeaseTtl),
        ),
        ("another time to live", |s| renew(s, 5000, 8), Some(Rule::LeaseTtl)),
        (
            "never granted",
            |s| {
                let body = Body::LeaseKeepAlive { id: 99, ttl: 5 };
                s.answer((5000, 5100), Request::LeaseKeepAlive { id: 99 }, 2, body);
            },
            Some(Rule::LeaseGone),
        ),
        (
            "B42: renewed before it was granted",
            |s| {
                let body = Body::LeaseKeepAlive { id: 8, ttl: 5 };
                s.answer((400, 500), Request::LeaseKeepAlive { id: 8 }, 2, body);
                let body = Body::LeaseGrant { id: 8, ttl: 5 };
                s.answer((600, 700), Request::LeaseGrant { id: 8, ttl: 5 }, 2, body);
            },
            Some(Rule::LeaseGone),
        ),
        (
            "less than wanted",
            |s| {
                let body = Body::LeaseGrant { id: 8, ttl: 5 };
                s.answer((600, 700), Request::LeaseGrant { id: 8, ttl: 6 }, 2, body);
            },
            Some(Rule::LeaseTtl),
        ),
        (
            "an unknown renewal counts for it",
            |s| {
                let request = Request::LeaseKeepAlive { id: ID };
                s.outcome((5000, 6000), session(1), request, Outcome::Unknown);
                left(s, 14_000, 1);
            },
            None,
        ),
    ];
    for (name, tell, wanted) in cases {
        let mut script = granted();
        tell(&mut script);
        let linearization = script.linearize();
        expect(name, check(&script.history, &linearization, &terms()), *wanted);
    }
}

#[test]
fn keys_go_with_their_lease() {
    let mut script = granted();
    revoke(&mut script, 5000);
    script.get((6000, 6100), "a", 3, vec![]);
    script.linearize();
    let mut script = granted();
    script.answer((5000, 5100), Request::LeaseRevoke { id: ID }, 2, Body::LeaseRevoke);
    let result = judge::check::linearizable::check(&script.history, &Default::default());
    expect("a key stays", result.map(|_| ()), Some(Rule::LeaseGone));
    let mut script = granted();
    revoke(&mut script, 5000);
    let put = Request::Put(Put { lease: ID, ..Put::new("b", "1") });
    script.answer((6000, 6100), put, 4, Body::Put { prev_kv: None });
    let result = judge::check::linearizable::check(&script.history, &Default::default());
    expect("attached after its end", result.map(|_| ()), Some(Rule::LeaseGone));
}

#[test]
fn changes_of_leader_add_no_more_than_they_may() {
    let spans = vec![
        (Time(0), Time::from_secs(9)),
        (Time::from_secs(10), Time::from_secs(18)),
        (Time::from_secs(19), Time::from_secs(1000)),
    ];
    let mut script = granted();
    left(&mut script, 20_000, 8);
    let linearization = script.linearize();
    let anew = Terms { stable: spans, ..terms() };
    expect("all begin anew", check(&script.history, &linearization, &anew), None);
    let mut graced = granted();
    left(&mut graced, 20_000, 10);
    let result = check(&graced.history, &graced.linearize(), &anew);
    expect("more than was granted", result, Some(Rule::LeaseTtl));
    let grace = Terms { leader_grace: Time::from_secs(1), ..anew.clone() };
    expect("a grace", check(&graced.history, &graced.linearize(), &grace), None);
    let interval = Some(Time::from_secs(1));
    let checkpointed = Terms { checkpoint_interval: interval, ..anew.clone() };
    let result = check(&script.history, &linearization, &checkpointed);
    expect("B41: the checkpoint is lost", result, Some(Rule::LeaseTtl));
    let ending = Some((Time::from_secs(40), vec![ID]));
    let over = Terms { ending, ..anew.clone() };
    let result = check(&script.history, &linearization, &over);
    expect("B38: there at the end", result, Some(Rule::LeaseLate));
    let unstable = Terms {
        stable: vec![(Time(0), Time::from_secs(9))],
        ending: Some((Time::from_secs(40), vec![ID])),
        ..terms()
    };
    expect("nobody counts", check(&script.history, &linearization, &unstable), None);
    let stranger = Terms { ending: Some((Time::from_secs(21), vec![99])), ..anew };
    let result = check(&script.history, &linearization, &stranger);
    expect("B06: a lease from nowhere", result, Some(Rule::LeaseGone));
}

/// Leases end also while their end is looked at.
#[test]
fn a_lease_that_is_there_may_go_afterwards() {
    for (seconds, wanted) in [(4, None), (6, Some(Rule::LeaseGone))] {
        let mut script = granted();
        revoke(&mut script, 5000);
        let ending = Some((Time::from_secs(seconds), vec![ID]));
        let terms = Terms { ending, ..terms() };
        let found = check(&script.history, &script.linearize(), &terms);
        expect("there at the end", found, wanted);
    }
}

/// The leader counts anew at 8 s, and nobody knows whether the renewal of that time came.
#[test]
fn a_renewal_that_may_not_have_come_leaves_the_grace_of_a_new_leader() {
    let terms = Terms {
        stable: vec![(Time(0), Time::from_secs(5)), (Time::from_secs(8), Time::from_secs(1000))],
        leader_grace: Time::from_secs(2),
        delivery_bound: Time::from_secs(20),
        ..terms()
    };
    for (seconds, wanted) in [(11, None), (13, Some(Rule::LeaseTtl))] {
        let mut script = granted();
        let request = Request::LeaseKeepAlive { id: ID };
        script.outcome((7900, 8050), session(1), request, Outcome::Unknown);
        left(&mut script, 8000, seconds);
        let found = check(&script.history, &script.linearize(), &terms);
        expect("after a new leader", found, wanted);
    }
}
