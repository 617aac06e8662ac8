use super::earlier::Differs;
use super::*;
use crate::event::{Answer, AttemptResult, Event, Question, QuestionKey, RevertResult};
use crate::report::{fixtures, summary, text};

fn debrief(faults: &[(&str, u32)], left: &[&str]) -> Debrief {
    let script = fixtures::Script::started().done("02:19:00", "02:25:00", "capacity");
    debrief_of(&script.records, faults, left)
}

fn debrief_of(records: &[Record], faults: &[(&str, u32)], left: &[&str]) -> Debrief {
    let summary = summary::of(records, fixtures::at("02:30:00")).expect("a run");
    let left = left.iter().map(|left| (*left).to_owned()).collect();
    let said = || "rds was not called".to_owned();
    let never = faults.iter().filter(|(_, times)| *times == 0).map(|(fault, _)| NeverStruck {
        fault: (*fault).to_owned(),
        because: "not_called",
        said: said(),
    });
    let never = never.collect();
    let faults = faults.iter().map(|(fault, times)| ((*fault).to_owned(), *times)).collect();
    let world = WorldTold {
        standing: None,
        world: "phoenix".to_owned(),
        file: None,
        estate: "phoenix-rehearsal".to_owned(),
        captured: None,
        made_from: None,
        age: None,
        pseudonyms: false,
        unseen: Vec::new(),
        measured: false,
        durations: Lengths::default(),
        seed: 7,
        never_struck: never,
        struck_first: Vec::new(),
        surprise: false,
        faults,
        untold: false,
        left,
    };
    of(records, &summary, world, Vec::new())
}

#[test]
fn tells_what_can_be_trusted_and_what_never_struck() {
    let found = debrief(&[("throttled@rds", 0), ("dark,region=us-east-1", 1)], &["rds Foo"]);
    let text = lines(&found, 80).join("\n");
    assert!(text.starts_with("DEBRIEF OF A REHEARSAL"), "{text}");
    assert!(text.contains("throttled@rds never struck: rds was not called"), "{text}");
    assert!(text.contains("dark,region=us-east-1 struck"), "{text}");
    assert!(text.contains("left the simulation: rds Foo"), "{text}");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("not your estate: run phoenix-dr world capture"), "{text}");
    assert!(words.contains("guesses"), "{text}");
    assert!(text.contains("the first rehearsal"), "{text}");
    assert!(text.contains("again with --seed 7"), "{text}");
    assert!(lines(&found, 80).iter().all(|line| text::width(line) <= 80));
}

