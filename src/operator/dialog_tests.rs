//! What a person types, and what it is taken for.

use super::*;
use crate::plan::outputs::OutputKind;
use crate::report::fixtures::{at, candidates, question};

fn approve() -> QuestionKey {
    QuestionKey::Approve { step: "database".into(), digest: "d".to_owned() }
}

/// Types lines one after the other; returns the answer and what was shown before it.
fn talk(question: &Question, typed: &[&str]) -> (Option<Answer>, String) {
    let mut dialog = Dialog::new(question);
    let mut shown = Vec::new();
    for line in typed {
        shown.push(dialog.prompt());
        match dialog.take(line, at("02:18:00")) {
            Reply::Done(answer) => return (Some(answer), shown.join("\n")),
            Reply::Again(said) => shown.extend(said),
            Reply::Page(lines) => shown.extend(lines),
        }
    }
    (None, shown.join("\n"))
}

fn answered(question: &Question, typed: &[&str]) -> Option<Answer> {
    talk(question, typed).0
}

fn typed(text: &str) -> Option<Answer> {
    Some(Answer::Typed { text: text.to_owned() })
}

#[test]
fn a_wrong_key_at_go_names_every_key_there_is() {
    let mut go = question(QuestionKey::Go, AnswerForm::YesNo);
    go.pages.insert('d', vec!["details".to_owned()]);
    let shown = talk(&go, &["z"]).1;
    for key in ["y for yes", "n for no", "d details", "s screen", "r look again", "i incident"] {
        assert!(shown.contains(key), "no `{key}` in {shown}");
    }
}

#[test]
fn only_yes_is_yes() {
    let question = question(approve(), AnswerForm::YesNo);
    for yes in ["y", "yes", "Y", " YES "] {
        assert_eq!(answered(&question, &[yes]), Some(Answer::Yes), "{yes}");
    }
    for no in ["n", "No"] {
        assert_eq!(answered(&question, &[no]), Some(Answer::No), "{no}");
    }
    for other in ["", " ", "j", "yy", "yep", "1", "true", "ok", "\u{4}", "us-west-2"] {
        assert_eq!(answered(&question, &[other]), None, "{other:?}");
    }
}

#[test]
fn go_takes_when_the_incident_began() {
    let go = question(QuestionKey::Go, AnswerForm::YesNo);
    let began = |clock: &str| Some(Answer::Began { at: at(clock) });
    assert_eq!(answered(&go, &["i", "02:05"]), began("02:05:00"));
    assert_eq!(answered(&go, &["I", "15m ago"]), began("02:03:00"));
    let (answer, shown) = talk(&go, &["i", "soon", "2026-07-14T03:00:00Z", "2m"]);
    assert_eq!(answer, began("02:16:00"));
    assert!(shown.contains("`soon` is no instant") && shown.contains("in the future"), "{shown}");
    for kept in ["n", ""] {
        assert_eq!(answered(&go, &["i", kept, "y"]), Some(Answer::Yes), "{kept:?}");
    }
    assert_eq!(answered(&question(approve(), AnswerForm::YesNo), &["i", "02:05"]), None);
}

#[test]
fn go_has_pages_and_looks_again() {
    let mut go = question(QuestionKey::Go, AnswerForm::YesNo);
    go.pages.insert('d', vec!["all the details".to_owned()]);
    let (answer, shown) = talk(&go, &["d", "m", "D", "r"]);
    assert_eq!(answer, Some(Answer::Recheck));
    assert_eq!(shown.matches("all the details").count(), 2, "{shown}");
    assert!(shown.contains("Type y for yes"), "a letter without a page is no answer: {shown}");
    // The engine takes a look anew as an answer to `go` only.
    assert_eq!(answered(&question(approve(), AnswerForm::YesNo), &["r"]), None);
}

#[test]
fn a_word_is_typed_exactly_within_three_tries() {
    let word = |word: &str| question(approve(), AnswerForm::Type { word: word.to_owned() });
    assert_eq!(answered(&word("us-west-2"), &["us-west-2 "]), typed("us-west-2"));
    assert_eq!(answered(&word("us-west-2"), &["y", "us-west-2"]), typed("us-west-2"));
    for wrong in ["US-WEST-2", "us-west", "yes", "y", ""] {
        let (answer, shown) = talk(&word("us-west-2"), &[wrong, wrong, wrong]);
        assert_eq!(answer, Some(Answer::No), "{wrong}");
        assert!(shown.contains("Expected exactly `us-west-2`; 1 try left"), "{shown}");
    }
    assert_eq!(answered(&word("us-west-2"), &["n"]), Some(Answer::No));
    assert_eq!(answered(&word("n"), &["n"]), typed("n"), "the word comes before what it may mean");
}

