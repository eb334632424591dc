//! Clusters that begin with data, and those that go on with what is left.

use k8s_openapi::api::core::v1::Pod;
use quorate_operator::cluster::build::{
    Blueprint, BuildError, CLUSTER_STATE, Member, stateful_set,
};
use quorate_operator::cluster::observed::Remains;
use quorate_operator::recovery::{inspector, remains};
use quorate_operator::restore::{Origin, origin};
use quorate_operator_api::{QuorateBackup, QuorateCluster};
use serde_json::{Value, json};

use super::plan::{backup, cluster};
use crate::build::defaults;
use crate::golden::assert_golden;

fn bootstrapped(bootstrap: &Value) -> QuorateCluster {
    let mut made = crate::build::cluster(&json!({ "bootstrap": bootstrap }));
    made.metadata.name = Some("again".to_owned());
    made
}

fn kept() -> QuorateBackup {
    let mut kept = backup("first", &json!({ "cluster": "demo" }));
    let status = json!({
        "phase": "Completed",
        "destination": { "s3": { "bucket": "vault", "credentials": "keys" } },
        "object": "ns/demo/first.db",
        "sha256": "ab",
    });
    kept.status = Some(serde_json::from_value(status).expect("a status"));
    kept
}

#[test]
fn what_cannot_be_restored_from_is_refused_by_name() {
    let of_backup = bootstrapped(&json!({ "restore": { "backupName": "first" } }));
    let refused = |backup: Option<&QuorateBackup>| {
        origin(&of_backup, backup, None).expect_err("refused").to_string()
    };
    assert!(refused(None).contains("there is no QuorateBackup first"));
    let mut running = kept();
    running.status.as_mut().expect("a status").phase =
        serde_json::from_value(json!("Running")).expect("a phase");
    assert!(refused(Some(&running)).contains("it is Running"));
    let mut useless = kept();
    useless.status.as_mut().expect("a status").verified = Some(false);
    let said = refused(Some(&useless));
    assert!(said.contains("could not be restored") && said.contains("source and object"), "{said}");
    assert!(matches!(origin(&of_backup, Some(&kept()), None), Ok(Some(Origin::Backup { .. }))));

    let copy = bootstrapped(&json!({ "clone": { "cluster": "demo" } }));
    let said = origin(&copy, None, None).expect_err("refused").to_string();
    assert!(said.contains("there is no QuorateCluster demo"), "{said}");
    let mut unborn = cluster(&Value::Null);
    unborn.status = None;
    let said = origin(&copy, None, Some(&unborn)).expect_err("refused").to_string();
    assert!(said.contains("has not begun"), "{said}");
    let Ok(Some(Origin::Cluster { source, secret })) =
        origin(&copy, None, Some(&cluster(&Value::Null)))
    else {
        panic!("it runs");
    };
    // A follower first; a learner not at all.
    let expected =
        ["demo-1-0", "demo-0-0"].map(|pod| format!("https://{pod}.demo-members.ns.svc:2379"));
    assert_eq!(source.endpoints, expected);
    assert_eq!(secret.as_deref(), Some("demo-operator-tls"));

    let elsewhere = bootstrapped(&json!({ "clone": { "endpoints": ["https://etcd:2379"] } }));
    let said = origin(&elsewhere, None, None).expect_err("refused").to_string();
    assert!(said.contains("clientSecretRef"), "{said}");
    assert_eq!(origin(&cluster(&Value::Null), None, None), Ok(None));
}

#[test]
fn the_first_member_is_made_of_it_and_nobody_else_is() {
    let of_file = bootstrapped(&json!({ "restore": {
        "source": { "pvc": { "claim": "old" } }, "object": "etcd/snapshot.db",
    } }));
    let of_backup = bootstrapped(&json!({ "restore": { "backupName": "first" } }));
    let of_cluster = bootstrapped(&json!({ "clone": { "cluster": "demo" } }));
    let demo = cluster(&Value::Null);
    let defaults = defaults();
    let mut text = String::new();
    for cluster in [&of_file, &of_backup, &of_cluster] {
        let found = origin(cluster, Some(&kept()), Some(&demo)).expect("it is there");
        let blueprint =
            Blueprint::new(cluster, &defaults, None).expect("complete").with_origin(found);
        let set = stateful_set(&blueprint, &Member::seed(0), None).expect("built");
        text.push_str(&pod_of(&set));
        let joiner = Member::joiner(1, "again-0=x,again-1=y".to_owned());
        let set = stateful_set(&blueprint, &joiner, None).expect("built");
        assert!(init_containers(&set).is_empty());
    }
    assert_golden("restored_pods.yaml", &text);

    // Without it there is no first member, rather than an empty one.
    let blueprint = Blueprint::new(&of_backup, &defaults, None).expect("complete");
    let refused = stateful_set(&blueprint, &Member::seed(0), None);
    assert_eq!(refused.expect_err("refused"), BuildError::NoOrigin);
    // Once the cluster has begun an empty volume stays empty.
    let mut begun = of_backup.clone();
    begun.status = demo.status.clone();
    let blueprint = Blueprint::new(&begun, &defaults, None).expect("complete");
    let set = stateful_set(&blueprint, &Member::seed(0), None).expect("built");
    assert!(init_containers(&set).is_empty());
    assert_eq!(state(&set), "existing");
}

