//! Every kind of question at a terminal of 80x24: answered, declined, interrupted and resumed, and at an end of file.
//!
//! The runbooks here are of programs and need no estate; DR-001's own questions are in `pty_failover`.

use super::harness::{Folder, flat, of_step};
use super::person::{Left, Person};

const ESTATE: &str = "estate: t
primary: { region: us-east-1 }
regions:
  us-east-1: { api: 'http://127.0.0.1:1' }
  us-west-2: { api: 'http://127.0.0.1:2' }
contacts:
  - { role: Incident Commander, name: Kim Doe, phone: '+1 555 0100' }
";

/// What the prompts begin with.
pub(crate) const GO: &str = "Start? [y/n]";
pub(crate) const YES_NO: &str = "Do it? [y/n]";

/// A folder with a runbook of these steps as `runbook.yaml`.
pub(crate) fn folder(steps: &str) -> Folder {
    let folder = Folder::new();
    folder.write("phoenix-dr.yaml", ESTATE);
    let head = "runbook: T-1\ntitle: Test of the questions\ncommand: test\nsteps:\n";
    folder.write("runbook.yaml", &format!("{head}{}", steps.replace("DIR", &dir(&folder))));
    folder
}

fn dir(folder: &Folder) -> String {
    folder.path().display().to_string()
}

/// A step whose program leaves a file, with what else is said of it.
pub(crate) fn leaves_file(id: &str, more: &str) -> String {
    format!(
        "  - id: {id}
    title: Leave the file {id}
    action: command.run
    with:
      argv: [sh, -c, 'echo x >> DIR/{id}']
      undo: [rm, -f, DIR/{id}]
      done_when: [test, -e, DIR/{id}]
    verify: {{ none: the program says so }}
{more}"
    )
}

pub(crate) const RUN: [&str; 2] = ["run", "runbook.yaml"];

pub(crate) fn is_there(folder: &Folder, name: &str) -> bool {
    folder.path().join(name).exists()
}

/// Nothing but what a person typed, and commands to paste, may be longer than a row.
#[track_caller]
fn nothing_ran_over(left: &Left) {
    let too_long = left.ran_over.iter().filter(|row| !row.trim_start().starts_with('$'));
    assert_eq!(too_long.collect::<Vec<_>>(), Vec::<&String>::new());
}

/// How a question is not answered. None of these is ever a yes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Away {
    Declined,
    Interrupted,
    EndOfFile,
    Closed,
}

pub(crate) const AWAY: [Away; 4] =
    [Away::Declined, Away::Interrupted, Away::EndOfFile, Away::Closed];

impl Away {
    /// Leaves the question open at the prompt in this way and holds that the run is parked.
    #[track_caller]
    pub(crate) fn parks(self, mut person: Person<'_>, code: i32) {
        match self {
            Self::Declined => drop(person.types("n")),
            Self::Interrupted => drop(person.control('c')),
            Self::EndOfFile => drop(person.control('d')),
            Self::Closed => person.leaves(),
        }
        let left = person.exits(code);
        if !matches!(self, Self::Closed) {
            nothing_ran_over(&left);
            left.shows("phoenix-dr resume");
        }
    }
}

#[test]
fn go_is_answered_and_its_pages_are_turned() {
    let folder = folder(&leaves_file("one", ""));
    let mut person = folder.at_terminal(&RUN);
    person.asked(GO);
    let screen = person.screen.now();
    let fits = screen.iter().any(|row| row.starts_with("LIVE · estate t · T-1"));
    assert!(fits, "its beginning is off the screen:\n{screen:#?}");
    person.types("d").sees("how     command.run").asked(GO);
    person.types("c").sees("# 1 one: Leave the file one").asked(GO);
    person.types("m").sees("we are working on an incident").asked(GO);
    person.types("yes please").sees("nothing else counts").asked(GO);
    person.types("").asked(GO);
    person.types("r");
    person.until("the second look", |person| {
        person.events().iter().filter(|event| event["kind"] == "preflight").count() == 2
    });
    person.asked(GO);
    assert!(!is_there(&folder, "one"));
    person.types("y");
    let left = person.exits(0).shows("restored and verified");
    nothing_ran_over(&left);
    assert!(is_there(&folder, "one"));
}

#[test]
fn go_is_not_answered_and_nothing_is_changed() {
    for away in AWAY {
        let folder = folder(&leaves_file("one", ""));
        let mut person = folder.at_terminal(&RUN);
        person.asked(GO);
        away.parks(person, 13);
        assert!(!is_there(&folder, "one"), "{away:?}");
        let mut person = folder.at_terminal(&["resume"]);
        person.asked(GO).types("y");
        person.exits(0);
        assert!(is_there(&folder, "one"), "{away:?}");
    }
}

