//! PostgreSQL connections: by instance, as the estate says it is reached; one for each purpose, none is kept.
//!
//! Reads are single statements of the extended protocol in READ ONLY transactions. What writes asks the guard first.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{MakeTlsConnect, NoTls, TlsConnect};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Error, IsolationLevel, Row, Transaction};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tcp::{self, Failure};
use super::{Clients, Network, via};
use crate::clock::within;
use crate::estate::secrets;
use crate::estate::types::{Connection, Database, TlsMode, Via};
use crate::outcome::{ActionError, FailureClass};
use crate::span::Span;

mod error;
pub(crate) mod fence;
mod heartbeat;
pub(crate) mod long;
mod proof;
mod replay;
mod server;
mod simulated;
mod tables;
mod trust;
mod usage;

use error::explain;
pub(crate) use proof::{Stands, Writable, prove_writable, stands};
pub(crate) use replay::replay_lag;
pub(crate) use server::{Lineage, Server, leads_to, server};
use trust::trust;
pub(crate) use usage::{Usage, usage};

/// The setting that makes a database's sessions begin read-only.
pub(crate) const READ_ONLY: &str = "default_transaction_read_only";
/// Whether the server is a replica, and the database's own default of a setting.
pub(crate) const OWN_DEFAULT: &str = "select pg_is_in_recovery(), (select substr(entry, length($1) + 2) \
     from pg_db_role_setting, unnest(setconfig) entry \
     where setdatabase = (select oid from pg_database where datname = current_database()) \
     and setrole = 0 and entry like $1 || '=%')";
/// Which of some roles may log in.
pub(crate) const LOGINS: &str =
    "select rolname::text, rolcanlogin from pg_roles where rolname::text = any($1::text[])";

const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// Greeting, TLS and password, after the connection stands.
const GREET_LIMIT: Duration = Duration::from_secs(4);
const READ_LIMIT: Duration = Duration::from_secs(10);
const CHANGE_LIMIT: Duration = Duration::from_secs(20);
/// The server gives up before this side does, so that the answer is known.
const SERVER_LIMITS: &str = "-c statement_timeout=8000 -c lock_timeout=5000";

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoSession {
    /// Refused, reset or silent: it cannot be reached
    Unreachable { address: String, said: String },
    /// Its name does not resolve from here, or this host's own network is in the way
    Unclear { address: String, said: String },
    /// This host cannot read the password: the database was not asked
    NoPassword(ActionError),
    /// It was reached, and what is damaged in it lets nobody in
    Damaged(ActionError),
    /// It was reached and said no, or the estate does not say how
    Failed(ActionError),
}

impl From<NoSession> for ActionError {
    fn from(error: NoSession) -> Self {
        match error {
            NoSession::Unreachable { address, said } => {
                Self::unchanged(FailureClass::Transient, format!("connect to {address}: {said}"))
            }
            NoSession::Unclear { address, said } => {
                Self::unchanged(FailureClass::Transient, format!("connect to {address}: {said}"))
                    .hint("see this host's own resolver, routes and `via`")
            }
            NoSession::NoPassword(error) | NoSession::Damaged(error) | NoSession::Failed(error) => {
                error
            }
        }
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    /// Where it is connected to, `host:port`
    pub address: String,
}

/// Returns the estate's database.
pub(crate) fn database(clients: &Clients) -> Result<&Database, ActionError> {
    clients.estate.database.as_ref().ok_or_else(|| {
        ActionError::unchanged(FailureClass::NotFound, "the estate has no `database`")
    })
}

/// Returns how this host reaches an instance: by the estate's own word, else by the endpoint given.
pub(crate) fn address(
    clients: &Clients,
    instance: &str,
    given: Option<&str>,
) -> Result<String, ActionError> {
    let database = database(clients)?;
    let endpoint = own_endpoint(database, instance);
    let found = database.addresses.get(instance).map(String::as_str).or(endpoint).or(given);
    found.map(str::to_owned).ok_or_else(|| {
        ActionError::unchanged(
            FailureClass::NotFound,
            format!("the estate does not say how to reach the instance {instance}"),
        )
        .hint(format!("add `database.addresses.{instance}: host:port` to the estate file"))
    })
}

/// Returns the port forward to an instance: its own where it has one.
pub(crate) fn way<'a>(database: &'a Database, instance: &str) -> &'a Via {
    let known = [Some(&database.primary), database.replica.as_ref()];
    let found = known.into_iter().flatten().find(|known| known.id == instance);
    let own = match found {
        Some(found) => found.via.as_ref(),
        None => database.recovered.via.as_ref().filter(|_| database.recovered.id == instance),
    };
    own.unwrap_or(&database.via)
}

