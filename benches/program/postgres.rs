//! A PostgreSQL server of our own, in a temporary directory, ended with it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::folder::Folder;

/// Who it belongs to, and that one's password.
const USER: &str = "postgres";
const PASSWORD: &str = "of-a-benchmark";

/// A running server.
pub(crate) struct Server {
    port: u16,
    bin: PathBuf,
    folder: tempfile::TempDir,
    child: Child,
}

/// The unprivileged user a server runs as, where this is root.
fn unprivileged() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("users");
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("a user postgres");
    let mut ids = line.split(':').skip(2).map(|id| id.parse::<u32>().expect("an id"));
    Some((ids.next().expect("a user"), ids.next().expect("a group")))
}

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    if let Some((user, group)) = unprivileged() {
        command.uid(user).gid(group);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
    command
}

impl Server {
    /// Starts a server; `None` where PostgreSQL 15 is not installed.
    pub(crate) fn start() -> Option<Self> {
        let bin = PathBuf::from("/usr/lib/postgresql/15/bin");
        if !bin.join("initdb").exists() {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its mode");
        let password = path.join("password");
        fs::write(&password, PASSWORD).expect("written");
        if let Some((user, group)) = unprivileged() {
            chown(path, Some(user), Some(group)).expect("its owner");
            chown(&password, Some(user), Some(group)).expect("its owner");
        }
        let data = path.join("data");
        let made = command(&bin.join("initdb"))
            .args(["-N", "-k", "-U", USER, "-A", "scram-sha-256", "--pwfile"])
            .arg(&password)
            .arg("-D")
            .arg(&data)
            .status();
        assert!(made.expect("initdb runs").success(), "initdb failed");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its number").port();
        drop(listener);
        let child = command(&bin.join("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(path)
            .args(["-c", "listen_addresses=127.0.0.1", "-c", &format!("port={port}")])
            .spawn()
            .expect("postgres starts");
        let server = Self { port, bin, folder, child };
        while !server.psql("postgres", "select 1") {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        Some(server)
    }

    /// Names the server in a folder's estate as its database, with what else is said of that, a line each.
    pub(crate) fn named_in(&self, folder: &Folder, more: &str) {
        let file = folder.path().join("phoenix-dr.yaml");
        let estate = fs::read_to_string(&file).expect("read the estate");
        let database = format!(
            "database:
  name: postgres
  primary: {{ id: bench-db, region: us-east-1, address: '127.0.0.1:{}' }}
  recovered: {{ id: bench-recovered }}
  connection: {{ user: {USER}, password_from: {{ file: {} }}, tls: disable }}
  {more}
",
            self.port,
            self.folder.path().join("password").display()
        );
        fs::write(&file, estate + &database).expect("write the estate");
    }

    /// Carries out SQL, which must succeed.
    pub(crate) fn sql(&self, sql: &str) {
        self.sql_in("postgres", sql);
    }

    /// Carries out SQL in a database.
    pub(crate) fn sql_in(&self, database: &str, sql: &str) {
        assert!(self.psql(database, sql), "{sql}");
    }

    /// Runs one of PostgreSQL's own programs, which must succeed.
    pub(crate) fn program(&self, name: &str, arguments: &[&str]) {
        let mut program = Command::new(self.bin.join(name));
        program.stdin(Stdio::null()).stdout(Stdio::null());
        assert!(self.run(program, arguments), "{name} {arguments:?}");
    }

    fn psql(&self, database: &str, sql: &str) -> bool {
        let how = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql];
        self.run(command(&self.bin.join("psql")), &how)
    }

    fn run(&self, mut program: Command, arguments: &[&str]) -> bool {
        let port = self.port.to_string();
        let to = [("PGHOST", "127.0.0.1"), ("PGPORT", &port), ("PGUSER", USER)];
        let ran = program.env("PGPASSWORD", PASSWORD).envs(to).args(arguments).status();
        ran.expect("it runs").success()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // Immediate shutdown: the server ends its own children.
            rustix::process::kill_process(pid, rustix::process::Signal::QUIT).ok();
        }
        self.child.wait().ok();
    }
}