fn spec(set: &k8s_openapi::api::apps::v1::StatefulSet) -> &k8s_openapi::api::core::v1::PodSpec {
    set.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()).expect("a pod")
}

fn init_containers(set: &k8s_openapi::api::apps::v1::StatefulSet) -> Vec<String> {
    spec(set).init_containers.iter().flatten().map(|container| container.name.clone()).collect()
}

fn state(set: &k8s_openapi::api::apps::v1::StatefulSet) -> &str {
    let template = &set.spec.as_ref().expect("a specification").template;
    let metadata = template.metadata.as_ref().expect("metadata");
    &metadata.annotations.as_ref().expect("annotations")[CLUSTER_STATE]
}

/// What makes the member, and the volumes for it.
fn pod_of(set: &k8s_openapi::api::apps::v1::StatefulSet) -> String {
    let value = json!({
        "initContainers": spec(set).init_containers,
        "volumes": spec(set).volumes,
    });
    format!("---\n{}\n", serde_yaml::to_string(&value).expect("YAML").trim_end())
}

#[test]
fn an_heir_is_made_of_the_survivor_until_its_cluster_is_known() {
    let demo = cluster(&Value::Null);
    let defaults = defaults();
    let blueprint = Blueprint::new(&demo, &defaults, None).expect("complete");
    let heir = Member::heir(5, blueprint.names.claim(1));
    let set = stateful_set(&blueprint, &heir, None).expect("built");
    assert_eq!((init_containers(&set), state(&set)), (vec!["restore".to_owned()], "new"));
    assert_golden("heir_pod.yaml", &pod_of(&set));
    // As it is written when its cluster has an id.
    let known = Member::of(&blueprint, &set).expect("a member of ours");
    let closed = stateful_set(&blueprint, &known, Some(&set)).expect("built");
    assert_eq!((init_containers(&closed), state(&closed)), (Vec::new(), "existing"));
}

#[test]
fn what_survivors_hold_is_read_of_pods_of_this_cluster() {
    let demo = cluster(&Value::Null);
    let defaults = defaults();
    let blueprint = Blueprint::new(&demo, &defaults, None).expect("complete");
    let inspected = |number: i64, id: u64, code: i32, message: &str| -> Pod {
        let mut pod = inspector(&blueprint, id, number);
        let status = json!({ "phase": "Succeeded", "containerStatuses": [{
            "name": "inspection", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "terminated": { "exitCode": code, "message": message } },
        }] });
        pod.status = Some(serde_json::from_value(status).expect("a status"));
        pod
    };
    let told = |cluster: &str, damage: &str| {
        format!(
            r#"{{"directory":"/survivor/data","member":"1","cluster":"{cluster}","lastTerm":3,"lastIndex":40,"committed":39,"checkpoint":1,"revision":7,"damage":"{damage}"}}"#
        )
    };
    let pods = [
        inspected(0, 0xcdf8, 0, &told("cdf8", "")),
        inspected(1, 0xcdf8, 0, &told("cdf8", "the log is damaged")),
        inspected(2, 0xcdf8, 0, &told("beef", "")),
        inspected(3, 0xcdf8, 1, "quorate: there is no log in it"),
        // Killed, and of an earlier recovery.
        inspected(4, 0xcdf8, 137, ""),
        inspected(5, 0xbeef, 0, &told("beef", "")),
        inspector(&blueprint, 0xcdf8, 6),
    ];
    let found = remains(&blueprint, 0xcdf8, &pods);
    let is = |term, index, is_damaged| Remains { term, index, is_damaged };
    assert_eq!(
        found.into_iter().collect::<Vec<_>>(),
        [(0, is(3, 40, false)), (1, is(3, 40, true)), (2, is(3, 40, true)), (3, is(0, 0, true)),]
    );
    let yaml = serde_json::to_value(inspector(&blueprint, 0xcdf8, 1)).expect("JSON");
    assert_golden(
        "inspector.yaml",
        &format!("{}\n", serde_yaml::to_string(&yaml).expect("YAML").trim_end()),
    );
}
