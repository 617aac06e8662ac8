//! `completions` and `man`: generated from the same definitions as the command line.

use super::context::Context;
use crate::cli;
use crate::error::UserError;
use crate::exit::Exit;

/// Prints a shell's completion script.
pub(super) fn script(context: &Context, shell: clap_complete::Shell) -> Result<Exit, UserError> {
    let script = cli::completions(shell, &context.known);
    context.terminal.out(String::from_utf8_lossy(&script).trim_end());
    Ok(Exit::Ok)
}

/// Prints the manual page.
pub(super) fn manual(context: &Context) -> Result<Exit, UserError> {
    let page = cli::manual(&context.known).map_err(|error| {
        UserError::new(Exit::Internal, format!("write the manual page: {error}"))
    })?;
    context.terminal.out(String::from_utf8_lossy(&page).trim_end());
    Ok(Exit::Ok)
}
