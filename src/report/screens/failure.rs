//! The question after a step failed for good, and the one after a revert failed.

use std::collections::BTreeMap;

use crate::event::{AnswerForm, FailureChoice, MenuOption, Question, QuestionKey};
use crate::ids::StepId;
use crate::outcome::{ActionError, CheckReport, Effect};
use crate::plan::PlannedStep;
use crate::report::text;
use crate::report::words;

/// What is known when a step has failed.
#[derive(Debug, Clone)]
pub(crate) struct FailureView<'a> {
    pub step: &'a PlannedStep,
    pub error: &'a ActionError,
    /// Times this step failed for good in this run; part of the question's key
    pub failures: u32,
    pub attempts: u32,
    /// Its revert failed, rather than the step itself
    pub reverting: bool,
    /// The checks that did not hold, where verification failed
    pub reports: &'a [CheckReport],
    /// A point of no return is behind: no automatic rollback
    pub sealed: bool,
    /// Steps whose changes are in place and would be rolled back, in that order
    pub would_roll_back: &'a [StepId],
    /// Steps that cannot start without this one
    pub waiting: &'a [StepId],
    pub run: &'a str,
    /// Ways on, in the order they are offered: forward fixes first
    pub ways: Vec<Way>,
    pub commands: Vec<String>,
}

/// One way on, with what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Way {
    pub choice: FailureChoice,
    /// Outputs later steps use, to be given with `mark done`
    pub outputs: Vec<String>,
}

impl Way {
    /// Returns a way that needs no outputs.
    pub(crate) const fn of(choice: FailureChoice) -> Self {
        Self { choice, outputs: Vec::new() }
    }
}

/// Returns the letter that chooses a way on.
pub(crate) const fn letter(choice: FailureChoice) -> char {
    match choice {
        FailureChoice::Retry => 'r',
        FailureChoice::Skip => 's',
        FailureChoice::MarkDone => 'm',
        FailureChoice::Rollback => 'b',
        FailureChoice::Stop => 'q',
    }
}

/// Returns the question how to go on.
pub(crate) fn question(view: &FailureView<'_>) -> Question {
    let key = if view.reverting {
        QuestionKey::RevertFailure { step: view.step.id.clone(), failures: view.failures }
    } else {
        QuestionKey::Failure { step: view.step.id.clone(), failures: view.failures }
    };
    let what = if view.reverting { "could not be undone" } else { "failed" };
    let options: Vec<MenuOption> = view
        .ways
        .iter()
        .map(|way| MenuOption {
            choice: way.choice,
            say: say(way.choice, view),
            outputs: way.outputs.clone(),
        })
        .collect();
    let mut lines = evidence(view);
    lines.push(String::new());
    lines.extend(menu(&options));
    Question {
        key,
        title: format!("{} {what}: {}", view.step.id, view.step.title),
        lines,
        commands: view.commands.clone(),
        no_means: format!(
            "the run is saved as it is and stops; go on with: phoenix-dr resume {}",
            view.run
        ),
        form: AnswerForm::Menu { options },
        pages: BTreeMap::new(),
    }
}

/// Returns the options as lines, each with its letter.
pub(crate) fn menu(options: &[MenuOption]) -> Vec<String> {
    let rows: Vec<Vec<String>> = options
        .iter()
        .map(|option| {
            let name = format!("{}  {}", letter(option.choice), words::way(option.choice));
            vec![name, option.say.clone()]
        })
        .collect();
    text::table(&rows, text::COLUMNS - 2, 0)
}

fn evidence(view: &FailureView<'_>) -> Vec<String> {
    let mut lines = text::wrap(&view.error.message, text::COLUMNS - 2, 0);
    if let Some(hint) = &view.error.hint {
        lines.extend(text::wrap(&format!("Hint: {hint}"), text::COLUMNS - 2, 2));
    }
    for report in view.reports {
        let word = words::verdict_word(report.verdict);
        let line = format!("{word}: {}, {}", report.title, report.said);
        lines.extend(text::wrap(&line, text::COLUMNS - 2, 2));
    }
    lines.push(format!(
        "{}, after {}",
        words::changed(view.error.effect),
        text::count(view.attempts as usize, "attempt")
    ));
    if !view.waiting.is_empty() {
        lines.extend(text::wrap(&format!("Waiting for it: {}", ids(view.waiting)), 78, 2));
    }
    if view.sealed {
        let said = "A point of no return is behind: rolling back would do harm, so going forward \
                    comes first.";
        lines.extend(text::wrap(said, text::COLUMNS - 2, 2));
    }
    lines
}

