//! A run follows from its seed and from nothing else.

use sim::world::{self, Detail};

/// Seeds of runs that differ in size and in what goes wrong.
const SEEDS: [u64; 4] = [1, 7, 12, 40];

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in SEEDS {
        let (one, other) = (world::run(seed, Detail::Quiet), world::run(seed, Detail::Quiet));
        assert!(one.steps > 1_000, "seed {seed}: a run of {} steps shows nothing", one.steps);
        assert_eq!(one.trace_hash, other.trace_hash, "seed {seed}");
        assert_eq!(
            (one.steps, one.time, one.operations, one.faults),
            (other.steps, other.time, other.operations, other.faults),
            "seed {seed}"
        );
    }
}

#[test]
fn other_seeds_are_other_runs() {
    let mut hashes: Vec<u64> =
        SEEDS.iter().map(|seed| world::run(*seed, Detail::Quiet).trace_hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), SEEDS.len());
}
