//! The one source of chance in a simulation: a xoshiro256** generator, seeded through splitmix64.
//!
//! It never reads the machine: equal seeds give equal sequences on every platform. Forks give
//! each part of a run its own stream, so that one more draw in the network does not change what
//! the disk does.

/// A seeded generator of pseudo-random numbers (xoshiro256**, Blackman and Vigna 2018).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// A generator whose whole sequence follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut mixer = seed;
        Self { state: std::array::from_fn(|_| splitmix64(&mut mixer)) }
    }

    /// A generator for a sub-stream named `stream`. It follows from this generator's seed and
    /// position and from the name, and leaves this generator one draw further.
    #[must_use]
    pub fn fork(&mut self, stream: u64) -> Self {
        let mut mixer = stream;
        let salt = splitmix64(&mut mixer);
        Self::new(self.next_u64() ^ salt)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let [s0, s1, s2, s3] = &mut self.state;
        let result = s1.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *s1 << 17;
        *s2 ^= *s0;
        *s3 ^= *s1;
        *s1 ^= *s2;
        *s0 ^= *s3;
        *s2 ^= shifted;
        *s3 = s3.rotate_left(45);
        result
    }

    /// A number in `0..bound`, each equally likely (Lemire's multiplication with rejection).
    ///
    /// # Panics
    /// If `bound` is 0: there is no such number.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "an empty range has no random member");
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let wide = u128::from(self.next_u64()) * u128::from(bound);
            if wide as u64 >= threshold {
                return (wide >> 64) as u64;
            }
        }
    }

    /// An index in `0..length`.
    ///
    /// # Panics
    /// If `length` is 0.
    pub fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// A number in `range`.
    ///
    /// # Panics
    /// If the range is empty.
    pub fn range(&mut self, range: std::ops::Range<u64>) -> u64 {
        assert!(range.start < range.end, "an empty range has no random member");
        range.start + self.below(range.end - range.start)
    }

    /// True `numerator` times out of `denominator`. A zero denominator is never.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        denominator > 0 && self.below(denominator) < numerator
    }

    /// One of `items`, or nothing if there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() { None } else { items.get(self.index(items.len())) }
    }

    /// One of `choices`, each as often as its weight says; nothing if all weights are 0.
    pub fn weighted<'a, T>(&mut self, choices: &'a [(u64, T)]) -> Option<&'a T> {
        let total: u64 = choices.iter().map(|(weight, _)| weight).sum();
        if total == 0 {
            return None;
        }
        let mut left = self.below(total);
        for (weight, choice) in choices {
            if left < *weight {
                return Some(choice);
            }
            left -= weight;
        }
        None
    }

    /// Puts `items` into a random order, each order equally likely (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }
}

fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn known_sequence_of_xoshiro() {
        // The first outputs of the reference C code for the state 1, 2, 3, 4.
        let mut random = Random { state: [1, 2, 3, 4] };
        let drawn: Vec<u64> = (0..4).map(|_| random.next_u64()).collect();
        assert_eq!(drawn, [11520, 0, 1_509_978_240, 1_215_971_899_390_074_240]);
    }

    #[test]
    fn equal_seeds_agree_and_forks_differ() {
        let (mut a, mut b) = (Random::new(7), Random::new(7));
        assert_eq!(a.fork(1), b.fork(1));
        assert_eq!(a, b);
        assert_ne!(a.clone().fork(1), a.clone().fork(2));
        assert_ne!(Random::new(7), Random::new(8));
    }

    #[test]
    fn draws_stay_in_range_and_reach_everything() {
        let mut random = Random::new(3);
        let mut seen = [0_u32; 7];
        for _ in 0..7000 {
            seen[random.index(7)] += 1;
            assert!((10..12).contains(&random.range(10..12)));
        }
        assert!(seen.iter().all(|&times| (800..1200).contains(&times)), "{seen:?}");
        assert!(!random.chance(0, 10) && random.chance(10, 10) && !random.chance(1, 0));
        assert_eq!(random.weighted(&[(0, 'a'), (3, 'b')]), Some(&'b'));
        assert_eq!(random.weighted(&[(0, 'a')]), None);
        assert_eq!(random.pick::<u8>(&[]), None);
    }

    #[test]
    fn shuffling_keeps_everything() {
        let mut items: Vec<u32> = (0..100).collect();
        Random::new(1).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