#[test]
fn go_takes_when_the_incident_began() {
    let folder = folder(&leaves_file("one", ""));
    let mut person = folder.at_terminal(&RUN);
    person.asked(GO).types("i");
    person.asked("When did it begin?").types("yesterday");
    person.sees("is no instant").asked("When did it begin?").types("90m ago");
    person.until("the event", |person| {
        person.events().iter().any(|event| event["kind"] == "incident_dated")
    });
    person.sees("OVERDUE").asked(GO).types("y");
    person.exits(0).shows("1:30 since the incident began");
    let audit = folder.run(&["audit"]).exits(0);
    assert!(audit.out.contains("an operator"), "{}", audit.out);
}

#[test]
fn what_was_typed_before_a_question_answers_nothing() {
    let slow = "  - id: slow
    action: wait
    with: { for: 2s }
";
    let folder = folder(&format!("{slow}{}", leaves_file("two", "    approve: each\n")));
    let mut person = folder.at_terminal(&RUN);
    person.asked(GO).types("y");
    person.sees("start slow").types("y").types("y");
    person.asked_about("? Leave the file two", YES_NO);
    person.types("n");
    person.exits(13);
    assert!(!is_there(&folder, "two"));
}

/// Goes on after go: to the question of the last step.
fn past_go<'a>(folder: &'a Folder, heading: &str, prompt: &str) -> Person<'a> {
    let mut person = folder.at_terminal(&RUN);
    person.asked(GO).types("y");
    person.asked_about(heading, prompt);
    person
}

