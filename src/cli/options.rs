//! Flags shared by commands.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::operator::scripted::AcceptedLoss;

/// Flags every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Estate file; ./phoenix-dr.yaml, then the user's configuration directory, when not given
    #[arg(long, global = true, value_name = "FILE", env = "PHOENIX_DR_ESTATE")]
    pub estate: Option<PathBuf>,

    /// Directory with further runbooks
    #[arg(long, global = true, value_name = "DIR", env = "PHOENIX_DR_RUNBOOKS")]
    pub runbooks: Option<PathBuf>,

    /// Form of the output
    #[arg(long, global = true, value_enum, default_value_t, env = "PHOENIX_DR_OUTPUT")]
    pub output: OutputFormat,

    /// Print only results and errors
    #[arg(long, short, global = true, conflicts_with = "verbose", env = "PHOENIX_DR_QUIET")]
    pub quiet: bool,

    /// Print diagnostics as well
    #[arg(long, short, global = true, env = "PHOENIX_DR_VERBOSE")]
    pub verbose: bool,

    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t, env = "PHOENIX_DR_COLOR")]
    pub color: ColorChoice,

    /// Print plain lines instead of bars
    #[arg(long, global = true, env = "PHOENIX_DR_NO_PROGRESS")]
    pub no_progress: bool,
}

/// Form of the output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    #[default]
    Human,
    Json,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    #[default]
    Auto,
    Always,
    Never,
}

/// Flags of a new run, or of what shows what one would do.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Running")]
pub(crate) struct RunFlags {
    #[command(flatten)]
    pub how: HowFlags,

    /// Fault to inject into the rehearsal, e.g. throttled@rds,times=3 or latency@kubernetes,delay=2s (5s where none is
    /// given), or a file of faults (repeatable)
    #[arg(long, value_name = "FAULT", help_heading = "Rehearsing", env = "PHOENIX_DR_INJECT")]
    pub inject: Vec<String>,

    /// Draw faults nobody is told of until the end
    #[arg(
        long,
        value_enum,
        value_name = "LEVEL",
        help_heading = "Rehearsing",
        env = "PHOENIX_DR_SURPRISE"
    )]
    pub surprise: Option<SurpriseArg>,

    /// Chance of the rehearsal: the same seed, the same faults [default: 1; with --surprise drawn anew]
    #[arg(long, value_name = "N", help_heading = "Rehearsing", env = "PHOENIX_DR_SEED")]
    pub seed: Option<u64>,

    /// When the incident began, as an instant or how long ago (2026-01-01T02:12:00Z, 15m)
    #[arg(long, value_name = "WHEN", env = "PHOENIX_DR_INCIDENT_STARTED")]
    pub incident_started: Option<String>,
}

/// Flags of everything that carries a plan on; what is left out stays as it was when the run began.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Running")]
pub(crate) struct HowFlags {
    #[command(flatten)]
    pub who: WhoFlags,

    /// Approve this step, typed points of no return included (repeatable)
    #[arg(long, value_name = "STEP", env = "PHOENIX_DR_APPROVE", value_delimiter = ',')]
    pub approve: Vec<String>,

    /// Accept to lose this much data, where it is more than the objective allows; `unknown` where nobody can tell
    #[arg(long, value_name = "SPAN", value_parser = loss, env = "PHOENIX_DR_ACCEPT_LOSS")]
    pub accept_loss: Option<AcceptedLoss>,

    /// Recovery point to take: replica, backup or snapshot, or one that `recovery-points` lists
    #[arg(long, value_name = "ID", env = "PHOENIX_DR_RECOVERY_POINT")]
    pub recovery_point: Option<String>,

    /// Go on although this gate was not met, with the reason (repeatable)
    #[arg(long = "override", value_name = "STEP=REASON", value_parser = pair, env = "PHOENIX_DR_OVERRIDE")]
    pub overrides: Vec<(String, String)>,

    /// Go on without this step where it cannot be done, by its word (repeatable)
    #[arg(long, value_name = "STEP=WORD", value_parser = pair, env = "PHOENIX_DR_WAIVE")]
    pub waive: Vec<(String, String)>,

