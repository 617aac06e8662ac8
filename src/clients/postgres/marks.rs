//! What this program notes of a database, behind whatever else its comment says.
//!
//! A comment is in the server's own catalog: it is read from beside the database, whatever is damaged in that; it changes in
//! the transaction it belongs to; and it stays with the database under whatever name.

use serde::{Deserialize, Serialize};

use super::acl::Barrier;
use super::{identifier, literal};

/// What comes before a note.
const BEFORE: &str = " phoenix-dr:";

/// What is noted of a database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// Roles whose login its fence took: they belong to the whole server, and must get it back
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logins: Vec<String>,
    /// What its fence found, which is given back wherever it comes over to
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Closed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_over: Option<CutOver>,
    /// Tables whose rows alone were restored into it; none where it holds all there was
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub part: Vec<String>,
}

impl Note {
    /// Returns what is noted once the fence is gone.
    pub(crate) fn without_fence(&self) -> Self {
        Self { logins: Vec::new(), closed: None, ..self.clone() }
    }
}

/// What the fence of a whole database found where it closed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Closed {
    /// Whom it let in alone
    pub operator: String,
    /// Value of the database's own `default_transaction_read_only`, where it had one
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
    pub barrier: Barrier,
}

/// How a database came to the name it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CutOver {
    /// The run and the step that gave it the name
    pub token: String,
    /// The database that had the name before: its OID, which no renaming changes
    pub damaged: i64,
    /// Rows that had been written in it by then
    pub written: i64,
}

/// A database's comment: what somebody wrote, and this program's note.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Comment {
    theirs: String,
    pub note: Note,
}

impl Comment {
    /// Reads a comment; one without a note of this program is all theirs.
    pub(crate) fn read(text: &str) -> Self {
        let noted = text.rsplit_once(BEFORE).and_then(|(theirs, note)| {
            let note = serde_json::from_str(note).ok()?;
            Some(Self { theirs: theirs.to_owned(), note })
        });
        noted.unwrap_or_else(|| Self { theirs: text.to_owned(), note: Note::default() })
    }

    /// Returns the statement by which a database bears another note behind the same words.
    pub(crate) fn noting(&self, database: &str, note: &Note) -> String {
        let text = noted(&self.theirs, note);
        let text = if text.is_empty() { "null".to_owned() } else { literal(&text) };
        format!("comment on database {} is {text}", identifier(database))
    }
}

/// Returns a comment with a note behind the words of it.
pub(crate) fn noted(words: &str, note: &Note) -> String {
    match serde_json::to_string(note) {
        Ok(said) if *note != Note::default() => format!("{words}{BEFORE}{said}"),
        Ok(_) | Err(_) => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_stands_behind_what_others_wrote_and_goes_without_a_trace() {
        let note = Note {
            logins: vec!["the boss's".to_owned()],
            closed: Some(Closed {
                operator: "dr".to_owned(),
                setting: Some("off".to_owned()),
                barrier: Barrier::Limit(7),
            }),
            cut_over: Some(CutOver { token: "RUN/step/0".to_owned(), damaged: 5, written: 7 }),
            part: vec!["app.orders".to_owned()],
        };
        for theirs in ["", "production", "a phoenix-dr:thing of theirs", "it's \\ odd"] {
            let plain = Comment::read(theirs);
            assert_eq!((plain.theirs.as_str(), &plain.note), (theirs, &Note::default()));
            let text = format!("{theirs}{BEFORE}{}", serde_json::to_string(&note).expect("JSON"));
            let noted = Comment::read(&text);
            assert_eq!((noted.theirs.as_str(), &noted.note), (theirs, &note));
            let sql = plain.noting("d", &note);
            assert_eq!(sql, format!("comment on database \"d\" is {}", literal(&text)));
            let back = noted.noting("d", &Note::default());
            let theirs = if theirs.is_empty() { "null".to_owned() } else { literal(theirs) };
            assert_eq!(back, format!("comment on database \"d\" is {theirs}"));
        }
    }
}
