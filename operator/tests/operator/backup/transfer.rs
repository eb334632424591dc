//! Snapshots of a real member at a real S3 server and in volumes, whatever happens on the way.

use std::path::Path;
use std::process::{Command, Stdio};

use quorate_operator::backup::Cause;
use quorate_operator::backup::task::{About, Metadata, Place, Report, Source, Task};
use quorate_operator_api::Destination;
use serde_json::json;

use super::process::{
    Folder, Line, Member, eventually, files, finished, free_port, json_of, quorate, run_task,
    run_task_for, task_command,
};
use super::s3::{Server, credentials, credentials_are, destination};

pub(crate) const OBJECT: &str = "p/ns/demo/first.db";

/// Values of this size, so many: several parts.
pub(crate) const VALUES: (usize, usize) = (40, 512 << 10);

pub(crate) fn place(destination: Destination) -> Place {
    Place { destination, object: OBJECT.to_owned() }
}

fn volume() -> Destination {
    let pvc = json!({ "pvc": { "claim": "backups", "folder": "kept" } });
    serde_json::from_value(pvc).expect("a destination")
}

pub(crate) fn save(endpoint: String, destination: Destination) -> Task {
    Task::Save {
        source: Source { endpoints: vec![endpoint], cluster_id: None },
        place: place(destination),
        about: About {
            namespace: "ns".to_owned(),
            cluster: "demo".to_owned(),
            version: Some("0.1.0".to_owned()),
        },
    }
}

