//! All backups of a cluster: what is due, what goes, what is said.

use k8s_openapi::jiff::Timestamp;
use quorate_operator::backup::plan::VERIFY;
use quorate_operator::backup::upkeep::{SCHEDULED_AT, Upkeep, look, of_upgrade, upkeep};
use quorate_operator::cluster::observed::{BackupSeen, Record};
use quorate_operator::cluster::validate::validate;
use quorate_operator_api::{DeletionPolicy, QuorateBackup, QuorateCluster, Reason};
use serde_json::{Value, json};

use super::plan::{backup, cluster};

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// Each night at three, in Berlin.
fn nightly(more: &Value) -> QuorateCluster {
    let mut plan = json!({
        "destination": { "pvc": { "claim": "backups" } },
        "schedule": "0 3 * * *",
        "timeZone": "Europe/Berlin",
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        plan[key] = value.clone();
    }
    cluster(&plan)
}

/// One of the schedule's, in a phase; complete half a minute after it was due.
fn scheduled(due: &str, phase: &str) -> QuorateBackup {
    let name = format!("demo-{}", due.replace([':', '-', 'T', 'Z'], ""));
    let mut made = backup(&name, &json!({ "cluster": "demo" }));
    made.metadata.creation_timestamp = Some(serde_json::from_value(json!(due)).expect("a time"));
    made.metadata.annotations = Some([(SCHEDULED_AT.to_owned(), due.to_owned())].into());
    let mut status = json!({ "phase": phase });
    if phase == "Completed" {
        status["completedAt"] = json!(due.replace(":00Z", ":30Z"));
        status["revision"] = json!(7);
    }
    made.status = Some(serde_json::from_value(status).expect("a status"));
    made
}

fn names(upkeep: &Upkeep) -> Vec<&str> {
    upkeep.delete.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn one_is_made_for_the_last_time_that_it_was_due() {
    let cluster = nightly(&json!({}));
    let made = |backups: &[QuorateBackup], now: &str| {
        let create = upkeep(&cluster, backups, time(now)).create;
        create.map(|backup| backup.metadata.name.expect("a name"))
    };
    // The cluster began on the first of March, at one in Berlin.
    assert_eq!(made(&[], "2026-03-01T01:59:59Z"), None);
    assert_eq!(made(&[], "2026-03-01T02:00:00Z").as_deref(), Some("demo-202603010200"));
    // Who was away makes up for the last one alone.
    assert_eq!(made(&[], "2026-03-09T12:00:00Z").as_deref(), Some("demo-202603090200"));
    for phase in ["Pending", "Running", "Completed", "Failed"] {
        let first = scheduled("2026-03-01T02:00:00Z", phase);
        assert_eq!(made(std::slice::from_ref(&first), "2026-03-01T09:00:00Z"), None, "{phase}");
        let next = made(&[first], "2026-03-02T02:00:10Z");
        let is_over = ["Completed", "Failed"].contains(&phase);
        assert_eq!(next.is_some(), is_over, "one at a time: {phase}");
    }
    let asked = backup("asked", &json!({ "cluster": "demo" }));
    assert!(made(&[asked], "2026-03-01T02:00:00Z").is_some(), "another's does not count");

    let found = upkeep(&cluster, &[], time("2026-03-01T02:00:00Z"));
    let create = found.create.expect("one");
    assert_eq!(create.spec.deletion_policy, DeletionPolicy::Delete);
    assert_eq!(create.spec.cluster.0, "demo");
    assert_eq!(found.next, Some(time("2026-03-02T02:00:00Z")));

    let mut asleep = nightly(&json!({}));
    asleep.spec.hibernate = true;
    assert_eq!(upkeep(&asleep, &[], time("2026-03-05T00:00:00Z")).create, None);
    let mut unborn = nightly(&json!({}));
    unborn.status = None;
    assert_eq!(upkeep(&unborn, &[], time("2026-03-05T00:00:00Z")).create, None);
    let on_demand = nightly(&json!({ "schedule": null, "timeZone": null }));
    let nothing = upkeep(&on_demand, &[], time("2026-03-05T00:00:00Z"));
    assert_eq!(nothing, Upkeep::default());
}

#[test]
fn what_is_not_kept_goes_and_the_newest_stays() {
    let days = |count: u32| -> Vec<QuorateBackup> {
        (1..=count)
            .map(|day| scheduled(&format!("2026-03-{day:02}T02:00:00Z"), "Completed"))
            .collect()
    };
    let kept = |more: Value, backups: &[QuorateBackup], now: &str| {
        let cluster = nightly(&json!({ "retention": more }));
        let found = upkeep(&cluster, backups, time(now));
        names(&found).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let now = "2026-03-05T12:00:00Z";
    assert_eq!(kept(json!({ "keepLast": 5 }), &days(5), now), Vec::<String>::new());
    assert_eq!(
        kept(json!({ "keepLast": 3 }), &days(5), now),
        ["demo-20260302020000", "demo-20260301020000"]
    );
    assert_eq!(
        kept(json!({ "keepLast": 9, "maxAge": "2d12h" }), &days(5), now),
        ["demo-20260302020000", "demo-20260301020000"]
    );
    // The newest one, whatever its age.
    assert_eq!(
        kept(json!({ "maxAge": "1h" }), &days(2), "2026-09-01T00:00:00Z"),
        ["demo-20260301020000"]
    );
    assert_eq!(
        kept(json!({ "maxAge": "1h" }), &days(1), "2026-09-01T00:00:00Z"),
        Vec::<String>::new()
    );

    // Those that somebody asked for stay, and so does what failed last.
    let mut others = days(2);
    let mut asked = scheduled("2026-03-01T05:00:00Z", "Completed");
    asked.metadata.annotations = None;
    others.push(asked);
    others.push(scheduled("2026-03-01T02:00:01Z", "Failed"));
    others.push(scheduled("2026-03-03T02:00:00Z", "Failed"));
    assert_eq!(
        kept(json!({ "keepLast": 1 }), &others, now),
        ["demo-20260301020000", "demo-20260301020001"]
    );

    // What could not be restored takes the place of none that may be.
    let mut useless = days(5);
    for backup in &mut useless[2..] {
        backup.status.as_mut().expect("a status").verified = Some(false);
    }
    assert_eq!(kept(json!({ "keepLast": 2 }), &useless, now), ["demo-20260303020000"]);
    assert_eq!(
        kept(json!({ "maxAge": "1h" }), &useless, "2026-09-01T00:00:00Z"),
        ["demo-20260304020000", "demo-20260303020000", "demo-20260301020000"]
    );
}

#[test]
fn the_newest_is_proved_when_that_is_due() {
    let cluster = nightly(&json!({ "verifySchedule": "0 6 * * *" }));
    let asked = |backups: &[QuorateBackup], now: &str| {
        upkeep(&cluster, backups, time(now)).verify.map(|(name, _, _)| name)
    };
    let mut two = vec![
        scheduled("2026-03-02T02:00:00Z", "Completed"),
        scheduled("2026-03-03T02:00:00Z", "Completed"),
    ];
    assert_eq!(asked(&[], "2026-03-03T06:00:00Z"), None);
    assert_eq!(asked(&two, "2026-03-03T04:59:00Z").as_deref(), Some("demo-20260303020000"));
    assert_eq!(asked(&two[1..], "2026-03-03T04:59:00Z"), None, "nothing was there when it was due");
    assert_eq!(asked(&two, "2026-03-03T05:00:00Z").as_deref(), Some("demo-20260303020000"));
    // Asked for, then tried: not again until it is due again.
    let annotations = two[1].metadata.annotations.get_or_insert_default();
    annotations.insert(VERIFY.to_owned(), "2026-03-03T05:00:00Z".to_owned());
    assert_eq!(asked(&two, "2026-03-03T05:00:10Z"), None);
    let status = two[1].status.as_mut().expect("a status");
    status.verified_at = serde_json::from_value(json!("2026-03-03T05:02:00Z")).expect("a time");
    assert_eq!(asked(&two, "2026-03-04T04:59:00Z"), None);
    assert_eq!(asked(&two, "2026-03-04T05:00:00Z").as_deref(), Some("demo-20260303020000"));
}

#[test]
fn what_is_overdue_or_damaged_is_said() {
    let cluster = nightly(&json!({}));
    let said = |backups: &[QuorateBackup], now: &str| {
        let look = look(&cluster, backups, time(now));
        let said = look.said.expect("configured");
        (said.is_so, said.reason, look.due.map(|due| due.to_string()))
    };
    let fine = (Some(true), Reason::AsDesired, None);
    assert_eq!(said(&[], "2026-03-01T01:00:00Z"), fine);
    let due = || Some("2026-03-01T02:00:00Z".to_owned());
    assert_eq!(said(&[], "2026-03-01T02:30:00Z"), (Some(true), Reason::AsDesired, due()));
    assert_eq!(said(&[], "2026-03-01T03:00:01Z"), (Some(false), Reason::BackupOverdue, due()));
    // Since the first one that was missed.
    assert_eq!(said(&[], "2026-03-04T12:00:00Z"), (Some(false), Reason::BackupOverdue, due()));
    let first = scheduled("2026-03-01T02:00:00Z", "Completed");
    assert_eq!(said(std::slice::from_ref(&first), "2026-03-01T12:00:00Z"), fine);
    let mut failing = scheduled("2026-03-02T02:00:00Z", "Pending");
    let condition = json!([{
        "type": "Complete", "status": "False", "reason": "NoSuchBucket",
        "message": "there is no bucket", "lastTransitionTime": "2026-03-02T02:01:00Z",
    }]);
    failing.status.as_mut().expect("a status").conditions =
        serde_json::from_value(condition).expect("conditions");
    let both = [first.clone(), failing];
    let look_at_both = look(&cluster, &both, time("2026-03-02T12:00:00Z"));
    let told = look_at_both.said.expect("configured");
    assert_eq!(told.reason, Reason::BackupOverdue);
    assert!(told.message.contains("there is no bucket"), "{}", told.message);

    let mut damaged = first;
    damaged.status.as_mut().expect("a status").verified = Some(false);
    let now = "2026-03-01T12:00:00Z";
    assert_eq!(said(&[damaged], now), (Some(false), Reason::BackupDamaged, None));

    let unconfigured = super::plan::cluster(&Value::Null);
    let nothing = look(&unconfigured, &[], time(now));
    assert_eq!((nothing.said, nothing.summary, nothing.due), (None, None, None));
}

#[test]
fn the_backup_before_an_upgrade_is_one_of_this_wish() {
    let mut cluster = nightly(&json!({}));
    cluster.spec.version = Some("0.2.0".to_owned());
    cluster.metadata.generation = Some(4);
    let seen = |cluster: &QuorateCluster, backups: &[QuorateBackup]| {
        look(cluster, backups, time("2026-03-02T12:00:00Z")).seen
    };
    assert_eq!(seen(&cluster, &[]), BackupSeen::Missing);
    let mut made = of_upgrade(&cluster).expect("a version is wished for");
    assert_eq!(made.metadata.name.as_deref(), Some("demo-before-0-2-0-4"));
    assert_eq!(made.spec.deletion_policy, DeletionPolicy::Retain);
    for (phase, expected) in [
        ("Pending", BackupSeen::Running),
        ("Running", BackupSeen::Running),
        ("Completed", BackupSeen::Made),
        ("Failed", BackupSeen::Failed),
    ] {
        let status = json!({ "phase": phase });
        made.status = Some(serde_json::from_value(status).expect("a status"));
        assert_eq!(seen(&cluster, std::slice::from_ref(&made)), expected, "{phase}");
    }
    cluster.metadata.generation = Some(5);
    assert_eq!(seen(&cluster, &[made]), BackupSeen::Missing, "an earlier wish's");
    cluster.spec.backup = None;
    assert_eq!(seen(&cluster, &[]), BackupSeen::NoPlace);
}

#[test]
fn what_is_no_schedule_is_refused_and_the_rest_goes_on() {
    let refused = |more: Value| {
        let found = validate(&nightly(&more), &Record::default());
        let fields: Vec<&str> = found.refusals.iter().map(|refusal| refusal.field).collect();
        let plan = found.spec.backup.expect("a place for backups stays");
        (fields, plan.schedule.is_some(), plan.verify_schedule.is_some())
    };
    assert_eq!(refused(json!({})), (vec![], true, false));
    let hour = json!({ "schedule": "0 99 * * *", "verifySchedule": "0 6 * * *" });
    assert_eq!(refused(hour), (vec!["spec.backup.schedule"], false, true));
    let zone = json!({ "timeZone": "Europe/Atlantis" });
    assert_eq!(refused(zone), (vec!["spec.backup.timeZone"], false, false));
    let drill = json!({ "verifySchedule": "61 * * * *" });
    assert_eq!(refused(drill), (vec!["spec.backup.verifySchedule"], true, false));
}
