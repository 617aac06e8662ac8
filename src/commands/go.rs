//! The go screen: looks at the estate and puts what was found before a person.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::Mutex;

use super::observe::Sight;
use super::preflight::{self, Preflight};
use super::{answers, drift, observe};
use crate::clients::Clients;
use crate::engine::dispatcher::{Go, GoBuilder, Look};
use crate::engine::gates::unmet;
use crate::engine::ports::Ports;
use crate::engine::state::RunState;
use crate::engine::verify::worst;
use crate::event::{Event, Finding, FindingLevel, Record};
use crate::ids::StepId;
use crate::journal::store::Store;
use crate::operator::scripted::Given;
use crate::outcome::Candidate;
use crate::plan::Plan;
use crate::report::forecast::{Assume, Network};
use crate::report::plan_view::{DryRunReport, Found, Undo, by_step};
use crate::report::screens::candidates::{self, Back, Room};
use crate::report::screens::go::{GateView, GoView, NoReturn, question};
use crate::report::terminal::{Terminal, Tone};
use crate::report::text::hour;
use crate::report::view::ViewState;

/// What was seen of the estate last, to show it anew without looking again.
type Seen = Arc<Mutex<Option<Preflight>>>;

/// What the go question is made with, besides the run's state.
#[derive(Clone)]
pub(super) struct Before {
    pub ports: Ports,
    pub clients: Arc<Clients>,
    /// The record the run starts with
    pub first: Record,
    pub given: Given,
    /// Where what was seen is kept
    pub store: Option<Store>,
    /// What a new run would read
    pub estate_file: Option<PathBuf>,
    /// Where the recovery points are shown when nobody is asked to choose
    pub terminal: Terminal,
}

/// Returns what builds the go question of a run.
pub(super) fn builder(before: Before) -> GoBuilder {
    let (before, seen) = (Arc::new(before), Seen::default());
    Arc::new(move |state, look| {
        let (before, seen) = (Arc::clone(&before), Arc::clone(&seen));
        Box::pin(async move {
            let mut seen = seen.lock().await;
            let now = match seen.take().filter(|_| look == Look::AsSeen) {
                Some(seen) => seen,
                None => look_at(&state, &before).await,
            };
            *seen = Some(now.clone());
            build(&state, &before, now)
        })
    })
}

async fn look_at(state: &RunState, before: &Before) -> Preflight {
    let sight = Sight {
        plan: &state.plan,
        run: &state.run,
        ports: &before.ports,
        clients: &before.clients,
        state: None,
        point: before.given.recovery_point.as_deref(),
    };
    let mut seen = preflight::look(&sight, before.store.as_ref()).await;
    let file = before.estate_file.as_deref();
    let drift = file.and_then(|file| drift::finding(&state.plan, file));
    // Whoever has corrected the file to get rid of a finding must not wonder why it is still there.
    seen.report.findings.splice(0..0, drift);
    seen
}

fn build(state: &RunState, before: &Before, seen: Preflight) -> Go {
    let Before { ports, first, given, .. } = before;
    let mode = state.mode;
    let asked = answers::Run { plan: &state.plan, given, mode, state: Some(state) };
    let missing = asked.missing(state.settings.confirm_each, &seen.report.steps, seen.alone);
    if !state.settings.interactive {
        let now = ports.clock.now();
        for line in offered(&seen.report, &missing, state.incident_started, now) {
            before.terminal.loud(Tone::Plain, &line);
        }
    }
    let mut findings = seen.report.findings.clone();
    findings.extend(gone(state));
    let view = view(state, ports, first, seen.report, findings.clone());
    Go { question: question(&view), findings, missing }
}

/// Returns what there is to know of the answers that are missing where nobody is asked: why a step would be gone without,
/// and where it is missing which recovery point to take, the table of them, for whoever reads that chooses by what each
/// costs.
pub(super) fn offered(
    report: &DryRunReport,
    missing: &[String],
    incident_started: Timestamp,
    now: Timestamp,
) -> Vec<String> {
    let without = report.steps.iter().filter_map(|step| {
        let Found::State { state } = &step.found else { return None };
        let ((why, _), flag) = (state.waiver.as_ref()?, format!("--waive {}=", step.step));
        missing
            .iter()
            .any(|missing| missing.starts_with(&flag))
            .then(|| format!("{}: {why}", step.step))
    });
    let mut lines: Vec<String> = without.collect();
    if !missing.iter().any(|flag| flag.starts_with("--recovery-point")) {
        return lines;
    }
    let (candidates, best) = observe::candidates(report);
    let (rto_max, rpo_max) = (report.plan.rto_max(), report.plan.objectives.rpo_max);
    let back = Back { incident_started, now, rto_max };
    let table =
        candidates::table(&candidates, best.as_deref(), Some(rpo_max), Some(&back), Room::All);
    lines.extend(table);
    lines
}

