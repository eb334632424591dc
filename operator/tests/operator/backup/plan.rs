//! One backup: from what is seen to what is done.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use quorate_operator::backup::plan::{
    ATTEMPTS_MAX, Act, COMPLETE, Errand, FINALIZER, Plan, PodSeen, Seen, VERIFIED, VERIFY, errand,
    plan,
};
use quorate_operator::backup::task::{About, KeyHash, Metadata, Report};
use quorate_operator::backup::{Cause, Failure};
use quorate_operator_api::{BackupPhase, BackupStatus, QuorateBackup, QuorateCluster};
use serde_json::{Value, json};

/// A backup, its cluster, and what there is of pods, at a moment.
struct Scene {
    backup: QuorateBackup,
    cluster: Option<QuorateCluster>,
    missing: Option<Failure>,
    pod: PodSeen,
    is_crowded: bool,
    now: Timestamp,
}

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

pub(super) fn cluster(backup: &Value) -> QuorateCluster {
    let mut spec = json!({});
    if !backup.is_null() {
        spec["backup"] = backup.clone();
    }
    let mut cluster = crate::build::cluster(&spec);
    let status = json!({
        "clusterID": "cdf8",
        "version": "0.1.0",
        "members": [
            { "name": "demo-0", "role": "Leader", "health": "Healthy" },
            { "name": "demo-1", "role": "Voter", "health": "Healthy" },
            { "name": "demo-2", "role": "Learner", "health": "Healthy" },
        ],
        "conditions": [{
            "type": "Available", "status": "True", "reason": "AsDesired", "message": "",
            "lastTransitionTime": "2026-03-01T00:00:00Z",
        }],
    });
    cluster.status = Some(serde_json::from_value(status).expect("a status"));
    cluster.metadata.creation_timestamp =
        Some(serde_json::from_value(json!("2026-03-01T00:00:00Z")).expect("a time"));
    cluster
}

pub(super) fn to_volume() -> Value {
    json!({ "destination": { "pvc": { "claim": "backups" } } })
}

pub(super) fn backup(name: &str, spec: &Value) -> QuorateBackup {
    let resource = json!({
        "apiVersion": "quorate.io/v1alpha1",
        "kind": "QuorateBackup",
        "metadata": {
            "name": name, "namespace": "ns", "uid": format!("uid-of-{name}"),
            "creationTimestamp": "2026-03-01T10:00:00Z", "finalizers": [FINALIZER],
        },
        "spec": spec,
    });
    serde_json::from_value(resource).expect("a backup")
}

impl Scene {
    fn new() -> Self {
        Self {
            backup: backup("first", &json!({ "cluster": "demo" })),
            cluster: Some(cluster(&to_volume())),
            missing: None,
            pod: PodSeen::Absent,
            is_crowded: false,
            now: time("2026-03-01T10:00:05Z"),
        }
    }

    fn look(&self) -> Plan {
        plan(&Seen {
            backup: &self.backup,
            cluster: self.cluster.as_ref(),
            missing: self.missing.clone(),
            pod: self.pod.clone(),
            is_crowded: self.is_crowded,
            now: self.now,
        })
    }

    /// Looks, and takes over what the status says then.
    fn step(&mut self) -> Plan {
        let plan = self.look();
        self.backup.status = Some(plan.status.clone());
        plan
    }

    fn later(&mut self, seconds: i64) {
        self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).expect("in range");
    }

    fn status(&self) -> BackupStatus {
        self.backup.status.clone().unwrap_or_default()
    }

    fn said(&self, kind: &str) -> Option<(String, String)> {
        let status = self.status();
        let found = status.conditions.iter().find(|condition| condition.type_ == kind)?;
        Some((found.status.clone(), found.reason.clone()))
    }

    fn delete(&mut self, policy: &str) {
        self.backup.metadata.deletion_timestamp =
            Some(serde_json::from_value(json!("2026-03-02T00:00:00Z")).expect("a time"));
        self.backup.spec.deletion_policy = serde_json::from_value(json!(policy)).expect("a policy");
    }
}

fn pair(status: &str, reason: &str) -> Option<(String, String)> {
    Some((status.to_owned(), reason.to_owned()))
}

fn metadata() -> Metadata {
    Metadata {
        format: 1,
        about: About {
            namespace: "ns".to_owned(),
            cluster: "demo".to_owned(),
            version: Some("0.1.0".to_owned()),
        },
        cluster_id: "cdf8".to_owned(),
        revision: 77,
        size_bytes: 20_512,
        sha256: "aa".repeat(32),
        hash: Some(KeyHash { hash: 1, revision: 77, compact_revision: 3 }),
        taken_at: "2026-03-01T10:00:06Z".to_owned(),
    }
}

fn fails(cause: Cause) -> PodSeen {
    PodSeen::Ended(Report::Failed(Failure::new(cause, "it said so")))
}

/// A scene with a backup that is there.
fn complete() -> Scene {
    let mut scene = Scene::new();
    scene.step();
    scene.pod = PodSeen::Ended(Report::Saved(metadata()));
    scene.step();
    scene.pod = PodSeen::Absent;
    scene
}

