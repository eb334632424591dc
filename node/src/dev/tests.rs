//! Layouts, folders, ports and lines; and the life of a cluster, with programs that end at once
//! and, where they are there, with genuine members, which take the same flags.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::layout::HOST;
use super::report::{Answer, State};
use super::*;

/// A folder that is gone with its value.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("quorate-dev-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Keeps what was said.
#[derive(Default)]
struct Memory(Vec<String>);

impl Screen for Memory {
    fn say(&mut self, line: &str) {
        self.0.push(line.to_owned());
    }

    fn pass(&mut self, _line: &str) {}
}

fn layout(members: usize, base_port: Option<u16>) -> Layout {
    Layout::new(Some(members), base_port).expect("there are such ports")
}

#[test]
fn ports_are_the_usual_ones_or_consecutive() {
    let ports = |layout: &Layout| -> Vec<(u16, u16)> {
        layout.members.iter().map(|member| (member.client_port, member.peer_port)).collect()
    };
    let usual = ports(&layout(5, None));
    assert_eq!(usual[..3], [(2379, 2380), (22379, 22380), (32379, 32380)]);
    assert_eq!(ports(&layout(2, Some(7000))), [(7000, 7001), (7002, 7003)]);
    assert_eq!(Layout::new(Some(2), Some(65533)), None);
    assert_eq!(Layout::new(Some(1), Some(0)), None);
    assert_eq!(layout(3, None).endpoints().matches("http://").count(), 3);
}

#[test]
fn members_take_what_they_are_started_with() {
    let layout = layout(3, Some(7000));
    for member in &layout.members {
        let arguments = layout.arguments(member, Path::new("/data"));
        let given = args::parse(args::table::flags(), &arguments, Words::EndFlags).expect("syntax");
        let (config, notices) = crate::config::Config::read(&given).expect("configuration");
        assert_eq!(config.check_initial_cluster(), Ok(()));
        assert!(notices.is_empty(), "{notices:?}");
    }
}

#[test]
fn a_folder_is_kept_and_emptied_only_when_asked() {
    let directory = Directory::new("folder");
    let path = directory.0.join("cluster");
    let three = layout(3, Some(7000));
    let open = |wanted: &Layout, is_default, is_fresh| {
        folder::open(&path, wanted.clone(), is_default, is_fresh)
    };
    let first = open(&three, false, false).expect("a new one");
    assert!(!first.is_kept);
    let Err(running) = open(&three, false, false) else { panic!("it is locked") };
    assert!(running.to_string().contains("runs there already"), "{running}");
    drop(first);
    std::fs::write(path.join("m1.log"), "text").expect("written");

    let again = open(&layout(1, None), true, false).expect("kept");
    assert!(again.is_kept);
    assert_eq!(again.layout, three, "a kept cluster stays as it is");
    drop(again);
    let Err(other) = open(&layout(1, Some(7000)), false, false) else { panic!("another shape") };
    assert!(other.to_string().contains("a cluster of 3 members"), "{other}");
    assert!(path.join("m1.log").exists());

    let fresh = open(&layout(1, Some(7000)), false, true).expect("anew");
    assert!(!fresh.is_kept && fresh.layout.members.len() == 1);
    assert!(!path.join("m1.log").exists());
}

#[test]
fn what_others_made_is_never_deleted() {
    let directory = Directory::new("foreign");
    std::fs::write(directory.0.join("thesis.txt"), "years").expect("written");
    let opened = folder::open(&directory.0, layout(1, None), true, true);
    let Err(error) = opened else { panic!("it is somebody else's") };
    assert!(error.to_string().contains("did not make"), "{error}");
    assert!(directory.0.join("thesis.txt").exists());
    assert!(!directory.0.join("lock").exists(), "nothing is left there");
}

#[test]
fn a_member_that_outlived_its_run_is_named_before_anything_is_deleted() {
    let directory = Directory::new("outlived");
    let path = directory.0.join("cluster");
    drop(folder::open(&path, layout(1, None), true, false).expect("a new one"));
    let data = path.join("m1");
    std::fs::create_dir_all(&data).expect("a folder");
    let lock = quorate_disk::DirectoryLock::acquire(&data).expect("free");
    let opened = folder::open(&path, layout(1, None), true, true);
    let Err(error) = opened else { panic!("the member runs") };
    assert!(error.to_string().starts_with("m1 of an earlier run is still running"), "{error}");
    assert!(data.exists());
    drop(lock);
    folder::open(&path, layout(1, None), true, true).expect("free again");
    assert!(!data.exists());
}

