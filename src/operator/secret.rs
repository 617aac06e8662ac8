//! A secret typed at the terminal before there is a plan: asked for hidden, handed over and shown nowhere. Blocks.
//!
//! Keys are read as at every other question. dialoguer's `Password` cannot be used for it: an interrupt would end the
//! program with the terminal left mute, and at an end of file it asks for ever.

use std::io::{self, stdin};

use dialoguer::console::{Key, Term};
use rustix::termios::{QueueSelector, tcflush};
use secrecy::SecretString;

use super::terminal::{Restore, attended, in_foreground};
use crate::report::terminal::{Terminal, Tone};

/// Asks for a secret. An interrupt, an end of file and nobody at the terminal are errors, never an empty secret.
pub(crate) fn ask(terminal: &Terminal, lines: &[String], prompt: &str) -> io::Result<SecretString> {
    if !attended() || !in_foreground() {
        return Err(io::Error::new(io::ErrorKind::NotConnected, "nobody can be asked here"));
    }
    let open = terminal.question();
    let _restore = Restore::unseen();
    // What was typed before it was asked for was meant for something else.
    tcflush(stdin(), QueueSelector::IFlush).ok();
    for line in lines {
        open.line(Tone::Plain, line);
    }
    loop {
        let id = terminal.prompt(prompt);
        let typed = line();
        // Ends the row; nothing was ever put on it.
        drop(terminal.typed(id));
        let typed = typed?;
        if !typed.is_empty() {
            return Ok(SecretString::from(typed));
        }
        open.line(Tone::Warn, "nothing was typed; Ctrl-C gives it up");
    }
}

fn line() -> io::Result<String> {
    let term = Term::stderr();
    let mut typed = String::new();
    loop {
        match term.read_key_raw()? {
            Key::Enter => return Ok(typed),
            Key::CtrlC | Key::Char('\u{3}') => return Err(io::ErrorKind::Interrupted.into()),
            Key::Char('\u{4}') if typed.is_empty() => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Key::Char('\u{15}') => typed.clear(),
            Key::Backspace => drop(typed.pop()),
            Key::Char(c) if !c.is_control() => typed.push(c),
            _ => {}
        }
    }
}
