//! Which parts of the estate an action or check works with, and what a runbook is told when one is missing.

use serde_json::{Map, Value};

use crate::estate::types::Estate;
use crate::runbook::catalogue::actions::ActionName;
use crate::runbook::catalogue::checks::CheckName;

/// A part of the estate that may be absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Database,
    Application,
    Pods,
    Experiments,
    Clusters,
    Dns,
    FailoverObject,
}

impl Section {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Application => "database.application",
            Self::Pods => "database.application.pods",
            Self::Experiments => "database.experiments",
            Self::Clusters => "clusters",
            Self::Dns => "dns",
            Self::FailoverObject => "dns.failover_object",
        }
    }

    pub(super) fn is_in(self, estate: &Estate) -> bool {
        let database = estate.database.as_ref();
        let dns = estate.dns.as_ref();
        match self {
            Self::Database => database.is_some(),
            Self::Application => database.is_some_and(|database| database.application.is_some()),
            // Without an application at all, that is what is missing.
            Self::Pods => database
                .and_then(|database| database.application.as_ref())
                .is_none_or(|application| application.pods.is_some()),
            // Without a database at all, that is what is missing.
            Self::Experiments => database.is_none_or(|database| database.experiments.is_some()),
            Self::Clusters => !estate.clusters.is_empty(),
            Self::Dns => dns.is_some(),
            Self::FailoverObject => dns.is_some_and(|dns| dns.failover_object.is_some()),
        }
    }
}

/// Returns the sections an action works with.
pub(super) const fn of_action(action: ActionName) -> &'static [Section] {
    match action {
        ActionName::CommandRun | ActionName::Manual | ActionName::Wait => &[],
        ActionName::DatabaseRepoint => {
            &[Section::Database, Section::Application, Section::Clusters]
        }
        ActionName::ExperimentsRebuild => &[Section::Database, Section::Experiments],
        ActionName::KubernetesApply
        | ActionName::KubernetesRestart
        | ActionName::KubernetesScale => &[Section::Clusters],
        ActionName::PostgresAnalyze
        | ActionName::PostgresAssess
        | ActionName::PostgresChooseRecoveryPoint
        | ActionName::PostgresCutOver
        | ActionName::PostgresDump
        | ActionName::PostgresEvidence
        | ActionName::PostgresFence
        | ActionName::PostgresProve
        | ActionName::PostgresRestore
        | ActionName::PostgresRestorePointInTime
        | ActionName::RdsChooseRecoveryPoint
        | ActionName::RdsCutOver
        | ActionName::RdsPromoteReplica
        | ActionName::RdsProtect
        | ActionName::RdsRecover
        | ActionName::RdsRestorePointInTime
        | ActionName::RdsRestoreSnapshot => &[Section::Database],
        ActionName::Route53Weights | ActionName::TrafficShift => &[Section::Dns],
        ActionName::S3FailoverObject => &[Section::Dns, Section::FailoverObject],
    }
}

/// Returns the sections a check works with.
pub(super) const fn of_check(check: CheckName) -> &'static [Section] {
    match check {
        CheckName::AwsHealth
        | CheckName::Command
        | CheckName::Dns
        | CheckName::Http
        | CheckName::Quorum
        | CheckName::RdsStatus
        | CheckName::S3Object
        | CheckName::Tcp => &[],
        CheckName::KubernetesPods | CheckName::KubernetesRollout => &[Section::Clusters],
        CheckName::PostgresConnections => {
            &[Section::Database, Section::Application, Section::Pods, Section::Clusters]
        }
        CheckName::PostgresEssentials | CheckName::PostgresQuery => &[Section::Database],
        CheckName::Route53Answer => &[Section::Dns],
    }
}

/// Returns how a part of the estate is added, for a name that is missing, e.g. `estate.database.replica`.
pub(crate) fn how_to_add(name: &str, estate: &Estate) -> String {
    let file = file_of(estate);
    let name = name.strip_prefix("estate.").unwrap_or(name);
    match name.rsplit_once('.') {
        None => {
            format!("add a `{name}:` section to {file}; `phoenix-dr init` writes one to copy from")
        }
        Some((above, key)) => {
            let above = above.replace('.', ": ");
            format!(
                "add `{key}:` under `{above}:` in {file}; `phoenix-dr init` writes one to copy from"
            )
        }
    }
}

/// Returns the file an estate was read from, as a person knows it.
pub(super) fn file_of(estate: &Estate) -> &str {
    estate.file.as_deref().unwrap_or("the estate file")
}

/// Returns the regions arguments name, with their keys.
pub(super) fn regions(with: &Map<String, Value>) -> impl Iterator<Item = (&'static str, &str)> {
    ["region", "to", "from"].into_iter().filter_map(|key| Some((key, with.get(key)?.as_str()?)))
}
