use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::runbook::path::Path;
use crate::runbook::problem::Problems;
use crate::span::Span;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Sample {
    name: String,
    #[serde(default)]
    wait: Option<Span>,
    #[serde(default)]
    colour: Option<Colour>,
    #[serde(default)]
    parts: Vec<Part>,
    #[serde(default)]
    count: u32,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Part {
    id: String,
    #[serde(default)]
    needs: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Colour {
    /// As a tomato
    Red,
    /// As the sky
    Blue,
}

fn refused(text: &str) -> Problems {
    match parse::<Sample>("sample.yaml", text) {
        Ok(parsed) => panic!("accepted as {:?}", parsed.value),
        Err(problems) => problems,
    }
}

fn data(text: &str) -> Value {
    read("sample.yaml", text).unwrap_or_else(|problems| panic!("{problems}")).value
}

#[test]
fn types_come_out() {
    let parsed = parse::<Sample>("s", "name: a\nwait: 1h30m\ncolour: blue\nparts: [{id: x}]\n")
        .unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(parsed.value.name, "a");
    assert_eq!(parsed.value.wait, Some(Span::minutes(90)));
    assert!(matches!(parsed.value.colour, Some(Colour::Blue)));
    assert_eq!((parsed.value.parts[0].id.as_str(), parsed.value.parts[0].needs.len()), ("x", 0));
    assert_eq!(parsed.value.count, 0);
}

#[test]
fn everything_that_does_not_fit_is_said_at_once() {
    let text = "nam: a\nwait: soon\ncolour: bleu\ncount: -1\nparts:\n  - id: 7\n    need: [x]\n  - needs: x\n";
    insta::assert_snapshot!(refused(text).render(false), @r"
    error: unknown key `nam`
     --> sample.yaml:1:1
      |
    1 | nam: a
      | ^^^
      |
      = help: did you mean `name`?

    error: `name` is missing
     --> sample.yaml:1:1
      |
    1 | nam: a
      | ^^^^^^
      |
      = help: mend it and check the file again: phoenix-dr validate sample.yaml

    error: expected a length of time such as 30s or 1h30m, found the text `soon`
     --> sample.yaml:2:7
      |
    2 | wait: soon
      |       ^^^^
      |
      = help: mend it and check the file again: phoenix-dr validate sample.yaml

    error: expected one of red, blue, found the text `bleu`
     --> sample.yaml:3:9
      |
    3 | colour: bleu
      |         ^^^^
      |
      = help: did you mean `blue`?

    error: -1 is too small; at least 0
     --> sample.yaml:4:8
      |
    4 | count: -1
      |        ^^
      |
      = help: mend it and check the file again: phoenix-dr validate sample.yaml

    error: expected text, found the number 7
     --> sample.yaml:6:9
      |
    6 |   - id: 7
      |         ^
      |
      = help: quote it where it is meant as text

    error: unknown key `need` in parts[0]
     --> sample.yaml:7:5
      |
    7 |     need: [x]
      |     ^^^^
      |
      = help: did you mean `needs`?

    error: `id` is missing in parts[1]
     --> sample.yaml:8:5
      |
    8 |   - needs: x
      |     ^^^^^^^^
      |
      = help: mend it and check the file again: phoenix-dr validate sample.yaml

    error: expected a list, found the text `x`
     --> sample.yaml:8:12
      |
    8 |   - needs: x
      |            ^
      |
      = help: a list is `[a, b]`, or an item a line, each behind `- `
    ");
}

#[test]
fn places_survive_other_alphabets_and_line_ends() {
    let text = "# größer 漢字\r\nname: ä\r\nparts:\r\n  - {id: 'ß', nee: []}\r\n";
    insta::assert_snapshot!(refused(text).render(false), @r"
    error: unknown key `nee` in parts[0]
     --> sample.yaml:4:15
      |
    4 |   - {id: 'ß', nee: []}
      |               ^^^
      |
      = help: did you mean `needs`?
    ");
}

#[test]
fn what_is_no_yaml() {
    insta::assert_snapshot!(refused("name: 'a\nparts: []\n").render(false), @r"
    error: not YAML: unclosed quote
     --> sample.yaml:1:7
      |
    1 | name: 'a
      |       ^
      |
      = help: here or a line above: indent with blanks, put a blank behind each `:`, close quotes and brackets, quote a text with `: ` or ` #` in it
    ");
    insta::assert_snapshot!(refused("name: a\n  b: c\n").render(false), @r"
    error: not YAML: mapping values are not allowed in this context
     --> sample.yaml:2:4
      |
    2 |   b: c
      |    ^
      |
      = help: here or a line above: indent with blanks, put a blank behind each `:`, close quotes and brackets, quote a text with `: ` or ` #` in it
    ");
    insta::assert_snapshot!(refused("name: a\n---\nname: b\n").render(false), @r"
    error: a file holds one document
     --> sample.yaml:2:1
      |
    2 | ---
      | ^^^
      |
      = help: write each runbook or estate in a file of its own
    ");
    insta::assert_snapshot!(refused("name: !secret a\ncount: .nan\n").render(false), @r"
    error: the tag `!secret` means nothing here
     --> sample.yaml:1:15
      |
    1 | name: !secret a
      |               ^
      |
      = help: leave the tag out

    error: `.nan` is not a number
     --> sample.yaml:2:8
      |
    2 | count: .nan
      |        ^^^^
      |
      = help: quote it where it is meant as text
    ");
    insta::assert_snapshot!(refused("").render(false), @r"
    error: the file is empty: there is nothing in it but blanks and comments
     --> sample.yaml:1:1
      |
    1 |
      | ^
      |
      = help: an estate file is written by `phoenix-dr init`; a runbook begins with `runbook:`, `title:`, `command:` and `steps:`
    ");
}

#[test]
fn a_key_is_given_once() {
    let text = "name: a\nparts:\n  - id: x\n    id: y\nname: b\n";
    insta::assert_snapshot!(refused(text).render(false), @r"
    error: duplicate key `id`
     --> sample.yaml:4:5
      |
    3 |   - id: x
      |     -- first given here
    4 |     id: y
      |     ^^
      |
      = help: keep one of the two

    error: duplicate key `name`
     --> sample.yaml:5:1
      |
    1 | name: a
      | ---- first given here
    ...
    5 | name: b
      | ^^^^
      |
      = help: keep one of the two
    ");
}

#[test]
fn large_files_are_not_read() {
    let text = format!("name: a # {}\n", "x".repeat(9 << 20));
    insta::assert_snapshot!(refused(&text).render(false), @r"
    error: `sample.yaml` has 9.0 MiB; at most 8 MiB are read
     |
     = help: is it the file that was meant? 10,000 steps, the most there can be, take 2 to 4 MiB
    ");
}

#[test]
fn anchors_are_allowed_and_merged() {
    let text = "base: &b {x: 1, y: 2}\nmore: &m {z: 3}\none: {<<: *b, y: 9}\ntwo: {<<: [*b, *m]}\nlist: [*b]\n";
    let value = data(text);
    assert_eq!(value["one"], json!({"x": 1, "y": 9}));
    assert_eq!(value["two"], json!({"x": 1, "y": 2, "z": 3}));
    assert_eq!(value["list"], json!([{"x": 1, "y": 2}]));
    let index = read("s", text).expect("as above").index;
    let at = |path: &Path| &text[index.value(path).expect("is written")];
    assert_eq!(at(&Path::root().keys(&["one", "y"])), "9");
    assert_eq!(at(&Path::root().keys(&["one", "x"])), "1");
    assert_eq!(at(&Path::root().keys(&["two", "z"])), "3");
    assert_eq!(at(&Path::root().key("list").item(0).key("y")), "2");
}

#[test]
fn merging_needs_mappings() {
    insta::assert_snapshot!(refused("name: a\nparts: [{id: x, <<: 5}]\n").render(false), @r"
    error: `<<` merges a mapping, or a list of them
     --> sample.yaml:2:21
      |
    2 | parts: [{id: x, <<: 5}]
      |                     ^
      |
      = help: write `<<: *anchor`, where `&anchor` stands before a mapping
    ");
}

#[test]
fn bombs_are_refused_before_they_are_read() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        let row = format!("*a{}, ", i - 1).repeat(10);
        text.push_str(&format!("a{i}: &a{i} [{row}]\n"));
    }
    insta::assert_snapshot!(refused(&text).render(false), @r"
    error: stands for more than 1000000 values, aliases counted
     --> sample.yaml:6:45
      |
    6 | a5: &a5 [*a4, *a4, *a4, *a4, *a4, *a4, *a4, *a4, *a4, *a4, ]
      |                                             ^^^
      |
      = help: write out what the aliases stand for: they are for a few repeated lines, and each counts as often as it is used
    ");

    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), "*a, ".repeat(40));
    assert!(refused(&long).render(false).contains("more than 32 MiB of text"));
    let keys = format!("a: &a\n  ? {}\n  : 1\nb: [{}]\n", "x".repeat(1 << 20), "*a, ".repeat(40));
    assert!(refused(&keys).render(false).contains("more than 32 MiB of text"));

    let deep = format!("{}{}\n", "[".repeat(65), "]".repeat(65));
    assert!(refused(&deep).render(false).contains("nested deeper than 64 levels"));
    let steep = "[".repeat(20_000);
    assert!(refused(&steep).render(false).starts_with("error: "));
    let climbing = format!(
        "a: &a {}x{}\nb: &b {}*a{}\n",
        "[".repeat(40),
        "]".repeat(40),
        "[".repeat(40),
        "]".repeat(40)
    );
    assert!(refused(&climbing).render(false).contains("nested deeper than 64 levels"));
    assert!(refused("a: &a [*a]\n").render(false).starts_with("error: "));
}

#[test]
fn keys_are_texts() {
    for text in ["[a]: b\n", "{a: b}: c\n", "&k a: 1\n*k : 2\n", "? [x]\n: y\n"] {
        assert!(refused(text).has_errors(), "{text}");
    }
}

#[test]
fn many_keys_take_no_longer_than_they_must() {
    let text: String = (0..100_000).map(|i| format!("key{i}: {i}\n")).collect();
    assert_eq!(data(&text).as_object().map(|map| map.len()), Some(100_000));
}

/// Values of every kind, with keys and texts that need quoting.
fn any_value() -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~äß漢\n\t]{0,12}".prop_map(Value::from),
        Just(Value::from("null")),
        Just(Value::from("1_000")),
        Just(Value::from("0755")),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-z.\\[\\]: #'\"0-9]{1,6}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn paths_of(value: &Value, path: Path, found: &mut Vec<Path>) {
    match value {
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                paths_of(item, path.item(i), found);
            }
        }
        Value::Object(entries) => {
            for (key, value) in entries {
                paths_of(value, path.key(key), found);
            }
        }
        _ => {}
    }
    found.push(path);
}

proptest::proptest! {
    #[test]
    fn two_parsers_agree_on_paths(value in any_value(), flow in proptest::prelude::any::<bool>()) {
        let text = if flow {
            serde_json::to_string(&value).expect("is JSON, and so YAML")
        } else {
            serde_yaml::to_string(&value).expect("is YAML")
        };
        let document = match read("generated", &text) {
            Ok(document) => document,
            Err(problems) => return Err(proptest::test_runner::TestCaseError::fail(problems.to_string())),
        };
        proptest::prop_assert_eq!(&document.value, &value);
        let mut expected = Vec::new();
        paths_of(&value, Path::root(), &mut expected);
        let mut written = document.index.paths();
        let order = |path: &Path| path.to_string();
        expected.sort_by_key(order);
        written.sort_by_key(order);
        proptest::prop_assert_eq!(written, expected);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[a-c:\\-\\[\\]{}&*<>|!'\"\n #?,.0-9]{0,60}") {
        drop(parse::<Sample>("fuzzed", &text));
    }
}
