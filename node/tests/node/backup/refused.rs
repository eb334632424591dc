//! What is no backup, and where none can be restored to, is refused by name, and nothing is left.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::files::file;
use super::{members, refusal, restore_words, run, snapshot, text};
use crate::process::{Folder, Member, quorate};

/// Restores to a member of its own, which must be refused; what it says.
fn refused(file: &Path, member: &Member, more: &[&str]) -> String {
    let output = quorate()
        .args(restore_words(file, member, &member.as_initial()))
        .args(more)
        .output()
        .expect("the program is there");
    refusal(&output)
}

/// The fixture with bytes changed: all that follow these.
fn changed(after: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut file = fs::read(file("3.6")).expect("a file");
    let at: Vec<usize> =
        (0..file.len() - after.len()).filter(|at| file[*at..].starts_with(after)).collect();
    assert!(!at.is_empty(), "{after:?} is not there");
    for at in at {
        file[at + after.len()..][..bytes.len()].copy_from_slice(bytes);
    }
    file
}

#[test]
fn what_is_no_whole_snapshot_is_named() {
    let folder = Folder::new("backup-refused");
    let good = fs::read(file("3.6")).expect("a file");
    let flipped = |at: usize| {
        let mut file = good.clone();
        file[at] ^= 0x10;
        file
    };
    let without_hash = good[..good.len() - 32].to_vec();
    let of_another_program = format!("#!/bin/sh\n{}", "exit 0 # not a database\n".repeat(900));
    let skip: &[&str] = &["--skip-hash-check"];
    let cases: [(&str, Vec<u8>, &[&str], &str); 12] = [
        ("empty", Vec::new(), &[], "not a bbolt file"),
        ("short", good[..100].to_vec(), &[], "20480"),
        ("a page is missing", good[..16_384].to_vec(), &[], "the file has 16384 bytes"),
        ("and without the hash check", good[..16_384].to_vec(), skip, "speaks of 20480"),
        ("the hash is cut", good[..good.len() - 7].to_vec(), &[], "the snapshot is cut off"),
        ("a byte of a page", flipped(9_000), &[], "does not fit the SHA-256"),
        ("a byte of the hash", flipped(good.len() - 5), &[], "does not fit the SHA-256"),
        ("no hash", without_hash, &[], "--skip-hash-check"),
        ("a script", of_another_program.into_bytes(), &[], "not a bbolt file"),
        ("both meta pages", [vec![0; 8192], good[8192..].to_vec()].concat(), &[], "neither meta"),
        ("a later schema", changed(b"storageVersion", b"3.8.0"), skip, "version 3.8.0"),
        ("a record", changed(b"registry/pods/p5\x10", &[0x7f]), skip, "revision 6/0"),
    ];
    for (number, (name, bytes, more, expected)) in cases.into_iter().enumerate() {
        let member = Member::new(folder.path(), &format!("m{number}"));
        let path = folder.path().join("refused.db");
        fs::write(&path, bytes).expect("written");
        let said = refused(&path, &member, more);
        assert!(said.contains(expected), "{name}: {said}");
        assert!(said.contains(text(&path)), "{name}: {said}");
        assert!(!member.data.exists(), "{name} left something");
    }
    let member = Member::new(folder.path(), "others");
    for (path, expected) in [
        (folder.path().to_owned(), "is a directory"),
        (folder.path().join("nothing"), "No such file"),
    ] {
        let said = refused(&path, &member, &[]);
        assert!(said.contains(expected) && said.contains(text(&path)), "{said}");
        let output = snapshot(&["status"]).arg(&path).output().expect("the program is there");
        assert!(refusal(&output).contains(expected));
    }
    assert!(!member.data.exists());
}