/// Leaves the question open in every way; each parks the run with nothing of the step done. `answer` then finishes it.
fn every_way_parks(
    folder: impl Fn() -> Folder,
    (heading, prompt): (&str, &str),
    is_done: impl Fn(&Folder) -> bool,
    answer: impl Fn(&mut Person<'_>),
) {
    for away in AWAY {
        let folder = folder();
        away.parks(past_go(&folder, heading, prompt), 13);
        assert!(!is_done(&folder), "{away:?}");
        let mut person = folder.at_terminal(&["resume"]);
        person.asked_about(heading, prompt);
        answer(&mut person);
        person.exits(0);
        assert!(is_done(&folder), "{away:?}");
    }
}

#[test]
fn an_ordinary_approval() {
    let approve = "    approve: \"Nobody works on two meanwhile.\"\n";
    let steps = format!("{}{}", leaves_file("one", ""), leaves_file("two", approve));
    let two = |folder: &Folder| is_there(folder, "two");
    let question = ("? Leave the file two", YES_NO);
    every_way_parks(
        || folder(&steps),
        question,
        two,
        |person| {
            person.sees("Nobody works on two meanwhile.").sees("Can be undone").types("y");
        },
    );
}

#[test]
fn a_point_of_no_return_is_typed() {
    let approve = "    approve: { say: It is for good., type: us-west-2 }
    point_of_no_return: true
";
    let steps = leaves_file("one", approve);
    let one = |folder: &Folder| is_there(folder, "one");
    let question = ("? Leave the file one", "Type us-west-2");
    every_way_parks(
        || folder(&steps),
        question,
        one,
        |person| {
            person.types("us-west-2");
        },
    );
    let folder = folder(&steps);
    let mut person = past_go(&folder, question.0, question.1);
    person.types("y").sees("2 tries left").asked(question.1);
    person.types("us-east-1").sees("1 try left").asked(question.1);
    person.types("US-WEST-2");
    person.exits(13);
    assert!(!one(&folder));
}

#[test]
fn work_by_hand_is_done_with_evidence() {
    let steps = format!(
        "  - id: call
    title: Call the network team
    action: manual
    with: {{ say: Ask them to open the path., evidence: The ticket they opened }}
{}",
        leaves_file("two", "")
    );
    let evidence = "OPS-1234, opened by Kim at 13:05; the path through the second firewall is open \
                    and was tried from two hosts";
    let two = |folder: &Folder| is_there(folder, "two");
    let question = ("? Call the network team", "The ticket they opened");
    every_way_parks(
        || folder(&steps),
        question,
        two,
        |person| {
            person.types("y").sees("Wanted: The ticket they opened").asked(question.1);
            // Longer than a row, with a word taken back across its end.
            person.keys(&format!("{evidence} tomorrow")).control('w').keys("\u{7f}");
            person.types("");
        },
    );
    let folder = folder(&steps);
    let mut person = past_go(&folder, question.0, question.1);
    person.types(evidence);
    person.exits(0);
    let (_, events) = folder.journals().remove(0);
    let marked = of_step(&events, "step_marked", "call")[0];
    assert_eq!(marked["evidence"], evidence);
    assert_eq!(marked["outputs"]["evidence"], evidence, "later steps may use it");
    assert_eq!(of_step(&events, "step_finished", "call")[0]["end"], "marked");
}

/// A gate whose program cannot tell, before a step.
fn in_doubt() -> String {
    format!(
        "  - id: down
    title: Establish that the region is down
    checks:
      - check: command
        title: the region is down
        with: {{ argv: [sh, -c, 'exit 7'], reads_only: true }}
        within: 1s
        every: 1s
{}",
        leaves_file("one", "")
    )
}

#[test]
fn a_gate_in_doubt_is_overridden_with_a_reason() {
    let question = ("? In doubt: Establish that the region is down", "Why?");
    for away in AWAY {
        let folder = folder(&in_doubt());
        let mut person = folder.at_terminal(&RUN);
        person.asked_about(question.0, question.1);
        // Declined: the gate was not met. Anything else is nobody's decision and parks the run.
        let code = if matches!(away, Away::Declined) { 10 } else { 13 };
        away.parks(person, code);
        assert!(!is_there(&folder, "one"), "{away:?}");
        let mut person = folder.at_terminal(&["resume"]);
        person.asked_about(question.0, question.1).types("because");
        person.sees("in a sentence").asked("Why?").types("AWS told us by phone");
        person.asked(GO).sees("CANNOT TELL").types("y");
        person.exits(0);
        assert!(is_there(&folder, "one"), "{away:?}");
        // Nobody reads later that it was proved.
        let audit = flat(&folder.run(&["audit"]).exits(0).out);
        assert!(audit.contains("NOT PROVED: overridden: AWS told us by phone"), "{audit}");
    }
}

/// A step that fails as long as there is no file `mended`, between two that do not.
fn failing() -> String {
    format!(
        "{}  - id: two
    title: Do what fails
    action: command.run
    retry: {{ attempts: 1 }}
    with:
      argv: [sh, -c, 'test -e DIR/mended && echo x >> DIR/two']
      undo: [rm, -f, DIR/two]
      done_when: [test, -e, DIR/two]
    verify: {{ none: the program says so }}
{}",
        leaves_file("one", ""),
        leaves_file("three", "")
    )
}

const FAILED: (&str, &str) = ("? Failed: Do what fails", "[r/s/m/b/q]");

#[test]
fn a_failure_is_retried() {
    for away in AWAY {
        let folder = folder(&failing());
        away.parks(past_go(&folder, FAILED.0, FAILED.1), 13);
        let mut person = folder.at_terminal(&["resume"]);
        person.asked_about(FAILED.0, FAILED.1);
        person.types("x").sees("one of the letters").asked(FAILED.1);
        folder.write("mended", "");
        person.types("r");
        person.exits(0);
        assert!(is_there(&folder, "two") && is_there(&folder, "three"), "{away:?}");
    }
}

#[test]
fn a_failure_is_skipped_with_a_reason() {
    let folder = folder(&failing());
    let mut person = past_go(&folder, FAILED.0, FAILED.1);
    person.types("s").asked("Why?").types("n").sees("Not chosen").asked(FAILED.1);
    person.types("skip").asked("Why?").types("no").asked(FAILED.1);
    person.types("s").asked("Why?").types("meh").sees("in a sentence").asked("Why?");
    person.types("the second file is not needed today");
    person.exits(7).shows("the second file is not needed today");
    assert!(!is_there(&folder, "two") && is_there(&folder, "three"));
}

#[test]
fn a_failure_is_marked_done_with_evidence() {
    let folder = folder(&failing());
    let mut person = past_go(&folder, FAILED.0, FAILED.1);
    person.types("m").asked("What was done by hand").types("wrote it myself, see the folder");
    person.exits(0);
    assert!(!is_there(&folder, "two") && is_there(&folder, "three"));
    let (_, events) = folder.journals().remove(0);
    assert_eq!(of_step(&events, "step_finished", "two")[0]["end"], "marked");
}

#[test]
fn after_a_failure_everything_is_rolled_back() {
    let folder = folder(&failing());
    let mut person = past_go(&folder, FAILED.0, FAILED.1);
    person.types("b");
    person.exits(5).shows("rolled back");
    assert!(!is_there(&folder, "one") && !is_there(&folder, "three"));
}

#[test]
fn after_a_failure_the_run_stops_and_keeps_what_it_did() {
    let folder = folder(&failing());
    let mut person = past_go(&folder, FAILED.0, FAILED.1);
    person.types("q");
    person.exits(14).shows("phoenix-dr resume").shows("phoenix-dr rollback");
    assert!(is_there(&folder, "one"));
    folder.write("mended", "");
    let person = folder.at_terminal(&["resume"]);
    person.exits(0);
    assert!(is_there(&folder, "three"));
}

/// What a pipeline began, a person finishes: the questions are put, whoever began it.
#[test]
fn a_run_that_nobody_watched_is_finished_by_a_person() {
    let approve = "    approve: \"Nobody works on two meanwhile.\"\n";
    let steps = format!("{}{}", leaves_file("one", ""), leaves_file("two", approve));
    let folder = folder(&steps);
    folder.write("answers.yaml", "approve:two: 'no'\n");
    let begun = folder.run(&[&RUN[..], &["--yes", "--answers", "answers.yaml"]].concat());
    assert_ne!(begun.exit, 0, "{}", begun.out);
    assert!(!is_there(&folder, "two"));
    let mut person = folder.at_terminal(&["resume"]);
    person.asked_about("? Leave the file two", YES_NO).types("y");
    person.exits(0);
    assert!(is_there(&folder, "two"));
}

#[test]
fn a_failure_that_nobody_saw_is_decided_by_a_person() {
    let folder = folder(&failing());
    folder.run(&[&RUN[..], &["--yes", "--on-failure", "stop"]].concat()).exits(14);
    let mut person = folder.at_terminal(&["resume"]);
    person.asked_about(FAILED.0, FAILED.1).types("q");
    person.exits(14);
    let mut person = folder.at_terminal(&["rollback"]);
    person.asked("Roll back? [y/n]").types("y");
    person.exits(5);
    assert!(!is_there(&folder, "one"));
}

/// A step that cannot be taken back as long as there is no file `mended`, and one that fails.
fn not_to_be_undone() -> String {
    let undo = "undo: [rm, -f, DIR/one]";
    let stuck = "undo: [sh, -c, 'test -e DIR/mended && rm -f DIR/one']";
    failing().replacen(undo, stuck, 1)
}

const NOT_UNDONE: (&str, &str) = ("? Could not be undone: Leave the file one", "[r/s/q]");

fn rolling_back(folder: &Folder) -> Person<'_> {
    let mut person = past_go(folder, FAILED.0, FAILED.1);
    person.types("b").asked_about(NOT_UNDONE.0, NOT_UNDONE.1);
    person
}

