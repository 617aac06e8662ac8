//! Bodies in the shape the AWS CLI prints, and instants counted from the capture.

use aws_smithy_async::future::pagination_stream::PaginationStream;
use aws_smithy_types::DateTime;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::clock::since;
use crate::span::Span;

/// Most objects of a bucket, and record sets of a zone, that are taken; a world is not a backup. What is cut off is told.
pub(super) const ITEMS_MAX: usize = 10_000;

/// Longest past an instant may lie in: longer ones are written as this long.
const PAST_MAX: Span = Span::seconds(3_650 * 86_400);

/// The fields of an object.
#[derive(Debug, Default)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Sets a field, where there is a value.
    #[must_use]
    pub(super) fn set(mut self, name: &str, value: Option<impl Into<Value>>) -> Self {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
        self
    }

    /// Sets a field that is a list, where it is not empty.
    #[must_use]
    pub(super) fn list(self, name: &str, values: impl Iterator<Item = Value>) -> Self {
        let values: Vec<Value> = values.collect();
        self.set(name, Some(values).filter(|values| !values.is_empty()))
    }

    /// Leaves a field out.
    #[must_use]
    pub(super) fn without(mut self, name: &str) -> Self {
        self.0.remove(name);
        self
    }

    pub(super) fn done(self) -> Map<String, Value> {
        self.0
    }

    pub(super) fn value(self) -> Value {
        Value::Object(self.0)
    }
}

/// Returns an instant as worlds have it: counted from the beginning, which is the capture's own instant.
pub(super) fn counted(at: Timestamp, time: Option<&DateTime>) -> Option<String> {
    let time = Timestamp::from_second(time?.secs()).ok()?;
    Some(from(at, time))
}

/// Returns an instant counted from another.
pub(super) fn from(at: Timestamp, time: Timestamp) -> String {
    let (sign, length) = if time > at { ("+", since(at, time)) } else { ("-", since(time, at)) };
    let length = Span::seconds(length.as_secs()).min(PAST_MAX);
    if length.0.is_zero() { "now".to_owned() } else { format!("now{sign}{length}") }
}

/// Takes the items of a listing, over as many pages as there are.
pub(super) async fn all<T, E>(pages: PaginationStream<Result<T, E>>) -> Result<Vec<T>, E> {
    at_most(usize::MAX, pages).await
}

/// Takes so many items of a listing, or its pages.
pub(super) async fn at_most<T, E>(
    most: usize,
    mut pages: PaginationStream<Result<T, E>>,
) -> Result<Vec<T>, E> {
    let mut items = Vec::new();
    while let Some(item) = pages.next().await {
        items.push(item?);
        if items.len() >= most {
            break;
        }
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_counted_from_the_capture() {
        let at: Timestamp = "2026-11-22T02:18:00Z".parse().expect("an instant");
        let told = |text: &str| from(at, text.parse().expect("an instant"));
        assert_eq!(told("2026-11-22T02:17:53Z"), "now-7s");
        assert_eq!(told("2026-11-21T00:08:00Z"), "now-1d2h10m");
        assert_eq!(told("2026-11-22T02:18:00Z"), "now");
        assert_eq!(told("2026-11-22T03:18:00Z"), "now+1h");
        assert_eq!(told("1999-01-01T00:00:00Z"), "now-3650d", "what is old is old enough");
    }
}