/// Returns the name an instance's certificate has: a port forward has another one.
fn certified(database: &Database, instance: &str, given: Option<&str>) -> Option<String> {
    let own = own_endpoint(database, instance).or(given)?;
    let (host, _) = tcp::split(own, None).ok()?;
    Some(host.to_owned())
}

/// Returns an instance's own endpoint, where the estate knows it.
fn own_endpoint<'a>(database: &'a Database, instance: &str) -> Option<&'a str> {
    let known = [Some(&database.primary), database.replica.as_ref()];
    let found = known.into_iter().flatten().find(|known| known.id == instance)?;
    found.address.as_deref()
}

/// Asks RDS for an instance's endpoint, in every region but the one that may be lost.
async fn endpoint(clients: &Clients, instance: &str) -> Option<String> {
    let primary = &clients.estate.primary.region;
    for region in clients.estate.regions.keys().filter(|region| *region != primary) {
        let Ok(regional) = clients.aws.region(region).await else { continue };
        let asked = regional.rds.describe_db_instances().db_instance_identifier(instance).send();
        // No such instance there, or no answer: the caller says that the address is not known.
        let Ok(answer) = asked.await else { continue };
        let found = answer.db_instances().first().and_then(|found| found.endpoint());
        if let Some(endpoint) = found
            && let (Some(host), Some(port)) = (endpoint.address(), endpoint.port())
        {
            return Some(format!("{host}:{port}"));
        }
    }
    None
}

/// Returns an instance's address from the estate; one this run made is in no file, and RDS says where it is.
async fn whereabouts(
    clients: &Clients,
    instance: &str,
    given: Option<&str>,
) -> Result<String, ActionError> {
    match address(clients, instance, given) {
        Ok(address) => Ok(address),
        Err(error) => endpoint(clients, instance).await.ok_or(error),
    }
}

/// How a session begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening<'a> {
    /// Database in place of the estate's own
    pub database: Option<&'a str>,
    /// Settings it begins with
    pub options: &'a str,
}

/// Connects to an instance as the estate's own user.
pub(crate) async fn connect(
    clients: &Clients,
    instance: &str,
    given: Option<&str>,
) -> Result<Session, NoSession> {
    let opening = Opening { database: None, options: SERVER_LIMITS };
    connect_with(clients, instance, given, opening).await
}

