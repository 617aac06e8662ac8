//! `doctor`: can this host act on the estate, right now, region by region.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::context::Context;
use super::{dry_run, observe, preflight};
use crate::clients::endpoints;
use crate::error::UserError;
use crate::estate::doubts;
use crate::event::{Finding, FindingLevel};
use crate::exit::Exit;
use crate::plan::Plan;
use crate::plan::resolve::resolve;
use crate::report::plan_view::{self, DryRunReport};
use crate::report::text::minutes;
use crate::runbook::load::Loaded;
use crate::runbook::validate::validate;

/// Returns what deserves a look in the files themselves: in the estate, and objectives the runbook cannot reach.
fn doubtful(loaded: &Loaded, plan: &Plan) -> Vec<Finding> {
    let estate = doubts(&plan.estate).into_iter();
    let estate = estate.map(|(said, hint)| preflight::warning(preflight::ESTATE_FILE, said, hint));
    let runbook = validate(loaded).items.into_iter();
    let runbook = runbook.map(|problem| {
        preflight::warning(loaded.runbook.runbook.clone(), problem.message, problem.help)
    });
    estate.chain(runbook).collect()
}

/// Says which endpoint overrides a live run would be refused with.
fn overridden(plan: &Plan) -> Vec<Finding> {
    let overrides = endpoints::overrides(&plan.estate).into_iter();
    let hint = "a live run does not start with it: unset it, or give --allow-endpoint-override";
    let found =
        overrides.map(|said| preflight::warning("endpoint override", said, Some(hint.to_owned())));
    found.collect()
}

/// Holds the objectives against what the estate gives right now: the forecast, and the best recovery point's loss.
fn reach(plan: &Plan, report: &DryRunReport, now: Timestamp) -> Vec<Finding> {
    let goals = plan.objectives;
    let mut found = Vec::new();
    if let Some((what, span)) = preflight::needed_longest(plan, report, now).first() {
        let said = format!("{what} after about {}; the objective is {}", minutes(*span), goals.rto);
        let hint = "this runbook cannot restore it sooner: shorten its longest chain of steps, or change the objective";
        found.push(held(*span <= goals.rto.duration(), "time objective", said, hint));
    }
    let (candidates, best) = observe::candidates(report);
    let best = candidates.iter().find(|candidate| Some(&candidate.id) == best.as_ref());
    if let Some((best, loss)) = best.and_then(|best| Some((best, best.loss?))) {
        let said = format!("{} loses {loss}; the objective is {}", best.id, goals.rpo);
        let hint = "a replica that follows closer, or backups more often, lose less";
        found.push(held(loss.duration() <= goals.rpo.duration(), "loss objective", said, hint));
    }
    found
}

fn held(holds: bool, about: &str, said: String, hint: &str) -> Finding {
    if holds {
        return preflight::good(about, said);
    }
    preflight::warning(about, said, Some(hint.to_owned()))
}

/// Makes preflight for the failover runbook without starting anything.
pub(super) fn run(context: &Context, region: Option<&str>) -> Result<Exit, UserError> {
    let loaded = context.runbook("failover")?;
    let estate = context.estate()?;
    let region = match region {
        Some(region) => region.to_owned(),
        None => {
            let other = estate.regions.keys().find(|name| **name != estate.primary.region);
            other.cloned().ok_or_else(|| {
                UserError::new(Exit::Usage, "the estate has no region that could take over")
            })?
        }
    };
    let inputs = [("region".to_owned(), Value::String(region))].into();
    let plan = resolve(&loaded, &estate, &inputs)
        .map(Arc::new)
        .map_err(|problems| context.invalid(&problems, Exit::Usage))?;
    let mut findings = doubtful(&loaded, &plan);
    findings.extend(overridden(&plan));
    let report = dry_run::look(context, &plan, None, None)?.report;
    findings.extend(reach(&plan, &report, context.clock.now()));
    let seen = report.findings;
    // What preflight sums up stands above in full.
    findings.extend(seen.into_iter().filter(|finding| finding.about != preflight::ESTATE_FILE));
    if context.json() {
        let answer = json!({ "format": "phoenix-dr/doctor", "version": 1, "findings": findings,
            "hosts": preflight::hosts(&plan) });
        context.terminal.out(&answer.to_string());
    } else {
        for finding in &findings {
            for line in plan_view::finding_lines(finding, context.terminal.columns()) {
                context.terminal.out(&line);
            }
        }
        let now = jiff::Zoned::new(context.clock.now(), TimeZone::system());
        context.terminal.out(&format!("looked at {}", now.strftime("%Y-%m-%d %H:%M:%S %Z")));
    }
    let blocked = findings.iter().any(|finding| finding.level == FindingLevel::Blocking);
    Ok(if blocked { Exit::NotMet } else { Exit::Ok })
}
