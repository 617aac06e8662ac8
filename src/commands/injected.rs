//! `--inject`: the faults of a rehearsal, as they are typed or in a file.

use std::path::Path;

use super::context::Context;
use super::named::{self, Named};
use crate::error::UserError;
use crate::exit::Exit;
use crate::runbook::load::read_text;
use crate::runbook::path::Path as Place;
use crate::runbook::problem::{Origin, Problem, Problems};
use crate::runbook::yaml;
use crate::sandbox::fault::{Rule, Senseless, Written, senseless};
use crate::sandbox::world::World;

const FORM: &str =
    "write FAULT[@SERVICE[/OPERATION]][,region=…][,times=…], or name a file of faults";
/// How a file of faults is written.
const LISTED: &str = "a file of faults is a list: - { fault: throttled, service: rds, times: 3 }";

/// Reads the faults that were given; every one that is wrong is told at once. Without a world, which could not be read,
/// any region may be one of its.
pub(super) fn faults(
    context: &Context,
    given: &[String],
    world: Option<&World>,
) -> Result<Vec<Rule>, UserError> {
    let regions: Option<Vec<&str>> =
        world.map(|world| world.estate.regions.keys().map(String::as_str).collect());
    let (mut rules, mut refused) = (Vec::new(), Vec::new());
    for text in given {
        let read = match means(text) {
            Means::Fault => fault(text, regions.as_deref()).map(|rule| vec![rule]),
            Means::File => faults_in(text, regions.as_deref()),
            Means::NoFile(said, meant) => {
                let said = format!("there is no file of faults `{text}`: {said}");
                let problem = Problem::nowhere(Origin::Input, said);
                let help = meant.unwrap_or_else(|| FORM.to_owned());
                Err(Problems::new("--inject", "".into(), vec![problem.help(help)]))
            }
        };
        match read {
            Ok(read) => rules.extend(read),
            Err(why) => refused.push(why),
        }
    }
    if refused.is_empty() {
        return Ok(rules);
    }
    for i in 1..refused.len() {
        let (before, after) = refused.split_at_mut(i);
        after[0].help_once(&mut before[i - 1]);
    }
    let told = refused.iter().map(|problems| context.invalid(problems, Exit::Usage).message);
    Err(UserError::new(Exit::Usage, told.collect::<Vec<_>>().join("\n\n")).hint(FORM))
}

/// What a text given as a fault is meant as.
enum Means {
    Fault,
    File,
    /// A file that is not there, or none; why, and what was meant instead
    NoFile(String, Option<String>),
}

/// Says what a text is meant as: no fault has a name like a file's.
fn means(text: &str) -> Means {
    let head = text.split(['@', ',']).next().unwrap_or_default();
    let is_fault = || Written::names_fault(head);
    match named::at(text, &[]) {
        Named::File => Means::File,
        Named::Folder { .. } | Named::Absent { .. } if is_fault() => Means::Fault,
        Named::Folder { said, meant } => Means::NoFile(said, meant),
        Named::Absent { said, meant } if meant.is_some() || head.contains(['.', '/']) => {
            Means::NoFile(said, meant)
        }
        Named::Absent { .. } => Means::Fault,
    }
}

/// Returns what keeps a rule from striking, as far as it can be told.
fn pointless(rule: &Rule, regions: Option<&[&str]>) -> Vec<Senseless> {
    match regions {
        Some(regions) => senseless(rule, regions),
        None => senseless(&Rule { region: None, ..rule.clone() }, &[]),
    }
}

/// Reads a fault as it is typed.
fn fault(text: &str, regions: Option<&[&str]>) -> Result<Rule, Problems> {
    let written = Written::read(text);
    let slips = written.slips.iter().map(|slip| {
        let problem = Problem::at(slip.range.clone(), slip.said.clone());
        problem.help(slip.help.clone().unwrap_or_else(|| FORM.to_owned()))
    });
    let senseless = written.rule.iter().flat_map(|rule| pointless(rule, regions));
    let senseless =
        senseless.map(|found| Problem::at(written.place(found.part), found.said).help(found.help));
    let problems: Vec<Problem> = slips.chain(senseless).collect();
    match (&written.rule, problems.is_empty()) {
        (Some(rule), true) => Ok(rule.clone()),
        _ => Err(Problems::new("--inject", text.into(), problems)),
    }
}

/// Reads a file of faults.
fn faults_in(name: &str, regions: Option<&[&str]>) -> Result<Vec<Rule>, Problems> {
    let wrong = |said: String| {
        let problem = Problem::nowhere(Origin::Input, said).help(LISTED);
        Problems::new(name, "".into(), vec![problem])
    };
    let text = read_text(Path::new(name))
        .map_err(|error| wrong(format!("read the faults `{name}`: {error}")))?;
    if text.trim().is_empty() {
        return Err(wrong(format!("the file of faults `{name}` is empty")));
    }
    let none = || wrong(format!("the file of faults `{name}` lists none"));
    if text.lines().all(|line| line.trim().is_empty() || line.trim().starts_with('#')) {
        return Err(none());
    }
    let parsed = yaml::parse::<Vec<Rule>>(name, &text).map_err(as_listed)?;
    if parsed.value.is_empty() {
        return Err(none());
    }
    let mut problems = Vec::new();
    for (i, rule) in parsed.value.iter().enumerate() {
        for found in pointless(rule, regions) {
            let at = Place::root().item(i).key(found.part.name());
            let at = parsed.document.index.at(&at);
            problems.push(Problem::at(at, found.said).help(found.help));
        }
    }
    if problems.is_empty() {
        return Ok(parsed.value);
    }
    Err(as_listed(parsed.document.problems(problems)))
}

/// Says how such a file is written, where nothing more apt is said: no command checks it by itself.
fn as_listed(problems: Problems) -> Problems {
    let mut problems = problems.without_usual_help();
    for item in &mut problems.items {
        item.help.get_or_insert_with(|| LISTED.to_owned());
    }
    problems
}
