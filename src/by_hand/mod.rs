//! What a person types in place of an action or a check: shown while a run asks, and written on the sheet for the day
//! this program cannot run.
//!
//! Pure: made of the estate and the arguments alone. A word in capitals stands for what is known only on the day.

pub(crate) mod checks;
pub(crate) mod database;
pub(crate) mod dumps;
pub(crate) mod experiments;
pub(crate) mod kubernetes;
pub(crate) mod rds;
pub(crate) mod traffic;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use crate::estate::types::Estate;
use crate::runbook::catalogue::actions::{ActionName, FenceScope, RecoveryMethod, RecoveryPoint};
use crate::shell;
use crate::span::Span;

/// Arguments as they stand in a plan.
#[derive(Clone, Copy)]
struct With<'a>(&'a Map<String, Value>);

impl<'a> With<'a> {
    fn maybe(self, name: &str) -> Option<&'a str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// Returns a text; a word in capitals where it is not there.
    fn text(self, name: &str) -> String {
        self.maybe(name).map_or_else(|| name.to_uppercase(), str::to_owned)
    }

    fn texts(self, name: &str) -> Vec<String> {
        match self.0.get(name) {
            Some(Value::Array(items)) => {
                items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            Some(Value::String(text)) => vec![text.clone()],
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {
                Vec::new()
            }
        }
    }
}

/// Returns the commands that do what an action does.
pub(crate) fn action(
    estate: &Estate,
    action: ActionName,
    with: &Map<String, Value>,
) -> Vec<String> {
    let with = With(with);
    let region = with.text("region");
    match action {
        ActionName::CommandRun => program(with, "argv"),
        ActionName::DatabaseRepoint => kubernetes::repoint(estate, &region, &with.text("address")),
        ActionName::ExperimentsRebuild => experiments::rebuild(estate, with.0),
        ActionName::KubernetesApply => kubernetes::apply_file(estate, &region, &with.text("file")),
        ActionName::KubernetesRestart => {
            kubernetes::restart(&kubernetes::kubectl(estate, &region), &with.texts("workloads"))
        }
        ActionName::KubernetesScale => kubernetes::scale_all(estate, &region, with.0),
        ActionName::Manual => manual(with),
        ActionName::PostgresAnalyze => vec![dumps::analyze(estate, with, "database")],
        ActionName::PostgresAssess => assess(estate, with),
        ActionName::PostgresChooseRecoveryPoint => dumps::points(estate, with),
        ActionName::PostgresCutOver => {
            database::cut_over(estate, &with.text("instance"), &with.text("restored"), None)
        }
        ActionName::PostgresDump => dumps::dump(estate, with),
        ActionName::PostgresEvidence => dumps::evidence(estate, with),
        ActionName::PostgresProve => dumps::prove(estate, with),
        ActionName::PostgresRestore => dumps::restore(estate, with),
        ActionName::PostgresRestorePointInTime => {
            let backup = with.maybe("backup").unwrap_or("NAME");
            dumps::point_in_time(estate, (backup, &[]), with.maybe("target").unwrap_or("latest"))
        }
        ActionName::PostgresFence => {
            database::fence(estate, &with.text("instance"), &region, scope(with))
        }
        ActionName::RdsChooseRecoveryPoint => database::points(estate, &region),
        ActionName::RdsCutOver => renamed(with, &region),
        ActionName::RdsPromoteReplica => database::promote(estate, &region, &with.text("replica")),
        ActionName::RdsProtect => database::protect(estate, &region, &with.text("instance")),
        ActionName::RdsRecover => recover(estate, with),
        ActionName::RdsRestorePointInTime => {
            let target = with.maybe("target").map(str::to_owned);
            database::restore_backup(
                estate,
                &region,
                with.maybe("backup"),
                target,
                with.maybe("time"),
            )
        }
        ActionName::RdsRestoreSnapshot => {
            let target = with.maybe("target").map(str::to_owned);
            database::restore_snapshot(estate, &region, with.maybe("snapshot"), target)
        }
        ActionName::Route53Weights => traffic::records(estate, &with.text("to")),
        ActionName::S3FailoverObject => traffic::object(estate, &with.text("to")),
        ActionName::TrafficShift => traffic::shift(estate, &with.text("to")),
        ActionName::Wait => {
            let length = with.text("for");
            let seconds = length.parse::<Span>().map(|span| span.duration().as_secs().to_string());
            vec![format!("sleep {}", seconds.unwrap_or(length))]
        }
    }
}

/// Returns the commands that take an action back; none where nothing can.
pub(crate) fn undo(estate: &Estate, action: ActionName, with: &Map<String, Value>) -> Vec<String> {
    let with = With(with);
    let region = with.text("region");
    match action {
        ActionName::CommandRun => program(with, "undo"),
        ActionName::DatabaseRepoint => kubernetes::point_back(estate, &region),
        ActionName::ExperimentsRebuild => experiments::restore(estate, with.0),
        ActionName::KubernetesApply => kubernetes::unapply(estate, &region),
        ActionName::KubernetesScale => kubernetes::unscale(estate, &region, with.0),
        ActionName::PostgresCutOver => {
            database::cut_back(estate, &with.text("instance"), &with.text("restored"))
        }
        ActionName::PostgresRestore => dumps::remove(estate, with),
        ActionName::PostgresRestorePointInTime => dumps::remove_server(estate),
        ActionName::PostgresFence => database::unfence(estate, &with.text("instance"), scope(with)),
        ActionName::RdsCutOver => named_back(with, &region),
        ActionName::RdsProtect => database::unprotect(&region, &with.text("instance")),
        ActionName::RdsRecover => match point(with) {
            Some(RecoveryPoint { method: RecoveryMethod::Promote, .. }) => Vec::new(),
            Some(point) => database::remove(&region, &point.target),
            None => database::remove_recovered(estate, &region),
        },
        ActionName::RdsRestorePointInTime | ActionName::RdsRestoreSnapshot => {
            match with.maybe("target") {
                Some(target) => database::remove(&region, target),
                None => database::remove_recovered(estate, &region),
            }
        }
        ActionName::Route53Weights => traffic::records_back(estate),
        ActionName::S3FailoverObject => traffic::object(estate, &with.text("from")),
        ActionName::TrafficShift => traffic::shift_back(estate, &with.text("from")),
        ActionName::KubernetesRestart
        | ActionName::Manual
        | ActionName::PostgresAnalyze
        | ActionName::PostgresAssess
        | ActionName::PostgresChooseRecoveryPoint
        | ActionName::PostgresDump
        | ActionName::PostgresEvidence
        | ActionName::PostgresProve
        | ActionName::RdsChooseRecoveryPoint
        | ActionName::RdsPromoteReplica
        | ActionName::Wait => Vec::new(),
    }
}

/// Returns the commands by which a restored instance takes the damaged one's name.
fn renamed(with: With<'_>, region: &str) -> Vec<String> {
    let (name, restored) = (with.text("instance"), with.text("restored"));
    let kept = format!("{name}-damaged-DATE");
    rds::renamed(region, &[(&name, &kept), (&restored, &name)])
}

/// Returns the commands that give both their names back, while nothing was written to the restored one.
fn named_back(with: With<'_>, region: &str) -> Vec<String> {
    let (name, restored) = (with.text("instance"), with.text("restored"));
    let kept = format!("{name}-damaged-DATE");
    rds::renamed(region, &[(&name, &restored), (&kept, &name)])
}

fn scope(with: With<'_>) -> FenceScope {
    match with.maybe("scope") {
        Some("database") => FenceScope::Database,
        Some(_) | None => FenceScope::Roles,
    }
}

/// Returns the commands that bring a database up in one way.
pub(crate) fn recovery(estate: &Estate, region: &str, method: RecoveryMethod) -> Vec<String> {
    match method {
        RecoveryMethod::Promote => {
            let replica = estate.database.as_ref().and_then(|found| found.replica.as_ref());
            let replica = replica.map_or("REPLICA", |replica| replica.id.as_str());
            database::promote(estate, region, replica)
        }
        RecoveryMethod::RestorePointInTime => {
            database::restore_backup(estate, region, None, None, None)
        }
        RecoveryMethod::RestoreSnapshot => database::restore_snapshot(estate, region, None, None),
    }
}

/// Returns the commands that bring a database up from a point that was chosen; `goal` as `rds.recover` is given it.
pub(crate) fn recovery_from(
    estate: &Estate,
    region: &str,
    point: &RecoveryPoint,
    goal: &str,
) -> Vec<String> {
    let time = goal.strip_prefix("time ");
    let (source, target) = (point.source.as_str(), Some(point.target.clone()));
    match point.method {
        RecoveryMethod::Promote => database::promote(estate, region, source),
        RecoveryMethod::RestorePointInTime => {
            database::restore_backup(estate, region, Some(source), target, time)
        }
        RecoveryMethod::RestoreSnapshot => {
            database::restore_snapshot(estate, region, Some(source), target)
        }
    }
}

/// Returns what taking a way depends on, as a person says it.
pub(crate) const fn chosen(method: RecoveryMethod) -> &'static str {
    match method {
        RecoveryMethod::Promote => "the replica was chosen",
        RecoveryMethod::RestorePointInTime => "the automated backup was chosen",
        RecoveryMethod::RestoreSnapshot => "a snapshot was chosen",
    }
}

