//! The simulated services, asked by the real clients in virtual time.

mod again;
mod aurora;
mod dns;
mod front;
mod identity;
mod rds;
mod s3;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::clock::Clock as _;
use crate::sandbox::tests::{Scene, phoenix};
use crate::sandbox::world::{World, WorldObject};

/// Returns the code of a refusal.
fn code<T, E: ProvideErrorMetadata>(answer: Result<T, SdkError<E, HttpResponse>>) -> String {
    let error = answer.err().expect("it is refused");
    error.code().unwrap_or("no code").to_owned()
}

/// Returns the words of a refusal.
fn words<T, E: ProvideErrorMetadata>(answer: Result<T, SdkError<E, HttpResponse>>) -> String {
    let error = answer.err().expect("it is refused");
    error.message().unwrap_or_default().to_owned()
}

/// Returns the shipped world with both regions up, and these objects besides.
fn lit(more: &str) -> World {
    let mut world = phoenix();
    world.faults.clear();
    world.objects.extend(objects(more));
    world
}

fn objects(text: &str) -> Vec<WorldObject> {
    serde_json::from_str(text).expect("objects")
}