#[test]
fn it_is_written_down_made_and_told_of() {
    let mut scene = Scene::new();
    scene.backup.metadata.finalizers = None;
    assert_eq!(scene.step().act, Act::Hold);
    scene.backup.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);

    let begun = scene.step();
    assert_eq!(begun.act, Act::Begin(Errand::Save(1)));
    assert_eq!(begun.note.expect("told").reason, "BackupStarted");
    assert_eq!(scene.status().phase, BackupPhase::Running);
    assert_eq!(
        scene.status().uri.as_deref(),
        Some("pvc://backups/ns/demo/20260301T100000Z-first.db")
    );
    assert_eq!(errand(&scene.backup), Some(Errand::Save(1)));
    // Cut off in between: the same pod is made.
    assert_eq!(scene.step().act, Act::Begin(Errand::Save(1)));
    scene.pod = PodSeen::Running(Some(4096));
    assert_eq!(scene.step().act, Act::Rest);
    assert_eq!(scene.status().size_bytes, Some(4096));
    scene.pod = PodSeen::Running(None);
    scene.step();
    assert_eq!(scene.status().size_bytes, Some(4096));

    scene.pod = PodSeen::Ended(Report::Saved(metadata()));
    let done = scene.step();
    assert_eq!(
        (done.act, done.note.expect("told").reason.as_str()),
        (Act::Clear, "BackupCompleted")
    );
    let status = scene.status();
    assert_eq!(status.phase, BackupPhase::Completed);
    assert_eq!(status.size_bytes, Some(20_512));
    assert_eq!((status.revision, status.cluster_id.as_deref()), (Some(77), Some("cdf8")));
    assert_eq!(scene.said(COMPLETE), pair("True", "Completed"));
    scene.pod = PodSeen::Absent;
    assert_eq!(scene.step().act, Act::Rest);
}

/// A reason, and what brings it about.
type Case = (&'static str, fn(&mut Scene));

#[test]
fn what_keeps_it_from_being_begun_is_said_once() {
    let misconfigured = || Failure::new(Cause::Misconfigured, "there is no Secret vault");
    let cases: [Case; 4] = [
        ("NoCluster", |scene| scene.cluster = None),
        ("NoDestination", |scene| scene.cluster = Some(cluster(&Value::Null))),
        ("Misconfigured", |_| {}),
        ("ClusterUnavailable", |scene| {
            let cluster = scene.cluster.as_mut().expect("a cluster");
            cluster.status.as_mut().expect("a status").conditions[0].status = "False".to_owned();
        }),
    ];
    for (reason, change) in cases {
        let mut scene = Scene::new();
        change(&mut scene);
        scene.missing = (reason == "Misconfigured").then(misconfigured);
        let plan = scene.step();
        assert_eq!(plan.act, Act::Rest, "{reason}");
        assert_eq!(plan.note.expect("told").reason, "BackupWaits", "{reason}");
        assert!(plan.again.is_some(), "{reason}");
        assert_eq!(scene.said(COMPLETE), pair("Unknown", reason));
        assert_eq!(scene.status().attempts, None, "{reason}");
        assert_eq!(scene.step().note, None, "{reason}");
        // As soon as it is mended, it is begun.
        scene.missing = None;
        scene.cluster = Some(cluster(&to_volume()));
        assert_eq!(scene.step().act, Act::Begin(Errand::Save(1)), "{reason}");
    }
}

#[test]
fn a_failure_is_named_and_tried_again_with_growing_pauses_until_it_is_given_up() {
    let mut scene = Scene::new();
    scene.step();
    let mut pauses = Vec::new();
    for attempt in 1..=ATTEMPTS_MAX {
        assert_eq!(errand(&scene.backup), Some(Errand::Save(attempt)));
        scene.pod = fails(Cause::WrongCredentials);
        let failed = scene.step();
        assert_eq!(failed.act, Act::Clear);
        let note = failed.note.expect("told");
        assert!(note.text.contains("WrongCredentials"), "{note:?}");
        assert_eq!(scene.said(COMPLETE), pair("False", "WrongCredentials"));
        scene.pod = PodSeen::Absent;
        if attempt == ATTEMPTS_MAX {
            assert_eq!(note.reason, "BackupFailed");
            break;
        }
        assert_eq!(note.reason, "BackupAttemptFailed");
        let retry = scene.status().retry_at.expect("a time").0;
        let pause = retry.duration_since(scene.now).as_secs();
        scene.later(pause - 1);
        assert_eq!(scene.step().act, Act::Rest, "attempt {attempt}");
        scene.is_crowded = true;
        assert_eq!(scene.step().act, Act::Clear);
        scene.later(1);
        assert_eq!(scene.step().act, Act::Clear, "the old pod first");
        scene.is_crowded = false;
        assert_eq!(scene.step().act, Act::Begin(Errand::Save(attempt + 1)));
        pauses.push(pause);
    }
    assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 600, 600, 600, 600, 600]);
    assert_eq!(scene.status().phase, BackupPhase::Failed);
    assert_eq!(
        scene.step(),
        Plan { status: scene.status(), act: Act::Rest, note: None, again: None }
    );
}

