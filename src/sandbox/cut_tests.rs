use crate::runbook::problem::Problems;
use crate::sandbox::lines::write;
use crate::sandbox::tests::phoenix;
use crate::sandbox::world::parse;

/// The shipped world as a capture of it would be written.
fn captured() -> String {
    let mut world = phoenix();
    world.captured = Some("2026-11-22T02:18:00Z".parse().expect("an instant"));
    write(&world)
}

fn refused(text: &str) -> Problems {
    parse("w.jsonl", text).expect_err("it is not whole")
}

#[test]
fn an_empty_file_is_told_as_one() {
    for text in ["", "\n", "  \n\n", "# a world to be\n"] {
        let said = refused(text).render(false);
        assert!(said.contains("the file is empty: there is no world in it"), "{text:?}: {said}");
        assert!(said.contains("phoenix-dr world capture --out w.jsonl --force"), "{said}");
        assert!(!said.contains("runbook"), "{said}");
    }
}

#[test]
fn a_capture_is_cut_at_a_line_and_nothing_else_is_wrong_with_it() {
    let text = captured();
    let count = text.lines().count();
    // At every byte of its last three lines, and of its first.
    let from = text.match_indices('\n').nth(count - 4).expect("lines").0;
    for at in (1..300).chain(from + 1..text.len() - 1) {
        if !text.is_char_boundary(at) {
            continue;
        }
        let problems = refused(&text[..at]);
        let said = problems.render(false);
        assert_eq!(problems.items.len(), 1, "cut at byte {at}: {said}");
        let line = text[..at].trim_end_matches('\n').matches('\n').count() + 1;
        assert!(said.contains(&format!("was cut short at line {line}, ")), "byte {at}: {said}");
        assert!(said.contains("phoenix-dr world validate w.jsonl"), "{said}");
    }
}

#[test]
fn lines_that_lack_at_the_end_are_counted() {
    let text = captured();
    let count = text.lines().count();
    let kept: String = text.lines().take(count - 2).flat_map(|line| [line, "\n"]).collect();
    let said = refused(&kept).render(false);
    let (wanted, found) = (count - 1, count - 3);
    let words = format!(
        "the capture was cut short at line {}, after it: {wanted} lines are to follow the first, and {found} do",
        count - 2
    );
    assert!(said.contains(&words), "{said}");
    assert!(said.contains(&format!("w.jsonl:{}:1", count - 2)), "{said}");
}

#[test]
fn a_document_of_json_that_breaks_off_is_no_mistake_in_yaml() {
    let text = serde_json::to_string_pretty(&phoenix()).expect("JSON");
    let line = text.lines().count() / 2;
    let kept: Vec<&str> = text.lines().take(line).collect();
    let problems = parse("w.json", kept.join("\n")).expect_err("it is not whole");
    let said = problems.render(false);
    assert_eq!(problems.items.len(), 1, "{said}");
    assert!(said.contains(&format!("the world was cut short at line {line}, within it")), "{said}");
}

#[test]
fn other_mistakes_are_told_as_they_are() {
    let text = captured();
    let said =
        refused(&text.replacen("\"type\":\"postgres\"", "\"type\":\"postgre\"", 1)).render(false);
    assert!(said.contains("postgre") && !said.contains("cut short"), "{said}");
}