#[test]
fn a_rehearsal_that_ended_at_the_gate_for_want_of_a_loss_says_how_to_have_one() {
    let ended = |exit| {
        let stopped = Event::RunStopped { why: "it is not down".to_owned(), exit };
        let script = fixtures::Script::started().event("02:19:00", stopped);
        let summary = summary::of(&script.records, fixtures::at("02:30:00")).expect("a run");
        let healthy = debrief(&[], &[]).world;
        let healthy = WorldTold { standing: Some("us-east-1".to_owned()), ..healthy };
        let found = of(&script.records, &summary, healthy, Vec::new());
        lines(&found, 80).join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let text = ended(Exit::NotMet.code());
    assert!(text.contains("nothing of us-east-1 is down in this world"), "{text}");
    assert!(text.contains("--inject=dark,region=us-east-1"), "{text}");
    let text = ended(Exit::NeedsAnswer.code());
    assert!(!text.contains("is down in this world"), "it was not the gate: {text}");
}

#[test]
fn a_step_that_did_not_finish_has_its_time() {
    let script = fixtures::Script::started().done("02:19:00", "02:20:00", "capacity");
    let stopped = || Event::RunStopped { why: "it failed".to_owned(), exit: 14 };
    let script = script.start("02:20:00", "database").fail("03:05:00", "database");
    let open = script.event("03:05:10", stopped());
    let lines = lines(&debrief_of(&open.records, &[], &[]), 80).join("\n");
    assert!(lines.contains("database 45m10s, not finished, the longest"), "{lines}");
    assert!(lines.contains("capacity 1m\n"), "{lines}");
    // Undoing it takes none of its time.
    let scope = crate::event::RollbackScope::Run;
    let back = Event::RollbackStarted { why: "asked for".to_owned(), scope };
    let back = open.event("04:00:00", back);
    let back = back.event("05:00:00", stopped());
    let found = debrief_of(&back.records, &[], &[]);
    assert_eq!(found.steps[1].length, Span::minutes(100));
    assert!(!found.steps[1].finished);
}

#[test]
fn a_step_that_begins_anew_ends_when_it_ends_again() {
    let script = fixtures::Script::started().done("02:19:00", "02:20:00", "capacity");
    let again = script.start("02:30:00", "capacity");
    let stopped = Event::RunStopped { why: "it failed".to_owned(), exit: 14 };
    let open = again.clone().event("02:40:00", stopped);
    let found = debrief_of(&open.records, &[], &[]);
    assert_eq!((found.steps[0].length, found.steps[0].finished), (Span::minutes(21), false));
    let found = debrief_of(&again.done("02:31:00", "02:50:00", "capacity").records, &[], &[]);
    assert_eq!((found.steps[0].length, found.steps[0].finished), (Span::minutes(31), true));
}

#[test]
fn where_the_time_went_is_all_of_it() {
    let form = crate::event::AnswerForm::YesNo;
    let go = fixtures::question(QuestionKey::Go, form);
    let script = fixtures::Script::started().ask("02:18:20", "02:19:00", go, Answer::Yes);
    let result = AttemptResult::Failed { error: fixtures::failure() };
    let failed = Event::AttemptFinished { step: "capacity".into(), attempt: 1, result };
    let script = script.start("02:19:10", "capacity").event("02:19:15", failed);
    let script = script.done("02:19:45", "02:29:45", "capacity");
    let script = script.event("02:30:00", Event::RunStopped { why: "so".to_owned(), exit: 13 });
    let found = debrief_of(&script.records, &[], &[]);
    let parts = [found.people, found.cloud, found.retries, found.program];
    assert_eq!(parts, [40, 600, 35, 45].map(Span::seconds));
    assert_eq!(parts.iter().map(|part| part.0).sum::<std::time::Duration>(), found.length.0);
    let waited = found.decisions.iter().map(|decided| decided.waited.0);
    assert_eq!(waited.sum::<std::time::Duration>(), found.people.0);
    let text = lines(&found, 80).join(" ");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words.contains(
            "Time 12m: 40s waiting for people, 10m for the cloud, 35s in attempts that failed and waits after \
             them, 45s in gates, looks and the program itself"
        ),
        "{words}"
    );
}

#[test]
fn at_go_it_was_known_what_the_gate_the_losses_and_the_findings_said() {
    let lines = [
        "REHEARSAL · estate phoenix · DR-001 Regional failover to us-west-2 · run 7F3A    SEV1",
        "incident began 02:12 UTC (19:12 PDT) · P0 objective 0:30, maximum 4:00",
        "",
        "us-east-1 is down: YES, 3 of 3 signals hold                        02:18, 1s ago",
        "  yes API healthz   no answer in 3 s     yes database      no answer in 3 s",
        "Writes go now to   us-east-1 phoenix-prod, if it lives: not fenceable from here",
        "Data loss          replica 7 s (best)  backup 6 min",
        "P0 restored        about 02:38 (0:26 of 0:30)",
        "",
        "  2 recovery_point  Choose the recovery point           asks               1 min",
        "",
        "! helm: 3.9 is old",
        "y start steps 5, 8 · n change nothing",
    ];
    let form = crate::event::AnswerForm::YesNo;
    let question = fixtures::question(QuestionKey::Go, form.clone());
    let lines_of = lines.iter().map(|line| (*line).to_owned()).collect();
    let go = Question { title: "Start?".to_owned(), lines: lines_of, ..question };
    let step = QuestionKey::Approve { step: "database".into(), digest: "d1".to_owned() };
    let script = fixtures::Script::started().ask("02:18:10", "02:18:40", go, Answer::Yes).ask(
        "02:19:00",
        "02:19:00",
        fixtures::question(step, form),
        Answer::Yes,
    );
    let found = debrief_of(&script.records, &[], &[]);
    assert_eq!(
        found.decisions[0].brief,
        [
            "us-east-1 is down: YES, 3 of 3 signals hold 02:18, 1s ago",
            "Data loss replica 7 s (best) backup 6 min",
            "! helm: 3.9 is old",
        ]
    );
    assert_eq!(found.decisions[0].known.len(), lines.len());
    let text = super::lines(&found, 80).join("\n");
    assert!(text.contains("known: us-east-1 is down: YES"), "{text}");
    assert!(text.contains("known: A promoted replica can never follow again."), "{text}");
    assert!(!text.contains("REHEARSAL · estate"), "{text}");
}

