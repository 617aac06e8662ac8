//! One session with a simulated server: transactions, what statements answer, what they change when they commit.

use std::collections::BTreeMap;
use std::io;

use jiff::Timestamp;
use serde_json::json;
use tokio::io::DuplexStream;

use super::rows::{cell, heartbeat, let_in, list, locked, logins, number, others, stands, text};
use super::statement::{Control, Statement, understand};
use super::wire::{Cell, Message, Parameter, SqlError, Type, Wire, parameter};
use crate::sandbox::Sandbox;
use crate::sandbox::world::{Heartbeat, Kind, Postgres};

/// SQLSTATE of a write where none may be.
const READ_ONLY: &str = "25006";

/// Serves a connection until the client ends it.
pub(crate) async fn serve(sandbox: Sandbox, region: String, id: String, stream: DuplexStream) {
    let mut session = Session {
        read_only_default: false,
        sandbox,
        region,
        id,
        wire: Wire::new(stream),
        statements: BTreeMap::new(),
        portals: BTreeMap::new(),
        transaction: None,
        failed: false,
        skipping: false,
    };
    session.read_only_default =
        session.body().is_some_and(|body| body.read_only.as_deref() == Some("on"));
    // An error is the client gone, which is how sessions end.
    if let Err(error) = session.run().await {
        tracing::debug!(%error, "a session with a simulated database ended");
    }
}

/// Changes of a transaction, made when it commits.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    ReadOnly(Option<String>),
    Login { role: String, may: bool },
    Heartbeat { run: String, beat: Heartbeat },
    Table(String),
    Keep { what: String, was: Option<String> },
    Forget,
}

struct Transaction {
    read_only: bool,
    changes: Vec<Change>,
}

struct Session {
    sandbox: Sandbox,
    region: String,
    id: String,
    wire: Wire,
    /// The database's default when the session began
    read_only_default: bool,
    statements: BTreeMap<String, Statement>,
    portals: BTreeMap<String, (Statement, Vec<Parameter>)>,
    transaction: Option<Transaction>,
    /// The transaction has failed
    failed: bool,
    /// An error: everything up to the next sync is passed over
    skipping: bool,
}

pub(super) type Rows = Vec<Vec<Cell>>;

impl Session {
    async fn run(&mut self) -> io::Result<()> {
        self.wire.greet().await?;
        loop {
            match self.wire.next().await? {
                Message::Terminate => return Ok(()),
                Message::Query(sql) => {
                    let done = self.statement(&sql).and_then(|known| self.execute(&known, &[]));
                    match done {
                        Ok((tag, _)) => self.wire.complete(&tag),
                        Err(error) => self.fail(&error),
                    }
                    self.skipping = false;
                    self.ready().await?;
                }
                Message::Sync => {
                    self.skipping = false;
                    self.ready().await?;
                }
                Message::Flush => self.wire.flush().await?,
                Message::Unknown(kind) => {
                    self.sandbox.left(&format!("a PostgreSQL message of kind {kind}"));
                    return Ok(());
                }
                _ if self.skipping => {}
                message => {
                    if let Err(error) = self.extended(message)? {
                        self.fail(&error);
                        self.skipping = true;
                    }
                }
            }
        }
    }

    fn fail(&mut self, error: &SqlError) {
        self.failed = self.transaction.is_some();
        self.wire.error(error);
    }

    async fn ready(&mut self) -> io::Result<()> {
        let state = match (&self.transaction, self.failed) {
            (None, _) => b'I',
            (Some(_), false) => b'T',
            (Some(_), true) => b'E',
        };
        self.wire.ready(state).await
    }

