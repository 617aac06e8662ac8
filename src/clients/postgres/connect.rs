//! Connections: where an instance is, the way to it, and whose word it is believed on.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

use rustix::fs::{MemfdFlags, Mode, fchmod, memfd_create};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{MakeTlsConnect, NoTls, TlsConnect};
use tokio_postgres::{Client, Config, Error};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::explain;
use super::long::READS_ONLY;
use super::trust::trust;
use super::{Purpose, Session, simulated, vigil};
use crate::clients::tcp::{self, Failure};
use crate::clients::{Clients, Network, via};
use crate::clock::within;
use crate::estate::secrets;
use crate::estate::types::{Connection, Database, TlsMode, Via};
use crate::outcome::{ActionError, FailureClass};
use crate::span::Span;

pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// Greeting, TLS and password, after the connection stands.
pub(super) const GREET_LIMIT: Duration = Duration::from_secs(4);
/// The server gives up before this side does, so that the answer is known.
const SERVER_LIMITS: &str = "-c statement_timeout=8000 -c lock_timeout=5000";

/// How sessions begin whose statements are all this program's own: names are those of the server itself, and what
/// somebody put into `public` is never called by the estate's user.
const OWN_STATEMENTS: &str =
    "-c search_path=pg_catalog -c statement_timeout=8000 -c lock_timeout=5000";

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
    let recovered = &database.recovered;
    let server = recovered.server.as_ref().filter(|_| recovered.id == instance);
    if let Some(name) = server.and_then(|server| server.certificate_name.clone()) {
        return Some(name);
    }
    let own = own_endpoint(database, instance).or(given)?;
    let (host, _) = tcp::split(own, None).ok()?;
    Some(host.to_owned())
}

/// Returns an instance's own endpoint, where the estate knows it.
fn own_endpoint<'a>(database: &'a Database, instance: &str) -> Option<&'a str> {
    let known = [Some(&database.primary), database.replica.as_ref()];
    match known.into_iter().flatten().find(|known| known.id == instance) {
        Some(found) => found.address.as_deref(),
        None => {
            let server = database.recovered.server.as_ref()?;
            (database.recovered.id == instance).then_some(server.listen.as_str())
        }
    }
}

/// Asks RDS for an instance's endpoint: last in the region that may be lost, and there not for long.
async fn endpoint(clients: &Clients, instance: &str) -> Option<String> {
    let primary = &clients.estate.primary.region;
    for region in clients.estate.regions.keys().filter(|region| *region != primary) {
        // Each SDK call is a large future, and every connection would carry it.
        if let Some(found) = Box::pin(endpoint_in(clients, region, instance)).await {
            return Some(found);
        }
    }
    let last = Box::pin(endpoint_in(clients, primary, instance));
    within(clients.clock.as_ref(), CONNECT_LIMIT, last).await.ok().flatten()
}

