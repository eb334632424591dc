//! Backups that prove what they are, and clusters that are made of one, once.

use quorate_operator_api::QuorateBackup;
use serde_json::{Value, json};

use super::{NAME, is_settled, lose_a_volume, operated, settled, spec};
use crate::api_server::{Part, of_kind};
use crate::world::{Driver, Harm, NAMESPACE, ReplicaOptions, World};

/// The cluster that is made of a backup.
const AGAIN: &str = "again";

fn place() -> Value {
    json!({ "s3": { "bucket": "vault" } })
}

/// A backup each ten minutes, and a proof between two of them.
fn with_drills() -> Value {
    let mut wish = spec(3);
    wish["backup"] = json!({
        "destination": place(),
        "schedule": "*/10 * * * *",
        "verifySchedule": "5-59/10 * * * *",
        "retention": { "keepLast": 2 },
    });
    wish
}

fn backups(world: &World) -> Vec<QuorateBackup> {
    let all = world.server.list(&of_kind::BACKUP, NAMESPACE);
    all.into_iter().map(|one| serde_json::from_value(one).expect("a backup")).collect()
}

fn is_verified(backup: &QuorateBackup) -> Option<bool> {
    backup.status.as_ref()?.verified
}

fn object_of(backup: &QuorateBackup) -> String {
    let status = backup.status.as_ref();
    status.and_then(|status| status.object.clone()).expect("a file")
}

/// The backup that was made last, complete and not tried yet.
async fn next_one(world: &mut World) -> QuorateBackup {
    let found = |world: &World| {
        let all = backups(world);
        let created =
            |one: &QuorateBackup| one.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let last = all.into_iter().max_by_key(created)?;
        let is_there = last.status.as_ref().is_some_and(|status| status.completed_at.is_some());
        (is_there && is_verified(&last).is_none()).then_some(last)
    };
    world.until(700, "a backup that nobody has tried", |world| found(world).is_some()).await;
    found(world).expect("one")
}

/// What came of the proof of a backup.
async fn proof_of(world: &mut World, name: &str) -> bool {
    let found = |world: &World| {
        let all = backups(world);
        all.iter().find(|one| one.metadata.name.as_deref() == Some(name)).and_then(is_verified)
    };
    world.until(700, "a proof", |world| found(world).is_some()).await;
    found(world).expect("one")
}

