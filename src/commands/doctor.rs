//! `doctor`: can this host act on the estate, right now, region by region.

use std::sync::Arc;

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::context::Context;
use super::{dry_run, preflight};
use crate::error::UserError;
use crate::event::FindingLevel;
use crate::exit::Exit;
use crate::plan::resolve::resolve;
use crate::report::plan_view;

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
    let findings = dry_run::look(context, &plan, None, None)?.report.findings;
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
