//! What the operator typed. clap lives only here; a runbook's `command` becomes a subcommand and its inputs flags.

mod builtin;
mod dynamic;
mod manual;
mod options;
#[cfg(test)]
mod tests;
mod wrong;

use std::ffi::{OsStr, OsString};

use clap::builder::Resettable;
use clap::{CommandFactory, FromArgMatches, Parser};

pub(crate) use builtin::{
    AuditForm, Builtin, CaptureArgs, GraphFormat, InitArgs, MarkDoneArgs, RecoveryPointsArgs,
    ResumeArgs, RollbackArgs, ShowArgs, WorldCommand,
};
pub(crate) use manual::manual;
pub(crate) use options::{
    ColorChoice, Global, HowFlags, OnFailureArg, OutputFormat, RunFlags, Speed, SurpriseArg,
    WhoFlags,
};

use crate::runbook::schema::Runbook;

/// Carries out disaster-recovery runbooks: asks, verifies, rolls back, journals, resumes
#[derive(Debug, Parser)]
#[command(name = "phoenix-dr", version, about, max_term_width = 100)]
#[command(after_help = "Without a command, phoenix-dr says what can be done now.\n\
    Exit codes: 0 ok, 2 usage, 3 runbook invalid, 4 failed unchanged, 5 rolled back, 6 needs operator,\n\
    7 with exceptions, 8 answer needed, 9 held, 10 not met, 11 objective missed, 12 journal, 13 stopped,\n\
    14 changes left in place. `phoenix-dr man` has them all.")]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Builtin>,
}

/// What was typed, resolved to one of three.
#[derive(Debug)]
pub(crate) enum Typed {
    /// Nothing: say what can be done now
    Bare {
        global: Global,
    },
    Builtin {
        global: Global,
        command: Box<Builtin>,
    },
    /// A runbook's own command with its inputs as typed
    Runbook {
        global: Global,
        flags: Box<RunFlags>,
        command: String,
        inputs: Vec<(String, String)>,
    },
}

/// Why parsing ended: help, version or wrong usage, already worded.
#[derive(Debug)]
pub(crate) struct Usage {
    pub text: String,
    /// True for help and version: they go to stdout and end well
    pub asked_for: bool,
}

/// What was typed, as far as it could be read.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub typed: Typed,
    /// What is wrong with the rest, already worded: nothing may be carried out then
    pub wrong: Option<Usage>,
}

/// Parses arguments, the first being the program's name.
pub(crate) fn parse(arguments: &[OsString], runbooks: &[Runbook]) -> Result<Parsed, Usage> {
    let mut command = without_empty_variables(command(runbooks));
    let wrong::Read { matches, wrong } = wrong::read(&mut command, arguments)?;
    let usage = |error: clap::Error| Usage { asked_for: false, text: error.render().to_string() };
    let wrong = wrong.map(|text| Usage { text, asked_for: false });
    if let Some((name, found)) = matches.subcommand()
        && let Some(runbook) = runbooks.iter().find(|runbook| runbook.command == name)
    {
        let typed = Typed::Runbook {
            global: Global::from_arg_matches(found).map_err(usage)?,
            flags: Box::new(RunFlags::from_arg_matches(found).map_err(usage)?),
            command: name.to_owned(),
            inputs: dynamic::inputs(runbook, found),
        };
        return Ok(Parsed { typed, wrong });
    }
    let cli = Cli::from_arg_matches(&matches).map_err(usage)?;
    let typed = match cli.command {
        Some(command) => Typed::Builtin { global: cli.global, command: Box::new(command) },
        None => Typed::Bare { global: cli.global },
    };
    Ok(Parsed { typed, wrong })
}

/// Returns the directory given by `--runbooks`, before the command line can be parsed: its runbooks are commands.
pub(crate) fn runbook_directory(arguments: &[OsString]) -> Option<std::path::PathBuf> {
    let mut arguments = arguments.iter().skip(1);
    while let Some(argument) = arguments.next() {
        let Some(text) = argument.to_str() else { continue };
        if text == "--runbooks" {
            return arguments.next().map(Into::into);
        }
        if let Some(directory) = text.strip_prefix("--runbooks=") {
            return Some(directory.into());
        }
    }
    std::env::var_os("PHOENIX_DR_RUNBOOKS").filter(|value| !value.is_empty()).map(Into::into)
}

/// Returns the whole command line, runbook commands included.
pub(crate) fn command(runbooks: &[Runbook]) -> clap::Command {
    let mut command = Cli::command();
    for runbook in runbooks {
        // A file that takes a built-in command's name is refused by validation; it must not panic clap here.
        if command.find_subcommand(&runbook.command).is_none() {
            command = command.subcommand(dynamic::command(runbook));
        }
    }
    command
}

/// Takes an empty variable as one that is not set: `PHOENIX_DR_REHEARSE=` in a shell asks for no rehearsal. What is typed
/// stays what it is: whoever types `--rehearse ""` does not mean a live run.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let unset = |argument: clap::Arg| match argument.get_env() {
        Some(name) if empty(name) => argument.env(Resettable::Reset),
        Some(_) | None => argument,
    };
    command.mut_args(unset).mut_subcommands(without_empty_variables)
}

/// Writes the completion script of a shell.
pub(crate) fn completions(shell: clap_complete::Shell, runbooks: &[Runbook]) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(runbooks), "phoenix-dr", &mut script);
    script
}
