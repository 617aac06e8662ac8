//! `doctor`: can this host act on the estate, right now, region by region.

use std::sync::Arc;

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::context::Context;
use super::{observe, preflight};
use crate::actions::Actions;
use crate::checks::Checks;
use crate::clients::Clients;
use crate::clients::guard::Guard;
use crate::engine::ports::Ports;
use crate::error::UserError;
use crate::event::{FindingLevel, Mode};
use crate::exit::Exit;
use crate::ids::RunId;
use crate::journal::lease::LocalLease;
use crate::operator::Chain;
use crate::operator::scripted::Given;
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
        .map_err(|problems| context.invalid(&problems, Exit::Usage))?;
    let runtime = context.runtime()?;
    let findings = runtime.block_on(async {
        let guard = Guard::closed();
        let clients = Arc::new(Clients::new(
            Arc::new(plan.estate.clone()),
            guard,
            Arc::clone(&context.clock),
        ));
        let ports = Ports {
            actions: Arc::new(Actions { clients: Arc::clone(&clients) }),
            checks: Arc::new(Checks { clients: Arc::clone(&clients) }),
            operator: Arc::new(Chain::alone(Given::default(), Mode::DryRun)),
            lease: Arc::new(LocalLease),
            clock: Arc::clone(&context.clock),
        };
        let report = observe::plan(&plan, &RunId::generate(), &ports).await;
        let findings = preflight::findings(&plan, &clients, &report).await;
        clients.tunnels.close().await;
        findings
    });
    runtime.shutdown_background();
    if context.json() {
        let answer = json!({ "format": "phoenix-dr/doctor", "version": 1, "findings": findings,
            "endpoints": preflight::endpoints_shown(&plan) });
        context.terminal.out(&answer.to_string());
    } else {
        for line in preflight::endpoints_shown(&plan) {
            context.terminal.out(&line);
        }
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
