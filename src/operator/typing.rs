//! One typed line, read a key at a time through dialoguer's terminal. Blocks.
//!
//! Not dialoguer's own `Input`: it loses its place on the screen once a line is longer than a row, as reasons and
//! evidence are, knows no end of file, and draws beside the one object that prints.

use std::io;

use dialoguer::console::{Key, Term};

use crate::report::prompt::Edit;
use crate::report::terminal::Terminal;

/// Reads a line. An interrupt, an end of file and a terminal that is gone are errors, never an empty line.
pub(super) fn line(terminal: &Terminal, prompt: &str) -> io::Result<String> {
    let term = Term::stderr();
    let id = terminal.prompt(prompt);
    let mut empty = true;
    let ended = loop {
        let edit = match term.read_key() {
            Err(error) => break Err(error),
            Ok(Key::Enter) => break Ok(()),
            // Ctrl-D on an empty line is how a person says that there is no more; Ctrl-U and Ctrl-W as in a shell.
            Ok(Key::Char('\u{4}')) if empty => break Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(Key::Char('\u{15}')) => Edit::TakeBackAll,
            Ok(Key::Char('\u{17}')) => Edit::TakeBackWord,
            Ok(Key::Backspace) => Edit::TakeBack,
            Ok(Key::Char(c)) if !c.is_control() => Edit::Add(c),
            Ok(_) => continue,
        };
        empty = terminal.edit(id, edit);
    };
    let typed = terminal.typed(id);
    ended?;
    typed.ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "the question was given up"))
}