/// Half of a minute is waited while a step goes on, parts of seconds are lost, one question has no answer.
#[test]
fn what_the_decisions_waited_makes_up_the_time_of_people() {
    let form = || crate::event::AnswerForm::YesNo;
    let step = |step: &str| QuestionKey::Manual { step: step.into() };
    let ask = |key| Event::Asked { question: Box::new(fixtures::question(key, form())) };
    let yes = |question| Event::Decided { question, answer: Answer::Yes };
    let script = fixtures::Script::started()
        .event("02:18:20.700", ask(QuestionKey::Go))
        .event("02:19:00.100", yes(QuestionKey::Go))
        .event("02:19:30.250", ask(step("notify")))
        .start("02:20:00.500", "capacity")
        .end("02:20:30.900", "capacity", crate::outcome::StepEnd::Done)
        .event("02:21:00.200", yes(step("notify")))
        .event("02:22:00.300", ask(step("p1")))
        .event("02:22:07.800", Event::RunStopped { why: "SIGTERM".to_owned(), exit: 13 });
    let found = debrief_of(&script.records, &[], &[]);
    let seconds = |span: &Span| span.0.as_secs();
    let waited: Vec<u64> = found.decisions.iter().map(|decided| seconds(&decided.waited)).collect();
    assert_eq!(waited.iter().sum::<u64>(), seconds(&found.people), "{waited:?}");
    let parts = [found.people, found.cloud, found.retries, found.program];
    assert_eq!(parts.iter().map(seconds).sum::<u64>(), seconds(&found.length));
    assert!(found.decisions[1].waited < found.decisions[1].took);
    let last = found.decisions.last().expect("the one that was not answered");
    assert!(!last.answered && last.by.is_none(), "{last:?}");
    let text = flat(&found);
    assert!(text.contains("of it with nothing else going on"), "{text}");
    assert!(text.contains("answer: nobody answered before it stopped, after 7s"), "{text}");
}

