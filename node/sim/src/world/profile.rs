//! What a seed's run is like: its size, its load and its misfortunes.

use crate::random::Random;

/// The luck of the network.
#[derive(Clone, Debug)]
pub(crate) struct NetworkProfile {
    /// Messages lost, of a thousand.
    pub(crate) loss_permille: u64,
    /// Messages that arrive twice.
    pub(crate) duplicate_permille: u64,
    /// Least and most microseconds under way.
    pub(crate) delay_us: (u64, u64),
    /// Messages that are late, and so overtaken.
    pub(crate) late_permille: u64,
    /// By how many microseconds at most.
    pub(crate) late_us_max: u64,
}

/// Mean times between faults in milliseconds; zero for never.
#[derive(Clone, Debug)]
pub(crate) struct FaultProfile {
    pub(crate) crash_ms: u64,
    pub(crate) crash_all_ms: u64,
    pub(crate) partition_ms: u64,
    pub(crate) pause_ms: u64,
    pub(crate) slow_disk_ms: u64,
    /// Damage to the log or store of a member that is down.
    pub(crate) corrupt_percent: u64,
    /// A member that is down comes back without its disk, or with an older one.
    pub(crate) forget_percent: u64,
    pub(crate) disk_error_ms: u64,
    pub(crate) disk_full_ms: u64,
    pub(crate) membership_ms: u64,
    pub(crate) transfer_ms: u64,
    /// Milliseconds that a crashed member stays down, at most.
    pub(crate) down_ms_max: u64,
}

/// A whole run.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    /// Members at the start: 1, 3 or 5.
    pub(crate) members: u64,
    pub(crate) clients: u64,
    /// Milliseconds of the phase in which anything goes wrong.
    pub(crate) unsafe_ms: u64,
    /// Milliseconds within which a healed cluster must have converged.
    pub(crate) heal_ms: u64,
    pub(crate) network: NetworkProfile,
    pub(crate) faults: FaultProfile,
    /// Microseconds of a disk operation, least and most.
    pub(crate) disk_us: (u64, u64),
    /// How members' clocks run: parts per thousand faster or slower, at most.
    pub(crate) clock_skew_permille: u64,
    /// Small numbers make rare things common.
    pub(crate) snapshot_entries: u64,
    pub(crate) catch_up_entries: u64,
    /// Whether the first election timeout after a start is a short one.
    pub(crate) advance_first_election: bool,
    pub(crate) wal_segment_bytes: u64,
    pub(crate) store_segment_bytes: u64,
    pub(crate) checkpoint_entries: u64,
    pub(crate) quota_bytes: Option<u64>,
    pub(crate) message_bytes_max: u64,
    pub(crate) inflight_messages_max: usize,
}

impl Profile {
    /// What the seed says.
    pub(crate) fn draw(random: &mut Random) -> Self {
        let members = *random.weighted(&[(2, 1), (6, 3), (3, 5)]).expect("there are weights");
        // One run in four has a friendly network, so that other faults are met alone.
        let friendly = random.chance(1, 4);
        let network = NetworkProfile {
            loss_permille: if friendly { 0 } else { random.below(300) * random.below(2) },
            duplicate_permille: if friendly { 0 } else { random.below(150) },
            delay_us: (200, 200 + random.below(20_000)),
            late_permille: if friendly { 0 } else { random.below(100) },
            late_us_max: 1 + random.below(4_000_000),
        };
        let sometimes = |random: &mut Random, mean: u64| {
            if random.chance(1, 2) { mean / 2 + random.below(mean) } else { 0 }
        };
        let faults = FaultProfile {
            crash_ms: sometimes(random, 6_000),
            crash_all_ms: sometimes(random, 15_000),
            partition_ms: sometimes(random, 6_000),
            pause_ms: sometimes(random, 8_000),
            slow_disk_ms: sometimes(random, 10_000),
            corrupt_percent: if random.chance(1, 2) { 20 + random.below(80) } else { 0 },
            forget_percent: if random.chance(1, 2) { 20 + random.below(80) } else { 0 },
            disk_error_ms: sometimes(random, 20_000),
            disk_full_ms: sometimes(random, 20_000),
            membership_ms: sometimes(random, 4_000),
            transfer_ms: sometimes(random, 8_000),
            down_ms_max: 500 + random.below(8_000),
        };
        Self {
            members,
            clients: 2 + random.below(5),
            unsafe_ms: 20_000 + random.below(20_000),
            heal_ms: 60_000,
            network,
            faults,
            disk_us: (50, 50 + random.below(8_000)),
            clock_skew_permille: random.below(30),
            snapshot_entries: 5 + random.below(200),
            catch_up_entries: 1 + random.below(50),
            wal_segment_bytes: 4_096 << random.below(5),
            store_segment_bytes: 4_096 << random.below(5),
            checkpoint_entries: 20 + random.below(300),
            advance_first_election: random.chance(1, 2),
            quota_bytes: random.chance(1, 6).then(|| 300 + random.below(2_500)),
            // Down to an entry a message and a message a time.
            message_bytes_max: if random.chance(1, 2) { 1 << 20 } else { 1 + random.below(2_000) },
            inflight_messages_max: if random.chance(1, 2) { 512 } else { 1 + random.index(8) },
        }
    }
}
