//! The network between members, and between clients and members.
//!
//! Each directed pair has its own luck: a message is lost, doubled, late, or overtakes others.
//! Cuts come on top: a pair can be cut one way, a member from all, or from clients only. A pair
//! can also be held up: what is sent meanwhile arrives at the end, all at once.

use std::collections::{BTreeMap, BTreeSet};

use super::profile::NetworkProfile;
use crate::history::Time;
use crate::random::Random;

/// An end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// A member, by its id.
    Member(u64),
    /// All clients.
    Clients,
}

/// All links.
#[derive(Debug)]
pub(crate) struct Network {
    profile: NetworkProfile,
    random: Random,
    /// Directed pairs through which nothing goes.
    cuts: BTreeSet<(End, End)>,
    /// Directed pairs that are held up, and until when.
    holds: BTreeMap<(End, End), Time>,
    healed: bool,
    /// Messages lost, doubled and late.
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) delayed: u64,
    pub(crate) cut: u64,
}

impl Network {
    pub(crate) fn new(profile: NetworkProfile, random: Random) -> Self {
        Self {
            profile,
            random,
            cuts: BTreeSet::new(),
            holds: BTreeMap::new(),
            healed: false,
            lost: 0,
            doubled: 0,
            delayed: 0,
            cut: 0,
        }
    }

    /// The times at which copies of a message sent now arrive; none if it is lost.
    pub(crate) fn send(&mut self, now: Time, from: End, to: End) -> Vec<Time> {
        if self.cuts.contains(&(from, to)) {
            self.cut += 1;
            return Vec::new();
        }
        let until = self.holds.get(&(from, to)).copied().unwrap_or(now);
        let first = self.arrival(now).max(until);
        if self.healed || matches!((from, to), (End::Clients, _) | (_, End::Clients)) {
            return vec![first];
        }
        if self.random.chance(self.profile.loss_permille, 1_000) {
            self.lost += 1;
            return Vec::new();
        }
        if self.random.chance(self.profile.duplicate_permille, 1_000) {
            self.doubled += 1;
            let second = self.arrival(now).max(until);
            return vec![first, second];
        }
        vec![first]
    }

    /// Whether anything goes from one to the other.
    pub(crate) fn is_cut(&self, from: End, to: End) -> bool {
        self.cuts.contains(&(from, to))
    }

    /// Cut a directed pair.
    pub(crate) fn cut(&mut self, from: End, to: End) {
        self.cuts.insert((from, to));
    }

    /// What goes through a directed pair from now on arrives at `until` or later.
    pub(crate) fn hold(&mut self, from: End, to: End, until: Time) {
        self.holds.insert((from, to), until);
    }

    /// Nothing more is held up; what was, arrives when it was to.
    pub(crate) fn release(&mut self) {
        self.holds.clear();
    }

    /// Everybody reaches everybody again, with the profile's luck.
    pub(crate) fn join(&mut self) {
        self.cuts.clear();
        self.holds.clear();
    }

    /// From now on nothing is lost, and nothing very late.
    pub(crate) fn heal(&mut self) {
        self.join();
        self.healed = true;
    }

    fn arrival(&mut self, now: Time) -> Time {
        let base = self.random.range(self.profile.delay_us.0..self.profile.delay_us.1 + 1);
        let late = !self.healed && self.random.chance(self.profile.late_permille, 1_000);
        let extra = if late {
            self.delayed += 1;
            self.random.below(self.profile.late_us_max.max(1))
        } else {
            0
        };
        now.plus(Time((base + extra) * 1_000))
    }
}
