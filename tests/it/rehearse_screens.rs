//! Every screen of a rehearsal, whichever way somebody comes to it: each says that it is one, and fits 80 columns.

use serde_json::Value;

use super::harness::{Folder, Ran};
use super::person::Person;
use super::pty::GO;
use super::rehearsal::{ANSWERS, run_of};

const FAILOVER: [&str; 4] = ["failover", "--region", "us-west-2", "--rehearse"];
const DENIED: &str = "--inject=denied@rds/PromoteReadReplica";
const WORD: &str = "REHEARSAL";

fn rehearsed(folder: &Folder, more: &[&str]) -> Ran {
    folder.run(&[&FAILOVER[..], &ANSWERS, more].concat())
}

fn name_of(folder: &Folder) -> String {
    run_of(folder).file_name().expect("a name").to_string_lossy().into_owned()
}

/// Holds a screen to what every screen of a rehearsal has: the word in its first line and in its last one, or in the entry
/// that ends a log; nothing wider than 80 columns but commands; no command of the cloud without the word that it would
/// act on the real one.
#[track_caller]
fn says(screen: &str, text: &str) {
    let rows: Vec<&str> = text.lines().filter(|row| !row.trim().is_empty()).collect();
    let first = rows.first().expect("a first row");
    // An entry begins with its time; what goes on below it is indented.
    let last = rows.iter().rposition(|row| !row.starts_with("    ")).expect("a last line");
    let last = rows[last..].concat();
    assert!(first.contains(WORD), "{screen} begins without a word of it:\n{text}");
    assert!(last.contains(WORD), "{screen} ends without a word of it:\n{text}");
    let cloud = ["aws rds ", "aws route53 ", "aws s3", "kubectl ", "psql "];
    if cloud.iter().any(|command| text.contains(command)) {
        // A row may end between its words.
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("act LIVE") || words.contains("LIVE estate"), "{screen}:\n{text}");
    }
    let pasted = |row: &str| row.trim_start().starts_with("$ ");
    let wide = |row: &&&str| row.chars().count() > 80 && !pasted(row);
    let wide: Vec<&&str> = rows.iter().filter(wide).collect();
    assert!(wide.is_empty(), "{screen} is too wide: {wide:#?}");
}

#[test]
fn every_screen_of_a_rehearsal_that_stopped_says_that_it_is_one() {
    let folder = Folder::new();
    let dry = folder.run(&[&FAILOVER[..], &["--dry-run"]].concat()).exits(0);
    says("failover --dry-run", &dry.out);
    let json = folder.run(&[&FAILOVER[..], &["--dry-run", "--output=json"]].concat()).exits(0).out;
    let report: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(report["mode"], "rehearsal");
    let stopped = rehearsed(&folder, &[DENIED]).exits(14);
    says("the log of one that stopped", &stopped.err);
    says("the end of one that stopped", &stopped.out);
    let run = name_of(&folder);
    for arguments in [
        &["status", &run][..],
        &["status", "--follow", &run],
        &["audit", &run],
        &["runs"],
        &["resume", &run, "--rehearse", "--dry-run"],
    ] {
        says(&arguments.join(" "), &folder.run(arguments).exits(0).out);
    }
    // The bare command goes on to say how to begin, live as well.
    let home = folder.run::<&str>(&[]).exits(0).out;
    assert!(home.starts_with("REHEARSAL run "), "{home}");
    let verified = folder.run(&["audit", &run, "--verify"]).exits(0).out;
    assert!(verified.starts_with(WORD), "{verified}");
    let back = folder.run(&["rollback", &run, "--rehearse", "--dry-run"]).exits(0);
    says("rollback --dry-run", &back.out);
    report_says(&folder, &run);
    let marked = ["mark-done", "database", "--run", &run, "--evidence", "promoted in the console"];
    let values = ["--value=instance=phoenix-dr-replica", "--value=address=db.example:5432"];
    let marked = folder.run(&[&marked[..], &values].concat()).exits(0);
    says("mark-done of a step", &marked.out);
    let resumed = folder.run(&[&["resume", &run, "--rehearse"][..], &ANSWERS].concat());
    says("the log of one that was resumed", &resumed.err);
    says("the end of one that was resumed", &resumed.out);
}

