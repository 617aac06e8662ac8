//! Holds the architecture: reads the sources as text and lists everything that breaks a rule, all of it at once.
//!
//! `docs/architecture.md` says what the rules are for. Test code may do as it likes: what stands under
//! `#[cfg(test)]`, and files that are only compiled there.

#[path = "architecture/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use source::{
    blank_literals, blank_tests, code_of, functions, has, lines_with, modules_used, test_modules,
};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// One source file.
struct Source {
    /// Path from the project's folder, e.g. `src/engine/mod.rs`
    path: String,
    /// Its text as it is
    text: String,
    /// Its text without comments, literals and test code; the lines stay where they are
    code: String,
    /// Only compiled for tests
    test: bool,
}

/// Names that may be written only in some places.
struct Rule {
    why: &'static str,
    words: &'static [&'static str],
    allowed: &'static [&'static str],
}

const RULES: &[Rule] = &[
    Rule { why: "clap lives in cli", words: &["clap", "ValueEnum"], allowed: &["src/cli/"] },
    Rule {
        why: "completions and the manual page are made by their command",
        words: &["clap_complete", "clap_mangen"],
        allowed: &["src/cli/", "src/commands/completions.rs"],
    },
    Rule {
        why: "AWS and Kubernetes are known to clients, actions, checks, captures and their simulation",
        words: &["aws_sdk_", "aws_config", "aws_smithy_", "kube::", "k8s_openapi"],
        allowed: &["src/clients/", "src/actions/", "src/checks/", "src/capture/", "src/sandbox/"],
    },
    Rule {
        why: "time is read and waited for through the clock",
        words: &[
            "tokio::time",
            "std::time::Instant",
            "std::time::SystemTime",
            "Instant::now",
            "SystemTime",
            "Timestamp::now",
            "Zoned::now",
        ],
        // The SDK asks for time in its own type.
        allowed: &["src/clock.rs", "src/clock/", "src/clients/aws/time.rs"],
    },
    Rule {
        why: "people are asked by operator",
        words: &["dialoguer"],
        allowed: &["src/operator/"],
    },
    Rule {
        why: "printing is for report and operator",
        words: &[
            "indicatif",
            "print!",
            "println!",
            "eprint!",
            "eprintln!",
            "dbg!",
            "stdout()",
            "stderr()",
        ],
        allowed: &["src/report/", "src/operator/"],
    },
    Rule {
        why: "YAML is read in one module",
        words: &["serde_yaml", "granit_parser"],
        allowed: &["src/runbook/yaml/"],
    },
    Rule {
        why: "a run is armed by commands alone",
        words: &["Armed::mint"],
        allowed: &["src/commands/"],
    },
    Rule {
        why: "what was read is never taken for granted",
        words: &["unwrap()", "todo!", "unimplemented!"],
        allowed: &[],
    },
];

/// Modules a folder must not know.
struct Border {
    folder: &'static str,
    forbidden: &'static [&'static str],
}

const BORDERS: &[Border] = &[
    Border {
        folder: "src/engine/",
        forbidden: &["clients", "actions", "checks", "operator", "report", "commands", "cli"],
    },
    Border {
        folder: "src/journal/",
        forbidden: &["cli", "commands", "actions", "checks", "operator"],
    },
    Border {
        folder: "src/plan/",
        forbidden: &[
            "clients", "actions", "checks", "operator", "report", "commands", "cli", "journal",
        ],
    },
    Border {
        folder: "src/runbook/",
        forbidden: &[
            "clients", "actions", "checks", "operator", "commands", "cli", "journal", "engine",
        ],
    },
    Border {
        folder: "src/report/",
        forbidden: &["clients", "actions", "checks", "commands", "cli"],
    },
    Border { folder: "src/actions/", forbidden: &["journal", "operator", "commands", "cli"] },
    Border { folder: "src/checks/", forbidden: &["journal", "operator", "commands", "cli"] },
    Border {
        folder: "src/capture/",
        forbidden: &[
            "actions", "checks", "engine", "journal", "plan", "operator", "report", "commands",
            "cli",
        ],
    },
    Border { folder: "src/clients/", forbidden: &["capture", "commands", "cli", "operator"] },
    Border {
        folder: "src/sandbox/",
        forbidden: &[
            "clients", "actions", "checks", "engine", "journal", "plan", "operator", "report",
            "commands", "cli",
        ],
    },
];

