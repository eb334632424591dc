//! The syntax of Go's flags: `-f`, `--f`, `--f=v`, `--f v`; a boolean takes no second word.

use std::collections::BTreeMap;

use super::kind::Kind;
use super::nearest::nearest;

/// What one flag is.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Without dashes.
    pub name: &'static str,
    /// The value when it is not given.
    pub default: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it does.
    pub help: &'static str,
}

/// The flags and words of a command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// The last value of each flag that was given.
    pub values: BTreeMap<&'static str, String>,
    /// What is not a flag.
    pub words: Vec<String>,
    /// Help was asked for.
    pub is_help: bool,
}

/// Why a command line is not understood. The texts are those of Go's flags.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// There is no such flag.
    #[error("flag provided but not defined: -{name}{}", suggestion(.nearest))]
    Unknown {
        /// As given.
        name: String,
        /// A flag that looks like it, or that took its place.
        nearest: Option<String>,
    },
    /// The flag's value is missing.
    #[error("flag needs an argument: -{0}")]
    NoValue(&'static str),
    /// The flag's value is not of its kind.
    #[error("invalid value {value:?} for flag -{name}: {reason}")]
    Value {
        /// The flag.
        name: &'static str,
        /// As given.
        value: String,
        /// What is wrong.
        reason: String,
    },
    /// Dashes, and no name.
    #[error("bad flag syntax: {0}")]
    Malformed(String),
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!(" (did you mean --{name}?)")).unwrap_or_default()
}

/// What flags that etcd 3.6 deprecated and 3.7 removed were called before.
const EXPERIMENTAL: &str = "experimental-";

/// Removed flags that are feature gates now.
const NOW_GATES: [(&str, &str); 7] = [
    ("experimental-compact-hash-check-enabled", "CompactHashCheck"),
    ("experimental-enable-lease-checkpoint", "LeaseCheckpoint"),
    ("experimental-enable-lease-checkpoint-persist", "LeaseCheckpointPersist"),
    ("experimental-initial-corrupt-check", "InitialCorruptCheck"),
    ("experimental-set-member-localaddr", "SetMemberLocalAddr"),
    ("experimental-stop-grpc-service-on-defrag", "StopGRPCServiceOnDefrag"),
    ("experimental-txn-mode-write-with-shared-buffer", "TxnModeWriteWithSharedBuffer"),
];

/// What took the place of a flag that etcd 3.7 removed.
pub(super) fn removed(name: &str) -> Option<String> {
    if let Some((_, gate)) = NOW_GATES.iter().find(|(gone, _)| *gone == name) {
        return Some(format!("feature-gates={gate}=true"));
    }
    let name = name.strip_prefix(EXPERIMENTAL)?;
    let names = super::table::flags().map(|flag| flag.name);
    nearest(name, names).map(str::to_owned)
}

/// What follows a word that is no flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// Only words, as Go has it.
    EndFlags,
    /// Flags may come again.
    BetweenFlags,
}

/// Read a command line, without the name of the program.
///
/// # Errors
/// [`SyntaxError`] for the first thing that is not understood.
pub fn parse(
    flags: impl Iterator<Item = &'static Flag> + Clone,
    arguments: &[String],
    policy: Words,
) -> Result<Given, SyntaxError> {
    let mut given = Given::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            given.words.extend(rest.cloned());
            break;
        }
        let Some(name) = argument.strip_prefix('-').filter(|name| !name.is_empty()) else {
            given.words.push(argument.clone());
            if policy == Words::EndFlags {
                given.words.extend(rest.cloned());
                break;
            }
            continue;
        };
        let name = name.strip_prefix('-').unwrap_or(name);
        if name.is_empty() || name.starts_with('-') || name.starts_with('=') {
            return Err(SyntaxError::Malformed(argument.clone()));
        }
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (name, None),
        };
        let Some(flag) = flags.clone().find(|flag| flag.name == name) else {
            if name == "help" || name == "h" {
                given.is_help = true;
                return Ok(given);
            }
            let names = flags.clone().map(|flag| flag.name);
            let nearest = removed(name).or_else(|| nearest(name, names).map(str::to_owned));
            return Err(SyntaxError::Unknown { name: name.to_owned(), nearest });
        };
        let value = match value {
            Some(value) => value,
            None if flag.kind.is_lone() => "true".to_owned(),
            None => rest.next().cloned().ok_or(SyntaxError::NoValue(flag.name))?,
        };
        if let Err(reason) = flag.kind.check(&value) {
            return Err(SyntaxError::Value { name: flag.name, value, reason });
        }
        given.values.insert(flag.name, value);
    }
    Ok(given)
}
