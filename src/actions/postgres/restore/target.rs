//! The database a restore makes: whose it is stands in its comment, as `phoenix-dr TOKEN STATE DUMP`.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::MAINTENANCE;
use crate::actions::postgres::manifest::Manifest;
use crate::clients::Clients;
use crate::clients::postgres::{Session, connect_to, identifier, literal};
use crate::engine::ports::Call;
use crate::outcome::{ActionError, Effect, FailureClass};
use crate::runbook::catalogue::actions::PostgresRestore;

const MARK: &str = "phoenix-dr";

/// What there is under the name of the new database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    None,
    /// This step's, not restored in full
    Part,
    /// This step's, restored in full
    Whole {
        dump: String,
    },
    /// Somebody else's; `said` is what its comment says
    Foreign {
        said: String,
    },
}

impl State {
    /// Returns it as a before-image. What a step leaves half done is no state anybody wants back.
    pub(super) fn seen(&self) -> Value {
        match self {
            Self::None => json!({ "database": null }),
            Self::Part => json!({ "database": "part" }),
            Self::Whole { dump } => json!({ "database": dump }),
            Self::Foreign { .. } => json!({ "database": "foreign" }),
        }
    }
}

/// The new database.
pub(super) struct Target {
    instance: String,
    name: String,
    /// Name until it is marked; nobody else's
    draft: String,
    token: String,
}

impl Target {
    pub(super) fn of(call: &Call, with: &PostgresRestore) -> Self {
        let token = call.token();
        let digest = Sha256::digest(token.as_bytes());
        let short: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self {
            instance: with.instance.clone(),
            name: with.into.clone(),
            draft: format!("phoenix_dr_{short}"),
            token,
        }
    }

    async fn maintenance(&self, clients: &Clients) -> Result<Session, ActionError> {
        Ok(connect_to(clients, &self.instance, MAINTENANCE).await?)
    }

    /// Looks at what is there.
    pub(super) async fn state(&self, clients: &Clients) -> Result<State, ActionError> {
        let mut session = self.maintenance(clients).await?;
        self.found(clients, &mut session).await
    }

    async fn found(&self, clients: &Clients, session: &mut Session) -> Result<State, ActionError> {
        let what = format!("look for the database {} on {}", self.name, self.instance);
        let sql = "select coalesce(shobj_description(oid, 'pg_database'), '') from pg_database where datname = $1";
        let rows = session.read(clients, &what, sql, &[&self.name]).await?;
        let Some(row) = rows.first() else { return Ok(State::None) };
        let comment: String = row.try_get(0).map_err(|error| {
            ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
        })?;
        Ok(self.read(&comment))
    }

    fn read(&self, comment: &str) -> State {
        let ours =
            comment.strip_prefix(MARK).and_then(|rest| rest.trim().strip_prefix(&self.token));
        match ours.map(str::trim) {
            Some("restoring") => State::Part,
            Some(rest) if rest.starts_with("restored ") => {
                State::Whole { dump: rest["restored ".len()..].to_owned() }
            }
            Some(_) | None if comment.is_empty() => State::Foreign { said: String::new() },
            Some(_) | None => State::Foreign { said: format!(" ({comment})") },
        }
    }

    /// Makes an empty database of that name, in the place of what an earlier attempt left.
    pub(super) async fn make(
        &self,
        clients: &Clients,
        manifest: &Manifest,
    ) -> Result<(), ActionError> {
        let mut session = self.maintenance(clients).await?;
        match self.found(clients, &mut session).await? {
            State::None => {}
            // What is still running there, left by a process that died, is ended with it.
            State::Part | State::Whole { .. } => self.drop(clients, &session, &self.name).await?,
            State::Foreign { said } => {
                let message = format!("a database {} came up meanwhile{said}", self.name);
                return Err(ActionError::unchanged(FailureClass::Conflict, message));
            }
        }
        self.drop(clients, &session, &self.draft).await?;
        let what = format!("make the database {} on {}", self.name, self.instance);
        let create = format!(
            "create database {} template template0 encoding {} lc_collate {} lc_ctype {}",
            identifier(&self.draft),
            literal(&manifest.encoding),
            literal(&manifest.collate),
            literal(&manifest.ctype)
        );
        session.command(clients, &what, &create).await?;
        self.mark(clients, &session, &self.draft, "restoring").await?;
        let (draft, name) = (identifier(&self.draft), identifier(&self.name));
        let rename = format!("alter database {draft} rename to {name}");
        session.command(clients, &what, &rename).await.map_err(|error| ActionError {
            // The draft is there, whatever became of the name.
            effect: Effect::Applied,
            ..error
        })
    }

    async fn mark(
        &self,
        clients: &Clients,
        session: &Session,
        database: &str,
        state: &str,
    ) -> Result<(), ActionError> {
        let what = format!("mark the database {database} on {}", self.instance);
        let comment = literal(&format!("{MARK} {} {state}", self.token));
        let sql = format!("comment on database {} is {comment}", identifier(database));
        session.command(clients, &what, &sql).await
    }

    async fn drop(
        &self,
        clients: &Clients,
        session: &Session,
        database: &str,
    ) -> Result<(), ActionError> {
        let what = format!("drop the database {database} this step made on {}", self.instance);
        let sql = format!("drop database if exists {} with (force)", identifier(database));
        session.command(clients, &what, &sql).await
    }

    /// Gathers the planner's statistics.
    pub(super) async fn analyze(&self, clients: &Clients) -> Result<(), ActionError> {
        let session = connect_to(clients, &self.instance, &self.name).await?;
        session.command(clients, &format!("analyze {}", self.name), "analyze").await
    }

    /// Says in the database itself that it was restored in full.
    pub(super) async fn finish(
        &self,
        clients: &Clients,
        manifest: &Manifest,
    ) -> Result<(), ActionError> {
        let session = self.maintenance(clients).await?;
        let state = format!("restored {}", manifest.name);
        self.mark(clients, &session, &self.name, &state).await
    }

    /// Drops what this step made; what is somebody else's is not touched.
    pub(super) async fn remove(&self, clients: &Clients) -> Result<(), ActionError> {
        let mut session = self.maintenance(clients).await?;
        self.drop(clients, &session, &self.draft).await?;
        match self.found(clients, &mut session).await? {
            State::None => Ok(()),
            State::Part | State::Whole { .. } => self.drop(clients, &session, &self.name).await,
            State::Foreign { said } => {
                let message = format!(
                    "the database {} on {} is not the one this step made{said}",
                    self.name, self.instance
                );
                Err(ActionError::unchanged(FailureClass::Conflict, message)
                    .hint("find out whose it is; it was left as it is"))
            }
        }
    }
}
