//! How a volume is divided.
//!
//! A member's log makes three files ahead; its store collects in the background what compaction
//! frees, and has two checkpoints at times. Both need room beside the live data that the quota is
//! about.

use quorate_operator_api::ClusterSpec;

/// The largest file of log and store, the member's default.
const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// The smallest one, the member's lower bound.
const SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// Segments that a volume has room for, at least: the log's three, and some of the store's.
const SEGMENTS_MIN: u64 = 32;
/// What is kept out of the quota, in segments: the log ahead, and the reserve that deletes need.
const SEGMENTS_RESERVED: u64 = 6;
/// How much of the rest live data may take, in percent.
const LIVE_PERCENT: u64 = 60;

/// The size of the files of log and store: a power of two.
pub(super) fn segment_bytes(volume_bytes: u64) -> u64 {
    let share = (volume_bytes / SEGMENTS_MIN).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
    1 << share.ilog2()
}

/// The quota: what the specification says, or else what the volume has room for, grown as far as it
/// may grow.
pub(super) fn quota_bytes(spec: &ClusterSpec, volume_bytes: u64) -> u64 {
    if let Some(quota) = spec.config.quota_backend.as_ref().and_then(|quota| quota.bytes()) {
        return quota;
    }
    let grown = spec.storage.auto_grow.as_ref().and_then(|grow| grow.max_size.bytes());
    let volume_bytes = grown.unwrap_or(volume_bytes).max(volume_bytes);
    let reserved = SEGMENTS_RESERVED * segment_bytes(volume_bytes);
    volume_bytes.saturating_sub(reserved) / 100 * LIVE_PERCENT
}

#[cfg(test)]
mod tests {
    use quorate_operator_api::{ClusterSpec, Size};

    use super::{SEGMENTS_RESERVED, quota_bytes, segment_bytes};

    #[test]
    fn small_volumes_have_small_files() {
        assert_eq!(segment_bytes(8 << 30), 64 << 20);
        assert_eq!(segment_bytes(64 << 20), 2 << 20);
        assert_eq!(segment_bytes(100 << 20), 2 << 20);
        assert_eq!(segment_bytes(0), 64 << 10);
    }

    #[test]
    fn live_data_and_log_fit() {
        let spec = ClusterSpec::default();
        for volume in [64 << 20, 1 << 30, 8 << 30, 1_u64 << 40] {
            let quota = quota_bytes(&spec, volume);
            let log = SEGMENTS_RESERVED * segment_bytes(volume);
            assert!(quota >= volume / 4 && quota + log < volume * 9 / 10, "{volume}: {quota}");
        }
    }

    #[test]
    fn a_quota_that_is_given_counts() {
        let mut spec = ClusterSpec::default();
        spec.config.quota_backend = Some(Size("1Gi".to_owned()));
        assert_eq!(quota_bytes(&spec, 8 << 30), 1 << 30);
    }
}
