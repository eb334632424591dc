//! Files that people can read: none too long, none that names a machine.

use std::path::Path;
use std::process::Command;

/// Code lines (without blank lines, comments and tests) that a file may have.
const CODE_LINES_MAX: usize = 500;

/// Folders whose contents machines wrote.
const GENERATED: &[&str] = &["/gen/"];

#[test]
fn no_file_is_too_long_to_read() {
    let mut looked_at = 0;
    let mut too_long = Vec::new();
    for path in tracked("*.rs") {
        if GENERATED.iter().any(|folder| path.contains(folder)) || path.contains("/tests") {
            continue;
        }
        looked_at += 1;
        let text = std::fs::read_to_string(super::root().join(&path)).expect("a tracked file");
        let lines = code_lines(&text);
        if lines > CODE_LINES_MAX {
            too_long.push(format!("{path}: {lines} code lines"));
        }
    }
    assert!(looked_at > 50, "only {looked_at} files were found");
    assert!(too_long.is_empty(), "longer than {CODE_LINES_MAX}:\n{}", too_long.join("\n"));
}

#[test]
fn no_file_names_a_folder_of_one_machine() {
    let parts = ["/wo", "rk/|/ro", "ot/|/ho", "me/[a-z]"];
    let pattern = format!("(^|[^A-Za-z0-9_.])({})", parts.concat());
    let output = Command::new("git")
        .args(["grep", "-nE", &pattern, "--", "."])
        .current_dir(super::root())
        .output()
        .expect("git is there");
    let found = String::from_utf8_lossy(&output.stdout);
    assert!(found.is_empty(), "paths of one machine:\n{found}");
}

fn code_lines(text: &str) -> usize {
    text.lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .count()
}

fn tracked(pattern: &str) -> Vec<String> {
    let root = super::root();
    assert!(Path::new(&root).join("Cargo.toml").exists());
    let output = Command::new("git")
        .args(["ls-files", pattern])
        .current_dir(root)
        .output()
        .expect("git is there");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}
