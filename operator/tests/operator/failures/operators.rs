//! Bugs that operators had.

use serde_json::{Value, json};

use crate::api_server::{Part, of_kind};
use crate::scenarios::{
    NAME, PATIENCE, is_settled, names, operated, pod_uid, settled, spec, with_cluster,
};
use crate::world::{Driver, NAMESPACE, ReplicaOptions, World};

#[tokio::test(start_paused = true)]
async fn o01_pods_that_are_lost_do_not_make_the_cluster_smaller() {
    let mut world = with_cluster(5, 5).await;
    let members = world.voters(NAME);
    world.disturb();
    members.iter().take(2).for_each(|member| world.delete_pod_of(member));
    for _ in 0..40 {
        world.second().await;
        for set in world.server.list(&of_kind::STATEFUL_SET, NAMESPACE) {
            assert_eq!(set["spec"]["replicas"], 1, "{}", set["metadata"]["name"]);
        }
        assert_eq!(world.voters(NAME), members);
    }
    settled(&mut world, 5).await;
}

#[tokio::test(start_paused = true)]
async fn o02_there_are_never_more_members_than_before_while_one_is_dead() {
    let mut world = with_cluster(5, 3).await;
    let lost = world.followers(NAME)[0].clone();
    world.disturb();
    world.lose_volume_of(&lost);
    for _ in 0..PATIENCE {
        world.second().await;
        let group = world.group(NAME).expect("a cluster");
        assert!(group.members.len() <= 3, "{group:?}");
        if is_settled(&world, NAME, 3) && !world.voters(NAME).contains(&lost) {
            return;
        }
    }
    panic!("it is not replaced: {}", world.describe());
}

#[tokio::test(start_paused = true)]
async fn o03_a_lost_majority_is_neither_given_up_nor_begun_over() {
    let mut world = with_cluster(5, 3).await;
    let (members, survivor) = (world.voters(NAME), world.leader(NAME).expect("a leader"));
    let id = world.status(NAME).cluster_id;
    world.disturb();
    for lost in world.followers(NAME) {
        world.lose_volume_of(&lost);
    }
    world.seconds(900).await;
    assert_eq!(world.condition(NAME, "Available"), ("False".to_owned(), "QuorumLost".to_owned()));
    assert_eq!(world.status(NAME).cluster_id, id);
    assert_eq!(world.voters(NAME), members);
    assert!(names(&world, &of_kind::CLAIM).contains(&format!("data-{survivor}-0")));
    let machines = world.machines.lock();
    assert_eq!(machines.groups.len(), 1);
    assert!(machines.disks.values().any(|disk| disk.identity.is_some()));
}

#[tokio::test(start_paused = true)]
async fn o04_a_cluster_whose_members_are_all_gone_is_not_called_available_nor_stirred() {
    let mut world = with_cluster(5, 3).await;
    let nodes: Vec<String> =
        world.voters(NAME).iter().map(|member| world.node_of(member)).collect();
    world.disturb();
    nodes.iter().for_each(|node| world.lose_node(node));
    world.seconds(120).await;
    assert_eq!(world.condition(NAME, "Available").0, "False");
    let before = world.replica(0).writes().len();
    world.seconds(1200).await;
    let writes = world.replica(0).writes();
    assert!(writes.len() - before < 20, "{:#?}", &writes[before..]);
}

#[tokio::test(start_paused = true)]
async fn o05_nothing_is_lost_on_the_way_to_nothing_and_back() {
    let mut world = with_cluster(5, 3).await;
    let refused =
        world.server.change(&of_kind::CLUSTER, (NAMESPACE, NAME), Part::Object, |cluster| {
            cluster["spec"]["replicas"] = json!(0);
        });
    assert_eq!(refused.expect_err("nobody means that").code, 422);
    let before = (world.voters(NAME), world.status(NAME).cluster_id);
    for _ in 0..2 {
        world.wish(NAME, |spec| spec["hibernate"] = json!(true));
        world.until(120, "all sleep", |world| names(world, &of_kind::POD).is_empty()).await;
        world.wish(NAME, |spec| spec["hibernate"] = json!(false));
        settled(&mut world, 3).await;
    }
    assert_eq!((world.voters(NAME), world.status(NAME).cluster_id), before);
}

