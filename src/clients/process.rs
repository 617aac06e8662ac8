//! Child programs: an argv without a shell, their own process group, bounded time and output, masked secrets.
//!
//! A group is ended by TERM, a grace, then KILL; also when the future that awaits it is dropped.

mod output;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};

use output::{Artifact, Heard, artifact, listen};

use super::confined::Place;
use super::{Clients, Network};
use crate::clock::{Clock, within};
use crate::event::Mode;
use crate::sandbox::Sandbox;
use crate::sandbox::programs::{Play, Purpose};
use crate::span::Span;

/// Time between TERM and KILL.
const GRACE: Duration = Duration::from_secs(5);
/// Time a finished program's pipes may stay open because a grandchild holds them.
const PIPES_LIMIT: Duration = Duration::from_secs(2);
/// Time a program may take to be cut off from the network.
const CONFINED_WITHIN: Duration = Duration::from_secs(30);
/// Value in `env` that hands a scrubbed variable of this process on.
pub(super) const INHERIT: &str = "inherit";
/// Variables with credentials of AWS.
const AWS: [&str; 9] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];
/// Variables of libpq and of the host's language that would make PostgreSQL's own programs do, or say, something else.
const LIBPQ: [&str; 22] = [
    "LC_ALL",
    "PGAPPNAME",
    "PGCHANNELBINDING",
    "PGCLIENTENCODING",
    "PGDATABASE",
    "PGGSSENCMODE",
    "PGHOSTADDR",
    "PGLOADBALANCEHOSTS",
    "PGOPTIONS",
    "PGREQUIREAUTH",
    "PGREQUIREPEER",
    "PGSERVICE",
    "PGSSLCERT",
    "PGSSLCERTMODE",
    "PGSSLCRL",
    "PGSSLCRLDIR",
    "PGSSLKEY",
    "PGSSLMINPROTOCOLVERSION",
    "PGSSLNEGOTIATION",
    "PGSYSCONFDIR",
    "PGTARGETSESSIONATTRS",
    "PGTZ",
];

/// Which variables of this process a child does not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scrub {
    /// Credentials of AWS and passwords of databases
    Credentials,
    /// Passwords of databases only: a check may have to ask AWS
    Passwords,
    /// All of that, and whatever else would make PostgreSQL's own programs connect another way than they are told
    Connection,
}

/// A program to run.
#[derive(Debug, Clone)]
pub(crate) struct Program<'a> {
    pub argv: &'a [String],
    pub env: &'a BTreeMap<String, String>,
    pub scrub: Scrub,
    pub cwd: Option<&'a str>,
    pub limit: Duration,
    /// File all its output is appended to, masked
    pub artifact: Option<PathBuf>,
    /// What it is run for: in a rehearsal that decides how it is played
    pub purpose: Purpose,
}

/// What is heard of what a program says while it runs.
#[derive(Clone, Copy, Default)]
pub(crate) struct Hearing<'a> {
    /// Of its output, only lines with these words are kept
    pub only: Option<&'a str>,
    /// Told each line of its errors, without its end
    pub told: Option<&'a (dyn Fn(&str) + Send + Sync)>,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgramEnd {
    Exit(i32),
    Signal(i32),
    /// Its time ran out and it was ended
    TimedOut,
}

/// A program that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub end: ProgramEnd,
    /// First 64 KiB, masked
    pub stdout: String,
    /// Last 4 KiB of the same
    pub last: String,
    /// Last 4 KiB of its errors, masked
    pub stderr: String,
}

impl Ended {
    /// Returns how it ended, with the last line it said.
    pub(crate) fn say(&self, limit: Duration) -> String {
        let how = match self.end {
            ProgramEnd::Exit(code) => format!("exit {code}"),
            ProgramEnd::Signal(signal) => format!("ended by signal {signal}"),
            ProgramEnd::TimedOut => format!("ended after {}", Span(limit)),
        };
        let said = [&self.stderr, &self.stdout]
            .into_iter()
            .find_map(|text| text.lines().rev().find(|line| !line.trim().is_empty()));
        said.map_or_else(|| how.clone(), |said| format!("{how}: {}", said.trim()))
    }
}

