//! The database a restore makes. Until it is whole it has a name nobody uses, so that what bears the wanted name is whole.
//!
//! Whose a database is, and of which dump, stands in its comment: `phoenix-dr TOKEN DUMP TAKEN`. Each attempt has a name of
//! its own: what a dead process left running cannot write into this one's.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::MAINTENANCE;
use crate::actions::postgres::manifest::Manifest;
use crate::clients::Clients;
use crate::clients::postgres::{Session, connect_to, database, identifier, literal};
use crate::engine::ports::Call;
use crate::outcome::{ActionError, Effect, FailureClass};
use crate::runbook::catalogue::actions::PostgresRestore;

const MARK: &str = "phoenix-dr";

/// Which dump a database is of, as its own comment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Of {
    pub dump: String,
    /// Instant of the dump's snapshot
    pub taken: String,
}

/// What there is of the new database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    None,
    /// Attempts of this step that did not come to their end; of which dump, as far as that was written
    Part(Option<Of>),
    /// This step's, restored in full
    Whole(Of),
    /// Somebody else's; `said` is what its comment says
    Foreign {
        said: String,
    },
}

impl State {
    /// Returns it as a before-image: of one that was begun, a part is as before and a part is this step's.
    pub(super) fn seen(&self) -> Value {
        match self {
            Self::None => json!({ "begun": null, "whole": null }),
            Self::Part(_) => json!({ "begun": true, "whole": null }),
            Self::Whole(of) => Self::whole(&of.dump),
            Self::Foreign { .. } => json!({ "begun": "by somebody else", "whole": null }),
        }
    }

    /// Returns the state that is wanted.
    pub(super) fn whole(dump: &str) -> Value {
        json!({ "begun": true, "whole": dump })
    }
}