fn name_of(backup: &QuorateBackup) -> String {
    backup.metadata.name.clone().expect("a name")
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_cannot_be_restored_is_found_though_it_was_called_complete() {
    for (harm, cause) in [
        (Some(Harm::Flipped), "Damaged"),
        (Some(Harm::Hollow), "NotRestorable"),
        (Some(Harm::Other), "Differs"),
        (None, "NoSuchObject"),
    ] {
        let mut world = operated(5);
        world.apply(NAME, &with_drills());
        settled(&mut world, 3).await;
        let first = next_one(&mut world).await;
        world.seconds(40).await;
        let backup = |world: &World| world.status(NAME).backup.expect("a summary");
        assert_eq!(backup(&world).verified_at, None, "nobody has tried it");
        match harm {
            Some(harm) => world.harm(&object_of(&first), harm),
            None => drop(world.machines.lock().files.remove(&object_of(&first))),
        }
        assert!(!proof_of(&mut world, &name_of(&first)).await, "{cause}");
        world.seconds(40).await;
        let ready = world.condition(NAME, "BackupReady");
        assert_eq!(ready, ("False".to_owned(), "BackupDamaged".to_owned()));
        assert_eq!(backup(&world).verified_at, None);
        let is_told = |(reason, note): &(String, String)| {
            reason == "BackupNotVerified" && note.contains(cause)
        };
        assert!(world.events().iter().any(is_told), "{cause}: {:#?}", world.events());
        // The next one is whole.
        let next = next_one(&mut world).await;
        assert!(proof_of(&mut world, &name_of(&next)).await);
        world.seconds(40).await;
        assert_eq!(world.condition(NAME, "BackupReady").0, "True");
        assert!(backup(&world).verified_at.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_restored_takes_the_place_of_nothing_that_can() {
    let mut world = operated(5);
    world.apply(NAME, &with_drills());
    settled(&mut world, 3).await;
    let good = next_one(&mut world).await;
    assert!(proof_of(&mut world, &name_of(&good)).await);
    for _ in 0..4 {
        let next = next_one(&mut world).await;
        world.harm(&object_of(&next), Harm::Hollow);
        assert!(!proof_of(&mut world, &name_of(&next)).await);
    }
    let names: Vec<String> = backups(&world).iter().map(name_of).collect();
    assert!(names.contains(&name_of(&good)), "{names:?}");
    assert!(world.machines.lock().files.contains_key(&object_of(&good)));
    assert!(names.len() <= 4, "what is of no use goes in its time: {names:?}");
}

#[tokio::test(start_paused = true)]
async fn no_version_is_changed_on_a_backup_that_cannot_be_restored() {
    let mut world = operated(5);
    let mut wish = spec(3);
    wish["healing"] = json!({ "replaceAfterSeconds": 600 });
    wish["backup"] = json!({ "destination": place() });
    world.apply(NAME, &wish);
    settled(&mut world, 3).await;
    world.wish(NAME, |spec| {
        spec["version"] = json!("0.2.0");
        spec["update"] = json!({ "preUpgradeBackup": "Required" });
    });
    world.until(60, "a backup is asked for", |world| !backups(world).is_empty()).await;
    // One who is away holds up the change, not the backup, nor its proof.
    let node = world.node_of(&world.followers(NAME)[0]);
    world.disturb();
    world.set_up(&node, false);
    let made = next_one(&mut world).await;
    world.harm(&object_of(&made), Harm::Hollow);
    ask_for_proof(&world, &name_of(&made));
    assert!(!proof_of(&mut world, &name_of(&made)).await);
    world.set_up(&node, true);
    world.seconds(120).await;
    assert_eq!(world.status(NAME).version.as_deref(), Some("0.1.0"));
    assert_eq!(world.condition(NAME, "Progressing").1, "BackupFirst", "{}", world.describe());
    // Without it another one is made.
    let name = name_of(&made);
    world.server.delete(&of_kind::BACKUP, (NAMESPACE, &name), &Value::Null).expect("deleted");
    let is_new = |world: &World| world.status(NAME).version.as_deref() == Some("0.2.0");
    world.until(400, "the version is changed on a whole one", is_new).await;
}

fn ask_for_proof(world: &World, backup: &str) {
    let now = world.clock.text();
    world
        .server
        .change(&of_kind::BACKUP, (NAMESPACE, backup), Part::Object, |backup| {
            backup["metadata"]["annotations"]["quorate.io/verify"] = json!(now);
        })
        .expect("asked");
}

/// A backup of the usual cluster, complete.
async fn kept(world: &mut World) -> QuorateBackup {
    world.apply(NAME, &spec(3));
    settled(world, 3).await;
    let object = json!({
        "metadata": { "name": "first" },
        "spec": { "cluster": NAME, "destination": place() },
    });
    world.server.create(&of_kind::BACKUP, NAMESPACE, object).expect("a backup");
    next_one(world).await
}

fn of_backup(replicas: i32) -> Value {
    let mut wish = spec(replicas);
    wish["bootstrap"] = json!({ "restore": { "backupName": "first" } });
    wish
}

fn restored(world: &World) -> usize {
    world.machines.lock().marks.get("restore").copied().unwrap_or_default()
}

async fn settled_again(world: &mut World, members: usize) {
    let what = format!("{AGAIN} has {members} members, and is at rest");
    world.until(400, &what, |world| is_settled(world, AGAIN, members)).await;
}

/// Whatever befalls its members afterwards, a cluster is made of a backup once: what was written
/// since is not gone.
#[tokio::test(start_paused = true)]
async fn a_cluster_is_made_of_a_backup_once() {
    let mut world = operated(6);
    let backup = kept(&mut world).await;
    world.apply(AGAIN, &of_backup(3));
    settled_again(&mut world, 3).await;
    let begun = world.group(AGAIN).expect("a cluster").acknowledged;
    let revision = backup.status.and_then(|status| status.revision).expect("a revision");
    assert!(i64::try_from(begun).expect("a revision") >= revision, "it has what the backup has");
    assert_ne!(world.status(AGAIN).cluster_id, world.status(NAME).cluster_id);

    let first = format!("{AGAIN}-0");
    world.disturb();
    world.delete_pod_of(&first);
    world.seconds(20).await;
    settled_again(&mut world, 3).await;
    // All of them at once.
    world.wish(AGAIN, |spec| spec["hibernate"] = json!(true));
    world.seconds(60).await;
    world.wish(AGAIN, |spec| spec["hibernate"] = json!(false));
    world.seconds(20).await;
    settled_again(&mut world, 3).await;
    // Its file is not needed any more.
    world.server.delete(&of_kind::BACKUP, (NAMESPACE, "first"), &Value::Null).expect("deleted");
    world.disturb();
    world.lose_volume_of(&first);
    let is_replaced =
        |world: &World| is_settled(world, AGAIN, 3) && !world.voters(AGAIN).contains(&first);
    world.until(400, "the first member is replaced", is_replaced).await;
    assert!(world.group(AGAIN).expect("a cluster").acknowledged > begun);
    assert_eq!(restored(&world), 1);
}

/// With one member, all that was written since the backup is on the volume that is lost: that is
/// said, and nobody passes the backup off for it.
#[tokio::test(start_paused = true)]
async fn a_lone_member_that_loses_its_volume_is_not_restored_again_by_itself() {
    for is_wiped in [false, true] {
        let mut world = operated(5);
        kept(&mut world).await;
        world.apply(AGAIN, &of_backup(1));
        settled_again(&mut world, 1).await;
        let (id, only) = (world.status(AGAIN).cluster_id, format!("{AGAIN}-0"));
        world.disturb();
        if is_wiped {
            world.wipe(&only);
            world.delete_pod_of(&only);
        } else {
            world.lose_volume_of(&only);
        }
        world.seconds(400).await;
        assert_eq!(restored(&world), 1);
        assert_eq!(world.condition(AGAIN, "Available").0, "False", "{}", world.describe());
        assert_eq!(world.status(AGAIN).cluster_id, id);
    }
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_dies_while_a_cluster_is_restored_does_it_once() {
    // Its watches, which backups need, are of another operator.
    for writes in (1..20).step_by(3) {
        let mut world = operated(6);
        kept(&mut world).await;
        world.retire(0);
        let kills = vec![writes];
        world.operate(ReplicaOptions { kills, driver: Driver::Turns, ..ReplicaOptions::default() });
        world.apply(AGAIN, &of_backup(3));
        settled_again(&mut world, 3).await;
        assert_eq!(restored(&world), 1, "killed behind {writes}");
    }
}

/// Before its id is written down a first member may begin anew: it has promised nothing.
#[tokio::test(start_paused = true)]
async fn a_first_member_that_is_lost_at_once_is_restored_anew_or_not_at_all() {
    for seconds in 0..8 {
        let mut world = operated(6);
        kept(&mut world).await;
        world.apply(AGAIN, &of_backup(3));
        let is_begun = |world: &World| world.group(AGAIN).is_some();
        world.until(60, "it begins", is_begun).await;
        world.seconds(seconds).await;
        let was_latched = world.status(AGAIN).cluster_id.is_some();
        world.disturb();
        world.wipe(&format!("{AGAIN}-0"));
        world.delete_pod_of(&format!("{AGAIN}-0"));
        world.seconds(200).await;
        assert!(!was_latched || restored(&world) == 1, "after {seconds} s");
        assert!(restored(&world) <= 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_could_not_be_restored_makes_no_cluster() {
    let mut world = operated(6);
    let backup = kept(&mut world).await;
    world.harm(&object_of(&backup), Harm::Other);
    ask_for_proof(&world, "first");
    assert!(!proof_of(&mut world, "first").await);
    world.apply(AGAIN, &of_backup(3));
    world.seconds(60).await;
    let (status, reason) = world.condition(AGAIN, "Progressing");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Rejected"), "{}", world.describe());
    assert_eq!(restored(&world), 0);
    // Whoever wants it all the same names the file.
    let sure = json!({ "restore": { "source": place(), "object": object_of(&backup) } });
    world.delete_cluster(AGAIN).expect("deleted");
    world.until(60, "it is gone", |world| world.cluster(AGAIN).is_none()).await;
    let mut wish = spec(3);
    wish["bootstrap"] = sure;
    world.apply(AGAIN, &wish);
    settled_again(&mut world, 3).await;
    assert_eq!(restored(&world), 1);
}

#[tokio::test(start_paused = true)]
async fn a_restored_cluster_heals_like_any_other() {
    let mut world = operated(5);
    kept(&mut world).await;
    world.delete_cluster(NAME).expect("deleted");
    world.until(60, "it is gone", |world| world.cluster(NAME).is_none()).await;
    for claim in super::names(&world, &of_kind::CLAIM) {
        let _ = world.server.delete(&of_kind::CLAIM, (NAMESPACE, &claim), &Value::Null);
    }
    world.seconds(20).await;
    // It takes the name of the one that the backup is of.
    world.apply(NAME, &of_backup(3));
    settled(&mut world, 3).await;
    lose_a_volume(&mut world).await;
    assert_eq!(restored(&world), 1);
}
