//! Rolling a stopped run back: shows what would be reverted, in its order, and asks before anything is.

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::context::Context;
use super::live::{Job, append, carry_on, lock_estate};
use super::resume::{Taken, looked_at, named, rolls_back, take};
use super::{answers, dry_run, past, rehearsal, undone};
use crate::cli::RollbackArgs;
use crate::engine::driver::Halt;
use crate::engine::ports::Ports;
use crate::engine::scheduler::{kept, rollback_order};
use crate::engine::state::{RunPhase, RunState};
use crate::error::UserError;
use crate::event::{
    Answer, AnswerForm, Event, Mode, Question, QuestionKey, RollbackScope, RunSettings,
};
use crate::exit::Exit;
use crate::ids::{RunId, StepId};
use crate::journal::store::OpenRun;
use crate::outcome::Effect;
use crate::plan::Rollback;
use crate::report::screens::MARGIN;
use crate::report::{text, words};

/// Reverts what a run changed, as far as it may be reverted.
pub(super) fn rollback(context: &Context, given: &RollbackArgs) -> Result<Exit, UserError> {
    let store = context.store()?;
    let who = &given.flags;
    dry_run::refuse_without(who)?;
    let run = named(&store, given.run.as_deref(), who, "rollback")?;
    rehearsal::refuse_another(context, &store, &run, who, "rollback")?;
    if who.dry_run {
        let (state, records) = looked_at(&store, &run)?;
        let rehearsal = rehearsal::taken_up(context, &store, &state, &records, who)?;
        let context = rehearsal.as_ref().unwrap_or(context);
        let scope = scope(&state, given.past.as_deref())?;
        return show(context, &state, &scope, who.detailed_exitcode);
    }
    let Taken { open, state, records } = take(context, &store, &run)?;
    let rehearsal = rehearsal::taken_up(context, &store, &state, &records, who)?;
    let context = rehearsal.as_ref().unwrap_or(context);
    let answers = answers::of_rollback(context, &state.plan, who)?;
    answers::refuse_overrides(context, &state.plan, who)?;
    let interactive = answers::interactive(who);
    if interactive {
        // Not demanded where nobody is: most steps are taken back without it, and one that is not says so.
        super::typed::ask_again(context, &state.plan, true)?;
    }
    let settings =
        answers.settle(RunSettings { interactive, recovery_point: None, ..state.settings.clone() });
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let opening = vec![Event::RunResumed { settings, version }];
    let scope = scope(&state, given.past.as_deref())?;
    let consent = if rolls_back(&state) {
        None
    } else {
        let view = View::of(&state, &scope, context.clock.now())?;
        view.refuse()?;
        let columns = context.terminal.columns().saturating_sub(MARGIN);
        let question = match &scope {
            RollbackScope::Past { step } => past::question(&state, step, view.lines(columns))?,
            RollbackScope::Run | RollbackScope::Another { .. } => view.question(columns),
        };
        Some(Box::new(Consent { question, scope }))
    };
    let estate_lock = lock_estate(context, &store, &state.plan, &run)?;
    let given = answers;
    carry_on(context, Job { open, state, records, opening, consent, given, estate_lock })
}

/// A rollback to be consented to.
pub(super) struct Consent {
    question: Question,
    scope: RollbackScope,
}

/// Returns what is to be reverted: of a rollback that has begun what it began with, else what was asked for.
pub(super) fn scope(state: &RunState, step: Option<&str>) -> Result<RollbackScope, UserError> {
    let begun = match &state.phase {
        RunPhase::RollingBack { scope, .. } => Some(scope.clone()),
        RunPhase::Stopped { rolling_back, .. } => {
            rolling_back.as_ref().map(|(_, scope)| scope.clone())
        }
        RunPhase::Running | RunPhase::Finished { .. } | RunPhase::Abandoned { .. } => None,
    };
    match (begun, step) {
        (Some(begun), None) => Ok(begun),
        (Some(_), Some(step)) => {
            let short = state.run.short();
            let message =
                format!("run {short} is being rolled back already; `{step}` was not reverted");
            Err(UserError::new(Exit::Usage, message)
                .hint(format!("let that end first: phoenix-dr resume {short}")))
        }
        (None, None) => Ok(RollbackScope::Run),
        (None, Some(step)) => past::scope(state, step),
    }
}