async fn endpoint_in(clients: &Clients, region: &str, instance: &str) -> Option<String> {
    let regional = clients.aws.region(region).await.ok()?;
    let asked = regional.rds.describe_db_instances().db_instance_identifier(instance).send();
    // No such instance there, or no answer: the caller says that the address is not known.
    let answer = asked.await.ok()?;
    let endpoint = answer.db_instances().first()?.endpoint()?;
    Some(format!("{}:{}", endpoint.address()?, endpoint.port()?))
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

/// Connects to another database of an instance as the estate's own user, for this program's own statements.
pub(crate) async fn connect_to(
    clients: &Clients,
    instance: &str,
    name: &str,
) -> Result<Session, NoSession> {
    let opening = Opening { database: Some(name), options: OWN_STATEMENTS };
    connect_with(clients, instance, None, opening).await
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
    let certified = certified(database, instance, given);
    open_at(clients, instance, (address, certified), opening).await
}

/// Connects to an address as it is: not by the estate's own way to the instance that is meant to be there. Its certificate
/// is that instance's, whose endpoint is `given`.
pub(super) async fn connect_straight(
    clients: &Clients,
    (instance, given): (&str, &str),
    address: &str,
) -> Result<Session, NoSession> {
    let database = database(clients).map_err(NoSession::Failed)?;
    let address = address.to_owned();
    if let Network::Simulated(sandbox) = &clients.network {
        return simulated::connect(clients, sandbox, instance, address).await;
    }
    let opening = Opening { database: None, options: SERVER_LIMITS };
    let certified = certified(database, instance, Some(given));
    open_at(clients, instance, (address, certified), opening).await
}

/// Opens a session at an address whose certificate has a name, or that of its host.
async fn open_at(
    clients: &Clients,
    instance: &str,
    (address, certified): (String, Option<String>),
    opening: Opening<'_>,
) -> Result<Session, NoSession> {
    let database = database(clients).map_err(NoSession::Failed)?;
    let failed = |class, message: String| NoSession::Failed(ActionError::unchanged(class, message));
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
    vigil::keep(&stream)
        .map_err(|error| failed(FailureClass::Internal, format!("watch {address}: {error}")))?;
    let greeted = match connection.tls {
        TlsMode::Disable => {
            config.ssl_mode(SslMode::Disable);
            within(clock, GREET_LIMIT, greet(&config, stream, NoTls)).await
        }
        TlsMode::Require => {
            config.ssl_mode(SslMode::Require);
            let tls = trust(connection).map_err(NoSession::Failed)?;
            let certified = certified.unwrap_or_else(|| host.to_owned());
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
        Ok(Ok(client)) => {
            Ok(Session { client, reads_only: opening.options.contains(READS_ONLY), address })
        }
        Ok(Err(error)) => Err(no_greeting(instance, address, &error)),
        Err(_) => {
            let said =
                format!("it accepted the connection and said nothing for {}", Span(GREET_LIMIT));
            Err(NoSession::Unreachable { address, said })
        }
    }
}

pub(super) async fn greet<S, T>(config: &Config, stream: S, tls: T) -> Result<Client, Error>
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

pub(super) fn no_greeting(instance: &str, address: String, error: &Error) -> NoSession {
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

/// How PostgreSQL's own programs are told to connect: by variables, the password by a file that is in no directory.
#[derive(Debug)]
pub(crate) struct Login {
    pub env: BTreeMap<String, String>,
    /// In memory, for as long as this process lives: `/proc` is the only way to it, and only our own user's
    _password: OwnedFd,
}

/// Returns what PostgreSQL's own programs need to connect to an instance as the estate's user.
pub(crate) async fn login(clients: &Clients, instance: &str) -> Result<Login, ActionError> {
    let database = database(clients)?;
    let address = whereabouts(clients, instance, None).await?;
    via::open(clients, way(database, instance)).await.map_err(|error| {
        let message = format!("reach the database {instance}: {error}");
        ActionError::unchanged(FailureClass::Transient, message)
    })?;
    let (host, port) = tcp::split(&address, Some(5432)).map_err(|failure| {
        let message = format!("address of {instance}: {failure}");
        ActionError::unchanged(FailureClass::Invalid, message)
    })?;
    let connection = &database.connection;
    let password = password(clients, connection).await?;
    let (file, path) = in_memory(&passfile_line(password.expose_secret())).map_err(|error| {
        let message = format!("hand the password of {} on: {error}", connection.user);
        ActionError::unchanged(FailureClass::Internal, message)
    })?;
    let mut env = BTreeMap::from([
        ("PGHOST".to_owned(), host.to_owned()),
        ("PGPORT".to_owned(), port.to_string()),
        ("PGUSER".to_owned(), connection.user.clone()),
        ("PGPASSFILE".to_owned(), path),
        ("PGAPPNAME".to_owned(), "phoenix-dr".to_owned()),
        ("PGCONNECT_TIMEOUT".to_owned(), "10".to_owned()),
        // What they say is looked at.
        ("LC_MESSAGES".to_owned(), "C".to_owned()),
    ]);
    match connection.tls {
        TlsMode::Disable => drop(env.insert("PGSSLMODE".to_owned(), "disable".to_owned())),
        TlsMode::Require => {
            env.insert("PGSSLMODE".to_owned(), "verify-full".to_owned());
            if let Some(path) = &connection.root_cert {
                env.insert("PGSSLROOTCERT".to_owned(), path.clone());
            }
            // A port forward has another name than the certificate.
            if let Some(name) = certified(database, instance, None).filter(|name| name != host) {
                let found =
                    tcp::resolve(clients.clock.as_ref(), host, port).await.map_err(|failure| {
                        let message = format!("address of {instance}: {failure}");
                        ActionError::unchanged(FailureClass::Transient, message)
                    })?;
                let numeric =
                    found.first().map_or_else(|| host.to_owned(), |at| at.ip().to_string());
                env.insert("PGHOSTADDR".to_owned(), numeric);
                env.insert("PGHOST".to_owned(), name);
            }
        }
    }
    Ok(Login { env, _password: file })
}

/// Returns a password as a line that fits every connection.
fn passfile_line(password: &str) -> String {
    format!("*:*:*:*:{}\n", password.replace('\\', "\\\\").replace(':', "\\:"))
}

/// Returns a file in memory that only our own user can read, and the path by which a child reaches it.
fn in_memory(text: &str) -> std::io::Result<(OwnedFd, String)> {
    let fd = memfd_create("phoenix-dr", MemfdFlags::CLOEXEC)?;
    fchmod(&fd, Mode::RUSR | Mode::WUSR)?;
    let mut file = std::fs::File::from(fd);
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    Ok((OwnedFd::from(file), path))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_handed_on_in_a_file_that_nobody_else_reads() {
        let (file, path) = in_memory(&passfile_line("a:b\\c")).expect("made");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "*:*:*:*:a\\:b\\\\c\n");
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).expect("there"));
        assert_eq!(mode & 0o777, 0o600, "libpq leaves out a file that others may read");
        drop(file);
        assert!(!std::path::Path::new(&path).exists(), "it is gone with its holder");
    }
}
