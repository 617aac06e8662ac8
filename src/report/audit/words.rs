//! What each event says to a person, in a few words and a few details.

use serde_json::{Map, Value};

use crate::event::{
    Answer, AnswerForm, AttemptResult, Event, FailureChoice, Finding, FindingLevel, Mode, Question,
    QuestionKey, RevertResult, RollbackScope, RunEnd, RunSettings,
};
use crate::ids::StepId;
use crate::outcome::{
    ActionError, CheckReport, Effect, FailureClass, Obligation, StepEnd, Verdict,
};
use crate::report::words::{if_pasted, plain};

/// Longest value shown; the whole one is in the journal.
const VALUE_MAX: usize = 160;

/// An event in words.
pub(in crate::report) struct Told<'a> {
    pub step: Option<&'a StepId>,
    pub what: String,
    pub more: Vec<String>,
    /// A person did it: their name is always shown
    pub by_a_person: bool,
}

impl<'a> Told<'a> {
    /// Returns words without details.
    pub(super) fn of(step: Option<&'a StepId>, what: impl Into<String>) -> Self {
        Self { step, what: what.into(), more: Vec::new(), by_a_person: false }
    }

    fn run(what: impl Into<String>) -> Self {
        Self::of(None, what)
    }

    fn step(step: &'a StepId, what: impl Into<String>) -> Self {
        Self::of(Some(step), what)
    }

    fn more(mut self, more: impl IntoIterator<Item = String>) -> Self {
        self.more.extend(more);
        self
    }

    /// Returns everything on one line.
    pub(in crate::report) fn whole(&self) -> String {
        let details = self.more.iter().map(String::as_str);
        std::iter::once(self.what.as_str()).chain(details).collect::<Vec<_>>().join("; ")
    }

    fn by_a_person(self) -> Self {
        Self { by_a_person: true, ..self }
    }
}

fn opened<'a>(
    step: Option<&'a StepId>,
    obligation: &'a Obligation,
    mode: Option<Mode>,
) -> Told<'a> {
    let how = format!("to close it{}: {}", if_pasted(mode), obligation.how);
    Told::of(step, format!("OPEN {}: {}", obligation.id, obligation.say))
        .more(how.lines().map(str::to_owned))
}

/// Returns an event in words; `mode` is that of its run.
pub(in crate::report) fn told(event: &Event, mode: Option<Mode>) -> Told<'_> {
    match event {
        Event::RunStarted { mode, settings, version, .. } => {
            began(start_of(*mode), settings, version)
        }
        Event::RunResumed { settings, version } => began("run resumed", settings, version),
        Event::Preflight { findings } => preflight(findings),
        Event::IncidentDated { at, said } => {
            Told::run(format!("incident began {}: {said}", at.strftime("%Y-%m-%d %H:%M:%S UTC")))
        }
        Event::LeaseTaken { epoch, place } => {
            Told::run(format!("lease taken, epoch {epoch}, {place}"))
        }
        Event::LeaseVouched { why, typed } => Told::run(format!("lease not proved: {why}"))
            .more([format!("vouched for being alone, typed \"{typed}\"")])
            .by_a_person(),
        Event::Asked { question } => asked(question),
        Event::Decided { question, answer } => decided(question, answer),
        Event::StepReady { step, with } => Told::step(step, ready(with)),
        Event::GateSeen { step, verdict, reports } => {
            Told::step(step, format!("gate {}", verdict_word(*verdict))).more(in_words(reports))
        }
        Event::StepStarted {
            step, attempt, before, desired, digest, irreversible, choice, ..
        } => Told::step(step, format!("attempt {attempt} started, digest {}", short(digest)))
            .more([format!("{} -> {}", value(before), value(desired))])
            .more(choice.iter().map(|choice| format!("chosen: {}", choice.title)))
            .more(irreversible.iter().map(|why| format!("CANNOT be undone: {why}"))),
        Event::AttemptFinished { step, attempt, result } => attempted(step, *attempt, result),
        Event::Probed { step, effect, said, .. } => {
            Told::step(step, format!("looked afterwards, effect {}: {said}", effect_word(*effect)))
        }
        Event::StepSatisfied { step, .. } => Told::step(step, "as desired already".to_owned()),
        Event::StepMarked { step, evidence, outputs } => marked(step, evidence, outputs),
        Event::Verified { step, verdict, reports } => {
            Told::step(step, format!("verification {}", verdict_word(*verdict)))
                .more(in_words(reports))
        }
        Event::StepFailed { step, error } => failed(step, "FAILED", error),
        Event::StepFinished { step, end, reason, .. } => {
            Told::step(step, end_of_step(*end, reason.as_deref()))
        }
        Event::StepReopened { step, why } => {
            Told::step(step, format!("to be tried again: {why}")).by_a_person()
        }
        Event::RollbackStarted { why, scope } => rollback(why, scope),
        Event::RollbackEnded { why } => Told::run(format!("rollback ended: {why}")),
        Event::RevertStarted { step, attempt } => {
            Told::step(step, format!("revert started, attempt {attempt}"))
        }
        Event::RevertFinished { step, result } => reverted(step, result),
        Event::ObligationOpened { step, obligation } => opened(step.as_ref(), obligation, mode),
        Event::ObligationClosed { id, said, .. } => Told::run(format!("closed {id}: {said}")),
        Event::RunVerified { verdict, reports } => {
            Told::run(format!("service restored: {}", verdict_word(*verdict)))
                .more(in_words(reports))
        }
        Event::RunStopped { why, exit } => Told::run(format!("run stopped, exit {exit}: {why}")),
        Event::RunFinished { end, exit } => {
            Told::run(format!("run finished, exit {exit}: {}", end_of_run(*end)))
        }
        Event::RunAbandoned { reason, still_changed } => abandoned(reason, still_changed),
        Event::Noted { step, text } => {
            Told::of(step.as_ref(), format!("note: {text}")).by_a_person()
        }
    }
}

