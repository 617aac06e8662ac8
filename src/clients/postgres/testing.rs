//! A PostgreSQL server of our own for tests, in a temporary directory, ended with it.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

mod way;

pub(crate) use way::{brisk, way};

/// The operator of the tests' estates.
pub(crate) const OPERATOR: &str = "dr";
const PASSWORD: &str = "operator-secret";

/// A running server.
pub(crate) struct Server {
    pub address: SocketAddr,
    directory: tempfile::TempDir,
    child: Child,
    bin: PathBuf,
}

/// Returns the directory of PostgreSQL's programs, where there are any. Where everything is to be tested they must be there:
/// a test that was left out has not passed.
fn bin() -> Option<PathBuf> {
    let named = std::env::var_os("PHOENIX_DR_TEST_PG_BIN").map(PathBuf::from);
    let debian = PathBuf::from("/usr/lib/postgresql/15/bin");
    let bin = named.unwrap_or(debian);
    let found = bin.join("initdb").exists();
    assert!(
        found || std::env::var_os("PHOENIX_DR_TEST_ESTATE").is_none(),
        "PHOENIX_DR_TEST_ESTATE is set, and there is no PostgreSQL in {}",
        bin.display()
    );
    found.then_some(bin)
}

/// Returns the ids of an unprivileged user: the server refuses to run as root.
fn unprivileged() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    ids("postgres").or_else(|| ids("nobody")).or(Some((65534, 65534)))
}

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    if let Some((user, group)) = unprivileged() {
        command.uid(user).gid(group);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
    command
}

fn owned(path: &Path) {
    if let Some((user, group)) = unprivileged() {
        std::os::unix::fs::chown(path, Some(user), Some(group)).expect("chown");
    }
}

fn serve(bin: &Path, directory: &Path, data: &Path, address: SocketAddr) -> Child {
    command(&bin.join("postgres"))
        .arg("-D")
        .arg(data)
        .args(["-F", "-c", "listen_addresses=127.0.0.1", "-c", "hot_standby=on"])
        .args(["-c", &format!("port={}", address.port())])
        .arg("-k")
        .arg(directory)
        .spawn()
        .expect("postgres starts")
}

