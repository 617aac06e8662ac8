//! Looking: gates and verification, polled until they hold or their deadline passes.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::watch;

use super::driver::{Driver, Halt, Park, pause, unless_hard};
use super::ports::{Ports, Progress};
use super::step::Stage;
use crate::clock::{since, within};
use crate::event::{Answer, AnswerForm, Event, Question, QuestionKey};
use crate::outcome::{ActionError, CheckReport, Effect, FailureClass, StepEnd, Verdict};
use crate::plan::{Body, CheckSpec};
use crate::runbook::expression::Scope;

/// One look may take this long before it counts as inconclusive.
const LOOK_LIMIT: Duration = Duration::from_secs(30);

/// Returns the kind of failure that a look which did not hold is.
const fn class(verdict: Verdict) -> FailureClass {
    match verdict {
        Verdict::Inconclusive => FailureClass::Doubt,
        Verdict::Holds | Verdict::Fails => FailureClass::Invalid,
    }
}

/// Two looks are never closer together than this.
const EVERY_LEAST: Duration = Duration::from_millis(100);

impl Driver {
    /// Looks at a gate until it holds or its deadline passes, then has it decided.
    pub(super) async fn look_at_gate(&mut self) -> Result<(), Park> {
        let Body::Gate { checks } = self.step().body.clone() else { return Ok(()) };
        let step = self.step().id.clone();
        let (verdict, reports) = self.poll_all(&checks).await?;
        let seen = Event::GateSeen { step: step.clone(), verdict, reports: reports.clone() };
        self.record(vec![seen]);
        if verdict == Verdict::Holds {
            return self.finish(StepEnd::Done, Map::new(), None).await;
        }
        // Only doubt can be overridden: what was seen not to hold does not hold, whatever was said beforehand.
        if verdict == Verdict::Inconclusive
            && let Some(reason) = self.override_reason(&reports).await?
        {
            let reason = format!("overridden: {reason}");
            return self.finish(StepEnd::Done, Map::new(), Some(reason)).await;
        }
        let error = ActionError::unchanged(class(verdict), describe(verdict, &reports));
        self.fail(error).await
    }

    /// Asks whether to go on against what the gate found. Only a gate that guards the start is overridden
    /// by a question; the others go through the failure menu.
    async fn override_reason(&mut self, reports: &[CheckReport]) -> Result<Option<String>, Park> {
        let step = self.step().id.clone();
        if let Some(reason) = self.settings.overrides.get(&step.0) {
            return Ok(Some(reason.clone()));
        }
        if self.armed.is_some() || !self.settings.interactive {
            return Ok(None);
        }
        let question = Question {
            key: QuestionKey::Override { step },
            title: format!("In doubt: {}", self.step().title),
            lines: reports.iter().flat_map(report_lines).collect(),
            commands: Vec::new(),
            no_means: "nothing is changed, the run ends".to_owned(),
            form: AnswerForm::Reason,
            pages: Default::default(),
        };
        match self.ask(question).await {
            Ok(Answer::Typed { text }) => Ok(Some(text)),
            // Declining an override is no parked run: the gate was not met.
            Ok(_) | Err(Park::Declined(_)) => Ok(None),
            Err(park) => Err(park),
        }
    }

    /// Verifies what was performed, was found as desired, or was done by hand.
    pub(super) async fn verify(&mut self) -> Result<(), Park> {
        let checks = self.step().verify.clone();
        if !checks.is_empty() {
            let (verdict, reports) = self.poll_all(&checks).await?;
            let step = self.step().id.clone();
            self.record(vec![Event::Verified { step, verdict, reports: reports.clone() }]);
            if verdict != Verdict::Holds {
                let error = ActionError {
                    class: class(verdict),
                    effect: self.state.effect,
                    message: self.not_verified(&describe(verdict, &reports)),
                    hint: None,
                };
                return self.fail(error).await;
            }
        }
        if checks.is_empty() && matches!(self.state.stage, Stage::Marked { .. }) {
            // Nothing proves what a person said.
            self.leave_open();
        }
        let (end, reason) = match (&self.state.stage, self.state.effect) {
            (Stage::Marked { evidence }, _) => {
                (StepEnd::Marked, Some(format!("done by hand: {evidence}")))
            }
            // What an earlier attempt of this run did is done, not found.
            (Stage::AsDesired, Effect::None) => (StepEnd::Satisfied, None),
            (
                Stage::AsDesired
                | Stage::Performed
                | Stage::Waiting
                | Stage::Ready
                | Stage::Started
                | Stage::Doubtful { .. }
                | Stage::AttemptFailed { .. }
                | Stage::Failed { .. }
                | Stage::Ended(_),
                _,
            ) => (StepEnd::Done, None),
        };
        self.finish(end, Map::new(), reason).await
    }

    fn not_verified(&self, found: &str) -> String {
        match self.state.stage {
            Stage::AsDesired => format!("as desired already, but its verification {found}"),
            Stage::Marked { .. } => {
                format!("said to be done by hand, but its verification {found}")
            }
            Stage::Waiting
            | Stage::Ready
            | Stage::Started
            | Stage::Doubtful { .. }
            | Stage::AttemptFailed { .. }
            | Stage::Performed
            | Stage::Failed { .. }
            | Stage::Ended(_) => format!("verification: {found}"),
        }
    }

