//! Reads what a pin holds in order, a piece at a time.

use std::ops::ControlFlow;

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
        // Not a loop, which would ask each layer of the iterator for each record.
        let stopped = pin.locations.iter_from(from).try_for_each(|(revision, slot)| {
            if !found.is_empty() && (found.len() >= limit.revisions || bytes >= limit.bytes) {
                return ControlFlow::Break(Ok(revision));
            }
            match pin.read(window, revision, slot) {
                Ok(record) => {
                    bytes += record.body.len();
                    found.push(record);
                    ControlFlow::Continue(())
                }
                Err(damage) => ControlFlow::Break(Err(damage)),
            }
        });
        *next = stopped.break_value().transpose()?;
        Ok(found)
    }

    /// Tell what the next records' bodies take, at most `records` of them: their lengths in bytes,
    /// rounded up to 8. Reads nothing; gives how many there were, 0 at the end.
    ///
    /// # Errors
    /// [`Damage`] if a record has no place.
    pub fn measure(
        &mut self,
        records: usize,
        mut hear: impl FnMut(usize),
    ) -> Result<usize, Damage> {
        let Self { pin, next, .. } = self;
        let Some(from) = *next else { return Ok(0) };
        let mut count = 0;
        let stopped = pin.locations.iter_from(from).try_for_each(|(revision, slot)| {
            if count == records {
                return ControlFlow::Break(Ok(revision));
            }
            match pin.body_room(revision, slot) {
                Ok(room) => {
                    hear(room);
                    count += 1;
                    ControlFlow::Continue(())
                }
                Err(damage) => ControlFlow::Break(Err(damage)),
            }
        });
        *next = stopped.break_value().transpose()?;
        Ok(count)
    }
}
