//! What given answers answer, and what they do not.

use super::*;
use crate::operator::refuse::refuse;
use crate::plan::outputs::OutputKind;
use crate::report::fixtures::{candidates, plan, question};

fn given(change: impl FnOnce(&mut Given)) -> Given {
    let mut given = Given::default();
    change(&mut given);
    given
}

fn yes() -> Given {
    given(|given| given.yes = true)
}

fn approving(step: &str) -> Given {
    given(|given| {
        given.approve.insert(step.to_owned());
    })
}

fn in_file(key: &str, text: &str) -> Given {
    given(|given| {
        given.answers.insert(key.to_owned(), text.to_owned());
    })
}

fn approve() -> QuestionKey {
    QuestionKey::Approve { step: "database".into(), digest: "d".to_owned() }
}

fn loss_of(step: &str) -> QuestionKey {
    QuestionKey::Loss { step: step.into(), candidate: "backup".to_owned(), loss: None }
}

fn word(word: &str) -> AnswerForm {
    AnswerForm::Type { word: word.to_owned() }
}

fn typed(text: &str) -> Option<Answer> {
    Some(Answer::Typed { text: text.to_owned() })
}

fn choice() -> Question {
    let form = AnswerForm::Candidates {
        candidates: candidates(),
        loss_max: Some(Span::minutes(30)),
        best: Some("replica".to_owned()),
    };
    question(QuestionKey::Choice { step: "recovery_point".into(), among: String::new() }, form)
}

fn chose(id: &str) -> Option<Answer> {
    Some(Answer::Chosen { id: id.to_owned() })
}

#[test]
fn yes_covers_go_and_ordinary_approvals_and_nothing_else() {
    use QuestionKey as Key;
    let step = || StepId::from("database");
    let no = [
        question(approve(), word("us-west-2")),
        question(loss_of("database"), word("lose 42m")),
        question(Key::Override { step: step() }, AnswerForm::Reason),
        question(Key::Waive { step: step() }, word("unfenced")),
        question(Key::Manual { step: step() }, AnswerForm::YesNo),
        question(Key::Blocked, AnswerForm::YesNo),
        question(Key::Alone, word("I am the only operator")),
        question(Key::Credentials { step: step() }, AnswerForm::YesNo),
        question(Key::Failure { step: step(), failures: 1 }, menu()),
        question(Key::RevertFailure { step: step(), failures: 1 }, menu()),
        choice(),
    ];
    for question in no {
        assert_eq!(answer(&yes(), &question, Mode::Live), None, "{:?}", question.key);
    }
    for key in [Key::Go, approve()] {
        let question = question(key, AnswerForm::YesNo);
        assert_eq!(answer(&yes(), &question, Mode::Live), Some(Answer::Yes));
        assert_eq!(answer(&Given::default(), &question, Mode::Live), None);
    }
}

fn menu() -> AnswerForm {
    let option = |choice| MenuOption { choice, say: String::new(), outputs: Vec::new() };
    AnswerForm::Menu {
        options: vec![
            option(FailureChoice::Retry),
            option(FailureChoice::Skip),
            MenuOption {
                outputs: vec![
                    WantedOutput { name: "address".to_owned(), kind: OutputKind::Text },
                    WantedOutput { name: "replicas".to_owned(), kind: OutputKind::Integer },
                ],
                ..option(FailureChoice::MarkDone)
            },
            option(FailureChoice::Stop),
        ],
    }
}

#[test]
fn a_point_of_no_return_is_approved_by_name_only() {
    let question = question(approve(), AnswerForm::YesNo);
    let mut guarded = yes();
    guarded.guard(&plan());
    assert_eq!(answer(&guarded, &question, Mode::Live), None);
    guarded.approve.insert("database".to_owned());
    assert_eq!(answer(&guarded, &question, Mode::Live), Some(Answer::Yes));
}

#[test]
fn yes_covers_no_point_of_no_return_even_where_it_could_be_put_back() {
    for (point, covered) in [(false, true), (true, false)] {
        let mut plan = plan();
        let step = plan.steps.iter_mut().find(|step| step.id.0 == "traffic").expect("there");
        step.point_of_no_return = point;
        step.approve = Approval::Each { say: Some("Traffic goes there.".to_owned()) };
        step.rollback = crate::plan::Rollback::Auto;
        let mut given = yes();
        given.guard(&plan);
        assert_eq!(!given.by_name_only.contains(&StepId::from("traffic")), covered);
    }
}

#[test]
fn failures_answered_beforehand_are_told_apart_by_their_number() {
    let names = ["failure:capacity", "failure:capacity:3", "revert_failure:fence:2", "go"];
    let given = given(|given| {
        given.answers = names.map(|name| (name.to_owned(), "retry".to_owned())).into();
    });
    assert_eq!(given.problems(&plan(), Mode::Live), Vec::<String>::new());
    let settled = given.settle(crate::journal::fixtures::settings());
    let capacity = || StepId::from("capacity");
    assert_eq!(settled.failures_answered, [(capacity(), 1), (capacity(), 3)].into());
    assert_eq!(settled.reverts_answered, [(StepId::from("fence"), 2)].into());
    let wrong = Given {
        answers: [("failure:capacity:last".to_owned(), "retry".to_owned())].into(),
        ..Given::default()
    };
    assert!(wrong.problems(&plan(), Mode::Live)[0].contains("`last` is not the number"));
}

