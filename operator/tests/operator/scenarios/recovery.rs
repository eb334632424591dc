//! A majority is lost for ever.

use quorate_operator_api::ClusterStatus;

use super::{NAME, PATIENCE, is_settled, names, settled, with_cluster};
use crate::api_server::of_kind;
use crate::world::World;

const ASKED: &str = "quorate.io/recover-quorum";

/// A cluster of five of which three have lost their volumes. One of the two that are left was away
/// for the last writes.
async fn without_majority() -> World {
    let mut world = with_cluster(7, 5).await;
    let behind = world.followers(NAME)[0].clone();
    let node = world.node_of(&behind);
    world.disturb();
    world.set_up(&node, false);
    world.seconds(20).await;
    world.disturb();
    for lost in world.followers(NAME).iter().skip(1) {
        world.lose_volume_of(lost);
    }
    world.set_up(&node, true);
    world.seconds(60).await;
    assert_eq!(world.condition(NAME, "Available").1, "QuorumLost", "{}", world.describe());
    world
}

/// The last entry on the disk of a member.
fn end_of(world: &World, member: &str) -> u64 {
    let claim =
        world.server.get(&of_kind::CLAIM, crate::world::NAMESPACE, &format!("data-{member}-0"));
    let volume = claim.expect("a claim")["spec"]["volumeName"].as_str().expect("bound").to_owned();
    world.machines.lock().disks[&volume].index
}

fn is_rebuilt(status: &ClusterStatus, former: &ClusterStatus) -> bool {
    status.cluster_id != former.cluster_id
        && status
            .conditions
            .iter()
            .any(|condition| condition.type_ == "DataLossPossible" && condition.status == "True")
}

#[tokio::test(start_paused = true)]
async fn a_lost_majority_that_is_given_up_goes_on_with_the_best_of_what_is_left() {
    let mut world = without_majority().await;
    let former = world.status(NAME);
    let is_whole = |member: &&String| world.has_its_disk(NAME, member);
    let voters = world.voters(NAME);
    let left: Vec<&String> = voters.iter().filter(is_whole).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    let leader = left.into_iter().max_by_key(|member| end_of(&world, member)).expect("one").clone();
    let best = end_of(&world, &leader);
    let claims = names(&world, &of_kind::CLAIM);
    // Another cluster's id is nobody's wish.
    world.annotate(NAME, ASKED, "1");
    world.seconds(300).await;
    assert_eq!(world.status(NAME).cluster_id, former.cluster_id);
    assert!(names(&world, &of_kind::POD).iter().all(|pod| !pod.contains("inspect")));

    let id = former.cluster_id.clone().expect("an id");
    world.annotate(NAME, ASKED, &id);
    let is_whole = |world: &World| is_settled(world, NAME, 5);
    world.until(2 * PATIENCE, "five members of a new cluster", is_whole).await;
    let now = world.status(NAME);
    assert!(is_rebuilt(&now, &former), "{}", world.describe());
    assert!(world.group(NAME).expect("a cluster").acknowledged >= best);
    assert!(
        now.members.iter().all(|member| former.members.iter().all(|old| old.name != member.name))
    );
    // What it was made of is for a person to throw away, and so is the condition.
    let left = names(&world, &of_kind::CLAIM);
    let is_of_survivor = |claim: &&String| claim.contains(&leader);
    assert!(claims.iter().filter(is_of_survivor).all(|claim| left.contains(claim)), "{left:?}");
    assert!(names(&world, &of_kind::POD).iter().all(|pod| !pod.contains("inspect")));
    world.seconds(600).await;
    assert!(is_rebuilt(&world.status(NAME), &former));
    assert_eq!(world.status(NAME).cluster_id, now.cluster_id, "it was asked for once");
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_dies_while_a_cluster_is_rebuilt_finishes_it() {
    for writes in (1..14).step_by(3) {
        let mut world = without_majority().await;
        let former = world.status(NAME);
        world.annotate(NAME, ASKED, former.cluster_id.as_deref().expect("an id"));
        world.kill_behind(0, writes);
        world.until(2 * PATIENCE, "a new cluster", |world| is_settled(world, NAME, 5)).await;
        assert!(is_rebuilt(&world.status(NAME), &former));
        assert_eq!(world.machines.lock().marks.get("recover"), Some(&1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_majority_that_comes_back_is_not_given_up() {
    let mut world = with_cluster(5, 3).await;
    let (former, nodes) = (world.status(NAME), world.followers(NAME));
    let nodes: Vec<String> = nodes.iter().map(|member| world.node_of(member)).collect();
    world.disturb();
    nodes.iter().for_each(|node| world.set_up(node, false));
    world.seconds(60).await;
    nodes.iter().for_each(|node| world.set_up(node, true));
    settled(&mut world, 3).await;
    world.annotate(NAME, ASKED, former.cluster_id.as_deref().expect("an id"));
    world.seconds(300).await;
    assert_eq!(world.status(NAME).cluster_id, former.cluster_id);
    assert!(is_settled(&world, NAME, 3));
}
