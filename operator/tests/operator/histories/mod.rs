//! Random histories of the real operator in the simulated world.
//!
//! A seed draws what happens for ten minutes: pods, volumes and nodes are lost, wishes change, calls
//! of the API server and of members fail or happen unheard, reads are up to 50 revisions behind, the
//! operator is killed right behind a write. The world checks each second what must never be. Then it
//! is calm: everything has to come to rest, and be what a fresh cluster of the same wish is.
//!
//! `QUORATE_WORLD_SEEDS=from..to` runs other seeds than the usual ones.

mod trouble;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::model::random::Random;
use crate::scenarios::{NAME, is_settled, spec};
use crate::world::{Driver, ReplicaOptions, World, end_state};
use trouble::Trouble;

/// Histories by default.
const SEEDS: std::ops::Range<u64> = 0..8;

/// How long things go wrong.
const TROUBLED_SECONDS: usize = 600;

/// In how long a calm cluster is as wished: all of five members may have to be replaced.
const CALM_SECONDS: usize = 2000;

/// What some history has to reach.
const MARKS: [&str; 12] = [
    "begin",
    "add",
    "promote",
    "remove",
    "replace",
    "transfer",
    "killed",
    "lost volume",
    "wiped disk",
    "node down",
    "stale reads",
    "unheard call",
];

fn seeds() -> std::ops::Range<u64> {
    let asked = std::env::var("QUORATE_WORLD_SEEDS").ok().and_then(|text| {
        let (from, to) = text.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    asked.unwrap_or(SEEDS)
}

fn world() -> World {
    let mut world = World::new(7);
    world.operate(ReplicaOptions { driver: Driver::Turns, ..ReplicaOptions::default() });
    world
}

/// What there is of a cluster that never knew anything else.
async fn fresh(wish: &Value) -> Vec<String> {
    let mut world = world();
    world.apply(NAME, wish);
    rest(&mut world, wish, "a fresh cluster").await;
    end_state(&world, NAME)
}

async fn rest(world: &mut World, wish: &Value, what: &str) {
    let members = wish["replicas"].as_u64().and_then(|count| usize::try_from(count).ok());
    let members = members.expect("a number");
    let mut quiet = 0;
    for _ in 0..CALM_SECONDS {
        world.second().await;
        quiet = if is_settled(world, NAME, members) { quiet + 1 } else { 0 };
        if quiet > 40 {
            return;
        }
    }
    panic!("{what} does not come to rest: {}", world.describe());
}

#[test]
fn random_histories_keep_the_rules_and_end_as_if_nothing_had_happened() {
    let mut ends: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut marks: BTreeMap<&'static str, usize> = BTreeMap::new();
    for seed in seeds() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        println!("seed {seed}");
        let (wish, end) = runtime.block_on(history(seed, &mut marks));
        let key = wish.to_string();
        let expected = match ends.get(&key) {
            Some(end) => end.clone(),
            None => runtime.block_on(fresh(&wish)),
        };
        assert_eq!(end, expected, "seed {seed} ends otherwise than a fresh cluster");
        ends.insert(key, expected);
    }
    // What no history reaches is not tested.
    let is_usual = seeds() == SEEDS;
    for mark in MARKS.into_iter().filter(|_| is_usual) {
        assert!(marks.contains_key(mark), "no history has {mark}: {marks:?}");
    }
}

/// One history; what was wished for in the end, and what there is.
async fn history(seed: u64, marks: &mut BTreeMap<&'static str, usize>) -> (Value, Vec<String>) {
    let mut world = world();
    let mut trouble = Trouble::new(seed);
    let mut random = Random::new(seed);
    let mut wish = spec([1, 3, 3, 5][random.below(4)]);
    wish["storage"] = serde_json::json!({ "size": "1Gi" });
    world.apply(NAME, &wish);
    world.seconds(random.below(60)).await;
    for _ in 0..TROUBLED_SECONDS {
        trouble.happen(&mut world);
        world.second().await;
    }
    trouble.end(&mut world);
    let cluster = world.cluster(NAME).expect("the cluster");
    let wish = serde_json::to_value(&cluster.spec).expect("a wish");
    rest(&mut world, &wish, &format!("seed {seed}")).await;
    for (mark, count) in &world.machines.lock().marks {
        *marks.entry(mark).or_default() += count;
    }
    (wish, end_state(&world, NAME))
}
