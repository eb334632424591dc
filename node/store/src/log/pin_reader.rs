//! Reads what a pin holds in order, a piece at a time.

use super::pin::{Pin, Window};
use super::{ChangeLimit, Damage, Record};
use crate::revision::Revision;

/// Reads a pin's records in the order of their revisions, a piece at a time. What comes from disk
/// is read ahead.
pub struct PinReader {
    pin: Pin,
    window: Window,
    /// The lowest revision that comes next; `None` at the end.
    next: Option<Revision>,
}

impl PinReader {
    /// From the first record on.
    pub fn new(pin: Pin) -> Self {
        Self { pin, window: Window::default(), next: Some(Revision::new(i64::MIN, 0)) }
    }

    /// From the first record on, once more.
    pub fn rewind(&mut self) {
        self.next = Some(Revision::new(i64::MIN, 0));
    }

    /// The next records, at least one and up to `limit`, which counts records for revisions; none
    /// at the end.
    ///
    /// # Errors
    /// [`Damage`] if the disk does not give back what was written.
    pub fn read(&mut self, limit: ChangeLimit) -> Result<Vec<Record>, Damage> {
        let Self { pin, window, next } = self;
        let mut found = Vec::new();
        let Some(from) = *next else { return Ok(found) };
        let mut bytes = 0;
        for (revision, slot) in pin.locations.iter_from(from) {
            if !found.is_empty() && (found.len() >= limit.revisions || bytes >= limit.bytes) {
                *next = Some(revision);
                return Ok(found);
            }
            let record = pin.read(window, revision, slot)?;
            bytes += record.body.len();
            found.push(record);
        }
        *next = None;
        Ok(found)
    }
}