fn rollback<'a>(why: &str, scope: &'a RollbackScope) -> Told<'a> {
    match scope {
        RollbackScope::Run => Told::run(format!("rollback started: {why}")),
        RollbackScope::Past { step } => {
            Told::step(step, format!("to be reverted past a point of no return: {why}"))
        }
        RollbackScope::Another { choosing } => {
            Told::step(choosing, format!("another method is to be chosen: {why}"))
        }
    }
}

fn marked<'a>(step: &'a StepId, evidence: &str, outputs: &Map<String, Value>) -> Told<'a> {
    Told::step(step, format!("marked done by hand, to be verified: {evidence}"))
        .more((!outputs.is_empty()).then(|| format!("with {}", arguments(outputs))))
        .by_a_person()
}

const fn start_of(mode: Mode) -> &'static str {
    match mode {
        Mode::Live => "live run started",
        Mode::DryRun => "dry run started",
        Mode::Rehearsal => "rehearsal started",
    }
}

fn began<'a>(what: &str, settings: &RunSettings, version: &str) -> Told<'a> {
    let alone = (!settings.interactive).then(|| "not interactive: nobody is asked".to_owned());
    let overrides = settings.overrides.iter();
    let overrides = overrides.map(|(step, why)| format!("override of {step}: {why}"));
    Told::run(format!("{what}, phoenix-dr {version}")).more(alone).more(overrides).by_a_person()
}

fn ready(with: &Map<String, Value>) -> String {
    if with.is_empty() { "ready".to_owned() } else { format!("ready, with {}", arguments(with)) }
}

fn attempted<'a>(step: &'a StepId, attempt: u32, result: &AttemptResult) -> Told<'a> {
    match result {
        AttemptResult::Performed { notes, .. } => {
            let notes = notes.iter().map(|note| plain(note).to_owned());
            Told::step(step, format!("attempt {attempt} performed")).more(notes)
        }
        AttemptResult::Failed { error } => {
            failed(step, &format!("attempt {attempt} failed"), error)
        }
    }
}

fn with_reason(what: &str, reason: Option<&str>) -> String {
    reason.map_or_else(|| what.to_owned(), |reason| format!("{what}: {reason}"))
}

fn abandoned<'a>(reason: &str, still_changed: &[StepId]) -> Told<'a> {
    let ids: Vec<&str> = still_changed.iter().map(|step| step.0.as_str()).collect();
    let changed = if ids.is_empty() { "nothing".to_owned() } else { ids.join(", ") };
    Told::run(format!("run ABANDONED: {reason}"))
        .more([format!("still changed: {changed}")])
        .by_a_person()
}

