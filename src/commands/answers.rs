//! What was answered beforehand, and what a run that can ask nobody still needs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::context::Context;
use crate::cli::{HowFlags, OnFailureArg, WhoFlags};
use crate::clients::endpoints;
use crate::engine::state::RunState;
use crate::error::UserError;
use crate::event::{Finding, FindingLevel, Mode, OnFailureFlag, RunSettings};
use crate::exit::Exit;
use crate::operator::needed::{self, Asked};
use crate::operator::scripted::Given;
use crate::operator::terminal::attended;
use crate::plan::Plan;
use crate::report::plan_view::DryRunStep;
use crate::runbook::load::read_text;
use crate::runbook::yaml;

/// Steps that may run at the same time when nothing is said.
const JOBS: usize = 8;

/// Says whether somebody can be asked.
pub(super) fn interactive(who: &WhoFlags) -> bool {
    !who.non_interactive && attended()
}

/// Reads the answers given beforehand; those that answer nothing of the plan are refused.
pub(super) fn of_run(context: &Context, plan: &Plan, how: &HowFlags) -> Result<Given, UserError> {
    let given = Given {
        approve: how.approve.iter().cloned().collect(),
        accept_loss: how.accept_loss,
        recovery_point: how.recovery_point.clone(),
        overrides: how.overrides.iter().cloned().collect(),
        waive: how.waive.iter().cloned().collect(),
        ..of_anybody(context, &how.who)?
    };
    checked(context, given, plan)
}

/// Reads the answers a rollback can use.
pub(super) fn of_rollback(
    context: &Context,
    plan: &Plan,
    who: &WhoFlags,
) -> Result<Given, UserError> {
    checked(context, of_anybody(context, who)?, plan)
}

fn of_anybody(context: &Context, who: &WhoFlags) -> Result<Given, UserError> {
    let answers = match &who.answers {
        Some(path) => read_file(context, path)?,
        None => BTreeMap::new(),
    };
    Ok(Given { yes: who.yes, answers, ..Given::default() })
}

fn read_file(context: &Context, path: &Path) -> Result<BTreeMap<String, String>, UserError> {
    // No more is read of a large file than shows that it is too large.
    let text = read_text(path).map_err(|error| {
        UserError::new(Exit::Usage, format!("read the answers `{}`: {error}", path.display()))
            .hint("--answers names a file with a line for each question, such as `go: yes`; the plan of --dry-run says what is asked")
    })?;
    yaml::parse::<BTreeMap<String, String>>(&path.display().to_string(), &text)
        .map(|parsed| parsed.value)
        .map_err(|problems| context.invalid(&problems, Exit::Usage))
}

fn checked(context: &Context, mut given: Given, plan: &Plan) -> Result<Given, UserError> {
    given.guard(plan);
    let problems = given.problems(plan, context.mode());
    if problems.is_empty() {
        return Ok(given);
    }
    let steps: Vec<&str> = plan.steps.iter().map(|step| step.id.0.as_str()).collect();
    Err(UserError::new(Exit::Usage, problems.join("\n")).hint(format!(
        "the steps of {} are: {}",
        plan.runbook,
        steps.join(", ")
    )))
}

/// Returns a run's settings but for what the answers settle: what is not said stays as it was when the run began.
pub(super) fn settings(how: &HowFlags, before: Option<&RunSettings>) -> RunSettings {
    let said = how.on_failure.map(|word| match word {
        OnFailureArg::Auto => OnFailureFlag::Auto,
        OnFailureArg::Rollback => OnFailureFlag::Rollback,
        OnFailureArg::Stop => OnFailureFlag::Stop,
    });
    let interactive = interactive(&how.who);
    // What was said for a run that nobody watches is not said for a person who takes it up.
    let alike = before.filter(|before| before.interactive || !interactive);
    let mut overrides = before.map(|before| before.overrides.clone()).unwrap_or_default();
    overrides.extend(how.overrides.iter().cloned());
    RunSettings {
        jobs: how.jobs.or(before.map(|before| before.jobs)).unwrap_or(JOBS),
        on_failure: said.or(alike.map(|before| before.on_failure)).unwrap_or(OnFailureFlag::Auto),
        confirm_each: how.confirm.is_some() || before.is_some_and(|before| before.confirm_each),
        interactive,
        overrides,
        failures_answered: BTreeSet::new(),
        reverts_answered: BTreeSet::new(),
        recovery_point: how.recovery_point.clone(),
        typed: before.map(|before| before.typed.clone()).unwrap_or_default(),
    }
}

