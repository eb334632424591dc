//! Latencies of one measurement.

use std::time::Duration;

/// How long each call took.
#[derive(Debug, Default)]
pub(crate) struct Times {
    nanoseconds: Vec<u64>,
}

impl Times {
    /// Note one.
    pub(crate) fn push(&mut self, time: Duration) {
        self.nanoseconds.push(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Microseconds below which the given share of all calls took, or NaN without calls.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a position among some millions"
    )]
    pub(crate) fn quantile_us(&mut self, share: f64) -> f64 {
        self.nanoseconds.sort_unstable();
        let last = self.nanoseconds.len().saturating_sub(1);
        let at = (share * last as f64).round() as usize;
        self.nanoseconds.get(at).map_or(f64::NAN, |time| *time as f64 / 1000.0)
    }
}