pub(crate) fn saved(report: Report) -> Metadata {
    match report {
        Report::Saved(metadata) => metadata,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn cause(report: Report) -> (Cause, String) {
    match report {
        Report::Failed(failure) => (failure.cause, failure.message),
        other => panic!("{other:?}"),
    }
}

/// What a member is made of, and is it the same?
pub(crate) fn restored(folder: &Path, root: &Path, place: &Place, metadata: &Metadata) {
    let file = root.join("scratch/backup.db");
    let fetch = Task::Fetch {
        place: place.clone(),
        into: "/scratch/backup.db".into(),
        sha256: Some(metadata.sha256.clone()),
    };
    assert_eq!(run_task(root, &fetch).0, Report::Done);
    let status = json_of(&["snapshot", "status", "-w=json", &file.to_string_lossy()]);
    assert_eq!(status["revision"], metadata.revision);
    let (data, peer_port) = (folder.join("restored"), free_port());
    let output = Command::new(quorate())
        .args(["snapshot", "restore", "--remove-file"])
        .arg(&file)
        .args(Member::identity(&data, peer_port))
        .output()
        .expect("the program");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!file.exists());
    let member = Member::start_with(data, peer_port);
    let compare = Task::Compare { place: place.clone(), endpoint: member.endpoint() };
    assert_eq!(run_task(root, &compare).0, Report::Done);
}

#[tokio::test]
async fn a_backup_goes_to_s3_and_comes_back_as_the_same_data() {
    let folder = Folder::new("operator-s3");
    let Some(server) = Server::start("a_backup_goes_to_s3", &folder) else { return };
    let member = Member::start(folder.path(), "m");
    let revision = member.fill(VALUES.0, VALUES.1).await;
    let root = folder.path().join("pod");
    credentials(&root);
    let to = destination(server.port, "vault");

    let (report, said) = run_task(&root, &save(member.endpoint(), to.clone()));
    let metadata = saved(report);
    assert_eq!(metadata.revision, revision);
    assert!(metadata.hash.is_some(), "{metadata:?}");
    assert_eq!(metadata.about.version.as_deref(), Some("0.1.0"));
    assert!(said.lines().any(|line| line.starts_with("{\"bytes\":")), "{said}");
    let file = server.bucket.join(OBJECT);
    let bytes = std::fs::read(&file).expect("the file");
    assert_eq!(bytes.len() as u64, metadata.size_bytes);
    assert!(bytes.len() > 2 * (8 << 20), "it has several parts");
    let beside = std::fs::read(server.bucket.join(format!("{OBJECT}.json"))).expect("beside it");
    assert_eq!(serde_json::from_slice::<Metadata>(&beside).expect("JSON"), metadata);

    let place = place(to);
    restored(folder.path(), &root, &place, &metadata);

    // What is compared with another's is found to differ.
    let other = Member::start(folder.path(), "other");
    let compare = Task::Compare { place: place.clone(), endpoint: other.endpoint() };
    assert_eq!(cause(run_task(&root, &compare).0).0, Cause::Differs);

    for _ in 0..2 {
        assert_eq!(run_task(&root, &Task::Remove { place: place.clone() }).0, Report::Done);
        assert!(!file.exists() && !server.bucket.join(format!("{OBJECT}.json")).exists());
    }
    let fetch = Task::Fetch { place, into: "/scratch/gone.db".into(), sha256: None };
    assert_eq!(cause(run_task(&root, &fetch).0).0, Cause::NoSuchObject);
}

#[tokio::test]
async fn what_a_person_can_mend_is_named() {
    let folder = Folder::new("operator-causes");
    let Some(server) = Server::start("what_a_person_can_mend", &folder) else { return };
    let member = Member::start(folder.path(), "m");
    member.fill(1, 10).await;
    let root = folder.path().join("pod");
    credentials(&root);
    let task = |to| save(member.endpoint(), to);
    let missing = run_task(&root, &task(destination(server.port, "nowhere")));
    assert_eq!(cause(missing.0).0, Cause::NoSuchBucket);
    let nobody = run_task_for(&root, &task(destination(free_port(), "vault")), 1);
    assert_eq!(cause(nobody.0).0, Cause::DestinationUnreachable);

    credentials_are(&root, "test-id", "another secret");
    let (report, _) = run_task(&root, &task(destination(server.port, "vault")));
    assert_eq!(cause(report).0, Cause::WrongCredentials);
    credentials_are(&root, "somebody-else", "test-secret-of-some-length");
    let (report, _) = run_task(&root, &task(destination(server.port, "vault")));
    assert_eq!(cause(report).0, Cause::WrongCredentials);
    std::fs::remove_file(root.join("etc/quorate/credentials/accessKeyId")).expect("removed");
    let (report, _) = run_task(&root, &task(destination(server.port, "vault")));
    assert_eq!(cause(report).0, Cause::Misconfigured);
    assert_eq!(files(&server.bucket), Vec::<String>::new());

    credentials(&root);
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let (report, _) = run_task(&root, &save(nobody, destination(server.port, "vault")));
    assert_eq!(cause(report).0, Cause::MemberUnreachable);
    let mut other = task(destination(server.port, "vault"));
    if let Task::Save { source, .. } = &mut other {
        source.cluster_id = Some("1".to_owned());
    }
    assert_eq!(cause(run_task(&root, &other).0).0, Cause::OtherCluster);
}

#[tokio::test]
async fn a_line_that_is_cut_is_gone_on_with_or_given_up_without_a_trace() {
    let folder = Folder::new("operator-cut");
    let Some(server) = Server::start("a_line_that_is_cut", &folder) else { return };
    let member = Member::start(folder.path(), "m");
    member.fill(VALUES.0, VALUES.1).await;
    let root = folder.path().join("pod");
    credentials(&root);
    let line = Line::to(server.port);
    let to = destination(line.port, "vault");
    let task = save(member.endpoint(), to.clone());

    // Cut for ever: nothing has the name, nor is anything else left.
    line.cut(3 << 20, usize::MAX);
    let (found, message) = cause(run_task_for(&root, &task, 1).0);
    assert_eq!(found, Cause::DestinationUnreachable, "{message}");
    assert_eq!(named(&server.bucket), Vec::<String>::new());
    assert!(line.passed() > 3 << 20);

    // Cut now and then: what was lost is sent again.
    line.cut(3 << 20, 4);
    let metadata = saved(run_task_for(&root, &task, 30).0);
    assert_eq!(named(&server.bucket), [OBJECT.to_owned(), format!("{OBJECT}.json")]);

    // Cut at once for ever: nothing has the name.
    let fetch = Task::Fetch {
        place: place(to),
        into: "/scratch/backup.db".into(),
        sha256: Some(metadata.sha256.clone()),
    };
    line.cut(1, usize::MAX);
    let (found, message) = cause(run_task_for(&root, &fetch, 1).0);
    assert_eq!(found, Cause::DestinationUnreachable, "{message}");
    assert!(!root.join("scratch/backup.db").exists());
    // What an attempt has had before it was ended does not come again.
    let bytes = std::fs::read(server.bucket.join(OBJECT)).expect("the file");
    let had = 9_000_000;
    std::fs::create_dir_all(root.join("scratch")).expect("a folder");
    std::fs::write(root.join("scratch/backup.db.part"), &bytes[..had]).expect("written");
    line.cut(0, 0);
    let before = line.passed();
    assert_eq!(run_task(&root, &fetch).0, Report::Done);
    let again = line.passed() - before;
    assert!(again < (bytes.len() - had + (1 << 20)) as u64, "{again} bytes came");
    assert_eq!(std::fs::read(root.join("scratch/backup.db")).expect("the file"), bytes);

    // The member's line.
    let line = Line::to(member.client_port);
    line.cut(6 << 20, usize::MAX);
    let endpoint = format!("http://127.0.0.1:{}", line.port);
    let mut task = save(endpoint, destination(server.port, "vault"));
    if let Task::Save { place, .. } = &mut task {
        place.object = "p/second.db".to_owned();
    }
    let (found, message) = cause(run_task(&root, &task).0);
    assert_eq!(found, Cause::MemberUnreachable, "{message}");
    assert!(message.contains("cut off"), "{message}");
    assert_eq!(named(&server.bucket), [OBJECT.to_owned(), format!("{OBJECT}.json")]);
    let parts: Vec<String> = files(&server.bucket)
        .into_iter()
        .filter(|name| name.starts_with(".sgwtmp/multipart"))
        .collect();
    assert_eq!(parts, Vec::<String>::new(), "parts that were given up");
}

/// What has a name at the server, whose own files begin with a dot.
fn named(bucket: &Path) -> Vec<String> {
    files(bucket).into_iter().filter(|name| !name.starts_with('.')).collect()
}

#[tokio::test]
async fn who_is_told_to_end_leaves_nothing() {
    let folder = Folder::new("operator-told");
    let Some(server) = Server::start("who_is_told_to_end", &folder) else { return };
    let member = Member::start(folder.path(), "m");
    member.fill(VALUES.0, VALUES.1).await;
    let root = folder.path().join("pod");
    credentials(&root);
    // Nothing comes behind the first bytes, so that it is told in the middle.
    let line = Line::to(member.client_port);
    let stall = Stall::after(&line, 10 << 20);
    let endpoint = format!("http://127.0.0.1:{}", stall.port);
    let report = root.join("report");
    let task = save(endpoint, destination(server.port, "vault"));
    let child = task_command(&root, &task, 2, &report)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    eventually("a part has been sent", || {
        files(&server.bucket).iter().any(|name| name.contains("multipart")).then_some(())
    });
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    let output = child.wait_with_output().expect("it ends");
    let (report, _) = finished(&report, output.status.success(), &output.stdout, &output.stderr);
    assert_eq!(cause(report).0, Cause::Interrupted);
    let left: Vec<String> = files(&server.bucket)
        .into_iter()
        .filter(|name| !name.starts_with('.') || name.starts_with(".sgwtmp/multipart"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

/// A line that passes nothing on behind so many bytes.
pub(crate) struct Stall {
    pub(crate) port: u16,
}

impl Stall {
    pub(crate) fn after(line: &Line, bytes: u64) -> Self {
        use std::io::{Read as _, Write as _};
        use std::net::{TcpListener, TcpStream};

        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let to = line.port;
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let far = TcpStream::connect(("127.0.0.1", to)).expect("the line");
                let (mut up, mut up_to) =
                    (near.try_clone().expect("a line"), far.try_clone().expect("a line"));
                std::thread::spawn(move || std::io::copy(&mut up, &mut up_to));
                let (mut near, mut far) = (near, far);
                std::thread::spawn(move || {
                    let mut buffer = vec![0; 16 << 10];
                    let mut passed = 0;
                    while let Ok(read @ 1..) = far.read(&mut buffer) {
                        passed += read as u64;
                        if passed > bytes {
                            // The connection stands, and nothing comes.
                            std::thread::park();
                        }
                        if near.write_all(&buffer[..read]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { port }
    }
}

#[tokio::test]
async fn a_backup_goes_to_a_volume_and_comes_back_as_the_same_data() {
    let folder = Folder::new("operator-volume");
    let member = Member::start(folder.path(), "m");
    let revision = member.fill(VALUES.0, VALUES.1).await;
    let root = folder.path().join("pod");
    let backups = root.join("backups");
    // What an attempt that was killed has left.
    std::fs::create_dir_all(backups.join("kept/p/ns/demo")).expect("a folder");
    std::fs::write(backups.join(format!("kept/{OBJECT}#1")), "half of it").expect("written");
    std::fs::write(backups.join("kept/p/ns/demo/another.db#1"), "another's").expect("written");
    let metadata = saved(run_task(&root, &save(member.endpoint(), volume())).0);
    assert_eq!(metadata.revision, revision);
    let expected = [
        "kept/p/ns/demo/another.db#1".to_owned(),
        format!("kept/{OBJECT}"),
        format!("kept/{OBJECT}.json"),
    ];
    assert_eq!(files(&backups), expected);
    restored(folder.path(), &root, &place(volume()), &metadata);

    // A file that is not what it was is not taken.
    let path = backups.join(format!("kept/{OBJECT}"));
    let mut bytes = std::fs::read(&path).expect("a file");
    bytes[5_000_000] ^= 1;
    std::fs::write(&path, bytes).expect("written");
    let fetch =
        Task::Fetch { place: place(volume()), into: "/scratch/again.db".into(), sha256: None };
    assert_eq!(cause(run_task(&root, &fetch).0).0, Cause::Damaged);
    assert!(!root.join("scratch/again.db").exists());
    assert_eq!(run_task(&root, &Task::Remove { place: place(volume()) }).0, Report::Done);
    assert_eq!(files(&backups), ["kept/p/ns/demo/another.db#1"]);
}

#[tokio::test]
async fn a_disk_without_room_is_named_and_has_no_half_of_a_file() {
    let folder = Folder::new("operator-full");
    let member = Member::start(folder.path(), "m");
    member.fill(VALUES.0, VALUES.1).await;
    let root = folder.path().join("pod");
    let backups = root.join("backups");
    std::fs::create_dir_all(&backups).expect("a folder");
    let report = root.join("report");
    let task = save(member.endpoint(), volume());
    let inner = task_command(&root, &task, 2, &report);
    // On a disk of its own, which only this process and its children see.
    let script = format!(
        "mount -t tmpfs -o size=10m tmpfs {0} && {{ \"$@\"; code=$?; find {0} -type f; exit $code; }}",
        backups.display()
    );
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script, "sh"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .output()
        .expect("unshare is there");
    let (found, said) = finished(&report, output.status.success(), &output.stdout, &output.stderr);
    let (found, message) = cause(found);
    assert_eq!(found, Cause::DestinationFull, "{message}");
    let left = backups.to_string_lossy();
    assert!(!said.lines().any(|line| line.starts_with(&*left)), "{said}");

    let Some(server) = Server::start_small("a_disk_without_room", &folder, 10 << 20) else {
        return;
    };
    credentials(&root);
    let task = save(member.endpoint(), destination(server.port, "vault"));
    let (found, message) = cause(run_task(&root, &task).0);
    assert_eq!(found, Cause::DestinationFull, "{message}");
    let fetch = Task::Fetch {
        place: place(destination(server.port, "vault")),
        into: "/scratch/none.db".into(),
        sha256: None,
    };
    assert_eq!(cause(run_task(&root, &fetch).0).0, Cause::NoSuchObject);
    // The member has noticed nothing.
    member.fill(1, 10).await;
}

#[tokio::test]
async fn a_cluster_that_runs_is_copied() {
    let folder = Folder::new("operator-copied");
    let member = Member::start(folder.path(), "m");
    let revision = member.fill(20, 1000).await;
    let root = folder.path().join("pod");
    // What is left of an earlier attempt is of another moment.
    std::fs::create_dir_all(root.join("scratch")).expect("a folder");
    std::fs::write(root.join("scratch/copy.db.part"), "half of it").expect("written");
    let source = Source { endpoints: vec![member.endpoint()], cluster_id: None };
    let task = Task::Copy { source, into: "/scratch/copy.db".into() };
    assert_eq!(run_task(&root, &task).0, Report::Done);
    let file = root.join("scratch/copy.db");
    let status = json_of(&["snapshot", "status", "-w=json", &file.to_string_lossy()]);
    assert_eq!(status["revision"], revision);
    // In the pod of a member that joins a cluster nothing is to be made.
    std::fs::remove_file(&file).expect("removed");
    let mut command = task_command(&root, &task, 2, &root.join("report"));
    let output = command.env("QUORATE_INITIAL_CLUSTER_STATE", "existing").output().expect("run");
    assert!(output.status.success() && !file.exists());
    let data = member.stop();
    assert!(data.exists());
}
