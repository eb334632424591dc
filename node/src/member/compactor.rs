//! Automatic compaction, as etcd does it: by revision or by time, on the leader.

use std::collections::VecDeque;
use std::time::Duration;

use quorate_api::Error;
use quorate_api::etcdserverpb::CompactionRequest;
use quorate_member::route::Request;

use super::Member;
use crate::config::AutoCompaction;

/// Between two looks at the revision, when revisions are kept.
const REVISIONS_LOOK: Duration = Duration::from_secs(300);

/// Above this, history is looked at once an hour, as in etcd.
const HOUR: Duration = Duration::from_secs(3_600);

/// Looks at the revision within one interval.
const LOOKS: u32 = 10;

impl Member {
    /// Compact as the configuration says, for ever.
    pub async fn compact_automatically(&self) {
        match self.config().auto_compaction {
            AutoCompaction::Off => std::future::pending().await,
            AutoCompaction::Revisions(revisions) => self.keep_revisions(revisions).await,
            AutoCompaction::Periodic(period) => self.keep_period(period).await,
        }
    }

    async fn keep_revisions(&self, revisions: i64) {
        let mut compacted = 0;
        loop {
            tokio::time::sleep(REVISIONS_LOOK).await;
            let revision = self.revision().await - revisions;
            if self.is_leader() && revision > compacted && self.compact(revision).await {
                compacted = revision;
            }
        }
    }

    /// Revisions are noted several times an interval; the one that is a period old is compacted
    /// to, once an interval.
    async fn keep_period(&self, period: Duration) {
        let interval = period.min(HOUR);
        let look = interval / LOOKS;
        let kept = usize::try_from(period.as_nanos() / look.as_nanos().max(1)).unwrap_or(1) + 1;
        let mut noted: VecDeque<i64> = VecDeque::new();
        let mut looks_since = LOOKS;
        let mut compacted = 0;
        loop {
            noted.push_back(self.revision().await);
            while noted.len() > kept {
                noted.pop_front();
            }
            tokio::time::sleep(look).await;
            looks_since = looks_since.saturating_add(1);
            if noted.len() < kept || looks_since < LOOKS || !self.is_leader() {
                continue;
            }
            let revision = noted.front().copied().unwrap_or(0);
            if revision <= compacted || self.compact(revision).await {
                compacted = compacted.max(revision);
                looks_since = 0;
            }
        }
    }

    async fn revision(&self) -> i64 {
        self.readable_store().await.revision()
    }

    /// Whether everything up to the revision is compacted now.
    async fn compact(&self, revision: i64) -> bool {
        let request = CompactionRequest { revision, physical: false };
        match self.request(Request::Compact(request)).await {
            Ok(_) => {
                tracing::info!(revision, "compacted automatically");
                true
            }
            Err(Error::Compacted) => true,
            Err(error) => {
                tracing::warn!(revision, %error, "could not compact automatically");
                false
            }
        }
    }
}
