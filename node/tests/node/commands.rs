//! What the program says and exits with, before any member runs.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

/// Run the program without the variables of whoever runs the tests.
fn quorate(words: &[&str]) -> Output {
    command(words).output().expect("the program is there")
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(words).current_dir(env!("CARGO_TARGET_TMPDIR"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ETCD_") {
            command.env_remove(name);
        }
    }
    command
}

fn text(output: &[u8]) -> String {
    String::from_utf8(output.to_vec()).expect("text")
}

#[test]
fn versions_are_ours_and_then_etcds() {
    let output = command(&["--version"]).arg0("etcd").output().expect("the program is there");
    assert_eq!(output.status.code(), Some(0));
    let text = text(&output.stdout);
    let starts: Vec<&str> =
        text.lines().map(|line| line.split(':').next().unwrap_or_default()).collect();
    let expected = ["quorate Version", "etcd Version", "Git SHA", "Go Version", "Go OS/Arch"];
    assert_eq!(starts, expected);
    assert!(text.contains("etcd Version: 3.7.1\n"), "{text}");
}

#[test]
fn help_is_no_failure() {
    for words in [
        &["--help"][..],
        &["-h"],
        &["help"],
        &["dev", "--help"],
        &["log"],
        &["log", "--help"],
        &["log", "inspect", "--help"],
        &["log", "repair", "-h"],
        &["snapshot"],
        &["snapshot", "save", "--help"],
        &["snapshot", "status", "--help"],
        &["snapshot", "hashkv", "--help"],
        &["snapshot", "restore", "-h"],
        &["data"],
        &["data", "status", "--help"],
        &["recover", "--help"],
    ] {
        let output = quorate(words);
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert!(text(&output.stdout).starts_with("Usage: quorate"), "{words:?}");
    }
}

#[test]
fn exit_codes_are_etcds() {
    for (words, code, says) in [
        (&["--nme=x"][..], 2, "did you mean --name?"),
        (&["--heartbeat-interval=x"], 2, "parse error"),
        (&["--name"], 2, "flag needs an argument"),
        (&["lgo"], 2, "did you mean \"log\"?"),
        (&["log", "inspct"], 2, "did you mean \"inspect\"?"),
        (&["log", "inspect"], 2, "give one DATA_DIR"),
        (&["snapshto"], 2, "did you mean \"snapshot\"?"),
        (&["snapshot", "restor"], 2, "did you mean \"restore\"?"),
        (&["snapshot", "status"], 2, "give one FILE"),
        (&["data", "stats"], 2, "did you mean \"status\"?"),
        (&["data", "status"], 2, "give DATA_DIR"),
        (&["data", "status", "nothing-here"], 1, "no such directory"),
        (&["recover"], 2, "give the data directories"),
        (&["recover", "a", "--save=b", "--name=c"], 2, "--save makes no member"),
        (&["recover", "a", "--bump-revision=5"], 2, "are given together"),
        (&["snapshot", "status", "-w", "xml", "a"], 2, "one of simple, table, json, fields"),
        (&["snapshot", "status", "nothing-here"], 1, "nothing-here: No such file"),
        (&["dev", "x"], 2, "is not a flag"),
        (&["--election-timeout=1"], 1, "at least as 5 times"),
        (&["--name=a", "b"], 1, "\"b\" is not a valid flag"),
        (&["--experimental-initial-corrupt-check"], 2, "mean --feature-gates=InitialCorruptCheck"),
        (&["--config-file=nothing-here"], 1, "cannot read nothing-here: No such file"),
        (&["--cert-file=x"], 1, "KeyFile and CertFile must both be present"),
        (&["--peer-cert-file=x", "--peer-key-file=y"], 1, "cannot read x: No such file"),
        (&["gateway"], 1, "not part of this program"),
        (&["log", "inspect", "nothing-here"], 1, "no such directory"),
        (&["log", "repair", "nothing-here"], 1, "no such directory"),
        (&["dev", "--members=9"], 1, "1 to 5"),
    ] {
        let output = quorate(words);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains(says), "{words:?}: {said}");
    }
}

#[test]
fn a_setting_given_twice_is_refused() {
    let output = command(&["--name=a"]).env("ETCD_NAME", "b").output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("conflicting environment variable"), "{said}");
}

#[test]
fn a_file_leaves_flags_and_variables_aside() {
    let folder = format!("{}/config-file", env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = |name: &str, content: &str| {
        let path = format!("{folder}/{name}");
        std::fs::write(&path, content).expect("written");
        path
    };
    // What ends the start is what the file says; the flags beside it would end it otherwise.
    let path = file("bad.yaml", "name: a\nelection-timeout: 1\n");
    let named = format!("--config-file={path}");
    let said = |command: &mut Command| {
        let output = command.output().expect("it runs");
        assert_eq!(output.status.code(), Some(1));
        text(&output.stderr)
    };
    let conflict = said(command(&[&named, "--heartbeat-interval=0"]).env("ETCD_NAME", "b"));
    assert!(conflict.contains("--election-timeout[1ms] should be at least"), "{conflict}");
    // A variable names a file, too, and the command line's goes first.
    let bad = file("typo.yaml", "name: a\nheartbeat-intervall: 100\n");
    let variable = said(command(&[]).env("ETCD_CONFIG_FILE", &bad));
    assert!(variable.contains("typo.yaml: unknown key heartbeat-intervall"), "{variable}");
    let both = said(command(&[&named]).env("ETCD_CONFIG_FILE", &bad));
    assert!(both.contains("--election-timeout"), "{both}");
}

#[test]
fn dev_starts_nothing_when_a_port_is_taken() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port().to_string();
    let folder = format!("dev-taken-{}", std::process::id());
    let words = ["dev", "--members=1", "--base-port", &port, "--data-dir", &folder];
    let output = quorate(&words);
    let _ = std::fs::remove_dir_all(format!("{}/{folder}", env!("CARGO_TARGET_TMPDIR")));
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains(&format!("port {port} (for clients of m1) is in use")), "{said}");
}