#[tokio::test(start_paused = true)]
async fn o06_a_restarted_member_comes_back_to_the_cluster_that_there_is() {
    let mut world = with_cluster(5, 3).await;
    for round in 0..3 {
        for member in world.voters(NAME) {
            world.disturb();
            world.delete_pod_of(&member);
            world.seconds(6 + round).await;
            settled(&mut world, 3).await;
        }
    }
    let group = world.group(NAME).expect("a cluster");
    assert!(group.members.iter().all(|member| !member.name.is_empty()), "{group:?}");
    for set in world.server.list(&of_kind::STATEFUL_SET, NAMESPACE) {
        let annotations = &set["spec"]["template"]["metadata"]["annotations"];
        assert_eq!(annotations["quorate.io/initial-cluster-state"], "existing");
    }
}

#[tokio::test(start_paused = true)]
async fn o07_a_learner_of_an_operator_that_died_votes_in_the_end() {
    for seconds in 0..12 {
        let mut world = with_cluster(5, 1).await;
        world.scale(NAME, 3);
        world.seconds(seconds).await;
        world.kill(0);
        settled(&mut world, 3).await;
    }
}

#[tokio::test(start_paused = true)]
async fn o08_a_voter_whose_claim_is_deleted_is_removed_and_another_added() {
    for is_leader in [false, true] {
        let mut world = with_cluster(5, 3).await;
        let lost = match is_leader {
            true => world.leader(NAME).expect("a leader"),
            false => world.followers(NAME)[0].clone(),
        };
        world.disturb();
        // The claim is held by its pod, until that is deleted.
        let claim = format!("data-{lost}-0");
        world.server.delete(&of_kind::CLAIM, (NAMESPACE, &claim), &Value::Null).expect("deleted");
        world.seconds(30).await;
        assert!(world.voters(NAME).contains(&lost), "it runs on");
        world.disturb();
        world.delete_pod_of(&lost);
        let is_replaced =
            |world: &World| is_settled(world, NAME, 3) && !world.voters(NAME).contains(&lost);
        world.until(PATIENCE, "it is replaced", is_replaced).await;
    }
}

#[tokio::test(start_paused = true)]
async fn o09_what_began_a_cluster_is_not_done_again() {
    let mut world = with_cluster(5, 3).await;
    // The first member loses everything, and with it the reason to begin.
    world.disturb();
    world.lose_volume_of("demo-0");
    let is_replaced = |world: &World| {
        is_settled(world, NAME, 3) && !world.voters(NAME).contains(&"demo-0".to_owned())
    };
    world.until(PATIENCE, "it is replaced", is_replaced).await;
    assert_eq!(world.machines.lock().marks.get("begin"), Some(&1));
}

#[tokio::test(start_paused = true)]
async fn o10_new_certificates_restart_nobody() {
    let mut world = operated(5);
    world.apply(NAME, &spec(3));
    world.annotate(NAME, "quorate.io/tls-lifetimes", "leaf=600,renew=200,delivery=60");
    settled(&mut world, 3).await;
    let members = world.voters(NAME);
    let uids: Vec<String> = members.iter().map(|member| pod_uid(&world, member)).collect();
    let of_leaf = |world: &World| {
        let name = format!("{}-tls", members[0]);
        world.server.get(&of_kind::SECRET, NAMESPACE, &name).expect("a Secret")["data"].to_string()
    };
    let before = of_leaf(&world);
    for _ in 0..900 {
        world.second().await;
        assert_eq!(world.condition(NAME, "Available").0, "True", "{}", world.describe());
    }
    assert_ne!(of_leaf(&world), before, "they were renewed");
    settled(&mut world, 3).await;
    let now: Vec<String> = members.iter().map(|member| pod_uid(&world, member)).collect();
    assert_eq!(now, uids);
}

#[tokio::test(start_paused = true)]
async fn o11_no_version_is_skipped_nor_gone_back_to_nor_begun_while_one_is_down() {
    let mut world = with_cluster(5, 3).await;
    let wish = |world: &World, version: &str| {
        world.server.change(&of_kind::CLUSTER, (NAMESPACE, NAME), Part::Object, |cluster| {
            cluster["spec"]["version"] = json!(version);
        })
    };
    // None was asked for before, so the resource may say it: the cluster's state refuses.
    wish(&world, "0.3.0").expect("taken");
    world.seconds(30).await;
    assert_eq!(world.condition(NAME, "Progressing"), ("False".to_owned(), "Rejected".to_owned()));
    assert_eq!(world.status(NAME).version.as_deref(), Some("0.1.0"));
    world.wish(NAME, |spec| spec["version"] = Value::Null);
    settled(&mut world, 3).await;
    let down = world.followers(NAME)[0].clone();
    let node = world.node_of(&down);
    world.disturb();
    world.set_up(&node, false);
    world.seconds(5).await;
    wish(&world, "0.2.0").expect("taken");
    world.seconds(40).await;
    for pod in world.server.list(&of_kind::POD, NAMESPACE) {
        assert_eq!(pod["spec"]["containers"][0]["image"], "quorate:0.1.0", "all answer first");
    }
    world.set_up(&node, true);
    let is_new = |world: &World| world.status(NAME).version.as_deref() == Some("0.2.0");
    world.until(PATIENCE, "the version", is_new).await;
    settled(&mut world, 3).await;
}