    /// Polls every check of this step; the result is the worst of them.
    pub(super) async fn poll_all(
        &mut self,
        checks: &[CheckSpec],
    ) -> Result<(Verdict, Vec<CheckReport>), Park> {
        let scope = self.scope();
        let progress = Progress::new(self.step().id.clone(), self.news.clone());
        let mut poller =
            Poller { ports: self.ports.clone(), halt: self.halt.clone(), progress: Some(progress) };
        poller.poll_all(checks, &scope).await
    }
}

/// Looks again and again, until it is stopped.
pub(super) struct Poller {
    pub ports: Ports,
    pub halt: watch::Receiver<Halt>,
    pub progress: Option<Progress>,
}

impl Poller {
    /// Polls every check in turn; the result is the worst of them.
    pub(super) async fn poll_all(
        &mut self,
        checks: &[CheckSpec],
        scope: &Scope,
    ) -> Result<(Verdict, Vec<CheckReport>), Park> {
        let mut reports = Vec::new();
        for check in checks {
            let report = match crate::plan::late::check(check, scope) {
                Ok(check) => self.poll(&check).await?,
                Err(error) => self.doubt(check, error),
            };
            reports.push(report);
        }
        Ok((worst(&reports), reports))
    }

    /// Looks until the check holds often enough in a row, or its deadline has passed.
    async fn poll(&mut self, check: &CheckSpec) -> Result<CheckReport, Park> {
        let began = self.ports.clock.now();
        let mut row = 0;
        loop {
            let looking = within(&*self.ports.clock, LOOK_LIMIT, self.ports.checks.look(check));
            let report = unless_hard(&self.halt, looking)
                .await?
                .unwrap_or_else(|elapsed| self.doubt(check, elapsed.to_string()));
            row = if report.verdict == Verdict::Holds { row + 1 } else { 0 };
            if row >= check.consecutive.max(1) {
                return Ok(report);
            }
            let gone = since(began, self.ports.clock.now());
            self.tell(&report, gone, check.within.0);
            if gone + check.every.0 > check.within.0 {
                return Ok(unheld(report, check));
            }
            pause(&self.ports, &mut self.halt, check.every.0.max(EVERY_LEAST)).await?;
        }
    }

    fn doubt(&self, check: &CheckSpec, said: String) -> CheckReport {
        CheckReport {
            title: check.title.clone(),
            check: check.check.clone(),
            verdict: Verdict::Inconclusive,
            said,
            value: Value::Null,
            at: self.ports.clock.now(),
            votes: Vec::new(),
            control: None,
        }
    }

    fn tell(&self, report: &CheckReport, gone: Duration, limit: Duration) {
        let Some(progress) = &self.progress else { return };
        let part = (!limit.is_zero()).then(|| gone.as_secs_f32() / limit.as_secs_f32());
        progress.tell(format!("{}: {}", report.title, report.said), part);
    }
}

/// A check that held, but not often enough in a row, does not hold.
fn unheld(report: CheckReport, check: &CheckSpec) -> CheckReport {
    if report.verdict != Verdict::Holds {
        return report;
    }
    let said = format!("{}, but not {} times in a row", report.said, check.consecutive);
    CheckReport { verdict: Verdict::Inconclusive, said, ..report }
}

/// Returns the worst verdict: a failure, else doubt, else it holds. No checks at all prove nothing.
pub(crate) fn worst(reports: &[CheckReport]) -> Verdict {
    if reports.iter().any(|report| report.verdict == Verdict::Fails) {
        Verdict::Fails
    } else if reports.is_empty()
        || reports.iter().any(|report| report.verdict == Verdict::Inconclusive)
    {
        Verdict::Inconclusive
    } else {
        Verdict::Holds
    }
}

/// Says in a line what did not hold.
pub(super) fn describe(verdict: Verdict, reports: &[CheckReport]) -> String {
    let bad: Vec<String> = reports
        .iter()
        .filter(|report| report.verdict != Verdict::Holds)
        .map(|report| format!("{}: {}", report.title, report.said))
        .collect();
    let word = match verdict {
        Verdict::Holds => "holds",
        Verdict::Fails => "does not hold",
        Verdict::Inconclusive => "could not be established",
    };
    if bad.is_empty() { word.to_owned() } else { format!("{word} ({})", bad.join("; ")) }
}

/// A report and its votes, a line each.
pub(super) fn report_lines(report: &CheckReport) -> Vec<String> {
    let word = |verdict: Verdict| match verdict {
        Verdict::Holds => "holds",
        Verdict::Fails => "fails",
        Verdict::Inconclusive => "cannot tell",
    };
    let mut lines = vec![format!("{}: {} ({})", report.title, report.said, word(report.verdict))];
    lines.extend(
        report.votes.iter().map(|v| format!("  {}: {} ({})", v.title, v.said, word(v.verdict))),
    );
    lines.extend(report.control.iter().map(|control| format!("  control: {control}")));
    lines
}
