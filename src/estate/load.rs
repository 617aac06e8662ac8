//! The estate file: where it is looked for, and reading it without ever printing a secret from it.

use std::path::{Path, PathBuf};

use super::redact;
use super::types::Estate;
use super::validate;
use crate::runbook::load::{FileText, read_within};
use crate::runbook::problem::{Gravity, Origin, Problem, Problems};
use crate::runbook::yaml;

/// Name of the file in the working directory and under the configuration directory.
pub(crate) const FILE_NAME: &str = "phoenix-dr.yaml";

/// No estate file where one is looked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no estate file; looked for {}", list(looked_for))]
pub(crate) struct NoEstate {
    pub looked_for: Vec<PathBuf>,
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Returns the estate file to read: the named one, or the first of those looked for by default.
pub(crate) fn find(explicit: Option<&Path>) -> Result<PathBuf, NoEstate> {
    find_among(explicit, std::env::var_os("XDG_CONFIG_HOME"), std::env::var_os("HOME"))
}

fn find_among(
    explicit: Option<&Path>,
    config: Option<std::ffi::OsString>,
    home: Option<std::ffi::OsString>,
) -> Result<PathBuf, NoEstate> {
    if let Some(path) = explicit {
        // A named file that is not there is an error of its own when it is read.
        return Ok(path.to_owned());
    }
    let config = config
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| home.map(|home| PathBuf::from(home).join(".config")));
    let mut looked_for = vec![PathBuf::from(FILE_NAME)];
    looked_for.extend(config.map(|config| config.join("phoenix-dr").join(FILE_NAME)));
    match looked_for.iter().find(|path| path.exists()) {
        Some(path) => Ok(path.clone()),
        None => Err(NoEstate { looked_for }),
    }
}

/// Reads an estate file; warnings are dropped.
pub(crate) fn read(path: &Path) -> Result<Estate, Problems> {
    read_examined(path).map(|(estate, _)| estate)
}

/// Reads an estate file, with what deserves a look.
pub(crate) fn read_examined(path: &Path) -> Result<(Estate, Problems), Problems> {
    let name = path.display().to_string();
    match read_within(path) {
        Ok(FileText::Whole(text)) => examine(&name, &text),
        Ok(FileText::TooLarge(bytes)) => Err(from_estate(yaml::too_large(&name, bytes))),
        Err(error) => {
            let problem =
                Problem::nowhere(Origin::Estate, format!("cannot read `{name}`: {error}"));
            let problem = problem.help("name another with --estate, or write one: phoenix-dr init");
            Err(Problems::new(name, "".into(), vec![problem]))
        }
    }
}

/// Reads an estate's text; warnings are dropped.
pub(crate) fn parse(name: &str, text: &str) -> Result<Estate, Problems> {
    examine(name, text).map(|(estate, _)| estate)
}

/// Reads an estate's text, with what deserves a look.
pub(crate) fn examine(name: &str, text: &str) -> Result<(Estate, Problems), Problems> {
    let secrets = redact::Secrets::find(text);
    let parsed = match yaml::parse::<Estate>(name, text) {
        Ok(parsed) => parsed,
        Err(problems) => return Err(from_estate(secrets.mask(problems))),
    };
    let (mut estate, document) = (parsed.value, parsed.document);
    let problems = document.problems(validate::check(&estate, &document.index));
    let problems = from_estate(secrets.mask(problems));
    if problems.has_errors() {
        return Err(problems);
    }
    estate.file = Some(name.to_owned());
    if let Some(dns) = &mut estate.dns {
        // Depends on the name, so no default of the type can give it.
        let url = format!("https://{}/", dns.name);
        dns.url.get_or_insert(url);
    }
    Ok((estate, problems))
}

fn from_estate(mut problems: Problems) -> Problems {
    for item in &mut problems.items {
        item.origin = Origin::Estate;
    }
    debug_assert!(
        problems
            .items
            .iter()
            .all(|item| item.gravity == Gravity::Error || item.gravity == Gravity::Warning)
    );
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looked_for_in_order() {
        let home = tempfile::tempdir().expect("a directory");
        let config = home.path().join(".config").join("phoenix-dr");
        let asked = |explicit| find_among(explicit, None, Some(home.path().into()));
        let named = Path::new("/somewhere/else.yaml");
        assert_eq!(asked(Some(named)), Ok(named.to_owned()));
        let error = asked(None).expect_err("there is none");
        let expected = [PathBuf::from(FILE_NAME), config.join(FILE_NAME)];
        assert_eq!(error.looked_for, expected);
        std::fs::create_dir_all(&config).expect("creates");
        std::fs::write(config.join(FILE_NAME), "").expect("writes");
        assert_eq!(asked(None), Ok(config.join(FILE_NAME)));
        let other = tempfile::tempdir().expect("a directory");
        let found = find_among(None, Some(other.path().into()), Some(home.path().into()));
        let error = found.expect_err("XDG_CONFIG_HOME replaces ~/.config");
        assert_eq!(error.looked_for[1], other.path().join("phoenix-dr").join(FILE_NAME));
    }

    #[test]
    fn a_file_that_cannot_be_read_says_so() {
        let problems = read(Path::new("/nonexistent/phoenix-dr.yaml")).expect_err("is not there");
        let text = problems.to_string();
        assert!(
            text.contains("cannot read `/nonexistent/phoenix-dr.yaml`: No such file"),
            "{text}"
        );
        assert!(problems.only_usage());
    }
}
