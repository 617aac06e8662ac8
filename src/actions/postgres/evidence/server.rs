//! What a server whose files are to be copied says of itself, and what of it is in the way.

use std::time::Duration;

use super::super::dump::said;
use super::super::server::beside;
use super::without::Lack;
use crate::clients::Clients;
use crate::clients::postgres::tools::{Tool, find};
use crate::clients::postgres::{NoSession, database, identifier, login};
use crate::clients::process::{self, Ended, Program, ProgramEnd, Scrub};
use crate::estate::types::TlsMode;
use crate::outcome::{ActionError, FailureClass};
use crate::runbook::catalogue::actions::PostgresEvidence;
use crate::sandbox::programs::Purpose;

/// A server that is there answers at once.
const ANSWERS: Duration = Duration::from_secs(20);
/// Connections a copy takes: one for the files, one for the log.
const CONNECTIONS: i32 = 2;

/// A server, as far as a copy of its files is concerned.
#[derive(Debug, Clone, Default)]
pub(super) struct Server {
    pub version: u32,
    pub in_recovery: bool,
    pub checksums: bool,
    pub system: String,
    /// Size of its files; `None` where it keeps that to itself
    pub bytes: Option<u64>,
    /// A slot is free, by which the log that the copy needs is kept
    pub has_slot: bool,
    /// What it is, a line each
    pub said: Vec<String>,
    /// What keeps it from being copied
    pub lacking: Vec<Lack>,
}

const ABOUT: &str = "select current_setting('server_version_num')::int4, pg_is_in_recovery(), \
     current_setting('data_checksums') = 'on', me.rolsuper or me.rolreplication, current_setting('wal_level') <> 'minimal', \
     current_setting('max_wal_senders')::int4 - (select count(*) from pg_stat_replication)::int4, \
     current_setting('max_replication_slots')::int4 - (select count(*) from pg_replication_slots)::int4, \
     case when me.rolsuper or pg_has_role('pg_read_all_stats', 'USAGE') \
         then (select sum(pg_tablespace_size(oid))::int8 from pg_tablespace) end \
     from pg_roles me where me.rolname = current_user";

impl Server {
    /// Asks it by SQL, and by the connection that the copy will have.
    pub(super) async fn look(
        clients: &Clients,
        with: &PostgresEvidence,
    ) -> Result<Self, ActionError> {
        let instance = &with.instance;
        let mut session = match beside(clients, instance).await {
            Ok(session) => session,
            Err(NoSession::Damaged(error)) => {
                return Ok(Self {
                    lacking: vec![Lack { what: error.message, mend: error.hint }],
                    ..Self::default()
                });
            }
            Err(error) => return Err(error.into()),
        };
        let what = format!("ask {instance} about a copy of its files");
        let row = session.read_one(clients, &what, ABOUT, &[]).await?;
        let number = |index: usize| row.try_get::<_, i32>(index).unwrap_or_default();
        let flag = |index: usize| row.try_get::<_, bool>(index).unwrap_or(false);
        let bytes: Option<i64> = row.try_get(7).ok().flatten();
        let mut found = Self {
            version: number(0).try_into().unwrap_or_default(),
            in_recovery: flag(1),
            checksums: flag(2),
            bytes: bytes.and_then(|bytes| bytes.try_into().ok()),
            has_slot: number(6) > 0,
            ..Self::default()
        };
        let user = identifier(&database(clients)?.connection.user);
        if !flag(3) {
            found.lack(
                format!("{user} may not replicate from {instance}"),
                format!("as its administrator: alter role {user} replication"),
            );
        }
        if !flag(4) {
            found.lack(
                format!("{instance} writes no log that a copy could be started with"),
                "set wal_level = replica and restart it, or copy the files of the stopped server"
                    .to_owned(),
            );
        }
        if number(5) < CONNECTIONS {
            found.lack(
                format!("{instance} has {} of the {CONNECTIONS} replication connections free that a copy takes", number(5).max(0)),
                "raise max_wal_senders and restart it, or end one: select * from pg_stat_replication".to_owned(),
            );
        }
        found.identify(clients, with).await?;
        found.describe(instance);
        Ok(found)
    }

    pub(super) const fn major(&self) -> u32 {
        self.version / 10_000
    }

    fn lack(&mut self, what: String, mend: String) {
        self.lacking.push(Lack { what, mend: Some(mend) });
    }

    fn describe(&mut self, instance: &str) {
        let role = if self.in_recovery { "a replica" } else { "takes writes" };
        let pages = if self.checksums { "with" } else { "without" };
        let bytes = self.bytes.map_or_else(
            || {
                "its size is hidden: grant pg_read_all_stats for progress and a check of the room"
                    .to_owned()
            },
            super::bytes,
        );
        self.said.push(format!(
            "{instance}: PostgreSQL {}, {role}, system {}, {pages} checksums of pages; {bytes}",
            self.major(),
            self.system
        ));
        if self.in_recovery {
            self.said.push(
                "a replica's files are its own: damage of its source need not be in them"
                    .to_owned(),
            );
        }
    }

    /// Asks by a replication connection which system it is: rules for these are rules of their own.
    async fn identify(
        &mut self,
        clients: &Clients,
        with: &PostgresEvidence,
    ) -> Result<(), ActionError> {
        let tool = match find(clients, Tool::Terminal, self.major()).await {
            Ok(tool) => tool,
            Err(error) => {
                self.lacking.push(Lack::of(error));
                return Ok(());
            }
        };
        let login = login(clients, &with.instance).await?;
        let argv = [
            tool.program.as_str(),
            "--no-psqlrc",
            "--no-password",
            "--tuples-only",
            "--no-align",
            "--dbname=replication=true",
            "--command=IDENTIFY_SYSTEM",
        ]
        .map(str::to_owned);
        let program = Program {
            argv: &argv,
            env: &login.env,
            scrub: Scrub::Connection,
            cwd: None,
            limit: ANSWERS,
            artifact: None,
            purpose: Purpose::Look,
        };
        let ended = process::run(clients, &program)
            .await
            .map_err(|error| ActionError::unchanged(FailureClass::Invalid, error.to_string()))?;
        if let Some(system) = system(&ended) {
            self.system = system;
        } else if ended.stderr.contains("pg_hba.conf") {
            let rule = rule(clients)?;
            self.lack(
                format!("{} takes no replication connection: {}", with.instance, said(&ended)),
                format!("add to its pg_hba.conf: {rule}; then select pg_reload_conf()"),
            );
        } else if self.lacking.is_empty() {
            // Otherwise it has been said by the name of what is missing.
            let what =
                format!("{} takes no replication connection: {}", with.instance, said(&ended));
            self.lacking.push(Lack { what, mend: None });
        }
        Ok(())
    }
}

/// Reads what a server answers: `SYSTEM|TIMELINE|POSITION|DATABASE`.
fn system(ended: &Ended) -> Option<String> {
    let answered = ended.end == ProgramEnd::Exit(0);
    let (system, _) = ended.stdout.trim().split_once('|').filter(|_| answered)?;
    (!system.is_empty()).then(|| system.to_owned())
}

/// Returns the rule that lets the estate's user replicate.
fn rule(clients: &Clients) -> Result<String, ActionError> {
    let connection = &database(clients)?.connection;
    let kind = match connection.tls {
        TlsMode::Require => "hostssl",
        TlsMode::Disable => "host",
    };
    Ok(format!("{kind} replication {} ADDRESS/32 scram-sha-256", identifier(&connection.user)))
}