/// Why a program could not be run to an end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProgramError {
    #[error("argv is empty")]
    Empty,
    #[error(
        "`{program}` is not run: a rehearsal starts no program by itself, and no `rehearse` says what it does"
    )]
    Rehearsed { program: String },
    #[error(
        "`{program}` is not run: this host does not let it be cut off from the network ({why}); say in `rehearse` what it \
         does instead of `start`"
    )]
    Unconfined { program: String, why: String },
    #[error("read the secret for the variable {variable}: {why}")]
    Secret { variable: String, why: String },
    #[error("start `{program}`: {why}")]
    Start { program: String, why: String },
    #[error("open `{path}` for its output: {why}")]
    Artifact { path: String, why: String },
    /// It ran, but how it ended is not known
    #[error("wait for `{program}`: {why}")]
    Wait { program: String, why: String },
}

/// A child with everything it started, ended together.
pub(crate) struct Group {
    // Taken when the child was waited for or handed to the reaper.
    child: Option<Child>,
    leader: Pid,
    clock: Arc<dyn Clock>,
}

impl Group {
    /// Starts a command as the leader of its own process group, without standard input; its output is piped.
    fn start(clock: &Arc<dyn Clock>, command: &mut Command) -> Result<Self, std::io::Error> {
        Self::spawn(clock, command.stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    /// Starts a command as above that must not outlive this process: its standard input is a pipe only this process
    /// holds, and the kernel closes that whatever ends us. What it says is lost, for a pipe nobody reads would stop it.
    pub(super) fn start_tied(
        clock: &Arc<dyn Clock>,
        command: &mut Command,
    ) -> Result<Self, std::io::Error> {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self::spawn_with(clock, command)
    }

    /// Goes away as a process that is killed does: without a word to what it started.
    #[cfg(test)]
    pub(super) fn forsake(mut self) {
        drop(self.child.as_mut().and_then(|child| child.stdin.take()));
        std::mem::forget(self);
    }

    fn spawn(clock: &Arc<dyn Clock>, command: &mut Command) -> Result<Self, std::io::Error> {
        Self::spawn_with(clock, command.stdin(Stdio::null()))
    }

    fn spawn_with(clock: &Arc<dyn Clock>, command: &mut Command) -> Result<Self, std::io::Error> {
        let child = command.process_group(0).spawn()?;
        let leader = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
            .ok_or_else(|| std::io::Error::other("it has no process id"))?;
        Ok(Self { child: Some(child), leader, clock: Arc::clone(clock) })
    }

    /// Waits for the leader.
    pub(crate) async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        let Some(child) = &mut self.child else {
            return Err(std::io::Error::other("it was waited for already"));
        };
        let status = child.wait().await?;
        self.child = None;
        Ok(status)
    }

    /// Returns its status if it has ended by itself.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
        if status.is_some() {
            self.child = None;
        }
        status
    }

    /// Ends the group: TERM, a grace, KILL.
    pub(crate) async fn end(&mut self) {
        if let Some(child) = self.child.take() {
            reap(child, self.leader, Arc::clone(&self.clock)).await;
        }
    }
}

async fn reap(mut child: Child, leader: Pid, clock: Arc<dyn Clock>) {
    // An error says the group is gone already.
    let _ = rustix::process::kill_process_group(leader, Signal::TERM);
    if within(clock.as_ref(), GRACE, child.wait()).await.is_err() {
        let _ = rustix::process::kill_process_group(leader, Signal::KILL);
        drop(child.wait().await);
    } else {
        // What the leader left behind goes too.
        let _ = rustix::process::kill_process_group(leader, Signal::KILL);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(child) = self.child.take() else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                drop(runtime.spawn(reap(child, self.leader, Arc::clone(&self.clock))));
            }
            Err(_) => drop(rustix::process::kill_process_group(self.leader, Signal::KILL)),
        }
    }
}

/// Runs a program to its end, or ends it when its time is over.
pub(crate) async fn run(clients: &Clients, program: &Program<'_>) -> Result<Ended, ProgramError> {
    run_hearing(clients, program, Hearing::default()).await
}

