//! `validate`: runbooks and the estate file, and whether the one fits the other; all problems of all files at once.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::context::{Context, chain};
use super::taken_for::Kind;
use crate::error::UserError;
use crate::estate::load as estate_file;
use crate::estate::types::Estate;
use crate::exit::Exit;
use crate::plan::resolve::resolve;
use crate::report::terminal::Tone;
use crate::runbook::load::{self, FileText, FindError, Loaded};
use crate::runbook::problem::{Problem, Problems};
use crate::runbook::schema::InputType;
use crate::runbook::validate as rules;

/// Checks what was named; every known runbook and the estate file where nothing was.
pub(super) fn run(
    context: &Context,
    named: &[String],
    rehearsable: bool,
) -> Result<Exit, UserError> {
    let mut checked: Vec<Checked> = Vec::new();
    if named.is_empty() {
        let known = context.runbooks();
        let estate = estate_file::find(context.global.estate.as_deref()).ok();
        let estate = estate.map(|path| of_estate(&path, known.iter().flatten()));
        checked.extend(known.into_iter().map(|found| of_runbook(found, rehearsable)));
        checked.extend(estate);
    }
    for name in named {
        let path = Path::new(name);
        if Kind::of(path) == Some(Kind::World) {
            checked.push(of_world(name));
        } else if is_estate(path) {
            let known = context.runbooks();
            checked.push(of_estate(path, known.iter().flatten()));
        } else if load::is_path(name) || path.is_file() {
            checked.push(of_runbook(load::read(path), rehearsable));
        } else {
            checked.push(of_runbook(context.find(name), rehearsable));
        }
    }
    let mut exit = Exit::Ok;
    for found in &checked {
        if !found.good() && exit != Exit::RunbookInvalid {
            exit = found.exit;
        }
    }
    if context.json() {
        let files: Vec<Value> = checked.iter().map(Checked::json).collect();
        let answer = json!({ "format": "phoenix-dr/validate", "version": 1, "files": files });
        context.terminal.out(&answer.to_string());
        return Ok(exit);
    }
    for found in &checked {
        found.show(context);
    }
    Ok(exit)
}

/// Says whether a file is an estate's, by its keys alone: it need not be readable as one.
fn is_estate(path: &Path) -> bool {
    let Ok(FileText::Whole(text)) = load::read_within(path) else { return false };
    let has = |key: &str| text.lines().any(|line| line.starts_with(key));
    has("estate:") && !has("runbook:")
}

/// A file that was checked.
struct Checked {
    file: String,
    problems: Vec<Problems>,
    /// Why it could not be checked at all, and what to do about that
    why: Option<(String, Option<String>)>,
    /// How the command ends if it is not good
    exit: Exit,
}

fn of_runbook(found: Result<Loaded, FindError>, rehearsable: bool) -> Checked {
    let exit = Exit::RunbookInvalid;
    match found {
        Ok(loaded) => {
            let mut problems = vec![rules::validate(&loaded)];
            if rehearsable {
                problems.push(loaded.problems(rules::rehearsable::missing(&loaded)));
            }
            Checked { file: loaded.name, problems, why: None, exit }
        }
        Err(FindError::Invalid(problems)) => {
            Checked { file: problems.file.clone(), problems: vec![problems], why: None, exit }
        }
        Err(error) => {
            let exit = error.exit();
            let why = Some((chain(&error), error.hint()));
            Checked { file: String::new(), problems: Vec::new(), why, exit }
        }
    }
}

/// Says that a world is checked by a command of its own.
fn of_world(name: &str) -> Checked {
    let said = format!("`{name}` is a world, neither a runbook nor an estate file");
    let [check, _] = Kind::World.commands(name);
    let why = Some((said, Some(check)));
    Checked { file: String::new(), problems: Vec::new(), why, exit: Exit::Usage }
}

/// Checks an estate file, and what each runbook would find missing in it.
fn of_estate<'a>(path: &Path, runbooks: impl Iterator<Item = &'a Loaded>) -> Checked {
    let file = path.display().to_string();
    let problems = match estate_file::read_examined(path) {
        Ok((estate, doubts)) => {
            let missing = runbooks.filter_map(|loaded| missing(loaded, &estate));
            std::iter::once(doubts).chain(missing).collect()
        }
        Err(problems) => vec![problems],
    };
    Checked { file, problems, why: None, exit: Exit::Usage }
}

/// Returns what keeps a runbook from being run on an estate, as warnings: an estate need not serve every runbook.
fn missing(loaded: &Loaded, estate: &Estate) -> Option<Problems> {
    if rules::validate(loaded).has_errors() {
        return None;
    }
    let required = loaded.runbook.inputs.iter();
    let required: Vec<_> =
        required.filter(|(_, input)| input.required && input.default.is_none()).collect();
    if required.iter().any(|(_, input)| input.kind != InputType::Region) {
        // Nobody knows what would be given.
        return None;
    }
    let primary = &estate.primary.region;
    let others = estate.regions.keys().filter(|name| *name != primary);
    let mut found: Vec<Problem> = Vec::new();
    for region in others {
        let given = required.iter().map(|(name, _)| ((*name).clone(), json!(region)));
        let given: BTreeMap<String, Value> = given.collect();
        let Err(problems) = resolve(loaded, estate, &given) else { continue };
        for problem in problems.items {
            let said = Problem {
                message: format!("{}: {}", loaded.runbook.runbook, problem.message),
                ..problem
            };
            if !found.contains(&said) {
                found.push(said);
            }
        }
    }
    let warnings: Vec<Problem> = found.into_iter().map(Problem::warning).collect();
    (!warnings.is_empty()).then(|| loaded.problems(warnings))
}

impl Checked {
    fn good(&self) -> bool {
        self.why.is_none() && !self.problems.iter().any(Problems::has_errors)
    }

    fn show(&self, context: &Context) {
        if let Some((why, hint)) = &self.why {
            context.terminal.loud(Tone::Bad, &format!("error: {why}"));
            if let Some(hint) = hint {
                context.terminal.loud(Tone::Plain, &format!("hint: {hint}"));
            }
            return;
        }
        if self.good() {
            context.terminal.out(&format!("{}: good", self.file));
        }
        for problems in &self.problems {
            let text = problems.render(context.terminal.colored());
            if !text.trim().is_empty() {
                context.terminal.loud(Tone::Plain, text.trim_end());
            }
        }
    }

    fn json(&self) -> Value {
        let problems = self.problems.iter().flat_map(|problems| match problems.json() {
            Value::Array(items) => items,
            other => vec![other],
        });
        json!({ "file": self.file, "good": self.good(), "why": self.why.as_ref().map(|(why, _)| why),
            "problems": problems.collect::<Vec<_>>() })
    }
}
