//! The checksum of bytes one after the other, from the checksums of the parts.
//!
//! ```text
//!   crc(a b)  =  crc(a 0…0)  ^  crc(b)            as many zeros as b has bytes
//! ```
//! Appending zeros is a linear map over the 32 bits of a checksum. Those that append 2ⁿ of them
//! are tabulated, so that a part costs four look-ups for each bit that is set in its length.

use std::sync::LazyLock;

use super::body::BodySum;

/// CRC-32C's polynomial, its highest coefficient in the lowest bit.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// One for each bit of a length.
const LEVELS: usize = u32::BITS as usize;

/// A linear map: what becomes of each bit.
type Map = [u32; 32];

/// A linear map: what becomes of each byte, the lowest first.
type Table = [[u32; 256]; 4];

/// The `n`-th appends 2ⁿ zero bytes: 128 KiB, made once.
static ZEROS: LazyLock<Vec<Table>> = LazyLock::new(|| {
    let one_bit: Map = std::array::from_fn(|bit| match bit {
        0 => POLYNOMIAL,
        _ => 1 << (bit - 1),
    });
    let one_byte = twice(&twice(&twice(&one_bit)));
    let maps = std::iter::successors(Some(one_byte), |map| Some(twice(map)));
    maps.take(LEVELS).map(|map| tabulate(&map)).collect()
});

/// The checksum of what has `crc`, followed by what has `next`.
pub(super) fn join(crc: u32, next: BodySum) -> u32 {
    let zeros = &*ZEROS;
    let mut joined = crc;
    let mut length = next.length;
    while length != 0 {
        let [a, b, c, d] = joined.to_le_bytes().map(usize::from);
        let table = &zeros[length.trailing_zeros() as usize];
        joined = table[0][a] ^ table[1][b] ^ table[2][c] ^ table[3][d];
        length &= length - 1;
    }
    joined ^ next.crc
}

fn apply(map: &Map, bits: u32) -> u32 {
    map.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1).fold(0, |sum, (_, to)| sum ^ to)
}

/// The map after itself.
fn twice(map: &Map) -> Map {
    map.map(|to| apply(map, to))
}

fn tabulate(map: &Map) -> Table {
    std::array::from_fn(|place| {
        std::array::from_fn(|byte| apply(map, (byte as u32) << (8 * place)))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn joins_as_if_the_bytes_were_there(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..700), 0..6),
            zeros in 0_usize..100_000,
        ) {
            let parts: Vec<Vec<u8>> = parts.into_iter().chain([vec![0; zeros]]).collect();
            let joined = parts.iter().fold(0, |crc, part| join(crc, BodySum::of(part)));
            prop_assert_eq!(joined, crc32c::crc32c(&parts.concat()));
        }
    }
}
