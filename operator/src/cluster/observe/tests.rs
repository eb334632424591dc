//! Tables: an object as Kubernetes has it, and what it comes to.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    REMOVE, addresses, claim, common_hash, membership, pod, running_image, set, version_of,
};
use crate::cluster::live::Live;
use crate::cluster::names::{Names, Scheme};
use crate::cluster::observed::{Bootstrap, NodeSeen, PodPhase};
use crate::members::{Listed, ListedMember};

fn a_pod(more: Value) -> Pod {
    let mut value = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "demo-0-0",
            "uid": "u",
            "annotations": { "quorate.io/spec-hash": "h" },
        },
        "spec": {
            "nodeName": "n1",
            "containers": [{ "name": "quorate", "image": "q:0.1.0" }],
        },
    });
    merge(&mut value, more);
    serde_json::from_value(value).expect("a pod")
}

fn merge(target: &mut Value, more: Value) {
    match (target, more) {
        (Value::Object(target), Value::Object(more)) => {
            for (key, value) in more {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, more) => *target = more,
    }
}

fn running(state: Value) -> Value {
    json!({ "status": {
        "phase": "Running",
        "containerStatuses": [{
            "name": "quorate", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": state,
        }],
    }})
}

#[test]
fn a_pod_s_phase_is_that_of_its_container() {
    let waiting = json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "again" } });
    for (more, phase) in [
        (json!({}), PodPhase::Pending),
        (json!({ "status": { "phase": "Pending" } }), PodPhase::Pending),
        (running(json!({ "running": {} })), PodPhase::Running),
        (json!({ "status": { "phase": "Running" } }), PodPhase::Running),
        (running(waiting), PodPhase::Pending),
        (running(json!({ "terminated": { "exitCode": 1 } })), PodPhase::Pending),
        (json!({ "status": { "phase": "Failed" } }), PodPhase::Over),
        (json!({ "status": { "phase": "Succeeded" } }), PodPhase::Over),
        (json!({ "status": { "phase": "Unknown" } }), PodPhase::Unknown),
    ] {
        assert_eq!(pod(&a_pod(more.clone())).phase, phase, "{more}");
    }
}

#[test]
fn what_keeps_a_pod_from_running_is_told_in_kubernetes_words() {
    let scheduled = json!({ "status": { "phase": "Pending", "conditions": [
        { "type": "PodScheduled", "status": "False", "message": "0/3 nodes" },
    ]}});
    let waits = |reason: &str| running(json!({ "waiting": { "reason": reason, "message": "m" } }));
    for (more, trouble) in [
        (json!({}), None),
        (running(json!({ "running": {} })), None),
        (waits("ContainerCreating"), None),
        (waits("PodInitializing"), None),
        (waits("ImagePullBackOff"), Some("ImagePullBackOff: m")),
        (scheduled, Some("it has no node: 0/3 nodes")),
        (
            running(json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } })),
            Some("OOMKilled, exit code 137: "),
        ),
        (
            json!({ "status": { "phase": "Failed", "reason": "Evicted", "message": "disk" } }),
            Some("Evicted: disk"),
        ),
    ] {
        let seen = pod(&a_pod(more.clone()));
        assert_eq!(seen.trouble.as_deref(), trouble, "{more}");
    }
}

#[test]
fn a_member_that_ends_says_whether_it_has_to_be_replaced() {
    // What the member says is what is looked for.
    let source = include_str!("../../../../node/member/src/identity/mod.rs");
    assert!(source.contains(&format!("REMEDY: &str = \"{REMOVE} ")), "REMEDY begins otherwise");
    let ended = |code: i32, said: &str| {
        let mut more =
            running(json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "m" } }));
        more["status"]["containerStatuses"][0]["lastState"] =
            json!({ "terminated": { "exitCode": code, "message": said } });
        pod(&a_pod(more))
    };
    let refused = ended(1, "a line\nquorate: refused; remove this member from the cluster (…)\n\n");
    assert!(refused.is_refused);
    assert_eq!(
        refused.trouble.as_deref(),
        Some(
            "CrashLoopBackOff: m; it said: quorate: refused; remove this member from the cluster \
             (…)"
        )
    );
    assert!(!ended(1, "remove this member from the cluster\nquorate: a flag is wrong").is_refused);
    assert!(!ended(0, "remove this member from the cluster").is_refused);
    let long = ended(1, &"x".repeat(5000)).trouble.expect("trouble");
    assert!(long.len() < 400, "{long}");
}

