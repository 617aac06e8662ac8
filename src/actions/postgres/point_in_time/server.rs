//! The server on the restored data: as whom it runs, how it is told its target, whether it has reached it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::place::Mark;
use super::way::Way;
use crate::actions::postgres::base::look;
use crate::actions::postgres::target::RecoveryTarget;
use crate::clients::Clients;
use crate::clients::postgres::tools::{Found, Tool, find_exact};
use crate::clients::process::ProgramEnd;
use crate::clients::tcp;
use crate::engine::ports::Call;
use crate::estate::own_server::OwnServer;
use crate::outcome::{ActionError, FailureClass};
use crate::shell;

/// Pause between two looks at a server that replays.
const PAUSE: Duration = Duration::from_secs(1);
/// A program that only looks, or that starts or stops a server.
const LOOK_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(180);
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// The server's own log, in its data directory: it goes with it.
const LOG: &str = "phoenix-dr.log";
/// File a running server keeps in its data directory: its process, the directory, and when it was started.
const PID: &str = "postmaster.pid";
/// Seconds between when a server notes its start there and the instant it says itself: it gets its memory in between.
const START_MAX: u64 = 60;
/// Exit status of `pg_ctl status` where no server runs.
const NOT_RUNNING: i32 = 3;
/// What the server logs where the log ends before the target.
const NOT_REACHED: &str = "recovery ended before configured recovery target was reached";
/// Lines of access that are given where the backup has none: Debian keeps them elsewhere.
const ACCESS: &str = "host all all samehost scram-sha-256\n";

/// The user of this host the server runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    name: String,
    /// Where this program is root and becomes another
    ids: Option<(u32, u32)>,
}

impl User {
    /// Returns the user the estate names; this program must be root, or that user.
    pub(super) async fn of(clients: &Clients, server: &OwnServer) -> Result<Self, ActionError> {
        let name = server.user.clone();
        let id = async |which: &str| {
            let argv = ["id", which, "--", &name].map(str::to_owned);
            let ended = look(clients, &argv, LOOK_LIMIT).await?;
            ended.stdout.trim().parse::<u32>().map_err(|_| {
                let message = format!("this host has no user `{name}`");
                ActionError::unchanged(FailureClass::NotFound, message)
                    .hint("make the user, or name another in `database.recovered.server.user`")
            })
        };
        let (user, group) = (id("--user").await?, id("--group").await?);
        let own = rustix::process::geteuid();
        if own.is_root() {
            return Ok(Self { name, ids: Some((user, group)) });
        }
        if own.as_raw() == user {
            return Ok(Self { name, ids: None });
        }
        let message = format!("only root can start a server as {name}");
        Err(ActionError::unchanged(FailureClass::Denied, message)
            .hint(format!("run phoenix-dr as root or as {name}, or name yourself in `database.recovered.server.user`")))
    }

    /// Returns a command as it is run by this user.
    fn argv(&self, words: &[String]) -> Vec<String> {
        let Some((user, group)) = self.ids else { return words.to_vec() };
        let become_other =
            [format!("--reuid={user}"), format!("--regid={group}"), "--init-groups".to_owned()];
        std::iter::once("setpriv".to_owned())
            .chain(become_other)
            .chain(words.iter().cloned())
            .collect()
    }

    /// Makes sure that the server will be able to read the archived WAL: what it cannot read is the end of the log to it.
    pub(super) async fn may_read(&self, clients: &Clients, way: &Way) -> Result<(), ActionError> {
        let names = way.reach.whole.iter().rev().map(|segment| segment.name(way.reach.size));
        let mut files = names.map(|name| way.archive.folder().join(name));
        // The backup's own are copied, whoever may read them; what is to be fetched lies below a folder.
        let (how, file) = match files.find(|file| file.exists()) {
            Some(file) => ("-r", file),
            None if way.is_fetched() => ("-x", way.archive.above().to_owned()),
            None => return Ok(()),
        };
        let argv = ["test", how, &file.display().to_string()].map(str::to_owned);
        let ended = look(clients, &self.argv(&argv), LOOK_LIMIT).await?;
        if ended.end == ProgramEnd::Exit(0) {
            return Ok(());
        }
        let message = format!("{} may not read {}", self.name, file.display());
        Err(ActionError::unchanged(FailureClass::Denied, message)
            .hint(format!(
                "the restored server reads the archived WAL as that user: setfacl --recursive --modify u:{}:rX {}",
                self.name,
                way.archive.above().display()
            )))
    }

