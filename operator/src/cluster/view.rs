//! Each member in one look: what the others know of it, its objects, and how it does.

use std::collections::BTreeMap;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use quorate_operator_api::{MemberHealth, MemberRole};

use super::observed::{
    AlarmKind, Answer, KnownMembership, MemberSeen, Membership, Number, Observed, PodPhase,
    PodSeen, RaftMember, Remembered, Says, SetSeen,
};

/// A member in one look.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// Its number; none if somebody else runs it.
    pub number: Option<Number>,
    /// As the others know it, if they do and could be asked.
    pub raft: Option<&'a RaftMember>,
    /// Its objects.
    pub seen: Option<&'a MemberSeen>,
    /// As it was last known.
    pub remembered: Option<&'a Remembered>,
    /// How it is.
    pub health: MemberHealth,
    /// Since when it has been healthy, or not.
    pub since: Timestamp,
    /// Whether it leads, as far as it says so.
    pub leads: bool,
}

/// All members that are known of, by the cluster, by objects or by the record; those of others last.
#[must_use]
pub fn views(observed: &Observed, now: Timestamp) -> Vec<View<'_>> {
    let known = match &observed.membership {
        Membership::Known(known) => Some(known),
        Membership::Unknown => None,
    };
    let mut own: BTreeMap<Number, View<'_>> = BTreeMap::new();
    let numbers = observed.members.keys().chain(observed.record.members.keys());
    let in_raft = known.iter().flat_map(|known| &known.members);
    for number in numbers.copied().chain(in_raft.clone().filter_map(|member| member.number)) {
        own.entry(number).or_insert_with(|| view(observed, known, number, now));
    }
    let others = in_raft.filter(|member| member.number.is_none()).map(|member| View {
        number: None,
        raft: Some(member),
        seen: None,
        remembered: None,
        health: MemberHealth::Unknown,
        since: now,
        leads: false,
    });
    own.into_values().chain(others).collect()
}

fn view<'a>(
    observed: &'a Observed,
    known: Option<&'a KnownMembership>,
    number: Number,
    now: Timestamp,
) -> View<'a> {
    let of_number = |member: &&RaftMember| member.number == Some(number);
    let raft = known.and_then(|known| known.members.iter().find(of_number));
    let seen = observed.members.get(&number);
    let remembered = observed.record.member(number);
    let health = health(observed, raft, seen);
    // Whatever gives the majority back may be giving the others back, too: they have their time anew.
    let is_back = known.is_some() && observed.record.was_unknown;
    let was_healthy = remembered.map(|remembered| remembered.health == MemberHealth::Healthy);
    let since = remembered
        .and_then(|remembered| remembered.since)
        .filter(|_| was_healthy == Some(health == MemberHealth::Healthy))
        .filter(|_| !is_back || health == MemberHealth::Healthy)
        .unwrap_or(now);
    let leads = seen.and_then(MemberSeen::says).is_some_and(|says| {
        says.leader == says.member_id && raft.is_none_or(|raft| raft.id == says.member_id)
    });
    View { number: Some(number), raft, seen, remembered, health, since, leads }
}

/// How a member is. A pod that is about to go counts as gone.
fn health(
    observed: &Observed,
    raft: Option<&RaftMember>,
    seen: Option<&MemberSeen>,
) -> MemberHealth {
    let pod = seen.and_then(|seen| seen.pod.as_ref());
    let Some(says) = seen.and_then(MemberSeen::says) else {
        return match pod {
            Some(pod) if pod.phase == PodPhase::Running && pod.leaving_since.is_none() => {
                MemberHealth::Unreachable
            }
            Some(_) | None => MemberHealth::Starting,
        };
    };
    let id = raft.map_or(says.member_id, |raft| raft.id);
    let is_corrupt = observed.alarms.iter().flatten().any(|alarm| {
        let Says { member_id, .. } = says;
        alarm.member == *member_id && alarm.kind == AlarmKind::Corrupt
    });
    if is_corrupt {
        return MemberHealth::Corrupt;
    }
    // An answer of somebody else's is none: names may still lead to an earlier pod.
    let is_other = says.member_id != id
        || observed.record.cluster_id.is_some_and(|cluster| cluster != says.cluster_id);
    if is_other || says.leader == 0 {
        return MemberHealth::Unreachable;
    }
    match pod {
        Some(pod) if pod.leaving_since.is_none() => MemberHealth::Healthy,
        Some(_) | None => MemberHealth::Starting,
    }
}

impl MemberSeen {
    /// What the member says.
    #[must_use]
    pub fn says(&self) -> Option<&Says> {
        match &self.answer {
            Answer::Says(says) => Some(says),
            Answer::Silent => None,
        }
    }
}