/// A run that can ask nobody.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    pub plan: &'a Plan,
    pub given: &'a Given,
    pub mode: Mode,
    /// What an earlier process was answered already
    pub state: Option<&'a RunState>,
}

impl Run<'_> {
    /// Returns every flag it needs, by what was seen of the estate; `alone` when the lease could not be read.
    pub(super) fn missing(
        &self,
        confirm_each: bool,
        found: &[DryRunStep],
        alone: bool,
    ) -> Vec<String> {
        let Self { plan, given, mode, state } = *self;
        needed::needed(&Asked { plan, given, found, mode, confirm_each, alone, state })
    }
}

/// Returns those of the missing flags that every such run needs, whatever the estate looks like.
pub(super) fn certain(missing: Vec<String>) -> Vec<String> {
    let is_certain = |flag: &String| flag.starts_with("--yes") || flag.starts_with("--approve");
    missing.into_iter().filter(is_certain).collect()
}

/// Words what is missing, every flag a line.
pub(super) fn refusal(missing: &[String]) -> UserError {
    let message = "nobody can be asked here, and answers are missing; nothing was done";
    let error = UserError::new(Exit::NeedsAnswer, message);
    missing.iter().fold(error, |error, flag| error.hint(format!("add {flag}")))
}

/// Puts what blocks beside the answers that are missing: no flag makes up for it.
pub(super) fn beside(mut error: UserError, findings: &[Finding]) -> UserError {
    for finding in findings.iter().filter(|finding| finding.level == FindingLevel::Blocking) {
        error.message = format!("{}\nblocks: {}: {}", error.message, finding.about, finding.said);
        error.hints.extend(finding.hint.clone());
    }
    error
}

/// Another recovery point than the one something was changed by comes too late: it must not be passed over in silence.
pub(super) fn refuse_late_point(state: &RunState, how: &HowFlags) -> Result<(), UserError> {
    let Some(point) = &how.recovery_point else { return Ok(()) };
    let Some(begun) = state.begun_with_another(point) else { return Ok(()) };
    let message = format!("--recovery-point {point} comes too late: `{begun}` was begun with");
    let short = state.run.short();
    Err(UserError::new(Exit::Usage, message)
        .hint(format!(
            "go on with `{begun}`, without --recovery-point and PHOENIX_DR_RECOVERY_POINT: phoenix-dr resume {short}{}",
            state.mode.flag()
        ))
        .hint("where a step of it fails, its menu offers another method while that is possible"))
}

/// An endpoint override left in the shell would send a real failover to a test server, or a child to another one.
pub(super) fn refuse_overrides(
    context: &Context,
    plan: &Plan,
    who: &WhoFlags,
) -> Result<(), UserError> {
    // A rehearsal calls no endpoint.
    if context.rehearsal().is_some() {
        return Ok(());
    }
    let overrides = endpoints::overrides(&plan.estate);
    if overrides.is_empty() || who.allow_endpoint_override {
        return Ok(());
    }
    let mut message =
        "an AWS endpoint override is set; a live run does not start with one".to_owned();
    for line in overrides {
        message = format!("{message}\n  {line}");
    }
    Err(UserError::new(Exit::Usage, message)
        .hint("unset it; endpoints the estate needs belong in the estate file")
        .hint("or, knowing what it does: --allow-endpoint-override"))
}