#[test]
fn a_pod_that_does_not_start_is_no_reason_to_wait_for_ever() {
    let mut scene = Scene::new();
    scene.step();
    let trouble = Some("ImagePullBackOff".to_owned());
    scene.pod = PodSeen::Waiting { since: Some(scene.now), trouble };
    scene.later(599);
    assert_eq!(scene.step().act, Act::Rest);
    scene.later(1);
    assert_eq!(scene.step().act, Act::Clear);
    assert_eq!(scene.said(COMPLETE), pair("False", "PodDoesNotRun"));
    let message = scene.status().conditions[0].message.clone();
    assert!(message.contains("ImagePullBackOff"), "{message}");
}

#[test]
fn where_it_goes_does_not_change_once_it_is_begun() {
    let mut scene = Scene::new();
    scene.step();
    let uri = scene.status().uri;
    scene.pod = fails(Cause::MemberUnreachable);
    scene.step();
    scene.pod = PodSeen::Absent;
    let elsewhere = json!({ "destination": { "s3": { "bucket": "elsewhere" } } });
    scene.cluster = Some(cluster(&elsewhere));
    scene.later(10);
    assert_eq!(scene.step().act, Act::Begin(Errand::Save(2)));
    assert_eq!(scene.status().uri, uri);
}

#[test]
fn a_proof_is_made_once_for_each_time_it_is_asked_for() {
    let verdicts = [
        (PodSeen::Ended(Report::Done), Some(true), pair("True", "Restored"), "BackupVerified"),
        (fails(Cause::Differs), Some(false), pair("False", "Differs"), "BackupNotVerified"),
        (
            fails(Cause::NotRestorable),
            Some(false),
            pair("False", "NotRestorable"),
            "BackupNotVerified",
        ),
        (
            fails(Cause::WrongCredentials),
            None,
            pair("Unknown", "WrongCredentials"),
            "BackupNotVerified",
        ),
    ];
    for (pod, verified, said, reason) in verdicts {
        let mut scene = complete();
        let asked = ("2026-03-01T11:00:00Z".to_owned(), VERIFY.to_owned());
        scene.backup.metadata.annotations = Some([(asked.1, asked.0)].into());
        scene.now = time("2026-03-01T11:00:01Z");
        scene.is_crowded = true;
        assert_eq!(scene.step().act, Act::Clear, "{reason}");
        scene.is_crowded = false;
        assert_eq!(scene.step().act, Act::Begin(Errand::Verify), "{reason}");
        assert_eq!(errand(&scene.backup), Some(Errand::Verify));
        scene.pod = PodSeen::Running(None);
        assert_eq!(scene.step().act, Act::Rest);
        scene.pod = pod;
        let told = scene.step();
        assert_eq!((told.act, told.note.expect("told").reason.as_str()), (Act::Clear, reason));
        assert_eq!((scene.status().verified, scene.said(VERIFIED)), (verified, said));
        assert_eq!(scene.status().phase, BackupPhase::Completed);
        scene.pod = PodSeen::Absent;
        assert_eq!(scene.step().act, Act::Rest, "{reason}");
        assert_eq!(errand(&scene.backup), None);
    }
}

#[test]
fn a_file_stays_or_goes_with_its_resource() {
    let mut scene = complete();
    scene.delete("Retain");
    let plan = scene.step();
    assert_eq!((plan.act, plan.again), (Act::Release, None));

    let mut scene = Scene::new();
    scene.delete("Delete");
    assert_eq!(scene.step().act, Act::Release, "there is nothing yet");

    let mut scene = complete();
    scene.delete("Delete");
    assert_eq!(scene.step().act, Act::Clear);
    assert_eq!(errand(&scene.backup), Some(Errand::Remove(1)));
    scene.is_crowded = true;
    assert_eq!(scene.step().act, Act::Clear, "who still writes comes first");
    scene.is_crowded = false;
    // The cluster may be gone long since.
    scene.cluster = None;
    assert_eq!(scene.step().act, Act::Begin(Errand::Remove(1)));
    scene.pod = fails(Cause::AccessDenied);
    let failed = scene.step();
    assert_eq!(failed.note.expect("told").reason, "BackupNotDeleted");
    scene.pod = PodSeen::Absent;
    assert_eq!(scene.step().act, Act::Rest);
    scene.later(10);
    assert_eq!(scene.step().act, Act::Begin(Errand::Remove(2)));
    scene.pod = PodSeen::Ended(Report::Done);
    let done = scene.step();
    assert_eq!(
        (done.act, done.note.expect("told").reason.as_str()),
        (Act::Release, "BackupDeleted")
    );

    // A person may change their mind about what cannot be deleted.
    scene.pod = fails(Cause::AccessDenied);
    scene.delete("Retain");
    assert_eq!(scene.step().act, Act::Release);
}