/// Says whether a rollback of the run would do anything: past a point of no return it may not.
pub(super) fn possible(state: &RunState, now: Timestamp) -> bool {
    let view = scope(state, None).and_then(|scope| View::of(state, &scope, now));
    view.is_ok_and(|view| view.refuse().is_ok())
}

/// Prints what a rollback would revert.
pub(super) fn show(
    context: &Context,
    state: &RunState,
    scope: &RollbackScope,
    detailed: bool,
) -> Result<Exit, UserError> {
    let view = View::of(state, scope, context.clock.now())?;
    view.refuse()?;
    if context.json() {
        context.terminal.out(&view.json().to_string());
    } else {
        for line in view.lines(context.terminal.columns()) {
            context.terminal.out(&line);
        }
        if state.mode == Mode::Rehearsal {
            context.terminal.out(words::NOT_REAL);
        }
    }
    let changes = detailed && !view.reverts.is_empty();
    Ok(if changes { Exit::DryRunChanges } else { Exit::Ok })
}

/// Puts the question; what comes back that is not yes leaves the run as it is.
pub(super) async fn ask(
    ports: &Ports,
    halt: &mut watch::Receiver<Halt>,
    run: &RunId,
    open: &mut OpenRun,
    consent: Consent,
) -> Result<Vec<Event>, UserError> {
    let Consent { question, scope } = consent;
    // A question that loses to a signal is given up: nothing was decided by it.
    let answer = tokio::select! {
        biased;
        _ = halt.wait_for(|halt| *halt != Halt::No) => {
            Answer::Nobody { why: "interrupted".to_owned() }
        }
        answer = ports.operator.ask(&question) => answer,
    };
    let untouched = "nothing was reverted; the run stays as it is";
    let resume = format!("go on with it: phoenix-dr resume {}", run.short());
    let why = match &answer {
        // A step past a point of no return is asked about by a word: a yes to it is none.
        Answer::Yes | Answer::Typed { .. } if fits(&question.form, &answer) => {
            let (key, why) = (question.key.clone(), "an operator asked for it".to_owned());
            return Ok(vec![
                Event::Asked { question: Box::new(question) },
                Event::Decided { question: key, answer },
                Event::RollbackStarted { why, scope },
            ]);
        }
        Answer::Missing { flag } => {
            let message = format!("an answer is needed; {untouched}");
            return Err(UserError::new(Exit::NeedsAnswer, message).hint(format!("add {flag}")));
        }
        Answer::Nobody { why } => format!("nobody answered: {why}"),
        Answer::Yes
        | Answer::No
        | Answer::Typed { .. }
        | Answer::Chosen { .. }
        | Answer::Menu { .. }
        | Answer::Recheck
        | Answer::Began { .. } => "the answer was no".to_owned(),
    };
    let text = format!("a rollback was put to the operator and not begun: {why}");
    let record = open.chain.seal(Event::Noted { step: None, text }, ports.clock.now());
    append(open, &[record])?;
    Err(UserError::new(Exit::Stopped, format!("{why}; {untouched}")).hint(resume))
}

fn fits(form: &AnswerForm, answer: &Answer) -> bool {
    match (form, answer) {
        (AnswerForm::Type { word }, Answer::Typed { text }) => text == word,
        (AnswerForm::YesNo, Answer::Yes) => true,
        _ => false,
    }
}

/// What a rollback would do.
#[derive(Debug)]
struct View {
    run: RunId,
    mode: Mode,
    about: String,
    reverts: Vec<Revert>,
    stays: Vec<Stay>,
}

#[derive(Debug)]
struct Revert {
    step: StepId,
    title: String,
    how: String,
    values: Vec<String>,
}

#[derive(Debug)]
struct Stay {
    step: StepId,
    why: String,
}