#[test]
fn a_revert_that_failed_is_retried() {
    for away in AWAY {
        let folder = folder(&not_to_be_undone());
        away.parks(rolling_back(&folder), 13);
        assert!(is_there(&folder, "one"), "{away:?}");
        let mut person = folder.at_terminal(&["resume"]);
        person.asked_about(NOT_UNDONE.0, NOT_UNDONE.1);
        folder.write("mended", "");
        person.types("r");
        person.exits(5);
        assert!(!is_there(&folder, "one"), "{away:?}");
    }
}

#[test]
fn a_revert_that_failed_is_left_as_it_is_with_a_reason() {
    let folder = folder(&not_to_be_undone());
    let mut person = rolling_back(&folder);
    person.types("s").asked("Why?").types("the file does no harm");
    person.exits(14).shows("the file does no harm");
    assert!(is_there(&folder, "one"));
}

#[test]
fn a_revert_that_failed_stops_the_rollback() {
    let folder = folder(&not_to_be_undone());
    let mut person = rolling_back(&folder);
    person.types("q");
    person.exits(6).shows("phoenix-dr resume");
    assert!(is_there(&folder, "one"));
}

/// An estate whose shared lock is in a bucket nobody reaches.
fn without_its_bucket() -> Folder {
    let mut folder = folder(&leaves_file("one", ""));
    let endpoints = "    endpoints: { s3: 'http://127.0.0.1:1', sts: 'http://127.0.0.1:1' }\n";
    let west = "  us-west-2: { api: 'http://127.0.0.1:2' }\n";
    let bucket = "state: { s3: { bucket: not-there, region: us-west-2 } }\n";
    let there = format!("  us-west-2:\n    api: 'http://127.0.0.1:2'\n{endpoints}");
    folder.write("phoenix-dr.yaml", &format!("{}{bucket}", ESTATE.replace(west, &there)));
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        folder.environment.insert(name.to_owned(), "test".to_owned());
    }
    folder
}

#[test]
fn without_the_shared_lock_a_person_vouches_for_being_alone() {
    let one = |folder: &Folder| is_there(folder, "one");
    let question = ("? The shared lock cannot be taken", "Type I am the only operator");
    every_way_parks(without_its_bucket, question, one, |person| {
        person.types("y").sees("2 tries left").asked(question.1);
        person.types("I am the only operator");
    });
}
