//! A runbook's command: its inputs as flags.

use std::collections::BTreeSet;

use clap::{Arg, ArgAction, ArgMatches, Args, Command};

use super::options::RunFlags;
use crate::runbook::schema::{Input, InputType, Runbook};
use crate::runbook::validate::reserved;

/// Returns the subcommand of a runbook.
pub(super) fn command(runbook: &Runbook) -> Command {
    let about = format!("{} {}", runbook.runbook, runbook.title);
    let mut command = Command::new(runbook.command.clone());
    if let Some(description) = &runbook.description {
        command = command.after_help(description.clone());
    }
    let mut flags = BTreeSet::new();
    for (name, input) in &runbook.inputs {
        // Validation refuses the name; two flags of one name must not panic clap here.
        let flag = flag(name);
        if !reserved::FLAGS.contains(&flag.as_str()) && flags.insert(flag) {
            command = command.arg(argument(name, input));
        }
    }
    // The flags' own doc comment would become the command's: what it does is said last.
    RunFlags::augment_args(command).about(about.clone()).long_about(about)
}

fn flag(name: &str) -> String {
    name.replace('_', "-")
}

fn argument(name: &str, input: &Input) -> Arg {
    let flag = flag(name);
    let mut help = input.help.clone().unwrap_or_default();
    if let Some(default) = &input.default {
        let shown = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
        help = format!("{help} [default: {}]", shown.replace("${{ ", "").replace(" }}", ""));
    }
    let argument = Arg::new(format!("input-{name}"))
        .long(flag)
        .help(help.trim().to_owned())
        .env(format!("PHOENIX_DR_{}", name.to_uppercase()))
        .hide_env_values(input.kind == InputType::Secret)
        // Whoever is at a terminal is asked for a secret.
        .required(input.required && input.default.is_none() && input.kind != InputType::Secret)
        .action(ArgAction::Set)
        .help_heading("Inputs");
    match input.kind {
        InputType::Choice => {
            argument.value_parser(clap::builder::PossibleValuesParser::new(input.values.clone()))
        }
        InputType::Boolean => {
            argument.num_args(0..=1).default_missing_value("true").value_parser(["true", "false"])
        }
        InputType::Region => argument.value_name("REGION"),
        InputType::Duration => argument.value_name("SPAN"),
        InputType::Integer => argument.value_name("NUMBER"),
        InputType::Instant => argument.value_name("INSTANT"),
        InputType::Secret => argument.value_name("REFERENCE"),
        InputType::String => argument.value_name("TEXT"),
    }
}

/// Returns the inputs that were given, as typed.
pub(super) fn inputs(runbook: &Runbook, matches: &ArgMatches) -> Vec<(String, String)> {
    runbook
        .inputs
        .keys()
        .filter_map(|name| {
            let value = matches.try_get_one::<String>(&format!("input-{name}")).ok()??;
            Some((name.clone(), value.clone()))
        })
        .collect()
}
