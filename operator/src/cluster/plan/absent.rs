//! Nobody can say who belongs to the cluster: a majority is away, or the operator is.
//!
//! Unknown is not absent: what is done here brings members back and takes nothing away.

use quorate_operator_api::MemberRole;

use super::{Context, Kind, Phase, Plan, Step, Wait, quorum};
use crate::cluster::view::View;

pub(super) fn plan(context: &Context<'_>) -> Plan {
    if let Some(plan) = start_remembered(context) {
        return plan;
    }
    if let Some(plan) = super::heal::fix_forward(context) {
        return plan;
    }
    context.wait(if is_lost(&context.members) { Wait::QuorumLost } else { Wait::Unknown })
}

/// Whether a majority is away, and not the operator: somebody answers and cannot say either, or the
/// kubelets call fewer than a majority ready.
pub(crate) fn is_lost(members: &[View<'_>]) -> bool {
    let roles = members.iter().filter_map(|view| view.remembered).map(|known| known.role);
    let voters =
        roles.filter(|role| matches!(role, MemberRole::Voter | MemberRole::Leader)).count();
    let ready = members.iter().filter(|view| view.pod().is_some_and(|pod| pod.is_ready)).count();
    members.iter().any(|view| view.says().is_some()) || ready < quorum(voters.max(1))
}

/// A member that was one when last somebody knew, whose StatefulSet is gone, gets it back: it
/// starts on its volume.
fn start_remembered(context: &Context<'_>) -> Option<Plan> {
    let missing = context.members.iter().find(|view| {
        let role = view.remembered.map(|remembered| remembered.role);
        matches!(role, Some(MemberRole::Voter | MemberRole::Leader | MemberRole::Learner))
            && view.set().is_none()
            && !view.has_lost_its_volume()
    })?;
    let number = missing.number?;
    Some(context.step(Kind::Wake, Phase::Starting, Some(number), Step::Start { number }))
}
