//! Any interleaving of apply and job steps, cut at any moment.

use proptest::prelude::*;
use sim_disk::CrashPolicy;

use super::model::Entry;
use super::world::{SMALL, World, busy};
use crate::jobs::JobKind;

#[derive(Clone, Debug)]
enum Action {
    Apply(Entry),
    Steps(u8),
    /// Carry out some of the operations that are under way.
    Complete(u8),
    Start(JobKind),
    Abort,
    Crash(CrashPolicy),
}

fn entry() -> impl Strategy<Value = Entry> {
    let length = prop_oneof![1 => Just(0_u16), 6 => 1..300_u16, 1 => 2000..5000_u16];
    prop_oneof![
        6 => prop::collection::vec((0..40_u8, length), 1..4).prop_map(Entry::Change),
        1 => (0..20_u8).prop_map(|below| Entry::Compact { below }),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let kind = prop_oneof![
        Just(JobKind::Flush),
        Just(JobKind::Checkpoint),
        Just(JobKind::Collection),
        Just(JobKind::Cleanup),
        Just(JobKind::Scrub),
    ];
    prop_oneof![
        20 => entry().prop_map(Action::Apply),
        20 => (1..12_u8).prop_map(Action::Steps),
        3 => (0..3_u8).prop_map(Action::Complete),
        2 => kind.prop_map(Action::Start),
        1 => Just(Action::Abort),
        2 => prop::sample::select(&CrashPolicy::EACH[..]).prop_map(Action::Crash),
    ]
}

fn act(mut world: World, action: &Action) -> World {
    match action {
        Action::Apply(entry) => world.apply(entry.clone()),
        Action::Steps(count) => {
            for _ in 0..*count {
                world.step().unwrap();
            }
        }
        Action::Complete(count) => world.complete(usize::from(*count)),
        Action::Start(kind) => {
            if !world.jobs.is_running() {
                world.jobs.start(*kind);
            }
        }
        Action::Abort => world.abort(),
        Action::Crash(policy) => return world.crash(*policy),
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_crash_at_any_moment_leaves_a_checkpoint(
        seed in any::<u64>(),
        actions in prop::collection::vec(action(), 1..150),
    ) {
        let mut world = World::new(seed, SMALL);
        for action in &actions {
            world = act(world, action);
            world.store.check().unwrap();
        }
        world.settle().unwrap();
        world.store.check().unwrap();
        world.crash(CrashPolicy::LoseUnsynced);
    }
}

/// The same script, cut once at every operation, in every way.
#[test]
fn every_operation_can_be_the_last() {
    for policy in CrashPolicy::EACH {
        for cut in 0.. {
            let mut world = World::new(cut, SMALL);
            let mut left = cut;
            let mut is_cut = false;
            'script: for entry in busy(90) {
                world.apply(entry);
                while world.jobs.is_running() || world.jobs.due(&world.store).is_some() {
                    world.step().unwrap();
                    let under_way = world.under_way();
                    if under_way as u64 > left {
                        world.complete(left as usize);
                        is_cut = true;
                        break 'script;
                    }
                    left -= under_way as u64;
                }
            }
            if !is_cut {
                assert!(cut > 50, "the script has {cut} operations");
                break;
            }
            let mut world = world.crash(policy);
            world.settle().unwrap();
            world.store.check().unwrap();
        }
    }
}

/// It may have its name already, for good, when it is given up.
#[test]
fn what_a_manifest_names_goes_after_the_manifest() {
    let has_manifest = |world: &World| world.files().iter().any(|name| name.ends_with(".manifest"));
    for (seed, policy) in (0..200).zip(CrashPolicy::EACH.into_iter().cycle()) {
        let mut world = World::new(seed, SMALL);
        busy(10).into_iter().for_each(|entry| world.apply(entry));
        world.jobs.start(JobKind::Checkpoint);
        while !has_manifest(&world) {
            world.step().unwrap();
            world.complete(world.under_way());
        }
        world.abort();
        world.jobs.start(JobKind::Cleanup);
        for _ in 0..=seed % 3 {
            world.step().unwrap();
        }
        world.complete(world.under_way());
        world.crash(policy);
    }
}
