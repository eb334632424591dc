//! Files that say what comes out, and are written anew when asked for.

use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/operator/golden")
}

/// `text` is what the file says; `UPDATE_GENERATED=1` makes it so.
pub(crate) fn assert_golden(name: &str, text: &str) {
    let path = folder().join(name);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::create_dir_all(folder()).expect("a folder");
        std::fs::write(&path, text).expect("written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    if found == text {
        return;
    }
    let differs = found.lines().zip(text.lines()).position(|(one, other)| one != other);
    let line = differs.unwrap_or_else(|| found.lines().count().min(text.lines().count()));
    panic!(
        "{name} is not what is built; it differs from line {} on: {:?} became {:?}. \
         UPDATE_GENERATED=1 cargo test -p quorate-operator writes it",
        line + 1,
        found.lines().nth(line),
        text.lines().nth(line),
    );
}
