//! Words and command lines as a shell reads them back: everything a person may paste is written here.

/// Returns a word as a shell reads it back.
pub(crate) fn word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Returns a command line as a person could type it.
pub(crate) fn line<Word: AsRef<str>>(argv: &[Word]) -> String {
    let words: Vec<String> = argv.iter().map(|part| word(part.as_ref())).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_every_word_back() {
        assert_eq!(line(&["echo", "a b", "", "it's", "$HOME"]), r"echo 'a b' '' 'it'\''s' '$HOME'");
        assert_eq!(line(&["kubectl", "-n", "a/b:c=d"]), "kubectl -n a/b:c=d");
    }
}