    /// Gives files to this user.
    pub(super) async fn give(&self, clients: &Clients, files: &Path) -> Result<(), ActionError> {
        let Some((user, group)) = self.ids else { return Ok(()) };
        let owner = format!("{user}:{group}");
        let words = ["chown", "--recursive", "--no-dereference", "--", &owner];
        let argv: Vec<String> =
            words.map(str::to_owned).into_iter().chain([files.display().to_string()]).collect();
        let ended = look(clients, &argv, STOP_LIMIT).await?;
        if ended.end == ProgramEnd::Exit(0) {
            return Ok(());
        }
        let message =
            format!("give {} to {}: {}", files.display(), self.name, ended.say(STOP_LIMIT));
        Err(ActionError::unchanged(FailureClass::Denied, message))
    }
}

/// Returns what is added to the files of the copy: settings that go before all others, and what the backup lacks.
pub(super) async fn settings(
    clients: &Clients,
    server: &OwnServer,
    way: &Way,
    draft: &Path,
    now: Timestamp,
) -> Result<Vec<(&'static str, String)>, ActionError> {
    let (address, port) = server.listen.rsplit_once(':').unwrap_or((&server.listen, "5432"));
    let address = address.trim_start_matches('[').trim_end_matches(']');
    // `%` begins a name for the server, which has this said by a shell.
    let wal = shell::word(&way.archive.folder().display().to_string()).replace('%', "%%");
    let (name, value) = match &way.goal {
        RecoveryTarget::Time(time) => ("recovery_target_time", in_words(*time)),
        RecoveryTarget::Name(name) => ("recovery_target_name", name.clone()),
        RecoveryTarget::Lsn(lsn) => ("recovery_target_lsn", lsn.to_string()),
        // Only said by a caller that did not resolve it; the server calls going on to the end by no name.
        RecoveryTarget::Latest => ("recovery_target", String::new()),
    };
    let targets = ["", "_lsn", "_name", "_time", "_xid"].map(|end| format!("recovery_target{end}"));
    let unset = targets.iter().filter(|target| *target != name).map(|target| (target.as_str(), ""));
    let (timeline, restore) = (way.reach.timeline.to_string(), format!("cp {wal}/%f %p"));
    let given = [
        ("listen_addresses", address),
        ("port", port),
        // A socket's file would be where the damaged server has its own.
        ("unix_socket_directories", ""),
        ("external_pid_file", ""),
        // Nothing of it may come among what the damaged server has archived.
        ("archive_mode", "off"),
        ("hot_standby", "on"),
        // Every commit would wait for a standby that is the damaged server's.
        ("synchronous_standby_names", ""),
        // A subscription would go on where its publisher is with the damaged server, and jobs would run a second time.
        ("max_logical_replication_workers", "0"),
        ("cron.launch_active_jobs", "off"),
        ("logging_collector", "off"),
        ("log_destination", "stderr"),
        ("primary_conninfo", ""),
        ("restore_command", &restore),
        ("recovery_target_action", "promote"),
        ("recovery_target_inclusive", "on"),
        ("recovery_target_timeline", &timeline),
    ];
    let mut text = format!("\n# phoenix-dr, {now:.0}: {} up to `{}`\n", way.backup.name, way.goal);
    for (name, value) in given.into_iter().chain(unset).chain([(name, value.as_str())]) {
        text += &format!("{name} = {}\n", quoted(value));
    }
    let mut own = places(Path::new(&server.data));
    if !draft.join("postgresql.conf").exists() {
        own += &needed(clients, way.major, draft).await?;
    }
    let mut files = vec![("postgresql.auto.conf", text), ("postgresql.conf", own)];
    if !draft.join("pg_hba.conf").exists() {
        files.push(("pg_hba.conf", ACCESS.to_owned()));
        files.push(("pg_ident.conf", String::new()));
    }
    Ok(files)
}

/// Returns where the server's files are: settings of its primary may say that they are where the damaged server has its own,
/// and such a server would be started on the damaged data.
fn places(data: &Path) -> String {
    let file = |name: &str| quoted(&data.join(name).display().to_string());
    format!(
        "\n# phoenix-dr\ndata_directory = {}\nhba_file = {}\nident_file = {}\n",
        quoted(&data.display().to_string()),
        file("pg_hba.conf"),
        file("pg_ident.conf")
    )
}

