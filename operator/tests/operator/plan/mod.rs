//! Golden scripts of the plan: what was seen, and what is done about it. One scenario a file.
//! `QUORATE_REWRITE=1` writes what came out into the files; the difference is for a human to read.

mod scene;

use std::fmt::Write as _;
use std::path::Path;

use scene::Scene;

/// Fewer scripts than this means that some were lost.
const SCRIPTS_MIN: usize = 40;

#[test]
fn scripts_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/operator/plan/scripts");
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder of scripts")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    assert!(paths.len() >= SCRIPTS_MIN, "only {} scripts", paths.len());
    let rewrite = std::env::var_os("QUORATE_REWRITE").is_some();
    let mut failures = Vec::new();
    for path in &paths {
        let text = std::fs::read_to_string(path).expect("a script");
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let played = play(&text, &name);
        if rewrite {
            std::fs::write(path, &played).expect("to write");
        } else if played != text {
            failures.push(format!("{name}\n{}", difference(&text, &played)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The script with what comes out. A block is what was seen, `----`, and what is done.
fn play(text: &str, name: &str) -> String {
    let mut scene = Scene::new();
    let mut out = String::new();
    let mut is_answer = false;
    let mut asked = 0;
    for (at, line) in text.lines().enumerate() {
        if is_answer {
            is_answer = !line.is_empty();
            if is_answer {
                continue;
            }
        }
        let _ = writeln!(out, "{line}");
        match line {
            "----" => {
                asked += 1;
                is_answer = true;
                out.push_str(&scene.answer());
            }
            "" => {}
            comment if comment.starts_with('#') => {}
            directive => scene.tell(directive).unwrap_or_else(|error| {
                panic!("{name}:{}: {directive}: {error}", at + 1);
            }),
        }
    }
    assert!(asked > 0, "{name} asks nothing");
    out
}

fn difference(expected: &str, found: &str) -> String {
    let (mut expected, mut found) = (expected.lines(), found.lines());
    let mut last = String::new();
    loop {
        match (expected.next(), found.next()) {
            (Some(one), Some(other)) if one == other => last = one.to_owned(),
            (None, None) => return String::new(),
            (one, other) => {
                return format!(
                    "  after    {last}\n  expected {}\n  found    {}",
                    one.unwrap_or("(the end)"),
                    other.unwrap_or("(the end)")
                );
            }
        }
    }
}
