//! Raised alarms: which member says that something is wrong, and what.

use std::collections::BTreeSet;

use prost::Message;
use quorate_api::etcdserverpb::{AlarmMember, AlarmType};

/// All raised alarms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alarms {
    raised: BTreeSet<(i32, u64)>,
}

fn member((alarm, member_id): (i32, u64)) -> AlarmMember {
    AlarmMember { member_id, alarm }
}

impl Alarms {
    /// The alarms of a kind, or all for `None`; by kind, then by member.
    #[must_use]
    pub fn get(&self, kind: i32) -> Vec<AlarmMember> {
        let wanted = |alarm: i32| kind == AlarmType::None as i32 || alarm == kind;
        self.raised.iter().filter(|(alarm, _)| wanted(*alarm)).copied().map(member).collect()
    }

    /// Whether an alarm of the kind is raised by any member.
    #[must_use]
    pub fn is_raised(&self, kind: AlarmType) -> bool {
        self.raised.iter().any(|(alarm, _)| *alarm == kind as i32)
    }

    /// Raise an alarm, which may be raised already.
    pub(crate) fn activate(&mut self, kind: i32, member_id: u64) -> AlarmMember {
        self.raised.insert((kind, member_id));
        member((kind, member_id))
    }

    /// Clear an alarm; `None` if it was not raised.
    pub(crate) fn deactivate(&mut self, kind: i32, member_id: u64) -> Option<AlarmMember> {
        self.raised.remove(&(kind, member_id)).then_some(member((kind, member_id)))
    }

    /// The table's keys; its values are empty.
    pub(crate) fn rows(&self) -> Vec<Vec<u8>> {
        let mut rows: Vec<_> =
            self.raised.iter().map(|alarm| member(*alarm).encode_to_vec()).collect();
        rows.sort_unstable();
        rows
    }
}
