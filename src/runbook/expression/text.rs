//! Compiled texts, kept: a plan of thousands of steps says `${{ inputs.region }}` thousands of times.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use super::ExpressionError;
use super::compile::Expression;
use super::template::{self, Piece};

/// Texts kept per thread; beyond that, all are forgotten and compiled anew.
const KEPT_MAX: usize = 4_096;

/// A text with its expressions compiled.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub parts: Vec<Part>,
}

/// A part of a template.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    Literal(String),
    /// An expression, and the byte of the text it begins at
    Expression {
        expression: Arc<Expression>,
        at: usize,
    },
}

impl Template {
    /// Compiles a text.
    pub(crate) fn compile(text: &str) -> Result<Self, ExpressionError> {
        let pieces = template::split(text).map_err(|error| {
            ExpressionError::new(text, error.to_string()).at(error.at..error.at + 3)
        })?;
        let part = |piece: Piece<'_>| match piece {
            Piece::Literal(text) => Ok(Part::Literal(text.to_owned())),
            Piece::Expression { text, at } => {
                Ok(Part::Expression { expression: compile_cached(text)?, at })
            }
        };
        Ok(Self { parts: pieces.into_iter().map(part).collect::<Result<_, ExpressionError>>()? })
    }

    /// Returns the expression of a text that is one and nothing else: it keeps its type.
    pub(crate) fn whole(&self) -> Option<&Expression> {
        match self.parts.as_slice() {
            [Part::Expression { expression, .. }] => Some(expression),
            _ => None,
        }
    }

    /// Returns its expressions.
    pub(crate) fn expressions(&self) -> impl Iterator<Item = (&Expression, usize)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Expression { expression, at } => Some((expression.as_ref(), *at)),
        })
    }
}

thread_local! {
    static EXPRESSIONS: RefCell<HashMap<String, Arc<Expression>>> = RefCell::default();
    static TEMPLATES: RefCell<HashMap<String, Arc<Template>>> = RefCell::default();
}

/// Returns a text's expression, compiled now or before.
pub(crate) fn compile_cached(text: &str) -> Result<Arc<Expression>, ExpressionError> {
    if let Some(found) = EXPRESSIONS.with_borrow(|kept| kept.get(text).cloned()) {
        return Ok(found);
    }
    let compiled = Arc::new(Expression::compile(text)?);
    EXPRESSIONS.with_borrow_mut(|kept| keep(kept, text, &compiled));
    Ok(compiled)
}

/// Returns a text's template, compiled now or before.
pub(crate) fn template_cached(text: &str) -> Result<Arc<Template>, ExpressionError> {
    if let Some(found) = TEMPLATES.with_borrow(|kept| kept.get(text).cloned()) {
        return Ok(found);
    }
    let compiled = Arc::new(Template::compile(text)?);
    TEMPLATES.with_borrow_mut(|kept| keep(kept, text, &compiled));
    Ok(compiled)
}

fn keep<T>(kept: &mut HashMap<String, Arc<T>>, text: &str, compiled: &Arc<T>) {
    if kept.len() >= KEPT_MAX {
        kept.clear();
    }
    kept.insert(text.to_owned(), Arc::clone(compiled));
}
