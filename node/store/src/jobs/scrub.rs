//! Scrub: every live record on disk is read and checked.

use super::step::{JobError, Outcome, Step};
use crate::log::locations::{DiskPlace, Place, Slot};
use crate::log::pin::{Pin, Window};
use crate::log::{Damage, RevisionLog};
use crate::revision::Revision;

/// Bytes read between two steps, so that a flush is not held up.
const PORTION_BYTES: u64 = 4 << 20;

/// The job.
#[derive(Default)]
pub(super) struct Scrub {
    pin: Option<Pin>,
    next: Option<Revision>,
    window: Window,
    found: Vec<(DiskPlace, Damage)>,
    records: u64,
}

impl Scrub {
    /// Read and check the next portion.
    pub(super) fn prepare(&mut self) {
        let (Some(pin), Some(next)) = (&self.pin, self.next) else {
            return;
        };
        let mut bytes = 0;
        for (revision, slot) in pin.locations.iter_from(next) {
            if bytes >= PORTION_BYTES {
                self.next = Some(revision);
                return;
            }
            let Place::Disk(place) = slot.place() else {
                continue;
            };
            match pin.read_disk(&mut self.window, revision, place) {
                Ok(record) => bytes += record.body.len() as u64,
                Err(damage) => self.found.push((place, damage)),
            }
            self.records += 1;
        }
        self.next = None;
    }

    pub(super) fn step(&mut self, log: &mut RevisionLog) -> Result<Step, JobError> {
        if self.pin.is_none() {
            self.pin = Some(log.pin());
            self.next = Some(Revision::new(i64::MIN, 0));
            return Ok(Step::Again);
        }
        // Damage of a record that nobody can ask for any more hurts nobody.
        for (place, damage) in self.found.drain(..) {
            if log.locations.get(damage.revision) == Some(Slot::on_disk(place)) {
                return Err(damage.into());
            }
        }
        match self.next {
            Some(_) => Ok(Step::Again),
            None => Ok(Step::Done(Outcome::Scrubbed { records: self.records })),
        }
    }
}
