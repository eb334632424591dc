//! Many clusters on one operator.

use std::collections::BTreeMap;

use super::{operated, spec};
use crate::api_server::of_kind;
use crate::world::{NAMESPACE, World};

const CLUSTERS: usize = 20;

#[tokio::test(start_paused = true)]
async fn twenty_clusters_come_to_be_at_once_and_cost_little_when_at_rest() {
    let mut world = operated(9);
    let names: Vec<String> = (0..CLUSTERS).map(|number| format!("c{number}")).collect();
    names.iter().for_each(|name| world.apply(name, &spec(3)));
    let all = |world: &World| names.iter().all(|name| super::is_settled(world, name, 3));
    world.until(1500, "twenty clusters", all).await;
    assert_eq!(world.server.list(&of_kind::STATEFUL_SET, NAMESPACE).len(), 3 * CLUSTERS);
    world.seconds(40).await;
    let before = world.calls().len();
    world.seconds(60).await;
    let mut calls: BTreeMap<String, usize> = BTreeMap::new();
    for call in &world.calls()[before..] {
        *calls.entry(format!("{} {}", call.verb, call.resource)).or_default() += 1;
        assert!(!call.is_write(), "{call:?}");
    }
    println!("{CLUSTERS} clusters at rest, 60 s: {calls:#?}");
}