fn flat(debrief: &Debrief) -> String {
    let lines = lines(debrief, 80);
    assert!(lines.iter().all(|line| text::width(line) <= 80), "{lines:#?}");
    lines.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_decision_tells_what_was_asked_what_was_known_and_whose_answer_it_was() {
    let seen = Event::GateSeen {
        step: "primary_down".into(),
        verdict: crate::outcome::Verdict::Holds,
        reports: vec![fixtures::quorum()],
    };
    let go = fixtures::question(QuestionKey::Go, crate::event::AnswerForm::YesNo);
    let go = Question { title: "Start?".to_owned(), lines: Vec::new(), ..go };
    let key = QuestionKey::Choice { step: "recovery_point".into(), among: String::new() };
    let choice = fixtures::question(
        key,
        crate::event::AnswerForm::Candidates {
            candidates: fixtures::candidates(),
            loss_max: None,
            best: Some("replica".to_owned()),
        },
    );
    let lines_of = (1..=14).map(|line| format!("what is line {line}")).collect();
    let choice = Question { title: "Which point?".to_owned(), lines: lines_of, ..choice };
    let chosen = Answer::Chosen { id: "replica".to_owned() };
    let script = fixtures::Script::started()
        .event("02:18:05", seen)
        .ask("02:18:10", "02:18:40", go, Answer::Yes)
        .ask("02:19:00", "02:20:10", choice, chosen);
    let found = debrief_of(&script.records, &[], &[]);
    let votes = &found.decisions[0].votes;
    assert_eq!(votes.len(), fixtures::quorum().votes.len());
    assert_eq!(
        (votes[0].gate.0.as_str(), votes[0].check.as_str()),
        ("primary_down", "API healthz")
    );
    assert_eq!(found.decisions[1].candidates.len(), 3);
    let text = flat(&found);
    for said in [
        "02:18:10 Start? known: vote API healthz: holds, no answer in 3 s",
        "known: vote AWS Health: no vote, no support plan, no vote",
        "answer: yes, by kim@bastion, after 30s",
        "02:19:00 Which point? known: what is line 1",
        "known: what is line 12 known: and 2 more lines",
        "known: replica: loses 7 s in 12 min, cannot be undone (best)",
        "known: backup: loses 6 min in 44 min",
        "known: snapshot: unusable, status is `creating`, 40 % done",
        "answer: chose replica, by kim@bastion, after 1m10s",
    ] {
        assert!(text.contains(said), "`{said}` is not in: {text}");
    }
    assert!(!text.contains("given beforehand"), "{text}");
}

#[test]
fn an_earlier_one_tells_what_it_reached_and_whether_it_can_be_compared() {
    let setup = |world: &str, plan: &str, faults: &[&str]| Setup {
        world: world.to_owned(),
        plan: plan.to_owned(),
        faults: faults.iter().map(|fault| (*fault).to_owned()).collect(),
    };
    let ours = setup("a", "p", &["dark", "stale"]);
    for (theirs, differs) in [
        (Some(setup("a", "p", &["stale", "dark"])), vec![]),
        (Some(setup("a", "p", &["dark"])), vec![Differs::Faults]),
        (Some(setup("a", "q", &["dark", "stale"])), vec![Differs::Plan]),
        (Some(setup("b", "q", &["stale", "dark"])), vec![Differs::World]),
        (Some(setup("b", "q", &[])), vec![Differs::World, Differs::Faults]),
        (None, vec![Differs::Unknown]),
    ] {
        assert_eq!(Setup::differs(Some(&ours), theirs.as_ref()), differs, "{theirs:?}");
    }
    let script = fixtures::Script::started().done("02:19:00", "02:25:00", "capacity");
    let script = script.event("02:26:00", Event::RunStopped { why: "so".to_owned(), exit: 13 });
    let summary = summary::of(&script.records, fixtures::at("02:30:00")).expect("a run");
    let earlier = Earlier {
        world: Some("world `mine` of /estates/mine.yaml".to_owned()),
        seed: Some(9),
        faults: vec!["dark,region=us-east-1".to_owned()],
        differs: vec![Differs::World],
        ..Earlier::of(&summary)
    };
    let mut found = debrief(&[], &[]);
    found.earlier = vec![earlier.clone(), Earlier { differs: Vec::new(), untold: true, ..earlier }];
    let text = flat(&found);
    for said in [
        "7F3A on 2026-07-14 02:18: 8m, exit 13 P0 NOT",
        "world `mine` of /estates/mine.yaml, seed 9, dark,region=us-east-1",
        "dark,region=us-east-1 and surprises that are not told yet",
    ] {
        assert!(text.contains(said), "`{said}` is not in: {text}");
    }
    assert_eq!(text.matches("NOT COMPARABLE: another world").count(), 1, "{text}");
    assert_eq!(text.matches("NOT COMPARABLE").count(), 1, "{text}");
}

#[test]
fn tells_whose_world_it_was_and_how_old() {
    let mut found = debrief(&[], &[]);
    found.world.captured = Some(fixtures::at("02:18:00"));
    found.world.age = Some(Span::minutes(90));
    found.world.estate = "phoenix".to_owned();
    found.world.file = Some("/estates/mine.jsonl".to_owned());
    found.world.durations = Lengths {
        measured: vec!["promote".to_owned()],
        guessed: vec!["modify".to_owned(), "answer".to_owned()],
    };
    found.world.unseen = vec!["RDS (us-east-1): no answer".to_owned()];
    let text = lines(&found, 80).join("\n");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("1h 30m ago"), "{text}");
    assert!(words.contains("the estate phoenix of /estates/mine.jsonl, captured on"), "{text}");
    assert!(words.contains("Durations measured: promote; guesses: modify, answer"), "{text}");
    assert!(words.contains("Not seen RDS (us-east-1): no answer"), "{text}");
    assert!(!words.contains("not your estate"), "{text}");
}