#[test]
fn all_approves_in_rehearsals_only() {
    let question = question(approve(), word("us-west-2"));
    for (mode, expected) in
        [(Mode::Rehearsal, typed("us-west-2")), (Mode::Live, None), (Mode::DryRun, None)]
    {
        assert_eq!(answer(&approving("all"), &question, mode), expected, "{mode:?}");
        assert_eq!(answer(&approving("database"), &question, mode), typed("us-west-2"));
        assert_eq!(answer(&approving("traffic"), &question, mode), None);
    }
    assert_eq!(approving("all").problems(&plan(), Mode::Live).len(), 1);
    assert_eq!(approving("all").problems(&plan(), Mode::Rehearsal), Vec::<String>::new());
}

#[test]
fn a_loss_is_accepted_up_to_what_was_said() {
    let question = |loss: &str| question(loss_of("recovery_point"), word(&format!("lose {loss}")));
    let accept =
        |text: &str| given(|given| given.accept_loss = Some(text.parse().expect("a loss")));
    for (accepted, asked, covered) in [
        ("42m", "42m", true),
        ("1h", "42m", true),
        ("41m59s", "42m", false),
        ("10d", "unknown", false),
        ("unknown", "unknown", true),
        ("unknown", "2h", true),
    ] {
        let expected = covered.then(|| Answer::Typed { text: format!("lose {asked}") });
        let answered = answer(&accept(accepted), &question(asked), Mode::Live);
        assert_eq!(answered, expected, "{accepted} for {asked}");
    }
    assert!("soon".parse::<AcceptedLoss>().is_err());
}

#[test]
fn a_recovery_point_must_exist_and_be_usable() {
    let named = |id: &str| given(|given| given.recovery_point = Some(id.to_owned()));
    assert_eq!(answer(&named("backup"), &choice(), Mode::Live), chose("backup"));
    for misfit in ["snapshot", "nosuch"] {
        assert_eq!(answer(&named(misfit), &choice(), Mode::Live), None);
        let Answer::Missing { flag } = refuse(&named(misfit), &choice()) else {
            panic!("{misfit} must not be replaced by something else")
        };
        assert!(flag.contains("one of replica, backup") && flag.contains(misfit), "{flag}");
    }
    // Nobody chose: the least loss that is back in time.
    assert_eq!(Some(refuse(&Given::default(), &choice())), chose("replica"));
    let mut none = choice();
    if let AnswerForm::Candidates { best, .. } = &mut none.form {
        *best = None;
    }
    assert!(matches!(refuse(&Given::default(), &none), Answer::Missing { .. }));
}

#[test]
fn overrides_and_waivers_are_exact() {
    let reason = QuestionKey::Override { step: "primary_down".into() };
    let waive = QuestionKey::Waive { step: "fence".into() };
    let with = |flag: &str, step: &str, text: &str| {
        given(|given| {
            let map = if flag == "override" { &mut given.overrides } else { &mut given.waive };
            map.insert(step.to_owned(), text.to_owned());
        })
    };
    let overriding = question(reason, AnswerForm::Reason);
    let given = with("override", "primary_down", "seen on the provider's status page");
    let expected = typed("seen on the provider's status page");
    assert_eq!(answer(&given, &overriding, Mode::Live), expected);
    assert_eq!(answer(&with("override", "primary_down", " "), &overriding, Mode::Live), None);

    let waiving = question(waive, word("unfenced"));
    assert_eq!(
        answer(&with("waive", "fence", "unfenced"), &waiving, Mode::Live),
        typed("unfenced")
    );
    assert_eq!(answer(&with("waive", "fence", "Unfenced"), &waiving, Mode::Live), None);
    assert_eq!(answer(&with("waive", "database", "unfenced"), &waiving, Mode::Live), None);
}