impl View {
    /// Decides by the same fold and the same order as the run itself would.
    fn of(state: &RunState, scope: &RollbackScope, now: Timestamp) -> Result<Self, UserError> {
        let mut again = state.clone();
        let settings = RunSettings { recovery_point: None, ..state.settings.clone() };
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let internal = |error| UserError::new(Exit::Internal, format!("roll back: {error}"));
        again.apply(&Event::RunResumed { settings, version }, now).map_err(internal)?;
        let sealed = again.sealed();
        let point = (0..again.steps.len()).find(|i| again.point_passed(*i));
        let point = point.map(|i| again.plan.steps[i].id.to_string()).unwrap_or_default();
        let order = rollback_order(&again, scope);
        let mut view = Self {
            run: state.run.clone(),
            mode: state.mode,
            about: format!("{} on estate {}", state.plan.runbook, state.plan.estate.estate),
            reverts: Vec::new(),
            stays: Vec::new(),
        };
        for i in order.iter().copied() {
            let (step, seen) = (&again.plan.steps[i], &again.steps[i]);
            if let Some(why) = kept(&step.rollback) {
                view.stays.push(Stay { step: step.id.clone(), why: why.to_owned() });
                continue;
            }
            let undone = undone::of(&again.plan, step, seen);
            let mut how = match &step.rollback {
                Rollback::Action { action, .. } => format!("by {action}"),
                Rollback::Auto | Rollback::None { .. } => undone.how,
            };
            if seen.effect == Effect::Unknown {
                how = format!("in doubt whether it changed anything: looks first, then {how}");
            }
            let values = undone.values;
            let (step, title) = (step.id.clone(), step.title.clone());
            view.reverts.push(Revert { step, title, how, values });
        }
        for i in sealed.into_iter().filter(|i| !order.contains(i)) {
            let (step, seen) = (&again.plan.steps[i], &again.steps[i]);
            if step.changes && seen.changed() {
                let why = format!("sealed by the point of no return `{point}`");
                view.stays.push(Stay { step: step.id.clone(), why });
            }
        }
        Ok(view)
    }

    /// Refuses a rollback that could only end the run for good, with its changes in place.
    fn refuse(&self) -> Result<(), UserError> {
        if !self.reverts.is_empty() || self.stays.is_empty() {
            return Ok(());
        }
        let mut message = "nothing of this run can be reverted; nothing was done".to_owned();
        for stay in &self.stays {
            message = format!("{message}\n  {} stays: {}", stay.step, stay.why);
        }
        let short = self.run.short();
        let flag = self.mode.flag();
        Err(UserError::new(Exit::ChangesLeft, message)
            .hint(format!("go on with it: phoenix-dr resume {short}{flag}"))
            .hint(format!("or give it up: phoenix-dr abandon {short} --reason WHY")))
    }

    fn lines(&self, columns: usize) -> Vec<String> {
        let begins = match self.mode {
            Mode::Live | Mode::DryRun => "Rollback".to_owned(),
            Mode::Rehearsal => format!("{}: rollback", words::mode(self.mode)),
        };
        let mut lines = text::wrap(
            &format!("{begins} of run {}, {}", self.run.short(), self.about),
            columns,
            2,
        );
        if self.reverts.is_empty() {
            lines.push("Nothing is changed by this run: it only ends.".to_owned());
        } else {
            lines.extend(text::wrap(
                "Reverted in this order; each value is compared first, and one that somebody else \
                 changed since is left alone:",
                columns,
                2,
            ));
        }
        for (at, revert) in self.reverts.iter().enumerate() {
            let head = format!("{}. {} ({}): {}", at + 1, revert.step, revert.title, revert.how);
            lines.extend(text::wrap(&head, columns, 6));
            for value in &revert.values {
                lines.extend(text::block(value, columns, 6));
            }
        }
        for stay in &self.stays {
            lines.extend(text::wrap(&format!("  ! {} stays: {}", stay.step, stay.why), columns, 6));
        }
        lines
    }

    fn question(&self, columns: usize) -> Question {
        Question {
            key: QuestionKey::Rollback,
            title: "Roll back?".to_owned(),
            lines: self.lines(columns),
            commands: Vec::new(),
            no_means: "nothing is reverted; the run stays as it is".to_owned(),
            form: AnswerForm::YesNo,
            pages: std::collections::BTreeMap::new(),
        }
    }

    fn json(&self) -> Value {
        let reverts: Vec<Value> = self
            .reverts
            .iter()
            .map(|revert| {
                json!({ "step": revert.step, "title": revert.title, "how": revert.how,
                    "values": revert.values })
            })
            .collect();
        let stays: Vec<Value> =
            self.stays.iter().map(|stay| json!({ "step": stay.step, "why": stay.why })).collect();
        json!({ "format": "phoenix-dr/rollback", "version": 1, "run": self.run,
            "mode": self.mode, "reverts": reverts, "stays": stays })
    }
}

#[cfg(test)]
#[path = "rollback_tests.rs"]
mod tests;
