//! Everything that is wrong with a command line at once: clap ends at the first mistake, so what it names is taken out and
//! the rest is read again.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::Usage;

/// Mistakes that are told of one command line.
const MISTAKES_MAX: usize = 20;
/// Ends every error of clap's.
const MORE: &str = "For more information, try '--help'.";
/// Flags by which a rehearsal begins as it does, and what goes on with one.
const OF_A_BEGINNING: [&str; 3] = ["--inject", "--seed", "--surprise"];
const GOES_ON: [&str; 2] = ["resume", "rollback"];

/// What could be read of a command line, and what is wrong with it.
pub(super) struct Read {
    pub matches: clap::ArgMatches,
    /// As it is told; `None` where nothing is wrong
    pub wrong: Option<String>,
}

/// Reads a command line.
pub(super) fn read(command: &mut clap::Command, arguments: &[OsString]) -> Result<Read, Usage> {
    let mut left = arguments.to_vec();
    let mut said: Vec<String> = Vec::new();
    let mut taken: Vec<String> = Vec::new();
    loop {
        let error = match command.try_get_matches_from_mut(&left) {
            Ok(matches) => {
                let wrong = (!said.is_empty()).then(|| together(&said));
                return Ok(Read { matches, wrong });
            }
            Err(error) if !error.use_stderr() => {
                return Err(Usage { text: error.render().to_string(), asked_for: true });
            }
            Err(error) => error,
        };
        // Nobody left out what was taken out here.
        if !is_missing(&error, &taken) {
            said.push(worded(&error, &left));
        }
        let mended = taken_out(&error, &mut left);
        match mended {
            Some(flag) if said.len() < MISTAKES_MAX => taken.push(flag),
            Some(_) | None => return Err(Usage { text: together(&said), asked_for: false }),
        }
    }
}

/// Says several mistakes, each as it would be told alone.
fn together(said: &[String]) -> String {
    let alone = said.iter().map(|said| said.trim_end().trim_end_matches(MORE).trim_end());
    format!("{}\n\n{MORE}", alone.collect::<Vec<_>>().join("\n\n"))
}

fn worded(error: &clap::Error, arguments: &[OsString]) -> String {
    let Some((verb, flag)) = of_a_beginning(error, arguments) else {
        return error.render().to_string();
    };
    format!(
        "error: `{verb}` takes no {flag}: a rehearsal that is gone on with keeps its world, its seed and its faults\n\n  \
         tip: begin another one with it: phoenix-dr failover --region REGION --rehearse {flag} …"
    )
}

/// Returns the verb and the flag where somebody wants to go on with a rehearsal as it did not begin.
fn of_a_beginning(
    error: &clap::Error,
    arguments: &[OsString],
) -> Option<(&'static str, &'static str)> {
    let named = invalid(error).filter(|_| error.kind() == ErrorKind::UnknownArgument)?;
    let flag = OF_A_BEGINNING.into_iter().find(|flag| named == *flag)?;
    let verb = GOES_ON.into_iter().find(|verb| arguments.iter().any(|word| word == verb))?;
    Some((verb, flag))
}

/// Returns the argument an error is about, as it is typed: `--speed`.
fn invalid(error: &clap::Error) -> Option<&str> {
    match error.get(ContextKind::InvalidArg)? {
        ContextValue::String(named) => named.split([' ', '=']).next(),
        _ => None,
    }
}

/// Says whether an error only misses what was taken out.
fn is_missing(error: &clap::Error, taken: &[String]) -> bool {
    let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg) else {
        return false;
    };
    let is_taken =
        |named: &String| taken.iter().any(|flag| named.split(' ').next() == Some(flag.as_str()));
    error.kind() == ErrorKind::MissingRequiredArgument && missing.iter().all(is_taken)
}

/// Takes out what an error is about, so that the rest can be read. Returns the flag; `None` where it is not known what
/// belongs to the mistake, or where it does not stand there: it comes from the environment.
fn taken_out(error: &clap::Error, left: &mut Vec<OsString>) -> Option<String> {
    let flag = invalid(error).filter(|flag| flag.starts_with("--"))?.to_owned();
    let value = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) => Some(value.clone()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let value = value?;
            let joined = OsString::from(format!("{flag}={value}"));
            if let Some(at) = left.iter().position(|word| *word == joined) {
                left.remove(at);
                return Some(flag);
            }
            let is_it = |pair: &[OsString]| pair[0] == *flag && pair[1] == *value;
            let at = left.windows(2).position(is_it)?;
            left.drain(at..at + 2);
        }
        ErrorKind::UnknownArgument => {
            of_a_beginning(error, left)?;
            let joined = format!("{flag}=");
            let is_it = |word: &OsString| {
                *word == *flag || word.to_str().is_some_and(|word| word.starts_with(&joined))
            };
            let at = left.iter().position(is_it)?;
            // Each of these has a value.
            let apart = left[at] == *flag && at + 1 < left.len();
            left.drain(at..at + 1 + usize::from(apart));
        }
        _ => return None,
    }
    Some(flag)
}
