//! Where a database keeps the application's experiments and their events: tables and columns by name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The experiments and their events; `docs/experiments.sql` is what is meant where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Experiments {
    pub table: ExperimentTable,
    pub events: EventTable,
}

/// The table with a row for each experiment; a column that is `null` the table does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ExperimentTable {
    /// Its name, `table` or `schema.table`
    pub name: String,
    pub id: String,
    /// The experiment's own name
    pub title: Option<String>,
    pub state: String,
    /// JSON
    pub config: Option<String>,
    /// 0 to 100
    pub progress: Option<String>,
    /// JSON
    pub result: Option<String>,
    pub error: Option<String>,
    pub started_at: Option<String>,
    pub ended_at: Option<String>,
    pub updated_at: Option<String>,
    /// Sequence of the last event the row knows of
    pub version: String,
}

impl Default for ExperimentTable {
    fn default() -> Self {
        let optional = |name: &str| Some(name.to_owned());
        Self {
            name: "experiments".to_owned(),
            id: "id".to_owned(),
            title: optional("name"),
            state: "state".to_owned(),
            config: optional("config"),
            progress: optional("progress"),
            result: optional("result"),
            error: optional("error"),
            started_at: optional("started_at"),
            ended_at: optional("ended_at"),
            updated_at: optional("updated_at"),
            version: "version".to_owned(),
        }
    }
}

impl ExperimentTable {
    /// Returns the columns with the keys that name them.
    pub(crate) fn columns(&self) -> [(&'static str, Option<&str>); 11] {
        [
            ("id", Some(&self.id)),
            ("title", self.title.as_deref()),
            ("state", Some(&self.state)),
            ("config", self.config.as_deref()),
            ("progress", self.progress.as_deref()),
            ("result", self.result.as_deref()),
            ("error", self.error.as_deref()),
            ("started_at", self.started_at.as_deref()),
            ("ended_at", self.ended_at.as_deref()),
            ("updated_at", self.updated_at.as_deref()),
            ("version", Some(&self.version)),
        ]
    }
}

/// The table with a row for each event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct EventTable {
    /// Its name, `table` or `schema.table`
    pub name: String,
    pub id: String,
    /// Whose event it is: an `id` of the table of experiments
    pub experiment: String,
    /// Counts the events of one experiment without gaps
    pub sequence: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// JSON
    pub payload: String,
    /// When it happened
    pub at: String,
    /// Sequence of an experiment's first event
    pub first_sequence: i64,
}

impl Default for EventTable {
    fn default() -> Self {
        Self {
            name: "experiment_events".to_owned(),
            id: "id".to_owned(),
            experiment: "experiment_id".to_owned(),
            sequence: "sequence".to_owned(),
            kind: "type".to_owned(),
            payload: "payload".to_owned(),
            at: "happened_at".to_owned(),
            first_sequence: 1,
        }
    }
}

impl EventTable {
    /// Returns the columns with the keys that name them.
    pub(crate) fn columns(&self) -> [(&'static str, &str); 6] {
        [
            ("id", &self.id),
            ("experiment", &self.experiment),
            ("sequence", &self.sequence),
            ("type", &self.kind),
            ("payload", &self.payload),
            ("at", &self.at),
        ]
    }
}
