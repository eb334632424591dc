//! How long a round trip to a peer takes.

use std::sync::Arc;
use std::time::Instant;

use quorate_api::peer::PROBING_PATH;

use super::client;
use super::remote::Remote;
use super::settings::PROBE;
use super::transport::Shared;
use crate::metrics;

/// Measures until the task is aborted.
pub(super) async fn run(shared: Arc<Shared>, remote: Arc<Remote>) {
    loop {
        tokio::time::sleep(PROBE).await;
        let Some(url) = remote.url() else { continue };
        let start = Instant::now();
        if client::probe(&shared.settings.dialer, &url, PROBING_PATH, shared.settings.dial_timeout)
            .await
            .is_ok()
        {
            metrics::peer_round_trip(remote.id, start.elapsed());
        }
    }
}