/// Gates that were passed and do not stand any more.
fn gone(state: &RunState) -> Vec<Finding> {
    let of = |(step, said): (StepId, String)| Finding {
        level: FindingLevel::Blocking,
        about: state.plan.step(&step).map(|step| step.title.clone()).unwrap_or_default(),
        said: format!("no longer, {said}"),
        hint: None,
        step: Some(step),
    };
    unmet(state).into_iter().map(of).collect()
}

fn view(
    state: &RunState,
    ports: &Ports,
    first: &Record,
    report: DryRunReport,
    findings: Vec<Finding>,
) -> GoView {
    let now = ports.clock.now();
    let (candidates, best) = observe::candidates(&report);
    let mut seen = ViewState::default();
    seen.apply(first);
    seen.incident_started = Some(state.incident_started);
    let network = Network::new(&state.plan);
    let assume = assume(&state.plan, &report, &candidates, best.as_deref());
    let outlooks = network.outlooks(&seen, &assume, now);
    let no_return = no_return(&state.plan, &report, &candidates, best.as_deref()).map(|step| {
        let at = network.starts(&seen, &assume, &step, now);
        NoReturn { step, at }
    });
    let mut report = report;
    // What the step does depends on a choice; with the one that would be made, it is for good.
    for step in &mut report.steps {
        if no_return.as_ref().is_some_and(|no_return| no_return.step == step.step) {
            step.undo = Undo::Never { why: "a point of no return".to_owned() };
        }
    }
    GoView {
        run: state.run.clone(),
        mode: state.mode,
        world: seen.world.clone(),
        plan: Arc::clone(&state.plan),
        incident_started: state.incident_started,
        now,
        zone: TimeZone::system(),
        gates: gates(state, now),
        writes: writes(&state.plan, &report),
        candidates,
        best,
        outlooks,
        no_return,
        skipped: assume.skipped,
        steps: report.steps,
        findings,
    }
}

fn gates(state: &RunState, now: Timestamp) -> Vec<GateView> {
    let gates = state.plan.steps.iter().zip(&state.steps).filter(|(step, _)| step.is_gate());
    gates
        .filter(|(_, seen)| !seen.reports.is_empty())
        .map(|(step, seen)| GateView {
            title: step.title.clone(),
            verdict: worst(&seen.reports),
            reports: seen.reports.clone(),
            at: seen.reports.iter().map(|report| report.at).max().unwrap_or(now),
        })
        .collect()
}

/// Where writes go now: to what an earlier run recovered, else as far as the fence saw it.
fn writes(plan: &Plan, report: &DryRunReport) -> Option<String> {
    let primary = &plan.estate.database.as_ref()?.primary;
    let place = format!("{} {}", primary.region, primary.id);
    let fence = of_action(plan, report, "postgres.fence");
    let fenced = match fence {
        Some(Found::State { state }) if state.seen.is_some() => {
            let then = state.seen.map(hour).unwrap_or_default();
            format!("{place} (seen {then}); it cannot be looked at now")
        }
        // Gone without by an earlier run: satisfied, and no fence all the same.
        Some(Found::State { state }) if state.desired["fenced"] == true => {
            format!("{place}, if it lives: not fenceable from here")
        }
        Some(Found::State { state }) if state.satisfied => format!("nowhere: {place} is fenced"),
        Some(Found::State { .. }) => format!("{place}, will be fenced"),
        Some(_) => format!("{place}, not looked at"),
        None => return None,
    };
    let recovered = match of_action(plan, report, "rds.choose_recovery_point") {
        Some(Found::State { state }) if state.satisfied => state.present["instance"].as_str(),
        _ => None,
    };
    let Some(recovered) = recovered else { return Some(fenced) };
    let region = plan.inputs.get("region").and_then(|region| region.as_str()).unwrap_or_default();
    Some(format!("{region} {recovered}, recovered by an earlier run"))
}

/// Returns what was found of the first step with an action.
fn of_action<'a>(plan: &Plan, report: &'a DryRunReport, name: &str) -> Option<&'a Found> {
    let step = plan.steps.iter().find(
        |step| matches!(&step.body, crate::plan::Body::Action { action, .. } if action == name),
    )?;
    report.steps.iter().find(|seen| seen.step == step.id).map(|seen| &seen.found)
}

/// What the looks tell about steps that depend on a choice not made yet.
pub(super) fn assume(
    plan: &Plan,
    report: &DryRunReport,
    candidates: &[Candidate],
    best: Option<&str>,
) -> Assume {
    let chosen = candidates.iter().find(|candidate| Some(candidate.id.as_str()) == best);
    let mut assume = Assume::by_choice(plan, chosen);
    let found = by_step(&report.steps);
    for step in &plan.steps {
        let satisfied = found
            .get(&step.id)
            .is_some_and(|seen| matches!(&seen.found, Found::State { state } if state.satisfied));
        if satisfied {
            assume.lengths.insert(step.id.clone(), crate::span::Span::seconds(5));
        }
    }
    assume
}

