//! A cluster comes to be.

use serde_json::json;

use super::{NAME, names, operated, settled, spec, with_cluster};
use crate::api_server::of_kind;
use crate::world::{NAMESPACE, ReplicaOptions, World};

#[tokio::test(start_paused = true)]
async fn a_cluster_of_one_three_and_five_comes_to_be() {
    for replicas in [1, 3, 5] {
        let world = with_cluster(6, replicas).await;
        let count = usize::try_from(replicas).expect("a few");
        assert_eq!(names(&world, &of_kind::STATEFUL_SET).len(), count);
        assert_eq!(names(&world, &of_kind::POD).len(), count);
        assert_eq!(names(&world, &of_kind::CLAIM).len(), count);
        let budgets = usize::from(replicas > 1);
        assert_eq!(names(&world, &of_kind::BUDGET).len(), budgets, "one member has no budget");
        let secrets = names(&world, &of_kind::SECRET);
        for name in ["demo-ca", "demo-client-tls", "demo-connection", "demo-operator-tls"] {
            assert!(secrets.iter().any(|secret| secret == name), "{name}: {secrets:?}");
        }
        let status = world.status(NAME);
        assert_eq!(status.endpoints.len(), count);
        assert_eq!(status.summary, Some(format!("{replicas}/{replicas}")));
        assert_eq!(status.version.as_deref(), Some("0.1.0"));
        let leader = world.leader(NAME);
        assert!(leader.is_some() && status.leader == leader);
        assert_eq!(status.operation, None);
        let ready = world.condition(NAME, "CertificatesReady").0;
        assert_eq!(ready, "True");
    }
}

#[tokio::test(start_paused = true)]
async fn members_are_spread_over_nodes_and_are_told_who_votes() {
    let world = with_cluster(5, 5).await;
    let mut nodes: Vec<String> =
        world.voters(NAME).iter().map(|member| world.node_of(member)).collect();
    nodes.sort();
    nodes.dedup();
    assert_eq!(nodes.len(), 5);
    for pod in world.server.list(&of_kind::POD, NAMESPACE) {
        assert_eq!(pod["metadata"]["labels"]["quorate.io/role"], "voter", "{}", pod["metadata"]);
        let state = &pod["metadata"]["annotations"]["quorate.io/initial-cluster-state"];
        assert_eq!(state, "existing", "no empty volume begins a cluster any more");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_tls_has_no_certificates() {
    let mut world = operated(3);
    world.apply(NAME, &json!({ "replicas": 3, "tls": { "provider": "Disabled" } }));
    settled(&mut world, 3).await;
    assert_eq!(names(&world, &of_kind::SECRET), ["demo-connection"]);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_has_come_to_rest_is_written_no_more() {
    let mut world = with_cluster(5, 3).await;
    world.seconds(30).await;
    let before = world.replica(0).writes().len();
    world.seconds(600).await;
    let writes = world.replica(0).writes();
    assert_eq!(writes.len(), before, "{:#?}", &writes[before..]);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_named_and_does_not_begin() {
    let mut world = operated(3);
    world.apply(
        NAME,
        &json!({ "replicas": 3, "auth": { "enabled": true, "rootSecretRef": "root" } }),
    );
    world.seconds(30).await;
    let (status, reason) = world.condition(NAME, "Progressing");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Rejected"));
    assert!(names(&world, &of_kind::STATEFUL_SET).is_empty());
    world.wish(NAME, |spec| spec["auth"] = json!({ "enabled": false }));
    settled(&mut world, 3).await;
}

#[tokio::test(start_paused = true)]
async fn two_clusters_of_one_name_in_two_namespaces_do_not_meet() {
    let mut world = operated(3);
    world.apply(NAME, &spec(3));
    world.apply_in("default", NAME, &spec(1));
    settled(&mut world, 3).await;
    let is_there = |world: &World| {
        let other = world.server.get(&of_kind::CLUSTER, "default", NAME).expect("the other");
        other["status"]["readyReplicas"] == 1
    };
    world.until(60, "the other one", is_there).await;
    assert_eq!(world.machines.lock().groups.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_operator_of_one_namespace_leaves_others_alone() {
    let mut world = World::new(3);
    world.operate(ReplicaOptions {
        namespace: Some("default".to_owned()),
        rights: Some(super::operators::chart_rights(Some("default"))),
        ..ReplicaOptions::default()
    });
    world.apply(NAME, &spec(1));
    world.apply_in("default", NAME, &spec(1));
    let is_there = |world: &World| {
        let other = world.server.get(&of_kind::CLUSTER, "default", NAME).expect("the other");
        other["status"]["readyReplicas"] == 1
    };
    world.until(90, "its own", is_there).await;
    assert!(world.status(NAME).conditions.is_empty());
}
