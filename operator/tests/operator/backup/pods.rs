//! The pods that carry backups, and what is seen of them.

use k8s_openapi::api::core::v1::Pod;
use quorate_operator::backup::plan::{Errand, PodSeen};
use quorate_operator::backup::task::Report;
use quorate_operator::backup::{Cause, pods};
use quorate_operator_api::QuorateBackup;
use serde_json::{Value, json};

use super::plan::{backup, cluster};
use crate::build::defaults;
use crate::golden::assert_golden;

fn begun(destination: &Value) -> QuorateBackup {
    let mut made = backup("first", &json!({ "cluster": "demo", "destination": destination }));
    let status = json!({
        "phase": "Running",
        "destination": destination,
        "object": "p/ns/demo/20260301T100000Z-first.db",
        "sizeBytes": 5_000_000_000_i64,
        "sha256": "ab",
    });
    made.status = Some(serde_json::from_value(status).expect("a status"));
    made
}

#[test]
fn manifests_of_all_errands_and_destinations() {
    let s3 = json!({ "s3": {
        "bucket": "vault", "prefix": "p", "endpoint": "https://s3.example:9000", "pathStyle": true,
        "credentials": "vault-keys", "ca": { "name": "vault-ca", "key": "root.pem" },
    } });
    let gcs = json!({ "gcs": {
        "bucket": "vault", "serviceAccount": { "name": "robot", "key": "key.json" },
    } });
    let azure = json!({ "azure": {
        "account": "acct", "container": "box", "endpoint": "https://acct.blob.example",
        "accessKey": { "name": "azure", "key": "secret" },
        "ca": { "name": "azure", "key": "root.pem" },
    } });
    let pvc = json!({ "pvc": { "claim": "backups", "folder": "kept" } });
    let mut text = String::new();
    let demo = cluster(&Value::Null);
    for (destination, errand) in [
        (&s3, Errand::Save(2)),
        (&gcs, Errand::Remove(1)),
        (&azure, Errand::Remove(1)),
        (&pvc, Errand::Save(1)),
        (&s3, Errand::Verify),
    ] {
        let pod = pods::build(&begun(destination), Some(&demo), &defaults(), errand);
        let pod = pod.expect("built");
        let value = serde_json::to_value(&pod).expect("JSON");
        let yaml = serde_yaml::to_string(&value).expect("YAML");
        text.push_str(&format!("---\n{}\n", yaml.trim_end()));
    }
    assert_golden("backup_pods.yaml", &text);

    // A file is deleted when the cluster is gone, too; nothing else is done then.
    let of_none = |errand| pods::build(&begun(&s3), None, &defaults(), errand);
    assert!(of_none(Errand::Remove(1)).is_ok());
    assert!(of_none(Errand::Save(1)).is_err() && of_none(Errand::Verify).is_err());
}

#[test]
fn names_are_names() {
    let long = format!("a.{}", "b".repeat(200));
    for name in ["first", long.as_str(), "ends-in-dots-after-forty-characters-ab-.x"] {
        let made = backup(name, &json!({ "cluster": "demo" }));
        for errand in [Errand::Save(12), Errand::Remove(3), Errand::Verify] {
            let name = pods::name(&made, errand);
            assert!(name.len() <= 63 && !name.contains('.'), "{name}");
        }
    }
}

fn seen(status: Value) -> PodSeen {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "p", "creationTimestamp": "2026-03-01T10:00:00Z" },
        "status": status,
    });
    let pod: Pod = serde_json::from_value(pod).expect("a pod");
    pods::seen(&pod, Some(9))
}

fn ended(name: &str, code: i32, message: &str) -> Value {
    json!({
        "name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "terminated": { "exitCode": code, "message": message } },
    })
}

fn waiting(name: &str, reason: &str, message: &str) -> Value {
    json!({
        "name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "waiting": { "reason": reason, "message": message } },
    })
}

#[test]
fn what_pods_have_come_to() {
    let cause = |seen| match seen {
        PodSeen::Ended(Report::Failed(failure)) => (failure.cause, failure.message),
        other => panic!("{other:?}"),
    };
    let failed = r#"{"report":"failed","cause":"NoSuchBucket","message":"no bucket"}"#;
    let done = json!({ "phase": "Succeeded", "containerStatuses": [ended("task", 0, r#"{"report":"done"}"#)] });
    assert_eq!(seen(done), PodSeen::Ended(Report::Done));
    let status = json!({ "phase": "Failed", "containerStatuses": [ended("task", 1, failed)] });
    assert_eq!(cause(seen(status)).0, Cause::NoSuchBucket);
    // It was killed before it could say anything.
    let status = json!({ "phase": "Failed", "containerStatuses": [ended("task", 137, "")] });
    assert_eq!(cause(seen(status)).0, Cause::PodFailed);
    let status = json!({ "phase": "Failed", "reason": "Evicted", "message": "low on memory" });
    assert_eq!(cause(seen(status)), (Cause::PodFailed, "Evicted".to_owned()));
    // The file was fetched, and is none.
    let status = json!({
        "phase": "Failed",
        "initContainerStatuses": [
            ended("fetch", 0, r#"{"report":"done"}"#),
            ended("restore", 1, "quorate: backup.db: the snapshot is cut off"),
        ],
    });
    let (found, message) = cause(seen(status));
    assert_eq!(found, Cause::NotRestorable);
    assert!(message.contains("is cut off"), "{message}");
    let status = json!({ "phase": "Failed", "initContainerStatuses": [ended("fetch", 1, failed)] });
    assert_eq!(cause(seen(status)).0, Cause::NoSuchBucket);

    assert_eq!(seen(json!({ "phase": "Running" })), PodSeen::Running(Some(9)));
    let since = Some("2026-03-01T10:00:00Z".parse().expect("a time"));
    let status = json!({ "phase": "Pending", "containerStatuses": [waiting("task", "ImagePullBackOff", "no such image")] });
    let trouble = Some("ImagePullBackOff no such image".to_owned());
    assert_eq!(seen(status), PodSeen::Waiting { since, trouble });
    let status = json!({ "phase": "Pending", "containerStatuses": [waiting("task", "ContainerCreating", "")] });
    assert_eq!(seen(status), PodSeen::Waiting { since, trouble: None });
    let status = json!({ "phase": "Pending", "conditions": [
        { "type": "PodScheduled", "status": "False", "message": "no node has room" },
    ] });
    let trouble = Some("no node has room".to_owned());
    assert_eq!(seen(status), PodSeen::Waiting { since, trouble });
    assert_eq!(seen(json!({})), PodSeen::Waiting { since, trouble: None });
}
