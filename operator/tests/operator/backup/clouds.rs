//! Snapshots of a real member at servers of Azure's and Google's protocols, whatever happens on the
//! way.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use futures::TryStreamExt as _;
use object_store::path::Path as Object;
use object_store::{ObjectStore, ObjectStoreExt as _};
use quorate_operator::backup::Cause;
use quorate_operator::backup::task::{Metadata, Report, Task};
use quorate_operator_api::Destination;
use serde_json::json;

use super::process::{
    Folder, Line, Member, Running, eventually, files, finished, free_port, run_task, run_task_for,
    task_command,
};
use super::transfer::{OBJECT, Stall, VALUES, cause, place, restored, save, saved};
use super::{azure, gcs};

/// A server that runs until the test ends, with one bucket, `vault`.
pub(crate) struct Cloud {
    pub(crate) _processes: Vec<Running>,
    pub(crate) port: u16,
    /// The bucket as others than the operator see it.
    pub(crate) seen: Arc<dyn ObjectStore>,
    /// Where the server has parts that have no name yet, if they can be given up.
    pub(crate) parts: Option<PathBuf>,
    pub(crate) destination: fn(u16, &str) -> Destination,
    /// Writes the right credentials, as a pod has them.
    pub(crate) credentials: fn(&Path),
    /// Each writes credentials of somebody else.
    pub(crate) strangers: Vec<fn(&Path)>,
    /// Each writes what are no credentials.
    pub(crate) nonsense: Vec<fn(&Path)>,
}

impl Cloud {
    async fn names(&self) -> Vec<String> {
        let found: Vec<_> = self.seen.list(None).try_collect().await.expect("a list");
        let mut names: Vec<String> =
            found.into_iter().map(|object| object.location.to_string()).collect();
        names.sort();
        names
    }

    async fn bytes(&self, name: &str) -> Vec<u8> {
        let found = self.seen.get(&Object::from(name)).await.expect("a file");
        found.bytes().await.expect("its bytes").to_vec()
    }

    fn parts_left(&self) -> Vec<String> {
        self.parts.as_deref().map(files).unwrap_or_default()
    }
}

/// A program of the user's cache; `None`, said loudly, if it is not there.
pub(crate) fn program(test: &str, file: &str, made_by: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let program = cache.or_else(home)?.join("quorate/bin").join(file);
    if program.exists() {
        return Some(program);
    }
    eprintln!("SKIPPED {test}: no {}: run {made_by}", program.display());
    None
}

/// Writes credentials as a pod has them.
pub(crate) fn credentials_file(root: &Path, name: &str, text: &str) {
    let folder = root.join("etc/quorate/credentials");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join(name), text).expect("written");
}

#[tokio::test]
async fn a_backup_goes_to_azure_and_comes_back_as_the_same_data() {
    let folder = Folder::new("operator-azure");
    let Some(cloud) = azure::start("a_backup_goes_to_azure", &folder).await else { return };
    goes_and_comes_back(&cloud, &folder).await;
}

#[tokio::test]
async fn a_backup_goes_to_gcs_and_comes_back_as_the_same_data() {
    let folder = Folder::new("operator-gcs");
    let Some(cloud) = gcs::start("a_backup_goes_to_gcs", &folder) else { return };
    goes_and_comes_back(&cloud, &folder).await;
}

async fn goes_and_comes_back(cloud: &Cloud, folder: &Folder) {
    let member = Member::start(folder.path(), "m");
    let revision = member.fill(VALUES.0, VALUES.1).await;
    let root = folder.path().join("pod");
    (cloud.credentials)(&root);
    let to = (cloud.destination)(cloud.port, "vault");

    let metadata = saved(run_task(&root, &save(member.endpoint(), to.clone())).0);
    assert_eq!(metadata.revision, revision);
    assert!(metadata.hash.is_some(), "{metadata:?}");
    assert_eq!(cloud.names().await, [OBJECT.to_owned(), format!("{OBJECT}.json")]);
    let bytes = cloud.bytes(OBJECT).await;
    assert_eq!(bytes.len() as u64, metadata.size_bytes);
    assert!(bytes.len() > 2 * (8 << 20), "it has several parts");
    let beside = cloud.bytes(&format!("{OBJECT}.json")).await;
    assert_eq!(serde_json::from_slice::<Metadata>(&beside).expect("JSON"), metadata);
    let place = place(to.clone());
    restored(folder.path(), &root, &place, &metadata);

    // Who tries again writes to the same name, over what is there.
    member.fill(1, 10).await;
    let again = saved(run_task(&root, &save(member.endpoint(), to)).0);
    assert!(again.revision > metadata.revision);
    assert_eq!(cloud.bytes(OBJECT).await.len() as u64, again.size_bytes);

    for _ in 0..2 {
        assert_eq!(run_task(&root, &Task::Remove { place: place.clone() }).0, Report::Done);
        assert_eq!(cloud.names().await, Vec::<String>::new());
    }
    let fetch = Task::Fetch { place, into: "/scratch/gone.db".into(), sha256: None };
    assert_eq!(cause(run_task(&root, &fetch).0).0, Cause::NoSuchObject);
}

