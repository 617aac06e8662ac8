//! Questions a run seldom comes to: each answered, declined, interrupted and left, at a terminal of 80x24.

use super::harness::{Folder, of_step};
use super::person::Person;
use super::pty::{AWAY, Away, GO, RUN, folder, is_there, leaves_file};

/// A step that cannot start without a secret that is in a file which is not there.
fn without_its_secret() -> Folder {
    let secret = "      env: { TOKEN: { file: DIR/token } }\n    verify:";
    folder(&leaves_file("one", "").replace("    verify:", secret))
}

#[test]
fn what_blocks_is_looked_at_again_and_never_started() {
    let look_again = "Look again? [y/n]";
    for away in AWAY {
        let folder = without_its_secret();
        let mut person = folder.at_terminal(&RUN);
        person.sees("CANNOT START").asked(look_again);
        // Nothing but what it waits for lets it start.
        person.types("y");
        person.until("the second look", |person| {
            person.events().iter().filter(|event| event["kind"] == "preflight").count() == 2
        });
        person.asked(look_again);
        assert!(!is_there(&folder, "one"));
        away.parks(person, 13);
        assert!(!is_there(&folder, "one"), "{away:?}");
        let mut person = folder.at_terminal(&["resume"]);
        person.asked(look_again);
        folder.write("token", "t");
        person.types("r").asked(GO).types("y");
        person.exits(0);
        assert!(is_there(&folder, "one"), "{away:?}");
    }
}

/// A finished run of two steps, of which the second cannot be undone.
fn past_its_point() -> Folder {
    let point = "    point_of_no_return: true\n    approve: { say: It is for good., type: two }\n";
    let folder = folder(&format!(
        "{}{}{}",
        leaves_file("one", ""),
        leaves_file("two", point),
        "  - id: three
    title: Do what fails
    action: command.run
    retry: { attempts: 1 }
    with: { argv: [sh, -c, 'exit 3'], undo: [sh, -c, 'exit 0'], done_when: [sh, -c, 'exit 1'] }
    verify: { none: it fails }
"
    ));
    let mut person = folder.at_terminal(&RUN);
    person.asked(GO).types("y");
    person.asked_about("? Leave the file two", "Type two").types("two");
    person.asked_about("? Failed: Do what fails", "[r/").types("q");
    person.exits(14);
    folder
}

#[test]
fn a_step_behind_a_point_of_no_return_is_undone_only_for_its_words() {
    let back = ["rollback", "--past", "one"];
    for away in AWAY {
        let folder = past_its_point();
        let mut person = folder.at_terminal(&back);
        person.asked_about("Revert one past a point of no return?", "Type revert one");
        away.parks(person, 13);
        assert!(is_there(&folder, "one") && is_there(&folder, "two"), "{away:?}");
        let mut person = folder.at_terminal(&back);
        person.asked("Type revert one").types("y").sees("2 tries left").asked("Type revert one");
        person.types("revert one");
        person.exits(14);
        assert!(!is_there(&folder, "one") && is_there(&folder, "two"), "{away:?}");
    }
}

/// A rehearsal in which the credentials end where the database is promoted.
fn expires(folder: &Folder) -> Person<'_> {
    let fault = ["--inject=expired@rds/PromoteReadReplica,times=2", "--recovery-point=replica"];
    let mut person = folder.at_terminal(&[&FLOWN[..], &fault, &GIVEN].concat());
    person.asked_about(ENDED.0, ENDED.1);
    person
}

const ENDED: (&str, &str) =
    ("? Credentials are missing or have expired", "Are they renewed? [y/n]");

const FLOWN: [&str; 4] = ["failover", "--region=us-west-2", "--rehearse", "--yes"];

/// What a rehearsal is given so that nothing else is asked.
const GIVEN: [&str; 3] = ["--waive=fence=unfenced", "--approve=all", "--speed=max"];

#[test]
fn credentials_that_ended_fail_nothing_however_the_question_is_left() {
    for away in AWAY {
        let folder = Folder::new();
        away.parks(expires(&folder), 13);
        let (_, events) = folder.journals().remove(0);
        assert!(
            of_step(&events, "attempt_finished", "database")
                .iter()
                .all(|event| { event["result"]["kind"] != "done" })
        );
        assert!(of_step(&events, "step_failed", "database").is_empty(), "{away:?}");
        // They have been renewed by then.
        folder.at_terminal(&[&["resume", "--rehearse"], &GIVEN[..]].concat()).exits(0);
    }
    let folder = Folder::new();
    let mut person = expires(&folder);
    person.types("y");
    person.exits(0);
}

#[test]
fn more_loss_than_allowed_is_declined_and_the_others_are_offered() {
    for away in AWAY {
        let folder = Folder::new();
        let mut person = folder.at_terminal(&[&FLOWN[..], &GIVEN].concat());
        let which = "Which?";
        person.asked(which).types("snapshot");
        person.asked("Type lose ");
        if matches!(away, Away::Declined) {
            person.types("n").asked(which).types("replica");
            person.exits(0);
            continue;
        }
        away.parks(person, 13);
        let (_, events) = folder.journals().remove(0);
        assert!(of_step(&events, "step_started", "restore").is_empty(), "{away:?}");
        let mut person = folder.at_terminal(&[&["resume", "--rehearse"], &GIVEN[..]].concat());
        person.asked("Type lose ").types("n").asked(which).types("replica");
        person.exits(0);
    }
}