#[test]
fn names_stay_where_they_belong() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| !source.test) {
        for rule in RULES {
            found.extend(broken(rule, source));
        }
    }
    none(&found);
}

#[test]
fn modules_know_only_what_is_below_them() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| !source.test) {
        for border in BORDERS {
            found.extend(crossed(border, source));
        }
    }
    none(&found);
}

#[test]
fn files_are_short() {
    let mut found = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            found.push(format!("{}: {lines} lines, at most {FILE_LINES_MAX}", source.path));
        }
    }
    none(&found);
}

#[test]
fn functions_are_short() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| !source.test) {
        for (line, length) in functions(&source.code) {
            if length > FUNCTION_LINES_MAX {
                found.push(format!(
                    "{}:{line}: a function of {length} lines, at most {FUNCTION_LINES_MAX}",
                    source.path
                ));
            }
        }
    }
    none(&found);
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = read("Cargo.toml");
    let reasons = read("docs/dependencies.md");
    let mut found = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line == "[dependencies]" || line == "[dev-dependencies]";
            continue;
        }
        let Some((name, _)) = line.split_once(" = ") else { continue };
        if inside && !name.starts_with('#') && !reasons.contains(&format!("| `{name}` |")) {
            found.push(format!("docs/dependencies.md: no reason for `{name}`"));
        }
    }
    none(&found);
}

#[test]
fn every_exit_code_is_documented() {
    let codes = read("src/exit.rs");
    let manual = read("docs/exit-codes.md");
    let mut found = Vec::new();
    let mut seen = 0;
    for line in codes.lines() {
        let Some((_, rest)) = line.split_once(" = ") else { continue };
        let Ok(code) = rest.trim_end_matches(',').parse::<u8>() else { continue };
        seen += 1;
        if !manual.contains(&format!("| {code} |")) {
            found.push(format!("docs/exit-codes.md: no row for {code}"));
        }
    }
    assert!(seen > 10, "the codes of src/exit.rs are not where this test looks for them");
    none(&found);
}

/// What is called nowhere, and where it may be named all the same; `docs/postgres.md` says why.
const UNUSED: [(&str, &[&str]); 3] = [
    ("pg_rewind", &[]),
    ("pgbackrest", &[]),
    // One is a query that is refused, the other says what a name of a target is.
    (
        "pg_create_restore_point",
        &["src/clients/postgres/essentials.rs", "src/actions/postgres/target.rs"],
    ),
];

#[test]
fn what_proves_nothing_is_called_by_no_source_and_no_runbook() {
    let sources = sources().into_iter().filter(|source| !source.test);
    let mut texts: Vec<(String, String)> =
        sources.map(|source| (source.path, source.text)).collect();
    for folder in ["runbooks", "src/estate"] {
        for entry in fs::read_dir(root().join(folder)).expect("it is there") {
            let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
            if name.ends_with(".yaml") {
                let path = format!("{folder}/{name}");
                texts.push((path.clone(), read(&path)));
            }
        }
    }
    assert!(texts.iter().any(|(path, _)| path.ends_with("DR-002-database-corruption.yaml")));
    let manual = read("docs/postgres.md");
    let mut found = Vec::new();
    for (name, allowed) in UNUSED {
        assert!(manual.contains(name), "docs/postgres.md does not say why there is no {name}");
        let named = texts.iter().filter(|(path, text)| {
            text.contains(name)
                && !allowed.contains(&path.as_str())
                && !is_in_tests(path, text, name)
        });
        found.extend(named.map(|(path, _)| format!("{path}: {name}")));
    }
    none(&found);
}

/// Says whether a source names something below its first `#[cfg(test)]` alone.
fn is_in_tests(path: &str, text: &str, name: &str) -> bool {
    let tests = text.find("#[cfg(test)]");
    path.ends_with(".rs") && tests.is_some_and(|at| !text[..at].contains(name))
}

// The rules themselves: each must be able to fail.

#[test]
fn literals_comments_and_test_code_are_no_code() {
    let text = "let a = \"println!\"; // println!\nlet b = r#\"x\"println!\"#;\n/* println!\n */ let c = '\"';\nlet d: &'static str = x;\n#[cfg(test)]\nmod tests {\n    fn f() { println!(); }\n}\nfn g() { println!(); }\n";
    let code = code_of(text);
    assert_eq!(code.lines().count(), text.lines().count());
    let hits: Vec<usize> = lines_with(&code, "println!");
    assert_eq!(hits, [10], "{code}");
    assert!(code.contains("let d: &'static str = x;"), "{code}");
}