    fn extended(&mut self, message: Message) -> io::Result<Result<(), SqlError>> {
        match message {
            Message::Parse { name, sql } => match self.statement(&sql) {
                Ok(known) => {
                    self.statements.insert(name, known);
                    self.wire.parsed();
                }
                Err(error) => return Ok(Err(error)),
            },
            Message::Describe { portal, name } => {
                let known = match portal {
                    true => self.portals.get(&name).map(|(known, _)| known.clone()),
                    false => self.statements.get(&name).cloned(),
                };
                let Some(known) = known else { return Ok(Err(missing(&name))) };
                if !portal {
                    self.wire.parameters(known.parameters());
                }
                let columns: Vec<(String, Type)> = known
                    .columns()
                    .into_iter()
                    .enumerate()
                    .map(|(index, kind)| (format!("column{index}"), kind))
                    .collect();
                self.wire.columns(&columns);
            }
            Message::Bind { portal, statement, values } => {
                let Some(known) = self.statements.get(&statement).cloned() else {
                    return Ok(Err(missing(&statement)));
                };
                let values = known.parameters().iter().zip(&values);
                let values: io::Result<Vec<Parameter>> =
                    values.map(|(kind, value)| parameter(*kind, value.as_deref())).collect();
                self.portals.insert(portal, (known, values?));
                self.wire.bound();
            }
            Message::Execute { portal } => {
                let Some((known, values)) = self.portals.get(&portal).cloned() else {
                    return Ok(Err(missing(&portal)));
                };
                match self.execute(&known, &values) {
                    Ok((tag, rows)) => {
                        rows.iter().for_each(|row| self.wire.row(row));
                        self.wire.complete(&tag);
                    }
                    Err(error) => return Ok(Err(error)),
                }
            }
            Message::Close => self.wire.closed(),
            Message::Query(_)
            | Message::Sync
            | Message::Flush
            | Message::Terminate
            | Message::Unknown(_) => {}
        }
        Ok(Ok(()))
    }

    fn body(&self) -> Option<Postgres> {
        let state = self.sandbox.state();
        let body = state.objects.get(Kind::Postgres, &self.region, &self.id)?;
        serde_json::from_value(body.clone()).ok()
    }

    fn here(&self) -> Result<Postgres, SqlError> {
        self.body().ok_or_else(|| SqlError {
            code: "3D000",
            message: format!("the world has no postgres object `{}` in {}", self.id, self.region),
        })
    }

    fn in_recovery(&self) -> bool {
        self.sandbox.in_recovery(&self.region, &self.id).unwrap_or(false)
    }

    /// Understands a text; one that is not known is told and refused.
    fn statement(&self, sql: &str) -> Result<Statement, SqlError> {
        let answers = self.body().map(|body| body.answers).unwrap_or_default();
        understand(sql, |text| answers.get(text).cloned()).ok_or_else(|| {
            self.sandbox.left(&format!("SQL on {}: {sql}", self.id));
            SqlError { code: "0A000", message: format!("this query is not simulated: {sql}") }
        })
    }

    fn execute(
        &mut self,
        known: &Statement,
        values: &[Parameter],
    ) -> Result<(String, Rows), SqlError> {
        if let Statement::Control(control) = known {
            return self.control(*control).map(|tag| (tag.to_owned(), Vec::new()));
        }
        if self.failed {
            let message =
                "current transaction is aborted, commands ignored until end of transaction block";
            return Err(SqlError { code: "25P02", message: message.to_owned() });
        }
        if known.writes() {
            self.write(known, values)?;
            return Ok(("INSERT 0 1".to_owned(), Vec::new()));
        }
        let rows = self.read(known, values)?;
        Ok((format!("SELECT {}", rows.len()), rows))
    }