#[tokio::test]
async fn what_a_person_can_mend_at_azure_is_named() {
    let folder = Folder::new("operator-azure-causes");
    let Some(cloud) = azure::start("what_a_person_can_mend_at_azure", &folder).await else {
        return;
    };
    what_can_be_mended_is_named(&cloud, &folder).await;
}

#[tokio::test]
async fn what_a_person_can_mend_at_gcs_is_named() {
    let folder = Folder::new("operator-gcs-causes");
    let Some(cloud) = gcs::start("what_a_person_can_mend_at_gcs", &folder) else { return };
    what_can_be_mended_is_named(&cloud, &folder).await;
}

async fn what_can_be_mended_is_named(cloud: &Cloud, folder: &Folder) {
    let member = Member::start(folder.path(), "m");
    member.fill(1, 10).await;
    let root = folder.path().join("pod");
    (cloud.credentials)(&root);
    let to = |bucket| (cloud.destination)(cloud.port, bucket);
    let tasks = |bucket| {
        [
            save(member.endpoint(), to(bucket)),
            Task::Fetch { place: place(to(bucket)), into: "/scratch/none.db".into(), sha256: None },
            Task::Remove { place: place(to(bucket)) },
        ]
    };
    let named = |task: &Task, patience: u64| cause(run_task_for(&root, task, patience).0);
    for task in tasks("nowhere") {
        let (found, message) = named(&task, 2);
        assert_eq!(found, Cause::NoSuchBucket, "{task:?}: {message}");
    }
    let nobody = (cloud.destination)(free_port(), "vault");
    let (found, message) = named(&save(member.endpoint(), nobody), 1);
    assert_eq!(found, Cause::DestinationUnreachable, "{message}");
    for (writes, expected) in
        [(&cloud.strangers, Cause::WrongCredentials), (&cloud.nonsense, Cause::Misconfigured)]
    {
        for write in writes {
            write(&root);
            for task in tasks("vault") {
                let (found, message) = named(&task, 2);
                assert_eq!(found, expected, "{task:?}: {message}");
                assert!(!message.contains("PRIVATE KEY"), "{message}");
            }
        }
    }
    std::fs::remove_dir_all(root.join("etc/quorate/credentials")).expect("removed");
    let (found, message) = named(&save(member.endpoint(), to("vault")), 2);
    assert_eq!(found, Cause::Misconfigured, "{message}");
    assert_eq!(cloud.names().await, Vec::<String>::new());

    (cloud.credentials)(&root);
    let nobody = format!("http://127.0.0.1:{}", free_port());
    assert_eq!(named(&save(nobody, to("vault")), 2).0, Cause::MemberUnreachable);
    assert_eq!(cloud.names().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_line_to_azure_that_is_cut_is_gone_on_with_or_given_up() {
    let folder = Folder::new("operator-azure-cut");
    let Some(cloud) = azure::start("a_line_to_azure_that_is_cut", &folder).await else { return };
    a_cut_line_is_gone_on_with_or_given_up(&cloud, &folder).await;
}

#[tokio::test]
async fn a_line_to_gcs_that_is_cut_is_gone_on_with_or_given_up() {
    let folder = Folder::new("operator-gcs-cut");
    let Some(cloud) = gcs::start("a_line_to_gcs_that_is_cut", &folder) else { return };
    a_cut_line_is_gone_on_with_or_given_up(&cloud, &folder).await;
}

async fn a_cut_line_is_gone_on_with_or_given_up(cloud: &Cloud, folder: &Folder) {
    let member = Member::start(folder.path(), "m");
    member.fill(VALUES.0, VALUES.1).await;
    let root = folder.path().join("pod");
    (cloud.credentials)(&root);
    let line = Line::to(cloud.port);
    let to = (cloud.destination)(line.port, "vault");
    let task = save(member.endpoint(), to.clone());

    // Cut for ever: nothing has the name.
    line.cut(3 << 20, usize::MAX);
    let (found, message) = cause(run_task_for(&root, &task, 1).0);
    assert_eq!(found, Cause::DestinationUnreachable, "{message}");
    assert_eq!(cloud.names().await, Vec::<String>::new());
    assert!(line.passed() > 3 << 20);

    // Cut now and then: what was lost is sent again.
    line.cut(3 << 20, 4);
    let metadata = saved(run_task_for(&root, &task, 30).0);
    let both = [OBJECT.to_owned(), format!("{OBJECT}.json")];
    assert_eq!(cloud.names().await, both);
    let bytes = cloud.bytes(OBJECT).await;
    assert_eq!(bytes.len() as u64, metadata.size_bytes);

    // Cut in the middle of what comes, now and then.
    let fetch = Task::Fetch {
        place: place(to),
        into: "/scratch/backup.db".into(),
        sha256: Some(metadata.sha256.clone()),
    };
    line.cut(1, usize::MAX);
    let (found, message) = cause(run_task_for(&root, &fetch, 1).0);
    assert_eq!(found, Cause::DestinationUnreachable, "{message}");
    assert!(!root.join("scratch/backup.db").exists());
    line.cut(3 << 20, 2);
    let before = line.passed();
    assert_eq!(run_task_for(&root, &fetch, 30).0, Report::Done);
    assert!(line.passed() - before > bytes.len() as u64);
    assert_eq!(std::fs::read(root.join("scratch/backup.db")).expect("the file"), bytes);

    // The member's line.
    line.cut(0, 0);
    let line = Line::to(member.client_port);
    line.cut(6 << 20, usize::MAX);
    let endpoint = format!("http://127.0.0.1:{}", line.port);
    let mut task = save(endpoint, (cloud.destination)(cloud.port, "vault"));
    if let Task::Save { place, .. } = &mut task {
        place.object = "p/second.db".to_owned();
    }
    let (found, message) = cause(run_task(&root, &task).0);
    assert_eq!(found, Cause::MemberUnreachable, "{message}");
    assert_eq!(cloud.names().await, both);
    assert_eq!(cloud.parts_left(), Vec::<String>::new(), "parts that were given up");
}

#[tokio::test]
async fn who_is_told_to_end_leaves_nothing_at_azure() {
    let folder = Folder::new("operator-azure-told");
    let Some(cloud) = azure::start("who_is_told_to_end_at_azure", &folder).await else { return };
    who_is_told_to_end_leaves_nothing(&cloud, &folder).await;
}

#[tokio::test]
async fn who_is_told_to_end_leaves_nothing_at_gcs() {
    let folder = Folder::new("operator-gcs-told");
    let Some(cloud) = gcs::start("who_is_told_to_end_at_gcs", &folder) else { return };
    who_is_told_to_end_leaves_nothing(&cloud, &folder).await;
}

async fn who_is_told_to_end_leaves_nothing(cloud: &Cloud, folder: &Folder) {
    let member = Member::start(folder.path(), "m");
    member.fill(VALUES.0, VALUES.1).await;
    let root = folder.path().join("pod");
    (cloud.credentials)(&root);
    // Nothing comes behind the first bytes, so that it is told in the middle.
    let stall = Stall::after(&Line::to(member.client_port), 10 << 20);
    let line = Line::to(cloud.port);
    let endpoint = format!("http://127.0.0.1:{}", stall.port);
    let report = root.join("report");
    let task = save(endpoint, (cloud.destination)(line.port, "vault"));
    let child = task_command(&root, &task, 2, &report)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    eventually("a part has been sent", || (line.passed() > 8 << 20).then_some(()));
    let pid = child.id().to_string();
    let told = std::process::Command::new("kill").args(["-TERM", &pid]).status();
    assert!(told.expect("kill").success());
    let output = child.wait_with_output().expect("it ends");
    let (report, _) = finished(&report, output.status.success(), &output.stdout, &output.stderr);
    assert_eq!(cause(report).0, Cause::Interrupted);
    assert_eq!(cloud.names().await, Vec::<String>::new());
    assert_eq!(cloud.parts_left(), Vec::<String>::new());
}

/// Where a pod has an identity, somebody on its node tells it.
#[tokio::test]
async fn an_identity_that_is_not_to_be_had_is_named() {
    let folder = Folder::new("operator-identity");
    let member = Member::start(folder.path(), "m");
    member.fill(1, 10).await;
    let root = folder.path().join("pod");
    std::fs::create_dir_all(&root).expect("a folder");
    let report = root.join("report");
    let nobody = format!("127.0.0.1:{}", free_port());
    for destination in [
        json!({ "gcs": { "bucket": "vault" } }),
        json!({ "azure": { "account": "quoratetest", "container": "vault" } }),
    ] {
        let to: Destination = serde_json::from_value(destination).expect("a destination");
        let output = task_command(&root, &save(member.endpoint(), to.clone()), 1, &report)
            .env("HOME", &root)
            .env("GCE_METADATA_HOST", &nobody)
            .env("GCE_METADATA_IP", &nobody)
            .env("IDENTITY_ENDPOINT", format!("http://{nobody}/token"))
            .output()
            .expect("the program");
        let said = finished(&report, output.status.success(), &output.stdout, &output.stderr);
        let (found, message) = cause(said.0);
        assert_eq!(found, Cause::WrongCredentials, "{to:?}: {message}");
    }
}
