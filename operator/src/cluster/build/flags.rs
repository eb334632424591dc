//! What a member is started with.

use std::collections::BTreeMap;

use quorate_operator_api::{ClusterSpec, CompactionMode, OWNED_FLAGS};

use super::space;

/// The flags that the specification asks for, by name: fields of their own, and the further ones.
/// None of the operator's flags is among the latter, whatever the specification says; the API
/// server refuses such a one.
pub(super) fn of_spec(spec: &ClusterSpec, volume_bytes: u64) -> BTreeMap<String, String> {
    let config = &spec.config;
    let mut flags = BTreeMap::new();
    let mut set = |name: &str, value: String| flags.insert(name.to_owned(), value);
    set("quota-backend-bytes", space::quota_bytes(spec, volume_bytes).to_string());
    set("heartbeat-interval", config.heartbeat_interval_ms.to_string());
    set("election-timeout", config.election_timeout_ms.to_string());
    if let Some(count) = config.snapshot_count {
        set("snapshot-count", count.to_string());
    }
    let compaction = &config.auto_compaction;
    match compaction.mode {
        CompactionMode::Periodic => {
            set("auto-compaction-mode", "periodic".to_owned());
            set("auto-compaction-retention", compaction.retention.clone());
        }
        CompactionMode::Revision => {
            set("auto-compaction-mode", "revision".to_owned());
            set("auto-compaction-retention", compaction.retention.clone());
        }
        CompactionMode::Disabled => {
            set("auto-compaction-retention", "0".to_owned());
        }
    }
    for (name, value) in &config.extra_args {
        if !OWNED_FLAGS.contains(&name.as_str()) {
            flags.insert(name.clone(), value.0.clone());
        }
    }
    flags
}

/// As they stand in the container's arguments.
pub(super) fn arguments<'a>(
    flags: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Vec<String> {
    flags.into_iter().map(|(name, value)| format!("--{name}={value}")).collect()
}

#[cfg(test)]
mod tests {
    use quorate_operator_api::{ClusterSpec, OWNED_FLAGS};

    use super::of_spec;

    #[test]
    fn what_the_operator_owns_is_not_taken_from_others() {
        let plain = of_spec(&ClusterSpec::default(), 8 << 30);
        let mut spec = ClusterSpec::default();
        for flag in OWNED_FLAGS {
            spec.config.extra_args.entry(flag.to_owned()).or_default().0 = "mine".to_owned();
        }
        assert_eq!(of_spec(&spec, 8 << 30), plain);
        spec.config.extra_args.entry("log-level".to_owned()).or_default().0 = "debug".to_owned();
        assert_eq!(of_spec(&spec, 8 << 30).len(), plain.len() + 1);
    }
}