fn point(with: With<'_>) -> Option<RecoveryPoint> {
    serde_json::from_value(with.0.get("point")?.clone()).ok()
}

fn recover(estate: &Estate, with: With<'_>) -> Vec<String> {
    let region = with.text("region");
    match point(with) {
        Some(point) => {
            recovery_from(estate, &region, &point, with.maybe("target").unwrap_or_default())
        }
        None => RecoveryMethod::ALL
            .into_iter()
            .filter(|method| possible(estate, *method))
            .flat_map(|method| {
                let head = format!("# if {}:", chosen(method));
                std::iter::once(head).chain(recovery(estate, &region, method))
            })
            .collect(),
    }
}

/// Says whether the estate has what a way needs.
pub(crate) fn possible(estate: &Estate, method: RecoveryMethod) -> bool {
    let replica = || estate.database.as_ref().is_some_and(|found| found.replica.is_some());
    method != RecoveryMethod::Promote || replica()
}

fn program(with: With<'_>, name: &str) -> Vec<String> {
    let argv = with.texts(name);
    if argv.is_empty() {
        return Vec::new();
    }
    let env = with.0.get("env").and_then(Value::as_object);
    let set: Vec<String> = env
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={} ", variable(value)))
        .collect();
    let line = format!("{}{}", set.concat(), shell::line(&argv));
    match with.maybe("cwd") {
        Some(cwd) => vec![format!("cd {}", shell::word(cwd)), line],
        None => vec![line],
    }
}

