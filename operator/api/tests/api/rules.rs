//! Every rule with a case on either side.

use kube::core::cel;
use quorate_operator_api::{OWNED_FLAGS, QuorateBackup, QuorateCluster};
use serde_json::{Value, json};

fn cluster(name: &str, spec: &Value) -> QuorateCluster {
    serde_json::from_value(json!({
        "apiVersion": "quorate.io/v1alpha1", "kind": "QuorateCluster",
        "metadata": { "name": name }, "spec": spec,
    }))
    .unwrap_or_else(|error| panic!("{spec}: {error}"))
}

fn refusals<T, E: std::fmt::Debug>(result: Result<T, E>) -> String {
    result.err().map(|errors| format!("{errors:?}")).unwrap_or_default()
}

/// `good` is taken; `bad` is refused with `words`.
fn creation(words: &str, good: &[Value], bad: &[Value]) {
    for spec in good {
        let found = refusals(cel::validate_cel(&cluster("a", spec)));
        assert_eq!(found, "", "{spec}");
    }
    for spec in bad {
        let found = refusals(cel::validate_cel(&cluster("a", spec)));
        assert!(found.contains(words), "{spec}: {words:?} is not in {found:?}");
    }
}

/// From the first of each pair to the second.
fn change(words: &str, good: &[(Value, Value)], bad: &[(Value, Value)]) {
    for (old, new) in good {
        let found = refusals(cel::validate_cel_update(&cluster("a", new), &cluster("a", old)));
        assert_eq!(found, "", "{old} → {new}");
    }
    for (old, new) in bad {
        let found = refusals(cel::validate_cel_update(&cluster("a", new), &cluster("a", old)));
        assert!(found.contains(words), "{old} → {new}: {words:?} is not in {found:?}");
    }
}

#[test]
fn names() {
    let longest = "a".repeat(40);
    for name in ["a", "etcd-1", longest.as_str()] {
        assert_eq!(refusals(cel::validate_cel(&cluster(name, &json!({})))), "", "{name}");
    }
    let too_long = "a".repeat(41);
    for (name, words) in [
        (too_long.as_str(), "40 characters"),
        ("1a", "begins with a letter"),
        ("a.b", "no dots"),
        ("a-", "begins with a letter"),
    ] {
        let found = refusals(cel::validate_cel(&cluster(name, &json!({}))));
        assert!(found.contains(words), "{name}: {found}");
    }
}

#[test]
fn replicas() {
    let of = |replicas: i32| json!({ "replicas": replicas });
    creation("replicas is odd", &[of(1), of(3), of(9)], &[of(2), of(4), of(8)]);
}

#[test]
fn versions() {
    let of = |version: &str| json!({ "version": version });
    let pair = |old: &str, new: &str| (of(old), of(new));
    change(
        "step by step",
        &[
            pair("1.2.3", "1.2.3"),
            pair("1.2.3", "1.2.9"),
            pair("1.2.9", "1.2.0"),
            pair("1.2.3", "1.3.0"),
        ],
        &[
            pair("1.2.3", "1.4.0"),
            pair("1.2.3", "1.1.0"),
            pair("1.2.3", "2.2.3"),
            pair("1.9.0", "1.11.0"),
        ],
    );
}

#[test]
fn images() {
    let digest = format!("sha256:{}", "0".repeat(64));
    creation(
        "set repository",
        &[
            json!({ "image": { "repository": "a/b" } }),
            json!({ "image": { "repository": "a/b", "digest": digest } }),
        ],
        &[json!({ "image": { "digest": digest } })],
    );
}

