//! What a client does and how often, drawn for each run so that runs differ in their mix.

use crate::random::Random;

/// Waits that a client may have until it gives a request up, in milliseconds: around an election,
/// longer than an election, and about what etcd's own servers take.
const TIMEOUTS_MS: [u64; 4] = [1_000, 2_000, 5_000, 8_000];

/// How often each kind of request is made, against the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// Writes of one key.
    pub put: u64,
    /// Reads.
    pub range: u64,
    /// Deletions.
    pub delete_range: u64,
    /// Transactions.
    pub txn: u64,
    /// Compactions.
    pub compact: u64,
    /// New leases.
    pub lease_grant: u64,
    /// Renewals beyond those that keep the client's own leases.
    pub lease_keep_alive: u64,
    /// Ends of leases.
    pub lease_revoke: u64,
    /// Questions about leases.
    pub lease_time_to_live: u64,
}

/// How a client behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientOptions {
    /// Keys in use; few, so that clients collide.
    pub keys: u64,
    /// The longest pause between two requests, in milliseconds.
    pub think_ms_max: u64,
    /// How long the client waits for an answer, in milliseconds.
    pub timeout_ms: u64,
    /// Requests under way at a time.
    pub calls_max: usize,
    /// Watch streams.
    pub streams: usize,
    /// Watchers on each of them.
    pub watchers_max: usize,
    /// The longest pause between two acts on one watch stream, in milliseconds.
    pub watch_think_ms_max: u64,
    /// The mix of requests.
    pub weights: Weights,
}

/// What a client does most.
#[derive(Debug, Clone, Copy)]
enum Bent {
    Even,
    Reads,
    Leases,
    Watches,
    Txns,
    Compactions,
    Deletions,
}

impl ClientOptions {
    /// Draws a behaviour.
    #[must_use]
    pub fn draw(random: &mut Random) -> Self {
        let bents = [
            (3, Bent::Even),
            (1, Bent::Reads),
            (1, Bent::Leases),
            (1, Bent::Watches),
            (1, Bent::Txns),
            (1, Bent::Compactions),
            (1, Bent::Deletions),
        ];
        let bent = random.weighted(&bents).copied().unwrap_or(Bent::Even);
        let mut options = Self {
            keys: random.range(2..13),
            think_ms_max: random.range(40..600),
            timeout_ms: random.pick(&TIMEOUTS_MS).copied().unwrap_or(TIMEOUTS_MS[0]),
            calls_max: 1 + random.index(3),
            streams: random.index(3),
            watchers_max: 1 + random.index(4),
            watch_think_ms_max: random.range(500..5_000),
            weights: EVEN,
        };
        let weights = &mut options.weights;
        match bent {
            Bent::Even => {}
            Bent::Reads => weights.range *= 5,
            Bent::Leases => {
                weights.lease_grant *= 6;
                weights.lease_keep_alive *= 4;
                weights.lease_revoke *= 3;
                weights.lease_time_to_live *= 4;
            }
            Bent::Watches => {
                options.streams = 2;
                options.watchers_max = 6;
                options.watch_think_ms_max = 500;
            }
            Bent::Txns => weights.txn *= 5,
            Bent::Compactions => weights.compact *= 6,
            Bent::Deletions => weights.delete_range *= 6,
        }
        options
    }
}

const EVEN: Weights = Weights {
    put: 30,
    range: 25,
    delete_range: 6,
    txn: 20,
    compact: 2,
    lease_grant: 3,
    lease_keep_alive: 2,
    lease_revoke: 2,
    lease_time_to_live: 4,
};
