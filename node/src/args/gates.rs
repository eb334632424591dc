//! `--feature-gates`: which of etcd's gates are known, and what they are set to.

use std::collections::BTreeMap;

use super::kind::boolean;

/// The gates of etcd 3.7.1, with their defaults.
pub const GATES: [(&str, bool); 11] = [
    ("AllAlpha", false),
    ("AllBeta", false),
    ("CompactHashCheck", false),
    ("FastLeaseKeepAlive", true),
    ("InitialCorruptCheck", false),
    ("LeaseCheckpoint", false),
    ("LeaseCheckpointPersist", false),
    ("PriorityRequest", false),
    ("SetMemberLocalAddr", false),
    ("StopGRPCServiceOnDefrag", false),
    ("TxnModeWriteWithSharedBuffer", true),
];

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

/// Read `Gate=true,Other=false`: what is given, by name.
///
/// # Errors
/// [`GateError`] for the first thing that is not understood.
pub fn parse(text: &str) -> Result<BTreeMap<&'static str, bool>, GateError> {
    let mut gates = BTreeMap::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let Some((name, value)) = part.split_once('=') else {
            return Err(GateError::NoValue(part.to_owned()));
        };
        let (name, value) = (name.trim(), value.trim());
        let Some(is_on) = boolean(value) else {
            return Err(GateError::Value { name: name.to_owned(), value: value.to_owned() });
        };
        let Some((known, _)) = GATES.iter().find(|(known, _)| *known == name) else {
            return Err(GateError::Unknown(name.to_owned()));
        };
        gates.insert(*known, is_on);
    }
    Ok(gates)
}

/// Whether a gate is on, given what was read.
#[must_use]
pub fn is_on(gates: &BTreeMap<&'static str, bool>, name: &str) -> bool {
    let default = GATES.iter().find(|(known, _)| *known == name).is_some_and(|(_, on)| *on);
    gates.get(name).copied().unwrap_or(default)
}
