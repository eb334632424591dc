//! Reads what a pin holds in order, a piece at a time.

use std::ops::ControlFlow;

use super::locations::Slot;
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
        self.walk(limit, Pin::read, |record| record.body.len())
    }

    /// What the next records would be, as [`PinReader::read`] gives them: whether each is a
    /// tombstone, and its body's length in bytes. Whether the bodies are whole is left to `read`.
    ///
    /// # Errors
    /// [`Damage`], as for `read`.
    pub fn read_extents(&mut self, limit: ChangeLimit) -> Result<Vec<(bool, usize)>, Damage> {
        self.walk(limit, Pin::extent, |(_, body_bytes)| *body_bytes)
    }

    fn walk<T>(
        &mut self,
        limit: ChangeLimit,
        read: impl Fn(&Pin, &mut Window, Revision, Slot) -> Result<T, Damage>,
        body_bytes: impl Fn(&T) -> usize,
    ) -> Result<Vec<T>, Damage> {
        let Self { pin, window, next } = self;
        let mut found = Vec::new();
        let Some(from) = *next else { return Ok(found) };
        let mut bytes = 0;
        // Not a loop, which would ask each layer of the iterator for each record.
        let stopped = pin.locations.iter_from(from).try_for_each(|(revision, slot)| {
            if !found.is_empty() && (found.len() >= limit.revisions || bytes >= limit.bytes) {
                return ControlFlow::Break(Ok(revision));
            }
            match read(pin, window, revision, slot) {
                Ok(read) => {
                    bytes += body_bytes(&read);
                    found.push(read);
                    ControlFlow::Continue(())
                }
                Err(damage) => ControlFlow::Break(Err(damage)),
            }
        });
        *next = stopped.break_value().transpose()?;
        Ok(found)
    }
}
