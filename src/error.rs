//! The error an operator sees: what kind it is (and so which exit code), what happened, and what to type next.

use std::fmt;

use crate::exit::Exit;

/// An error at the command line's edge.
#[derive(Debug)]
pub(crate) struct UserError {
    pub exit: Exit,
    /// What happened and where; several lines are printed as they are
    pub message: String,
    /// Next things to type or look at, one a line
    pub hints: Vec<String>,
}

impl UserError {
    /// Returns an error without hints.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hints: Vec::new() }
    }

    /// Joins an error that was found at the same time: each is told with its own hints.
    #[must_use]
    pub(crate) fn and(self, next: Self) -> Self {
        let hints: String = self.hints.iter().map(|hint| format!("\nhint: {hint}")).collect();
        let message = format!("{}{hints}\n\n{}", self.message, next.message);
        Self { exit: self.exit, message, hints: next.hints }
    }

    /// Adds a hint.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for UserError {}