/// The new database.
pub(super) struct Target {
    instance: String,
    name: String,
    /// How the names of this step's attempts begin
    drafts: String,
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
            drafts: format!("phoenix_dr_{short}_"),
            token,
        }
    }

    async fn maintenance(&self, clients: &Clients) -> Result<Session, ActionError> {
        Ok(connect_to(clients, &self.instance, MAINTENANCE).await?)
    }

    /// Looks at what is there.
    pub(super) async fn state(&self, clients: &Clients) -> Result<State, ActionError> {
        let mut session = self.maintenance(clients).await?;
        if let Some(comment) = self.comment(clients, &mut session, &self.name).await? {
            return Ok(match self.read(&comment) {
                Some(of) => State::Whole(of),
                None if comment.is_empty() => State::Foreign { said: String::new() },
                None => State::Foreign { said: format!(" ({comment})") },
            });
        }
        let mut found = None;
        for draft in self.left(clients, &mut session).await? {
            let comment = self.comment(clients, &mut session, &draft).await?;
            found = Some(comment.and_then(|comment| self.read(&comment)));
        }
        Ok(found.map_or(State::None, State::Part))
    }

    /// Returns a database's comment; `None` where there is no such database.
    async fn comment(
        &self,
        clients: &Clients,
        session: &mut Session,
        name: &str,
    ) -> Result<Option<String>, ActionError> {
        let what = format!("look for the database {name} on {}", self.instance);
        let sql = "select coalesce(shobj_description(oid, 'pg_database'), '') from pg_database where datname = $1";
        let rows = session.read(clients, &what, sql, &[&name]).await?;
        let comment = rows.first().map(|row| row.try_get(0)).transpose();
        comment.map_err(|error| {
            ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
        })
    }

    /// Returns the databases attempts of this step left.
    async fn left(
        &self,
        clients: &Clients,
        session: &mut Session,
    ) -> Result<Vec<String>, ActionError> {
        let what = format!("look for what this step began on {}", self.instance);
        let sql =
            "select datname::text from pg_database where starts_with(datname::text, $1) order by 1";
        let rows = session.read(clients, &what, sql, &[&self.drafts]).await?;
        Ok(rows.iter().filter_map(|row| row.try_get(0).ok()).collect())
    }

    fn read(&self, comment: &str) -> Option<Of> {
        let mut words = comment.split(' ');
        let ours = words.next() == Some(MARK) && words.next() == Some(self.token.as_str());
        let (dump, taken) = (words.next()?, words.next()?);
        ours.then(|| Of { dump: dump.to_owned(), taken: taken.to_owned() })
    }

    /// Makes an empty database that nobody but its owner may enter, in the place of what earlier attempts left; returns its
    /// name.
    pub(super) async fn make(
        &self,
        clients: &Clients,
        manifest: &Manifest,
        major: u32,
    ) -> Result<String, ActionError> {
        let locale = manifest.locale.clause(major)?;
        let mut session = self.maintenance(clients).await?;
        if self.comment(clients, &mut session, &self.name).await?.is_some() {
            let message = format!("a database {} came up meanwhile", self.name);
            return Err(ActionError::unchanged(FailureClass::Conflict, message));
        }
        self.clear(clients, &mut session).await?;
        let draft = format!("{}{}", self.drafts, clients.clock.now().as_microsecond());
        let what = format!("make a database on {}", self.instance);
        let name = identifier(&draft);
        let create = format!("create database {name} template template0 {locale}");
        session.command(clients, &what, &create).await?;
        let (dump, taken) = (&manifest.name, manifest.taken);
        let comment = literal(&format!("{MARK} {} {dump} {taken}", self.token));
        for statement in [
            format!("comment on database {name} is {comment}"),
            format!("revoke connect, temporary on database {name} from public"),
        ] {
            session.command(clients, &what, &statement).await.map_err(begun)?;
        }
        Ok(draft)
    }

    /// Gathers the planner's statistics; what keeps it from that is no reason to restore anew.
    pub(super) async fn analyze(
        &self,
        clients: &Clients,
        draft: &str,
    ) -> Result<Option<String>, ActionError> {
        let session = connect_to(clients, &self.instance, draft).await?;
        let done = session.command(clients, "gather statistics", "analyze").await;
        Ok(done.err().map(|error| format!("not done: analyze: {}", error.message)))
    }

    /// Gives it what the dumped database had besides its objects, and then its name; returns what could not be given.
    pub(super) async fn finish(
        &self,
        clients: &Clients,
        draft: &str,
        manifest: &Manifest,
    ) -> Result<Vec<String>, ActionError> {
        let inside = connect_to(clients, &self.instance, draft).await?;
        let user = &database(clients)?.connection.user;
        let notes = manifest.properties.give(clients, &inside, draft, user).await;
        // Nobody may be in it when it gets another name, this program included.
        drop(inside);
        let session = self.maintenance(clients).await?;
        let what = format!("give the restored database its name on {}", self.instance);
        let (old, new) = (identifier(draft), identifier(&self.name));
        let rename = format!("alter database {old} rename to {new}");
        session.command(clients, &what, &rename).await?;
        Ok(notes)
    }

    /// Drops what attempts of this step left, with whatever still runs in it.
    async fn clear(&self, clients: &Clients, session: &mut Session) -> Result<(), ActionError> {
        for draft in self.left(clients, session).await? {
            self.drop(clients, session, &draft).await?;
        }
        Ok(())
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

    /// Drops what this step made; what is somebody else's is not touched.
    pub(super) async fn remove(&self, clients: &Clients) -> Result<(), ActionError> {
        let mut session = self.maintenance(clients).await?;
        self.clear(clients, &mut session).await?;
        match self.comment(clients, &mut session, &self.name).await? {
            None => Ok(()),
            Some(comment) if self.read(&comment).is_some() => {
                self.drop(clients, &session, &self.name).await
            }
            Some(comment) => {
                let message = format!(
                    "the database {} on {} is not the one this step made ({comment})",
                    self.name, self.instance
                );
                Err(ActionError::unchanged(FailureClass::Conflict, message)
                    .hint("find out whose it is; it was left as it is"))
            }
        }
    }
}

/// From here on there is a database that was not there before.
pub(super) fn begun(error: ActionError) -> ActionError {
    ActionError { effect: Effect::Applied, ..error }
}
