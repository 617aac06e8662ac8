//! The inner half of a confined program of a rehearsal; nobody types it.

use std::ffi::OsString;

use crate::clients::confined::inside::become_program;
use crate::exit::Exit;
use crate::mask::Masker;
use crate::report::terminal::{ColorChoice, Look, Terminal, Tone, Volume};

/// Becomes the program, or says why it cannot.
pub(super) fn run(ways: usize, argv: &[OsString]) -> Exit {
    let Err(why) = become_program(ways, argv);
    let look = Look::detect(ColorChoice::Never, Volume::Normal, true);
    Terminal::new(look, Masker::default()).loud(Tone::Plain, &why);
    Exit::Internal
}
