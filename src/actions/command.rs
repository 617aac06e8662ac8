//! `command.run`: a program of the runbook's author, without a shell, in a process group of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

use crate::clients::process::{self, Ended, Program, ProgramEnd, ProgramError, Scrub};
use crate::clients::{Clients, Network};
use crate::engine::ports::{Armed, Call, Image, Observation, Performed};
use crate::estate::secrets;
use crate::outcome::{ActionError, Difference, FailureClass, Fidelity};
use crate::runbook::catalogue::Variable;
use crate::runbook::catalogue::actions::CommandRun;
use crate::sandbox::programs::Purpose;
use crate::shell::line;

/// The engine bounds an attempt by the step's `timeout`; this only ends a program nobody waits for any more.
const LIMIT: Duration = Duration::from_secs(24 * 60 * 60);
/// What a program that is started in a rehearsal is given in the place of a secret.
const STAND_IN: &str = "rehearsal";
/// A program that only looks answers soon.
const LOOK_LIMIT: Duration = Duration::from_secs(30);

/// Asks `done_when`, where there is one and programs may be run now; without it only a person can tell.
pub(crate) async fn observe(
    clients: &Clients,
    call: &Call,
    with: &CommandRun,
) -> Result<Observation, ActionError> {
    let done = match &with.done_when {
        Some(argv) if clients.guard.is_armed() => Some(is_done(clients, call, with, argv).await?),
        Some(_) | None => None,
    };
    let state = |done: bool| json!({ "done": done });
    let mut seen = Observation::new(state(done.unwrap_or(false)), state(true));
    seen.tells = done.is_some();
    if seen.satisfied {
        seen.outputs = outputs(String::new());
    }
    seen.fidelity = if done.is_some() { Fidelity::Observed } else { Fidelity::Resolved };
    seen.commands = vec![line(&with.argv)];
    if !seen.satisfied {
        seen.differences = vec![Difference {
            what: "program".to_owned(),
            from: "not run".to_owned(),
            to: line(&with.argv),
        }];
    }
    if with.undo.is_none() {
        seen.evidence.push("It has no `undo`: it is not rolled back by itself.".to_owned());
    }
    Ok(seen)
}

/// Runs the program; only exit 0 is success, and after any other end nobody knows what it did.
pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &CommandRun,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    pass_guard(clients, &with.argv)?;
    let ended = run(clients, call, with, &with.argv, (LIMIT, Purpose::Perform(call.step.clone())))
        .await
        .map_err(|error| failed(&error))?;
    if ended.end != ProgramEnd::Exit(0) {
        let message = format!("{}: {}", line(&with.argv), ended.say(LIMIT));
        return Err(ActionError::unknown(FailureClass::Invalid, message)
            .hint("see its whole output in the run's artifacts"));
    }
    Ok(Performed {
        after: seen.desired.clone(),
        outputs: outputs(ended.stdout),
        obligations: Vec::new(),
        notes: vec![format!("ran {}", line(&with.argv))],
    })
}

/// Runs `undo`.
pub(crate) async fn revert(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &CommandRun,
    _image: &Image,
) -> Result<(), ActionError> {
    let Some(undo) = &with.undo else {
        let message = "it has no `undo`: only a person can take it back";
        return Err(ActionError::unchanged(FailureClass::Invalid, message)
            .hint(format!("it ran: {}", line(&with.argv))));
    };
    pass_guard(clients, undo)?;
    let ended = run(clients, call, with, undo, (LIMIT, Purpose::Undo(call.step.clone())))
        .await
        .map_err(|error| failed(&error))?;
    if ended.end == ProgramEnd::Exit(0) {
        return Ok(());
    }
    let message = format!("{}: {}", line(undo), ended.say(LIMIT));
    Err(ActionError::unknown(FailureClass::Invalid, message))
}

fn outputs(stdout: String) -> Map<String, Value> {
    let exit = ("exit".to_owned(), json!(0));
    Map::from_iter([exit, ("stdout".to_owned(), Value::String(stdout))])
}

/// A program is no transport that could ask the guard itself.
fn pass_guard(clients: &Clients, argv: &[String]) -> Result<(), ActionError> {
    Ok(clients.guard.pass(line(argv))?)
}

async fn is_done(
    clients: &Clients,
    call: &Call,
    with: &CommandRun,
    argv: &[String],
) -> Result<bool, ActionError> {
    let ended = run(clients, call, with, argv, (LOOK_LIMIT, Purpose::Done(call.step.clone())))
        .await
        .map_err(|error| failed(&error))?;
    match ended.end {
        ProgramEnd::Exit(0) => Ok(true),
        ProgramEnd::Exit(1) => Ok(false),
        // Neither a yes nor a no: doubt is an error, not a no.
        ProgramEnd::Exit(_) | ProgramEnd::Signal(_) | ProgramEnd::TimedOut => {
            let message = format!("{}: {}", line(argv), ended.say(LOOK_LIMIT));
            Err(ActionError::unchanged(FailureClass::Transient, message)
                .hint("`done_when` must end with 0 for done and 1 for not done"))
        }
    }
}

async fn run(
    clients: &Clients,
    call: &Call,
    with: &CommandRun,
    argv: &[String],
    (limit, purpose): (Duration, Purpose),
) -> Result<Ended, ProgramError> {
    let mut env = environment(clients, with).await?;
    env.insert("PHOENIX_DR_RUN".to_owned(), call.run.0.clone());
    env.insert("PHOENIX_DR_STEP".to_owned(), call.step.0.clone());
    env.insert("PHOENIX_DR_TOKEN".to_owned(), call.token());
    let program = Program {
        argv,
        env: &env,
        scrub: Scrub::Credentials,
        cwd: with.cwd.as_deref(),
        limit,
        artifact: clients.artifacts.as_ref().map(|dir| dir.join(format!("{}.log", call.step))),
        purpose,
    };
    process::run(clients, &program).await
}

/// Returns the variables of a program; secrets are read now, and hidden from everything the program says.
async fn environment(
    clients: &Clients,
    with: &CommandRun,
) -> Result<BTreeMap<String, String>, ProgramError> {
    // Nothing real is read in a rehearsal; a program that is started in one finds something in its place.
    let simulated = matches!(clients.network, Network::Simulated(_));
    let mut env = BTreeMap::new();
    for (name, variable) in &with.env {
        let value = match variable {
            Variable::Text(text) => text.clone(),
            Variable::Secret(_) if simulated => STAND_IN.to_owned(),
            Variable::Secret(reference) => {
                let secret = secrets::read(reference).await.map_err(|error| {
                    ProgramError::Secret { variable: name.clone(), why: error.to_string() }
                })?;
                clients.masks.hide(&secret);
                secret.expose_secret().to_owned()
            }
        };
        env.insert(name.clone(), value);
    }
    Ok(env)
}

fn failed(error: &ProgramError) -> ActionError {
    match error {
        ProgramError::Secret { .. } => {
            ActionError::unchanged(FailureClass::Invalid, error.to_string())
                .hint("make the secret readable where it was said to be, and try again")
        }
        ProgramError::Empty
        | ProgramError::Rehearsed { .. }
        | ProgramError::Unconfined { .. }
        | ProgramError::Start { .. }
        | ProgramError::Artifact { .. } => {
            ActionError::unchanged(FailureClass::Invalid, error.to_string())
        }
        ProgramError::Wait { .. } => {
            ActionError::unknown(FailureClass::Transient, error.to_string())
        }
    }
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
