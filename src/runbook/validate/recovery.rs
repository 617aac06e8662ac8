//! Rules about recovered databases, and whether the objectives can be reached at all.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::Checker;
use crate::estate::types::Priority;
use crate::runbook::catalogue::actions::ActionName;
use crate::runbook::expression::{Access, template_cached};
use crate::runbook::load::Loaded;
use crate::runbook::path::Path;
use crate::runbook::problem::Problem;
use crate::runbook::schema::{Check, Verify};
use crate::span::Span;

/// Actions after which the database is another instance than before.
const fn recovers(action: ActionName) -> bool {
    matches!(
        action,
        ActionName::RdsPromoteReplica
            | ActionName::RdsRecover
            | ActionName::RdsRestorePointInTime
            | ActionName::RdsRestoreSnapshot
    )
}

impl Checker<'_> {
    /// Reports checks and steps that come after a recovery and still look at the lost instance.
    pub(super) fn old_connections(&mut self) {
        let steps = &self.names.runbook.steps;
        // Some recovery upstream of each step, its own included.
        let mut recovery: HashMap<usize, usize> = HashMap::new();
        for step in &self.graph.order {
            let action = steps[*step].action.as_deref().and_then(ActionName::parse);
            let own = action.is_some_and(recovers).then_some(*step);
            let above =
                self.graph.needs[*step].iter().find_map(|needed| recovery.get(needed).copied());
            if let Some(found) = own.or(above) {
                recovery.insert(*step, found);
            }
        }
        for (i, step) in steps.iter().enumerate() {
            let path = Loaded::step_path(i);
            let upstream = self.graph.needs[i].iter().find_map(|needed| recovery.get(needed));
            if let Some(by) = upstream.copied() {
                let checks = step.checks.as_deref().unwrap_or_default();
                self.old_checks(checks, by, &path.key("checks"));
                let action = step.action.as_deref().and_then(ActionName::parse);
                if matches!(action, Some(ActionName::DatabaseRepoint | ActionName::RdsProtect)) {
                    self.old_names(&step.with, by, &path.key("with"));
                }
            }
            if let (Some(by), Some(Verify::Checks(checks))) = (recovery.get(&i), &step.verify) {
                self.old_checks(checks, *by, &path.key("verify"));
            }
        }
        if let Some(by) = recovery.values().min().copied() {
            let verification = &self.loaded.runbook.verification;
            self.old_checks(verification, by, &Path::root().key("verification"));
        }
    }

    fn old_checks(&mut self, checks: &[Check], by: usize, path: &Path) {
        for (i, check) in checks.iter().enumerate() {
            if check.check.starts_with("postgres.") {
                self.old_names(&check.with, by, &path.item(i).key("with"));
            }
        }
    }

    fn old_names(&mut self, with: &Map<String, Value>, by: usize, path: &Path) {
        for (key, value) in with {
            // Where the lost database is meant: to tell the recovered one from it, and to say what becomes of it.
            if key == "other_than" || key == "damaged" {
                continue;
            }
            let Value::String(text) = value else { continue };
            let Ok(template) = template_cached(text) else { continue };
            let mut old = None;
            for (expression, _) in template.expressions() {
                let found = expression.references.iter().find(|reference| {
                    let field = |at: usize| match reference.path.get(at) {
                        Some(Access::Field(name)) => Some(name.as_str()),
                        Some(Access::Computed) | None => None,
                    };
                    let lost = match field(1) {
                        Some("primary") => true,
                        // After a promotion the replica is the database.
                        Some("replica") => !self.promotes(by),
                        _ => false,
                    };
                    reference.root == "estate" && field(0) == Some("database") && lost
                });
                old = old.or(found.map(|found| (expression.text.clone(), found.range.clone())));
            }
            if let Some((text, range)) = old {
                let recovery = &self.names.runbook.steps[by].id;
                let range = self.loaded.place_in(&path.key(key), &text, Some(&range));
                let output = if key == "address" { "address" } else { "instance" };
                let also = self.id_range(by);
                self.report(
                    Problem::at(
                        range,
                        format!("the database is another one after step `{recovery}`"),
                    )
                    .label("this is the lost one")
                    .also(also, "recovers it")
                    .help(format!("use ${{{{ steps.{recovery}.outputs.{output} }}}}")),
                );
            }
        }
    }

    fn promotes(&self, step: usize) -> bool {
        let action = self.names.runbook.steps[step].action.as_deref().and_then(ActionName::parse);
        action == Some(ActionName::RdsPromoteReplica)
    }

    /// Warns where even the best case takes longer than the objective.
    pub(super) fn objectives_in_reach(&mut self) {
        let runbook = &self.loaded.runbook;
        let Some(goals) = &runbook.objectives else { return };
        // Steps that may be skipped take no time in the best case.
        let lengths: Vec<Duration> = runbook
            .steps
            .iter()
            .map(|step| match (&step.when, step.usually) {
                (None, Some(usually)) => usually.duration(),
                (Some(_), _) | (None, None) => Duration::ZERO,
            })
            .collect();
        let urgent = runbook.steps.iter().any(|step| step.priority == Some(Priority::P0));
        let finish = self.graph.finish(&lengths);
        let last = (0..runbook.steps.len())
            .filter(|i| !urgent || runbook.steps[*i].priority == Some(Priority::P0))
            .max_by_key(|i| finish[*i]);
        let Some(last) = last.filter(|last| finish[*last] > goals.rto.duration()) else { return };
        let way = self.graph.way_to(last, &lengths);
        let ids: Vec<&str> = way.iter().map(|step| runbook.steps[*step].id.as_str()).collect();
        let message = format!(
            "even the shortest way takes {}, and the objective is {}",
            Span(finish[last]),
            goals.rto
        );
        let help = format!("the longest chain: {}", ids.join(" → "));
        self.doubtful(&Path::root().keys(&["objectives", "rto"]), message, help);
    }
}