/// A report is for a document, as wide as that is; what is open in it is marked by itself.
#[track_caller]
fn report_says(folder: &Folder, run: &str) {
    let report = folder.run(&["report", run]).exits(0).out;
    let rows: Vec<&str> = report.lines().filter(|row| !row.is_empty()).collect();
    assert!(rows[0].starts_with("# REHEARSAL: DR-001"), "{report}");
    assert!(rows[rows.len() - 1].contains(WORD), "{report}");
    for open in rows.iter().filter(|row| row.contains("To close it")) {
        assert!(open.contains("(REHEARSAL: in a shell it would act LIVE)"), "{open}");
    }
    assert!(
        !report.contains("paste: We are"),
        "a message that does not say it is practice: {report}"
    );
}

#[test]
fn every_screen_of_a_rehearsal_that_is_over_says_that_it_is_one() {
    let folder = Folder::new();
    let flown = rehearsed(&folder, &[]).exits(0);
    says("the log of one that was flown", &flown.err);
    says("the end of one that was flown", &flown.out);
    let run = name_of(&folder);
    for arguments in
        [&["status", &run][..], &["status", "--follow", &run], &["audit", &run], &["runs"]]
    {
        says(&arguments.join(" "), &folder.run(arguments).exits(0).out);
    }
    report_says(&folder, &run);
    let marked = ["mark-done", "manual-notify", "--run", &run, "--evidence", "posted"];
    says("mark-done", &folder.run(&marked).exits(0).out);

    let folder = Folder::new();
    rehearsed(&folder, &[DENIED]).exits(14);
    let run = name_of(&folder);
    let back = ["rollback", &run, "--rehearse", "--non-interactive", "--yes", "--speed=max"];
    let back = folder.run(&back);
    says("the log of a rollback", &back.err);
    says("the end of a rollback", &back.out);

    let folder = Folder::new();
    rehearsed(&folder, &[DENIED]).exits(14);
    let run = name_of(&folder);
    let given_up = folder.run(&["abandon", &run, "--reason=enough of it"]).exits(0);
    says("abandon", &given_up.out);
    says("status of one that was given up", &folder.run(&["status", &run]).exits(0).out);
}

/// Holds that a command is refused, that what it says begins with the word, and that its answer to a program stays one.
#[track_caller]
fn refused(folder: &Folder, arguments: &[&str], exit: i32, part: &str) {
    let ran = folder.run(arguments).exits(exit).says(part);
    let first = ran.err.lines().next().unwrap_or_default();
    assert!(first.starts_with(WORD), "{arguments:?} is refused without a word of it:\n{}", ran.err);
    assert_eq!(ran.err.matches("practice in a simulated estate").count(), 1, "{}", ran.err);
    let json = folder.run(&[arguments, &["--output=json"]].concat()).exits(exit);
    for line in json.out.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{arguments:?}: {}", json.out);
    }
}

