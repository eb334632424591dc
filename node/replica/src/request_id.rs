//! Names of requests, unique in a cluster for as long as a log is kept.

/// A request's name: the identifier in its `InternalRaftRequest` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Makes request ids without asking anyone.
///
/// ```text
///   63        48 47                          4 3    0
///  ┌────────────┬─────────────────────────────┬──────┐
///  │ member     │ milliseconds << 4 + counter │ lane │
///  └────────────┴─────────────────────────────┴──────┘
/// ```
///
/// A lane is one maker of a member; each has its own, so that threads need not share.
#[derive(Clone, Debug)]
pub struct RequestIds {
    member: u64,
    next: u64,
    lane: u64,
}

impl RequestIds {
    /// The lane of the replica itself.
    pub const REPLICA_LANE: u8 = 15;

    const LANE_BITS: u32 = 4;
    const COUNTER_MASK: u64 = (1 << 44) - 1;

    /// A maker for one lane (0 to 15) of a member that started at `start_ms` on the wall clock.
    #[must_use]
    pub fn new(member: u64, start_ms: u64, lane: u8) -> Self {
        Self { member: member << 48, next: start_ms << 4, lane: u64::from(lane & 15) }
    }

    /// The next name.
    pub fn next_id(&mut self) -> RequestId {
        self.next += 1;
        RequestId(self.member | (self.next & Self::COUNTER_MASK) << Self::LANE_BITS | self.lane)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_members_and_later_starts_never_share_a_name() {
        let mut seen = std::collections::BTreeSet::new();
        for member in [1, 2] {
            for lane in [0, 1, RequestIds::REPLICA_LANE] {
                for start in [1_000, 2_000] {
                    let mut ids = RequestIds::new(member, start, lane);
                    for _ in 0..1_000 {
                        assert!(seen.insert(ids.next_id()));
                    }
                }
            }
        }
        assert_eq!(seen.len(), 12_000);
    }
}
