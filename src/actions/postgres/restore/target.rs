//! The database a restore makes. Until it is whole it has a name nobody uses, so that what bears the wanted name is whole.
//!
//! Whose a database is, and of which dump, stands in its comment: `phoenix-dr TOKEN DUMP TAKEN`, and once it is whole how
//! many rows the restore has written, so that what others write after it is seen, how long it took, and what it leaves open.
//! The last of it comes with the name, in one transaction: what bears the name owes nothing that is not said there. Each
//! attempt has a name of its own: what a dead process left running cannot write into this one's.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{MAINTENANCE, owed};
use crate::actions::postgres::manifest::Manifest;
use crate::clients::Clients;
use crate::clients::postgres::marks::{Comment, Note, noted};
use crate::clients::postgres::{Session, connect_to, database, identifier, literal, usage_of};
use crate::clock::since;
use crate::engine::ports::Call;
use crate::outcome::{ActionError, Effect, FailureClass, Obligation, WARNS};
use crate::runbook::catalogue::actions::PostgresRestore;
use crate::span::Span;

const MARK: &str = "phoenix-dr";
/// Words of a comment before the one that says what is left open.
const WORDS: usize = 6;

/// SQLSTATE of a database that somebody is in.
const IN_USE: &str = "(55006)";
/// How often a name is given, and what is waited between: PostgreSQL itself waits five seconds for sessions to end.
const RENAMES: u32 = 24;
const BETWEEN_RENAMES: Duration = Duration::from_secs(5);
/// How often it is looked whether the restore's own sessions have ended, and what is waited between.
const LOOKS: u32 = 50;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Which dump a database is of, as its own comment says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Of {
    pub dump: String,
    /// Instant of the dump's snapshot
    pub taken: String,
    /// Rows that were written in it by the time it got its name
    pub written: Option<i64>,
    /// What its restore left open
    pub owed: Vec<Obligation>,
}

