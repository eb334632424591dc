//! Pods, volumes, nodes and majorities are lost.

use serde_json::json;

use super::{
    NAME, PATIENCE, is_settled, lose_a_volume, names, pod_uid, replaced, settled, spec,
    with_cluster,
};
use crate::api_server::{Part, of_kind};
use crate::world::{NAMESPACE, ReplicaOptions, World};

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_deleted_comes_back_as_the_same_member() {
    let mut world = with_cluster(5, 3).await;
    let (members, numbers) = (world.voters(NAME), world.status(NAME).next_member);
    for member in &members {
        let uid = pod_uid(&world, member);
        world.disturb();
        world.delete_pod_of(member);
        let is_back = |world: &World| {
            is_settled(world, NAME, 3)
                && ![String::new(), uid.clone()].contains(&pod_uid(world, member))
        };
        world.until(60, "the pod is back", is_back).await;
    }
    assert_eq!(world.voters(NAME), members);
    assert_eq!(world.status(NAME).next_member, numbers);
}

#[tokio::test(start_paused = true)]
async fn a_lost_volume_is_replaced_by_another_member_without_help() {
    let mut world = with_cluster(5, 3).await;
    let before = world.voters(NAME);
    lose_a_volume(&mut world).await;
    assert_eq!(before.iter().filter(|old| world.voters(NAME).contains(old)).count(), 2);
    world.seconds(30).await;
    assert_eq!(names(&world, &of_kind::CLAIM).len(), 3);
    let pause = world.take_longest_pause(NAME);
    assert!(pause <= 3, "{pause} s without a write");
}