#[test]
fn what_failed_is_in_the_timeline_with_its_reason_and_what_was_taken_back_as_well() {
    let error =
        || crate::outcome::ActionError { message: "AccessDenied".into(), ..fixtures::failure() };
    let failed = |step: &str| Event::StepFailed { step: step.into(), error: error() };
    let scope = crate::event::RollbackScope::Run;
    let back = Event::RollbackStarted { why: "asked for".to_owned(), scope };
    let revert = |step: &str| Event::RevertStarted { step: step.into(), attempt: 1 };
    let reverted = |step: &str, result| Event::RevertFinished { step: step.into(), result };
    let refused = RevertResult::Failed { error: error() };
    // One is refused in the second it is asked for, one fails before its first attempt, one is mended.
    let script = fixtures::Script::started()
        .done("02:19:00", "02:20:00", "capacity")
        .start("02:20:00", "database")
        .event("02:20:00.400", failed("database"))
        .event("02:20:01", failed("p1"))
        .event("02:20:02", back)
        .event("02:20:02", revert("database"))
        .event("02:20:12", reverted("database", refused))
        .event("02:20:12", revert("capacity"))
        .event("02:21:12", reverted("capacity", RevertResult::Reverted))
        .event("02:21:12", Event::RunStopped { why: "a revert failed".to_owned(), exit: 6 });
    let found = debrief_of(&script.records, &[], &[]);
    let steps: Vec<_> =
        found.steps.iter().map(|took| (took.step.as_str(), took.failed.as_deref())).collect();
    let why = Some("AccessDenied");
    assert_eq!(steps, [("capacity", None), ("database", why), ("p1", why)]);
    assert_eq!(found.steps[2].attempts, 0);
    let results: Vec<_> = found.reverts.iter().map(|back| back.result).collect();
    assert_eq!(results, [Some("failed"), Some("reverted")]);
    let text = flat(&found);
    for said in [
        "database 2s, not finished, FAILED: AccessDenied",
        "p1 0s, not finished, FAILED: AccessDenied",
        "database NOT taken back, 10s: AccessDenied",
        "capacity taken back, 1m",
    ] {
        assert!(text.contains(said), "`{said}` is not in: {text}");
    }
    let mended = fixtures::Script::started()
        .event("02:20:01", failed("capacity"))
        .done("02:20:02", "02:20:04", "capacity");
    assert_eq!(debrief_of(&mended.records, &[], &[]).steps[0].failed, None);
}

#[test]
fn a_fault_is_told_with_when_it_struck_first_and_the_call() {
    let mut found =
        debrief(&[("stale@rds", 0), ("dark,region=us-east-1", 1), ("denied@s3", 3)], &[]);
    let first = |fault: &str, seconds: u64, call: &str| StruckFirst {
        fault: fault.to_owned(),
        after: Span::seconds(seconds),
        at: fixtures::at("02:19:00"),
        call: call.to_owned(),
    };
    found.world.struck_first = vec![
        first("dark,region=us-east-1", 0, "rds DescribeDBInstances in us-east-1"),
        first("denied@s3", 46, "s3 PutObject in us-west-2"),
    ];
    let text = flat(&found);
    for said in [
        "stale@rds never struck: rds was not called",
        "dark,region=us-east-1 struck, first after 0s at rds DescribeDBInstances in us-east-1",
        "denied@s3 struck 3 times, first after 46s at s3 PutObject in us-west-2",
    ] {
        assert!(text.contains(said), "`{said}` is not in: {text}");
    }
}

