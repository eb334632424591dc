//! Files that change behind a member's back while it is down.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use judge::random::Random;

/// The size of a disk's sector.
pub(super) const SECTOR: u64 = 512;

/// What happens to a place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Harm {
    /// Some bits of a byte are others.
    Flip,
    /// A sector holds nothing.
    Zero,
}

/// Harm a file at a place. Whether that changed anything.
pub(super) fn harm(path: &Path, at: u64, harm: Harm) -> anyhow::Result<bool> {
    let file = File::options().read(true).write(true).open(path)?;
    let (at, length) = match harm {
        Harm::Flip => (at, 1),
        Harm::Zero => (at / SECTOR * SECTOR, SECTOR as usize),
    };
    let mut bytes = vec![0; length];
    let read = file.read_at(&mut bytes, at)?;
    bytes.truncate(read);
    let harmed: Vec<u8> = match harm {
        Harm::Flip => bytes.iter().map(|byte| !byte).collect(),
        Harm::Zero => vec![0; bytes.len()],
    };
    file.write_all_at(&harmed, at)?;
    file.sync_all()?;
    Ok(harmed != bytes)
}

/// The files of log and store that a member wrote, in order, each with how many of its bytes are in
/// use. What only reserves room, and what was laid aside as damaged, is left out.
pub(super) fn files(data: &Path) -> anyhow::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for folder in ["log", "store"] {
        for entry in std::fs::read_dir(data.join(folder))? {
            let path = entry?.path();
            if path.extension().is_some_and(|it| it == "damaged" || it == "spare") {
                continue;
            }
            let bytes = std::fs::read(&path)?;
            if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
                found.push((path, last as u64 + 1));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Harm some file of a member at some place, and say which.
pub(super) fn harm_some(data: &Path, random: &mut Random) -> anyhow::Result<String> {
    let files = files(data)?;
    let (path, used) = random.pick(&files).context("no file is written")?;
    let at = random.below(*used);
    let kind = if random.chance(1, 2) { Harm::Flip } else { Harm::Zero };
    harm(path, at, kind)?;
    let name = path.strip_prefix(data).unwrap_or(path).display();
    Ok(format!("{kind:?} in {name} at {at} of {used}"))
}