fn preflight(findings: &[Finding]) -> Told<'_> {
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let what = format!(
        "preflight: {} good, {} warnings, {} blocking",
        count(FindingLevel::Good),
        count(FindingLevel::Warning),
        count(FindingLevel::Blocking)
    );
    let more = findings.iter().filter_map(|Finding { level, about, said, .. }| match level {
        FindingLevel::Good => None,
        FindingLevel::Warning => Some(format!("warning, {about}: {said}")),
        FindingLevel::Blocking => Some(format!("BLOCKING, {about}: {said}")),
    });
    Told::run(what).more(more)
}

fn asked(question: &Question) -> Told<'_> {
    let form = match &question.form {
        AnswerForm::YesNo => "yes or no".to_owned(),
        AnswerForm::Type { word } => format!("type \"{word}\""),
        AnswerForm::Reason => "a reason".to_owned(),
        AnswerForm::Candidates { candidates, .. } => {
            let titles: Vec<&str> =
                candidates.iter().map(|candidate| candidate.title.as_str()).collect();
            format!("one of {}", titles.join("; "))
        }
        AnswerForm::Menu { options } => {
            let words: Vec<&str> =
                options.iter().map(|option| choice_word(option.choice)).collect();
            format!("one of {}", words.join(", "))
        }
        AnswerForm::Evidence { prompt } => prompt.clone(),
    };
    Told::of(step_of(&question.key), format!("asked: {} ({form})", question.title))
}

fn decided<'a>(question: &'a QuestionKey, answer: &Answer) -> Told<'a> {
    let about = match question {
        QuestionKey::Go => "start",
        QuestionKey::Choice { .. } => "choice",
        QuestionKey::Loss { .. } => "data loss",
        QuestionKey::Approve { .. } => "approval",
        QuestionKey::Override { .. } => "override",
        QuestionKey::Waive { .. } => "going on without it",
        QuestionKey::Failure { .. } => "after the failure",
        QuestionKey::RevertFailure { .. } => "after the failed revert",
        QuestionKey::Past { .. } => "reverting past a point of no return",
        QuestionKey::Manual { .. } => "done by hand",
        QuestionKey::Alone => "being alone",
        QuestionKey::Blocked => "looking again",
        QuestionKey::Rollback => "roll back",
        QuestionKey::Credentials { .. } => "credentials",
    };
    let (said, more) = match answer {
        Answer::Yes => ("YES".to_owned(), None),
        Answer::No => ("NO".to_owned(), None),
        Answer::Typed { text } => (format!("typed \"{text}\""), None),
        Answer::Chosen { id } => (format!("chose {id}"), None),
        Answer::Menu { choice, reason, outputs } => {
            let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let outputs = (!outputs.is_empty()).then(|| format!("with {}", arguments(outputs)));
            (format!("{}{reason}", choice_word(*choice)), outputs)
        }
        Answer::Recheck => ("look again".to_owned(), None),
        Answer::Began { at } => (format!("the incident began {at}"), None),
        Answer::Nobody { why } => (format!("nobody answered: {why}"), None),
        Answer::Missing { flag } => (format!("no answer was given; {flag} gives it"), None),
    };
    let digest = match question {
        QuestionKey::Approve { digest, .. } => Some(format!("covers digest {}", short(digest))),
        _ => None,
    };
    Told::of(step_of(question), format!("{about}: {said}")).more(more).more(digest).by_a_person()
}

const fn step_of(question: &QuestionKey) -> Option<&StepId> {
    match question {
        QuestionKey::Go | QuestionKey::Blocked | QuestionKey::Rollback | QuestionKey::Alone => None,
        QuestionKey::Choice { step, .. }
        | QuestionKey::Loss { step, .. }
        | QuestionKey::Approve { step, .. }
        | QuestionKey::Override { step }
        | QuestionKey::Waive { step }
        | QuestionKey::Failure { step, .. }
        | QuestionKey::RevertFailure { step, .. }
        | QuestionKey::Past { step }
        | QuestionKey::Manual { step }
        | QuestionKey::Credentials { step } => Some(step),
    }
}