#[test]
fn what_decides_comes_before_the_votes_and_nothing_known_is_cut() {
    let finding = crate::event::Finding {
        level: crate::event::FindingLevel::Warning,
        about: "failover object".to_owned(),
        said: "whether it moves traffic is not proved".to_owned(),
        hint: None,
        step: None,
    };
    let question = |key, lines: &[&str]| Question {
        lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        ..fixtures::question(key, crate::event::AnswerForm::YesNo)
    };
    let go = question(QuestionKey::Go, &["title", "", "! failover object: whether it mov…"]);
    let key = QuestionKey::Approve { step: "database".into(), digest: "d1".to_owned() };
    let mut lines = vec!["us-east-1 is down: 3 of 3 hold".to_owned()];
    lines.extend((1..=12).map(|vote| format!("  vote {vote}: no answer")));
    lines.extend(["takes writes by itself".to_owned(), "Cannot be undone".to_owned()]);
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let script = fixtures::Script::started()
        .event("02:18:05", Event::Preflight { findings: vec![finding] })
        .ask("02:18:10", "02:18:11", go, Answer::Yes)
        .ask("02:19:00", "02:19:01", question(key, &lines), Answer::Yes);
    let found = debrief_of(&script.records, &[], &[]);
    let whole = "! failover object: whether it moves traffic is not proved";
    assert_eq!(found.decisions[0].known[2], whole);
    assert_eq!(found.decisions[0].brief, [whole]);
    assert_eq!(found.decisions[1].known, lines);
    let text = flat(&found);
    let said = "known: us-east-1 is down: 3 of 3 hold known: takes writes by itself known: Cannot be undone \
                known: vote 1: no answer";
    assert!(text.contains(said), "{text}");
}

#[test]
fn a_part_of_a_wait_is_never_longer_than_the_wait() {
    let form = || crate::event::AnswerForm::YesNo;
    let ask = |key| Event::Asked { question: Box::new(fixtures::question(key, form())) };
    let yes = |question| Event::Decided { question, answer: Answer::Yes };
    let step = QuestionKey::Manual { step: "notify".into() };
    let script = fixtures::Script::started()
        .event("02:18:20", ask(QuestionKey::Go))
        .event("02:18:25.900", yes(QuestionKey::Go))
        .event("02:18:30", ask(step.clone()))
        .event("02:18:30.400", yes(step))
        .event("02:19:00", Event::RunStopped { why: "so".to_owned(), exit: 13 });
    let found = debrief_of(&script.records, &[], &[]);
    assert_eq!(found.decisions[0].waited, Span::seconds(6), "the seconds make up the whole");
    assert!(flat(&found).contains("after 6s"), "{}", flat(&found));
    assert!(!flat(&found).contains("with nothing else going on"), "{}", flat(&found));
}

#[test]
fn a_surprise_comes_again_by_its_seed_and_its_level() {
    let script = fixtures::Script::started().done("02:19:00", "02:25:00", "capacity");
    let again = |typed: &[&str]| {
        let mut records = script.records.clone();
        if let Event::RunStarted { settings, .. } = &mut records[0].event {
            settings.typed = typed.iter().map(|word| (*word).to_owned()).collect();
        }
        let world = WorldTold { surprise: true, ..debrief(&[], &[]).world };
        let summary = summary::of(&records, fixtures::at("02:30:00")).expect("a run");
        flat(&of(&records, &summary, world, Vec::new()))
    };
    for (typed, said) in [
        (&["failover", "--surprise=cruel"][..], "with --seed 7 --surprise cruel"),
        (&["failover", "--surprise", "mild", "--yes"], "with --seed 7 --surprise mild"),
        (&["failover"], "with --seed 7 --surprise LEVEL, as before"),
    ] {
        assert!(again(typed).contains(said), "`{said}` is not in: {}", again(typed));
    }
}
