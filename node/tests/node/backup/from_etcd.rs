//! Backups of genuine members become clusters of ours, as they become clusters of etcd's.

use std::path::Path;
use std::process::Command;

use quorate_api::etcdserverpb::{LeaseGrantRequest, RangeRequest, WatchCreateRequest};
use quorate_client::Client;

use super::{
    all, compact, genuine, hashes, json, leases, members, put, refusal, restore, restore_words,
    run, snapshot, start_etcd, text, wait_answers,
};
use crate::process::{Folder, Member, quorate};

/// What a genuine member has before the backup is made: more pages than one, deletions, leases and
/// a compaction that leaves history.
async fn fill(client: &Client) {
    for id in [5, 7] {
        let grant = LeaseGrantRequest { id, ttl: 6000 + id };
        client.lease_grant(grant).await.expect("granted");
    }
    for number in 0..150 {
        let key = format!("registry/{:03}", number % 90);
        let lease = if number % 9 == 0 { 5 } else { 0 };
        put(client, &key, &"v".repeat(number), lease).await;
    }
    for number in (0..90).step_by(7) {
        let key = format!("registry/{number:03}").into();
        let delete = quorate_api::etcdserverpb::DeleteRangeRequest { key, ..Default::default() };
        client.delete_range(delete).await.expect("deleted");
    }
    let (revision, _) = all(client).await;
    compact(client, revision - 20).await;
}

/// A genuine member's backup, with its client while it runs.
async fn backup(bin: &Path, folder: &Path) -> (Member, std::path::PathBuf) {
    let etcd = start_etcd(bin, folder, "etcd").await;
    fill(&etcd.client()).await;
    let file = folder.join("etcd.db");
    let endpoint = format!("--endpoints={}", etcd.client_url());
    run(Command::new(bin.join("etcdctl")).args([&endpoint, "snapshot", "save", text(&file)]));
    (etcd, file)
}

#[tokio::test]
async fn a_backup_of_etcds_becomes_one_member_or_three() {
    let Some(bin) = genuine("a_backup_of_etcds_becomes_one_member_or_three") else { return };
    let folder = Folder::new("backup-from-etcd");
    let (etcd, file) = backup(&bin, folder.path()).await;
    let theirs = etcd.client();
    let (revision, kvs) = all(&theirs).await;

    for words in [["status"].as_slice(), &["hashkv"], &["hashkv", "--rev=150"]] {
        for format in ["simple", "table", "json", "fields"] {
            let ours = run(snapshot(words).args(["-w", format]).arg(&file));
            let mut utl = Command::new(bin.join("etcdutl"));
            if words[0] == "status" {
                utl.arg("snapshot");
            }
            // It wants to write to the file of which it computes a hash.
            let copy = folder.path().join("copy.db");
            std::fs::copy(&file, &copy).expect("copied");
            let expected = run(utl.args(words).args(["-w", format]).arg(&copy));
            assert_eq!(ours, expected, "{words:?} as {format}");
        }
    }

    for size in [1, 3] {
        let (mut made, cluster) = members(folder.path(), &format!("ours{size}-"), size);
        let mut state_hashes = Vec::new();
        for member in &mut made {
            let said = restore(&file, member, &cluster, &[]);
            state_hashes.extend(said.lines().find(|l| l.starts_with("State")).map(str::to_owned));
            let initial = format!("--initial-cluster={cluster}");
            // Only what is given to a restore counts; the token of the start does not.
            member.set_arguments(&[&initial, "--initial-cluster-token=other"]);
            member.start();
        }
        assert_eq!(state_hashes.len(), size);
        assert!(state_hashes.iter().all(|hash| *hash == state_hashes[0]), "{state_hashes:?}");
        for member in &mut made {
            member.wait_ready().await;
            let ours = member.client();
            assert_eq!(all(&ours).await, (revision, kvs.clone()), "{}", member.name);
            let compared = revision - 19..=revision;
            assert_eq!(hashes(&ours, compared.clone()).await, hashes(&theirs, compared).await);
            assert_eq!(leases(&ours).await, leases(&theirs).await);
        }
        // It goes on where the backup ends.
        assert_eq!(put(&made[0].client(), "after", "1", 5).await, revision + 1);
        same_ids_as_of_etcdutl(&bin, &folder, &file, &made, &cluster).await;
    }
}

