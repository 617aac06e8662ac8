//! Expressions: CEL, guarded, with every comparison typed and no doubt swallowed.
//!
//! Differences from plain CEL, all in the direction of an error instead of a guess: `==`, `!=` and `in` refuse
//! to compare different types, `&&` and `||` do not swallow an error of their other side, and a run of
//! comprehensions is bounded by rounds. Nothing here reads the world.

mod compile;
mod evaluate;
mod scope;
mod strict;
pub(crate) mod template;
#[cfg(test)]
mod tests;
mod text;

use std::ops::Range;

pub(crate) use compile::{Access, Expression, Reference};
pub(crate) use evaluate::{
    evaluate, evaluate_bool, evaluate_words, resolve_map, resolve_text, resolve_value,
};
pub(crate) use scope::Scope;
pub(crate) use text::{Part, Template, compile_cached, template_cached};

/// Longest expression, in characters.
pub(crate) const CHARACTERS_MAX: usize = 1_024;
/// Deepest nesting of brackets, and longest run of signs and negations.
pub(crate) const NESTING_MAX: usize = 64;
/// Most operators, so that neither parsing nor evaluation can exhaust a stack.
pub(crate) const OPERATORS_MAX: usize = 192;
/// Most rounds of all comprehensions of one evaluation together.
pub(crate) const ROUNDS_MAX: u32 = 100_000;

/// Why an expression cannot be read or has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} in `{expression}`")]
pub(crate) struct ExpressionError {
    pub expression: String,
    /// Bytes of the expression it is about, where they are known
    pub range: Option<Range<usize>>,
    pub message: String,
    pub help: Option<String>,
    /// Names that are missing from what the expression was evaluated over, e.g. `estate.database`
    pub missing: Option<String>,
}

impl ExpressionError {
    fn new(expression: &str, message: impl Into<String>) -> Self {
        Self {
            expression: expression.to_owned(),
            range: None,
            message: message.into(),
            help: None,
            missing: None,
        }
    }

    fn at(mut self, range: Range<usize>) -> Self {
        self.range = Some(range);
        self
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