    fn control(&mut self, control: Control) -> Result<&'static str, SqlError> {
        match control {
            Control::Begin { read_only } => {
                let read_only = read_only.unwrap_or(self.read_only_default);
                if !read_only && self.in_recovery() {
                    self.transaction = Some(Transaction { read_only: true, changes: Vec::new() });
                    return Ok("BEGIN");
                }
                self.transaction = Some(Transaction { read_only, changes: Vec::new() });
                Ok("BEGIN")
            }
            Control::Rollback => {
                self.transaction = None;
                self.failed = false;
                Ok("ROLLBACK")
            }
            Control::Commit => {
                let done = self.transaction.take();
                if std::mem::take(&mut self.failed) {
                    return Ok("ROLLBACK");
                }
                for change in done.into_iter().flat_map(|done| done.changes) {
                    self.apply(change)?;
                }
                Ok("COMMIT")
            }
        }
    }

    fn write(&mut self, known: &Statement, values: &[Parameter]) -> Result<(), SqlError> {
        let read_only =
            self.transaction.as_ref().map_or(self.read_only_default, |open| open.read_only);
        if read_only || self.in_recovery() {
            let message = "cannot execute this in a read-only transaction".to_owned();
            return Err(SqlError { code: READ_ONLY, message });
        }
        let change = match known {
            Statement::SetReadOnly { value } => Some(Change::ReadOnly(value.clone())),
            Statement::SetLogin { role, may } => {
                Some(Change::Login { role: role.clone(), may: *may })
            }
            Statement::Heartbeat => {
                let beat = Heartbeat { identity: text(values, 1), at: number(values, 2) };
                Some(Change::Heartbeat { run: text(values, 0), beat })
            }
            Statement::Make { table } => Some(Change::Table(table.clone())),
            Statement::Keep { what, was } => {
                Some(Change::Keep { what: what.clone(), was: was.clone() })
            }
            Statement::Forget => Some(Change::Forget),
            // An attempt is taken back.
            _ => None,
        };
        match (&mut self.transaction, change) {
            (Some(open), Some(change)) => open.changes.push(change),
            (None, Some(change)) => self.apply(change)?,
            (_, None) => {}
        }
        Ok(())
    }

    fn apply(&self, change: Change) -> Result<(), SqlError> {
        let mut body = self.here()?;
        let set = match change {
            Change::ReadOnly(value) => json!({ "read_only": value }),
            Change::Login { role, may } => {
                body.roles.insert(role, may);
                json!({ "roles": body.roles })
            }
            Change::Heartbeat { run, beat } => {
                body.heartbeats.insert(run, beat);
                json!({ "heartbeats": body.heartbeats })
            }
            Change::Table(table) => {
                body.tables.insert(table);
                json!({ "tables": body.tables })
            }
            Change::Keep { what, was } => {
                body.fence.insert(what, was);
                json!({ "fence": body.fence })
            }
            Change::Forget => json!({ "fence": {} }),
        };
        self.sandbox.state().objects.change(Kind::Postgres, &self.region, &self.id, set);
        Ok(())
    }

    fn read(&self, known: &Statement, values: &[Parameter]) -> Result<Rows, SqlError> {
        let body = self.here()?;
        let recovering = self.in_recovery();
        let one = |cells: Vec<Cell>| vec![cells];
        Ok(match known {
            Statement::InRecovery { negated } => one(vec![Cell::Bool(recovering != *negated)]),
            Statement::Replay => one(self.replay(&body, recovering)),
            // No world has a log: a replica whose source can be asked has all of it.
            Statement::LogEnd => one(vec![if recovering { Cell::Null } else { Cell::Int8(0) }]),
            Statement::ReplayedTo => one(vec![if recovering { Cell::Int8(0) } else { Cell::Null }]),
            Statement::FenceSetting => {
                let setting = body.read_only.clone().map_or(Cell::Null, Cell::Text);
                one(vec![Cell::Bool(recovering), setting])
            }
            Statement::Logins
            | Statement::Sessions
            | Statement::Locked
            | Statement::LetIn
            | Statement::Usage
            | Statement::OtherSessions
            | Statement::OtherLogins
            | Statement::NoSessions
            | Statement::As { .. } => return self.of_roles(known, &body, values),
            // Everything but the superuser's attribute, and no role of the application has that.
            Statement::Grants => one([false, true, true, true, true, false].map(Cell::Bool).into()),
            Statement::FenceStands => stands(&body),
            Statement::Defaults => {
                let source = if body.read_only.is_some() { "database" } else { "default" };
                one(vec![Cell::Bool(self.read_only_default), Cell::Text(source.to_owned())])
            }
            Statement::Process => {
                let process = format!("{} since {}", self.id, u32::from(!recovering));
                one(vec![Cell::Text(process), Cell::Bool(recovering)])
            }
            Statement::Lineage => {
                let promoted = u32::from(!recovering && body.replayed.is_some());
                let timeline = i64::from(body.timeline + promoted);
                one(vec![Cell::Text(body.system.clone()), Cell::Int8(timeline)])
            }
            Statement::HasTable => {
                one(vec![Cell::Bool(body.tables.contains(&text(values, 0))), Cell::Bool(false)])
            }
            Statement::TablePlace => one(vec![Cell::Bool(true), Cell::Bool(true)]),
            Statement::ReachesSchema => one(vec![Cell::Bool(true)]),
            Statement::HasRow => heartbeat(&body, values, |_| true),
            Statement::HeartbeatSeen { exact } => heartbeat(&body, values, |beat| {
                beat.identity == text(values, 1) && (!exact || beat.at == number(values, 2))
            }),
            Statement::Connections => self.connections(),
            Statement::AllFenced { roles } => {
                one(vec![Cell::Bool(locked(&body, roles) == roles.len())])
            }
            Statement::Answer { value } => one(vec![cell(value)]),
            Statement::Terminate => self.terminated(&body),
            Statement::Make { .. }
            | Statement::Keep { .. }
            | Statement::Forget
            | Statement::Attempt
            | Statement::Schema
            | Statement::Heartbeat
            | Statement::SetReadOnly { .. }
            | Statement::SetLogin { .. }
            | Statement::Control(_) => Vec::new(),
        })
    }

    /// Answers what is asked of roles and their sessions.
    fn of_roles(
        &self,
        known: &Statement,
        body: &Postgres,
        values: &[Parameter],
    ) -> Result<Rows, SqlError> {
        let one = |cells: Vec<Cell>| vec![cells];
        let sessions = || {
            let connected = self.sandbox.connected(&self.region, &self.id).len();
            i64::from(body.sessions) + i64::try_from(connected).unwrap_or(0)
        };
        Ok(match known {
            Statement::Logins => logins(body, values),
            Statement::Sessions => one(vec![Cell::Int8(sessions())]),
            Statement::Usage => one(vec![Cell::Int8(sessions()), Cell::Int8(0)]),
            Statement::Locked => {
                let locked = list(values).into_iter();
                let locked = locked.filter(|role| body.roles.get(role) == Some(&false));
                locked.map(|role| vec![Cell::Text(role)]).collect()
            }
            Statement::LetIn => let_in(body, values),
            // A world knows the application's roles, and sessions of no others.
            Statement::NoSessions => one(vec![Cell::Bool(true)]),
            Statement::OtherLogins => others(body, values),
            Statement::As { role } if !body.roles.contains_key(role) => {
                return Err(SqlError {
                    code: "22023",
                    message: format!("role \"{role}\" does not exist"),
                });
            }
            // Other roles have no sessions, and taking a role on gives no rows.
            _ => Vec::new(),
        })
    }

    fn connections(&self) -> Rows {
        let connected = self.sandbox.connected(&self.region, &self.id).into_iter();
        connected
            .map(|(address, name)| vec![Cell::Text(address), Cell::Text(name), Cell::Bool(false)])
            .collect()
    }

    /// Ends the sessions from outside of the clusters; pods that may log in come back.
    fn terminated(&self, body: &Postgres) -> Rows {
        let set = json!({ "sessions": 0 });
        self.sandbox.state().objects.change(Kind::Postgres, &self.region, &self.id, set);
        vec![vec![Cell::Bool(true)]; usize::try_from(body.sessions).unwrap_or(0)]
    }

    fn replay(&self, body: &Postgres, recovering: bool) -> Vec<Cell> {
        let micros = |instant: Timestamp| Cell::Int8(instant.as_microsecond());
        let replayed = body.replayed.filter(|_| recovering).map_or(Cell::Null, micros);
        let now = self.sandbox.state().objects.now();
        // Whoever lost its source has replayed what it received, and hears nothing any more.
        vec![Cell::Bool(recovering), replayed, micros(now), Cell::Bool(recovering), Cell::Null]
    }
}

fn missing(name: &str) -> SqlError {
    SqlError {
        code: "26000",
        message: format!("there is no prepared statement or portal \"{name}\""),
    }
}
