use serde_json::{Map, Value, json};

use super::*;

fn scope() -> Scope {
    let Value::Object(data) = json!({
        "inputs": {"region": "us-west-2", "count": 3, "none": null, "text": "10"},
        "estate": {
            "regions": {"us-west-2": {"api": "https://west"}, "us-east-1": {"api": "https://east"}},
            "services": [
                {"name": "api", "priority": "P0", "workload": "a/api", "replicas": 5},
                {"name": "rds", "priority": "P0"},
                {"name": "ui", "priority": "P1", "workload": "a/ui"},
            ],
            "database": {"primary": {"id": "phoenix-prod"}},
        },
    }) else {
        unreachable!("is a map")
    };
    let mut scope = Scope::over(data);
    scope.set_outputs("point", Map::from_iter([("lag".to_owned(), json!(7))]));
    scope
}

fn value(text: &str) -> Value {
    let expression = Expression::compile(text).unwrap_or_else(|error| panic!("{error}"));
    evaluate(&expression, &scope()).unwrap_or_else(|error| panic!("{error}"))
}

fn error(text: &str) -> String {
    match Expression::compile(text).and_then(|expression| evaluate(&expression, &scope())) {
        Ok(value) => panic!("`{text}` gave {value}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn values() {
    for (text, expected) in [
        ("inputs.region", json!("us-west-2")),
        ("inputs['region']", json!("us-west-2")),
        ("inputs.count + 1", json!(4)),
        ("inputs.none", json!(null)),
        ("inputs.none == null", json!(true)),
        ("null != inputs.region", json!(true)),
        ("estate.regions[inputs.region].api + '/healthz'", json!("https://west/healthz")),
        ("size(estate.services)", json!(3)),
        (
            "estate.services.filter(s, s.priority == 'P0' && has(s.workload)).map(s, s.name)",
            json!(["api"]),
        ),
        ("estate.services.filter(s, s.priority == 'P9')", json!([])),
        ("estate.services.exists(s, s.name == 'ui')", json!(true)),
        ("estate.services.all(s, s.name == 'ui')", json!(false)),
        ("estate.services.exists_one(s, s.name == 'ui')", json!(true)),
        ("estate.services.map(s, s.priority == 'P0', s.name)", json!(["api", "rds"])),
        ("has(estate.database.replica) ? estate.database.replica.id : 'none'", json!("none")),
        ("has(estate.database.primary)", json!(true)),
        ("steps.point.outputs.lag < 10", json!(true)),
        ("has(steps.skipped.outputs.lag)", json!(false)),
        ("has(steps.skipped.outputs.lag) && steps.skipped.outputs.lag > 3", json!(false)),
        ("inputs.count == 3.0", json!(true)),
        ("inputs.count in [1, 2, 3]", json!(true)),
        ("'us-east-1' in estate.regions", json!(true)),
        ("[1, 2] == [1, 2]", json!(true)),
        ("{'a': 1} == {'a': 2}", json!(false)),
        ("!(inputs.region == 'x') && true", json!(true)),
        ("{'b': 1, 'a': [true, null, 1.5]}", json!({"a": [true, null, 1.5], "b": 1})),
        ("inputs.region.matches('^us-')", json!(true)),
        ("int(inputs.text) > 9", json!(true)),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
}

#[test]
fn doubt_is_an_error() {
    for (text, said) in [
        ("inputs.none < 5", "`<` does not take null and int"),
        ("inputs.text > 9", "`>` does not take string and int"),
        ("inputs.text == 10", "cannot compare string with int"),
        ("inputs.none == 'x'", "cannot compare null with string"),
        ("[1] == ['1']", "cannot compare int with string"),
        ("inputs.text in [10]", "cannot compare string with int"),
        ("inputs.count in 'x'", "cannot look for int in string"),
        ("inputs.none < 5 || true", "`<` does not take null and int"),
        ("inputs.none < 5 && false", "`<` does not take null and int"),
        ("false || inputs.count", "expected bool, found int"),
        ("estate.services.exists(s, s.replicas > 9)", "there is no `replicas`"),
        ("inputs.regoin", "there is no `inputs.regoin`"),
        ("estate.database.replica.id", "there is no `estate.database.replica`"),
        ("steps.skipped.outputs.lag", "there is no `steps.skipped`"),
        ("nothing", "there is no `nothing`"),
        ("inputs.region.frobnicate()", "frobnicate"),
        ("1 / 0", "Division by zero"),
        ("b'x'", "has a value of the type bytes"),
    ] {
        assert!(error(text).contains(said), "`{text}`: {}", error(text));
    }
}

#[test]
fn a_missing_name_says_where_and_what() {
    let expression = Expression::compile("1 + estate.databas.primary.id").expect("is CEL");
    let error = evaluate(&expression, &scope()).expect_err("there is no such name");
    assert_eq!(error.missing.as_deref(), Some("estate.databas"));
    assert_eq!(error.help.as_deref(), Some("did you mean `database`?"));
    assert_eq!(&expression.text[error.range.expect("is known")], "estate.databas.primary.id");
}

#[test]
fn what_cannot_be_read_is_said_in_place() {
    let broken = |text: &str| Expression::compile(text).expect_err(text);
    let error = broken("inputs.region == ");
    assert_eq!(error.range, Some(17 - 1..17 - 1), "{error}");
    assert!(broken("").message.contains("empty"));
    assert!(broken("a ==== b").message.len() < 200);
    assert!(broken("'abc").message.len() < 200);
}

#[test]
fn nothing_exhausts_the_stack() {
    let deep = format!("{}1{}", "(".repeat(300), ")".repeat(300));
    assert!(error(&deep).contains("nested deeper than 64"));
    assert!(error(&"!".repeat(600)).contains("nested deeper than 64"));
    assert!(error(&format!("{}true", "! ".repeat(200))).contains("nested deeper than 64"));
    assert!(error(&format!("a{}", ".b".repeat(400))).contains("more than 192 operators"));
    assert!(error(&"x".repeat(1_025)).contains("1025 characters"));
    // The deepest that pass the guard: all of these must be answered, on a thread with a small stack.
    for text in [
        format!("{}1{}", "(".repeat(64), ")".repeat(64)),
        format!("{}1{}", "[".repeat(64), "]".repeat(64)),
        format!("inputs{}", "[0]".repeat(190)),
        format!("inputs{}", ".a".repeat(190)),
        format!("1{}", "+1".repeat(190)),
        format!("true{}", "||true".repeat(95)),
        format!("1{}", "?1:1".repeat(190)),
        format!("inputs{}", ".f()".repeat(90)),
        format!("{}true", "!".repeat(64)),
        "[1].map(a,".repeat(60),
    ] {
        let thread = std::thread::Builder::new().stack_size(2 << 20);
        let run = move || {
            drop(Expression::compile(&text).and_then(|found| evaluate(&found, &scope())));
        };
        thread.spawn(run).expect("starts").join().expect("the stack holds");
    }
}

#[test]
fn rounds_are_bounded() {
    let list = format!("[{}]", vec!["1"; 60].join(","));
    for step in ["map", "filter", "exists", "all", "exists_one"] {
        let last = if step == "map" {
            "1"
        } else if step == "exists" {
            "false"
        } else {
            "true"
        };
        let text = format!("{list}.map(a, {list}.map(b, {list}.{step}(c, {last})))");
        assert!(error(&text).contains("takes more than 100000 rounds"), "{step}");
    }
    assert_eq!(value(&format!("size({list}.map(a, {list}.map(b, 1)))")), json!(60));
}

#[test]
fn names_are_known_without_running() {
    let expression = Expression::compile(
        "has(steps.a.outputs.x) ? steps.a.outputs.x : estate.regions[inputs.r].api",
    )
    .expect("is CEL");
    let said: Vec<String> = expression
        .references
        .iter()
        .map(|reference| {
            let mut text = reference.root.clone();
            for access in &reference.path {
                match access {
                    Access::Field(field) => text.push_str(&format!(".{field}")),
                    Access::Computed => text.push_str("[]"),
                }
            }
            format!(
                "{text}{} {}",
                if reference.tested { "?" } else { "" },
                &expression.text[reference.range.clone()]
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            "steps.a.outputs.x? steps.a.outputs.x",
            "steps.a.outputs.x steps.a.outputs.x",
            "estate.regions[].api estate.regions[inputs.r].api",
            "inputs.r inputs.r",
        ]
    );
    let bound =
        Expression::compile("estate.services.filter(s, s.name == inputs.n)").expect("is CEL");
    assert!(bound.uses_only(&["estate", "inputs"]), "{:?}", bound.references);
}

#[test]
fn templates_keep_types_or_become_text() {
    let scope = scope();
    let given = json!({
        "whole": "${{ estate.services.filter(s, s.name == 'ui') }}",
        "number": "${{ inputs.count }}",
        "text": "${{ inputs.count }} of ${{ inputs.region }}",
        "nested": [{"of": [{"with": {"url": "${{ estate.regions[inputs.region].api }}/healthz"}}]}],
        "escaped": "$${{ not.this }}",
        "plain": true,
    });
    let Value::Object(given) = given else { unreachable!("is a map") };
    let resolved = resolve_map(&given, &scope).expect("all names are known");
    assert_eq!(
        Value::Object(resolved),
        json!({
            "whole": [{"name": "ui", "priority": "P1", "workload": "a/ui"}],
            "number": 3,
            "text": "3 of us-west-2",
            "nested": [{"of": [{"with": {"url": "https://west/healthz"}}]}],
            "escaped": "${{ not.this }}",
            "plain": true,
        })
    );
    let error = resolve_text("x ${{ estate.services }}", &scope).expect_err("a list is no text");
    assert!(error.to_string().contains("a list cannot be part of a text"), "{error}");
    let error = resolve_text("x ${{ inputs.none }}", &scope).expect_err("null is no text");
    assert!(error.to_string().contains("nothing cannot be part of a text"), "{error}");
}

#[test]
fn conditions_are_true_or_false() {
    let scope = Scope::over(Map::from_iter([("value".to_owned(), json!({"lag": 4}))]));
    assert_eq!(evaluate_bool("value.lag < 5", &scope), Ok(true));
    assert_eq!(evaluate_bool("value.lag > 5", &scope), Ok(false));
    let error = evaluate_bool("value.lag", &scope).expect_err("is a number");
    assert!(error.to_string().contains("expected true or false, found the number 4"), "{error}");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[a-c.()\\[\\]{}'\"0-9 !&|=<>?:,+*/%-]{0,40}") {
        drop(Expression::compile(&text).and_then(|found| evaluate(&found, &scope())));
    }
}