/// A genuine member, restored with the same words, is the same member of the same cluster.
async fn same_ids_as_of_etcdutl(
    bin: &Path,
    folder: &Folder,
    file: &Path,
    made: &[Member],
    cluster: &str,
) {
    let at = made.len() - 1;
    let data = folder.path().join(format!("utl-{}", made.len()));
    let mut words = restore_words(file, &made[at], cluster);
    words.retain(|word| !word.starts_with("--data-dir"));
    run(Command::new(bin.join("etcdutl")).args(words).arg("--data-dir").arg(&data));
    let dump = std::fs::read(data.join("member/snap/db")).expect("a database");
    let status = made[at].client().status().await.expect("answered").header.expect("a header");
    let id = format!("{:x}", status.member_id);
    let is_there = |needle: &str| dump.windows(needle.len()).any(|at| at == needle.as_bytes());
    assert!(is_there(&id), "{id} is not what etcdutl makes of these words");
    let listed = made[at].client().member_list(Default::default()).await.expect("answered");
    assert_eq!(listed.members.len(), made.len());
    for member in listed.members {
        assert!(is_there(&format!("{:x}", member.id)), "{:x}", member.id);
    }
    // The cluster's id is in the head of the log, in its metadata, as a protobuf number.
    let log = data.join("member/wal/0000000000000000-0000000000000000.wal");
    let log = std::fs::read(log).expect("a log");
    let mut number = vec![0x10];
    let mut rest = status.cluster_id;
    while rest >= 0x80 {
        number.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    number.push(rest as u8);
    assert!(log[..256].windows(number.len()).any(|at| at == number), "another cluster's id");
}

/// What a member says to who saw revisions before it was restored.
async fn raised(member: &Member, seen: i64) -> Vec<String> {
    let client = member.client();
    wait_answers(&client).await;
    let mut said = Vec::new();
    let (revision, kvs) = all(&client).await;
    said.push(format!("{revision}: {} keys", kvs.len()));
    for at in [seen, revision - 1, revision, revision + 1] {
        let range = RangeRequest { key: "registry/001".into(), revision: at, ..Default::default() };
        let answer = client.range(range).await.map(|answer| answer.count);
        said.push(format!("range at {at}: {answer:?}"));
        let create = WatchCreateRequest {
            key: "registry/".into(),
            range_end: "registry0".into(),
            start_revision: at,
            ..WatchCreateRequest::default()
        };
        let mut watch = client.watch(create).await.expect("a stream");
        let created = watch.next().await.expect("an answer");
        let mut line = format!("watch from {at}: {}", created.created);
        if at < revision {
            let end = watch.next().await.expect("an answer");
            line += &format!(", {} at {}", end.canceled, end.compact_revision);
        }
        said.push(line);
    }
    said.push(format!("next {}", put(&client, "registry/001", "next", 0).await));
    said.push(format!("{} keys", all(&client).await.1.len()));
    said
}

#[tokio::test]
async fn a_raised_revision_means_the_same_as_in_etcd() {
    let Some(bin) = genuine("a_raised_revision_means_the_same_as_in_etcd") else { return };
    let folder = Folder::new("backup-raised");
    let (etcd, file) = backup(&bin, folder.path()).await;
    let (revision, _) = all(&etcd.client()).await;
    drop(etcd);
    let bump = ["--bump-revision=1000000", "--mark-compacted"];

    let mut ours = Member::new(folder.path(), "ours");
    let said = restore(&file, &ours, &ours.as_initial(), &bump);
    assert!(said.contains(&format!("compacted up to {}", revision + 1_000_000)), "{said}");
    let mut theirs = Member::new(folder.path(), "theirs");
    let words = restore_words(&file, &theirs, &theirs.as_initial());
    run(Command::new(bin.join("etcdutl")).args(words).args(bump));

    for member in [&mut ours, &mut theirs] {
        let initial = format!("--initial-cluster={}", member.as_initial());
        member.set_arguments(&[&initial]);
    }
    ours.start();
    theirs.start_under(Command::new(bin.join("etcd")));
    ours.wait_ready().await;
    theirs.wait_ready().await;
    assert_eq!(raised(&ours, revision).await, raised(&theirs, revision).await);

    // What etcdutl made of it is read, too.
    // Its end writes what is only in its memory and its log.
    theirs.terminate();
    theirs.wait_end().await;
    let db = theirs.data.join("member/snap/db");
    let status = run(snapshot(&["status", "-w", "json"]).arg(&db));
    assert_eq!(json(&status)["revision"], revision + 1_000_001);
}

#[tokio::test]
async fn a_backup_with_authentication_is_refused_until_there_is_some() {
    let test = "a_backup_with_authentication_is_refused_until_there_is_some";
    let Some(bin) = genuine(test) else { return };
    let folder = Folder::new("backup-auth");
    let etcd = start_etcd(&bin, folder.path(), "etcd").await;
    let endpoint = format!("--endpoints={}", etcd.client_url());
    let ctl = |words: &[&str]| {
        run(Command::new(bin.join("etcdctl")).arg(&endpoint).args(words));
    };
    ctl(&["put", "a", "1"]);
    ctl(&["user", "add", "root:secret"]);
    ctl(&["user", "grant-role", "root", "root"]);
    ctl(&["auth", "enable"]);
    let file = folder.path().join("auth.db");
    for (words, expected) in
        [(&["--user=root:wrong"][..], "authentication failed"), (&[], "user name is empty")]
    {
        let mut save = snapshot(&["save", &endpoint]);
        let said = refusal(&save.args(words).arg(&file).output().expect("the program is there"));
        assert!(said.contains(expected) && !file.exists(), "{words:?}: {said}");
    }
    run(snapshot(&["save", &endpoint, "--user=root", "--password=secret"]).arg(&file));
    let ours = Member::new(folder.path(), "ours");
    let words = restore_words(&file, &ours, &ours.as_initial());
    let said = refusal(&quorate().args(words).output().expect("the program is there"));
    assert!(said.contains("authentication is enabled") && said.contains("auth disable"), "{said}");
    assert!(!ours.data.exists());
}
