//! A person at a terminal of 80x24: reads the screen, types, interrupts, closes the window.
//!
//! Nothing here waits for a time: a test goes on when something is on the screen or in the journal, and fails when it
//! does not come within [`PATIENCE`].

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use serde_json::Value;

use super::harness::{BINARY, Folder};
use super::screen::Screen;

/// What has not come within this will not come.
const PATIENCE: Duration = Duration::from_secs(180);

/// The program, and the terminal it runs in.
pub(crate) struct Person<'a> {
    folder: &'a Folder,
    /// `None`: the window was closed
    window: Option<File>,
    /// The program's end of the terminal, to look at its modes
    terminal: OwnedFd,
    modes: Termios,
    child: Child,
    pub(crate) screen: Screen,
}

impl Folder {
    /// Starts the program as the only one of a terminal's session.
    pub(crate) fn at_terminal(&self, arguments: &[&str]) -> Person<'_> {
        self.at_terminal_of(arguments, 80)
    }

    pub(crate) fn at_terminal_of(&self, arguments: &[&str], columns: u16) -> Person<'_> {
        let (window, terminal) = pseudo_terminal(columns);
        let end = || terminal.try_clone().expect("one more of it");
        // Makes the terminal the one that signals and hang-ups come from.
        let mut command = Command::new("setsid");
        command.args(["--ctty", BINARY]).args(arguments);
        command.current_dir(self.path()).env_clear().envs(&self.environment);
        command.env("TERM", "xterm-256color");
        command.stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().expect("start the program");
        Person {
            folder: self,
            window: Some(window),
            modes: tcgetattr(&terminal).expect("modes"),
            terminal,
            child,
            screen: Screen::new(usize::from(columns), 24),
        }
    }
}

/// Returns both ends of a terminal. No program started meanwhile inherits them, or closing them would mean nothing.
fn pseudo_terminal(columns: u16) -> (File, OwnedFd) {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let window = posix_openpt(flags).expect("a pseudo-terminal");
    grantpt(&window).expect("it is ours");
    unlockpt(&window).expect("it is open to all");
    let name = ptsname_r(&window).expect("the name of its other end");
    let flags = OFlag::O_NOCTTY.bits();
    let terminal = OpenOptions::new().read(true).write(true).custom_flags(flags).open(name);
    let terminal = OwnedFd::from(terminal.expect("its other end"));
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal, size).expect("its size");
    (File::from(OwnedFd::from(window)), terminal)
}

impl Person<'_> {
    /// Reads what there is, waiting a moment if there is nothing yet. Says whether there was something.
    fn read(&mut self) -> bool {
        let moment = PollTimeout::from(20_u8);
        let Some(window) = &mut self.window else {
            poll(&mut [], moment).expect("wait for the program");
            return false;
        };
        let mut ready = [PollFd::new(window.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, moment).expect("wait for the program") == 0 {
            return false;
        }
        let mut bytes = [0; 4096];
        match window.read(&mut bytes) {
            Ok(count) => self.screen.feed(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("read the terminal: {error}"),
        }
        true
    }

    /// Reads until something is so.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, so: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !so(self) {
            let ended = self.child.try_wait().expect("look at the program");
            let more = self.read();
            assert!(
                began.elapsed() < PATIENCE && (ended.is_none() || more),
                "{what} does not come; {}. Everything shown:\n{}\nJournal:\n{:#?}",
                ended.map_or("it still runs".to_owned(), |status| format!("it ended: {status}")),
                self.screen.all(),
                self.kinds(),
            );
        }
    }

    /// Waits until a text is on the screen, or was.
    #[track_caller]
    pub(crate) fn sees(&mut self, text: &str) -> &mut Self {
        self.until(&format!("`{text}`"), |person| person.screen.all().contains(text));
        self
    }

    /// Waits for a prompt: the row of the cursor begins so.
    #[track_caller]
    pub(crate) fn asked(&mut self, prompt: &str) -> &mut Self {
        self.until(&format!("the prompt `{prompt}`"), |person| {
            person.screen.at_cursor().starts_with(prompt)
        });
        self
    }

    /// Waits for a question by its heading, then for its prompt.
    #[track_caller]
    pub(crate) fn asked_about(&mut self, heading: &str, prompt: &str) -> &mut Self {
        self.sees(heading);
        self.asked(prompt)
    }

    /// Types a line.
    pub(crate) fn types(&mut self, line: &str) -> &mut Self {
        self.keys(&format!("{line}\r"))
    }

    /// Presses keys.
    pub(crate) fn keys(&mut self, keys: &str) -> &mut Self {
        let window = self.window.as_mut().expect("the window is open");
        window.write_all(keys.as_bytes()).expect("type");
        self
    }

    /// Presses Ctrl and a letter.
    pub(crate) fn control(&mut self, letter: char) -> &mut Self {
        let key = char::from(letter.to_ascii_lowercase() as u8 & 0x1f);
        self.keys(&key.to_string())
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> &mut Self {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("the program is there");
        self
    }

    /// Closes the window, as a session that drops does.
    pub(crate) fn leaves(&mut self) {
        self.window = None;
    }

    /// Returns the events of the newest run.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.folder.journals().into_iter().next().map(|(_, events)| events).unwrap_or_default()
    }

    fn kinds(&self) -> Vec<String> {
        let events = self.events();
        events.iter().map(|event| format!("{} {}", event["kind"], event["step"])).collect()
    }

    /// Waits until the journal has an event of a kind about a step.
    #[track_caller]
    pub(crate) fn records(&mut self, kind: &str, step: &str) -> &mut Self {
        self.until(&format!("the record {kind} {step}"), |person| {
            let events = person.events();
            events.iter().any(|event| event["kind"] == kind && event["step"] == step)
        });
        self
    }

    /// Waits for the end and holds the exit code; and that the terminal is left as it was found.
    #[track_caller]
    pub(crate) fn exits(mut self, code: i32) -> Left {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("look at the program") {
                break status;
            }
            self.read();
            assert!(began.elapsed() < PATIENCE, "it does not end:\n{}", self.screen.all());
        };
        let there = self.window.is_some();
        while self.read() {}
        let all = self.screen.all();
        assert_eq!(status.code(), Some(code), "{status}\n{all}");
        if there {
            assert_eq!(modes(&self.modes), modes(&tcgetattr(&self.terminal).expect("modes")));
            assert!(self.screen.cursor_shown, "the cursor is hidden");
            assert!(self.screen.at_rest(), "a shell's prompt would not begin a row:\n{all}");
            let bar =
                |row: &str| row.contains(" [=") || row.contains(" [>") || row.contains("[   ");
            assert!(!all.lines().any(bar), "a bar was left behind:\n{all}");
        }
        Left { all, ran_over: std::mem::take(&mut self.screen.ran_over) }
    }
}

impl Drop for Person<'_> {
    fn drop(&mut self) {
        // A test that failed leaves nothing running.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

fn modes(of: &Termios) -> String {
    format!(
        "{:?} {:?} {:?} {:?}",
        of.input_modes, of.output_modes, of.control_modes, of.local_modes
    )
}

/// What is left on the screen when the program has ended.
pub(crate) struct Left {
    pub(crate) all: String,
    pub(crate) ran_over: Vec<String>,
}

impl Left {
    /// Holds that something was shown and not taken off again.
    #[track_caller]
    pub(crate) fn shows(self, part: &str) -> Self {
        assert!(self.all.contains(part), "`{part}` is not in:\n{}", self.all);
        self
    }
}
