//! What is between the operator and the API server: events that are lost or told twice, reads of the
//! past, definitions that are not there yet.

use super::{NAME, PATIENCE, grow_and_lose_a_volume, is_settled, names, operated, settled, spec};
use crate::api_server::{EventFault, Faults, of_kind};
use crate::model::random::Random;
use crate::world::{ReplicaOptions, World};

#[tokio::test(start_paused = true)]
async fn events_that_are_lost_repeated_or_cut_off_cost_time_alone() {
    for fault in [EventFault::Dropped, EventFault::Repeated, EventFault::Cut, EventFault::Forgotten]
    {
        let mut world = operated(5);
        let mut random = Random::new(7);
        world.server.faults(|faults| {
            faults.of_event = Box::new(move |_| match random.once_in(3) {
                true => fault,
                false => EventFault::None,
            });
        });
        grow_and_lose_a_volume(&mut world).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_hears_of_nothing_looks_once_in_a_while() {
    let mut world = operated(5);
    world.server.faults(|faults| faults.of_event = Box::new(|_| EventFault::Dropped));
    // What is there when the operator begins is found by its first list.
    world.apply(NAME, &spec(1));
    world.kill(0);
    settled(&mut world, 1).await;
    world.scale(NAME, 3);
    settled(&mut world, 3).await;
}

#[tokio::test(start_paused = true)]
async fn reads_of_the_past_do_no_harm() {
    for lag in [1, 5, 50] {
        for begin in [0, 3, 9] {
            let mut world = operated(5);
            world.apply(NAME, &spec(1));
            settled(&mut world, 1).await;
            world.scale(NAME, 3);
            world.seconds(begin).await;
            world.server.faults(|faults| faults.lag = lag);
            world.seconds(90).await;
            world.server.faults(|faults| *faults = Faults::default());
            settled(&mut world, 3).await;
            world.server.faults(|faults| faults.lag = lag);
            let lost = world.followers(NAME)[0].clone();
            world.disturb();
            world.lose_volume_of(&lost);
            world.seconds(90).await;
            world.server.faults(|faults| *faults = Faults::default());
            let is_replaced =
                |world: &World| is_settled(world, NAME, 3) && !world.voters(NAME).contains(&lost);
            world.until(PATIENCE, "it is replaced", is_replaced).await;
            world.seconds(60).await;
            assert_eq!(names(&world, &of_kind::CLAIM).len(), 3);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_operator_without_its_definitions_waits_for_them_and_says_so() {
    let mut world = World::new(3);
    world.server.define(&of_kind::CLUSTER, false);
    world.operate(ReplicaOptions::default());
    world.seconds(60).await;
    let (is_ready, why) = world.replica(0).health.readiness();
    assert!(!is_ready && why.contains("not defined"), "{why}");
    world.server.define(&of_kind::CLUSTER, true);
    world.apply(NAME, &spec(1));
    settled(&mut world, 1).await;
    assert!(world.replica(0).health.readiness().0);
}
