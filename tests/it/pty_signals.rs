//! Signals at a terminal: the first lets steps reach a safe point, the second does not wait, a hang-up stops nothing.

use rustix::process::Signal;

use super::harness::{Folder, of_step};
use super::person::Person;
use super::pty::{GO, RUN, YES_NO, folder, is_there, leaves_file};

/// A step that goes on until there is a file `release`, then one that asks.
fn slow_then_asking() -> String {
    format!(
        "  - id: one
    title: Wait to be released
    action: command.run
    retry: {{ attempts: 1 }}
    usually: 2s
    with:
      argv: [sh, -c, 'while ! test -e DIR/release; do sleep 0.05; done; echo x >> DIR/one']
      undo: [rm, -f, DIR/one]
      done_when: [test, -e, DIR/one]
    verify: {{ none: the program says so }}
{}",
        leaves_file("two", "    approve: each\n")
    )
}

fn running(folder: &Folder) -> Person<'_> {
    let mut person = folder.at_terminal(&RUN);
    person.asked(GO).types("y");
    person.records("step_started", "one").sees("running, 1 left");
    person
}

/// Takes the run up again, answers what it asks, and holds that everything was done once.
fn resumes_and_ends(folder: &Folder) {
    let mut person = folder.at_terminal(&["resume"]);
    person.asked_about("? Leave the file two", YES_NO).types("y");
    person.exits(0);
    for name in ["one", "two"] {
        let text = std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        assert_eq!(text, "x\n", "{name}");
    }
}

#[test]
fn the_first_interrupt_lets_what_runs_reach_a_safe_point() {
    for terminate in [false, true] {
        let folder = folder(&slow_then_asking());
        let mut person = running(&folder);
        if terminate {
            person.signal(Signal::TERM);
        } else {
            person.control('c');
        }
        person.sees("nothing new starts. one comes");
        person.sees("STOPPING");
        folder.write("release", "");
        let left = person.exits(13).shows("phoenix-dr resume");
        assert!(left.all.contains("interrupted (exit 13)"), "{}", left.all);
        assert!(is_there(&folder, "one") && !is_there(&folder, "two"));
        resumes_and_ends(&folder);
    }
}

#[test]
fn the_second_interrupt_waits_for_nothing_and_the_effect_is_unknown() {
    let folder = folder(&slow_then_asking());
    let mut person = running(&folder);
    person.control('c').sees("nothing new starts").control('c');
    person.exits(130).shows("phoenix-dr resume");
    let (_, events) = folder.journals().remove(0);
    let ended = of_step(&events, "attempt_finished", "one");
    assert_eq!(ended[0]["result"]["error"]["effect"], "unknown", "{ended:?}");
    assert!(!is_there(&folder, "one"));
    folder.write("release", "");
    resumes_and_ends(&folder);
    let (_, events) = folder.journals().remove(0);
    assert_eq!(of_step(&events, "probed", "one").len(), 1, "what is in doubt is looked at");
}

#[test]
fn a_signal_gives_an_open_question_up_and_the_terminal_back() {
    let steps = leaves_file("two", "    approve: each\n");
    for at_go in [true, false] {
        let folder = folder(&steps);
        let mut person = folder.at_terminal(&RUN);
        person.asked(GO);
        if !at_go {
            person.types("y").asked_about("? Leave the file two", YES_NO);
        }
        person.keys("half an ans").signal(Signal::TERM);
        person.exits(13).shows("interrupted (exit 13)").shows("phoenix-dr resume");
        assert!(!is_there(&folder, "two"));
        let mut person = folder.at_terminal(&["resume"]);
        if at_go {
            person.asked(GO).types("y");
        }
        person.asked_about("? Leave the file two", YES_NO).types("y");
        person.exits(0);
    }
}

#[test]
fn a_session_that_drops_stops_nothing_but_the_next_question() {
    let folder = folder(&slow_then_asking());
    let mut person = running(&folder);
    person.leaves();
    folder.write("release", "");
    person.exits(13);
    assert!(is_there(&folder, "one") && !is_there(&folder, "two"));
    let (_, events) = folder.journals().remove(0);
    let nobody = events.iter().any(|event| event["answer"]["kind"] == "nobody");
    assert!(nobody, "the question found nobody: {events:#?}");
    resumes_and_ends(&folder);
}

#[test]
fn a_hang_up_with_the_terminal_still_there_is_one_too() {
    let folder = folder(&slow_then_asking());
    let mut person = running(&folder);
    person.signal(Signal::HUP);
    folder.write("release", "");
    person.exits(13).shows("the terminal was closed");
    assert!(is_there(&folder, "one") && !is_there(&folder, "two"));
    resumes_and_ends(&folder);
}
