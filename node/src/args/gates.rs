//! `--feature-gates`: which of etcd's gates are known, and what they are set to.

use std::collections::BTreeMap;

use super::kind::boolean;

/// The gates of etcd 3.7.1: name, stage, and whether it is on by default.
const GATES: [(&str, &str, bool); 11] = [
    (ALL_ALPHA, ALPHA, false),
    (ALL_BETA, BETA, false),
    ("CompactHashCheck", ALPHA, false),
    ("FastLeaseKeepAlive", BETA, true),
    ("InitialCorruptCheck", ALPHA, false),
    ("LeaseCheckpoint", ALPHA, false),
    ("LeaseCheckpointPersist", ALPHA, false),
    ("PriorityRequest", ALPHA, false),
    ("SetMemberLocalAddr", ALPHA, false),
    ("StopGRPCServiceOnDefrag", ALPHA, false),
    ("TxnModeWriteWithSharedBuffer", BETA, true),
];

const ALPHA: &str = "ALPHA";
const BETA: &str = "BETA";
/// Sets all of a stage that are not set themselves.
const ALL_ALPHA: &str = "AllAlpha";
const ALL_BETA: &str = "AllBeta";

/// A gate as it is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// etcd's name.
    pub name: &'static str,
    /// `ALPHA` or `BETA`.
    pub stage: &'static str,
    /// Whether it is on.
    pub is_on: bool,
}

/// The gates that were given a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gates(BTreeMap<&'static str, bool>);

/// Why gates are not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// No `=`.
    #[error("missing bool value for {0}")]
    NoValue(String),
    /// Neither true nor false.
    #[error(
        "invalid value of {name}={value}, err: strconv.ParseBool: parsing {value:?}: invalid syntax"
    )]
    Value {
        /// The gate.
        name: String,
        /// As given.
        value: String,
    },
    /// There is no such gate.
    #[error("unrecognized feature gate: {0}")]
    Unknown(String),
}

/// Read `Gate=true,Other=false`.
///
/// # Errors
/// [`GateError`] for the first thing that is not understood.
pub fn parse(text: &str) -> Result<Gates, GateError> {
    let mut gates = BTreeMap::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let Some((name, value)) = part.split_once('=') else {
            return Err(GateError::NoValue(part.to_owned()));
        };
        let (name, value) = (name.trim(), value.trim());
        let Some(is_on) = boolean(value) else {
            return Err(GateError::Value { name: name.to_owned(), value: value.to_owned() });
        };
        let Some((known, ..)) = GATES.iter().find(|(known, ..)| *known == name) else {
            return Err(GateError::Unknown(name.to_owned()));
        };
        gates.insert(*known, is_on);
    }
    Ok(Gates(gates))
}

impl Gates {
    /// Whether the gate of this name is on.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        self.all().iter().any(|gate| gate.name == name && gate.is_on)
    }

    /// All gates.
    #[must_use]
    pub fn all(&self) -> Vec<Gate> {
        GATES
            .map(|(name, stage, default)| Gate {
                name,
                stage,
                is_on: self.of(name, stage, default),
            })
            .to_vec()
    }

    fn of(&self, name: &str, stage: &str, default: bool) -> bool {
        let of_stage = self.0.get(if stage == ALPHA { ALL_ALPHA } else { ALL_BETA });
        *self.0.get(name).or(of_stage).unwrap_or(&default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_sets_those_that_are_not_set_themselves() {
        let gates = parse("AllAlpha=true,LeaseCheckpoint=false,AllBeta=false").expect("gates");
        assert!(gates.is_on("InitialCorruptCheck") && gates.is_on("AllAlpha"));
        assert!(!gates.is_on("LeaseCheckpoint") && !gates.is_on("FastLeaseKeepAlive"));
        assert!(!parse("").expect("none").is_on("InitialCorruptCheck"));
        assert!(parse("").expect("none").is_on("FastLeaseKeepAlive"));
    }
}
