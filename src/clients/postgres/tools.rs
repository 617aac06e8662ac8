//! PostgreSQL's own programs: where they are, which version they have, and how they are told to connect.
//!
//! `pg_dump` refuses a server newer than itself, and `pg_restore` an archive of a newer `pg_dump`: a program is taken only
//! where it is at least as new as what it is to work with. What reads files of a server knows those of its own version alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::database;
use crate::clients::Clients;
use crate::clients::process::{self, Program, ProgramEnd, Scrub};
use crate::outcome::{ActionError, FailureClass};
use crate::sandbox::programs::Purpose;

/// A program that only says its version does it at once.
const VERSION_LIMIT: Duration = Duration::from_secs(10);
/// Where Debian keeps the programs of each major version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// Major versions looked for above the one that is needed.
const NEWER: u32 = 5;

/// One of PostgreSQL's programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    BaseBackup,
    ControlData,
    Ctl,
    Dump,
    Restore,
    /// Asks a server in ways that are no SQL
    Terminal,
    VerifyBackup,
    WalDump,
}

impl Tool {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::BaseBackup => "pg_basebackup",
            Self::ControlData => "pg_controldata",
            Self::Ctl => "pg_ctl",
            Self::Dump => "pg_dump",
            Self::Restore => "pg_restore",
            Self::Terminal => "psql",
            Self::VerifyBackup => "pg_verifybackup",
            Self::WalDump => "pg_waldump",
        }
    }

    /// Returns Debian's package of it, without the version.
    const fn package(self) -> &'static str {
        match self {
            Self::BaseBackup | Self::Dump | Self::Restore | Self::Terminal => "postgresql-client",
            Self::ControlData | Self::Ctl | Self::VerifyBackup | Self::WalDump => "postgresql",
        }
    }
}

/// Which versions of a program will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    AtLeast(u32),
    Exactly(u32),
}

impl Fit {
    const fn major(self) -> u32 {
        match self {
            Self::AtLeast(major) | Self::Exactly(major) => major,
        }
    }

    const fn takes(self, major: u32) -> bool {
        match self {
            Self::AtLeast(least) => major >= least,
            Self::Exactly(wanted) => major == wanted,
        }
    }
}

/// A program that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// A path, or the name alone where it is found by PATH
    pub program: String,
    pub major: u32,
    /// What it says of itself, e.g. `pg_dump (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)`
    pub version: String,
}

/// Finds a program of at least a major version: in the estate's directory, else in Debian's, else by PATH.
pub(crate) async fn find(
    clients: &Clients,
    tool: Tool,
    at_least: u32,
) -> Result<Found, ActionError> {
    search(clients, tool, Fit::AtLeast(at_least)).await
}

/// Finds a program of one major version, in the same places.
pub(crate) async fn find_exact(
    clients: &Clients,
    tool: Tool,
    major: u32,
) -> Result<Found, ActionError> {
    search(clients, tool, Fit::Exactly(major)).await
}

/// Says whether a `pg_restore` of a version restores on a server of another: since 17 it begins with a setting that older
/// servers do not know, and ends at the first error.
pub(crate) const fn restores_on(tool: u32, server: u32) -> bool {
    tool < 17 || server >= 17
}

async fn search(clients: &Clients, tool: Tool, fit: Fit) -> Result<Found, ActionError> {
    let given = database(clients)?.tools.as_deref();
    let mut other = None;
    for program in places(tool, fit.major(), given) {
        let Some((major, version)) = version(clients, &program).await else { continue };
        if fit.takes(major) {
            return Ok(Found { program, major, version });
        }
        other.get_or_insert(format!("{program} is {version}"));
    }
    let (name, package) = (tool.name(), tool.package());
    let wanted = match fit {
        Fit::AtLeast(major) => format!("{major} or newer"),
        Fit::Exactly(major) => major.to_string(),
    };
    let message = match (other, given) {
        (Some(other), _) => format!("{name} of PostgreSQL {wanted} is needed; {other}"),
        (None, Some(given)) => format!("{name} is not in {given}, the estate's `database.tools`"),
        (None, None) => format!("{name} is not on this host"),
    };
    Err(ActionError::unchanged(FailureClass::NotFound, message).hint(format!(
        "install it, e.g. apt-get install {package}-{}, or name its directory in `database.tools`",
        fit.major()
    )))
}

/// Returns where a program may be, the nearest version first.
fn places(tool: Tool, at_least: u32, given: Option<&str>) -> Vec<String> {
    let name = tool.name();
    if let Some(given) = given {
        return vec![Path::new(given).join(name).display().to_string()];
    }
    let debian = (at_least..=at_least + NEWER)
        .map(|major| PathBuf::from(format!("{DEBIAN}/{major}/bin/{name}")))
        .filter(|path| path.exists())
        .map(|path| path.display().to_string());
    debian.chain([name.to_owned()]).collect()
}

/// Returns a program's major version and what it says; `None` where it is not there or says something else.
async fn version(clients: &Clients, program: &str) -> Option<(u32, String)> {
    let argv = [program.to_owned(), "--version".to_owned()];
    let asked = Program {
        argv: &argv,
        env: &BTreeMap::new(),
        scrub: Scrub::Connection,
        cwd: None,
        limit: VERSION_LIMIT,
        artifact: None,
        purpose: Purpose::Look,
    };
    let ended = process::run(clients, &asked).await.ok()?;
    let said = ended.stdout.trim().to_owned();
    (ended.end == ProgramEnd::Exit(0)).then_some(())?;
    Some((major(&said)?, said))
}

/// Returns the major version in what a program says of itself.
fn major(said: &str) -> Option<u32> {
    let (_, rest) = said.split_once("(PostgreSQL) ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_a_program_says() {
        for (said, expected) in [
            ("pg_dump (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)", Some(15)),
            ("pg_restore (PostgreSQL) 17beta1", Some(17)),
            ("pg_restore (PostgreSQL) 16", Some(16)),
            ("pg_dump (Greenplum) 6", None),
            ("pg_dump (PostgreSQL) devel", None),
        ] {
            assert_eq!(major(said), expected, "{said}");
        }
    }

    #[test]
    fn a_directory_of_the_estate_is_the_only_place_that_counts() {
        assert_eq!(places(Tool::Dump, 15, Some("/opt/pg/bin")), ["/opt/pg/bin/pg_dump"]);
        assert_eq!(places(Tool::Restore, 99, None), ["pg_restore"]);
    }
}