/// Connects to an instance as the estate's own user, to the database and with the settings that are wanted.
pub(crate) async fn connect_with(
    clients: &Clients,
    instance: &str,
    given: Option<&str>,
    opening: Opening<'_>,
) -> Result<Session, NoSession> {
    let database = database(clients).map_err(NoSession::Failed)?;
    let address = whereabouts(clients, instance, given).await.map_err(NoSession::Failed)?;
    let failed = |class, message: String| NoSession::Failed(ActionError::unchanged(class, message));
    if let Network::Simulated(sandbox) = &clients.network {
        return simulated::connect(clients, sandbox, instance, address).await;
    }
    via::open(clients, way(database, instance)).await.map_err(|error| {
        failed(FailureClass::Transient, format!("reach the database {instance}: {error}"))
    })?;
    let (host, _) = tcp::split(&address, None).map_err(|failure| {
        failed(FailureClass::Invalid, format!("address of {instance}: {failure}"))
    })?;
    let connection = &database.connection;
    if connection.tls == TlsMode::Disable && !tcp::is_loopback(host) {
        let message = format!("`tls: disable` is for loopback only, and {instance} is at {host}");
        return Err(failed(FailureClass::Invalid, message));
    }
    let password = password(clients, connection).await.map_err(NoSession::NoPassword)?;
    let mut config = Config::new();
    config
        .user(&connection.user)
        .password(password.expose_secret())
        .dbname(opening.database.unwrap_or(&database.name))
        .application_name("phoenix-dr")
        .options(opening.options);
    let clock = clients.clock.as_ref();
    let stream = tcp::connect(clock, &address, CONNECT_LIMIT).await.map_err(|failure| {
        let (address, said) = (address.clone(), failure.to_string());
        match failure {
            Failure::Unreachable(_) => NoSession::Unreachable { address, said },
            Failure::Unclear(_) => NoSession::Unclear { address, said },
        }
    })?;
    let greeted = match connection.tls {
        TlsMode::Disable => {
            config.ssl_mode(SslMode::Disable);
            within(clock, GREET_LIMIT, greet(&config, stream, NoTls)).await
        }
        TlsMode::Require => {
            config.ssl_mode(SslMode::Require);
            let tls = trust(connection).map_err(NoSession::Failed)?;
            let certified = certified(database, instance, given).unwrap_or_else(|| host.to_owned());
            let tls = MakeTlsConnect::<tokio::net::TcpStream>::make_tls_connect(
                &mut MakeRustlsConnect::new(tls),
                &certified,
            )
            .map_err(|error| {
                failed(FailureClass::Invalid, format!("TLS to {certified}: {error}"))
            })?;
            within(clock, GREET_LIMIT, greet(&config, stream, tls)).await
        }
    };
    match greeted {
        Ok(Ok(client)) => Ok(Session { client, address }),
        Ok(Err(error)) => Err(no_greeting(instance, address, &error)),
        Err(_) => {
            let said =
                format!("it accepted the connection and said nothing for {}", Span(GREET_LIMIT));
            Err(NoSession::Unreachable { address, said })
        }
    }
}

async fn greet<S, T>(config: &Config, stream: S, tls: T) -> Result<Client, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: TlsConnect<S>,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.connect_raw(stream, tls).await?;
    // Ends by itself when the client is dropped; its error is also the error of the call it broke.
    drop(tokio::spawn(connection));
    Ok(client)
}

fn no_greeting(instance: &str, address: String, error: &Error) -> NoSession {
    if error.code().is_none()
        && let Some(Failure::Unreachable(said)) = Failure::of(error)
    {
        return NoSession::Unreachable { address, said };
    }
    let what = format!("connect to {instance} at {address}");
    let explained = explain(&what, error, Purpose::Read);
    let corrupted = [SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED];
    match error.code() {
        Some(code) if corrupted.contains(code) => NoSession::Damaged(explained),
        Some(_) | None => NoSession::Failed(explained),
    }
}

/// Reads the password anew each time, so that a renewed one is taken; masks it from then on.
pub(crate) async fn password(
    clients: &Clients,
    connection: &Connection,
) -> Result<SecretString, ActionError> {
    let password = secrets::read(&connection.password_from).await.map_err(|why| {
        ActionError::unchanged(
            FailureClass::Credentials,
            format!("password of {}: {why}", connection.user),
        )
        .hint("make it readable where `database.connection.password_from` of the estate file says it is")
    })?;
    clients.masks.hide(&password);
    Ok(password)
}

/// What a statement does, and so what its failure leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Read,
    /// The commit may have happened when its answer was lost
    Commit,
}

/// How a transaction that writes begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    /// READ WRITE, said aloud: the database's default may be what this very action set before
    Aloud,
    /// As every session's transactions begin: fails where they begin read-only
    ByDefault,
}

/// What became of a statement that was tried and taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tried {
    Worked,
    /// It failed with this SQLSTATE
    Failed(String),
    /// The role it was to be tried as could not be taken on, with this SQLSTATE
    NotAs(String),
}

/// A value of a parameter.
pub(crate) type Parameter<'a> = &'a (dyn ToSql + Sync);