impl<'a> View<'a> {
    /// Whether it votes, as the others know it.
    #[must_use]
    pub fn is_voter(&self) -> bool {
        self.raft.is_some_and(|raft| !raft.is_learner)
    }

    /// Whether it only follows, as the others know it.
    #[must_use]
    pub fn is_learner(&self) -> bool {
        self.raft.is_some_and(|raft| raft.is_learner)
    }

    /// Whether it answers, follows or leads, and will be there in a moment, too.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.health == MemberHealth::Healthy
    }

    /// Whether it serves clients, too.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.is_healthy() && self.pod().is_some_and(|pod| pod.is_ready)
    }

    /// Its pod.
    #[must_use]
    pub fn pod(&self) -> Option<&'a PodSeen> {
        self.seen.and_then(|seen| seen.pod.as_ref())
    }

    /// Its StatefulSet.
    #[must_use]
    pub fn set(&self) -> Option<&'a SetSeen> {
        self.seen.and_then(|seen| seen.set.as_ref())
    }

    /// What it says.
    #[must_use]
    pub fn says(&self) -> Option<&'a Says> {
        self.seen.and_then(MemberSeen::says)
    }

    /// Its id, as the others know it, or as they did.
    #[must_use]
    pub fn id(&self) -> Option<u64> {
        self.raft.map(|raft| raft.id).or(self.remembered.and_then(|remembered| remembered.id))
    }

    /// How long it has been as it is.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> SignedDuration {
        now.duration_since(self.since)
    }

    /// Whether the volume that it was healthy on is gone: waiting does not bring it back.
    #[must_use]
    pub fn has_lost_its_volume(&self) -> bool {
        let Some(volume) = self.remembered.and_then(|known| known.volume.as_ref()) else {
            return false;
        };
        match self.seen.and_then(|seen| seen.claim.as_ref()) {
            None => true,
            Some(claim) => claim.uid != *volume || claim.is_lost,
        }
    }

    /// Whether its node is gone, or says nothing; that of its volume, if its pod has found none.
    #[must_use]
    pub fn has_lost_its_node(&self) -> bool {
        let Some(pod) = self.pod() else { return false };
        let claim = self.seen.and_then(|seen| seen.claim.as_ref());
        match &pod.node {
            Some(node) => !node.is_ready,
            None => claim.is_some_and(|claim| claim.is_stranded),
        }
    }

    /// Whether it says itself that it has to be replaced: its data are not those that the others
    /// know it with.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.pod().is_some_and(|pod| pod.is_refused)
    }

    /// Whether it was well until it came back with this template.
    #[must_use]
    pub fn fell_ill_with(&self, hash: &str) -> bool {
        let known = self.remembered.and_then(|remembered| remembered.hash.as_ref());
        known.is_some_and(|known| known != hash)
    }

    /// The hash of the template with which it is well, or was until it came back with another one; if
    /// it falls ill with the one that it had, none is told any more.
    #[must_use]
    pub fn template(&self, is_restarted: bool) -> Option<String> {
        let pod = self.pod();
        if self.is_healthy() {
            return pod.map(|pod| pod.hash.clone());
        }
        let remembered = self.remembered?;
        let known = remembered.hash.clone()?;
        if remembered.health != MemberHealth::Healthy || is_restarted {
            return Some(known);
        }
        let staying = pod.filter(|pod| pod.leaving_since.is_none()).map(|pod| &pod.hash);
        let coming = self.set().filter(|set| !set.is_leaving).map(|set| &set.hash);
        staying.or(coming).is_some_and(|with| *with != known).then_some(known)
    }

    /// Whether its container does not run.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.pod().is_some_and(|pod| {
            let PodSeen { phase, is_ready, leaving_since, trouble, .. } = pod;
            leaving_since.is_none()
                && !is_ready
                && (trouble.is_some() || matches!(phase, PodPhase::Pending | PodPhase::Over))
        })
    }

    /// Its role, as far as it is known, or was.
    #[must_use]
    pub fn role(&self, known: bool) -> MemberRole {
        match self.raft {
            Some(raft) if raft.is_learner => MemberRole::Learner,
            Some(_) if self.leads => MemberRole::Leader,
            Some(_) => MemberRole::Voter,
            None if known => match self.remembered.map(|remembered| remembered.role) {
                None | Some(MemberRole::Unknown) => MemberRole::Unknown,
                Some(_) => MemberRole::Leaving,
            },
            None => self.remembered.map_or(MemberRole::Unknown, |remembered| remembered.role),
        }
    }
}
