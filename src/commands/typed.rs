//! Secrets a person is asked for: before a run is planned, and again when it is taken up.

use std::collections::BTreeMap;
use std::io;

use serde_json::Value;

use super::context::Context;
use crate::error::UserError;
use crate::estate::secrets;
use crate::estate::types::SecretRef;
use crate::exit::Exit;
use crate::operator::secret;
use crate::plan::Plan;
use crate::plan::inputs::{asked, how_secret, secrets_to_ask};
use crate::report::text;
use crate::runbook::load::Loaded;

/// A secret that a person is to be asked for.
pub(super) struct Wanted {
    name: String,
    help: Option<String>,
}

/// Returns the required secrets that were not given, and adds to what was given that they are asked for. Nobody is asked
/// yet: what is wrong with the rest is said before anybody types a secret for nothing.
///
/// With nobody to ask they stay as they are: what is missing is then said with everything else. A rehearsal needs none:
/// the simulation has nothing to show them to.
pub(super) fn wanted(
    context: &Context,
    loaded: &Loaded,
    given: &mut BTreeMap<String, Value>,
    interactive: bool,
) -> Vec<Wanted> {
    let rehearsed = context.rehearsal().is_some();
    if !interactive && !rehearsed {
        return Vec::new();
    }
    let open = secrets_to_ask(loaded, given).into_iter();
    let found: Vec<Wanted> = open
        .map(|(name, input)| Wanted { name: name.to_owned(), help: input.help.clone() })
        .collect();
    given.extend(found.iter().map(|wanted| (wanted.name.clone(), asked(&wanted.name))));
    if rehearsed { Vec::new() } else { found }
}

/// Asks for secrets.
pub(super) fn ask_for(context: &Context, wanted: &[Wanted]) -> Result<(), UserError> {
    wanted.iter().try_for_each(|Wanted { name, help }| {
        ask(context, name, help.as_deref(), "nothing was begun")
    })
}

/// Asks again for what a run was given at a terminal: no journal has it.
pub(super) fn ask_again(
    context: &Context,
    plan: &Plan,
    interactive: bool,
) -> Result<(), UserError> {
    if context.rehearsal().is_some() {
        return Ok(());
    }
    for value in plan.inputs.values() {
        let Ok(SecretRef { asked: Some(name), .. }) = serde_json::from_value(value.clone()) else {
            continue;
        };
        if secrets::is_kept(&name) {
            continue;
        }
        if !interactive {
            let message = format!(
                "the secret `{name}` was typed when the run began and is in no file; nobody can be asked here"
            );
            return Err(UserError::new(Exit::NeedsAnswer, message)
                .hint("take the run up at a terminal, where it is asked for again")
                .hint("a run that nobody is to attend is begun with env:NAME or file:PATH"));
        }
        ask(context, &name, None, "the run stays as it is")?;
    }
    Ok(())
}

fn ask(context: &Context, name: &str, help: Option<&str>, left: &str) -> Result<(), UserError> {
    let terminal = &context.terminal;
    let said = help.map_or_else(
        || format!("The secret `{name}` is needed."),
        |help| format!("The secret `{name}`: {help}"),
    );
    let mut lines = text::wrap(&said, terminal.columns(), 2);
    lines.push("It is not shown and kept in no file; resume asks again.".to_owned());
    match secret::ask(terminal, &lines, &format!("{name}:")) {
        Ok(typed) => {
            secrets::keep(name, typed);
            Ok(())
        }
        Err(error) => {
            let why = match error.kind() {
                io::ErrorKind::Interrupted => "interrupted".to_owned(),
                io::ErrorKind::UnexpectedEof => "end of input".to_owned(),
                _ => error.to_string(),
            };
            let message = format!("the secret `{name}` was not given ({why}): {left}");
            Err(UserError::new(Exit::Stopped, message).hint(how_secret(name)))
        }
    }
}