impl Session {
    /// Reads rows by one statement in a READ ONLY transaction. `what` fits "failed to …".
    pub(crate) async fn read(
        &mut self,
        clients: &Clients,
        what: &str,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, ActionError> {
        let builder = self.client.build_transaction().read_only(true);
        let work = async {
            let transaction =
                builder.isolation_level(IsolationLevel::ReadCommitted).start().await?;
            let rows = transaction.query(sql, parameters).await?;
            transaction.rollback().await?;
            Ok(rows)
        };
        match within(clients.clock.as_ref(), READ_LIMIT, work).await {
            Ok(rows) => rows.map_err(|error| explain(what, &error, Purpose::Read)),
            Err(elapsed) => {
                Err(ActionError::unchanged(FailureClass::Transient, format!("{what}: {elapsed}")))
            }
        }
    }

    /// Reads one row by one statement.
    pub(crate) async fn read_one(
        &mut self,
        clients: &Clients,
        what: &str,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Row, ActionError> {
        let rows = self.read(clients, what, sql, parameters).await?;
        let count = rows.len();
        let mut rows = rows.into_iter();
        match (rows.next(), count) {
            (Some(row), 1) => Ok(row),
            _ => Err(ActionError::unchanged(
                FailureClass::Invalid,
                format!("{what}: {count} rows instead of one"),
            )),
        }
    }

    /// Carries out statements in one READ WRITE transaction: all of them, or none. Each is a text and its parameters.
    pub(crate) async fn change(
        &mut self,
        clients: &Clients,
        what: &str,
        statements: &[(String, Vec<Parameter<'_>>)],
    ) -> Result<(), ActionError> {
        self.change_as(clients, what, statements, Writing::Aloud).await
    }

    /// Carries out statements in one transaction.
    async fn change_as(
        &mut self,
        clients: &Clients,
        what: &str,
        statements: &[(String, Vec<Parameter<'_>>)],
        writing: Writing,
    ) -> Result<(), ActionError> {
        clients.guard.pass(format!("SQL to {what}"))?;
        let builder = match writing {
            Writing::Aloud => self.client.build_transaction().read_only(false),
            Writing::ByDefault => self.client.build_transaction(),
        };
        let started = within(clients.clock.as_ref(), CHANGE_LIMIT, async {
            let transaction: Transaction<'_> = builder.start().await?;
            for (sql, parameters) in statements {
                transaction.execute(sql.as_str(), parameters).await?;
            }
            Ok(transaction)
        })
        .await;
        let transaction = match started {
            Ok(done) => done.map_err(|error| explain(what, &error, Purpose::Read))?,
            Err(elapsed) => {
                let message = format!("{what}: {elapsed}");
                return Err(ActionError::unchanged(FailureClass::Transient, message));
            }
        };
        match within(clients.clock.as_ref(), CHANGE_LIMIT, transaction.commit()).await {
            Ok(done) => done.map_err(|error| explain(what, &error, Purpose::Commit)),
            Err(elapsed) => Err(ActionError::unknown(
                FailureClass::Transient,
                format!("{what}: the commit was sent, {elapsed}"),
            )),
        }
    }

    /// Tries a statement, as a role where one is named, in a transaction of the session's default kind and takes it
    /// back, whatever it says.
    pub(crate) async fn attempt(
        &mut self,
        clients: &Clients,
        what: &str,
        role: Option<&str>,
        sql: &str,
    ) -> Result<Tried, ActionError> {
        clients.guard.pass(format!("SQL to {what}"))?;
        let code = |error: Error| match error.code() {
            Some(code) => Ok(code.code().to_owned()),
            None => Err(error),
        };
        let work = async {
            let transaction = self.client.transaction().await?;
            let taken_on = match role {
                Some(role) => {
                    let set = format!("set local role {}", identifier(role));
                    transaction.execute(set.as_str(), &[]).await.map(drop)
                }
                None => Ok(()),
            };
            let tried = match taken_on {
                Ok(()) => match transaction.execute(sql, &[]).await {
                    Ok(_) => Tried::Worked,
                    Err(error) => Tried::Failed(code(error)?),
                },
                Err(error) => Tried::NotAs(code(error)?),
            };
            // Dropping the transaction rolls it back as well, should this be lost.
            transaction.rollback().await?;
            Ok(tried)
        };
        match within(clients.clock.as_ref(), READ_LIMIT, work).await {
            Ok(tried) => tried.map_err(|error| explain(what, &error, Purpose::Read)),
            Err(elapsed) => {
                let message = format!("{what}: {elapsed}");
                Err(ActionError::unchanged(FailureClass::Transient, message))
            }
        }
    }
}

/// Quotes an identifier.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a literal; for statements that take no parameters.
pub(crate) fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') {
        return format!("E'{}'", doubled.replace('\\', "\\\\"));
    }
    format!("'{doubled}'")
}

#[cfg(test)]
mod proof_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