/// The first step from which on not everything can be undone, with the choice that would be made.
fn no_return(
    plan: &Plan,
    report: &DryRunReport,
    candidates: &[Candidate],
    best: Option<&str>,
) -> Option<StepId> {
    let chosen = candidates.iter().find(|candidate| Some(candidate.id.as_str()) == best);
    let for_good = |candidate: &Candidate| !candidate.reversible && candidate.unusable.is_none();
    // Where none is taken before a person says so, any of them may be.
    let by_choice = chosen.map_or_else(|| candidates.iter().any(for_good), for_good);
    let found = by_step(&report.steps);
    plan.steps
        .iter()
        .find(|step| {
            let seen = found.get(&step.id);
            let irreversible = seen.is_some_and(|seen| {
                matches!(&seen.found, Found::State { state } if state.irreversible.is_some() && !state.satisfied)
            });
            let recovers = matches!(&step.body,
                crate::plan::Body::Action { action, .. } if action == "rds.recover")
                && step.when.is_none();
            step.point_of_no_return || irreversible || (by_choice && recovers)
        })
        .map(|step| step.id.clone())
}

/// Says whether a record is the one a run starts with.
pub(super) const fn starts_run(record: &Record) -> bool {
    matches!(record.event, Event::RunStarted { .. })
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::outcome::Fidelity;
    use crate::report::fixtures;
    use crate::report::plan_view::{DryRunStep, StateFound};

    /// What was found of a step of the fixtures' plan.
    fn found(plan: &Plan, id: &str, satisfied: bool, present: Value, desired: Value) -> DryRunStep {
        let state = Box::new(StateFound {
            present,
            desired,
            satisfied,
            differences: Vec::new(),
            irreversible: None,
            evidence: Vec::new(),
            choices: Vec::new(),
            waiver: None,
            seen: None,
        });
        let step = plan.step(&id.into()).expect("there");
        DryRunStep::of(step, Fidelity::Observed, Found::State { state }, Vec::new())
    }

    #[test]
    fn the_last_moment_is_that_of_any_way_that_may_be_taken() {
        let plan = fixtures::plan();
        let report = DryRunReport {
            mode: crate::event::Mode::DryRun,
            plan: Arc::new(plan.clone()),
            seen: Timestamp::UNIX_EPOCH,
            steps: Vec::new(),
            findings: Vec::new(),
        };
        let mut all = fixtures::candidates();
        let at = |all: &[Candidate], best| no_return(&plan, &report, all, best).map(|id| id.0);
        assert_eq!(at(&all, Some("replica")).as_deref(), Some("database"));
        assert_eq!(at(&all, Some("backup")), None);
        // Nobody knows which: the replica is on offer.
        assert_eq!(at(&all, None).as_deref(), Some("database"));
        all[0].unusable = Some("backing up".to_owned());
        assert_eq!(at(&all, None), None);
    }

    #[test]
    fn writes_go_to_what_was_recovered_whatever_became_of_the_old_primary() {
        let mut plan = fixtures::plan();
        plan.inputs.insert("region".to_owned(), json!("us-west-2"));
        let database = json!({
            "name": "phoenix",
            "primary": { "id": "phoenix-prod", "region": "us-east-1" },
            "recovered": { "id": "phoenix-recovered" },
            "connection": { "user": "dr", "password_from": { "env": "PATH" } },
        });
        plan.estate.database = serde_json::from_value(database).ok();
        for (id, action) in
            [("fence", "postgres.fence"), ("recovery_point", "rds.choose_recovery_point")]
        {
            let step = plan.steps.iter_mut().find(|step| step.id.0 == id).expect("there");
            let with = Map::new();
            step.body = crate::plan::Body::Action { action: action.to_owned(), with };
        }
        let gone_without = || {
            let desired = json!({ "reachable": true, "fenced": true });
            found(&plan, "fence", true, json!({ "reachable": false }), desired)
        };
        let shown = |steps: Vec<DryRunStep>| {
            let report = DryRunReport {
                mode: crate::event::Mode::DryRun,
                plan: Arc::new(plan.clone()),
                seen: Timestamp::UNIX_EPOCH,
                steps,
                findings: Vec::new(),
            };
            writes(&plan, &report).expect("known")
        };
        let not_chosen =
            found(&plan, "recovery_point", false, json!({ "chosen": null }), json!({}));
        let said = shown(vec![gone_without(), not_chosen]);
        assert!(said.contains("us-east-1") && said.contains("not fenceable from here"), "{said}");
        let present = json!({ "chosen": "recovered", "instance": "phoenix-dr-replica" });
        let recovered = found(&plan, "recovery_point", true, present.clone(), present);
        let said = shown(vec![gone_without(), recovered]);
        assert_eq!(said, "us-west-2 phoenix-dr-replica, recovered by an earlier run");
    }
}
