//! What a flag takes, and how Go reads it.

use std::time::Duration;

use quorate_api::urls::Urls;

use super::gates;

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything.
    Text,
    /// `true` or `false`; true without a value.
    Boolean,
    /// A number without sign.
    Unsigned,
    /// A number without sign of 32 bits.
    Unsigned32,
    /// A number.
    Signed,
    /// A duration such as `1h30m` or `250ms`.
    Duration,
    /// URLs joined by commas; may be empty.
    Urls,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// `Gate=true,Other=false`.
    FeatureGates,
    /// Anything or nothing: nobody reads it.
    Ignored,
}

impl Kind {
    /// Whether it can be read.
    ///
    /// # Errors
    /// What is wrong, in Go's words.
    pub fn check(self, value: &str) -> Result<(), String> {
        let parse_error = || "parse error".to_owned();
        match self {
            Self::Text | Self::Ignored => Ok(()),
            Self::FeatureGates => gates::parse(value).map(drop).map_err(|error| error.to_string()),
            Self::Boolean => boolean(value).map(drop).ok_or_else(parse_error),
            Self::Unsigned => unsigned(value).map(drop).ok_or_else(parse_error),
            Self::Unsigned32 => {
                let number = unsigned(value).and_then(|number| u32::try_from(number).ok());
                number.map(drop).ok_or_else(parse_error)
            }
            Self::Signed => signed(value).map(drop).ok_or_else(parse_error),
            Self::Duration => duration(value).map(drop).ok_or_else(parse_error),
            Self::Urls if value.is_empty() => Ok(()),
            Self::Urls => Urls::parse(value).map(drop).map_err(|error| error.to_string()),
            Self::OneOf(words) if words.contains(&value) => Ok(()),
            Self::OneOf(words) => Err(format!("invalid value, one of {}", words.join(", "))),
        }
    }

    /// Whether the flag may stand alone, without a value.
    #[must_use]
    pub fn is_lone(self) -> bool {
        matches!(self, Self::Boolean | Self::Ignored)
    }

    /// Whether two values, both of this kind, mean the same.
    #[must_use]
    pub fn means_same(self, left: &str, right: &str) -> bool {
        match self {
            Self::Boolean => boolean(left) == boolean(right),
            Self::Unsigned | Self::Unsigned32 => unsigned(left) == unsigned(right),
            Self::Signed => signed(left) == signed(right),
            Self::Duration => duration(left) == duration(right),
            Self::Urls => Urls::parse(left).ok() == Urls::parse(right).ok(),
            Self::Text | Self::OneOf(_) | Self::FeatureGates | Self::Ignored => left == right,
        }
    }

    /// What stands for the value in help; `None` for a boolean.
    #[must_use]
    pub fn placeholder(self) -> Option<&'static str> {
        match self {
            Self::Text | Self::OneOf(_) => Some("TEXT"),
            Self::FeatureGates => Some("GATES"),
            Self::Boolean | Self::Ignored => None,
            Self::Unsigned | Self::Unsigned32 | Self::Signed => Some("NUMBER"),
            Self::Duration => Some("DURATION"),
            Self::Urls => Some("URLS"),
        }
    }
}

/// A boolean as Go reads it.
#[must_use]
pub fn boolean(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A number without sign; hexadecimal, octal and binary with their prefixes, as Go reads it.
#[must_use]
pub fn unsigned(value: &str) -> Option<u64> {
    let lower = value.to_ascii_lowercase();
    let (digits, radix) = match lower.as_bytes() {
        [b'0', b'x', ..] => (lower.get(2..)?, 16),
        [b'0', b'o', ..] => (lower.get(2..)?, 8),
        [b'0', b'b', ..] => (lower.get(2..)?, 2),
        [b'0', _, ..] => (lower.get(1..)?, 8),
        _ => (lower.as_str(), 10),
    };
    if digits.starts_with('+') {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

/// A number, with or without sign.
#[must_use]
pub fn signed(value: &str) -> Option<i64> {
    match value.strip_prefix('-') {
        Some(digits) => 0_i64.checked_sub_unsigned(unsigned(digits)?),
        None => i64::try_from(unsigned(value.strip_prefix('+').unwrap_or(value))?).ok(),
    }
}

/// Units of a duration, in nanoseconds, the longer names first.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
];

/// A duration as Go reads it: numbers with units, one after the other. None of the flags has a
/// meaning for a negative one, so those are not read.
#[must_use]
pub fn duration(value: &str) -> Option<Duration> {
    let mut rest = value.strip_prefix('+').unwrap_or(value);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, behind) = rest.split_at(digits);
        let unit_end = behind.find(|letter: char| letter.is_ascii_digit() || letter == '.');
        let (unit, next) = behind.split_at(unit_end.unwrap_or(behind.len()));
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(nanoseconds(number, *factor)?)?;
        rest = next;
    }
    i64::try_from(total).ok()?;
    Some(Duration::from_nanos(total))
}

/// `1.5` of a unit.
fn nanoseconds(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let parse = |digits: &str| match digits {
        "" => Some(0),
        digits => digits.parse::<u64>().ok(),
    };
    let mut total = parse(whole)?.checked_mul(factor)?;
    // Nineteen digits are more than any unit has nanoseconds.
    let fraction = fraction.get(..18).unwrap_or(fraction);
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = u128::from(parse(fraction)?) * u128::from(factor) / scale;
    total = total.checked_add(u64::try_from(part).ok()?)?;
    Some(total)
}
