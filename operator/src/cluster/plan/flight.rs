//! What was begun is finished before anything else is.

use k8s_openapi::jiff::SignedDuration;

use super::{Context, Decision, Kind, Phase, Plan, Step, Wait};
use crate::cluster::observed::{MemberSeen, Number, PodPhase};
use crate::cluster::view::View;

/// How long a pod may take to end on a node that does not say anything. Its member is no longer one.
const FORCE_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// How long a newcomer may take whose pod runs, but which nobody hears of.
const LEARNER_PATIENCE_FACTOR: i32 = 2;

/// Members that the cluster does not have (any more) leave: StatefulSet, pod, volume, in this
/// order. What is on its way already holds nobody up.
pub(super) fn retire(context: &Context<'_>) -> Option<Plan> {
    let known = context.known?;
    let gone =
        context.observed.members.iter().filter(|(number, _)| {
            !known.members.iter().any(|member| member.number == Some(**number))
        });
    let (number, step) = gone
        .into_iter()
        .find_map(|(number, seen)| Some((*number, retiring_step(context, *number, seen)?)))?;
    let kind = match context.doing() {
        Some(doing) if doing.kind == Kind::Replace => Kind::Replace,
        _ => Kind::Remove,
    };
    Some(context.step(kind, Phase::Retiring, Some(number), step))
}

fn retiring_step(context: &Context<'_>, number: Number, seen: &MemberSeen) -> Option<Step> {
    if let Some(set) = &seen.set {
        let (uid, version) = (set.uid.clone(), set.version.clone());
        return (!set.is_leaving).then_some(Step::DeleteSet { number, uid, version });
    }
    if let Some(pod) = &seen.pod {
        let uid = pod.uid.clone();
        let is_node_silent = pod.node.as_ref().is_some_and(|node| !node.is_ready);
        return match pod.leaving_since {
            None => Some(Step::DeletePod { number, uid, by_force: false }),
            Some(since) if is_node_silent && context.now.duration_since(since) > FORCE_AFTER => {
                Some(Step::DeletePod { number, uid, by_force: true })
            }
            Some(_) => None,
        };
    }
    // What a rebuilt cluster was made of is for a person to throw away.
    let claim = seen.claim.as_ref().filter(|claim| !claim.is_leaving)?;
    let is_deleted = context.desired.deletes_claims && !context.observed.record.data_loss_possible;
    is_deleted.then(|| Step::DeleteClaim { number, uid: claim.uid.clone() })
}

/// The one newcomer is started, and votes when it has everything. One that will not come is
/// removed: it does not vote, so nobody misses it.
pub(super) fn finish_learner(context: &Context<'_>) -> Option<Plan> {
    learner(context).filter(|plan| matches!(plan.decision, Decision::Step(_)))
}

/// While it is not there yet, dead members are seen to, and nothing else is.
pub(super) fn wait_for_learner(context: &Context<'_>) -> Option<Plan> {
    learner(context)
}

fn learner(context: &Context<'_>) -> Option<Plan> {
    let learner = context.learners().find(|view| view.number.is_some())?;
    let (number, id) = (learner.number?, learner.id()?);
    let kind = match context.doing() {
        Some(doing) if doing.kind == Kind::Replace => Kind::Replace,
        _ => Kind::Add,
    };
    let is_wanted = context.own_voters().count() < context.desired.voters;
    if !is_wanted || is_hopeless(context, learner) {
        let step = Step::Remove { number, id };
        return Some(context.step(kind, Phase::Removing, Some(number), step));
    }
    let Some(set) = learner.set() else {
        let step = Step::Start { number };
        return Some(context.step(kind, Phase::Starting, Some(number), step));
    };
    if set.is_leaving {
        // It is written anew when it is gone.
        return Some(context.wait(Wait::Starting(number)));
    }
    if !learner.is_healthy() {
        // What keeps it from running may be what has been mended since.
        return super::heal::renew_broken(context, learner, kind)
            .or_else(|| Some(context.wait(Wait::Starting(number))));
    }
    if !is_caught_up(context, learner) {
        return Some(context.wait(Wait::CatchingUp(number)));
    }
    if !context.is_safe_with_one_more() {
        return Some(context.wait(Wait::NotSafeToPromote(number)));
    }
    Some(context.step(kind, Phase::Promoting, Some(number), Step::Promote { number, id }))
}

/// Whether waiting for a newcomer is in vain.
fn is_hopeless(context: &Context<'_>, learner: &View<'_>) -> bool {
    if learner.is_healthy() {
        return false;
    }
    if learner.has_lost_its_volume() {
        return true;
    }
    let patience = context.desired.replace_after;
    let age = learner.age(context.now);
    if learner.is_refused() {
        return age >= patience;
    }
    let claim = learner.seen.and_then(|seen| seen.claim.as_ref());
    match learner.pod() {
        // Without a place for it there is nothing else to do than to wait for one. One that had a
        // volume had a place, and that is gone.
        Some(pod) if pod.phase == PodPhase::Pending && pod.node.is_none() => {
            claim.is_some_and(|claim| claim.is_bound) && age >= patience
        }
        Some(_) if learner.has_lost_its_node() => age >= patience,
        Some(pod) if pod.phase == PodPhase::Running => {
            age >= patience * LEARNER_PATIENCE_FACTOR
                && learner.raft.is_some_and(|raft| raft.is_started)
        }
        Some(_) | None => false,
    }
}

/// Nine tenths of what the leader has, as members themselves have it; they are asked last.
fn is_caught_up(context: &Context<'_>, learner: &View<'_>) -> bool {
    let Some(leader) = context.leader().and_then(View::says) else { return false };
    let Some(says) = learner.says() else { return false };
    says.applied.saturating_mul(10) >= leader.index.saturating_mul(9)
}

/// A voter without a StatefulSet gets it back, and starts on its volume.
pub(super) fn start_missing(context: &Context<'_>) -> Option<Plan> {
    let missing =
        context.own_voters().find(|view| view.set().is_none() && !view.has_lost_its_volume())?;
    let number = missing.number?;
    Some(context.step(Kind::Wake, Phase::Starting, Some(number), Step::Start { number }))
}