    /// Ask before every changing step
    #[arg(long, value_enum, value_name = "WHICH", env = "PHOENIX_DR_CONFIRM")]
    pub confirm: Option<Confirm>,

    /// What happens after a failure that nobody is asked about [default: auto]
    #[arg(long, value_enum, env = "PHOENIX_DR_ON_FAILURE")]
    pub on_failure: Option<OnFailureArg>,

    /// Steps that may run at the same time [default: 8]
    #[arg(long, value_name = "N", value_parser = jobs, env = "PHOENIX_DR_JOBS")]
    pub jobs: Option<usize>,
}

/// Flags of everything that may change the estate: whether it does, and who answers.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Running")]
pub(crate) struct WhoFlags {
    /// Show what would happen from live reads; change nothing
    #[arg(long, env = "PHOENIX_DR_DRY_RUN")]
    pub dry_run: bool,

    /// Rehearse: the whole run in a simulation, nothing real is touched; a world by name or file [default: one made from
    /// the names in --estate, or phoenix]
    #[arg(long, value_name = "WORLD", num_args = 0..=1)]
    #[arg(help_heading = "Rehearsing", env = "PHOENIX_DR_REHEARSE")]
    pub rehearse: Option<Option<String>>,

    /// How many times faster than real time a rehearsal is shown, or max [default: 60 at a terminal]
    #[arg(long, value_name = "N|max", value_parser = speed)]
    #[arg(help_heading = "Rehearsing", env = "PHOENIX_DR_SPEED")]
    pub speed: Option<Speed>,

    /// With --dry-run, and with it alone, end with 20 when there are changes
    #[arg(long, env = "PHOENIX_DR_DETAILED_EXITCODE")]
    pub detailed_exitcode: bool,

    /// Answer yes to go, to a rollback and to ordinary approvals; never to points of no return
    #[arg(long, short, env = "PHOENIX_DR_YES")]
    pub yes: bool,

    /// File with answers (YAML or JSON): question to answer
    #[arg(long, value_name = "FILE", env = "PHOENIX_DR_ANSWERS")]
    pub answers: Option<PathBuf>,

    /// Ask nobody; implied without a terminal
    #[arg(long, env = "PHOENIX_DR_NON_INTERACTIVE")]
    pub non_interactive: bool,

    /// Go live although an AWS endpoint override is set in the environment or profile
    #[arg(long, env = "PHOENIX_DR_ALLOW_ENDPOINT_OVERRIDE")]
    pub allow_endpoint_override: bool,
}

/// `--speed`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Speed {
    Max,
    Times(f64),
}

fn speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    match text.parse::<f64>() {
        Ok(times) if (1.0..=1_000_000.0).contains(&times) => Ok(Speed::Times(times)),
        Ok(_) | Err(_) => Err("max, or a number from 1 to 1000000".to_owned()),
    }
}

/// `--surprise`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SurpriseArg {
    /// What retries get over
    Mild,
    /// What takes a decision
    Hard,
    /// What may end the run
    Cruel,
}

/// `--confirm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Confirm {
    /// Every step that changes something, also those the first yes would cover
    Each,
}

/// `--on-failure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnFailureArg {
    /// Roll back before a point of no return, stop after one and where a check cannot tell
    Auto,
    /// Roll back what may be rolled back; after a point of no return, stop
    Rollback,
    /// Start nothing new and keep everything, to be resumed
    Stop,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((step, word)) if !step.is_empty() && !word.trim().is_empty() => {
            Ok((step.to_owned(), word.to_owned()))
        }
        Some(_) | None => Err("write it as STEP=TEXT".to_owned()),
    }
}

fn loss(text: &str) -> Result<AcceptedLoss, String> {
    text.parse().map_err(|error| format!("{error}, or unknown"))
}

fn jobs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(jobs @ 1..=1024) => Ok(jobs),
        Ok(_) | Err(_) => Err("a number from 1 to 1024".to_owned()),
    }
}
