//! How long a round trip to a peer takes.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use quorate_api::peer::PROBING_PATH;

use super::client;
use super::remote::Remote;
use super::settings::PROBE;
use super::transport::Shared;

/// A new measurement counts for one part in so many of the smoothed time.
const SMOOTHING: u64 = 8;

/// Measures until the task is aborted.
pub(super) async fn run(shared: Arc<Shared>, remote: Arc<Remote>) {
    loop {
        tokio::time::sleep(PROBE).await;
        let Some(url) = remote.url() else { continue };
        let start = Instant::now();
        if client::probe(&url, PROBING_PATH, shared.settings.dial_timeout).await.is_ok() {
            let now = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
            let smoothed = match remote.traffic.round_trip_micros.load(Relaxed) {
                0 => now,
                before => before - before / SMOOTHING + now / SMOOTHING,
            };
            remote.traffic.round_trip_micros.store(smoothed, Relaxed);
        }
    }
}
