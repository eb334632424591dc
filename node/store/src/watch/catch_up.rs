//! Watchers that lag behind the ring.

use super::Error;
use super::event::Event;
use super::options::WatchOptions;
use super::window::Window;
use crate::log::ChangeLimit;
use crate::mvcc::Mvcc;

/// The stretch of the log that was read last.
///
/// Clients that come back together lag by about the same, so one stretch serves many of them,
/// and its encoded events with it. Only one is kept.
#[derive(Debug)]
pub(super) struct CatchUp {
    pub(super) window: Window,
    /// Stretches read so far.
    pub(super) reads: u64,
}

impl CatchUp {
    pub(super) const fn new() -> Self {
        Self { window: Window::empty_after(0), reads: 0 }
    }

    /// Forget what was read: the log is another one.
    pub(super) fn clear(&mut self) {
        self.window = Window::empty_after(0);
    }

    /// Read on from revision `from`, up to `published`: what is later will be published.
    ///
    /// # Errors
    /// If the log cannot be read; the chunk is as before.
    pub(super) fn read(
        &mut self,
        mvcc: &Mvcc,
        from: i64,
        published: i64,
        options: &WatchOptions,
    ) -> Result<(), Error> {
        assert!(
            mvcc.compact_revision() <= from && from <= published,
            "read within what is kept and published"
        );
        let limit = ChangeLimit {
            revisions: options.catch_up_revisions_max,
            bytes: options.catch_up_bytes_max,
        };
        let records = mvcc.log().changes(from, limit)?;
        // At least one whole revision is returned if there is one.
        let through = records.last().map_or(published, |last| last.revision.main.min(published));
        let events = records
            .into_iter()
            .filter(|record| record.revision.main <= through)
            .map(Event::new)
            .collect::<Result<_, _>>()?;
        self.window = Window { events, floor: from - 1, through };
        self.reads += 1;
        Ok(())
    }
}