#[test]
fn words_are_whole() {
    assert!(has("use clap::Parser;", "clap"));
    assert!(!has("use clap_complete::Shell;", "clap"));
    assert!(!has("let x = unclap;", "clap"));
    assert!(has("use aws_sdk_rds::Client;", "aws_sdk_"));
    assert!(has("x.unwrap()", "unwrap()"));
    assert!(!has("x.unwrap_or_default()", "unwrap()"));
    assert!(!has("eprintln!()", "println!"));
}

#[test]
fn crossings_are_seen_also_in_groups() {
    let code = "use crate::{event::Event, clients::{aws, Clients}};\nlet x = crate::cli::Y;\n";
    let found: Vec<(usize, String)> = modules_used(code);
    let expected: Vec<(usize, String)> =
        vec![(1, "event".to_owned()), (1, "clients".to_owned()), (2, "cli".to_owned())];
    assert_eq!(found, expected);
}

#[test]
fn functions_are_measured() {
    let code = "trait T {\n    fn a(&self) -> [u8; 2];\n    fn b() {\n        if x {\n        }\n    }\n}\n";
    assert_eq!(functions(code), [(3, 4)]);
}

/// Fails with everything that was found.
fn none(found: &[String]) {
    let mut list = String::new();
    for line in found {
        let _ = writeln!(list, "  {line}");
    }
    assert!(found.is_empty(), "{} found:\n{list}", found.len());
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    match fs::read_to_string(root().join(path)) {
        Ok(text) => text,
        Err(error) => panic!("read {path}: {error}"),
    }
}

/// Reads every file of `src`, with the files only tests compile marked.
fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    walk(&root().join("src"), &mut paths);
    paths.sort();
    assert!(paths.len() > 50, "the sources are not where this test looks for them");
    let mut tests = BTreeSet::new();
    let mut sources = Vec::new();
    for path in paths {
        let name = match path.strip_prefix(root()) {
            Ok(name) => name.to_string_lossy().replace('\\', "/"),
            Err(_) => continue,
        };
        let text = read(&name);
        let plain = blank_literals(&text);
        for module in test_modules(&plain) {
            tests.insert(format!("{}{module}", folder_of(&name)));
        }
        sources.push(Source { code: blank_tests(&plain), path: name, text, test: false });
    }
    for source in &mut sources {
        source.test = is_test(&source.path, &tests);
    }
    sources
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => panic!("read {}: {error}", folder.display()),
    };
    for entry in entries {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(error) => panic!("read {}: {error}", folder.display()),
        };
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// Returns the folder in which a file's own modules lie, with a slash at its end.
fn folder_of(path: &str) -> String {
    for end in ["mod.rs", "lib.rs", "main.rs"] {
        let folder = path.strip_suffix(end).unwrap_or_default();
        if folder.ends_with('/') {
            return folder.to_owned();
        }
    }
    format!("{}/", path.trim_end_matches(".rs"))
}

/// Says whether a file is only compiled for tests: declared so, below such a module, or named so by `#[path]`.
fn is_test(path: &str, declared: &BTreeSet<String>) -> bool {
    if path.ends_with("_tests.rs") {
        return true;
    }
    declared
        .iter()
        .any(|module| path == format!("{module}.rs") || path.starts_with(&format!("{module}/")))
}

fn broken(rule: &Rule, source: &Source) -> Vec<String> {
    if rule.allowed.iter().any(|place| source.path.starts_with(place)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for word in rule.words {
        for line in lines_with(&source.code, word) {
            found.push(format!("{}:{line}: `{word}`: {}", source.path, rule.why));
        }
    }
    // `use std::time::{Duration, Instant}` does not write the name in one piece.
    if rule.words.contains(&"std::time::Instant") {
        for (index, line) in source.code.lines().enumerate() {
            if line.contains("std::time::{") && has(line, "Instant") {
                found.push(format!("{}:{}: `Instant`: {}", source.path, index + 1, rule.why));
            }
        }
    }
    found
}

fn crossed(border: &Border, source: &Source) -> Vec<String> {
    if !source.path.starts_with(border.folder) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (line, module) in modules_used(&source.code) {
        if border.forbidden.contains(&module.as_str()) {
            found.push(format!(
                "{}:{line}: `crate::{module}` is not for {}",
                source.path, border.folder
            ));
        }
    }
    found
}
