//! What a run is measured against.

use crate::estate::types::{Estate, Priority};
use crate::runbook::schema::Objectives;
use crate::span::Span;

/// The procedures document's maxima, for runbooks that name no objectives.
const RTO_MAX: Span = Span::minutes(240);
const RPO_MAX: Span = Span::minutes(30);

/// Returns a runbook's own objectives, else those of the estate's first priority, else the maxima alone.
pub(super) fn of(own: Option<Objectives>, estate: &Estate) -> Objectives {
    own.unwrap_or_else(|| match estate.objectives.get(&Priority::P0) {
        Some(p0) => Objectives {
            rto: p0.rto,
            rto_max: p0.rto.max(RTO_MAX),
            rpo: p0.rpo,
            rpo_max: p0.rpo.max(RPO_MAX),
        },
        None => Objectives { rto: RTO_MAX, rto_max: RTO_MAX, rpo: RPO_MAX, rpo_max: RPO_MAX },
    })
}