/// Runs a program as above, and has somebody hear what it says meanwhile.
pub(crate) async fn run_hearing(
    clients: &Clients,
    program: &Program<'_>,
    hearing: Hearing<'_>,
) -> Result<Ended, ProgramError> {
    let name = program.argv.first().ok_or(ProgramError::Empty)?;
    if let Network::Simulated(sandbox) = &clients.network {
        let playing = sandbox.program(&clients.programs, &program.purpose, program.argv);
        let (end, said) = match within(&*clients.clock, program.limit, playing).await {
            Ok(Play::Ended { exit, stdout }) => (ProgramEnd::Exit(exit.into()), stdout),
            Ok(Play::Start) => return confined(clients, sandbox, program, name).await,
            Ok(Play::Unknown) => return Err(ProgramError::Rehearsed { program: name.clone() }),
            Err(_) => (ProgramEnd::TimedOut, String::new()),
        };
        let stdout = clients.masks.mask(&said);
        return Ok(Ended { end, stdout, last: String::new(), stderr: String::new() });
    }
    start(clients, program, name, hearing).await
}

/// Runs a program of which only lines with these words are heard: of what says much, and little that is wanted.
///
/// Not for rehearsals, whose programs say what their runbook has them say.
pub(crate) async fn sift(
    clients: &Clients,
    program: &Program<'_>,
    words: &str,
) -> Result<Ended, ProgramError> {
    let name = program.argv.first().ok_or(ProgramError::Empty)?;
    if clients.mode() == Mode::Rehearsal {
        return Err(ProgramError::Rehearsed { program: name.clone() });
    }
    start(clients, program, name, Hearing { only: Some(words), told: None }).await
}

/// Starts a program on this host and hears it out.
async fn start(
    clients: &Clients,
    program: &Program<'_>,
    name: &str,
    hearing: Hearing<'_>,
) -> Result<Ended, ProgramError> {
    let artifact = program.artifact.as_deref().map(artifact).transpose()?;
    let mut command = command(clients, program.argv, program.env, program.scrub);
    if let Some(cwd) = program.cwd {
        command.current_dir(cwd);
    }
    tracing::debug!(program = name, "program");
    let group = Group::start(&clients.clock, &mut command).map_err(|error| {
        ProgramError::Start { program: name.to_owned(), why: error.to_string() }
    })?;
    follow(clients, program, name, (group, artifact), hearing).await
}

/// Runs a program of a rehearsal where it reaches the simulation and nothing else.
async fn confined(
    clients: &Clients,
    sandbox: &Sandbox,
    program: &Program<'_>,
    name: &str,
) -> Result<Ended, ProgramError> {
    let refused = |why: String| ProgramError::Unconfined { program: name.to_owned(), why };
    let _real = clients.clock.at_real_time();
    let artifact = program.artifact.as_deref().map(artifact).transpose()?;
    let (mut place, mut command) = Place::prepare(sandbox, program.argv, program.env)
        .map_err(|error| refused(error.to_string()))?;
    if let Some(cwd) = program.cwd {
        command.current_dir(cwd);
    }
    tracing::debug!(program = name, "confined program");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let group = Group::spawn_with(&clients.clock, &mut command);
    // It holds the other end of the place's socket, whose end must be seen.
    drop(command);
    let group = group.map_err(|error| refused(format!("start `unshare`: {error}")))?;
    let opened = within(clients.clock.as_ref(), CONFINED_WITHIN, place.open()).await;
    match opened {
        Ok(Ok(_fronts)) => {
            follow(clients, program, name, (group, artifact), Hearing::default()).await
        }
        Ok(Err(error)) => {
            let short = Program { limit: GRACE, ..program.clone() };
            let ended =
                follow(clients, &short, name, (group, artifact), Hearing::default()).await?;
            Err(refused(format!("{error}; {}", ended.say(GRACE))))
        }
        Err(elapsed) => Err(refused(elapsed.to_string())),
    }
}