/// Returns an instant as the server reads it.
fn in_words(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S.%6f+00").to_string()
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

/// Returns the settings without which a server with these data does not replay: those its primary had.
async fn needed(clients: &Clients, major: u32, data: &Path) -> Result<String, ActionError> {
    let told = control(clients, major, data).await?;
    let names = [
        ("max_connections setting", "max_connections"),
        ("max_worker_processes setting", "max_worker_processes"),
        ("max_wal_senders setting", "max_wal_senders"),
        ("max_prepared_xacts setting", "max_prepared_transactions"),
        ("max_locks_per_xact setting", "max_locks_per_transaction"),
    ];
    let values = names
        .iter()
        .filter_map(|(told_as, name)| Some(format!("{name} = {}\n", field(&told, told_as)?)));
    Ok(values.collect())
}

async fn control(clients: &Clients, major: u32, data: &Path) -> Result<String, ActionError> {
    let tool = find_exact(clients, Tool::ControlData, major).await?;
    let argv = [tool.program, data.display().to_string()];
    let ended = look(clients, &argv, LOOK_LIMIT).await?;
    match ended.end {
        ProgramEnd::Exit(0) => Ok(ended.stdout),
        ProgramEnd::Exit(_) | ProgramEnd::Signal(_) | ProgramEnd::TimedOut => {
            let message =
                format!("read the state of {}: {}", data.display(), ended.say(LOOK_LIMIT));
            Err(ActionError::unchanged(FailureClass::Transient, message))
        }
    }
}

fn field<'a>(told: &'a str, name: &str) -> Option<&'a str> {
    let found = told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.map(str::trim)
}

/// Reads a transaction's number, e.g. `0:741`: its epoch and the number in it.
fn transaction(text: &str) -> Option<u64> {
    let (epoch, number) = text.split_once(':')?;
    Some(epoch.parse::<u64>().ok()? << 32 | number.parse::<u64>().ok()?)
}

/// A server on a data directory, running or not.
pub(super) struct Process {
    data: PathBuf,
    listen: String,
    major: u32,
    ctl: Found,
    user: User,
}

impl Process {
    pub(super) async fn of(
        clients: &Clients,
        server: &OwnServer,
        major: u32,
    ) -> Result<Self, ActionError> {
        let ctl = find_exact(clients, Tool::Ctl, major).await?;
        let user = User::of(clients, server).await?;
        let (data, listen) = (PathBuf::from(&server.data), server.listen.clone());
        Ok(Self { data, listen, major, ctl, user })
    }

    fn ctl(&self, words: &[String]) -> Vec<String> {
        let program = [self.ctl.program.clone(), "--pgdata".to_owned()];
        let all: Vec<String> = program
            .into_iter()
            .chain([self.data.display().to_string()])
            .chain(words.iter().cloned())
            .collect();
        self.user.argv(&all)
    }

    /// Makes sure that the server's user can run the programs: they may lie where only this program's user reaches.
    pub(super) async fn may_run(&self, clients: &Clients) -> Result<(), ActionError> {
        // Not by running it: `setpriv` has root's rights until the program is there, and that one finds no other beside it.
        let argv = ["test", "-x", &self.ctl.program].map(str::to_owned);
        let ended = look(clients, &self.user.argv(&argv), LOOK_LIMIT).await?;
        if ended.end == ProgramEnd::Exit(0) {
            return Ok(());
        }
        let (user, program) = (&self.user.name, &self.ctl.program);
        let message = format!("{user} cannot run {program}");
        Err(ActionError::unchanged(FailureClass::Denied, message).hint(format!(
            "the restored server runs as that user: let it read and enter every directory above the program \
             (`namei -l {program}`), or name others in `database.tools`"
        )))
    }

    /// Says that the address is taken, where it is.
    pub(super) async fn nobody_listens(&self, clients: &Clients) -> Result<(), ActionError> {
        match tcp::connect(clients.clock.as_ref(), &self.listen, CONNECT_LIMIT).await {
            Err(_) => Ok(()),
            Ok(_) => {
                let message = format!("something else listens at {} already", self.listen);
                Err(ActionError::unchanged(FailureClass::Conflict, message).hint(
                    "name a port that is free in `database.recovered.server.listen`, or stop what has it",
                ))
            }
        }
    }

    /// Says whether a server runs on the data.
    pub(super) async fn running(&self, clients: &Clients) -> Result<bool, ActionError> {
        let ended = look(clients, &self.ctl(&["status".to_owned()]), LOOK_LIMIT).await?;
        match ended.end {
            ProgramEnd::Exit(0) => Ok(true),
            ProgramEnd::Exit(NOT_RUNNING) => Ok(false),
            ProgramEnd::Exit(_) | ProgramEnd::Signal(_) | ProgramEnd::TimedOut => {
                let message = format!("ask whether a server runs: {}", ended.say(LOOK_LIMIT));
                Err(ActionError::unchanged(FailureClass::Transient, message))
            }
        }
    }

    /// Starts the server, where none runs. How that ends says nothing: it may replay for hours, or end a moment later.
    pub(super) async fn start(&self, clients: &Clients) -> Result<(), ActionError> {
        if self.running(clients).await? {
            return Ok(());
        }
        let log = format!("--log={}", self.data.join(LOG).display());
        let words = ["start", "--wait", "--timeout=5", &log].map(str::to_owned);
        let argv = self.ctl(&words);
        clients.guard.pass(shell::line(&argv))?;
        look(clients, &argv, LOOK_LIMIT).await.map(drop)
    }