#[test]
fn a_pod_has_its_hash_its_version_and_its_node() {
    let node = NodeSeen { name: "n1".to_owned(), zone: Some("z".to_owned()), is_ready: false };
    let nodes = BTreeMap::from([("n1".to_owned(), node.clone())]);
    let ready = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }] } });
    let seen = pod(&a_pod(ready.clone()));
    let now = Timestamp::UNIX_EPOCH;
    assert_eq!((seen.uid.as_str(), seen.hash.as_str()), ("u", "h"));
    assert_eq!(seen.version.as_deref(), Some("0.1.0"));
    assert_eq!(super::node(&a_pod(ready), &nodes, now), Some(node));
    assert!(seen.is_ready);
    assert!(!pod(&a_pod(json!({}))).is_ready);
}

#[test]
fn a_node_that_cannot_be_read_is_as_its_pods_show() {
    let now: Timestamp = "2026-01-01T00:02:01Z".parse().expect("a time");
    let leaving = |end: &str| json!({ "metadata": { "deletionTimestamp": end, "deletionGracePeriodSeconds": 30 } });
    for (more, is_ready) in [
        (json!({}), true),
        (json!({ "status": { "phase": "Failed", "reason": "Evicted" } }), true),
        (json!({ "status": { "phase": "Running", "reason": "NodeLost" } }), false),
        (json!({ "status": { "phase": "Unknown" } }), false),
        (leaving("2026-01-01T00:01:30Z"), true),
        (leaving("2026-01-01T00:01:00Z"), false),
        (leaving("2026-01-01T00:02:30Z"), true),
    ] {
        let seen = super::node(&a_pod(more.clone()), &BTreeMap::new(), now).expect("a node");
        assert_eq!((seen.name.as_str(), seen.is_ready), ("n1", is_ready), "{more}");
        // Where nodes can be read, their word counts.
        let read = NodeSeen { name: "n1".to_owned(), zone: None, is_ready: true };
        let nodes = BTreeMap::from([("n1".to_owned(), read.clone())]);
        assert_eq!(super::node(&a_pod(more), &nodes, now), Some(read));
    }
}

#[test]
fn a_deletion_began_before_the_time_that_it_is_dated_to() {
    let leaving = json!({ "metadata": {
        "deletionTimestamp": "2026-01-01T00:01:00Z",
        "deletionGracePeriodSeconds": 60,
    }});
    let since: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    assert_eq!(pod(&a_pod(leaving)).leaving_since, Some(since));
    assert_eq!(pod(&a_pod(json!({}))).leaving_since, None);
}

#[test]
fn versions_are_read_from_tags_that_are_versions() {
    for (image, version) in [
        ("q:0.1.0", Some("0.1.0")),
        ("host:5000/q:0.1.0-rc.1", Some("0.1.0-rc.1")),
        ("q:0.1.0@sha256:00", Some("0.1.0")),
        ("host:5000/q", None),
        ("q@sha256:00", None),
        ("q:latest", None),
        ("localhost/q:e2e", None),
    ] {
        assert_eq!(version_of(image).as_deref(), version, "{image}");
    }
}

fn a_set(name: &str, image: &str, hash: &str, state: &str, replicas: i32) -> StatefulSet {
    serde_json::from_value(json!({
        "metadata": { "name": name, "uid": "s", "resourceVersion": "7" },
        "spec": {
            "replicas": replicas,
            "selector": {},
            "template": {
                "metadata": { "annotations": {
                    "quorate.io/spec-hash": hash,
                    "quorate.io/initial-cluster-state": state,
                }},
                "spec": { "containers": [{ "name": "quorate", "image": image }] },
            },
        },
    }))
    .expect("a StatefulSet")
}

#[test]
fn a_set_says_whether_it_would_begin_a_cluster() {
    let seen = set(&a_set("demo-0", "q:1", "h", "new", 1));
    assert_eq!((seen.uid.as_str(), seen.version.as_str()), ("s", "7"));
    assert_eq!((seen.bootstrap, seen.is_stopped), (Bootstrap::New, false));
    let seen = set(&a_set("demo-0", "q:1", "h", "existing", 0));
    assert_eq!((seen.bootstrap, seen.is_stopped), (Bootstrap::Existing, true));
}