/// What there is of the new database.
#[derive(Debug, Clone, PartialEq)]
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
    /// Tables whose rows alone it gets
    part: Vec<String>,
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
            part: with.tables.names().into_iter().map(str::to_owned).collect(),
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
                None => State::Foreign { said: format!(" ({})", brief(&comment)) },
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
        let written = words.next().and_then(|count| count.parse().ok());
        // Behind how long it took; where nothing is open there is no such word.
        let owed = words.nth(1).map(owed::read).unwrap_or_default();
        ours.then(|| Of { dump: dump.to_owned(), taken: taken.to_owned(), written, owed })
    }

    /// Returns what the comment says, `more` behind what is known from the beginning.
    fn comment_of(&self, manifest: &Manifest, more: &str) -> String {
        let words = format!("{MARK} {} {} {}{more}", self.token, manifest.name, manifest.taken);
        noted(&words, &Note { part: self.part.clone(), ..Note::default() })
    }

    /// Makes an empty database that nobody but its owner may enter, in the place of what earlier attempts left; returns its
    /// name, and what of them is left.
    pub(super) async fn make(
        &self,
        clients: &Clients,
        manifest: &Manifest,
        major: u32,
    ) -> Result<(String, Vec<String>), ActionError> {
        let locale = manifest.locale.clause(major)?;
        let mut session = self.maintenance(clients).await?;
        if self.comment(clients, &mut session, &self.name).await?.is_some() {
            let message = format!("a database {} came up meanwhile", self.name);
            return Err(ActionError::unchanged(FailureClass::Conflict, message));
        }
        let kept = self.clear(clients, &mut session).await?;
        let draft = format!("{}{}", self.drafts, clients.clock.now().as_microsecond());
        let what = format!("make a database on {}", self.instance);
        let name = identifier(&draft);
        let create = format!("create database {name} template template0 {locale}");
        session.command(clients, &what, &create).await?;
        let comment = literal(&self.comment_of(manifest, ""));
        for statement in [
            format!("comment on database {name} is {comment}"),
            format!("revoke connect, temporary on database {name} from public"),
        ] {
            session.command(clients, &what, &statement).await.map_err(begun)?;
        }
        // Each attempt has a database of its own: one that cannot be dropped is in nobody's way.
        let kept = kept.iter().map(|error| format!("{WARNS}{}", error.message));
        Ok((draft, kept.collect()))
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

    /// Gives it what the dumped database had besides its objects; returns what could not be given.
    pub(super) async fn give(
        &self,
        clients: &Clients,
        draft: &str,
        manifest: &Manifest,
    ) -> Result<Vec<String>, ActionError> {
        if !self.part.is_empty() {
            return Ok(Vec::new());
        }
        // Nobody may be in it when it gets another name, this program included.
        let inside = connect_to(clients, &self.instance, draft).await?;
        let user = &database(clients)?.connection.user;
        manifest.properties.give(clients, &inside, draft, user).await
    }

    /// Gives it its name, with everything that must not be without it: what it is, what is left open, and that everybody
    /// gets in who got into the dumped one.
    pub(super) async fn finish(
        &self,
        clients: &Clients,
        draft: &str,
        manifest: &Manifest,
        (began, owed): (Timestamp, &[Obligation]),
    ) -> Result<(), ActionError> {
        let mut session = self.maintenance(clients).await?;
        self.left_alone(clients, &mut session, draft).await?;
        let written = self.written(clients, draft).await?;
        let took = Span::seconds(since(began, clients.clock.now()).as_secs().max(1));
        let comment = self.comment_of(manifest, &format!(" {written} {took}{}", owed::word(owed)));
        let (old, new) = (identifier(draft), identifier(&self.name));
        let mut statements = vec![
            format!("comment on database {old} is {}", literal(&comment)),
            format!("alter database {old} rename to {new}"),
        ];
        if manifest.properties.public && self.part.is_empty() {
            statements.push(format!("grant connect, temporary on database {new} to public"));
        }
        self.take_name(clients, &mut session, draft, &statements).await
    }

    /// Waits until those who filled it are gone: what a session wrote is counted as it ends, and it ends after its program.
    async fn left_alone(
        &self,
        clients: &Clients,
        session: &mut Session,
        draft: &str,
    ) -> Result<(), ActionError> {
        let what = format!("see who is still in the restored database on {}", self.instance);
        let sql = "select count(*) from pg_stat_activity where datname = $1 and backend_type = 'client backend'";
        for _ in 0..LOOKS {
            let row = session.read_one(clients, &what, sql, &[&draft]).await?;
            // Whoever stays longer, such as a monitoring agent, is not of the restore.
            if row.try_get::<_, i64>(0).is_ok_and(|sessions| sessions == 0) {
                break;
            }
            clients.clock.sleep(BETWEEN_LOOKS).await;
        }
        Ok(())
    }

    /// Gives it its name, by statements that are carried out together. Whoever is in it, such as a monitoring agent that
    /// looks into every database, is sent away as far as the estate's user may; a restore of hours is not begun anew for that.
    async fn take_name(
        &self,
        clients: &Clients,
        session: &mut Session,
        draft: &str,
        statements: &[String],
    ) -> Result<(), ActionError> {
        let what = format!("give the restored database its name on {}", self.instance);
        let mut tries = RENAMES;
        loop {
            let Err(error) = at_once(clients, session, &what, statements).await else {
                return Ok(());
            };
            tries -= 1;
            let refused = error.effect == Effect::None && error.message.contains(IN_USE);
            if tries == 0 || session.is_closed() || !refused {
                return Err(error);
            }
            let end = format!(
                "select pg_terminate_backend(a.pid) from pg_stat_activity a join pg_roles r on r.rolname = a.usename \
                 where a.datname = {} and not r.rolsuper",
                literal(draft)
            );
            // Without the right to it they may still go by themselves; the last try tells what is in the way.
            if let Err(denied) = session.command(clients, &what, &end).await
                && session.is_closed()
            {
                return Err(denied);
            }
            clients.clock.sleep(BETWEEN_RENAMES).await;
        }
    }

    /// Returns how many rows were ever written in a database, as its server counts them. What this program itself writes
    /// there, such as the heartbeat of a cut over, is nothing that would be lost with it.
    async fn written(&self, clients: &Clients, database: &str) -> Result<i64, ActionError> {
        Ok(usage_of(clients, &self.instance, database).await?.changed_rows)
    }

    /// Drops what attempts of this step left, with whatever still runs in it; returns why one is still there.
    async fn clear(
        &self,
        clients: &Clients,
        session: &mut Session,
    ) -> Result<Vec<ActionError>, ActionError> {
        let mut kept = Vec::new();
        for draft in self.left(clients, session).await? {
            let what = format!("drop the database {draft} this step began on {}", self.instance);
            let sql = format!("drop database if exists {} with (force)", identifier(&draft));
            if let Err(error) = session.command(clients, &what, &sql).await {
                if session.is_closed() {
                    return Err(error);
                }
                kept.push(error);
            }
        }
        Ok(kept)
    }

    /// Drops the whole database this step made, unless somebody uses it: what was written in it is nowhere else.
    async fn drop(
        &self,
        clients: &Clients,
        session: &mut Session,
        of: &Of,
    ) -> Result<(), ActionError> {
        let (name, instance) = (&self.name, &self.instance);
        let used = |said: String| {
            let message = format!("{name} on {instance} {said}: it is not dropped");
            Err(ActionError::unchanged(FailureClass::Conflict, message).hint(
                "point the application elsewhere first and see what it wrote, or keep the database: skip this step's \
                 revert with a reason",
            ))
        };
        let what = format!("ask who is in {name} on {instance}");
        // Of sessions the estate's user may know nothing of, all that is known is that they are there.
        let sql = "select count(*), coalesce(string_agg(distinct usename::text, ', '), '') from pg_stat_activity \
                   where datname = $1 and usesysid is not null and coalesce(application_name, '') <> 'phoenix-dr' \
                   and coalesce(backend_type, 'client backend') = 'client backend'";
        let row = session.read_one(clients, &what, sql, &[name]).await?;
        let unreadable = |error: tokio_postgres::Error| {
            ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
        };
        let (sessions, users): (i64, String) =
            (row.try_get(0).map_err(unreadable)?, row.try_get(1).map_err(unreadable)?);
        if sessions > 0 {
            return used(format!("has {sessions} sessions of {users}"));
        }
        let written = self.written(clients, name).await?;
        match of.written {
            Some(known) if known == written => {}
            Some(known) if written > known => {
                return used(format!("was written to {} times since the restore", written - known));
            }
            Some(_) | None => {
                return used("may have been written to since the restore".to_owned());
            }
        }
        let what = format!("drop the database {name} this step made on {instance}");
        let sql = format!("drop database if exists {}", identifier(name));
        session.command(clients, &what, &sql).await
    }

    /// Drops what this step made; what is somebody else's is not touched.
    pub(super) async fn remove(&self, clients: &Clients) -> Result<(), ActionError> {
        let mut session = self.maintenance(clients).await?;
        if let Some(kept) = self.clear(clients, &mut session).await?.into_iter().next() {
            return Err(kept);
        }
        let comment = self.comment(clients, &mut session, &self.name).await?;
        match comment.map(|comment| (self.read(&comment), comment)) {
            None => Ok(()),
            Some((Some(of), _)) => self.drop(clients, &mut session, &of).await,
            Some((None, comment)) => {
                let message = format!(
                    "the database {} on {} is not the one this step made ({})",
                    self.name,
                    self.instance,
                    brief(&comment)
                );
                Err(ActionError::unchanged(FailureClass::Conflict, message)
                    .hint("find out whose it is; it was left as it is"))
            }
        }
    }
}

