//! The random part of election timeouts, from a seed that the caller gives.

/// A SplitMix64 sequence: equal seeds give equal timeouts, so a simulated cluster repeats itself.
#[derive(Debug, Clone)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Jitter {
        Jitter(seed)
    }

    /// A number in `0..bound`.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // The high half times the bound: unbiased enough, and without a division.
        ((u64::from((mixed >> 32) as u32) * u64::from(bound)) >> 32) as u32
    }
}
