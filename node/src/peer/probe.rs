//! How long a round trip to a peer takes, and who is at its end.

use std::sync::Arc;
use std::time::Instant;

use super::client;
use super::identity;
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
        let settings = &shared.settings;
        let headers = shared.headers().to_vec();
        let answer = client::probe(&settings.dialer, &url, headers, settings.dial_timeout).await;
        if let Ok(headers) = answer {
            metrics::peer_round_trip(remote.id, start.elapsed());
            // What comes of it is said where it is heard.
            let _ = identity::hear_answer(&shared, &remote, &headers).await;
        }
    }
}