#[test]
fn a_damaged_mark_is_said() {
    let directory = Directory::new("mark");
    std::fs::write(directory.0.join("cluster.json"), "{").expect("written");
    let opened = folder::open(&directory.0, layout(1, None), true, false);
    let Err(error) = opened else { panic!("it cannot be read") };
    assert!(error.to_string().contains("--fresh"), "{error}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let listener = TcpListener::bind((HOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let layout = layout(1, Some(port));
    let text = check_ports(&layout, false).expect_err("taken").to_string();
    assert!(text.starts_with(&format!("port {port} (for clients of m1) is in use")), "{text}");
    assert!(!text.contains("--fresh"), "{text}");
    let text = check_ports(&layout, true).expect_err("taken").to_string();
    assert!(text.contains("--fresh"), "{text}");
}

#[test]
fn flags_are_read() {
    let read = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        request(&args::parse(FLAGS.iter(), &words, Words::BetweenFlags).expect("syntax"))
    };
    let request = read(&["--members", "5", "--base-port=7000", "--fresh"]).expect("good");
    let folder = PathBuf::from(FOLDER);
    let wanted = Request { members: Some(5), base_port: Some(7000), folder, is_fresh: true };
    assert_eq!(request, wanted);
    assert!(matches!(read(&["--members=0"]), Err(DevError::Members(0))));
    assert!(matches!(read(&["--members=6"]), Err(DevError::Members(6))));
    assert!(matches!(read(&["--base-port=70000"]), Err(DevError::Ports(70_000))));
    assert!(help().contains("--fresh"));
}

#[test]
fn changes_are_said_once() {
    let layout = layout(2, Some(7000));
    let up = |id, leader, term| State::Up(Answer { id, leader, term, is_learner: false });
    let before = [State::Starting, State::Starting];
    let now = [up(1, 1, 2), up(2, 0, 2)];
    let lines = report::changes(&layout, &before, &now);
    let expected = [
        "m1  http://127.0.0.1:7000  up, leader of term 2",
        "m2  http://127.0.0.1:7002  up, no leader",
    ];
    assert_eq!(lines, expected);
    assert!(report::changes(&layout, &now, &now).is_empty());
    assert_eq!(report::agreed_leader(&now), None);
    assert_eq!(report::waiting(&layout, &before), "m1, m2");
    assert_eq!(report::waiting(&layout, &now), "a leader");
    assert_eq!(report::agreed_leader(&[up(1, 2, 2), up(2, 2, 2)]), Some(1));
    assert_eq!(report::agreed_leader(&[up(1, 1, 3), up(2, 2, 2)]), None);
    let ready = report::ready(&layout, 1, "folder");
    assert!(ready.contains("2 members, m2 leads"), "{ready}");
    assert!(ready.contains("ETCDCTL_ENDPOINTS=http://127.0.0.1:7000,http://127.0.0.1:7002"));
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        tokio::time::timeout(Duration::from_secs(30), future).await.expect("it ends")
    })
}

#[test]
fn members_that_end_are_reported_with_their_last_lines() {
    let directory = Directory::new("ends");
    let program = directory.0.join("program");
    std::fs::write(&program, "#!/bin/sh\necho the disk is on fire\nexit 3\n").expect("written");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("set");
    let folder = directory.0.join("cluster");
    let folder = folder::open(&folder, layout(2, Some(7000)), false, false).expect("a folder");
    let mut said = Memory::default();
    let code = block_on(cluster::run(&folder, &program, &mut said)).expect("it ran");
    assert_eq!(code, ExitCode::FAILURE);
    let text = said.0.join("\n");
    assert_eq!(text.matches("    the disk is on fire").count(), 2, "{text}");
    assert!(text.contains("m1  http://127.0.0.1:7000  has ended (exit status: 3)"), "{text}");
    assert!(text.ends_with("every member has ended"), "{text}");
}
