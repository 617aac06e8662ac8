//! What was answered: the part of it that is compared, without ids and instants.

use std::collections::BTreeMap;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use serde_json::{Value, json};

use super::recorded::{Asked, Named};

/// The answers of a side, each by the name of its step.
pub(super) struct Notes {
    pub(super) answers: BTreeMap<String, Value>,
    /// The operation each is an answer of, where it is one's
    pub(super) steps: BTreeMap<String, Named>,
    asked: Asked,
}

impl Notes {
    /// Begins with none; `asked` is what the side's clients ask.
    pub(super) fn of(asked: Asked) -> Self {
        Self { answers: BTreeMap::new(), steps: BTreeMap::new(), asked }
    }

    /// Notes what was answered; every step has a name of its own.
    pub(super) fn note(&mut self, step: &str, answer: Value) {
        let before = self.answers.insert(step.to_owned(), answer);
        assert!(before.is_none(), "there are two steps `{step}`");
        if let Some(operation) = self.asked.take() {
            self.steps.insert(step.to_owned(), operation);
        }
    }
}

/// Returns an answer by what of it is compared; an error by its code and status.
pub(super) fn told<T, E>(
    answer: &Result<T, SdkError<E, HttpResponse>>,
    show: impl FnOnce(&T) -> Value,
) -> Value
where
    E: ProvideErrorMetadata,
{
    match answer {
        Ok(answer) => show(answer),
        Err(SdkError::ServiceError(error)) => json!({
            "error": error.err().code().unwrap_or("no code"),
            "status": error.raw().status().as_u16(),
        }),
        Err(error) => {
            let status = error.raw_response().map(|raw| raw.status().as_u16());
            json!({ "error": "no answer that can be read", "status": status })
        }
    }
}

/// Returns an answer of which only its being there is compared.
pub(super) fn done<T, E>(answer: &Result<T, SdkError<E, HttpResponse>>) -> Value
where
    E: ProvideErrorMetadata,
{
    told(answer, |_| json!("done"))
}
