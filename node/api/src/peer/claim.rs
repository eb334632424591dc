//! What a member says of itself beyond what etcd's members say: which life of which data directory
//! it is. It travels in [`IDENTITY_HEADER`] on every request to a peer and on its answer; etcd's
//! members send none and ignore it.
//!
//! ```text
//!   X-Quorate-Identity: incarnation=9f…; boot=7; end=3/120/118; nonces=5e…,c0…,…
//! ```

use std::fmt;

/// Carries a [`Claim`].
pub const IDENTITY_HEADER: &str = "X-Quorate-Identity";
/// Whether the asking member is known here, and by what: 200, or 409 with the reason in words.
pub const IDENTITY_PATH: &str = "/quorate/identity";

/// Starts of a member whose nonces are told and remembered. One that was copied and one that goes
/// on are told apart as long as neither has started so often since.
pub const NONCES_MAX: usize = 32;

/// What a member says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which data directory it has: drawn when that was made.
    pub incarnation: u64,
    /// How often it has started on it, from 1.
    pub boot: u64,
    /// A number drawn at each start, the newest first: those of `boot`, `boot - 1`, ….
    pub nonces: Vec<u64>,
    /// What its log holds for certain; `None` while it is being repaired.
    pub end: Option<LogEnd>,
}

/// What a log holds durably.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogEnd {
    /// The member's term.
    pub term: u64,
    /// The last index.
    pub index: u64,
    /// The last index that is known to be committed and is there: it never goes back.
    pub committed: u64,
}

impl fmt::Display for Claim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { incarnation, boot, nonces, end } = self;
        write!(formatter, "incarnation={incarnation:016x}; boot={boot}")?;
        if let Some(LogEnd { term, index, committed }) = end {
            write!(formatter, "; end={term}/{index}/{committed}")?;
        }
        for (position, nonce) in nonces.iter().enumerate() {
            let before = if position == 0 { "; nonces=" } else { "," };
            write!(formatter, "{before}{nonce:016x}")?;
        }
        Ok(())
    }
}

impl Claim {
    /// Reads what [`Display`](fmt::Display) writes. Parts with other names are left out, so that a
    /// later release may say more.
    pub fn parse(text: &str) -> Option<Self> {
        let part = |name: &str| {
            let mut parts = text.split(';').filter_map(|part| part.trim().split_once('='));
            parts.find(|(found, _)| *found == name).map(|(_, value)| value)
        };
        let hexadecimal = |text: &str| u64::from_str_radix(text, 16).ok();
        let boot = part("boot")?.parse().ok()?;
        let nonces: Vec<u64> =
            part("nonces")?.split(',').map(hexadecimal).collect::<Option<_>>()?;
        let end = match part("end") {
            None => None,
            Some(text) => Some(LogEnd::parse(text)?),
        };
        let is_whole = !nonces.is_empty() && nonces.len() <= NONCES_MAX;
        is_whole.then_some(Self {
            incarnation: hexadecimal(part("incarnation")?)?,
            boot,
            nonces,
            end,
        })
    }
}

impl LogEnd {
    fn parse(text: &str) -> Option<Self> {
        let numbers: Vec<u64> =
            text.split('/').map(|number| number.parse().ok()).collect::<Option<_>>()?;
        let &[term, index, committed] = numbers.as_slice() else { return None };
        Some(Self { term, index, committed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let end = Some(LogEnd { term: 3, index: 120, committed: 118 });
        for claim in [
            Claim { incarnation: u64::MAX, boot: 2, nonces: vec![1, u64::MAX], end },
            Claim { incarnation: 0, boot: 1, nonces: vec![7], end: None },
        ] {
            assert_eq!(Claim::parse(&claim.to_string()), Some(claim));
        }
    }

    #[test]
    fn what_is_no_claim_is_none() {
        let many = vec!["1"; NONCES_MAX + 1].join(",");
        for text in [
            "",
            "incarnation=1; boot=1",
            "incarnation=1; boot=1; nonces=",
            "incarnation=1; boot=x; nonces=1",
            "incarnation=; boot=1; nonces=1",
            "incarnation=1; boot=1; end=1/2; nonces=1",
            "incarnation=1; boot=1; end=1/2/3/4; nonces=1",
            "incarnation=1; boot=1; end=-1/2/3; nonces=1",
            &format!("incarnation=1; boot=1; nonces={many}"),
        ] {
            assert_eq!(Claim::parse(text), None, "{text}");
        }
        let later = "boot=1; mood=good; incarnation=1; nonces=1";
        assert!(Claim::parse(later).is_some());
    }
}
