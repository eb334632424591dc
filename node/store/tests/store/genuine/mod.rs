//! The same requests to our store and to genuine etcd 3.7.1, over its JSON gateway: equal replies,
//! equal errors, equal hashes of the history.
//!
//! `e2e/genuine-etcd` builds the program; `QUORATE_TEST_ETCD` may name another one. Without it
//! the test says that it was skipped.

mod json;
mod member;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use quorate_api::etcdserverpb::{CompactionRequest, PutRequest};

use self::member::Member;
use crate::generate;
use crate::ours::Ours;
use crate::request::{Reply, Request};
use crate::scripts::{self, Step};

/// Requests of one history: a few seconds' worth.
const REQUESTS: usize = 3000;

#[test]
fn says_what_genuine_etcd_says() {
    let Some(program) = member::program() else {
        eprintln!("SKIPPED: no genuine etcd; build it with e2e/genuine-etcd");
        return;
    };
    let mut genuine = Member::start(&program);
    let mut ours = Ours::new();
    let mut runner = TestRunner::deterministic();
    let mut hashes = 0;
    for _ in 0..REQUESTS {
        let request = generate::request().new_tree(&mut runner).unwrap().current();
        let request = generate::place(request, ours.store.revision());
        hashes += compare(&mut ours, &mut genuine, &request);
        if ours.store.revision() % 3 == 0 {
            ours.prune();
        }
    }
    assert!(hashes > REQUESTS / 30, "{hashes} hashes were compared");
}

#[test]
fn genuine_etcd_prints_what_the_scripts_say() {
    let Some(program) = member::program() else {
        eprintln!("SKIPPED: no genuine etcd; build it with e2e/genuine-etcd");
        return;
    };
    for path in scripts::paths() {
        let mut genuine = Member::start(&program);
        let mut ours = Ours::new();
        let script = std::fs::read_to_string(&path).unwrap();
        let printed = scripts::run(&script, &mut |step| {
            let mine = ours.step(step);
            match step {
                // Compactions leave hashes of their own behind: other tests compare these.
                Step::Ask(Request::Hash(_)) | Step::Prune => mine,
                Step::Ask(request) => Some(genuine.answer(request)),
            }
        });
        assert_eq!(printed, script, "{}", path.display());
    }
}

#[test]
fn hashes_as_genuine_etcd_when_nothing_is_left() {
    let Some(program) = member::program() else {
        eprintln!("SKIPPED: no genuine etcd; build it with e2e/genuine-etcd");
        return;
    };
    let mut genuine = Member::start(&program);
    let mut ours = Ours::new();
    let put = |key: &'static str| {
        Request::Put(PutRequest { key: key.into(), value: "v".into(), ..Default::default() })
    };
    let delete = |key: &'static str| {
        let delete =
            quorate_api::etcdserverpb::DeleteRangeRequest { key: key.into(), ..Default::default() };
        Request::DeleteRange(delete)
    };
    // At the end no key is left; one compaction is exactly at a deletion.
    let steps = [put("a"), put("b"), delete("a"), put("a"), delete("a"), delete("b"), put("c")];
    let mut hashes = 0;
    for (step, compacted) in steps.iter().zip([0, 0, 0, 4, 0, 6, 0]) {
        compare(&mut ours, &mut genuine, step);
        if compacted > 0 {
            let compaction = CompactionRequest { revision: compacted, physical: true };
            compare(&mut ours, &mut genuine, &Request::Compact(compaction));
        }
        for revision in 0..=ours.store.revision() {
            hashes += compare(&mut ours, &mut genuine, &Request::Hash(revision));
        }
    }
    assert!(hashes > 20, "{hashes} hashes were compared");
}

/// Compare one answer; 1 if it was a hash that can be compared.
fn compare(ours: &mut Ours, genuine: &mut Member, request: &Request) -> usize {
    let theirs = genuine.answer(request);
    let mine = ours.answer(request);
    // The last compactions leave their hashes behind, each over the history from the compaction
    // before it on; these are answered even when the revision is compacted.
    if let Ok(Reply::Hash { compact_revision, .. }) = &theirs
        && *compact_revision != ours.store.compact_revision()
    {
        return 0;
    }
    assert_eq!(mine, theirs, "revision {}: {request:?}", ours.store.revision());
    usize::from(matches!(mine, Ok(Reply::Hash { .. })))
}
