//! Volumes: they grow, and never shrink.

use super::{Context, Kind, Phase, Plan, Step};
use crate::cluster::observed::ClaimSeen;
use crate::cluster::view::View;

/// Sizes are rounded up to this: storage is given in whole pieces.
const PIECE: u64 = 1 << 20;

pub(super) fn plan(context: &Context<'_>) -> Option<Plan> {
    context.members.iter().filter(|view| view.raft.is_some()).find_map(|view| {
        let number = view.number?;
        let claim =
            view.seen?.claim.as_ref().filter(|claim| claim.is_bound && !claim.is_leaving)?;
        let bytes = wished_bytes(context, view, claim);
        let step = Step::Grow { number, bytes };
        (claim.requested < bytes)
            .then(|| context.step(Kind::Grow, Phase::Running, Some(number), step))
    })
}

/// What is asked for, or more if it gets full.
fn wished_bytes(context: &Context<'_>, view: &View<'_>, claim: &ClaimSeen) -> u64 {
    let asked = context.desired.claim_bytes;
    let Some(growth) = context.desired.auto_grow else { return asked };
    let used = view.says().map_or(0, |says| says.db_size);
    let limit = u128::from(claim.capacity) * u128::from(growth.threshold_percent);
    // One that is still growing is given the time.
    if claim.capacity < claim.requested || u128::from(used) * 100 < limit {
        return asked;
    }
    let larger = u128::from(claim.requested) * u128::from(100 + growth.increment_percent) / 100;
    let larger = u64::try_from(larger).unwrap_or(u64::MAX).min(growth.bytes_max);
    asked.max(larger.next_multiple_of(PIECE).min(growth.bytes_max))
}
