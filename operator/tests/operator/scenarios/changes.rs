//! Something new for members that run.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    NAME, PATIENCE, is_settled, names, operated, pod_uid, replaced, settled, spec, with_cluster,
};
use crate::api_server::of_kind;
use crate::world::{NAMESPACE, ReplicaOptions, World};

/// Restarts of members, in their order.
async fn restarts(world: &mut World, members: &[String], seconds: usize) -> Vec<String> {
    let mut order = Vec::new();
    let mut uids: BTreeMap<String, String> =
        members.iter().map(|member| (member.clone(), pod_uid(world, member))).collect();
    for _ in 0..seconds {
        world.second().await;
        for (member, uid) in &mut uids {
            let now = pod_uid(world, member);
            if !now.is_empty() && now != *uid {
                *uid = now;
                order.push(member.clone());
            }
        }
        if order.len() >= members.len() && is_settled(world, NAME, members.len()) {
            break;
        }
    }
    order
}

#[tokio::test(start_paused = true)]
async fn what_is_new_reaches_followers_first_and_the_leader_last() {
    let mut world = with_cluster(5, 3).await;
    let (members, leader) = (world.voters(NAME), world.leader(NAME).expect("a leader"));
    world.take_longest_pause(NAME);
    world.wish(NAME, |spec| spec["config"]["heartbeatIntervalMs"] = json!(150));
    let order = restarts(&mut world, &members, PATIENCE).await;
    assert_eq!(order.len(), 3, "each once: {order:?}");
    assert_eq!(order.last(), Some(&leader), "{order:?}");
    assert_eq!(world.voters(NAME), members);
    let pause = world.take_longest_pause(NAME);
    assert!(pause <= 3, "{pause} s without a write");
    for pod in world.server.list(&of_kind::POD, NAMESPACE) {
        let arguments = pod["spec"]["containers"][0]["args"].to_string();
        assert!(arguments.contains("--heartbeat-interval=150"), "{arguments}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_version_goes_member_by_member() {
    let mut world = with_cluster(5, 3).await;
    world.wish(NAME, |spec| spec["version"] = json!("0.2.0"));
    settled(&mut world, 3).await;
    let is_new = |world: &World| world.status(NAME).version.as_deref() == Some("0.2.0");
    world.until(30, "the version is told", is_new).await;
    let message = world
        .server
        .change(&of_kind::CLUSTER, (NAMESPACE, NAME), crate::api_server::Part::Object, |cluster| {
            cluster["spec"]["version"] = json!("0.5.0")
        })
        .expect_err("more than one minor version at once");
    assert_eq!(message.code, 422);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_does_not_come_back_is_the_only_one() {
    let mut world = with_cluster(5, 3).await;
    let members = world.voters(NAME);
    world.wish(NAME, |spec| spec["image"] = json!({ "repository": "missing/quorate" }));
    let order = restarts(&mut world, &members, 300).await;
    assert_eq!(order.len(), 1, "{order:?}");
    let (status, reason) = world.condition(NAME, "Degraded");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "UpdateStuck"), "{}", world.describe());
    assert_eq!(world.condition(NAME, "Available").0, "True");
    assert_eq!(world.voters(NAME), members, "nobody is replaced for a wrong image");
    world.wish(NAME, |spec| spec["image"] = json!({}));
    settled(&mut world, 3).await;
    assert_eq!(world.voters(NAME), members);
}

#[tokio::test(start_paused = true)]
async fn a_flag_that_members_do_not_take_stops_at_the_first() {
    let mut world = with_cluster(5, 3).await;
    let members = world.voters(NAME);
    world.wish(NAME, |spec| {
        spec["config"]["extraArgs"] = json!({ "log-level": "does-not-start" });
    });
    world.seconds(300).await;
    assert_eq!(world.condition(NAME, "Available").0, "True");
    assert_eq!(world.voters(NAME), members);
    let of_new = |pod: &serde_json::Value| pod["spec"].to_string().contains("does-not-start");
    let pods = world.server.list(&of_kind::POD, NAMESPACE);
    assert_eq!(pods.iter().filter(|pod| of_new(pod)).count(), 1);
    world.wish(NAME, |spec| spec["config"]["extraArgs"] = json!({}));
    settled(&mut world, 3).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_ill_before_does_not_hold_up_what_is_new() {
    // From before anybody sees that it is ill to long after.
    for seconds in [0, 1, 2, 5, 20] {
        let mut world = with_cluster(5, 3).await;
        let lost = world.followers(NAME)[0].clone();
        world.disturb();
        world.wipe(&lost);
        world.delete_pod_of(&lost);
        world.seconds(seconds).await;
        world.wish(NAME, |spec| spec["config"]["heartbeatIntervalMs"] = json!(150));
        replaced(&mut world, &lost).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_lost_during_a_restart_is_not_taken_for_a_wrong_change() {
    let mut world = with_cluster(5, 3).await;
    world.wish(NAME, |spec| spec["config"]["heartbeatIntervalMs"] = json!(150));
    let lost = restarted(&mut world).await;
    world.disturb();
    world.wipe(&lost);
    replaced(&mut world, &lost).await;
}

/// The first member that is restarted, at this moment.
async fn restarted(world: &mut World) -> String {
    let members = world.voters(NAME);
    let leaving = |world: &World| {
        let pods = world.server.list(&of_kind::POD, NAMESPACE);
        let is_leaving =
            |pod: &&serde_json::Value| pod["metadata"]["deletionTimestamp"].is_string();
        let name = pods.iter().find(is_leaving).map(|pod| pod["metadata"]["name"].to_string());
        members.iter().find(|member| name.as_ref().is_some_and(|name| name.contains(*member)))
    };
    world.until(60, "a restart", |world| leaving(world).is_some()).await;
    leaving(world).expect("one").clone()
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_gone_for_good_during_a_restart_is_not_taken_for_a_wrong_change() {
    // What the operator needs to know that, the chart lets it read.
    let mut world = World::new(5);
    let rights = Some(super::operators::chart_rights(None));
    world.operate(ReplicaOptions { rights, ..ReplicaOptions::default() });
    world.apply(NAME, &spec(3));
    settled(&mut world, 3).await;
    world.wish(NAME, |spec| spec["config"]["heartbeatIntervalMs"] = json!(150));
    let lost = restarted(&mut world).await;
    let node = world.node_of(&lost);
    world.disturb();
    world.lose_node_alone(&node);
    world.seconds(50).await;
    assert!(world.voters(NAME).contains(&lost), "it has 60 s to come back");
    assert_eq!(world.node_of(&lost), "", "its pod has no place");
    replaced(&mut world, &lost).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_made_anew_during_a_restart_gets_its_member_back() {
    let mut world = with_cluster(5, 3).await;
    let members = world.voters(NAME);
    world.wish(NAME, |spec| spec["config"]["heartbeatIntervalMs"] = json!(150));
    let lost = restarted(&mut world).await;
    let node = world.node_of(&lost);
    world.disturb();
    world.lose_node_alone(&node);
    world.seconds(40).await;
    world.add_node(&node, "zone-0");
    settled(&mut world, 3).await;
    assert_eq!(world.voters(NAME), members);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_replaced_for_a_place_that_no_node_offers() {
    // A volume of a zone is lost with none of its nodes.
    for class in ["local", "zonal"] {
        let mut world = operated(5);
        let mut wish = spec(3);
        wish["storage"] = json!({ "size": "1Gi", "storageClassName": class });
        world.apply(NAME, &wish);
        settled(&mut world, 3).await;
        let members = world.voters(NAME);
        world.wish(NAME, |spec| spec["pod"]["nodeSelector"] = json!({ "disk": "none" }));
        let first = restarted(&mut world).await;
        let node = world.node_of(&first);
        world.seconds(30).await;
        assert_eq!(world.node_of(&first), "", "its pod has no place");
        if class == "zonal" {
            world.disturb();
            world.lose_node_alone(&node);
        }
        world.seconds(400).await;
        assert_eq!(world.voters(NAME), members, "{class}");
        assert_eq!(world.condition(NAME, "Degraded").1, "UpdateStuck", "{}", world.describe());
        world.wish(NAME, |spec| spec["pod"]["nodeSelector"] = json!({}));
        settled(&mut world, 3).await;
        assert_eq!(world.voters(NAME), members, "{class}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_people_restart_with_what_does_not_start_is_kept() {
    let mut world = with_cluster(5, 3).await;
    let members = world.voters(NAME);
    world.wish(NAME, |spec| {
        spec["update"] = json!({ "type": "OnDelete" });
        spec["config"]["extraArgs"] = json!({ "log-level": "does-not-start" });
    });
    world.seconds(30).await;
    world.disturb();
    world.delete_pod_of(&members[1]);
    world.seconds(300).await;
    assert_eq!(world.voters(NAME), members);
    assert_eq!(world.condition(NAME, "Degraded").1, "UpdateStuck", "{}", world.describe());
    world.wish(NAME, |spec| spec["config"]["extraArgs"] = json!({}));
    // One that does not run is nobody's to restart.
    settled(&mut world, 3).await;
    assert_eq!(world.voters(NAME), members);
}

#[tokio::test(start_paused = true)]
async fn with_on_delete_people_restart_members() {
    let mut world = with_cluster(5, 3).await;
    let members = world.voters(NAME);
    world.wish(NAME, |spec| {
        spec["update"] = json!({ "type": "OnDelete" });
        spec["config"]["heartbeatIntervalMs"] = json!(150);
    });
    let order = restarts(&mut world, &members, 60).await;
    assert!(order.is_empty(), "{order:?}");
    assert_eq!(world.condition(NAME, "UpToDate").0, "False");
    for member in &members {
        world.disturb();
        world.delete_pod_of(member);
        world.seconds(30).await;
    }
    settled(&mut world, 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_is_asked_for_happens_once() {
    let mut world = with_cluster(5, 3).await;
    let members = world.voters(NAME);
    world.annotate(NAME, "quorate.io/restart", "now");
    let order = restarts(&mut world, &members, 120).await;
    assert_eq!(order.len(), 3, "{order:?}");
    let order = restarts(&mut world, &members, 120).await;
    assert!(order.is_empty(), "{order:?}");
}

#[tokio::test(start_paused = true)]
async fn volumes_grow_and_nobody_restarts() {
    let mut world = operated(5);
    let mut wish = spec(3);
    wish["storage"] = json!({ "size": "1Gi" });
    // Left to the operator, it would follow the volumes, and members would have to hear of it.
    wish["config"] = json!({ "quotaBackend": "500Mi" });
    world.apply(NAME, &wish);
    settled(&mut world, 3).await;
    let uids: Vec<String> = world.voters(NAME).iter().map(|name| pod_uid(&world, name)).collect();
    world.wish(NAME, |spec| spec["storage"]["size"] = json!("2Gi"));
    let has_grown = |world: &World| {
        let claims = world.server.list(&of_kind::CLAIM, NAMESPACE);
        claims.iter().all(|claim| claim["status"]["capacity"]["storage"] == "2Gi")
    };
    world.until(120, "all volumes have grown", has_grown).await;
    settled(&mut world, 3).await;
    let is_said = |world: &World| world.condition(NAME, "StorageReady").0 == "True";
    world.until(60, "it is said", is_said).await;
    let now: Vec<String> = world.voters(NAME).iter().map(|name| pod_uid(&world, name)).collect();
    assert_eq!(now, uids);
    // A member that comes later has the new size, too.
    world.scale(NAME, 5);
    settled(&mut world, 5).await;
    for claim in world.server.list(&of_kind::CLAIM, NAMESPACE) {
        assert_eq!(claim["status"]["capacity"]["storage"], "2Gi", "{}", claim["metadata"]["name"]);
    }
}

#[tokio::test(start_paused = true)]
async fn volumes_that_cannot_grow_are_told_of_and_all_else_goes_on() {
    let mut world = operated(5);
    let mut wish = spec(3);
    wish["storage"] = json!({ "size": "1Gi", "storageClassName": "fixed" });
    world.apply(NAME, &wish);
    settled(&mut world, 3).await;
    world.wish(NAME, |spec| spec["storage"]["size"] = json!("2Gi"));
    world.seconds(60).await;
    assert_eq!(world.condition(NAME, "StorageReady").0, "False");
    assert_eq!(world.condition(NAME, "Available").0, "True");
    let lost = world.followers(NAME)[0].clone();
    world.disturb();
    world.lose_volume_of(&lost);
    let is_replaced =
        |world: &World| world.voters(NAME).len() == 3 && !world.voters(NAME).contains(&lost);
    world.until(PATIENCE, "healing goes on", is_replaced).await;
}

#[tokio::test(start_paused = true)]
async fn certificates_are_renewed_without_a_restart() {
    let mut world = operated(5);
    world.apply(NAME, &spec(3));
    settled(&mut world, 3).await;
    let members = world.voters(NAME);
    let uids: Vec<String> = members.iter().map(|member| pod_uid(&world, member)).collect();
    let secret = |world: &World| {
        let name = format!("{}-tls", members[0]);
        let secret = world.server.get(&of_kind::SECRET, NAMESPACE, &name).expect("a Secret");
        secret["data"]["server.crt"].to_string()
    };
    let before = secret(&world);
    world.annotate(NAME, "quorate.io/rotate-ca", "once");
    let is_new = |world: &World| secret(world) != before;
    world.until(PATIENCE, "another certificate", is_new).await;
    for _ in 0..PATIENCE {
        world.second().await;
        assert_eq!(world.condition(NAME, "Available").0, "True", "{}", world.describe());
    }
    settled(&mut world, 3).await;
    let now: Vec<String> = members.iter().map(|member| pod_uid(&world, member)).collect();
    assert_eq!(now, uids);
    assert_eq!(names(&world, &of_kind::STATEFUL_SET), members);
}