impl Server {
    /// Starts a server whose pages have checksums and whose superuser is `postgres`; `None` where PostgreSQL is not installed.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(&["-k"])
    }

    /// Starts a server whose data were made with these options of `initdb`; without `-k` its pages have no checksums.
    pub(crate) fn start_with(options: &[&str]) -> Option<Self> {
        let bin = bin()?;
        let directory = tempfile::tempdir().expect("directory");
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))
            .expect("mode");
        owned(directory.path());
        let secret = directory.path().join("password");
        std::fs::write(&secret, PASSWORD).expect("written");
        owned(&secret);
        let data = directory.path().join("data");
        let made = command(&bin.join("initdb"))
            .args(options)
            .args(["-N", "-U", "postgres", "-A", "scram-sha-256", "--pwfile"])
            .arg(&secret)
            .arg("-D")
            .arg(&data)
            .status();
        assert!(made.expect("initdb runs").success(), "initdb failed");
        Some(Self::run(bin, directory, &data))
    }

    fn run(bin: PathBuf, directory: tempfile::TempDir, data: &Path) -> Self {
        let address = crate::clients::tcp::tests::closed();
        let child = serve(&bin, directory.path(), data, address);
        Self { address, directory, child, bin }
    }

    /// Stops the server as its administrator does, changes its files, and starts it again: what was in its memory is gone.
    pub(crate) async fn while_stopped(&mut self, change: impl FnOnce(&Path)) {
        let data = self.directory.path().join("data");
        let stopped = command(&self.bin.join("pg_ctl"))
            .args(["stop", "-m", "fast", "-w", "-D"])
            .arg(&data)
            .status();
        assert!(stopped.expect("pg_ctl runs").success(), "the server does not stop");
        drop(self.child.wait());
        change(&data);
        self.child = serve(&self.bin, self.directory.path(), &data, self.address);
        self.sql("postgres", "select").await;
    }

    /// Makes a directory that the server may write to, beside its data.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::create_dir(&path).expect("made");
        owned(&path);
        path
    }

    /// Has it archive its WAL into a directory, which is returned. Its settings say where its data are, as Debian's do.
    pub(crate) async fn archive(&mut self) -> PathBuf {
        let wal = self.directory("wal");
        let copy = format!("test ! -f {0}/%f && cp %p {0}/.%f && mv {0}/.%f {0}/%f", wal.display());
        self.while_stopped(|data| {
            let place = format!("data_directory = '{}'", data.display());
            let settings = format!("{place}\narchive_mode = on\narchive_command = '{copy}'\n");
            let mut file = std::fs::OpenOptions::new();
            let file = file.append(true).open(data.join("postgresql.conf"));
            std::io::Write::write_all(&mut file.expect("opened"), settings.as_bytes())
                .expect("written");
        })
        .await;
        wal
    }

    /// Ends the segment that is being written, and waits until it is archived.
    pub(crate) async fn archived(&self) {
        let name = "select pg_walfile_name(pg_current_wal_insert_lsn())";
        let name = self.text("postgres", name).await;
        // Without a change a segment that was just begun is not ended.
        self.sql("postgres", "select pg_create_restore_point('archived'); select pg_switch_wal()")
            .await;
        let file = self.directory.path().join("wal").join(name);
        for _ in 0..600 {
            if file.exists() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("{} is not archived", file.display());
    }

    /// Makes a base backup, with further options of `pg_basebackup`.
    pub(crate) fn base_backup(&self, into: &Path, options: &[&str]) {
        let port = self.address.port().to_string();
        let made = command(&self.bin.join("pg_basebackup"))
            .env("PGPASSWORD", PASSWORD)
            .args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-c", "fast"])
            .args(options)
            .arg("-D")
            .arg(into)
            .status();
        assert!(made.expect("pg_basebackup runs").success(), "pg_basebackup failed");
    }

    /// Ends another server on this host, however it goes on.
    pub(crate) fn end(&self, data: &Path) {
        let mut command = command(&self.bin.join("pg_ctl"));
        drop(command.args(["stop", "-m", "immediate", "-w", "-D"]).arg(data).status());
    }

    /// Returns the user servers of these tests run as.
    pub(crate) fn user() -> String {
        let id = match unprivileged() {
            Some((user, _)) => user,
            None => rustix::process::geteuid().as_raw(),
        };
        let named = Command::new("id").args(["-un", &id.to_string()]).output().expect("id runs");
        String::from_utf8_lossy(&named.stdout).trim().to_owned()
    }

    /// Returns where a file of its data is.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join("data").join(file)
    }

    /// Returns the one text a query of the superuser gives.
    pub(crate) async fn text(&self, database: &str, sql: &str) -> String {
        let (client, driver) = self.client("postgres", PASSWORD, database).await.expect("connects");
        let row =
            client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        drop(client);
        drop(driver);
        row.get(0)
    }

    /// Waits until a query of the superuser gives this text; not for ever, so that a test fails and says what it met.
    pub(crate) async fn until(&self, database: &str, sql: &str, wanted: &str) {
        const TRIES: u32 = 3_000;
        let mut said = String::new();
        for _ in 0..TRIES {
            said = self.text(database, sql).await;
            if said == wanted {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("{sql}: `{said}` and not `{wanted}`");
    }

    /// Returns what one of PostgreSQL's own programs says that connects as the superuser.
    pub(crate) fn said(&self, program: &str, arguments: &[&str]) -> String {
        let ran = command(&self.bin.join(program))
            .env("PGPASSWORD", PASSWORD)
            .args(["-h", "127.0.0.1", "-p", &self.address.port().to_string(), "-U", "postgres"])
            .args(arguments)
            .stdout(Stdio::piped())
            .output()
            .expect("it runs");
        assert!(ran.status.success(), "{program} failed");
        String::from_utf8(ran.stdout).expect("text")
    }

    /// Starts a replica of this server.
    pub(crate) fn replica(&self) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))
            .expect("mode");
        owned(directory.path());
        let data = directory.path().join("data");
        self.base_backup(&data, &["-R"]);
        Self::run(self.bin.clone(), directory, &data)
    }

    /// Promotes a replica and waits for it.
    pub(crate) fn promote(&self) {
        let data = self.directory.path().join("data");
        let done = command(&self.bin.join("pg_ctl")).arg("promote").arg("-D").arg(data).status();
        assert!(done.expect("pg_ctl runs").success(), "the promotion failed");
    }

    /// Runs SQL as the superuser.
    pub(crate) async fn sql(&self, database: &str, sql: &str) {
        let (client, driver) = self.client("postgres", PASSWORD, database).await.expect("connects");
        client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        drop(client);
        drop(driver);
    }

    /// Connects as a role; retries while the server starts.
    pub(crate) async fn client(
        &self,
        role: &str,
        password: &str,
        database: &str,
    ) -> Result<(tokio_postgres::Client, tokio::task::JoinHandle<()>), tokio_postgres::Error> {
        Self::client_at(self.address.port(), role, password, database).await
    }

    /// Connects to a server of these tests as a role; retries while it starts.
    pub(crate) async fn client_at(
        port: u16,
        role: &str,
        password: &str,
        database: &str,
    ) -> Result<(tokio_postgres::Client, tokio::task::JoinHandle<()>), tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(port).user(role).password(password).dbname(database);
        config.application_name(format!("{role}-pod"));
        for attempt in 0.. {
            match config.connect(tokio_postgres::NoTls).await {
                Ok((client, connection)) => {
                    let driver = tokio::spawn(async move { drop(connection.await) });
                    return Ok((client, driver));
                }
                Err(error)
                    if attempt < 200
                        && error.code().is_none_or(|code| code.code().starts_with("57P")) =>
                {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
                Err(error) => return Err(error),
            }
        }
        unreachable!("the loop returns")
    }

    /// Returns an estate whose primary is this server, reached as a role that owns the database `phoenix`.
    pub(crate) fn estate(&self, more: &Value) -> Value {
        let mut database = json!({
            "name": "phoenix",
            "primary": { "id": "phoenix-prod", "region": "us-east-1", "address": self.address.to_string() },
            "recovered": { "id": "phoenix-recovered" },
            "connection": {
                "user": OPERATOR,
                "password_from": { "file": self.secret() },
                "tls": "disable",
                "application_roles": ["app"],
            },
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            database[name.as_str()] = value.clone();
        }
        json!({ "database": database })
    }

    /// Returns the file that holds everybody's password.
    pub(crate) fn secret(&self) -> String {
        self.directory.path().join("password").display().to_string()
    }

    /// Makes the database, its operator and the application's role, all with the same password.
    pub(crate) async fn prepare(&self) {
        let roles = format!(
            "create role {OPERATOR} login createrole password '{PASSWORD}'; \
             create role app login password '{PASSWORD}'; \
             grant pg_signal_backend, pg_monitor to {OPERATOR};"
        );
        self.sql("postgres", &roles).await;
        self.sql("postgres", &format!("create database phoenix owner {OPERATOR}")).await;
        self.sql("phoenix", "create table orders (id int); grant all on orders to app, dr").await;
    }

    /// Connects as the application does.
    pub(crate) async fn application(
        &self,
    ) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        self.client("app", PASSWORD, "phoenix").await.map(|(client, _)| client)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // Immediate shutdown: the server ends its own children.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
        }
        drop(self.child.wait());
    }
}
