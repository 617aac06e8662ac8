//! Holds the architecture: reads the sources as text and lists everything that breaks a rule, all of it at once.
//!
//! `docs/architecture.md` says what the rules are for. Test code may do as it likes: what stands under
//! `#[cfg(test)]`, and files that are only compiled there.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

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
        why: "AWS and Kubernetes are known to clients, actions and checks",
        words: &["aws_sdk_", "aws_config", "aws_smithy_", "kube::", "k8s_openapi"],
        allowed: &["src/clients/", "src/actions/", "src/checks/"],
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
        allowed: &["src/clock.rs", "src/clock/"],
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
    Border { folder: "src/clients/", forbidden: &["commands", "cli", "operator"] },
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

/// Returns the text without comments, literals and test code.
fn code_of(text: &str) -> String {
    blank_tests(&blank_literals(text))
}

/// Replaces comments and literals by blanks; every character keeps its line.
fn blank_literals(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end > at {
            for c in &chars[at..end] {
                out.push(if *c == '\n' { '\n' } else { ' ' });
            }
            at = end;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}

/// Returns where the comment or literal that begins at `at` ends; `at` itself where none begins.
fn literal_end(chars: &[char], at: usize) -> usize {
    let next = |offset: usize| chars.get(at + offset).copied().unwrap_or(' ');
    let before = if at == 0 { ' ' } else { chars[at - 1] };
    match chars[at] {
        '/' if next(1) == '/' => line_end(chars, at),
        '/' if next(1) == '*' => comment_end(chars, at),
        '"' => string_end(chars, at + 1),
        'r' if !is_word(before) || before == 'b' => raw_end(chars, at),
        '\'' if next(1) == '\\' => char_end(chars, at + 3),
        '\'' if next(2) == '\'' => at + 3,
        _ => at,
    }
}

fn line_end(chars: &[char], from: usize) -> usize {
    let mut at = from;
    while at < chars.len() && chars[at] != '\n' {
        at += 1;
    }
    at
}

fn comment_end(chars: &[char], from: usize) -> usize {
    let mut depth = 0;
    let mut at = from;
    while at + 1 < chars.len() {
        if chars[at] == '/' && chars[at + 1] == '*' {
            depth += 1;
            at += 2;
        } else if chars[at] == '*' && chars[at + 1] == '/' {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], from: usize) -> usize {
    let mut at = from;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

fn raw_end(chars: &[char], from: usize) -> usize {
    let mut at = from + 1;
    let mut hashes = 0;
    while at < chars.len() && chars[at] == '#' {
        hashes += 1;
        at += 1;
    }
    if at >= chars.len() || chars[at] != '"' {
        return from;
    }
    at += 1;
    while at < chars.len() {
        if chars[at] == '"' {
            let mut seen = 0;
            while seen < hashes && at + 1 + seen < chars.len() && chars[at + 1 + seen] == '#' {
                seen += 1;
            }
            if seen == hashes {
                return at + 1 + hashes;
            }
        }
        at += 1;
    }
    chars.len()
}

fn char_end(chars: &[char], from: usize) -> usize {
    let mut at = from;
    while at < chars.len() && chars[at] != '\'' {
        at += 1;
    }
    (at + 1).min(chars.len())
}

const TEST: &str = "#[cfg(test)]";

/// Replaces whatever stands under `#[cfg(test)]` by blanks.
fn blank_tests(plain: &str) -> String {
    let mut out = String::with_capacity(plain.len());
    let mut rest = plain;
    while let Some(at) = rest.find(TEST) {
        out.push_str(&rest[..at]);
        let length = TEST.len() + item_length(&rest[at + TEST.len()..]);
        for c in rest[at..at + length].chars() {
            out.push(if c == '\n' { '\n' } else { ' ' });
        }
        rest = &rest[at + length..];
    }
    out.push_str(rest);
    out
}

/// Returns the names of the modules declared under `#[cfg(test)]` that have files of their own.
fn test_modules(plain: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = plain;
    while let Some(at) = rest.find(TEST) {
        rest = &rest[at + TEST.len()..];
        let length = item_length(rest);
        let item = rest[..length].trim();
        if let Some(declaration) = item.strip_suffix(';') {
            let words: Vec<&str> = declaration.split_whitespace().collect();
            if words.len() >= 2 && words[words.len() - 2] == "mod" {
                names.push(words[words.len() - 1].to_owned());
            }
        }
        rest = &rest[length..];
    }
    names
}

/// Returns how many bytes the item, statement or field at the beginning of `text` has.
fn item_length(text: &str) -> usize {
    let mut depth = 0_i32;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => {
                depth -= 1;
                if depth < 0 {
                    return at;
                }
                if depth == 0 && c == '}' {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            // The end of a field; a function's generics have commas of their own.
            ',' if depth == 0 && !text[..at].contains("fn ") => return at + 1,
            _ => {}
        }
    }
    text.len()
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

/// Returns the numbers of the lines that hold a word.
fn lines_with(code: &str, word: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for (index, line) in code.lines().enumerate() {
        if has(line, word) {
            found.push(index + 1);
        }
    }
    found
}

/// Says whether a line holds a word as a whole; one that ends with `_` is the beginning of a name.
fn has(line: &str, word: &str) -> bool {
    let mut from = 0;
    while let Some(offset) = line[from..].find(word) {
        let start = from + offset;
        let end = start + word.len();
        let before = line[..start].chars().next_back().unwrap_or(' ');
        let after = line[end..].chars().next().unwrap_or(' ');
        let ends_open = !is_word(word.chars().next_back().unwrap_or(' ')) || word.ends_with('_');
        if !is_word(before) && (ends_open || !is_word(after)) {
            return true;
        }
        from = end;
    }
    false
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
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

/// Returns the top modules a text names by `crate::`, each with its line.
fn modules_used(code: &str) -> Vec<(usize, String)> {
    const CRATE: &str = "crate::";
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(offset) = code[from..].find(CRATE) {
        let start = from + offset;
        let line = code[..start].matches('\n').count() + 1;
        let rest = &code[start + CRATE.len()..];
        if rest.starts_with('{') {
            for module in group(rest) {
                found.push((line, module));
            }
        } else {
            found.push((line, first_word(rest)));
        }
        from = start + CRATE.len();
    }
    found
}

/// Returns the first name of each member of a group `{a::b, c::{d, e}}`.
fn group(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0_i32;
    let mut fresh = false;
    for (at, c) in text.char_indices() {
        match c {
            '{' => {
                depth += 1;
                fresh = depth == 1;
            }
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return names;
                }
            }
            ',' => fresh = depth == 1,
            _ if fresh && is_word(c) => {
                names.push(first_word(&text[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| is_word(*c)).collect()
}

/// Returns the first line and the number of lines of every function that has a body.
fn functions(code: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(column) = function_at(line) else { continue };
        if let Some(last) = body_end(&lines, index, column) {
            found.push((index + 1, last - index + 1));
        }
    }
    found
}

/// Returns where a line begins to declare a function.
fn function_at(line: &str) -> Option<usize> {
    let column = line.find("fn ")?;
    let before = line[..column].chars().next_back().unwrap_or(' ');
    if is_word(before) { None } else { Some(column) }
}

/// Returns the line on which a function's body ends; `None` for a declaration without one.
fn body_end(lines: &[&str], first: usize, column: usize) -> Option<usize> {
    let mut braces = 0_i32;
    let mut others = 0_i32;
    for (index, line) in lines.iter().enumerate().skip(first) {
        let part = if index == first { &line[column..] } else { *line };
        for c in part.chars() {
            match c {
                '(' | '[' => others += 1,
                ')' | ']' => others -= 1,
                '{' => braces += 1,
                '}' => {
                    braces -= 1;
                    if braces == 0 {
                        return Some(index);
                    }
                }
                ';' if braces == 0 && others == 0 => return None,
                _ => {}
            }
        }
    }
    None
}
