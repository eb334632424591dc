//! `/metrics`: what is counted all the time, and what is looked at now.

use quorate_raft::Role;
use quorate_store::mvcc::key_range::KeyRange;

use super::{Answer, Plain, with_type};
use crate::grpc;
use crate::member::Member;
use crate::metrics::{self, Engine, Observed};

pub(super) async fn answer(plain: &Plain) -> Answer {
    let member = &plain.member;
    let scrape = metrics::Scrape::begin();
    observe(member).await;
    metrics::observe_engine(&Engine {
        answer_bytes: plain.budget.held_bytes(),
        memory_bytes_max: plain.budget.limit_bytes(),
        ..engine(member).await
    });
    let answer = with_type("text/plain; version=0.0.4; charset=utf-8", metrics::text());
    scrape.succeeded();
    answer
}

/// What etcd has names for.
async fn observe(member: &Member) {
    let counts = member.watch_counts();
    let is_learner = grpc::is_learner(member);
    let known = member.known_members();
    let ids = known.members.iter().map(|known| known.id);
    metrics::known_peers(member.ids().member, ids, known.removed.iter().copied());
    let status = member.status();
    let store = member.readable_store().await;
    let revision = store.revision();
    metrics::observe(&Observed {
        revision,
        compact_revision: store.compact_revision(),
        compacted_keys: store.mvcc().compaction().dropped(),
        keys: store.mvcc().index().count(&KeyRange::all(), revision),
        total_bytes: store.total_bytes(),
        live_bytes: store.live_bytes(),
        streams: counts.streams,
        watchers: counts.watchers,
        slow_watchers: counts.behind,
        is_learner,
        auth_revision: store.auth_revision(),
        open_reads: store.mvcc().compaction().pin_count()
            + usize::from(member.has_pinned_snapshot()),
        proposals_pending: status.proposals,
    });
    let alarms = store.alarms().get(0);
    metrics::alarms(alarms.iter().map(|raised| (raised.member_id, raised.alarm().as_str_name())));
}

/// What it has no names for.
async fn engine(member: &Member) -> Engine {
    let status = member.status();
    let ring_bytes = member.watch_counts().ring_bytes;
    let is_snapshot_pinned = member.has_pinned_snapshot();
    let role = match member.standing().role {
        Role::Follower => "follower",
        Role::PreCandidate => "pre_candidate",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
    };
    let own = member.ids().member;
    let others = status.followers.iter().filter(|follower| follower.member.0 != own);
    let lag = |matched: u64| status.last_index.saturating_sub(matched);
    let followers = others.map(|other| (other.member.0, lag(other.matched))).collect();
    let store = member.readable_store().await;
    let log = store.mvcc().log();
    Engine {
        answer_bytes: 0,
        memory_bytes_max: 0,
        role,
        term: status.term,
        first_index: status.first_index,
        last_index: status.last_index,
        log_bytes: status.log_bytes,
        followers,
        reads: status.reads,
        leases: status.leases,
        is_repairing: status.is_repairing,
        segments: log.segment_count(),
        file_bytes: log.file_bytes(),
        unflushed_bytes: log.unflushed_bytes(),
        memory_bytes: log.memory_bytes(),
        ring_bytes,
        is_compaction_pinned: store.mvcc().compaction().lowest_pin().is_some(),
        is_snapshot_pinned,
    }
}
