//! A store whose jobs run on a disk, stopped and started again, goes on as one that never stopped.

use std::sync::Arc;

use proptest::prelude::*;
use quorate_disk::{Disk, Files, Ticket};
use quorate_store::checkpoint::{Identity, OpenOptions, open};
use quorate_store::jobs::{JobKind, JobOptions, Jobs, Step};
use quorate_store::log::LogOptions;
use quorate_store::restart::IndexLoader;
use quorate_store::store::{Store, StoreOptions};
use sim_disk::FaultyDisk;

use crate::determinism::entry;
use crate::generate;
use crate::model::Model;
use crate::model_test::is_refused_early;
use crate::ours::Ours;
use crate::request::Request;

/// Segments and tails of a few records, so that much happens.
fn log_options() -> LogOptions {
    LogOptions {
        segment_bytes: 2048,
        flush_bytes: 256,
        unflushed_bytes_max: 4096,
        resident_bytes: 0,
    }
}

fn options() -> StoreOptions {
    StoreOptions { log: log_options(), ..StoreOptions::default() }
}

/// The store that the disk has.
pub(crate) fn start(disk: &FaultyDisk) -> (Store, Jobs) {
    let files: Arc<dyn Files> = disk.files("");
    let mut loader = IndexLoader::default();
    let open_options = OpenOptions {
        identity: Identity { cluster_id: 1, member_id: 2 },
        log_start: 1,
        log: log_options(),
        jobs: JobOptions::default(),
    };
    let opened = open(files, open_options, &mut loader).unwrap();
    let store = Store::restart(options(), &opened.state, loader, opened.log).unwrap();
    (store, opened.jobs)
}

/// Run a job to its end; between its steps, `meanwhile` has the store.
pub(crate) fn run(
    disk: &FaultyDisk,
    store: &mut Store,
    jobs: &mut Jobs,
    kind: JobKind,
    meanwhile: &mut dyn FnMut(&mut Store),
) {
    let mut handle = disk.handle("");
    jobs.start(kind);
    let mut results = Vec::new();
    loop {
        match jobs.step(store, std::mem::take(&mut results)).unwrap() {
            Step::Again => {}
            Step::Done(_) => return,
            Step::Submit(operations) => {
                let count = operations.len();
                for operation in operations {
                    handle.submit(Ticket(0), operation);
                }
                disk.complete_all();
                let mut completions = Vec::new();
                handle.poll(&mut completions);
                assert_eq!(completions.len(), count);
                results = completions.into_iter().map(|completion| completion.result).collect();
            }
        }
        meanwhile(store);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn goes_on_as_one_that_never_stopped(
        requests in prop::collection::vec((generate::request(), 0_u8..12), 1..120),
    ) {
        let disk = FaultyDisk::new(7);
        let (mut store, mut jobs) = start(&disk);
        let (mut steady, mut model) = (Ours::new(), Model::new());
        let mut entries = Vec::new();
        for (request, action) in requests {
            let request = generate::place(request, model.revision());
            if is_refused_early(&request) {
                continue;
            }
            let _ = model.answer(&request);
            let index = steady.store.applied_index() + 1;
            if let Some(entry) = entry(index, &request) {
                steady.store.apply(&entry).unwrap();
                store.apply(&entry).unwrap();
                entries.push(entry);
            }
            let mut prune = |store: &mut Store| { let _ = store.prune_step(); };
            while store.mvcc().compaction().is_hash_due() {
                prune(&mut store);
            }
            match action {
                0 => run(&disk, &mut store, &mut jobs, JobKind::Flush, &mut prune),
                1 => run(&disk, &mut store, &mut jobs, JobKind::Checkpoint, &mut prune),
                2 => run(&disk, &mut store, &mut jobs, JobKind::Collection, &mut prune),
                3 => {
                    (store, jobs) = start(&disk);
                    // The log replays what the checkpoint does not have.
                    store.set_replayed_until(entries.len() as u64);
                    let applied = usize::try_from(store.applied_index()).unwrap();
                    for entry in &entries[applied..] {
                        store.apply(entry).unwrap();
                    }
                    model.restart();
                }
                4 => prune(&mut store),
                _ => {}
            }
            prop_assert_eq!(store.state_hash(), steady.store.state_hash());
            let mut restarted = Ours::of(store);
            for revision in model.compactions().into_iter().chain([0]) {
                let hash = Request::Hash(revision);
                prop_assert_eq!(restarted.answer(&hash), model.answer(&hash), "{}", revision);
            }
            if matches!(request, Request::Range(_)) {
                prop_assert_eq!(restarted.answer(&request), model.answer(&request));
            }
            store = restarted.store;
        }
    }
}

#[test]
fn a_checkpoint_is_of_one_index_while_entries_are_applied() {
    let disk = FaultyDisk::new(7);
    let (mut store, mut jobs) = start(&disk);
    let put = |index: u64, store: &mut Store| {
        let put = quorate_api::etcdserverpb::PutRequest {
            key: format!("k{:03}", index * 37 % 1000).into(),
            value: "v".into(),
            ..Default::default()
        };
        let entry = entry(index, &Request::Put(put)).unwrap();
        store.apply(&entry).unwrap();
    };
    for index in 1..=800 {
        put(index, &mut store);
    }
    let (hash, revision) = (store.state_hash(), store.revision());
    run(&disk, &mut store, &mut jobs, JobKind::Checkpoint, &mut |store| {
        put(store.applied_index() + 1, store);
    });
    assert!(store.applied_index() > 800);
    let (restarted, _) = start(&disk);
    assert_eq!(restarted.applied_index(), 800);
    assert_eq!((restarted.state_hash(), restarted.revision()), (hash, revision));
}
