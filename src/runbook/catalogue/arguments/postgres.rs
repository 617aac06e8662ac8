//! Arguments of the actions on PostgreSQL databases.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::runbook::catalogue::which::Tables;
use crate::span::Span;

/// Arguments of `postgres.analyze`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostgresAnalyze {
    /// Instance the restored database is on
    pub instance: String,
    /// Region it is in
    pub region: String,
    /// The restored database
    pub database: String,
    /// Parallel sessions
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 32))]
    pub jobs: u8,
}

/// Arguments of `postgres.assess`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostgresAssess {
    /// Instance to assess
    pub instance: String,
    /// Region it is in
    pub region: String,
    /// Database; the estate's own when left out
    #[serde(default)]
    pub database: Option<String>,
    /// How much is read
    #[serde(default)]
    pub tier: AssessTier,
    /// Schemas to read beside the catalogs; all when left out
    #[serde(default)]
    pub schemas: Option<Vec<String>>,
    /// Time of the quick tier; when left out a twentieth of the estate's objective for P0, 1m at least
    #[serde(default)]
    pub budget: Option<Span>,
    /// Sessions side by side, 1 to 16; 4 when left out
    #[serde(default)]
    pub jobs: Option<u8>,
    /// It is a restored database that takes over: what of it was not read stays open until it was
    #[serde(default)]
    pub proves: bool,
    /// The deep tier compares every table with its indexes, both ways; as `proves` when left out
    #[serde(default)]
    pub compare_indexes: Option<bool>,
    /// Name earlier steps knew the instance by, where it has another one by now
    #[serde(default)]
    pub formerly: Option<String>,
}

impl PostgresAssess {
    /// Says whether every table is compared with its indexes.
    pub(crate) fn compares(&self) -> bool {
        self.tier == AssessTier::Deep && self.compare_indexes.unwrap_or(self.proves)
    }
}

/// How much of a database is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AssessTier {
    /// The catalogs, then what is used most, until the budget is spent
    #[default]
    Quick,
    /// All of it
    Deep,
}

/// Arguments of `postgres.choose_recovery_point`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostgresChooseRecoveryPoint {
    /// Region RDS is asked in, where the database is there; all of the estate when left out
    #[serde(default)]
    pub region: Option<String>,
    /// One to take without asking, as `phoenix-dr recovery-points` names it
    #[serde(default)]
    pub choose: Option<String>,
    /// When the damage began: an instant, `02:05` (UTC), or `15m` for so long ago; now when left out
    #[serde(default)]
    pub incident: Option<String>,
    /// Where `incident` is empty: nothing is restored from behind this instant, and that nobody said is told of each
    #[serde(default)]
    pub latest: Option<String>,
    /// How far a base backup is taken, in place of the incident: `name POINT` (a named restore point), `lsn LSN` or
    /// `time INSTANT`. Nothing else can be chosen then
    #[serde(default)]
    pub target: Option<String>,
    /// Offers also what no restore ever proved, and what must be expected to carry the damage
    #[serde(default)]
    pub unverified: bool,
}

/// Arguments of `postgres.cut_over`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostgresCutOver {
    /// Instance both databases are on
    pub instance: String,
    /// Region it is in
    pub region: String,
    /// The restored database, which takes the name of the estate's
    pub restored: String,
}

/// Arguments of `postgres.fence`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostgresFence {
    /// Instance to fence
    pub instance: String,
    /// Region it is in
    pub region: String,
    /// Who is kept out
    #[serde(default)]
    pub scope: FenceScope,
}

/// Who a fence keeps out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FenceScope {
    /// The application's roles, from the whole server: they lose their login
    #[default]
    Roles,
    /// Everybody but the estate's user, from the estate's database: the rest of the server goes on
    Database,
}

/// Arguments of `postgres.dump`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostgresDump {
    /// Instance to dump from; a replica will do
    pub instance: String,
    /// Region it is in
    pub region: String,
    /// Database; the estate's own when left out
    #[serde(default)]
    pub database: Option<String>,
    /// Name of the dump; made of the run and the step when left out
    #[serde(default)]
    pub name: Option<String>,
    /// Parallel sessions of the dump, and as many that read beside it
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 32))]
    pub jobs: u8,
}

/// Arguments of `postgres.evidence`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostgresEvidence {
    /// Instance whose server is copied, or on RDS is kept as a snapshot
    pub instance: String,
    /// Region it is in
    pub region: String,
    /// Name of the copy; made of the run and the step when left out
    #[serde(default)]
    pub name: Option<String>,
}

/// Arguments of `postgres.restore`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostgresRestore {
    /// Instance to restore on
    pub instance: String,
    /// Region it is in
    pub region: String,
    /// Name of the dump; the newest of the estate's database when left out
    #[serde(default)]
    pub dump: Option<String>,
    /// Name of the new database; nothing is restored over one that is there
    pub into: String,
    /// Tables whose rows are restored; the new database then has no other rows and no foreign keys, and cannot take over
    #[serde(default, skip_serializing_if = "Tables::is_all")]
    pub tables: Tables,
    /// Parallel sessions
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 32))]
    pub jobs: u8,
    /// Gather the planner's statistics; false where a step of its own does, beside the proof
    #[serde(default = "yes")]
    pub analyze: bool,
}

const fn yes() -> bool {
    true
}

/// Arguments of `postgres.restore_point_in_time`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostgresRestorePointInTime {
    /// Name of the base backup; the newest from which the target can be reached when left out
    #[serde(default)]
    pub backup: Option<String>,
    /// How far: `latest`, `time INSTANT`, `lsn LSN` or `name NAME`; `latest` when left out
    #[serde(default)]
    pub target: Option<String>,
}

/// Arguments of `postgres.prove`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostgresProve {
    /// Instance the restored database is on
    pub instance: String,
    /// Region it is in
    pub region: String,
    /// The restored database
    pub database: String,
    /// Name of the dump it was restored from
    pub dump: String,
    /// Tables whose rows alone it holds, where it was restored so; nothing else is compared then
    #[serde(default, skip_serializing_if = "Tables::is_all")]
    pub tables: Tables,
    /// Parallel sessions
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 32))]
    pub jobs: u8,
}

const fn two() -> u8 {
    2
}