#[test]
fn a_reason_says_something() {
    let reason = question(QuestionKey::Override { step: "x".into() }, AnswerForm::Reason);
    let said = "the provider's page says so";
    for empty in ["", "y", "yes", "ok", "because"] {
        assert_eq!(answered(&reason, &[empty, said]), typed(said), "{empty}");
        assert_eq!(answered(&reason, &[empty]), None);
    }
    assert_eq!(answered(&reason, &["n"]), Some(Answer::No));

    let form = AnswerForm::Evidence { prompt: "the ticket".to_owned() };
    let evidence = question(QuestionKey::Manual { step: "x".into() }, form);
    assert_eq!(answered(&evidence, &["y", "INC-7"]), typed("INC-7"));
    assert_eq!(answered(&evidence, &["", "no"]), Some(Answer::No));
}

#[test]
fn a_candidate_is_chosen_by_number_or_name_if_it_can_be_taken() {
    let form = AnswerForm::Candidates { candidates: candidates(), loss_max: None, best: None };
    let choice = question(QuestionKey::Choice { step: "x".into(), among: String::new() }, form);
    let chose = |id: &str| Some(Answer::Chosen { id: id.to_owned() });
    assert_eq!(answered(&choice, &["2"]), chose("backup"));
    assert_eq!(answered(&choice, &["replica"]), chose("replica"));
    for wrong in ["0", "4", "-1", "y", "", "99999999999999999999"] {
        assert_eq!(answered(&choice, &[wrong]), None, "{wrong}");
    }
    let (answer, shown) = talk(&choice, &["3", "n"]);
    assert_eq!(answer, Some(Answer::No));
    assert!(shown.contains("snapshot cannot be taken: status is `creating`"), "{shown}");
}

#[test]
fn the_menu_takes_letters_and_asks_for_what_a_way_needs() {
    let option = |choice| MenuOption { choice, say: String::new(), outputs: Vec::new() };
    let options = vec![
        option(FailureChoice::Retry),
        option(FailureChoice::Skip),
        MenuOption {
            outputs: vec![
                wanted("address", OutputKind::Text),
                wanted("replicas", OutputKind::Integer),
            ],
            ..option(FailureChoice::MarkDone)
        },
        option(FailureChoice::Stop),
    ];
    let key = QuestionKey::Failure { step: "x".into(), failures: 1 };
    let menu = question(key, AnswerForm::Menu { options });
    let way = |choice, reason: Option<&str>| {
        let reason = reason.map(str::to_owned);
        Some(Answer::Menu { choice, reason, outputs: Map::new() })
    };
    assert_eq!(answered(&menu, &["r"]), way(FailureChoice::Retry, None));
    assert_eq!(answered(&menu, &["stop and keep"]), way(FailureChoice::Stop, None));
    assert_eq!(answered(&menu, &["b"]), None, "what is not offered cannot be chosen");
    assert_eq!(answered(&menu, &["y", "", "n"]), Some(Answer::No));
    let why = "capacity is there already";
    assert_eq!(answered(&menu, &["s", "x", why]), way(FailureChoice::Skip, Some(why)));
    // Changed their mind: the menu is open again.
    assert_eq!(answered(&menu, &["s", "n", "r"]), way(FailureChoice::Retry, None));

    let typed = ["m", "promoted in the console", "", "db:5432", "five", "5"];
    assert_eq!(answered(&menu, &typed[..5]), None, "every output must be given, as what it is");
    let Some(Answer::Menu { choice, reason, outputs }) = answered(&menu, &typed) else {
        panic!("marked done")
    };
    assert_eq!((choice, reason.as_deref()), (FailureChoice::MarkDone, Some(typed[1])));
    assert_eq!(
        serde_json::json!(outputs),
        serde_json::json!({ "address": "db:5432", "replicas": 5 })
    );
}

fn wanted(name: &str, kind: OutputKind) -> WantedOutput {
    WantedOutput { name: name.to_owned(), kind }
}

#[test]
fn a_blocked_screen_only_looks_again() {
    let mut blocked = question(QuestionKey::Blocked, AnswerForm::YesNo);
    blocked.title = "Look again?".to_owned();
    blocked.lines = vec!["the screen".to_owned()];
    assert_eq!(crate::report::screens::frame(&blocked, 80, None), ["the screen"]);
    let (answer, shown) = talk(&blocked, &["r"]);
    assert_eq!(answer, Some(Answer::Recheck));
    assert_eq!(shown, "Look again? [y/n]");
}

#[test]
fn someone_leaning_on_enter_is_nobody() {
    let question = question(approve(), AnswerForm::YesNo);
    let enters = vec![""; 51];
    assert!(matches!(answered(&question, &enters), Some(Answer::Nobody { .. })));
    assert_eq!(answered(&question, &enters[..50]), None);
}