/// Returns a variable's value as a shell gives it; a secret is read where it is.
fn variable(value: &Value) -> String {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    if let Some(name) = text("env") {
        return format!("\"${name}\"");
    }
    if let Some(file) = text("file") {
        return format!("\"$(cat {})\"", shell::word(file));
    }
    if let Some(argv) = value.get("command").and_then(Value::as_array) {
        let argv: Vec<String> = argv.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        return format!("\"$({})\"", shell::line(&argv));
    }
    shell::word(value.as_str().unwrap_or_default())
}

fn assess(estate: &Estate, with: With<'_>) -> Vec<String> {
    let own = estate.database.as_ref().map(|database| database.name.as_str());
    let name = with.maybe("database").or(own).unwrap_or("DATABASE");
    let jobs =
        with.0.get("jobs").and_then(Value::as_u64).and_then(|jobs| usize::try_from(jobs).ok());
    let schemas = with.texts("schemas");
    database::assess(estate, &with.text("instance"), name, &schemas, jobs.unwrap_or(4))
}

fn manual(with: With<'_>) -> Vec<String> {
    let mut lines = vec![format!("# {}", with.text("say"))];
    if let Some(message) = with.maybe("message") {
        lines.push("# The message to paste:".to_owned());
        lines.extend(message.lines().map(|line| format!("#   {line}")));
    }
    if let Some(evidence) = with.maybe("evidence") {
        lines.push(format!("# Write down: {evidence}"));
    }
    lines
}
