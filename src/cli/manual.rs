//! The manual page: one page with every command inline, from the same definitions as the command line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use clap::Command;
use clap_mangen::Man;

use super::command;
use crate::exit::Exit;
use crate::runbook::schema::Runbook;

const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "PHOENIX_DR_STATE",
        "directory with the runs of this host; else XDG_STATE_HOME/phoenix-dr, else ~/.local/state/phoenix-dr",
    ),
    ("PHOENIX_DR_LOG", "what --verbose tells, e.g. phoenix_dr=debug,kube=info"),
    (
        "PHOENIX_DR_RUN, PHOENIX_DR_STEP, PHOENIX_DR_TOKEN",
        "given to the programs of command.run; the token stays the same over retries",
    ),
    ("XDG_CONFIG_HOME", "where the estate file is looked for, in its folder phoenix-dr"),
    ("KUBECONFIG", "kubeconfig, where the estate names none for a cluster"),
    (
        "AWS_PROFILE, AWS_CONFIG_FILE, …",
        "the usual chain of the AWS SDK, where the estate names no credentials; an endpoint override (AWS_ENDPOINT_URL) refuses a live run",
    ),
];

const FILES: &[(&str, &str)] = &[
    (
        "./phoenix-dr.yaml, ~/.config/phoenix-dr/phoenix-dr.yaml",
        "the estate, unless --estate names it",
    ),
    (
        "~/.local/state/phoenix-dr",
        "journals, artifacts and what was seen of the estate; see PHOENIX_DR_STATE",
    ),
    ("docs/runbook.schema.json", "JSON Schema of runbooks, for editors"),
];

/// Writes the manual page.
pub(crate) fn manual(runbooks: &[Runbook]) -> io::Result<Vec<u8>> {
    let whole = command(runbooks);
    let page = Man::new(whole.clone());
    let mut text = rendered(|into| page.render_title(into))?;
    for part in [
        rendered(|into| page.render_name_section(into))?,
        rendered(|into| page.render_synopsis_section(into))?,
        rendered(|into| page.render_description_section(into))?,
        rendered(|into| page.render_options_section(into))?,
    ] {
        text.push_str(&body(&part));
    }
    text.push_str(".SH COMMANDS\n");
    for found in whole.get_subcommands() {
        text.push_str(&one(found)?);
    }
    text.push_str(".SH \"EXIT STATUS\"\n");
    for exit in Exit::ALL {
        item(&mut text, &exit.code().to_string(), exit.say());
    }
    text.push_str(".SH ENVIRONMENT\n");
    for (name, say) in ENVIRONMENT {
        item(&mut text, name, say);
    }
    text.push_str(".PP\nEvery flag has a variable of its own; the flag wins:\n");
    for (name, flags) in variables(&whole) {
        item(&mut text, &name, &flags);
    }
    text.push_str(".SH FILES\n");
    for (name, say) in FILES {
        item(&mut text, name, say);
    }
    text.push_str(&body(&rendered(|into| page.render_version_section(into))?));
    Ok(text.into_bytes())
}

fn rendered(render: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> io::Result<String> {
    let mut part = Vec::new();
    render(&mut part)?;
    Ok(String::from_utf8_lossy(&part).into_owned())
}

/// Returns a part without the two lines every part begins with: they stand at the top of the page.
fn body(part: &str) -> String {
    let own = |line: &&str| !line.starts_with(".ie \\n(.g") && !line.starts_with(".el .ds Aq");
    part.lines().filter(own).fold(String::new(), |text, line| text + line + "\n")
}

/// Returns one command: what it does, how it is typed, its own flags.
fn one(found: &Command) -> io::Result<String> {
    let name = format!("phoenix-dr {}", found.get_name());
    let mut text = format!(".SS \"{}\"\n", escaped(&name));
    let about = found.get_about().map(ToString::to_string).unwrap_or_default();
    writeln!(text, "{}", escaped(&about)).ok();
    let page = Man::new(found.clone().bin_name(name).disable_help_flag(true));
    let mut parts = rendered(|into| page.render_synopsis_section(into))?;
    if found.get_arguments().next().is_some() {
        parts.push_str(&rendered(|into| page.render_options_section(into))?);
    }
    for line in body(&parts).lines() {
        match line.strip_prefix(".SH ") {
            // The heading of the command is enough above how it is typed.
            Some("SYNOPSIS") => writeln!(text, ".PP").ok(),
            Some(_) => None,
            None => writeln!(text, "{line}").ok(),
        };
    }
    if let Some(more) = found.get_after_help() {
        writeln!(text, ".PP\n{}", escaped(&more.to_string())).ok();
    }
    Ok(text)
}

fn item(text: &mut String, name: &str, say: &str) {
    writeln!(text, ".TP\n\\fB{}\\fR\n{}", escaped(name), escaped(say)).ok();
}

/// The variable of every flag of every command.
fn variables(whole: &Command) -> BTreeMap<String, String> {
    let commands = std::iter::once(whole).chain(whole.get_subcommands());
    let pairs = commands.flat_map(Command::get_arguments).filter_map(|argument| {
        let name = argument.get_env()?.to_string_lossy().into_owned();
        Some((name, format!("--{}", argument.get_long()?)))
    });
    pairs.collect()
}

/// Returns a text as roff prints it: hyphens as they are typed, no line taken for a request.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('"', "\\(dq");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}