/// Returns how long the restore took that made a database of a dump, of what the database's comment says.
pub(super) fn took(comment: &str, dump: &str) -> Option<Span> {
    // How long some tables took says nothing of the whole.
    if !Comment::read(comment).note.part.is_empty() {
        return None;
    }
    let words: Vec<&str> = comment.split(' ').collect();
    let (Some(&MARK), Some(&of)) = (words.first(), words.get(2)) else { return None };
    words.get(5)?.parse().ok().filter(|_| of == dump)
}

/// Carries statements out in one transaction: all of them, or none.
async fn at_once(
    clients: &Clients,
    session: &mut Session,
    what: &str,
    statements: &[String],
) -> Result<(), ActionError> {
    let batch = session.batch(clients, what).await?;
    for statement in statements {
        batch.execute(statement, &[]).await?;
    }
    batch.commit().await
}

/// Returns what a comment says of whose a database is: what its restore left open is long, and somebody else's business.
fn brief(comment: &str) -> String {
    let words = comment.split(' ');
    if comment.starts_with(&format!("{MARK} ")) {
        return words.take(WORDS).collect::<Vec<_>>().join(" ");
    }
    comment.to_owned()
}

/// From here on there is a database that was not there before.
pub(super) fn begun(error: ActionError) -> ActionError {
    ActionError { effect: Effect::Applied, ..error }
}

/// The same where it gets its name: what nobody knows of that a look tells.
pub(super) fn named(error: ActionError) -> ActionError {
    match error.effect {
        Effect::Unknown => error,
        Effect::None | Effect::Applied => begun(error),
    }
}
