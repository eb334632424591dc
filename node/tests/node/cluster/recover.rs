//! `quorate recover` and `quorate data status`: what is left of a cluster becomes a new one.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::damage::{Harm, harm, log_file};
use super::{Cluster, id, serializable};
use crate::process::{Folder, Member, eventually, quorate};

/// What a command printed, which must end well.
fn run(command: &mut Command) -> String {
    let output = command.output().expect("the program is there");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

/// What a command that must fail says.
fn refused(command: &mut Command) -> String {
    let output = command.output().expect("the program is there");
    assert_eq!(output.status.code(), Some(1), "{command:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn data_status(folders: &[&Path]) -> Vec<Value> {
    let text = run(quorate().args(["data", "status", "-w", "json"]).args(folders));
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// `quorate recover` of these to a new member.
fn recover(folders: &[&Path], to: &Member, cluster: &str) -> Command {
    let mut command = quorate();
    command.arg("recover").args(folders).args([
        format!("--name={}", to.name),
        format!("--data-dir={}", to.data.display()),
        format!("--initial-cluster={cluster}"),
        format!("--initial-advertise-peer-urls={}", to.peer_url()),
        "--initial-cluster-token=recovered".to_owned(),
    ]);
    command
}

/// Everything in a folder, as one number.
fn digest(folder: &Path) -> Vec<u8> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    names.sort();
    let mut all = Sha256::new();
    for path in names {
        all.update(path.as_os_str().as_encoded_bytes());
        if path.is_dir() {
            all.update(digest(&path));
        } else {
            all.update(std::fs::read(&path).expect("a file"));
        }
    }
    all.finalize().to_vec()
}

impl Cluster {
    /// New members that begin with each other, made of these.
    fn recovered(&self, folders: &[&Path], size: usize) -> (Self, Vec<String>) {
        let folder = Folder::new(&format!("{}-new", self.name()));
        let mut members: Vec<Member> =
            (1..=size).map(|n| Member::new(folder.path(), &format!("r{n}"))).collect();
        let initial: Vec<String> = members.iter().map(Member::as_initial).collect();
        let initial = initial.join(",");
        let said = members.iter().map(|to| run(&mut recover(folders, to, &initial))).collect();
        for member in &mut members {
            member.set_arguments(&[&format!("--initial-cluster={initial}")]);
            member.start();
        }
        (Self { members, written: self.written.clone(), folder }, said)
    }

    fn name(&self) -> String {
        let name = self.folder.path().file_name().expect("a name").to_string_lossy();
        name.rsplit_once('-').expect("a process's id").0.to_owned()
    }
}

#[tokio::test]
async fn the_best_of_what_is_left_becomes_a_new_cluster() {
    let mut cluster = Cluster::start("recover", 3, &[]).await;
    cluster.put_many("before", 30).await;
    let behind = cluster.follower().await;
    cluster.members[behind].kill();
    cluster.put_many("after", 30).await;
    let (best, lost) = match behind {
        0 => (1, 2),
        1 => (0, 2),
        _ => (0, 1),
    };
    let all = cluster.written.clone();
    eventually("both that run have everything", async || {
        for at in [best, lost] {
            if serializable(&cluster.members[at].client()).await.ok()? != all {
                return None;
            }
        }
        Some(())
    })
    .await;
    let status = cluster.members[best].client().status().await.expect("answered");
    let revision = status.header.as_ref().expect("a header").revision;
    let old = (status.header.as_ref().expect("a header").cluster_id, id(&status));
    let folders = [cluster.members[behind].data.clone(), cluster.members[best].data.clone()];
    let folders: Vec<&Path> = folders.iter().map(AsRef::as_ref).collect();

    // Not while somebody runs on it.
    let target = Member::new(cluster.folder.path(), "target");
    let said = refused(&mut recover(&folders, &target, &target.as_initial()));
    assert!(said.contains("is used by another process"), "{said}");
    let said = refused(quorate().args(["data", "status"]).arg(folders[1]));
    assert!(said.contains("is used by another process"), "{said}");
    assert!(!target.data.exists());
    cluster.members[best].kill();
    cluster.members[lost].kill();
    std::fs::remove_dir_all(&cluster.members[lost].data).expect("gone");

    let before: Vec<_> = folders.iter().map(|folder| digest(folder)).collect();
    let rows = data_status(&folders);
    let report = cluster.folder.path().join("report");
    let to_file = format!("--report={}", report.display());
    let said = run(quorate().args(["data", "status", "-w=json", &to_file]).args(&folders));
    let text = std::fs::read_to_string(&report).expect("a report");
    let reported = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    assert_eq!((said.as_str(), reported.collect::<Vec<Value>>()), ("", rows.clone()));
    for (row, folder) in rows.iter().zip(&folders) {
        assert_eq!(row["directory"], folder.to_string_lossy().as_ref());
        assert_eq!(row["cluster"], format!("{:x}", old.0));
        assert_eq!(row["damage"], "");
    }
    assert_eq!(rows[1]["member"], format!("{:x}", old.1));
    assert_eq!(rows[1]["revision"], revision);
    assert!(rows[0]["lastIndex"].as_u64() < rows[1]["lastIndex"].as_u64(), "{rows:?}");

    let backup = cluster.folder.path().join("saved.db");
    let save = format!("--save={}", backup.display());
    let said = run(quorate().arg("recover").arg(folders[1]).arg(&save));
    assert!(said.contains("1 of 3 voters are here"), "{said}");
    let status = run(quorate().args(["snapshot", "status", "-w=json"]).arg(&backup));
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(
        (&status["revision"], &status["totalKey"]),
        (&Value::from(revision), &Value::from(60))
    );

    let (mut new, said) = cluster.recovered(&folders, 3);
    new.wait_ready().await;
    new.check().await;
    for said in &said {
        let taken = said.lines().find(|line| line.ends_with(": taken")).expect("one is taken");
        assert!(taken.starts_with(&folders[1].display().to_string()), "{said}");
        assert!(said.contains("nothing that was acknowledged is lost"), "{said}");
    }
    let hashes: Vec<_> = said.iter().filter_map(|said| said.lines().last()).collect();
    assert!(hashes.iter().all(|hash| hash.starts_with("State hash") && *hash == hashes[0]));
    let status = new.members[0].client().status().await.expect("answered");
    assert_ne!(status.header.as_ref().expect("a header").cluster_id, old.0);
    new.put("new", "1").await;
    new.check().await;
    let after: Vec<_> = folders.iter().map(|folder| digest(folder)).collect();
    assert!(before == after, "a source was changed");
}

#[tokio::test]
async fn damaged_and_foreign_directories_are_named() {
    let mut cluster = Cluster::start("recover-damaged", 1, &[]).await;
    cluster.put_many("key", 60).await;
    cluster.members[0].kill();
    let mut other = Cluster::new("recover-other", 1, &["--initial-cluster-token=other"]);
    other.members[0].start();
    other.wait_ready().await;
    other.members[0].kill();
    let (mine, theirs) = (cluster.members[0].data.clone(), other.members[0].data.clone());
    let target = Member::new(cluster.folder.path(), "target");
    let attempt = |folders: &[&Path]| recover(folders, &target, &target.as_initial());

    let said = refused(&mut attempt(&[&mine, &theirs]));
    assert!(said.contains("are of different clusters"), "{said}");
    let said = refused(&mut attempt(&[&mine, &mine]));
    // The lock is its own already.
    assert!(said.contains("is used by another process"), "{said}");
    let copy = cluster.folder.path().join("copy");
    run(Command::new("cp").arg("-r").arg(&mine).arg(&copy));
    let said = refused(&mut attempt(&[&mine, &copy]));
    assert!(said.contains("two of these directories are of member"), "{said}");
    let of_etcd = cluster.folder.path().join("etcd");
    std::fs::create_dir_all(of_etcd.join("member/wal")).expect("a folder");
    let said = refused(&mut attempt(&[&of_etcd]));
    assert!(said.contains("data directory of etcd's"), "{said}");
    let said = refused(&mut attempt(&[cluster.folder.path()]));
    assert!(said.contains("there is no log in it"), "{said}");
    let said = refused(&mut attempt(&[&mine.join("nothing")]));
    assert!(said.contains("there is no such directory"), "{said}");
    std::fs::create_dir_all(&target.data).expect("a folder");
    std::fs::write(target.data.join("precious"), "mine").expect("written");
    let said = refused(&mut attempt(&[&mine]));
    assert!(said.contains("is not empty"), "{said}");
    std::fs::remove_file(target.data.join("precious")).expect("removed");

    harm(&log_file(&cluster.members[0]), Harm::ZeroSector);
    let row = &data_status(&[&mine])[0];
    let damage = row["damage"].as_str().expect("text");
    assert!(damage.contains("are damaged"), "{damage}");
    let said = refused(&mut attempt(&[&mine]));
    assert!(said.contains("all of these directories are damaged"), "{said}");
    assert_eq!(std::fs::read_dir(&target.data).expect("a folder").count(), 0);

    let said = run(attempt(&[&mine]).arg("--allow-damaged"));
    assert!(said.contains("Lost: what the damaged part"), "{said}");
    let mut target = target;
    target.set_arguments(&[&format!("--initial-cluster={}", target.as_initial())]);
    target.start();
    target.wait_ready().await;
    let found = serializable(&target.client()).await.expect("answered");
    assert!(!found.is_empty() && found.len() < 60, "{}", found.len());
    for (number, (key, value)) in found.iter().enumerate() {
        assert_eq!(*key, format!("key/{number:05}"), "a beginning is there, without gaps");
        assert_eq!(cluster.written.get(key), Some(value));
    }
}