#[tokio::test(start_paused = true)]
async fn o12_two_operators_that_both_act_do_no_harm() {
    let mut world = World::new(6);
    for identity in ["operator-0", "operator-1"] {
        world.operate(ReplicaOptions { identity, ..ReplicaOptions::default() });
    }
    world.apply(NAME, &spec(1));
    settled(&mut world, 1).await;
    world.scale(NAME, 5);
    settled(&mut world, 5).await;
    let lost = world.leader(NAME).expect("a leader");
    world.disturb();
    world.lose_volume_of(&lost);
    let is_replaced =
        |world: &World| is_settled(world, NAME, 5) && !world.voters(NAME).contains(&lost);
    world.until(PATIENCE, "it is replaced", is_replaced).await;
    world.wish(NAME, |spec| spec["config"]["heartbeatIntervalMs"] = json!(150));
    world.second().await;
    settled(&mut world, 5).await;
    world.scale(NAME, 3);
    settled(&mut world, 3).await;
}

#[tokio::test(start_paused = true)]
async fn o13_nothing_that_the_operator_makes_holds_up_a_deletion() {
    let mut world = with_cluster(5, 3).await;
    world.retire(0);
    for (key, object) in world.server.all() {
        let finalizers = &object["metadata"]["finalizers"];
        let is_kubernetes = matches!(key.kind.name, "PersistentVolumeClaim" | "Namespace");
        assert!(finalizers.is_null() || is_kubernetes, "{key:?}: {finalizers}");
    }
    world.disturb();
    world.delete_cluster(NAME).expect("deleted");
    world.until(60, "it is gone", |world| names(world, &of_kind::POD).is_empty()).await;
    assert!(world.cluster(NAME).is_none());
}

/// How often history is forgotten in so many seconds.
async fn compactions(world: &mut World, seconds: usize) -> usize {
    let count = |world: &World| {
        world.replica(0).writes().iter().filter(|write| *write == "compact").count()
    };
    let before = count(world);
    world.seconds(seconds).await;
    count(world) - before
}

async fn full(is_for_good: bool) -> World {
    let mut world = World::new(5);
    world.operate(ReplicaOptions { driver: Driver::Turns, ..ReplicaOptions::default() });
    world.apply(NAME, &spec(3));
    settled(&mut world, 3).await;
    for group in &mut world.machines.lock().groups {
        group.is_full_for_good = is_for_good;
    }
    for member in world.voters(NAME) {
        world.set_alarm(NAME, &member, crate::world::AlarmOf::Space);
    }
    world
}

#[tokio::test(start_paused = true)]
async fn o14_history_is_forgotten_once_for_all_members_and_not_again_at_once() {
    let mut world = full(true).await;
    assert_eq!(compactions(&mut world, 200).await, 1);
    assert_eq!(compactions(&mut world, 300).await, 1);
    // It is in vain, and is tried less often.
    assert_eq!(compactions(&mut world, 3600).await, 2);
}

#[tokio::test(start_paused = true)]
async fn o14_an_alarm_that_comes_and_goes_does_not_have_history_forgotten_each_time() {
    let mut world = full(false).await;
    assert_eq!(compactions(&mut world, 30).await, 1);
    let mut found = 0;
    for _ in 0..12 {
        settled(&mut world, 3).await;
        let member = world.voters(NAME)[0].clone();
        world.set_alarm(NAME, &member, crate::world::AlarmOf::Space);
        found += compactions(&mut world, 10).await;
        // Somebody makes room.
        world.machines.lock().groups.iter_mut().for_each(|group| group.alarms.clear());
        // And the operator that knew of it is another one.
        world.kill(0);
        found += compactions(&mut world, 10).await;
    }
    assert_eq!(found, 0, "within {} s", 12 * 20);
    world.seconds(60).await;
    let member = world.voters(NAME)[0].clone();
    world.set_alarm(NAME, &member, crate::world::AlarmOf::Space);
    assert_eq!(compactions(&mut world, 30).await, 1);
}
