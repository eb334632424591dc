//! Whether the store takes more.
//!
//! Asked before a request goes into the log, never when it is applied: members apply the same
//! whatever their quota says. The alarm itself goes through the log, so that all members refuse
//! together; each member withdraws only its own, once there is room to spare. A disk that is full
//! is as a quota that is reached: the alarm stays for as long as it is.

use quorate_api::Error;
use quorate_raft::NodeId;

use crate::event::{AlarmFact, AlarmKind, DiskRoom};

/// An alarm is withdrawn when live bytes are below this many percent of the quota.
const CLEAR_BELOW_PERCENT: u64 = 90;

/// What the member knows of the store's size, and of alarms.
#[derive(Debug)]
pub(crate) struct Quota {
    this: NodeId,
    limit_bytes: Option<u64>,
    live_bytes: u64,
    disk_room: DiskRoom,
    alarms: Vec<AlarmFact>,
    /// Set when a request was refused that no alarm has told of.
    refused: bool,
}

/// What is to be proposed about the own alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AlarmProposal {
    /// The store is full.
    Activate,
    /// It has room again.
    Deactivate,
}

impl Quota {
    pub(crate) fn new(this: NodeId, limit_bytes: Option<u64>) -> Self {
        let disk_room = DiskRoom::Ample;
        Self { this, limit_bytes, live_bytes: 0, disk_room, alarms: Vec::new(), refused: false }
    }

    pub(crate) fn set_disk_room(&mut self, room: DiskRoom) {
        self.disk_room = room;
    }

    pub(crate) fn set_live_bytes(&mut self, bytes: u64) {
        self.live_bytes = bytes;
    }

    pub(crate) fn set_alarms(&mut self, alarms: Vec<AlarmFact>) {
        self.alarms = alarms;
    }

    /// Whether a request that may add `growth_bytes` can go on.
    ///
    /// # Errors
    /// [`Error::NoSpace`].
    pub(crate) fn check(&mut self, growth_bytes: u64) -> Result<(), Error> {
        if growth_bytes == 0 {
            return Ok(());
        }
        let is_told = self.alarms.iter().any(|alarm| alarm.kind == AlarmKind::NoSpace);
        if is_told || self.disk_room == DiskRoom::None {
            return Err(Error::NoSpace);
        }
        match self.limit_bytes {
            Some(limit) if self.live_bytes.saturating_add(growth_bytes) > limit => {
                self.refused = true;
                Err(Error::NoSpace)
            }
            _ => Ok(()),
        }
    }

    /// What to propose now, if anything.
    pub(crate) fn take_proposal(&mut self) -> Option<AlarmProposal> {
        let own = AlarmFact { member: self.this, kind: AlarmKind::NoSpace };
        let raised = self.alarms.contains(&own);
        let was_refused = std::mem::take(&mut self.refused);
        if (was_refused || self.disk_room == DiskRoom::None) && !raised {
            return Some(AlarmProposal::Activate);
        }
        let low = match self.limit_bytes {
            Some(limit) => self.live_bytes < limit / 100 * CLEAR_BELOW_PERCENT,
            None => true,
        };
        (raised && low && self.disk_room == DiskRoom::Ample).then_some(AlarmProposal::Deactivate)
    }
}
