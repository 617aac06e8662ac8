//! Rust as text: blanks what is no code, finds words, modules and functions in the rest.

const TEST: &str = "#[cfg(test)]";

/// Returns the text without comments, literals and test code.
pub(crate) fn code_of(text: &str) -> String {
    blank_tests(&blank_literals(text))
}

/// Replaces comments and literals by blanks; every character keeps its line.
pub(crate) fn blank_literals(text: &str) -> String {
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

/// Replaces whatever stands under `#[cfg(test)]` by blanks.
pub(crate) fn blank_tests(plain: &str) -> String {
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
pub(crate) fn test_modules(plain: &str) -> Vec<String> {
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

/// Returns the numbers of the lines that hold a word.
pub(crate) fn lines_with(code: &str, word: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for (index, line) in code.lines().enumerate() {
        if has(line, word) {
            found.push(index + 1);
        }
    }
    found
}

/// Says whether a line holds a word as a whole; one that ends with `_` is the beginning of a name.
pub(crate) fn has(line: &str, word: &str) -> bool {
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

/// Returns the top modules a text names by `crate::`, each with its line.
pub(crate) fn modules_used(code: &str) -> Vec<(usize, String)> {
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
pub(crate) fn functions(code: &str) -> Vec<(usize, usize)> {
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
