//! The real prompt on a real pseudo-terminal: this test binary runs itself as the person's program.

use std::env;
use std::io::Write;
use std::process::Command;

use rexpect::session::{PtySession, spawn_command};
use rustix::termios::LocalModes;

use super::*;
use crate::clock::RealClock;
use crate::event::{AnswerForm, QuestionKey};
use crate::report::fixtures::question;
use crate::report::mask::Masker;
use crate::report::terminal::Look;

/// Names the question the child asks.
const ROLE: &str = "PHOENIX_DR_TEST_ASKS";

/// A prompt that does not come within this is a failure, not a matter of speed.
const PATIENCE_MS: u64 = 60_000;

fn operator() -> TerminalOperator {
    let terminal = Terminal::new(Look::default(), Masker::default());
    TerminalOperator::new(terminal, Arc::new(RealClock), None)
}

/// The child: asks one question and says what came of it. Does nothing unless it is told to by its environment.
#[test]
fn child() {
    let Ok(role) = env::var(ROLE) else { return };
    // The pseudo-terminal of the tests starts without echo, a person's does not.
    let mut modes = tcgetattr(stdin()).ok();
    if let Some(modes) = &mut modes {
        modes.local_modes |= LocalModes::ECHO;
        tcsetattr(stdin(), OptionalActions::Now, modes).expect("echo");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("runtime");
    let said = runtime.block_on(async {
        // As the real program does: a handler, so that Ctrl-C does not end the process.
        tokio::spawn(async {
            loop {
                drop(tokio::signal::ctrl_c().await);
            }
        });
        tokio::task::yield_now().await;
        let word = AnswerForm::Type { word: "us-west-2".to_owned() };
        match role.as_str() {
            "yes-no" => format!("{:?}", operator().ask(&go(AnswerForm::YesNo)).await),
            "word" => format!("{:?}", operator().ask(&go(word)).await),
            "given-up" => {
                writeln!(io::stderr(), "PID {} ", std::process::id()).expect("stderr");
                let operator = operator();
                let asked = go(AnswerForm::YesNo);
                tokio::select! {
                    // Dropped with its prompt open, as when a signal stops the run.
                    answer = operator.ask(&asked) => format!("{answer:?}"),
                    () = keystroke() => "given up".to_owned(),
                }
            }
            _ => {
                use secrecy::ExposeSecret;
                let secret = operator().secret("Password:").await;
                format!("{:?}", secret.map(|secret| secret.expose_secret().len()))
            }
        }
    });
    restore();
    let mut err = io::stderr();
    writeln!(err, "ANSWER {said} USUAL {}", usual()).expect("stderr");
    // The prompt's thread may still wait for a key.
    runtime.shutdown_background();
}

/// Waits for the parent's signal that the prompt is there.
async fn keystroke() {
    let kind = tokio::signal::unix::SignalKind::user_defined1();
    if let Ok(mut signal) = tokio::signal::unix::signal(kind) {
        signal.recv().await;
    }
}

/// Says whether the terminal reads lines and echoes them.
fn usual() -> bool {
    let modes = LocalModes::ECHO | LocalModes::ICANON;
    tcgetattr(stdin()).is_ok_and(|now| now.local_modes.contains(modes))
}

fn go(form: AnswerForm) -> Question {
    let mut go = question(QuestionKey::Go, form);
    go.lines = vec!["the screen".to_owned()];
    go.pages.insert('d', vec!["all the details".to_owned()]);
    go
}

fn asks(role: &str) -> PtySession {
    let mut command = Command::new(env::current_exe().expect("this binary"));
    command.args(["--exact", "operator::terminal::tests::child", "--nocapture"]);
    command.env(ROLE, role).env("TERM", "xterm");
    spawn_command(command, Some(PATIENCE_MS)).expect("a pseudo-terminal")
}

#[test]
fn yes_and_pages_at_a_terminal() {
    let mut person = asks("yes-no");
    person.exp_string("the screen").expect("the screen");
    person.exp_string("[y/n]").expect("the prompt");
    person.send_line("d").expect("typed");
    person.exp_string("all the details").expect("the page");
    person.send_line("").expect("typed");
    person.exp_string("nothing else counts").expect("no default");
    person.send_line("y").expect("typed");
    person.exp_string("ANSWER Yes USUAL true").expect("yes, and the terminal as before");
}

#[test]
fn three_wrong_words_are_no() {
    let mut person = asks("word");
    for left in ["2 tries left", "1 try left"] {
        person.exp_string("Type us-west-2").expect("the prompt");
        person.send_line("us-east-1").expect("typed");
        person.exp_string(left).expect("what was expected");
    }
    person.send_line("yes").expect("typed");
    person.exp_string("ANSWER No USUAL true").expect("no");
}

#[test]
fn an_interrupt_is_nobody() {
    let mut person = asks("yes-no");
    person.exp_string("[y/n]").expect("the prompt");
    person.send_control('c').expect("typed");
    person.exp_string(r#"ANSWER Nobody { why: "interrupted" } USUAL true"#).expect("nobody");
}

#[test]
fn a_question_given_up_leaves_the_terminal_as_it_was() {
    let mut person = asks("given-up");
    let (_, pid) = person.exp_regex(r"PID \d+ ").expect("its pid");
    let pid: i32 = pid.trim_start_matches("PID ").trim().parse().expect("a number");
    person.exp_string("[y/n]").expect("the prompt");
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::USR1).expect("the child is there");
    person.exp_string("ANSWER given up USUAL true").expect("given up");
}

#[test]
fn a_secret_is_not_echoed() {
    let mut person = asks("secret");
    person.exp_string("Password:").expect("the prompt");
    // A person takes longer to type than the prompt takes to switch the echo off.
    let terminal = person.process().get_file_handle().expect("the terminal");
    let echoes = || tcgetattr(&terminal).expect("modes").local_modes.contains(LocalModes::ECHO);
    while echoes() {
        std::thread::yield_now();
    }
    person.send_line("hunter2hunter2").expect("typed");
    let before = person.exp_string("ANSWER Some(14) USUAL true").expect("its length");
    assert!(!before.contains("hunter2"), "{before}");
}

#[test]
fn without_a_terminal_nobody_is_there() {
    let mut command = Command::new(env::current_exe().expect("this binary"));
    command.args(["--exact", "operator::terminal::tests::child", "--nocapture"]);
    command.env(ROLE, "yes-no").stdin(std::process::Stdio::null());
    let output = command.output().expect("the child");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("ANSWER Nobody"), "{said}");
    assert!(!said.contains("the screen"), "nothing is shown where nobody can answer: {said}");
}
