//! Secrets written into an estate file by mistake: found, so that no error message repeats them.

use std::ops::Range;

use crate::runbook::problem::Problems;

/// Parts of key names that hold a secret where their value is a text.
const KEYS: &[&str] =
    &["pass", "pasw", "pwd", "secret", "token", "api_key", "apikey", "access_key", "private_key"];

/// What looks like a secret in a text.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    ranges: Vec<Range<usize>>,
    texts: Vec<String>,
}

impl Secrets {
    /// Finds what looks like a secret, line by line: a text that is no YAML must not leak either.
    pub(super) fn find(text: &str) -> Self {
        let mut found = Self::default();
        let mut start = 0;
        // Indentation of a key whose block of following lines is its value.
        let mut block: Option<usize> = None;
        // Indentation of a `password_from:` whose mapping is on the lines below.
        let mut reference: Option<usize> = None;
        for line in text.split_inclusive('\n') {
            let indent = line.len() - line.trim_start_matches([' ', '-']).len();
            let blank = line.trim().is_empty();
            if let Some(above) = block
                && (blank || indent > above)
            {
                found.take(text, start..start + line.trim_end().len());
            } else {
                block = None;
                reference = reference.filter(|above| blank || indent > *above);
                if let Some(value) = secret_value(line, reference.is_some()) {
                    let words = line[value.clone()].trim();
                    if words.is_empty() || words.starts_with(['|', '>']) {
                        // A mapping's lines have keys of their own and are looked at one by one.
                        block = words.starts_with(['|', '>']).then_some(indent);
                    } else {
                        found.take(text, start + value.start..start + value.end);
                    }
                }
                found.user_info(text, start, line);
                if line.trim_end().ends_with("password_from:") {
                    reference = Some(indent);
                }
            }
            start += line.len();
        }
        found
    }

    /// Takes the `user:password` of a URL.
    fn user_info(&mut self, text: &str, start: usize, line: &str) {
        for (at, _) in line.match_indices("://") {
            let rest = &line[at + 3..];
            let end = rest.find(['/', ' ', '"', '\'', '\n']).unwrap_or(rest.len());
            if let Some(user) = rest[..end].rfind('@')
                && let Some(colon) = rest[..user].find(':')
            {
                let from = start + at + 3;
                self.take(text, from + colon + 1..from + user);
            }
        }
    }

    fn take(&mut self, text: &str, range: Range<usize>) {
        let written = text[range.clone()].trim();
        let bare = written.trim_end_matches([',', '}', ']', ' ']);
        for form in [written, bare] {
            let form = form.trim_matches(['"', '\'']);
            if !form.is_empty() && !self.texts.iter().any(|known| known == form) {
                self.texts.push(form.to_owned());
            }
        }
        self.ranges.push(range);
    }

    /// Says whether a secret is written on the line a range begins in.
    fn share_a_line(&self, source: &str, range: &Range<usize>) -> bool {
        self.ranges.iter().any(|secret| {
            let between = range.start.min(secret.start)..range.start.max(secret.start);
            source.get(between).is_some_and(|text| !text.contains('\n'))
        })
    }

    /// Returns problems without the secrets: not in the excerpts, not in the messages.
    pub(super) fn mask(&self, mut problems: Problems) -> Problems {
        if self.ranges.is_empty() {
            return problems;
        }
        let mut source = problems.source.as_bytes().to_vec();
        for range in &self.ranges {
            // The same length keeps every other place where it was.
            if let Some(bytes) = source.get_mut(range.clone()) {
                bytes.fill(b'*');
            }
        }
        problems.source = String::from_utf8_lossy(&source).as_ref().into();
        for item in &mut problems.items {
            if item.range.as_ref().is_some_and(|range| self.share_a_line(&problems.source, range)) {
                item.help = Some(FORM.to_owned());
            }
            for text in &self.texts {
                let quoted = format!("`{text}`");
                item.message = item.message.replace(&quoted, "`********`");
                item.help = item.help.take().map(|help| help.replace(&quoted, "`********`"));
                if text.len() >= 6 {
                    item.message = item.message.replace(text.as_str(), "********");
                }
            }
        }
        problems
    }
}

/// What to write instead of a secret.
const FORM: &str = "no secret belongs in this file: write `password_from: { env: NAME }`, `{ file: PATH }` \
                    or\n`{ command: [PROGRAM, ARGUMENT, …] }`, and change a secret that was written here";

/// Returns where on a line the value of a key that holds a secret is: all the rest of the line.
///
/// Inside a reference (`password_from`), only the three ways to refer are no secret.
fn secret_value(line: &str, mut reference: bool) -> Option<Range<usize>> {
    let code = line.trim_end();
    let lower = code.to_ascii_lowercase();
    let mut from = 0;
    while let Some(colon) = lower[from..].find(':').map(|at| from + at) {
        let key = lower[..colon].trim_end_matches(['"', '\'', ' ']);
        let start = key.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'));
        let name = &key[start.map_or(0, |at| at + 1)..];
        let value = code[colon + 1..].trim_start();
        // `password_from: { env: … }` and the key of a Kubernetes Secret hold mappings.
        let mapping = value.starts_with(['{', '&', '*', '#']) || value.is_empty();
        let commented = lower[..colon].trim_start().starts_with('#');
        let known = ["env", "file", "command"].contains(&name);
        let secret = KEYS.iter().any(|part| name.contains(part)) || (reference && !known);
        reference |= name == "password_from";
        if !commented && secret && !mapping {
            let at = code.len() - value.len();
            return Some(at..code.len());
        }
        from = colon + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let secrets = Secrets::find(text);
        secrets.ranges.iter().map(|range| text[range.clone()].to_owned()).collect()
    }

    #[test]
    fn finds_what_looks_like_a_secret() {
        assert_eq!(found("password: hunter2\n"), ["hunter2"]);
        assert_eq!(found("  - {user: a, \"PASSWORD\": 'hunter2'}\n"), ["'hunter2'}"]);
        assert_eq!(found("password_from: hunter2\n"), ["hunter2"]);
        assert_eq!(found("pasword: |\n  hunter2\n  more\nuser: a\n"), ["  hunter2", "  more"]);
        assert_eq!(found("api: https://u:hunter2@host/x\n"), ["hunter2"]);
        assert_eq!(found("db_token: abc: def\n"), ["abc: def"]);
        assert_eq!(found("password_from: { value: hunter2 }\n"), ["hunter2 }"]);
        assert_eq!(found("password_from:\n  text: hunter2\nuser: a\n"), ["hunter2"]);
    }

    #[test]
    fn leaves_references_alone() {
        for text in [
            "password_from: { env: NAME }\n",
            "password_from:\n  file: /run/x\nuser: a\n",
            "secret: { namespace: a, name: b, host_key: c }\n",
            "# password: hunter2 is refused\n",
            "root_cert: /etc/x\n",
            "api: https://host:443/x@y\n",
            "user: passenger\n",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }
}