#[test]
fn every_refusal_of_a_rehearsal_says_that_it_is_one() {
    let folder = Folder::new();
    let nobody = [&FAILOVER[..], &["--yes"]].concat();
    refused(&folder, &nobody, 8, "nobody can be asked");
    let fault = "--inject=throttled@rds/Describe,region=us-west-2,times=2";
    refused(&folder, &[&nobody[..], &[fault]].concat(), 8, "nobody can be asked");
    refused(&folder, &[&nobody[..], &["--inject=dark@"]].concat(), 2, "no service behind");
    rehearsed(&folder, &[DENIED]).exits(14);
    let run = name_of(&folder);
    refused(&folder, &["resume", "--rehearse", "--non-interactive"], 8, "add ");
    refused(&folder, &["rollback", &run, "--rehearse", "--non-interactive"], 8, "add --yes");
    refused(&folder, &[&FAILOVER[..], &ANSWERS].concat(), 9, "is not finished");
    // What is about a rehearsal by its name alone.
    refused(&folder, &["resume", &run], 2, "is a rehearsal, and `resume` must say so");
    folder.run(&["abandon", &run, "--reason=enough of it"]).exits(0);
    refused(&folder, &["abandon", &run, "--reason=enough of it"], 2, "is over already");
    refused(&folder, &["resume", &run, "--rehearse"], 2, "is over");
    refused(&folder, &["resume", "--rehearse"], 2, "no run has stopped");
    let live = folder.run(&["resume"]).exits(2);
    assert!(!live.err.contains("practice in a simulated estate"), "{}", live.err);
}

/// Waits for a question, and holds that its heading and the row above its prompt say that it is practice.
#[track_caller]
fn asked_in_practice(person: &mut Person<'_>, heading: &str, prompt: &str) {
    person.asked_about(heading, prompt);
    let all = person.screen.all();
    let asked = all.lines().rfind(|row| row.contains(heading)).expect("it was seen");
    assert!(asked.contains(WORD), "{heading}:\n{all}");
    let above = all.lines().rev().nth(1).expect("a row above the prompt");
    assert!(above.starts_with(WORD), "above the prompt of {heading}: `{above}`\n{all}");
}

#[test]
fn every_question_of_a_rehearsal_says_that_it_is_one() {
    let folder = Folder::new();
    let arguments = [&FAILOVER[..], &["--speed=max", DENIED]].concat();
    let mut person = folder.at_terminal(&arguments);
    asked_in_practice(&mut person, "REHEARSAL · estate phoenix-rehearsal", GO);
    person.types("m").sees("REHEARSAL, not an incident: We are investigating an outage").asked(GO);
    for (page, said) in [
        ("d", "REHEARSAL · estate phoenix-rehearsal"),
        ("c", "# REHEARSAL: in a shell these act on the LIVE estate"),
    ] {
        let before = person.screen.all().matches(said).count();
        person.types(page);
        person.until("the page", |person| person.screen.all().matches(said).count() > before);
        // The rest of a page is skipped.
        person.until("a prompt", |person| {
            let row = person.screen.at_cursor();
            row.starts_with(GO) || row.ends_with("goes back:")
        });
        if !person.screen.at_cursor().starts_with(GO) {
            person.types("q");
        }
        person.asked(GO);
    }
    person.types("y");
    asked_in_practice(&mut person, "? Choose the recovery point", "Which?");
    person.types("1");
    asked_in_practice(&mut person, "? Cannot be done: Fence the old primary", "Type unfenced");
    person.types("unfenced");
    asked_in_practice(&mut person, "? Bring the database up", "Type us-west-2");
    person.types("us-west-2");
    asked_in_practice(&mut person, "? Failed: Bring the database up in us-west-2", "[");
    person.types("n");
    let left = person.exits(13);
    assert!(left.all.trim_end().lines().next_back().is_some_and(|row| row.contains(WORD)));
    // Only commands are wider than the screen, and each of those is for pasting.
    let programs = ["$", "aws ", "kubectl ", "psql "];
    let allowed =
        |row: &&String| programs.iter().any(|program| row.trim_start().starts_with(program));
    let long: Vec<&String> = left.ran_over.iter().filter(|row| !allowed(row)).collect();
    assert!(long.is_empty(), "rows that are too long: {long:#?}");

    let run = name_of(&folder);
    let mut person = folder.at_terminal(&["rollback", &run, "--rehearse", "--speed=max"]);
    person.asked_about("? Roll back?", "Roll back?");
    assert!(person.screen.at_cursor().contains(WORD), "{}", person.screen.all());
    person.types("n");
    person.exits(13);
}