#[tokio::test(start_paused = true)]
async fn a_lost_node_is_replaced_elsewhere_after_its_time() {
    let mut world = with_cluster(5, 3).await;
    let lost = world.followers(NAME)[0].clone();
    let node = world.node_of(&lost);
    world.disturb();
    world.set_up(&node, false);
    world.seconds(55).await;
    assert!(world.voters(NAME).contains(&lost), "it has 60 s to come back");
    let is_replaced =
        |world: &World| world.voters(NAME).len() == 3 && !world.voters(NAME).contains(&lost);
    world.until(PATIENCE, "it is replaced", is_replaced).await;
    // It comes back, and is nobody.
    world.set_up(&node, true);
    settled(&mut world, 3).await;
    world.seconds(60).await;
    assert!(!names(&world, &of_kind::STATEFUL_SET).contains(&lost));
    assert!(!world.voters(NAME).contains(&lost));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_in_time_changes_nothing() {
    let mut world = with_cluster(5, 3).await;
    let (before, lost) = (world.voters(NAME), world.followers(NAME)[0].clone());
    let node = world.node_of(&lost);
    world.disturb();
    world.set_up(&node, false);
    world.seconds(40).await;
    assert_eq!(world.condition(NAME, "Degraded").0, "True");
    assert_eq!(world.condition(NAME, "Available").0, "True");
    world.set_up(&node, true);
    settled(&mut world, 3).await;
    assert_eq!(world.voters(NAME), before);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_gone_for_good_is_replaced_with_its_disks() {
    let mut world = with_cluster(4, 3).await;
    let lost = world.leader(NAME).expect("a leader");
    world.disturb();
    world.lose_node(&world.node_of(&lost));
    replaced(&mut world, &lost).await;
}

#[tokio::test(start_paused = true)]
async fn who_may_not_read_nodes_gives_up_a_pod_that_does_not_end() {
    let mut world = World::new(5);
    world.operate(ReplicaOptions {
        namespace: Some(NAMESPACE.to_owned()),
        rights: Some(super::operators::chart_rights(Some(NAMESPACE))),
        ..ReplicaOptions::default()
    });
    world.apply(NAME, &spec(3));
    settled(&mut world, 3).await;
    let lost = world.followers(NAME)[0].clone();
    world.disturb();
    world.set_up(&world.node_of(&lost), false);
    let is_replaced =
        |world: &World| world.voters(NAME).len() == 3 && !world.voters(NAME).contains(&lost);
    world.until(PATIENCE, "it is replaced", is_replaced).await;
    let is_gone = |world: &World| {
        [&of_kind::STATEFUL_SET, &of_kind::POD, &of_kind::CLAIM]
            .iter()
            .all(|kind| names(world, kind).iter().all(|name| !name.contains(&lost)))
    };
    world.until(200, "nothing of it is left", is_gone).await;
    settled(&mut world, 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_no_longer_ready_has_its_clusters_looked_at() {
    let mut world = with_cluster(5, 3).await;
    world.seconds(60).await;
    let node = world.node_of(&world.voters(NAME)[0]);
    let looks = |world: &World| {
        let calls = world.calls().iter();
        calls.filter(|call| call.verb == "list" && call.resource == "statefulsets").count()
    };
    // Right behind a look at a cluster at rest: the next one is half a minute away.
    let before = looks(&world);
    world.until(60, "a look", |world| looks(world) > before).await;
    let before = looks(&world);
    world.seconds(3).await;
    assert_eq!(looks(&world), before);
    world
        .server
        .change(&of_kind::NODE, ("", &node), Part::Status, |node| {
            node["status"]["conditions"][0]["status"] = json!("Unknown");
        })
        .expect("told");
    world.second().await;
    assert!(looks(&world) > before);
}

#[tokio::test(start_paused = true)]
async fn a_drain_is_borne_node_by_node() {
    let mut world = with_cluster(4, 3).await;
    for node in ["node-0", "node-1", "node-2", "node-3"] {
        world.cordon(node, true);
        let members = world.voters(NAME);
        let there: Vec<String> =
            members.into_iter().filter(|member| world.node_of(member) == node).collect();
        for member in there {
            let pod = format!("{member}-0");
            let mut refused = 0;
            while let Err(why) = world.evict(&pod) {
                refused += 1;
                assert!(refused < 120, "{why}\n{}", world.describe());
                world.second().await;
            }
            world.disturb();
            // Its volume is on this node: it waits for it, or is replaced.
            world.seconds(5).await;
        }
        world.cordon(node, false);
        settled(&mut world, 3).await;
    }
    let pause = world.take_longest_pause(NAME);
    assert!(pause <= 3, "{pause} s without a write");
}

#[tokio::test(start_paused = true)]
async fn two_evictions_at_once_are_one_too_many() {
    let mut world = with_cluster(4, 3).await;
    let members = world.voters(NAME);
    world.disturb();
    world.evict(&format!("{}-0", members[0])).expect("there is room for one");
    world.second().await;
    world.evict(&format!("{}-0", members[1])).expect_err("and for no other");
    settled(&mut world, 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_majority_is_said_and_nothing_is_destroyed() {
    let mut world = with_cluster(5, 3).await;
    let before = world.voters(NAME);
    let nodes: Vec<String> =
        world.followers(NAME).iter().map(|member| world.node_of(member)).collect();
    world.disturb();
    nodes.iter().for_each(|node| world.set_up(node, false));
    world.seconds(30).await;
    let (status, reason) = world.condition(NAME, "Available");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "QuorumLost"));
    let claims = names(&world, &of_kind::CLAIM);
    world.seconds(900).await;
    assert_eq!(names(&world, &of_kind::CLAIM), claims);
    assert_eq!(names(&world, &of_kind::STATEFUL_SET).len(), 3);
    assert_eq!(world.voters(NAME), before);
    nodes.iter().for_each(|node| world.set_up(node, true));
    settled(&mut world, 3).await;
    assert_eq!(world.voters(NAME), before);
}

/// Whatever took the members away gives them back one after the other.
#[tokio::test(start_paused = true)]
async fn who_comes_back_behind_the_majority_has_its_time() {
    let mut world = with_cluster(5, 3).await;
    world.wish(NAME, |spec| spec["healing"] = json!({ "replaceAfterSeconds": 60 }));
    settled(&mut world, 3).await;
    let before = world.voters(NAME);
    let claims = names(&world, &of_kind::CLAIM);
    let nodes: Vec<String> =
        world.followers(NAME).iter().map(|member| world.node_of(member)).collect();
    world.disturb();
    nodes.iter().for_each(|node| world.set_up(node, false));
    world.seconds(300).await;
    assert_eq!(world.condition(NAME, "Available").1, "QuorumLost");
    for node in nodes {
        world.set_up(&node, true);
        world.seconds(40).await;
        assert_eq!(world.condition(NAME, "Available").0, "True", "{}", world.describe());
    }
    settled(&mut world, 3).await;
    assert_eq!(world.voters(NAME), before);
    assert_eq!(names(&world, &of_kind::CLAIM), claims);
    // Who does not come back then is replaced as ever.
    let lost = world.followers(NAME)[0].clone();
    let node = world.node_of(&lost);
    world.disturb();
    world.set_up(&node, false);
    replaced(&mut world, &lost).await;
}

#[tokio::test(start_paused = true)]
async fn without_healing_nobody_is_replaced() {
    let mut world = with_cluster(5, 3).await;
    world.wish(NAME, |spec| spec["healing"] = json!({ "enabled": false }));
    let lost = world.followers(NAME)[0].clone();
    world.disturb();
    world.lose_volume_of(&lost);
    world.seconds(400).await;
    assert!(world.voters(NAME).contains(&lost));
    world.wish(NAME, |spec| spec["healing"] = json!({ "replaceAfterSeconds": 60 }));
    replaced(&mut world, &lost).await;
}

#[tokio::test(start_paused = true)]
async fn the_seeds_volume_is_lost_before_anybody_else_is_there() {
    let mut world = super::operated(3);
    world.apply(NAME, &spec(3));
    let begins = |world: &World| world.group(NAME).is_some_and(|group| group.leader.is_some());
    world.until(60, "a first leader", begins).await;
    world.disturb();
    world.wipe("demo-0");
    world.delete_pod_of("demo-0");
    // Whatever was latched by then: nothing begins twice, which the world checks.
    world.seconds(120).await;
}
