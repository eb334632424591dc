//! Settings from `ETCD_*` variables, by etcd's rules.

use super::syntax::{Flag, Given};

/// What every variable begins with.
pub(crate) const PREFIX: &str = "ETCD_";

/// Variables with this prefix that are no settings: read elsewhere by etcd, without effect here.
const SPECIAL: [&str; 1] = ["ETCD_UNSUPPORTED_ARCH"];

/// What to tell people once there is a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether somebody should look.
    pub is_warning: bool,
    /// What there is to say.
    pub message: String,
}

/// Why the environment is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// The same setting in both places.
    #[error(
        "conflicting environment variable is shadowed by corresponding command-line flag (either \
         unset environment variable or disable flag)): {0}"
    )]
    Conflict(String),
    /// Not of the flag's kind.
    #[error("invalid value {value:?} for {variable}: {reason}")]
    Value {
        /// The variable.
        variable: String,
        /// Its value.
        value: String,
        /// What is wrong.
        reason: String,
    },
}

/// The variable of a flag.
#[must_use]
pub fn variable(flag: &str) -> String {
    format!("{PREFIX}{}", flag.to_ascii_uppercase().replace('-', "_"))
}

/// Take settings that are not on the command line from `variables`. An empty variable counts as
/// unset.
///
/// # Errors
/// [`EnvironmentError`] for a setting that is also on the command line, or not readable.
pub fn apply(
    given: &mut Given,
    flags: impl Iterator<Item = &'static Flag>,
    variables: &[(String, String)],
) -> Result<Vec<Notice>, EnvironmentError> {
    let find = |name: &str| variables.iter().find(|(variable, _)| variable == name);
    let mut notices = Vec::new();
    let mut known = Vec::new();
    for flag in flags.filter(|flag| flag.name != "version") {
        let name = variable(flag.name);
        let Some((_, value)) = find(&name) else { continue };
        known.push(name.clone());
        if given.values.contains_key(flag.name) {
            return Err(EnvironmentError::Conflict(name));
        }
        if value.is_empty() {
            continue;
        }
        if let Err(reason) = flag.kind.check(value) {
            return Err(EnvironmentError::Value { variable: name, value: value.clone(), reason });
        }
        let message = format!("recognized and used environment variable {name}={value}");
        notices.push(Notice { is_warning: false, message });
        given.values.insert(flag.name, value.clone());
    }
    for (name, value) in variables.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        if known.contains(name) || SPECIAL.contains(&name.as_str()) {
            continue;
        }
        let message = match name.as_str() {
            "ETCD_VERSION" => format!("cannot set special environment variable {name}={value}"),
            _ => format!("unrecognized environment variable {name}={value}"),
        };
        notices.push(Notice { is_warning: true, message });
    }
    Ok(notices)
}