fn say(choice: FailureChoice, view: &FailureView<'_>) -> String {
    match choice {
        FailureChoice::Retry if view.reverting => "look again and try to undo it again".to_owned(),
        FailureChoice::Retry => "look again, then try the step again".to_owned(),
        FailureChoice::Skip if view.reverting => {
            "leave this step as it is, with a reason, and undo the others".to_owned()
        }
        FailureChoice::Skip => {
            "go on without it, with a reason; what needs it goes on too".to_owned()
        }
        FailureChoice::MarkDone => "you did it by hand: say how; it is still verified".to_owned(),
        FailureChoice::Rollback if view.would_roll_back.is_empty() => {
            "nothing else is changed; end the run".to_owned()
        }
        FailureChoice::Rollback => format!("undo, in this order: {}", ids(view.would_roll_back)),
        FailureChoice::Stop => {
            let kept = match view.error.effect {
                Effect::None => "keep what other steps changed",
                Effect::Unknown | Effect::Applied => "keep everything as it is",
            };
            format!("{kept}; resume or roll back later")
        }
    }
}

fn ids(steps: &[StepId]) -> String {
    steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Verdict;
    use crate::report::fixtures::{failure, plan, report};
    use crate::report::screens::frame;

    fn lines(sealed: bool, reverting: bool) -> Vec<String> {
        let plan = plan();
        let step = plan.step(&"capacity".into()).expect("capacity").clone();
        let error = failure();
        let reports = [report("ready", Verdict::Fails, "3 of 5 pods after 10 min", "02:22:00")];
        let mark = Way {
            choice: FailureChoice::MarkDone,
            outputs: vec!["instance".to_owned(), "address".to_owned()],
        };
        let view = FailureView {
            step: &step,
            error: &error,
            failures: 1,
            attempts: 3,
            reverting,
            reports: &reports,
            sealed,
            would_roll_back: &["capacity".into(), "fence".into()],
            waiting: &["database".into(), "repoint".into(), "traffic".into()],
            run: "7F3A",
            ways: vec![
                Way::of(FailureChoice::Retry),
                Way::of(FailureChoice::Skip),
                mark,
                Way::of(FailureChoice::Rollback),
                Way::of(FailureChoice::Stop),
            ],
            commands: vec!["kubectl --context west -n phoenix-system get pods".to_owned()],
        };
        frame(&question(&view), 80)
    }

    #[test]
    fn the_menu_reads_like_this() {
        let lines = lines(false, false);
        assert!(lines.len() < 24 && lines.iter().all(|line| text::width(line) <= 80));
        insta::assert_snapshot!(lines.join("\n"), @r#"

    ? capacity failed: Get P0 capacity in us-west-2
      pods of phoenix-system/phoenix-api are not ready: 3 of 5, two are Pending: 0/6
      nodes are available, 6 Insufficient cpu
      Hint: Add nodes to the us-west-2 node group, then retry
      FAILS: ready, 3 of 5 pods after 10 min
      It did change something, after 3 attempts
      Waiting for it: database, repoint, traffic

      r  retry          look again, then try the step again
      s  skip           go on without it, with a reason; what needs it goes on too
      m  mark done      you did it by hand: say how; it is still verified
      b  roll back      undo, in this order: capacity, fence
      q  stop and keep  keep everything as it is; resume or roll back later
      $ kubectl --context west -n phoenix-system get pods
    No means: the run is saved as it is and stops; go on with: phoenix-dr resume
        7F3A
    "#);
    }

    #[test]
    fn after_a_point_of_no_return_it_says_so_and_a_revert_says_what_it_is() {
        let sealed = lines(true, false).join(" ");
        assert!(sealed.contains("A point of no return is behind"), "{sealed}");
        let reverting = lines(false, true).join("\n");
        assert!(reverting.contains("capacity could not be undone"), "{reverting}");
        assert!(reverting.contains("try to undo it again"), "{reverting}");
    }

    #[test]
    fn every_way_has_its_own_letter() {
        let ways = [
            FailureChoice::Retry,
            FailureChoice::Skip,
            FailureChoice::MarkDone,
            FailureChoice::Rollback,
            FailureChoice::Stop,
        ];
        let mut letters: Vec<char> = ways.into_iter().map(letter).collect();
        letters.sort_unstable();
        letters.dedup();
        assert_eq!(letters.len(), ways.len());
        // `n` declines and `d`, `c` call up pages everywhere.
        assert!(!letters.iter().any(|letter| "ndc".contains(*letter)), "{letters:?}");
    }
}
