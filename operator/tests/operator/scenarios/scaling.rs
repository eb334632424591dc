//! Members come and go, while somebody writes.

use super::{NAME, names, settled, with_cluster};
use crate::api_server::of_kind;
use crate::world::NAMESPACE;

/// Seconds without an acknowledged write that are borne where leaders move in good order.
const PAUSE_MAX: u64 = 3;

#[tokio::test(start_paused = true)]
async fn from_one_to_five_and_back_no_write_is_lost() {
    let mut world = with_cluster(6, 1).await;
    world.take_longest_pause(NAME);
    let mut acknowledged = 0;
    for replicas in [3, 5, 3, 1] {
        world.scale(NAME, replicas);
        let members = usize::try_from(replicas).expect("a few");
        settled(&mut world, members).await;
        let now = world.group(NAME).expect("a cluster").acknowledged;
        assert!(now > acknowledged);
        acknowledged = now;
        let pause = world.take_longest_pause(NAME);
        assert!(pause <= PAUSE_MAX, "{pause} s on the way to {replicas}");
    }
    // What was removed leaves nothing.
    world.seconds(30).await;
    assert_eq!(names(&world, &of_kind::STATEFUL_SET).len(), 1);
    assert_eq!(names(&world, &of_kind::CLAIM).len(), 1);
    assert!(names(&world, &of_kind::BUDGET).is_empty());
    let secrets = names(&world, &of_kind::SECRET);
    let of_members =
        secrets.iter().filter(|name| name.ends_with("-tls") && name.split('-').count() == 3);
    let of_members: Vec<_> = of_members
        .filter(|name| name.split('-').nth(1).is_some_and(|part| part.parse::<u32>().is_ok()))
        .collect();
    assert_eq!(of_members.len(), 1, "{secrets:?}");
    assert_eq!(world.machines.lock().disks.len(), 1);
    assert!(!world.machines.lock().marks.contains_key("removed leader"));
}

#[tokio::test(start_paused = true)]
async fn claims_of_those_who_leave_are_kept_if_that_is_asked_for() {
    let mut world = with_cluster(5, 3).await;
    world.wish(NAME, |spec| {
        spec["storage"]["pvcRetention"]["whenScaled"] = "Retain".into();
        spec["replicas"] = 1.into();
    });
    settled(&mut world, 1).await;
    world.seconds(20).await;
    assert_eq!(names(&world, &of_kind::CLAIM).len(), 3);
    // They are never used again.
    world.scale(NAME, 3);
    settled(&mut world, 3).await;
    assert_eq!(names(&world, &of_kind::CLAIM).len(), 5);
}

#[tokio::test(start_paused = true)]
async fn the_scale_is_written_apart_and_a_mind_may_be_changed_on_the_way() {
    let mut world = with_cluster(6, 1).await;
    for (replicas, seconds) in [(5, 8), (3, 6), (5, 11), (1, 9), (3, 0)] {
        world
            .server
            .change(
                &of_kind::CLUSTER,
                (NAMESPACE, NAME),
                crate::api_server::Part::Scale,
                |cluster| {
                    cluster["spec"]["replicas"] = replicas.into();
                },
            )
            .expect("a scale");
        world.seconds(seconds).await;
    }
    settled(&mut world, 3).await;
}

#[tokio::test(start_paused = true)]
async fn budgets_have_room_for_one_at_most_at_any_time() {
    let mut world = with_cluster(6, 1).await;
    for replicas in [5, 1] {
        world.scale(NAME, replicas);
        for _ in 0..200 {
            world.second().await;
            let voters = world.voters(NAME).len();
            let budget = world.server.get(&of_kind::BUDGET, NAMESPACE, NAME);
            let Some(budget) = budget else { continue };
            let least = budget["spec"]["minAvailable"].as_u64().expect("a number");
            assert!(least > u64::try_from(voters / 2).expect("few"), "{least} of {voters}");
        }
    }
    settled(&mut world, 1).await;
}
