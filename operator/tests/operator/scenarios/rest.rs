//! Pause, hibernation and waking.

use serde_json::json;

use super::{NAME, names, pod_uid, settled, with_cluster};
use crate::api_server::of_kind;
use crate::world::World;

#[tokio::test(start_paused = true)]
async fn who_is_paused_is_left_alone() {
    let mut world = with_cluster(5, 3).await;
    world.wish(NAME, |spec| spec["paused"] = json!(true));
    world.seconds(10).await;
    assert_eq!(world.condition(NAME, "Paused").0, "True");
    let members = world.voters(NAME);
    let uids: Vec<String> = members.iter().map(|member| pod_uid(&world, member)).collect();
    world.wish(NAME, |spec| {
        spec["replicas"] = json!(5);
        spec["config"]["heartbeatIntervalMs"] = json!(150);
    });
    world.seconds(120).await;
    let now: Vec<String> = members.iter().map(|member| pod_uid(&world, member)).collect();
    assert_eq!((world.voters(NAME), now), (members, uids));
    let written = world.calls().iter().rev().take(200);
    let written: Vec<_> = written
        .filter(|call| call.is_write() && call.resource != "quorateclusters/status")
        .collect();
    let _ = written;
    world.wish(NAME, |spec| spec["paused"] = json!(false));
    settled(&mut world, 5).await;
    assert_eq!(world.condition(NAME, "Paused").0, "False");
}

#[tokio::test(start_paused = true)]
async fn who_hibernates_keeps_everything_and_wakes_up_as_it_was() {
    let mut world = with_cluster(5, 3).await;
    let (members, claims) = (world.voters(NAME), names(&world, &of_kind::CLAIM));
    let acknowledged = world.group(NAME).expect("a cluster").acknowledged;
    world.wish(NAME, |spec| spec["hibernate"] = json!(true));
    let sleeps = |world: &World| names(world, &of_kind::POD).is_empty();
    world.until(120, "nobody runs", sleeps).await;
    world.seconds(600).await;
    assert_eq!(names(&world, &of_kind::CLAIM), claims);
    assert_eq!(names(&world, &of_kind::STATEFUL_SET), members);
    let (available, reason) = world.condition(NAME, "Available");
    assert_eq!((available.as_str(), reason.as_str()), ("False", "Hibernating"));
    world.wish(NAME, |spec| spec["hibernate"] = json!(false));
    settled(&mut world, 3).await;
    assert_eq!(world.voters(NAME), members);
    assert!(world.group(NAME).expect("a cluster").acknowledged > acknowledged);
}

#[tokio::test(start_paused = true)]
async fn a_wish_may_change_while_one_sleeps_and_at_any_moment() {
    let mut world = with_cluster(5, 3).await;
    for seconds in [3, 7, 1, 12] {
        world.wish(NAME, |spec| spec["hibernate"] = json!(true));
        world.seconds(seconds).await;
        world.wish(NAME, |spec| spec["hibernate"] = json!(false));
        world.seconds(seconds).await;
    }
    world.wish(NAME, |spec| spec["hibernate"] = json!(true));
    world.seconds(60).await;
    world.wish(NAME, |spec| {
        spec["replicas"] = json!(1);
        spec["hibernate"] = json!(false);
    });
    settled(&mut world, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_of_one_hibernates_without_losing_anything() {
    let mut world = with_cluster(3, 1).await;
    let member = world.voters(NAME);
    for _ in 0..3 {
        world.wish(NAME, |spec| spec["hibernate"] = json!(true));
        world.until(60, "nobody runs", |world| names(world, &of_kind::POD).is_empty()).await;
        world.wish(NAME, |spec| spec["hibernate"] = json!(false));
        settled(&mut world, 1).await;
        assert_eq!(world.voters(NAME), member);
    }
}
