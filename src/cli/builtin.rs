//! The commands that are not runbooks.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::options::{HowFlags, RunFlags, WhoFlags};

/// Every built-in command.
#[derive(Debug, Subcommand)]
pub(crate) enum Builtin {
    /// Carry a runbook out by its id or file
    Run(RunArgs),
    /// Show what a runbook would do; same as run --dry-run
    Plan(RunArgs),
    /// List the runbooks
    List,
    /// Explain a runbook
    Show(ShowArgs),
    /// Print a runbook's graph
    Graph(GraphArgs),
    /// Check runbooks and the estate file
    Validate(ValidateArgs),
    /// List runs
    Runs,
    /// Show how a run stands
    Status(StatusArgs),
    /// Go on with a run that stopped
    Resume(ResumeArgs),
    /// Roll back a run that stopped
    Rollback(RollbackArgs),
    /// Give up a run; reverts nothing
    Abandon(AbandonArgs),
    /// Record that a step or an obligation was done by hand
    MarkDone(MarkDoneArgs),
    /// Write what a run did as a report for the incident's record (Markdown)
    Report(ReportArgs),
    /// Print a run's audit trail
    Audit(AuditArgs),
    /// Check that this host can act on the estate
    Doctor(DoctorArgs),
    /// List what the database can be restored from, with what each loses; changes nothing
    RecoveryPoints(RecoveryPointsArgs),
    /// Capture the estate for rehearsals; look into worlds and compare them
    World(WorldArgs),
    /// Write a commented estate file
    Init(InitArgs),
    /// Print a shell's completion script
    Completions(CompletionsArgs),
    /// Print the manual page
    Man,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Runbook id (DR-001), command (failover) or file
    pub runbook: String,
    /// Input of the runbook (repeatable)
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment, env = "PHOENIX_DR_SET")]
    pub inputs: Vec<(String, String)>,
    #[command(flatten)]
    pub flags: RunFlags,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Runbook id, command or file
    #[arg(required_unless_present = "actions")]
    pub runbook: Option<String>,
    /// List every action and check with its fields
    #[arg(long, env = "PHOENIX_DR_ACTIONS")]
    pub actions: bool,
    /// With real names and equivalent commands, as Markdown, for the day this program cannot run
    #[arg(long, env = "PHOENIX_DR_RENDERED")]
    pub rendered: bool,
    /// Input of the runbook, for --rendered (repeatable)
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment, env = "PHOENIX_DR_SET")]
    pub inputs: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct GraphArgs {
    /// Runbook id, command or file
    pub runbook: String,
    /// Language the graph is written in
    #[arg(long, value_enum, default_value_t, env = "PHOENIX_DR_FORMAT")]
    pub format: GraphFormat,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// Mermaid, which forges and wikis draw
    #[default]
    Mermaid,
    /// Graphviz: `dot -Tsvg`
    Dot,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// Runbooks by id, command or file, or an estate file; every known runbook and the estate when none is given
    #[arg(value_name = "FILE")]
    pub files: Vec<String>,
    /// Say as well which programs a rehearsal does not know what they do
    #[arg(long, env = "PHOENIX_DR_REHEARSABLE")]
    pub rehearsable: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Run id, or enough of it to tell it from the others; the newest when left out
    pub run: Option<String>,
    /// Keep showing until the run ends
    #[arg(long, short, env = "PHOENIX_DR_FOLLOW")]
    pub follow: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// Run id, or enough of it to tell it from the others; the one that stopped when left out
    pub run: Option<String>,
    #[command(flatten)]
    pub flags: HowFlags,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// Run id, or enough of it to tell it from the others; the one that stopped when left out
    pub run: Option<String>,
    /// Revert this one step although a point of no return seals it; asks for a typed word
    #[arg(long, value_name = "STEP", env = "PHOENIX_DR_PAST")]
    pub past: Option<String>,
    #[command(flatten)]
    pub flags: WhoFlags,
}

#[derive(Debug, Args)]
pub(crate) struct AbandonArgs {
    /// Run id, or enough of it to tell it from the others; the one that stopped when left out
    pub run: Option<String>,
    /// Why; kept in the journal
    #[arg(long, env = "PHOENIX_DR_REASON")]
    pub reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct MarkDoneArgs {
    /// Obligation id, as `phoenix-dr` and `status` show it, or a step of a run that stopped
    pub what: String,
    /// How you know that it is done; kept in the journal
    #[arg(long, env = "PHOENIX_DR_EVIDENCE")]
    pub evidence: String,
    /// Output of the step that later steps use (repeatable)
    #[arg(long = "value", value_name = "NAME=VALUE", value_parser = assignment, env = "PHOENIX_DR_VALUE")]
    pub outputs: Vec<(String, String)>,
    /// Run id, or enough of it; the newest that has it when left out
    #[arg(long, value_name = "RUN", env = "PHOENIX_DR_RUN")]
    pub run: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Run id, or enough of it to tell it from the others; the newest when left out
    pub run: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// Run id, or enough of it to tell it from the others; the newest when left out
    pub run: Option<String>,
    /// Form of the trail
    #[arg(long, value_enum, default_value_t, env = "PHOENIX_DR_FORM")]
    pub form: AuditForm,
    /// Only check that nothing was altered
    #[arg(long, env = "PHOENIX_DR_VERIFY")]
    pub verify: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum AuditForm {
    #[default]
    Text,
    Json,
    /// One activation record for compliance
    Activation,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Region that would take over
    #[arg(long, env = "PHOENIX_DR_REGION")]
    pub region: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RecoveryPointsArgs {
    /// When the damage began, as an instant or how long ago (2026-01-01T02:12:00Z, 15m) [default: now]
    #[arg(long, value_name = "WHEN", env = "PHOENIX_DR_INCIDENT")]
    pub incident: Option<String>,
    /// Region RDS is asked in, where the database is there; all of the estate when left out
    #[arg(long, env = "PHOENIX_DR_REGION")]
    pub region: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct WorldArgs {
    #[command(subcommand)]
    pub command: WorldCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorldCommand {
    /// Read the live estate into a file to rehearse on; changes nothing
    Capture(CaptureArgs),
    /// Show what is in a world, how old it is and what nobody saw of it
    Show(WorldFile),
    /// Check that a world can be rehearsed on
    Validate(WorldFile),
    /// Show what differs between two worlds; ends with 20 where something does
    Diff(DiffArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CaptureArgs {
    /// Where to write the world
    #[arg(long, value_name = "FILE", env = "PHOENIX_DR_OUT")]
    pub out: PathBuf,
    /// Replace accounts, hosts, addresses and every other name by others
    #[arg(long, env = "PHOENIX_DR_PSEUDONYMS")]
    pub pseudonyms: bool,
    /// Write over an existing file
    #[arg(long, env = "PHOENIX_DR_FORCE")]
    pub force: bool,
    /// Look although an AWS endpoint override is set in the environment or profile
    #[arg(long, env = "PHOENIX_DR_ALLOW_ENDPOINT_OVERRIDE")]
    pub allow_endpoint_override: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WorldFile {
    /// File of a world, or `phoenix`, which comes with the program
    pub world: String,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// World as it was
    pub before: String,
    /// World as it became
    pub after: String,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Where to write it; else where --estate says, else phoenix-dr.yaml
    pub file: Option<PathBuf>,
    /// Replace an existing file, which is kept beside it as .bak
    #[arg(long, env = "PHOENIX_DR_FORCE")]
    pub force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    pub shell: clap_complete::Shell,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("write it as NAME=VALUE".to_owned()),
    }
}