#[test]
fn a_claim_has_sizes_and_a_phase() {
    let a_claim = |phase: &str| -> PersistentVolumeClaim {
        serde_json::from_value(json!({
            "metadata": { "uid": "c" },
            "spec": { "resources": { "requests": { "storage": "2Gi" } } },
            "status": { "phase": phase, "capacity": { "storage": "1Gi" } },
        }))
        .expect("a claim")
    };
    let seen = claim(&a_claim("Bound"));
    assert_eq!((seen.requested, seen.capacity), (2 << 30, 1 << 30));
    assert!(seen.is_bound && !seen.is_lost);
    assert!(claim(&a_claim("Lost")).is_lost);
    let nothing = claim(&PersistentVolumeClaim::default());
    assert_eq!((nothing.requested, nothing.capacity, nothing.is_bound), (0, 0, false));
}

#[test]
fn members_are_known_by_their_peer_urls_and_strangers_have_no_number() {
    let names = Names::new("demo", "ns");
    let member = |id, url: &str, name: &str| ListedMember {
        id,
        name: name.to_owned(),
        peer_urls: vec![url.to_owned()],
        is_learner: id == 2,
    };
    let listed = Listed {
        cluster_id: 9,
        members: vec![
            member(1, "https://demo-0-0.demo-members.ns.svc:2380", "demo-0"),
            member(2, "https://demo-12-0.demo-members.ns.svc:2380", ""),
            member(3, "https://demo-0-0.demo-members.elsewhere.svc:2380", "demo-0"),
            member(4, "http://demo-1-0.demo-members.ns.svc:2380", "demo-1"),
            member(5, "https://10.0.0.1:2380", "other"),
        ],
    };
    let known = membership(&names, Scheme::Https, &listed);
    assert_eq!(known.cluster_id, 9);
    let numbers: Vec<_> = known.members.iter().map(|member| member.number).collect();
    assert_eq!(numbers, [Some(0), Some(12), None, None, None]);
    assert!(known.members[0].is_started && !known.members[1].is_started);
    assert!(known.members[1].is_learner);
}

/// A member of a Live: its template's image, and its pod.
type ASetAndAPod<'a> = (&'a str, Option<APod<'a>>);
/// A pod's image, whether it is ready, and whether it is in trouble.
type APod<'a> = (&'a str, bool, bool);

fn live(members: &[ASetAndAPod<'_>]) -> Live {
    let mut live = Live::default();
    for (number, (image, pod)) in (0..).zip(members) {
        let name = format!("demo-{number}");
        live.sets.insert(number, a_set(&name, image, image, "existing", 1));
        let Some((image, is_ready, is_in_trouble)) = pod else { continue };
        let mut status = json!({ "phase": "Running", "podIP": format!("10.0.0.{number}") });
        if *is_ready {
            status["conditions"] = json!([{ "type": "Ready", "status": "True" }]);
        }
        if *is_in_trouble {
            let state = json!({ "waiting": { "reason": "ErrImagePull" } });
            merge(&mut status, running(state)["status"].take());
        }
        let spec = json!({ "containers": [{ "name": "quorate", "image": image }] });
        live.pods.insert(number, a_pod(json!({ "spec": spec, "status": status })));
    }
    live
}

#[test]
fn the_image_that_stays_is_one_that_serves() {
    for (members, image) in [
        (&[][..], None),
        // Asleep.
        (&[("q:1", None), ("q:1", None)][..], Some("q:1")),
        // In the middle of a change, most count.
        (
            &[
                ("q:2", Some(("q:2", true, false))),
                ("q:2", Some(("q:1", true, false))),
                ("q:1", Some(("q:1", true, false))),
            ][..],
            Some("q:1"),
        ),
        // One that does not even begin is no model for the others.
        (
            &[("bad", Some(("bad", false, true))), ("q:1", Some(("q:1", true, false)))][..],
            Some("q:1"),
        ),
        // Nor for itself.
        (&[("bad", Some(("bad", false, true)))][..], None),
        // All of them are just coming back.
        (&[("q:1", Some(("q:1", false, false)))][..], Some("q:1")),
    ] {
        assert_eq!(running_image(&live(members)).as_deref(), image, "{members:?}");
    }
}

#[test]
fn members_are_asked_where_their_pods_run() {
    let live =
        live(&[("q", Some(("q", true, false))), ("q", Some(("q", false, true))), ("q", None)]);
    let found = addresses(&live);
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [0]);
    assert_eq!(found[&0].to_string(), "10.0.0.0");
    assert_eq!(common_hash(&live).as_deref(), Some("q"));
}
