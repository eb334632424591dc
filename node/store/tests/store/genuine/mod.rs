//! The same requests to our store and to genuine etcd 3.7.1, over its JSON gateway: equal replies,
//! equal errors, equal hashes of the history.
//!
//! `e2e/genuine-etcd` builds the program; `QUORATE_TEST_ETCD` may name another one. Without it
//! the test says that it was skipped.

mod json;
mod member;

use std::path::Path;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use quorate_api::etcdserverpb::{CompactionRequest, PutRequest};
use quorate_store::jobs::JobKind;
use sim_disk::FaultyDisk;

use self::member::Member;
use crate::generate;
use crate::ours::Ours;
use crate::request::{Reply, Request};
use crate::restart;
use crate::scripts::{self, Step};

/// Requests of one history: a few seconds' worth.
const REQUESTS: usize = 3000;

/// Restarts of another.
const STARTS: usize = 6;

/// Requests before each of them.
const REQUESTS_OF_START: usize = 200;

#[test]
fn says_what_genuine_etcd_says() {
    let Some(program) = member::program() else {
        eprintln!("SKIPPED: no genuine etcd; build it with e2e/genuine-etcd");
        return;
    };
    let mut pair = Pair::new(&program, Ours::new());
    pair.run(&mut TestRunner::deterministic(), REQUESTS);
    assert!(pair.compacted.len() > REQUESTS / 60, "{} compactions", pair.compacted.len());
    assert!(pair.hashes > REQUESTS / 5, "{} hashes were compared", pair.hashes);
}

#[test]
fn says_what_genuine_etcd_says_after_restarts() {
    let Some(program) = member::program() else {
        eprintln!("SKIPPED: no genuine etcd; build it with e2e/genuine-etcd");
        return;
    };
    let disk = FaultyDisk::new(7);
    let (store, mut jobs) = restart::start(&disk);
    let mut pair = Pair::new(&program, Ours::of(store));
    let mut runner = TestRunner::deterministic();
    for start in 0..STARTS {
        pair.run(&mut runner, REQUESTS_OF_START);
        if start % 2 == 0 {
            let store = &mut pair.ours.store;
            restart::run(&disk, store, &mut jobs, JobKind::Checkpoint, &mut |_| {});
            pair.run(&mut runner, start);
        }
        pair.genuine.restart();
        let store;
        (store, jobs) = restart::start(&disk);
        pair.ours.replay(store);
        pair.compare_compactions();
        for revision in 0..=pair.ours.store.revision() + 1 {
            pair.compare(&Request::Hash(revision));
        }
    }
    let remembered = pair.ours.store.mvcc().compaction().remembered();
    assert_eq!(remembered.iter().count(), 0, "a restart forgets them");
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
                Step::Prune => mine,
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
    let mut pair = Pair::new(&program, Ours::new());
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
    for (step, compacted) in steps.iter().zip([0, 0, 0, 4, 0, 6, 0]) {
        pair.compare(step);
        if compacted > 0 {
            let compaction = CompactionRequest { revision: compacted, physical: true };
            pair.compare(&Request::Compact(compaction));
        }
        for revision in 0..=pair.ours.store.revision() {
            pair.compare(&Request::Hash(revision));
        }
    }
    assert!(pair.hashes > 20, "{} hashes were compared", pair.hashes);
}

/// One history in both.
struct Pair {
    ours: Ours,
    genuine: Member,
    /// The revisions that were compacted to.
    compacted: Vec<i64>,
    /// Hashes that were compared.
    hashes: usize,
}

impl Pair {
    fn new(program: &Path, ours: Ours) -> Self {
        Self { ours, genuine: Member::start(program), compacted: Vec::new(), hashes: 0 }
    }

    fn compare(&mut self, request: &Request) {
        let theirs = self.genuine.answer(request);
        let mine = self.ours.answer(request);
        assert_eq!(mine, theirs, "revision {}: {request:?}", self.ours.store.revision());
        self.hashes += usize::from(matches!(mine, Ok(Reply::Hash { .. })));
        if let (Request::Compact(compaction), Ok(_)) = (request, mine) {
            self.compacted.push(compaction.revision);
            self.compare_compactions();
        }
    }

    /// Compare hashes where the last compactions were, more than are remembered.
    fn compare_compactions(&mut self) {
        for at in self.compacted.len().saturating_sub(12)..self.compacted.len() {
            self.compare(&Request::Hash(self.compacted[at]));
        }
    }

    /// A random history, from this one on.
    fn run(&mut self, runner: &mut TestRunner, requests: usize) {
        for _ in 0..requests {
            let request = generate::request().new_tree(runner).unwrap().current();
            self.compare(&generate::place(request, self.ours.store.revision()));
            if self.ours.store.revision() % 3 == 0 {
                self.ours.prune();
            }
        }
    }
}
