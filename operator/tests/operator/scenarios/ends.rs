//! A cluster is deleted, and others take its name.

use serde_json::{Value, json};

use super::{NAME, names, operated, settled, spec, with_cluster};
use crate::api_server::{Kind, of_kind};
use crate::world::{NAMESPACE, World};

const OWNED: [&Kind; 6] = [
    &of_kind::STATEFUL_SET,
    &of_kind::POD,
    &of_kind::SERVICE,
    &of_kind::SECRET,
    &of_kind::BUDGET,
    &of_kind::NETWORK_POLICY,
];

#[tokio::test(start_paused = true)]
async fn what_a_deleted_cluster_leaves_is_what_its_policy_says() {
    for (policy, claims) in [("Retain", 3), ("Delete", 0)] {
        let mut world = operated(5);
        let mut wish = spec(3);
        wish["storage"] = json!({ "pvcRetention": { "whenDeleted": policy } });
        world.apply(NAME, &wish);
        settled(&mut world, 3).await;
        world.disturb();
        world.delete_cluster(NAME).expect("deleted");
        world.seconds(60).await;
        assert!(world.cluster(NAME).is_none(), "no finalizer holds it");
        for kind in OWNED {
            assert_eq!(names(&world, kind), Vec::<String>::new(), "{}", kind.name);
        }
        assert_eq!(names(&world, &of_kind::CLAIM).len(), claims, "{policy}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_foreground_deletion_waits_for_its_objects_and_no_operator_is_needed() {
    let mut world = with_cluster(5, 3).await;
    world.retire(0);
    world.disturb();
    let options = json!({ "propagationPolicy": "Foreground" });
    world.server.delete(&of_kind::CLUSTER, (NAMESPACE, NAME), &options).expect("deleted");
    world.until(90, "it is gone", |world| world.cluster(NAME).is_none()).await;
    for kind in OWNED {
        assert!(names(&world, kind).is_empty(), "{}", kind.name);
    }
}

#[tokio::test(start_paused = true)]
async fn who_takes_the_name_of_another_does_not_take_its_volumes() {
    let mut world = with_cluster(5, 3).await;
    world.disturb();
    world.delete_cluster(NAME).expect("deleted");
    world.seconds(60).await;
    world.apply(NAME, &spec(3));
    world.seconds(60).await;
    let (status, reason) = world.condition(NAME, "Progressing");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Leftovers"), "{}", world.describe());
    assert!(names(&world, &of_kind::STATEFUL_SET).is_empty());
    for claim in names(&world, &of_kind::CLAIM) {
        world.server.delete(&of_kind::CLAIM, (NAMESPACE, &claim), &Value::Null).expect("deleted");
    }
    settled(&mut world, 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_goes_with_everything_in_it() {
    let mut world = with_cluster(5, 3).await;
    world.disturb();
    world.server.delete(&of_kind::NAMESPACE, ("", NAMESPACE), &Value::Null).expect("deleted");
    let is_gone = |world: &World| world.server.get(&of_kind::NAMESPACE, "", NAMESPACE).is_none();
    world.until(120, "the namespace is gone", is_gone).await;
}

#[tokio::test(start_paused = true)]
async fn whatever_the_operator_owns_may_be_deleted_one_kind_after_another() {
    let mut world = with_cluster(5, 3).await;
    let members = world.voters(NAME);
    for kind in OWNED {
        let is_kind_of_members = matches!(kind.name, "StatefulSet" | "Pod");
        for name in names(&world, kind) {
            // The CA itself is another matter: see below.
            if name == "demo-ca" {
                continue;
            }
            world.disturb();
            let _ = world.server.delete(kind, (NAMESPACE, &name), &Value::Null);
            if is_kind_of_members {
                world.seconds(5).await;
                settled(&mut world, 3).await;
            }
        }
        world.seconds(20).await;
        settled(&mut world, 3).await;
    }
    assert_eq!(world.voters(NAME), members, "nobody had to be replaced");
}

#[tokio::test(start_paused = true)]
async fn a_ca_that_is_deleted_is_followed_by_another_without_an_outage() {
    let mut world = with_cluster(5, 3).await;
    let members = world.voters(NAME);
    world.server.delete(&of_kind::SECRET, (NAMESPACE, "demo-ca"), &Value::Null).expect("deleted");
    for _ in 0..600 {
        world.second().await;
        assert_eq!(world.condition(NAME, "Available").0, "True", "{}", world.describe());
    }
    settled(&mut world, 3).await;
    assert_eq!(world.voters(NAME), members);
    assert!(names(&world, &of_kind::SECRET).contains(&"demo-ca".to_owned()));
}