#[test]
fn an_answers_file_answers_by_name_and_form() {
    let manual = QuestionKey::Manual { step: "notify".into() };
    let failure =
        |failures| question(QuestionKey::Failure { step: "capacity".into(), failures }, menu());
    let menu_answer = |choice, reason: Option<&str>| {
        let reason = reason.map(str::to_owned);
        Some(Answer::Menu { choice, reason, outputs: Map::new() })
    };
    let evidence = AnswerForm::Evidence { prompt: "the ticket".to_owned() };
    let cases = [
        ("go", "yes", question(QuestionKey::Go, AnswerForm::YesNo), Some(Answer::Yes)),
        ("go", "No", question(QuestionKey::Go, AnswerForm::YesNo), Some(Answer::No)),
        ("go", "perhaps", question(QuestionKey::Go, AnswerForm::YesNo), None),
        (
            "approve:database",
            "us-west-2",
            question(approve(), word("us-west-2")),
            typed("us-west-2"),
        ),
        ("approve:database", "yes", question(approve(), word("us-west-2")), None),
        ("approve:traffic", "us-west-2", question(approve(), word("us-west-2")), None),
        ("manual:notify", "INC-7", question(manual.clone(), evidence), typed("INC-7")),
        ("manual:notify", "yes", question(manual, AnswerForm::YesNo), Some(Answer::Yes)),
        ("choice:recovery_point", "backup", choice(), chose("backup")),
        ("choice:recovery_point", "snapshot", choice(), None),
        ("failure:capacity", "retry", failure(1), menu_answer(FailureChoice::Retry, None)),
        // The same answer to every failure would retry for ever.
        ("failure:capacity", "retry", failure(2), None),
        ("failure:capacity:2", "stop and keep", failure(2), menu_answer(FailureChoice::Stop, None)),
        (
            "failure:capacity",
            "skip: capacity is there already",
            failure(1),
            menu_answer(FailureChoice::Skip, Some("capacity is there already")),
        ),
        ("failure:capacity", "skip", failure(1), None),
        ("failure:capacity", "mark done: scaled by hand", failure(1), None),
        (
            "failure:capacity",
            "mark done: scaled by hand; seen it; replicas = 5; address=db:5432",
            failure(1),
            Some(Answer::Menu {
                choice: FailureChoice::MarkDone,
                reason: Some("scaled by hand; seen it".to_owned()),
                outputs: Map::from_iter([
                    ("address".to_owned(), Value::from("db:5432")),
                    ("replicas".to_owned(), Value::from(5)),
                ]),
            }),
        ),
        ("failure:capacity", "mark done: by hand; replicas=five; address=x", failure(1), None),
        ("failure:capacity", "roll back", failure(1), None),
    ];
    for (key, text, question, expected) in cases {
        assert_eq!(answer(&in_file(key, text), &question, Mode::Live), expected, "{key}: {text}");
    }
}

#[test]
fn an_answer_that_does_not_fit_is_not_replaced_by_a_flag() {
    let mut given = in_file("approve:database", "us-west-1");
    given.approve.insert("database".to_owned());
    let question = question(approve(), word("us-west-2"));
    assert_eq!(answer(&given, &question, Mode::Live), None);
    let Answer::Missing { flag } = refuse(&given, &question) else { panic!("refused") };
    assert!(flag.contains("exactly `us-west-2`"), "{flag}");
}

#[test]
fn names_that_do_not_exist_are_problems() {
    let mut given = approving("databse");
    given.waive.insert("nosuch_step_at_all".to_owned(), "x".to_owned());
    given.overrides.insert("primary_down".to_owned(), String::new());
    given.answers.insert("aprove:database".to_owned(), "yes".to_owned());
    given.answers.insert("approve:fnce".to_owned(), "yes".to_owned());
    given.answers.insert("go".to_owned(), "yes".to_owned());
    let problems = given.problems(&plan(), Mode::Live);
    assert_eq!(problems.len(), 5, "{problems:#?}");
    assert!(problems[0].contains("did you mean `database`?"), "{}", problems[0]);
    assert!(problems[1].ends_with("no such step"), "{}", problems[1]);
}

#[test]
fn nobody_is_asked_about_failures_and_credentials() {
    let step = || StepId::from("capacity");
    for key in [
        QuestionKey::Failure { step: step(), failures: 1 },
        QuestionKey::RevertFailure { step: step(), failures: 1 },
        QuestionKey::Credentials { step: step() },
    ] {
        let refused = refuse(&yes(), &question(key, menu()));
        assert!(matches!(refused, Answer::Nobody { .. }), "{refused:?}");
    }
}

#[test]
fn every_other_question_names_its_flag() {
    let step = || StepId::from("fence");
    for (key, form, expected) in [
        (QuestionKey::Go, AnswerForm::YesNo, "--yes"),
        (approve(), AnswerForm::YesNo, "--yes or --approve database"),
        (approve(), word("us-west-2"), "--approve database"),
        (loss_of("database"), word("lose 42m"), "--accept-loss 42m"),
        (loss_of("database"), word("lose unknown"), "--accept-loss unknown"),
        (QuestionKey::Override { step: step() }, AnswerForm::Reason, "--override 'fence=REASON'"),
        (QuestionKey::Waive { step: step() }, word("unfenced"), "--waive fence=unfenced"),
        (
            QuestionKey::Manual { step: step() },
            AnswerForm::YesNo,
            "--answers FILE with `manual:fence`: yes or no",
        ),
        (
            QuestionKey::Alone,
            word("I am the only operator"),
            "--answers FILE with `alone`: exactly `I am the only operator`",
        ),
    ] {
        let refused = refuse(&Given::default(), &question(key, form));
        assert_eq!(refused, Answer::Missing { flag: expected.to_owned() });
    }
}
