//! How a member ends.

use std::time::{Duration, Instant};

use quorate_api::Error;
use quorate_replica::Event;

use super::start::Running;
use super::stop::Stop;
use super::{Member, Shared};

/// A leader waits so many election timeouts for its successor.
const HAND_OVER_ELECTIONS: u64 = 3;

/// The wait for the log's last writes.
const LAST_WRITES: Duration = Duration::from_secs(10);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(2);

impl Member {
    /// Hand leadership over, if this member has it and somebody can take it.
    pub async fn hand_over(&self) {
        if !self.is_leader() || self.known_members().members.len() < 2 {
            return;
        }
        let request = self.0.waiters.next_id();
        let patience = Duration::from_millis(HAND_OVER_ELECTIONS * self.0.config.election_ms);
        let asked = self.0.ask(request, Event::HandOver { request });
        match tokio::time::timeout(patience, asked).await {
            Ok(Ok(_)) => tracing::info!("leadership is handed over"),
            Ok(Err(error)) => tracing::warn!(%error, "leadership is not handed over"),
            Err(_) => tracing::warn!("leadership is not handed over in time"),
        }
    }
}

impl Running {
    /// Answer those who wait for what will not come, if the member has ended by itself.
    pub fn fail_waiting(&self) {
        let shared = &self.member.0;
        if shared.ending.reason().is_some() {
            shared.waiters.fail_all(Error::Stopped);
        }
    }

    /// End the member: its log is closed cleanly where that can be. Blocks.
    pub fn end(self) {
        let shared = &self.member.0;
        shared.stop(Stop::Asked);
        shared.peers.stop();
        shared.waiters.fail_all(Error::Stopped);
        let is_sound = matches!(
            shared.ending.reason(),
            None | Some(Stop::Asked | Stop::Removed | Stop::Refused { .. })
        );
        if is_sound {
            shared.background.checkpoint_at_end(shared);
            shared.close_log();
            let until = Instant::now() + LAST_WRITES;
            while !shared.is_log_quiet() && Instant::now() < until {
                std::thread::sleep(LOOK);
            }
        }
        shared.applier.end();
        shared.background.end();
        shared.identity.end();
        for thread in self.threads {
            // Its panic has been reported where it happened.
            let _ = thread.join();
        }
        shared.drop_log_disk();
        shared.background.drop_disk();
        shared.waiters.fail_all(Error::Stopped);
        if is_sound {
            tracing::info!("the log is closed");
        }
    }
}

impl Shared {
    /// Whether time stands still for this member.
    pub(super) fn ticker_ended(&self) -> bool {
        self.ending.reason().is_some()
    }
}
