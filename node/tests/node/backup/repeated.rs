//! What a container before the member's does at every start: make the member, once.

use std::fs;
use std::path::PathBuf;

use super::files::file;
use super::{all, put, refusal, restore_words, run};
use crate::process::{Folder, Member, quorate};

/// A copy of the fixture that may be removed.
fn copy(folder: &Folder) -> PathBuf {
    let copy = folder.path().join("copy.db");
    fs::copy(file("3.6"), &copy).expect("copied");
    copy
}

#[tokio::test]
async fn a_member_is_made_once_and_its_file_removed() {
    let folder = Folder::new("backup-repeated");
    let mut member = Member::new(folder.path(), "m1");
    let initial = member.as_initial();
    let restore = |member: &Member, more: &[&str]| {
        let words = restore_words(&copy(&folder), member, &initial);
        run(quorate().args(words).args(["--unless-member", "--remove-file"]).args(more))
    };
    let said = restore(&member, &["--initial-cluster-state=existing"]);
    assert!(said.contains("is to join a cluster that runs"), "{said}");
    assert!(!member.data.exists() && !folder.path().join("copy.db").exists());

    let said = restore(&member, &["--initial-cluster-state=new"]);
    assert!(said.contains("Revision 11"), "{said}");
    assert!(!folder.path().join("copy.db").exists());
    member.set_arguments(&[&format!("--initial-cluster={initial}")]);
    member.start();
    member.wait_ready().await;
    put(&member.client(), "later", "write", 0).await;
    let before = all(&member.client()).await;
    member.kill();

    for state in ["new", "existing"] {
        let said = restore(&member, &[&format!("--initial-cluster-state={state}")]);
        assert!(said.contains("has a member: nothing is done"), "{said}");
        assert!(!folder.path().join("copy.db").exists());
    }
    member.start();
    member.wait_ready().await;
    assert_eq!(all(&member.client()).await, before);
}

#[test]
fn what_was_cut_off_is_made_again_and_what_joins_is_refused() {
    let folder = Folder::new("backup-repeated-cut");
    let member = Member::new(folder.path(), "m1");
    let words = restore_words(&file("3.6"), &member, &member.as_initial());
    fs::create_dir_all(member.data.join("log")).expect("a folder");
    fs::write(member.data.join("unfinished"), "").expect("written");
    let said = run(quorate().args(&words).arg("--unless-member"));
    assert!(said.contains("Revision 11"), "{said}");

    let other = Member::new(folder.path(), "m2");
    let words = restore_words(&file("3.6"), &other, &other.as_initial());
    let output = quorate().args(&words).arg("--initial-cluster-state=existing").output();
    let said = refusal(&output.expect("the program is there"));
    assert!(said.contains("asks for a member of a cluster that runs"), "{said}");
}

#[tokio::test]
async fn a_snapshot_says_what_it_is_of() {
    let folder = Folder::new("backup-header");
    let mut member = Member::new(folder.path(), "m1");
    member.set_arguments(&[&format!("--initial-cluster={}", member.as_initial())]);
    member.start();
    member.wait_ready().await;
    let client = member.client();
    let revision = put(&client, "a", "1", 0).await;
    let mut stream = client.snapshot().await.expect("opened");
    let first = stream.next().await.expect("sent").expect("a piece");
    let header = first.header.expect("a header");
    let status = client.status().await.expect("answered").header.expect("a header");
    assert_eq!(header.revision, revision);
    assert_eq!((header.cluster_id, header.member_id), (status.cluster_id, status.member_id));
    while let Some(piece) = stream.next().await.expect("sent") {
        assert_eq!(piece.header, None);
    }
}