fn failed<'a>(step: &'a StepId, what: &str, error: &ActionError) -> Told<'a> {
    let class = match error.class {
        FailureClass::Throttled => "throttled",
        FailureClass::Transient => "transient",
        FailureClass::Denied => "denied",
        FailureClass::Credentials => "credentials",
        FailureClass::Invalid => "invalid",
        FailureClass::NotFound => "not found",
        FailureClass::Conflict => "conflict",
        FailureClass::Capacity => "capacity",
        FailureClass::Timeout => "timeout",
        FailureClass::Overdue => "overdue",
        FailureClass::Refused => "refused",
        FailureClass::Unproved => "to be proved again",
        FailureClass::Doubt => "in doubt",
        FailureClass::Internal => "internal",
    };
    let effect = effect_word(error.effect);
    Told::step(step, format!("{what} ({class}, effect {effect}): {}", error.message))
        .more(error.hint.iter().map(|hint| format!("hint: {hint}")))
}

fn reverted<'a>(step: &'a StepId, result: &RevertResult) -> Told<'a> {
    match result {
        RevertResult::Reverted => Told::step(step, "reverted"),
        RevertResult::AlreadyBefore => Told::step(step, "was as before already"),
        RevertResult::Kept { why } => Told::step(step, format!("not reverted: {why}")),
        RevertResult::Failed { error } => failed(step, "REVERT FAILED", error),
        RevertResult::Conflict { before, ours, now } => {
            Told::step(step, "NOT reverted: another writer changed it").more([
                format!("before {}", value(before)),
                format!("ours {}", value(ours)),
                format!("now {}", value(now)),
            ])
        }
        RevertResult::Skipped { reason } => {
            Told::step(step, format!("left as it is: {reason}")).by_a_person()
        }
    }
}

fn in_words(reports: &[CheckReport]) -> Vec<String> {
    let mut lines = Vec::new();
    for CheckReport { title, verdict, said, votes, control, .. } in reports {
        lines.push(format!("{title}: {}, {said}", verdict_word(*verdict)));
        lines.extend(in_words(votes).into_iter().map(|vote| format!("vote {vote}")));
        lines.extend(control.iter().map(|control| format!("control: {control}")));
    }
    lines
}

fn arguments(values: &Map<String, Value>) -> String {
    let pairs: Vec<String> =
        values.iter().map(|(name, given)| format!("{name}={}", value(given))).collect();
    cut(&pairs.join(", "))
}

/// Returns a value as JSON writes it, texts bare, long ones cut.
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::String(text) => cut(text),
        other => cut(&other.to_string()),
    }
}

/// Returns the beginning of a digest, enough to tell two apart.
fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

fn cut(text: &str) -> String {
    if text.chars().count() <= VALUE_MAX {
        return text.to_owned();
    }
    text.chars().take(VALUE_MAX).chain("...".chars()).collect()
}

const fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "holds",
        Verdict::Fails => "FAILS",
        Verdict::Inconclusive => "INCONCLUSIVE",
    }
}

const fn effect_word(effect: Effect) -> &'static str {
    match effect {
        Effect::None => "none",
        Effect::Unknown => "UNKNOWN",
        Effect::Applied => "applied",
    }
}

const fn choice_word(choice: FailureChoice) -> &'static str {
    match choice {
        FailureChoice::Retry => "retry",
        FailureChoice::Another => "another method",
        FailureChoice::Skip => "skip",
        FailureChoice::MarkDone => "mark done",
        FailureChoice::Rollback => "roll back",
        FailureChoice::Stop => "stop",
    }
}

fn end_of_step(end: StepEnd, reason: Option<&str>) -> String {
    let what = match end {
        // Only what was gone on with in doubt is done with a reason.
        StepEnd::Done if reason.is_some() => "NOT PROVED",
        StepEnd::Done => "done and verified",
        StepEnd::Satisfied => "was as desired already",
        StepEnd::Skipped => "skipped",
        StepEnd::Omitted => "skipped by an operator",
        StepEnd::Marked => "done by hand and verified",
        StepEnd::Waived => "WAIVED",
        StepEnd::Failed => "FAILED for good",
        StepEnd::NotRun => "not run",
    };
    with_reason(what, reason)
}

const fn end_of_run(end: RunEnd) -> &'static str {
    match end {
        RunEnd::Restored => "restored",
        RunEnd::WithExceptions => "restored with exceptions",
        RunEnd::RolledBack => "rolled back",
        RunEnd::FailedUnchanged => "failed, nothing changed",
        RunEnd::ChangesLeft => "failed, changes are left in place",
        RunEnd::NotStarted => "not started, nothing changed",
    }
}