#[test]
fn volumes() {
    let of = |size: &str| json!({ "storage": { "size": size } });
    creation("64Mi at least", &[of("64Mi"), of("1G")], &[of("63Mi"), of("1k")]);
    change(
        "cannot shrink",
        &[(of("1Gi"), of("1Gi")), (of("1Gi"), of("1025Mi")), (of("1G"), of("1Gi"))],
        &[(of("1Gi"), of("1G")), (of("2Gi"), of("1Gi"))],
    );
    let class = |name: Option<&str>| match name {
        Some(name) => json!({ "storage": { "storageClassName": name } }),
        None => json!({}),
    };
    change(
        "class cannot be changed",
        &[(class(None), class(None)), (class(Some("a")), class(Some("a")))],
        &[
            (class(None), class(Some("a"))),
            (class(Some("a")), class(None)),
            (class(Some("a")), class(Some("b"))),
        ],
    );
    let grow = |size: &str, max: &str| json!({ "storage": { "size": size, "autoGrow": { "maxSize": max } } });
    creation(
        "maxSize is not below size",
        &[grow("1Gi", "1Gi"), grow("1Gi", "1Ti")],
        &[grow("1Gi", "1G")],
    );
}

#[test]
fn certificates() {
    let of = |tls: Value| json!({ "tls": tls });
    creation(
        "set issuerRef",
        &[of(json!({ "provider": "CertManager", "issuerRef": { "name": "a" } }))],
        &[of(json!({ "provider": "CertManager" }))],
    );
    creation(
        "set serverSecret and peerSecret",
        &[of(json!({ "provider": "Secret", "serverSecret": "a", "peerSecret": "b" }))],
        &[
            of(json!({ "provider": "Secret" })),
            of(json!({ "provider": "Secret", "serverSecret": "a" })),
            of(json!({ "provider": "Secret", "peerSecret": "a" })),
        ],
    );
    creation(
        "renewed before they end",
        &[of(json!({ "certValidityDays": 2, "renewBeforeDays": 1 }))],
        &[
            of(json!({ "certValidityDays": 2, "renewBeforeDays": 2 })),
            of(json!({ "certValidityDays": 30 })),
        ],
    );
    let provider = |name: &str| of(json!({ "provider": name }));
    let secret = of(json!({ "provider": "Secret", "serverSecret": "a", "peerSecret": "b" }));
    change(
        "switched on or off",
        &[(provider("Disabled"), provider("Disabled")), (provider("Managed"), secret)],
        &[(provider("Disabled"), provider("Managed")), (provider("Managed"), provider("Disabled"))],
    );
}

#[test]
fn users() {
    let of = |auth: Value, provider: &str| json!({ "auth": auth, "tls": { "provider": provider } });
    creation(
        "name its Secret in rootSecretRef",
        &[
            of(json!({ "enabled": true, "rootSecretRef": "a" }), "Managed"),
            of(json!({ "enabled": false }), "Managed"),
        ],
        &[of(json!({ "enabled": true }), "Managed")],
    );
    creation(
        "auth needs TLS",
        &[of(json!({ "enabled": false }), "Disabled")],
        &[of(json!({ "enabled": true, "rootSecretRef": "a" }), "Disabled")],
    );
}

#[test]
fn timing() {
    let of = |heartbeat: i32, election: i32| json!({ "config": { "heartbeatIntervalMs": heartbeat, "electionTimeoutMs": election } });
    creation("five times", &[of(100, 500), of(10, 50)], &[of(100, 499), of(1000, 1000)]);
}

#[test]
fn flags() {
    let of = |flag: &str| json!({ "config": { "extraArgs": { flag: "a" } } });
    let owned: Vec<Value> = OWNED_FLAGS.iter().map(|flag| of(flag)).collect();
    creation(
        "the operator sets itself",
        &[of("log-level"), of("feature-gates"), json!({})],
        &owned,
    );
    creation("without dashes", &[of("max-request-bytes")], &[of("--log-level"), of("Log"), of("")]);
}

#[test]
fn compaction() {
    let of = |mode: &str, retention: &str| json!({ "config": { "autoCompaction": { "mode": mode, "retention": retention } } });
    creation(
        "a period is a duration",
        &[of("Periodic", "5m"), of("Periodic", "1h30m")],
        &[of("Periodic", "5"), of("Periodic", "m"), of("Periodic", "5 m")],
    );
    creation(
        "revisions are a number",
        &[of("Revision", "1000")],
        &[of("Revision", "5m"), of("Revision", "0"), of("Revision", "-1")],
    );
    creation("", &[of("Disabled", "5m")], &[]);
}

