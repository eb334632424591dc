//! Cleanup: files that no record, checkpoint or reader needs are removed.
//!
//! Manifests go first, and for good: as long as one may be there after a crash, so must be all that
//! it names.

use std::collections::BTreeSet;

use quorate_disk::{Operation, Path};

use super::step::{Outcome, Step};
use crate::checkpoint::format::{self, FileKind};
use crate::log::RevisionLog;

/// Files a step removes at most, so that a long list does not hold up a flush.
const FILES_MAX: usize = 64;

/// The job.
#[derive(Debug)]
pub(super) struct Cleanup {
    /// Ids of the segments that checkpoints need.
    kept: BTreeSet<u64>,
    /// What is being removed.
    removing: Vec<Path>,
    removed: u64,
}

/// Whether there is something to remove.
pub(super) fn is_due(log: &RevisionLog, kept: &BTreeSet<u64>) -> bool {
    !log.garbage.is_empty() || !log.segments.removable(kept, log.active).is_empty()
}

impl Cleanup {
    pub(super) fn new(kept: BTreeSet<u64>) -> Self {
        Self { kept, removing: Vec::new(), removed: 0 }
    }

    pub(super) fn step(&mut self, log: &mut RevisionLog) -> Step {
        self.removed += self.removing.len() as u64;
        self.removing.clear();
        for number in log.segments.removable(&self.kept, log.active) {
            if let Some(segment) = log.segments.remove(number) {
                log.garbage.push(segment.file.path.clone());
            }
        }
        self.removing = log.garbage.extract_if(.., is_manifest).collect();
        if !self.removing.is_empty() {
            let sync = Operation::SyncDirectory { path: "".into() };
            return Step::Submit(self.removing.iter().map(remove).chain([sync]).collect());
        }
        let some = log.garbage.len().min(FILES_MAX);
        self.removing = log.garbage.drain(..some).collect();
        if self.removing.is_empty() {
            return Step::Done(Outcome::Cleaned { files: self.removed });
        }
        Step::Submit(self.removing.iter().map(remove).collect())
    }

    /// What may not have been removed is to be removed again.
    pub(super) fn abandon(self, log: &mut RevisionLog) {
        log.garbage.extend(self.removing);
    }
}

fn is_manifest(path: &mut Path) -> bool {
    matches!(format::parse_file_name(path), Some((_, FileKind::Manifest)))
}

fn remove(path: &Path) -> Operation {
    Operation::Remove { path: path.clone() }
}
