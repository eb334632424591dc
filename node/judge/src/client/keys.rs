//! The keys that clients share: few, in three groups with a prefix each.

use crate::history::KeyRange;
use crate::random::Random;
use bytes::Bytes;

/// The groups' prefixes, in order; with what follows them in a key's order.
const PREFIXES: [(&str, &str); 3] = [("a", "b"), ("b", "c"), ("c", "d")];

/// One of `count` keys.
pub(super) fn some_key(random: &mut Random, count: u64) -> Bytes {
    key(random.below(count.max(1)))
}

fn key(number: u64) -> Bytes {
    let (prefix, _) = PREFIXES[(number % 3) as usize];
    Bytes::from(format!("{prefix}{number:02}"))
}

fn some_prefix(random: &mut Random) -> KeyRange {
    let (prefix, end) = PREFIXES[random.index(PREFIXES.len())];
    KeyRange::between(prefix, end)
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    Single,
    Prefix,
    Between,
    From,
    All,
}

/// Some keys, mostly one.
pub(super) fn some_keys(random: &mut Random, count: u64) -> KeyRange {
    let shapes = [
        (6, Shape::Single),
        (3, Shape::Prefix),
        (1, Shape::Between),
        (1, Shape::From),
        (2, Shape::All),
    ];
    let key = some_key(random, count);
    match random.weighted(&shapes).copied().unwrap_or(Shape::Single) {
        Shape::Single => KeyRange::single(key),
        Shape::Prefix => some_prefix(random),
        Shape::Between => {
            let other = some_key(random, count);
            if key == other {
                KeyRange::single(key)
            } else {
                KeyRange::between(key.clone().min(other.clone()), key.max(other))
            }
        }
        Shape::From => KeyRange::between(key, "\0"),
        Shape::All => KeyRange::all(),
    }
}
