//! The human: a terminal, a script in their place, or a refusal.
//!
//! Owns how a question is put and how an answer is read. What an answer leads to is the engine's. No answer, an end of
//! file and a lost terminal are never "yes".

pub(crate) mod dialog;
pub(crate) mod needed;
pub(crate) mod refuse;
pub(crate) mod scripted;
pub(crate) mod secret;
pub(crate) mod terminal;
mod typing;

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::engine::ports::Operator;
use crate::event::{Answer, Mode, Question};
use refuse::Refusal;
use scripted::Given;

/// Answers from flags first, then by whoever is there.
pub(crate) struct Chain {
    given: Given,
    mode: Mode,
    then: Arc<dyn Operator>,
}

impl Chain {
    /// Returns flags before a person.
    pub(crate) fn before(given: Given, mode: Mode, person: Arc<dyn Operator>) -> Self {
        Self { given, mode, then: person }
    }

    /// Returns flags and nobody else: what they do not answer is refused, naming the flag.
    pub(crate) fn alone(given: Given, mode: Mode) -> Self {
        let then = Arc::new(Refusal { given: given.clone() });
        Self { given, mode, then }
    }
}

impl Operator for Chain {
    fn ask<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            match scripted::answer(&self.given, question, self.mode) {
                Some(answer) => answer,
                None => self.then.ask(question).await,
            }
        })
    }
}
