//! Two short histories of real clusters, with what any machine allows: no namespaces, so that no
//! way is cut; more is for `e2e torture` itself.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

/// The server beside this test's programs, built if it is not there or older than its sources.
fn quorate() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_e2e")).with_file_name("quorate");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let built = std::fs::metadata(&program).and_then(|file| file.modified()).ok();
    if built.is_none_or(|built| built < newest(&root.join("node"))) {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["build", "--package", "quorate", "--offline", "--locked"])
            .current_dir(root)
            .output()
            .expect("cargo runs this test, so it is there");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    program
}

/// When something in a folder was changed last.
fn newest(folder: &Path) -> SystemTime {
    let entries =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let times = entries.map(|entry| match entry.file_type().expect("a type").is_dir() {
        true => newest(&entry.path()),
        false => entry.metadata().and_then(|file| file.modified()).expect("a time"),
    });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

fn torture(server: &Path, words: &[&str]) -> (Output, String) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("torture-{}", words.concat()));
    let output = Command::new(env!("CARGO_BIN_EXE_e2e"))
        .args(["torture", "--on-loopback", "--quorate"])
        .arg(server)
        .arg("--dir")
        .arg(&folder)
        .args(words)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let _ = std::fs::remove_dir_all(&folder);
    (output, said)
}

#[test]
fn short_histories_of_real_clusters_hold() {
    let (output, said) = torture(&quorate(), &["--histories", "2", "--ops", "800", "--seed", "3"]);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("\n2 histories, "), "{said}");
    assert!(said.contains(", 0 failed"), "{said}");
}

#[test]
fn what_is_no_fault_is_named() {
    let words = ["torture", "--only", "earthquake"];
    let output = Command::new(env!("CARGO_BIN_EXE_e2e")).args(words).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("earthquake is no fault; there are kill-one, "), "{said}");
}