/// Hears a program out, and ends it when its time is over.
async fn follow(
    clients: &Clients,
    program: &Program<'_>,
    name: &str,
    (mut group, artifact): (Group, Option<Arc<Mutex<Artifact>>>),
    hearing: Hearing<'_>,
) -> Result<Ended, ProgramError> {
    let heard = Heard::only(hearing.only);
    let (out, err) = (Arc::new(Mutex::new(heard)), Arc::<Mutex<Heard>>::default());
    let pipes = group.child.as_mut().map(|child| (child.stdout.take(), child.stderr.take()));
    let (stdout, stderr) = pipes.unwrap_or_default();
    let listeners = async {
        let stdout = stdout
            .map(|pipe| listen(pipe, &clients.masks, (Arc::clone(&out), artifact.clone()), None));
        let stderr = stderr.map(|pipe| {
            listen(pipe, &clients.masks, (Arc::clone(&err), artifact.clone()), hearing.told)
        });
        futures::join!(
            async {
                if let Some(listening) = stdout {
                    listening.await
                }
            },
            async {
                if let Some(listening) = stderr {
                    listening.await
                }
            },
        );
    };
    tokio::pin!(listeners);
    let clock = clients.clock.as_ref();
    let waited = within(clock, program.limit, async {
        // Neither arm loses anything: listening goes on below, and waiting again finds the same child.
        tokio::select! {
            status = group.wait() => (status, false),
            () = &mut listeners => (group.wait().await, true),
        }
    })
    .await;
    let (end, drained) = match waited {
        Ok((Ok(status), drained)) => (end_of(status), drained),
        Ok((Err(error), _)) => {
            return Err(ProgramError::Wait { program: name.to_owned(), why: error.to_string() });
        }
        Err(_) => {
            group.end().await;
            (ProgramEnd::TimedOut, false)
        }
    };
    if !drained {
        // A grandchild may hold the pipes open for as long as it lives.
        let _ = within(clock, PIPES_LIMIT, &mut listeners).await;
    }
    let Heard { head: stdout, tail: last, .. } =
        std::mem::take(&mut *out.lock().unwrap_or_else(PoisonError::into_inner));
    let stderr = std::mem::take(&mut err.lock().unwrap_or_else(PoisonError::into_inner).tail);
    Ok(Ended { end, stdout, last, stderr })
}

fn end_of(status: ExitStatus) -> ProgramEnd {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => ProgramEnd::Exit(code),
        (None, Some(signal)) => ProgramEnd::Signal(signal),
        // Unix knows no third way.
        (None, None) => ProgramEnd::Signal(0),
    }
}

/// Returns a command with its environment: what this process has, less its credentials, plus what is given.
pub(crate) fn command(
    clients: &Clients,
    argv: &[String],
    env: &BTreeMap<String, String>,
    scrub: Scrub,
) -> Command {
    let (program, arguments) =
        argv.split_first().map_or(("", &[][..]), |(program, rest)| (program.as_str(), rest));
    let mut command = Command::new(program);
    command.args(arguments);
    let inherited = |name: &str| env.get(name).is_some_and(|value| value == INHERIT);
    for name in scrubbed(clients, scrub) {
        if !inherited(&name) {
            command.env_remove(name);
        }
    }
    command.envs(env.iter().filter(|(_, value)| *value != INHERIT));
    // Global STS lives in one region; children must not depend on it.
    if !env.contains_key("AWS_STS_REGIONAL_ENDPOINTS") {
        command.env("AWS_STS_REGIONAL_ENDPOINTS", "regional");
    }
    command
}

fn scrubbed(clients: &Clients, scrub: Scrub) -> Vec<String> {
    let mut names: Vec<String> = ["PGPASSWORD", "PGPASSFILE", "PGSERVICEFILE", "DATABASE_URL"]
        .into_iter()
        .map(str::to_owned)
        .collect();
    if let Some(database) = &clients.estate.database {
        names.extend(database.connection.password_from.env.clone());
    }
    match scrub {
        Scrub::Passwords => return names,
        Scrub::Connection => names.extend(LIBPQ.map(str::to_owned)),
        Scrub::Credentials => {}
    }
    names.extend(AWS.map(str::to_owned));
    names
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
