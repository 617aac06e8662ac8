//! `--inject`: the faults of a rehearsal, as they are typed or in a file.

use std::path::Path;

use super::context::Context;
use crate::error::UserError;
use crate::exit::Exit;
use crate::runbook::load::read_text;
use crate::runbook::path::Path as Place;
use crate::runbook::problem::{Origin, Problem, Problems};
use crate::runbook::yaml;
use crate::sandbox::fault::{Rule, Written, senseless};
use crate::sandbox::world::World;

const FORM: &str =
    "write FAULT[@SERVICE[/OPERATION]][,region=…][,times=…], or name a file of faults";

/// Reads the faults that were given; every one that is wrong is told at once.
pub(super) fn faults(
    context: &Context,
    given: &[String],
    world: &World,
) -> Result<Vec<Rule>, UserError> {
    let regions: Vec<&str> = world.estate.regions.keys().map(String::as_str).collect();
    let (mut rules, mut refused) = (Vec::new(), Vec::new());
    for text in given {
        let read = if Path::new(text).exists() {
            faults_in(text, &regions)
        } else {
            fault(text, &regions).map(|rule| vec![rule])
        };
        match read {
            Ok(read) => rules.extend(read),
            Err(why) => refused.push(why),
        }
    }
    if refused.is_empty() {
        return Ok(rules);
    }
    let told = refused.iter().map(|problems| context.invalid(problems, Exit::Usage).message);
    Err(UserError::new(Exit::Usage, told.collect::<Vec<_>>().join("\n\n")).hint(FORM))
}

/// Reads a fault as it is typed.
fn fault(text: &str, regions: &[&str]) -> Result<Rule, Problems> {
    let written = Written::read(text);
    let slips = written.slips.iter().map(|slip| {
        let problem = Problem::at(slip.range.clone(), slip.said.clone());
        problem.help(slip.help.clone().unwrap_or_else(|| FORM.to_owned()))
    });
    let senseless = written.rule.iter().flat_map(|rule| senseless(rule, regions));
    let senseless =
        senseless.map(|found| Problem::at(written.place(found.part), found.said).help(found.help));
    let problems: Vec<Problem> = slips.chain(senseless).collect();
    match (&written.rule, problems.is_empty()) {
        (Some(rule), true) => Ok(rule.clone()),
        _ => Err(Problems::new("--inject", text.into(), problems)),
    }
}

/// Reads a file of faults.
fn faults_in(name: &str, regions: &[&str]) -> Result<Vec<Rule>, Problems> {
    let text = read_text(Path::new(name)).map_err(|error| {
        let said = format!("read the faults `{name}`: {error}");
        Problems::new(name, "".into(), vec![Problem::nowhere(Origin::Input, said)])
    })?;
    let parsed = yaml::parse::<Vec<Rule>>(name, &text)?;
    let mut problems = Vec::new();
    for (i, rule) in parsed.value.iter().enumerate() {
        for found in senseless(rule, regions) {
            let at = Place::root().item(i).key(found.part.name());
            let at = parsed.document.index.at(&at);
            problems.push(Problem::at(at, found.said).help(found.help));
        }
    }
    if problems.is_empty() {
        return Ok(parsed.value);
    }
    Err(parsed.document.problems(problems))
}
