//! What proves that the newest batch was durable: its seal.
//!
//! A batch's sync says nothing in the log. The seal behind it does, to a process that is killed as
//! soon as it is written, to a machine without power once it is synced: with the next batch, when
//! the log stays idle, or when it is closed.

use bytes::Bytes;
use quorate_disk::{Disk, Operation};

use crate::Batch;
use crate::record::{FrameKind, SECTOR};
use crate::writer::{Log, Purpose};

impl Log {
    /// Say in the log that its newest batch is durable. No sync of its own.
    pub(crate) fn seal(&mut self, disk: &mut dyn Disk) {
        let frame = self.frame(FrameKind::Seal, self.durable, &Batch::default());
        let mut bytes = Vec::with_capacity(SECTOR as usize);
        frame.encode(self.current.salt, self.current.offset, &mut bytes);
        bytes.resize(SECTOR as usize, 0);
        let (path, offset) = (self.current.path.clone(), self.current.offset);
        let data = vec![Bytes::from(bytes)];
        let write = Operation::Write { path: path.clone(), offset, data };
        self.submit(disk, path, Purpose::Seal, write);
        self.current.offset += SECTOR;
        self.current.length = self.current.length.max(self.current.offset);
        self.sealed = self.durable;
    }

    /// Look now and then whether the log is idle: one that has taken no batch since the last look
    /// has its newest seal made durable, so that its end is proved whatever happens to it at rest.
    pub fn prove_if_idle(&mut self, disk: &mut dyn Disk) {
        if self.looked_at == self.number && self.plan.is_none() && !self.failed {
            self.prove(disk);
        }
        self.looked_at = self.number;
    }

    /// Submit what makes the newest seal durable: before a clean end of the process. It is over
    /// when [`Log::is_quiet`] says so.
    pub fn close(&mut self, disk: &mut dyn Disk) {
        self.is_closing = true;
        self.prove(disk);
    }

    /// Submit the sync behind the seal of the newest batch, if that one is written and nothing has
    /// been submitted for it.
    pub(crate) fn prove(&mut self, disk: &mut dyn Disk) {
        let number = self.sealed;
        if self.oldest_in_flight().is_some() || number < self.number || self.proved >= number {
            return;
        }
        self.proved = number;
        let path = self.current.path.clone();
        self.submit_needed(disk, "sync", Operation::Sync { path });
    }

    /// Whether the log is quiet and the seal of its newest batch durable.
    #[must_use]
    pub fn is_proved(&self) -> bool {
        self.is_quiet() && self.proved == self.number
    }
}