#[test]
fn what_is_asked_for_wrongly_is_named() {
    let folder = Folder::new("backup-asked");
    let member = Member::new(folder.path(), "m1");
    for (more, expected) in [
        (&["--name=m2"][..], "couldn't find local name \"m2\""),
        (&["--initial-advertise-peer-urls=http://127.0.0.1:9"], "--initial-cluster has m1="),
        (&["--bump-revision=5"], "--bump-revision and --mark-compacted are given together"),
        (&["--mark-compacted"], "--bump-revision and --mark-compacted are given together"),
        (&["--bump-revision=9223372036854775807", "--mark-compacted"], "is too large"),
        (&["--bump-revison=5"], "did you mean --bump-revision?"),
        (&["another.db"], "give one FILE"),
    ] {
        let said = refused(&file("3.6"), &member, more);
        assert!(said.contains(expected), "{more:?}: {said}");
        assert!(!member.data.exists(), "{more:?} left something");
    }
    let save = |words: &[&str]| {
        let to = folder.path().join("saved.db");
        let output = snapshot(words).arg(&to).output().expect("the program is there");
        assert!(!to.exists() && !folder.path().join("saved.db.part").exists());
        refusal(&output)
    };
    for (words, expected) in [
        (&["save", "--endpoints=a:1,b:2"][..], "one selected node, not multiple a:1,b:2"),
        (&["save", "--endpoints=https://127.0.0.1:1"], "give --cacert"),
        (&["save", "--cert=a"], "--cert and --key are given together"),
        (&["save", "--endpoints=127.0.0.1:1", "--cacert=none"], "--cacert: cannot read none"),
        (&["save", "--endpoints=127.0.0.1:1", "--insecure-transport=false"], "with https://"),
        (&["save", "--endpoints=127.0.0.1:1"], "no endpoint can be reached"),
        (&["save", "--user=me"], "--user has no password"),
    ] {
        let said = save(words);
        assert!(said.contains(expected), "{words:?}: {said}");
    }
}

#[test]
fn a_directory_with_something_in_it_is_left_alone() {
    let folder = Folder::new("backup-occupied");
    let member = Member::new(folder.path(), "m1");
    fs::create_dir_all(&member.data).expect("a folder");
    fs::write(member.data.join("precious"), "mine").expect("written");
    let said = refused(&file("3.6"), &member, &[]);
    assert!(said.contains("--data-dir") && said.contains("is not empty"), "{said}");
    assert_eq!(fs::read_dir(&member.data).expect("a folder").count(), 1);

    fs::remove_file(member.data.join("precious")).expect("removed");
    let log = folder.path().join("wal");
    fs::create_dir_all(&log).expect("a folder");
    fs::write(log.join("precious"), "mine").expect("written");
    let flag = format!("--wal-dir={}", log.display());
    let said = refused(&file("3.6"), &member, &[&flag]);
    assert!(said.contains("--wal-dir") && said.contains("is not empty"), "{said}");
    assert_eq!(fs::read_dir(&member.data).expect("a folder").count(), 0);
    // An empty one will do, as a volume's is.
    fs::remove_file(log.join("precious")).expect("removed");
    run(quorate()
        .args(restore_words(&file("3.6"), &member, &member.as_initial()))
        .args([&flag, "--segment-bytes=1048576"]));
    let first = fs::metadata(log.join("0000000000000001.log")).expect("a log");
    assert_eq!(first.len(), 1 << 20);
    let said = refused(&file("3.6"), &member, &[]);
    assert!(said.contains("is not empty"), "{said}");
}

#[tokio::test]
async fn a_restore_that_is_killed_is_no_member_and_can_be_had_again() {
    let folder = Folder::new("backup-killed");
    let (mut made, cluster) = members(folder.path(), "m", 1);
    let member = &mut made[0];
    let words = restore_words(&file("3.6"), member, &cluster);
    // The system ends it at the first write beyond this size, which is in the log's first file.
    let limited = "ulimit -c 0; ulimit -f 1; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", limited, "sh"]).arg(quorate().get_program()).args(&words);
    let output = command.output().expect("sh is there");
    assert!(!output.status.success(), "{output:?}");
    assert!(member.data.join("log").exists(), "it was killed in the middle");

    let initial = format!("--initial-cluster={cluster}");
    for state in ["new", "existing"] {
        member.set_arguments(&[&initial, &format!("--initial-cluster-state={state}")]);
        member.start();
        assert_eq!(member.wait_end().await.code(), Some(1));
    }
    member.set_arguments(&[&initial]);
    member.start();
    assert_eq!(member.wait_end().await.code(), Some(1));
    let said = member.log();
    assert!(said.contains("was not made to its end"), "{said}");

    let said = run(quorate().args(&words));
    assert!(said.contains("Revision 11"), "{said}");
    member.start();
    member.wait_ready().await;
    assert_eq!(super::all(&member.client()).await.1.len(), 4);
}
