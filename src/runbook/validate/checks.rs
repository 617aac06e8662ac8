//! Checks of gates, verifications and quorums, and the end of the runbook.

use serde_json::{Map, Value};

use super::Checker;
use super::names::Where;
use crate::runbook::arguments;
use crate::runbook::catalogue::actions::ActionName;
use crate::runbook::catalogue::checks::CheckName;
use crate::runbook::expression::template;
use crate::runbook::near;
use crate::runbook::path::Path;
use crate::runbook::problem::Problem;
use crate::runbook::schema::{Check, Vote};

impl Checker<'_> {
    pub(super) fn checks(&mut self, checks: &[Check], place: Where, path: &Path) {
        for (i, check) in checks.iter().enumerate() {
            let path = path.item(i);
            if check.vote == Vote::Bonus {
                self.wrong(&path.key("vote"), "only a quorum's checks vote");
            }
            self.arguments(&check.with, place, &path.key("with"));
            self.check(check, place, false, &path);
        }
    }

    /// Checks one check; its arguments' names have been looked at.
    fn check(&mut self, check: &Check, place: Where, control: bool, path: &Path) {
        if let Some(title) = &check.title {
            self.text(title, Where::planned(), &path.key("title"));
        }
        if let Some(that) = &check.that {
            self.seen(that, place, &path.key("that"));
        }
        if check.that.is_some() && check.expect.is_some() {
            let help = "write both as one condition: `that: \"value == …\"`";
            let message = "a check has `that` or `expect`, not both";
            self.wrong_with_help(&path.key("expect"), message, help);
        }
        self.patience(check, path);
        let Some(name) = CheckName::parse(&check.check) else {
            let known = CheckName::ALL.into_iter().map(CheckName::name);
            let help = near::hint(&check.check, known)
                .unwrap_or_else(|| "`phoenix-dr show --actions` lists them".to_owned());
            let message = format!("unknown check `{}`", check.check);
            return self.wrong_with_help(&path.key("check"), message, help);
        };
        self.shape(arguments::of_check(name), &check.with, place, path);
        self.control(name, &check.with, control, path);
        match name {
            CheckName::Quorum => self.quorum(&check.with, place, path),
            CheckName::Tcp
                if check.with.contains_key("address") == check.with.contains_key("instance") =>
            {
                let message = "a connection is tried to an `address` or to an `instance`";
                self.wrong_with_help(&path.key("with"), message, "give exactly one of them");
            }
            CheckName::Command if check.with.get("reads_only") != Some(&Value::Bool(true)) => {
                let help = "say `reads_only: true` if it changes nothing; a dry run leaves it out otherwise";
                let message = "nothing says that the command only reads";
                self.doubtful(&path.key("check"), message, help);
            }
            _ => {}
        }
    }

    fn patience(&mut self, check: &Check, path: &Path) {
        if check.consecutive == Some(0) {
            self.wrong(&path.key("consecutive"), "a check is looked at once at least");
        }
        let zero =
            |span: Option<crate::span::Span>| span.is_some_and(|span| span.duration().is_zero());
        if zero(check.every) {
            self.wrong(&path.key("every"), "there is a pause between two looks");
        }
        if let (Some(within), Some(every)) = (check.within, check.every) {
            let looks = check.consecutive.unwrap_or(1).max(1);
            let least = every.duration().saturating_mul(looks - 1);
            if looks == 1 && every.duration() > within.duration() {
                let help = "make `within` longer, or `every` shorter";
                let message = format!("a second look after {every} does not fit into {within}");
                self.wrong_with_help(&path.key("every"), message, help);
            } else if least > within.duration() {
                let help = "make `within` longer, or `every` shorter";
                let message = format!("{looks} looks every {every} do not fit into {within}");
                self.wrong_with_help(&path.key("within"), message, help);
            }
        }
    }

    /// Asks for a control where a check holds because something cannot be reached.
    fn control(&mut self, name: CheckName, with: &Map<String, Value>, given: bool, path: &Path) {
        let takes = matches!(name, CheckName::Http | CheckName::Tcp | CheckName::RdsStatus);
        let unreachable = with.get("expect").and_then(Value::as_str) == Some("unreachable");
        if takes && unreachable && !given && !with.contains_key("control") {
            let range = self.loaded.places.at(&path.key("with").key("expect"));
            let message = "nothing tells a dead system from a dead network of this host";
            self.report(Problem::at(range, message).help(
                "give `control`, a URL that must answer in the same round, here or in the quorum around it",
            ));
        }
    }

    fn quorum(&mut self, with: &Map<String, Value>, place: Where, path: &Path) {
        let path = path.key("with");
        let Some(votes) = with.get("of").and_then(Value::as_array) else { return };
        let mut full = 0_u64;
        for (i, vote) in votes.iter().enumerate() {
            let path = path.key("of").item(i);
            // What is no check was said by the shape.
            let Ok(vote) = serde_json::from_value::<Check>(vote.clone()) else { continue };
            full += u64::from(vote.vote == Vote::Full);
            if vote.check == CheckName::Quorum.name() {
                self.wrong(&path.key("check"), "a quorum does not vote in a quorum");
                continue;
            }
            for (key, given) in [
                ("within", vote.within.is_some()),
                ("every", vote.every.is_some()),
                ("consecutive", vote.consecutive.is_some()),
            ] {
                if given {
                    let message = format!("a vote has no `{key}`");
                    let help = "votes are taken together: the quorum says how long it is looked at";
                    self.wrong_with_help(&path.key(key), message, help);
                }
            }
            self.check(&vote, place, with.contains_key("control"), &path);
        }
        if let Some(holds) = with.get("holds").and_then(Value::as_u64) {
            let path = path.key("holds");
            if holds == 0 {
                self.wrong(&path, "a quorum of none always holds");
            } else if holds > full {
                let message = format!("{holds} votes must hold, and {full} are full votes");
                let help = "a bonus vote counts when it holds, and must not be needed";
                self.wrong_with_help(&path, message, help);
            }
        }
    }

    /// Checks what comes after the steps.
    pub(super) fn ending(&mut self) {
        let runbook = &self.loaded.runbook;
        let root = Path::root();
        self.checks(&runbook.verification, Where::end(), &root.key("verification"));
        for (i, text) in runbook.follow_ups.iter().enumerate() {
            if template::holds_expression(text) {
                self.text(text, Where::planned(), &root.key("follow_ups").item(i));
            }
        }
        let changes = runbook.steps.iter().any(|step| {
            let action = step.action.as_deref().and_then(ActionName::parse);
            action.is_some_and(ActionName::changes)
        });
        if changes && runbook.verification.is_empty() {
            let help = "without checks at the end, nothing decides whether the service is restored";
            self.doubtful(&root.key("runbook"), "the runbook has no `verification`", help);
        }
    }
}
