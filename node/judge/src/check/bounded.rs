//! Queues and memory stay under their limits.

use super::{Rule, Violation};
use crate::history::{MemberId, Time};
use std::collections::BTreeMap;

/// Compares gauges with limits. A gauge without a limit is an error: everything has one.
#[derive(Debug, Clone, Default)]
pub struct Bounded {
    limits: BTreeMap<&'static str, u64>,
    highest: BTreeMap<&'static str, u64>,
}

impl Bounded {
    /// A check of the gauges named, each against the largest value it may have.
    #[must_use]
    pub fn new(limits: impl IntoIterator<Item = (&'static str, u64)>) -> Self {
        Self { limits: limits.into_iter().collect(), highest: BTreeMap::new() }
    }

    /// A member's gauge has a value.
    ///
    /// # Errors
    /// [`Rule::Bounded`] if it is over its limit, or has none.
    pub fn observe(
        &mut self,
        time: Time,
        member: MemberId,
        gauge: &'static str,
        value: u64,
    ) -> Result<(), Violation> {
        let highest = self.highest.entry(gauge).or_default();
        *highest = value.max(*highest);
        let Some(&limit) = self.limits.get(gauge) else {
            let text = format!("{gauge} of member {:x} has no limit", member.0);
            return Err(Violation::at(Rule::Bounded, time, text));
        };
        if value > limit {
            let text = format!("{gauge} of member {:x} is {value}, at most {limit}", member.0);
            return Err(Violation::at(Rule::Bounded, time, text));
        }
        Ok(())
    }

    /// The highest value seen of each gauge.
    #[must_use]
    pub fn highest(&self) -> &BTreeMap<&'static str, u64> {
        &self.highest
    }

    /// A limit that nothing ever looked at guards nothing.
    ///
    /// # Errors
    /// [`Rule::Bounded`] if a gauge with a limit was never observed.
    pub fn finish(&self) -> Result<(), Violation> {
        match self.limits.keys().find(|gauge| !self.highest.contains_key(*gauge)) {
            Some(gauge) => {
                Err(Violation::new(Rule::Bounded, format!("{gauge} was never observed")))
            }
            None => Ok(()),
        }
    }
}
