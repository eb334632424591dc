//! What a cluster does, with the real operator in a simulated world: one file for each kind of thing
//! that happens. Their counterparts on a real Kubernetes are `e2e/kubernetes/scenarios/*`.

mod backups;
mod certificates;
mod changes;
mod creation;
mod ends;
mod kills;
mod losses;
mod many;
mod operators;
mod recovery;
mod rest;
mod scaling;
mod weather;

use serde_json::{Value, json};

use crate::api_server::of_kind;
use crate::world::{NAMESPACE, ReplicaOptions, World};

/// The cluster of most scenarios.
pub(crate) const NAME: &str = "demo";

/// How long a cluster of five may take to come to be.
pub(crate) const PATIENCE: usize = 400;

/// A world of so many nodes with one operator.
pub(crate) fn operated(nodes: usize) -> World {
    let mut world = World::new(nodes);
    world.operate(ReplicaOptions::default());
    world
}

/// A cluster of so many members that is there and at rest.
pub(crate) async fn with_cluster(nodes: usize, replicas: i32) -> World {
    let mut world = operated(nodes);
    world.apply(NAME, &spec(replicas));
    settled(&mut world, usize::try_from(replicas).expect("a few")).await;
    world
}

/// A cluster comes to be, grows, and loses a volume.
pub(crate) async fn grow_and_lose_a_volume(world: &mut World) {
    world.apply(NAME, &spec(1));
    settled(world, 1).await;
    world.scale(NAME, 3);
    settled(world, 3).await;
    lose_a_volume(world).await;
}

/// One of three members, a follower, loses its volume, and another takes its place. Its name.
pub(crate) async fn lose_a_volume(world: &mut World) -> String {
    let lost = world.followers(NAME)[0].clone();
    world.disturb();
    world.lose_volume_of(&lost);
    replaced(world, &lost).await;
    lost
}

/// One of three members is no longer one, another is, and all is at rest.
pub(crate) async fn replaced(world: &mut World, lost: &str) {
    let is_replaced = |world: &World| {
        is_settled(world, NAME, 3) && !world.voters(NAME).iter().any(|member| member == lost)
    };
    world.until(PATIENCE, &format!("{lost} is replaced"), is_replaced).await;
}

pub(crate) fn spec(replicas: i32) -> Value {
    json!({ "replicas": replicas, "healing": { "replaceAfterSeconds": 60 } })
}

/// The status speaks of what is asked for now, every member is there, and nothing is under way.
pub(crate) fn is_settled(world: &World, name: &str, members: usize) -> bool {
    let Some(cluster) = world.cluster(name) else { return false };
    let Some(status) = &cluster.status else { return false };
    let is = |kind: &str, want: &str| {
        let found = status.conditions.iter().find(|condition| condition.type_ == kind);
        found.is_some_and(|condition| condition.status == want)
    };
    let group = world.group(name);
    status.observed_generation == cluster.metadata.generation
        && is("Available", "True")
        && is("FullyReplicated", "True")
        && is("Progressing", "False")
        && is("Degraded", "False")
        && is("UpToDate", "True")
        && usize::try_from(status.ready_replicas) == Ok(members)
        && status.members.len() == members
        && group.is_some_and(|group| {
            group.members.len() == members && group.voters().count() == members
        })
        && world
            .server
            .list(&of_kind::STATEFUL_SET, NAMESPACE)
            .iter()
            .all(|set| set["metadata"]["deletionTimestamp"].is_null())
}

pub(crate) async fn settled(world: &mut World, members: usize) -> usize {
    let what = format!("{members} members, and at rest");
    world.until(PATIENCE, &what, |world| is_settled(world, NAME, members)).await
}

/// The names of a kind's objects.
pub(crate) fn names(world: &World, kind: &'static crate::api_server::Kind) -> Vec<String> {
    let objects = world.server.list(kind, NAMESPACE);
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    objects.iter().map(name).collect()
}

/// A pod's uid.
pub(crate) fn pod_uid(world: &World, member: &str) -> String {
    let pod = world.server.get(&of_kind::POD, NAMESPACE, &format!("{member}-0"));
    let uid = |pod: Value| pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    pod.map(uid).unwrap_or_default()
}