    /// Says whether the server has ended because the log it read was no further.
    pub(super) fn lacked_wal(&self) -> bool {
        let log = std::fs::read_to_string(self.data.join(LOG)).unwrap_or_default();
        log.contains(NOT_REACHED)
    }

    /// Returns the number of the next transaction that writes, of a server that was shut down; `None` of one that ended otherwise.
    pub(super) async fn next_transaction(
        &self,
        clients: &Clients,
    ) -> Result<Option<u64>, ActionError> {
        let told = control(clients, self.major, &self.data).await?;
        let shut_down = field(&told, "Database cluster state") == Some("shut down");
        Ok(field(&told, "Latest checkpoint's NextXID").filter(|_| shut_down).and_then(transaction))
    }

    /// Says whether a server that was started at an instant, in seconds since 1970, is the one that runs on these data.
    pub(super) fn was_started(&self, at: i64) -> bool {
        let noted = std::fs::read_to_string(self.data.join(PID)).unwrap_or_default();
        let noted = noted.lines().nth(2).and_then(|line| line.trim().parse::<i64>().ok());
        noted.is_some_and(|noted| noted.abs_diff(at) <= START_MAX)
    }

    /// Returns how a server is started by hand.
    pub(super) fn by_hand(&self) -> String {
        shell::line(&self.ctl(&["start".to_owned()]))
    }

    /// Says whether the server has not reached its target yet, whether it runs or not.
    pub(super) fn recovers(&self) -> bool {
        self.data.join("recovery.signal").exists()
    }

    /// Waits until the server has reached its target and takes writes.
    pub(super) async fn promoted(
        &self,
        clients: &Clients,
        call: &Call,
        mark: &Mark,
    ) -> Result<(), ActionError> {
        loop {
            // A backup's control file says `in production` until the server has begun; the signal is there until it is over.
            let recovering = self.recovers();
            if !self.running(clients).await? {
                return Err(self.ended(mark));
            }
            let told = control(clients, self.major, &self.data).await?;
            let state = field(&told, "Database cluster state").unwrap_or_default();
            if !recovering && state == "in production" {
                return Ok(());
            }
            let at = field(&told, "Minimum recovery ending location").unwrap_or_default();
            call.progress.tell(format!("{state}, up to `{}`, now at {at}", mark.goal), None);
            clients.clock.sleep(PAUSE).await;
        }
    }

    /// Says why the server has ended, by its own words.
    fn ended(&self, mark: &Mark) -> ActionError {
        let log = std::fs::read_to_string(self.data.join(LOG)).unwrap_or_default();
        let last =
            log.lines().rev().find(|line| line.contains("FATAL:") || line.contains("PANIC:"));
        let last = last.or_else(|| log.lines().next_back()).unwrap_or("it logged nothing");
        let last = last.split_once("FATAL:").map_or(last, |(_, said)| said).trim();
        let at = self.data.join(LOG);
        if log.contains(NOT_REACHED) {
            let message = format!("the server has ended before it reached `{}`: {last}", mark.goal);
            return ActionError::applied(FailureClass::Invalid, message).hint(format!(
                "WAL that was there when this began is damaged, or is gone; see {}",
                at.display()
            ));
        }
        let message = format!("the restored server has ended: {last}");
        ActionError::applied(FailureClass::Invalid, message)
            .hint(format!("see {}, and its settings beside it", at.display()))
    }

    /// Stops the server, where one runs; whoever is connected is cut off.
    pub(super) async fn stop(&self, clients: &Clients) -> Result<(), ActionError> {
        if !self.running(clients).await? {
            return Ok(());
        }
        let mut failed = String::new();
        for mode in ["fast", "immediate"] {
            let words = ["stop".to_owned(), "--wait".to_owned(), format!("--mode={mode}")];
            let ended = look(clients, &self.ctl(&words), STOP_LIMIT).await?;
            if !self.running(clients).await? {
                return Ok(());
            }
            failed = ended.say(STOP_LIMIT);
        }
        let message = format!("the restored server at {} does not stop: {failed}", self.listen);
        Err(ActionError::unknown(FailureClass::Transient, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_quoted_as_the_server_reads_them() {
        assert_eq!(quoted(r"a'b\c"), r"'a''b\\c'");
        let time: Timestamp = "2026-11-29T04:41:20.123456789Z".parse().expect("an instant");
        assert_eq!(in_words(time), "2026-11-29 04:41:20.123456+00");
        let told = "max_connections setting:              250\nmax_worker_processes setting: 8\n";
        assert_eq!(field(told, "max_connections setting"), Some("250"));
        assert_eq!(field(told, "connections"), None);
        assert_eq!((transaction("1:741"), transaction("741")), (Some((1 << 32) + 741), None));
    }
}