#[test]
fn backups() {
    let s3 = json!({ "s3": { "bucket": "abc" } });
    let of = |destination: Value| json!({ "backup": { "destination": destination } });
    creation(
        "exactly one of s3, gcs, azure and pvc",
        &[
            of(s3.clone()),
            of(json!({ "gcs": { "bucket": "abc" } })),
            of(json!({ "azure": { "account": "abc", "container": "abc" } })),
            of(json!({ "pvc": { "claim": "abc" } })),
        ],
        &[of(json!({})), of(json!({ "s3": { "bucket": "abc" }, "pvc": { "claim": "abc" } }))],
    );
    creation(
        "set schedule, too",
        &[
            json!({ "backup": { "destination": s3, "schedule": "0 3 * * *", "timeZone": "Europe/Berlin" } }),
        ],
        &[json!({ "backup": { "destination": s3, "timeZone": "Europe/Berlin" } })],
    );
}

#[test]
fn beginnings() {
    let of = |bootstrap: Value| json!({ "bootstrap": bootstrap });
    let restore = of(json!({ "restore": { "backupName": "a" } }));
    creation(
        "exactly one of restore, clone and join",
        &[
            restore.clone(),
            of(json!({ "clone": { "cluster": "b" } })),
            of(json!({ "join": { "endpoints": ["http://a:2379"] } })),
        ],
        &[
            of(json!({})),
            of(json!({ "restore": { "backupName": "a" }, "clone": { "cluster": "b" } })),
        ],
    );
    let file = json!({ "pvc": { "claim": "abc" } });
    creation(
        "exactly one of backupName and source",
        &[of(json!({ "restore": { "source": file, "object": "a.db" } }))],
        &[
            of(json!({ "restore": {} })),
            of(json!({ "restore": { "backupName": "a", "source": file, "object": "a.db" } })),
        ],
    );
    creation(
        "set source and object",
        &[],
        &[
            of(json!({ "restore": { "source": file } })),
            of(json!({ "restore": { "backupName": "a", "object": "a.db" } })),
        ],
    );
    creation(
        "exactly one of cluster and endpoints",
        &[of(json!({ "clone": { "endpoints": ["http://a:2379"] } }))],
        &[
            of(json!({ "clone": {} })),
            of(json!({ "clone": { "cluster": "b", "endpoints": ["http://a:2379"] } })),
        ],
    );
    let other = of(json!({ "restore": { "backupName": "b" } }));
    change(
        "cannot be changed",
        &[(restore.clone(), restore.clone()), (json!({}), json!({}))],
        &[(json!({}), restore.clone()), (restore.clone(), json!({})), (restore, other)],
    );
}

#[test]
fn a_backup_stays_what_it_is() {
    let of = |spec: Value| -> QuorateBackup {
        serde_json::from_value(json!({
            "apiVersion": "quorate.io/v1alpha1", "kind": "QuorateBackup",
            "metadata": { "name": "a" }, "spec": spec,
        }))
        .expect("a backup")
    };
    let found = |old: Value, new: Value| refusals(cel::validate_cel_update(&of(new), &of(old)));
    let plain = json!({ "cluster": "a" });
    let policy = json!({ "cluster": "a", "deletionPolicy": "Delete" });
    assert_eq!(found(plain.clone(), policy), "");
    assert!(found(plain.clone(), json!({ "cluster": "b" })).contains("of one cluster"));
    let elsewhere = json!({ "cluster": "a", "destination": { "pvc": { "claim": "b" } } });
    assert!(found(plain, elsewhere.clone()).contains("stays where it is"));
    assert_eq!(found(elsewhere.clone(), elsewhere), "");
}
