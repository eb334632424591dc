//! A majority is lost for ever and the cluster goes on with what is left.
//!
//! ```text
//!   Fencing ─▶ all StatefulSets want no pod, all pods have ended
//!   Inspecting ─▶ what does each volume hold? The best: the latest term, then the longest log
//!   Recovering ─▶ a new member, of a new cluster, is made of it ─▶ it leads ─▶ its id is latched
//! ```
//!
//! Under a new id nobody of the old cluster can ever join. `DataLossPossible` is latched with it:
//! what was acknowledged and reached none of the members that are left is gone. Volumes of the old
//! cluster are left for a person to delete.
//!
//! The operator's own word that nobody answers is not enough, nor that of the record: a majority
//! whose pods the kubelets call ready is there, and the operator is who is away.

use quorate_operator_api::MemberRole;

use super::{Context, Kind, Phase, Plan, Step, Wait, quorum};
use crate::cluster::observed::{Number, PodPhase};
use crate::cluster::validate::Recovery;
use crate::cluster::view::View;

pub(super) fn plan(context: &Context<'_>) -> Option<Plan> {
    let begun = context.doing().filter(|doing| doing.kind == Kind::Recover);
    let Some(doing) = begun else {
        return is_given_up(context).then(|| fence(context)).flatten();
    };
    match (doing.phase, doing.member) {
        (Phase::Recovering, Some(number)) => Some(go_on(context, number)),
        (Phase::Latching, _) => None,
        _ => fence(context).or_else(|| Some(inspect(context))),
    }
}

fn former_voters<'c, 'a>(context: &'c Context<'a>) -> impl Iterator<Item = &'c View<'a>> {
    context.members.iter().filter(|view| {
        let role = view.remembered.map(|remembered| remembered.role);
        matches!(role, Some(MemberRole::Voter | MemberRole::Leader))
    })
}

/// Whether the majority is lost, and that may be taken for final.
fn is_given_up(context: &Context<'_>) -> bool {
    let patience = match context.desired.recovery {
        Recovery::Never | Recovery::OnDemand => return false,
        Recovery::Asked => None,
        Recovery::Automatic => Some(context.desired.replace_after),
    };
    let is_lost = |view: &&View<'_>| {
        !view.is_healthy()
            && view.pod().is_none_or(|pod| !pod.is_ready)
            && patience.is_none_or(|patience| view.age(context.now) >= patience)
    };
    let voters = former_voters(context).count();
    let lost = former_voters(context).filter(is_lost).count();
    let is_asleep = former_voters(context).any(|view| view.set().is_some_and(|set| set.is_stopped));
    context.known.is_none()
        && !context.desired.hibernates
        && !is_asleep
        && voters - lost < quorum(voters)
}

/// Nobody of the old cluster runs any more before the new one does.
fn fence(context: &Context<'_>) -> Option<Plan> {
    let running = context
        .members
        .iter()
        .find(|view| view.set().is_some_and(|set| !set.is_stopped && !set.is_leaving));
    if let Some(number) = running.and_then(|view| view.number) {
        let step = Step::Stop { number };
        return Some(context.step(Kind::Recover, Phase::Fencing, None, step));
    }
    // On a node that says nothing, only a person can know; that person has asked.
    let is_trusted = context.desired.recovery == Recovery::Asked;
    let left = context.members.iter().find(|view| {
        let is_over = view.pod().is_none_or(|pod| pod.phase == PodPhase::Over);
        !(is_over || is_trusted && view.has_lost_its_node())
    });
    Some(context.wait(Wait::Fencing(left?.number?)))
}

fn inspect(context: &Context<'_>) -> Plan {
    let volumes: Vec<Number> = former_voters(context)
        .filter(|view| !view.has_lost_its_volume())
        .filter_map(|view| view.number)
        .collect();
    if volumes.is_empty() {
        return context.wait(Wait::NoSurvivor);
    }
    let remains = &context.observed.remains;
    if context.doing().is_none_or(|doing| doing.phase != Phase::Inspecting) {
        let step = Step::Inspect { numbers: volumes };
        return context.step(Kind::Recover, Phase::Inspecting, None, step);
    }
    // A volume that cannot be read, on a node that is gone, is not waited for for ever.
    let mut missing = volumes.iter().filter(|number| !remains.contains_key(*number));
    if missing.any(|number| context.observed.unread.contains(number)) {
        return context.wait(Wait::Inspecting);
    }
    let best = volumes
        .iter()
        .filter_map(|number| Some((*number, remains.get(number)?)))
        .filter(|(_, remains)| !remains.is_damaged)
        .max_by_key(|(number, remains)| (remains.term, remains.index, std::cmp::Reverse(*number)));
    let Some((survivor, _)) = best else { return context.wait(Wait::NoSurvivor) };
    let number = context.observed.record.next_member;
    let step = Step::Recover { survivor, number };
    context.step(Kind::Recover, Phase::Recovering, Some(number), step)
}

fn go_on(context: &Context<'_>, number: Number) -> Plan {
    let view = context.members.iter().find(|view| view.number == Some(number));
    if view.is_none_or(|view| view.set().is_none()) {
        // Written down, but not done yet.
        let remains = context.observed.remains.iter().filter(|(_, remains)| !remains.is_damaged);
        let best = remains.max_by_key(|(number, remains)| {
            (remains.term, remains.index, std::cmp::Reverse(**number))
        });
        let Some((survivor, _)) = best else { return context.wait(Wait::Inspecting) };
        let step = Step::Recover { survivor: *survivor, number };
        return context.step(Kind::Recover, Phase::Recovering, Some(number), step);
    }
    let leads = view.and_then(View::says).filter(|says| says.leader == says.member_id);
    match (leads, context.known) {
        (Some(says), Some(known))
            if says.cluster_id == known.cluster_id
                && Some(known.cluster_id) != context.observed.record.cluster_id =>
        {
            let step = Step::Latch { cluster_id: known.cluster_id };
            context.step(Kind::Recover, Phase::Latching, Some(number), step)
        }
        _ => context.wait(Wait::Recovering(number)),
    }
}
