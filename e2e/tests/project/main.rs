//! The rules of the project that a compiler does not know.

mod arrows;
mod files;

use std::path::PathBuf;

/// The workspace's root folder.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("e2e is in the workspace").into()
}
