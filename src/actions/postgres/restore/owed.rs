//! What a restore of a whole dump leaves open, and how the restored database says it itself: whoever gave it its name may have
//! been killed before it could.

use serde_json::json;

use crate::actions::postgres::extensions;
use crate::outcome::{Obligation, WARNS};
use crate::runbook::catalogue::actions::PostgresRestore;

/// Returns what stays open of a restore: what could not be given, and extensions that were left out.
pub(super) fn of(
    with: &PostgresRestore,
    notes: &[String],
    (left, later): (&[String], &[String]),
) -> Vec<Obligation> {
    let extensions = extensions::obligation(&with.instance, &with.into, (left, later));
    not_given(&with.into, notes).into_iter().chain(extensions).collect()
}

/// Returns what stays open where the restored database lacks something the dumped one had.
fn not_given(database: &str, notes: &[String]) -> Option<Obligation> {
    let lacks: Vec<&str> = notes.iter().filter_map(|note| note.strip_prefix(WARNS)).collect();
    let (first, more) = lacks.split_first()?;
    let mut how =
        "do it by hand as the server's administrator before the application is let in".to_owned();
    let mut others = String::new();
    if !more.is_empty() {
        others = format!("; and {} more", more.len());
        // Names may have any character: a line is what this program makes one.
        how = format!("{how}; the others: {}", more.join("; ").replace('\n', " "));
    }
    Some(Obligation {
        id: format!("lacks-{database}"),
        say: format!("{database} lacks what the dumped database had: {first}{others}"),
        how,
        closed_by: None,
    })
}

/// Returns it as one more word of a database's comment; none where nothing is open.
///
/// A comment is in the encoding of the database it is written from: the word has no character that one of them lacks.
pub(super) fn word(owed: &[Obligation]) -> String {
    if owed.is_empty() {
        return String::new();
    }
    let escaped = |c: char| match c {
        '!'..='~' => c.to_string(),
        // Only texts have others in them, and there JSON takes them so.
        _ => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    };
    let text = json!(owed).to_string();
    format!(" {}", text.chars().map(escaped).collect::<String>())
}

/// Reads the word of a comment that says what is open.
pub(super) fn read(word: &str) -> Vec<Obligation> {
    // Where nothing is, a note of this program may stand in its place.
    serde_json::from_str(word).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_open_is_one_word_of_ascii_and_reads_the_same() {
        assert_eq!(word(&[]), "");
        let owed = vec![Obligation {
            id: "lacks-copy".to_owned(),
            say: "grant to \"it's\" \\ phoenix-dr:{\u{7f}".to_owned(),
            how: "ü 𝄞\n[] \u{0} end".to_owned(),
            closed_by: Some(json!({ "check": "a b", "n": 7 })),
        }];
        let said = word(&owed);
        let said = said.strip_prefix(' ').expect("a word of its own");
        assert!(said.chars().all(|c| c.is_ascii_graphic()), "{said}");
        assert_eq!(read(said), owed);
        assert!(read("phoenix-dr:{\"part\":[\"a\"]}").is_empty());
    }

    #[test]
    fn all_that_is_lacking_is_said_and_no_name_makes_a_line() {
        let notes = ["done", "! first", "! a\n$ b", "! c"].map(str::to_owned);
        let open = not_given("copy", &notes).expect("something is lacking");
        assert!(open.say.ends_with("had: first; and 2 more"), "{open:?}");
        assert!(open.how.ends_with("let in; the others: a $ b; c"), "{open:?}");
        let one = not_given("copy", &notes[..2]).expect("something is lacking");
        assert!(one.say.ends_with(": first") && one.how.ends_with("let in"), "{one:?}");
        assert_eq!(not_given("copy", &notes[..1]), None);
    }
}
