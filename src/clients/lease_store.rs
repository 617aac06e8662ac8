//! One object of the state bucket, a lease or facts: read it, or write it on a condition. Nothing else is ever asked
//! of the bucket.
//!
//! S3 decides races: a write with `If-None-Match: *` or `If-Match` is done by one of several writers. What an
//! answer says of the write is sorted here; what follows from it is `journal::lease`'s business.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use futures::future::BoxFuture;

use super::guard::refusal;
use crate::clock::{Clock, within};

/// How long one call may take; a lease lives a minute.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// Longest lease read.
const LEASE_MAX: i64 = 64 * 1024;
/// Longest object with facts read.
const FACTS_MAX: i64 = 8 * 1024 * 1024;

/// Returns an S3 client of the bucket's region with credentials that are valid now, or why there is none.
pub(crate) type S3Source =
    Arc<dyn Fn() -> BoxFuture<'static, Result<Client, String>> + Send + Sync>;

/// One object in a bucket.
#[derive(Clone)]
pub(crate) struct LeaseStore {
    place: String,
    kind: Kind,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
enum Kind {
    S3 {
        client: S3Source,
        bucket: String,
        key: String,
        longest: i64,
    },
    #[cfg(test)]
    Fake(fake::Bucket),
}

/// What an object holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Names this version of it
    pub etag: String,
    pub body: Vec<u8>,
}

/// On what condition an object is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It is not there
    Absent,
    /// It is this version still
    Unchanged { etag: String },
}

/// Why an object could not be read, as it is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GetError {
    /// There is no such bucket, so nobody keeps anything in it
    #[error("{0}")]
    NoBucket(String),
    /// Nobody knows what is there
    #[error("{0}")]
    Failed(String),
}

impl From<GetError> for String {
    fn from(error: GetError) -> Self {
        error.to_string()
    }
}

impl From<String> for GetError {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

/// Why an object was not written, or perhaps was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PutError {
    /// The condition does not hold; nothing was written
    NotMet,
    /// Another conditional write was under way; nothing was written, and the same call may succeed
    Conflict,
    /// Nothing was written, and the same call cannot succeed
    Refused(String),
    /// Nobody knows whether it was written
    Unknown(String),
}

impl LeaseStore {
    /// Returns the store of an object in S3.
    pub(crate) fn s3(client: S3Source, bucket: &str, key: &str, clock: Arc<dyn Clock>) -> Self {
        let place = format!("s3://{bucket}/{key}");
        let (bucket, key, longest) = (bucket.to_owned(), key.to_owned(), LEASE_MAX);
        Self { place, kind: Kind::S3 { client, bucket, key, longest }, clock }
    }

    /// Allows for more than a lease takes: facts are kept beside it.
    #[must_use]
    pub(crate) fn for_facts(mut self) -> Self {
        match &mut self.kind {
            Kind::S3 { longest, .. } => *longest = FACTS_MAX,
            #[cfg(test)]
            Kind::Fake(_) => {}
        }
        self
    }

    /// Returns a store over a bucket in memory.
    #[cfg(test)]
    pub(crate) fn fake(bucket: &fake::Bucket, clock: Arc<dyn Clock>) -> Self {
        Self { place: "s3://fake/lease.json".to_owned(), kind: Kind::Fake(bucket.clone()), clock }
    }

    /// Returns where the object is, for people.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Reads the object; `None` when it is not there.
    pub(crate) async fn get(&self) -> Result<Option<Found>, GetError> {
        let call = async {
            match &self.kind {
                Kind::S3 { client, bucket, key, longest } => {
                    get(&client().await?, bucket, key, *longest).await
                }
                #[cfg(test)]
                Kind::Fake(bucket) => bucket.get().await.map_err(GetError::Failed),
            }
        };
        let answer = within(&*self.clock, CALL_LIMIT, call).await;
        let answer = answer.map_err(|elapsed| GetError::Failed(elapsed.to_string()));
        answer.and_then(|answer| answer).map_err(|error| {
            let said = |why| format!("read {}: {why}", self.place);
            match error {
                GetError::NoBucket(why) => GetError::NoBucket(said(why)),
                GetError::Failed(why) => GetError::Failed(said(why)),
            }
        })
    }

    /// Writes the object if the condition holds; returns its new version.
    pub(crate) async fn put(
        &self,
        condition: &Condition,
        body: Vec<u8>,
    ) -> Result<String, PutError> {
        let call = async {
            match &self.kind {
                Kind::S3 { client, bucket, key, .. } => {
                    let client = client().await.map_err(PutError::Refused)?;
                    put(&client, bucket, key, condition, body).await
                }
                #[cfg(test)]
                Kind::Fake(bucket) => bucket.put(condition, body).await,
            }
        };
        let answer = within(&*self.clock, CALL_LIMIT, call).await;
        let answer = answer.unwrap_or_else(|elapsed| Err(PutError::Unknown(elapsed.to_string())));
        answer.map_err(|error| match error {
            PutError::NotMet | PutError::Conflict => error,
            PutError::Refused(why) => PutError::Refused(format!("write {}: {why}", self.place)),
            PutError::Unknown(why) => PutError::Unknown(format!("write {}: {why}", self.place)),
        })
    }
}

async fn get(
    client: &Client,
    bucket: &str,
    key: &str,
    longest: i64,
) -> Result<Option<Found>, GetError> {
    let answer = match client.get_object().bucket(bucket).key(key).send().await {
        Ok(answer) => answer,
        Err(error) if code(&error) == Some("NoSuchKey") => return Ok(None),
        Err(error) if code(&error) == Some("NoSuchBucket") => {
            return Err(GetError::NoBucket(no_bucket(bucket)));
        }
        Err(error) if status(&error) == Some(403) => {
            let said = said(&error);
            return Err(GetError::Failed(format!(
                "{said}; s3:GetObject is needed, and s3:ListBucket to tell a missing object from a forbidden one"
            )));
        }
        Err(error) => return Err(said(&error).into()),
    };
    if answer.content_length().is_some_and(|length| length > longest) {
        let said = format!("it is longer than {longest} bytes and cannot be what is kept here");
        return Err(GetError::Failed(said));
    }
    let Some(etag) = answer.e_tag().map(str::to_owned) else {
        return Err(GetError::Failed("the answer has no ETag".to_owned()));
    };
    let body = answer.body.collect().await.map_err(|error| chain(&error))?;
    Ok(Some(Found { etag, body: body.to_vec() }))
}

async fn put(
    client: &Client,
    bucket: &str,
    key: &str,
    condition: &Condition,
    body: Vec<u8>,
) -> Result<String, PutError> {
    let call = client.put_object().bucket(bucket).key(key).content_type("application/json");
    let call = match condition {
        Condition::Absent => call.if_none_match("*"),
        Condition::Unchanged { etag } => call.if_match(etag),
    };
    match call.body(ByteStream::from(body)).send().await {
        Ok(answer) => match answer.e_tag() {
            Some(etag) => Ok(etag.to_owned()),
            None => Err(PutError::Unknown("the answer has no ETag".to_owned())),
        },
        Err(error) if code(&error) == Some("NoSuchBucket") => {
            Err(PutError::Refused(no_bucket(bucket)))
        }
        Err(error) => Err(put_error(&error)),
    }
}

fn put_error<E>(error: &SdkError<E, HttpResponse>) -> PutError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if let Some(refused) = refusal(error) {
        return PutError::Refused(refused.to_string());
    }
    match (error, status(error)) {
        (SdkError::ServiceError(_), Some(412)) => PutError::NotMet,
        // `If-Match` on an object that is gone.
        (SdkError::ServiceError(_), Some(404)) if code(error) == Some("NoSuchKey") => {
            PutError::NotMet
        }
        (SdkError::ServiceError(_), Some(409)) => PutError::Conflict,
        // Throttled before anything was done.
        (SdkError::ServiceError(_), Some(429)) => PutError::Conflict,
        (SdkError::ServiceError(_), Some(status))
            if (400..500).contains(&status) && status != 408 =>
        {
            PutError::Refused(said(error))
        }
        (SdkError::ConstructionFailure(_), _) => PutError::Refused(said(error)),
        _ => PutError::Unknown(said(error)),
    }
}

fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// Says that the estate names a bucket that is none: nobody holds a lock there, and nobody can be asked about it.
fn no_bucket(bucket: &str) -> String {
    format!("bucket `{bucket}` does not exist; correct `state.s3.bucket` in the estate file")
}

/// Returns an error in the service's own words, where it said any.
fn said<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let service = error.as_service_error().and_then(|service| {
        let code = service.code()?;
        Some(match service.message() {
            Some(message) => format!("{code}: {message}"),
            None => code.to_owned(),
        })
    });
    service.unwrap_or_else(|| chain(error))
}

/// Returns an error with its sources in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
pub(crate) mod fake {
    //! A bucket in memory with one object, S3's rules for conditions, and faults.

    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex, PoisonError};

    use futures::future::BoxFuture;

    use super::{Condition, Found, PutError};

    /// What the next call meets.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Fault {
        None,
        /// The request does not arrive
        Unreachable,
        /// It arrives and is carried out, and the answer is lost
        AnswerLost,
        /// It arrives, and no answer ever comes
        Hang,
        /// Another conditional write is under way
        Conflict,
        Denied,
    }

    /// The bucket; clones share it.
    #[derive(Clone, Default)]
    pub(crate) struct Bucket(Arc<Mutex<State>>);

    #[derive(Default)]
    struct State {
        object: Option<Found>,
        versions: u64,
        faults: VecDeque<Fault>,
        /// What another process does right before the next write arrives
        before_put: Option<BoxFuture<'static, ()>>,
        puts: u32,
    }

    impl Bucket {
        fn state(&self) -> std::sync::MutexGuard<'_, State> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        /// Sets what the next calls meet, reads and writes alike.
        pub(crate) fn fault(&self, faults: &[Fault]) {
            self.state().faults = faults.iter().copied().collect();
        }

        /// Lets another process act between the next read and its write.
        pub(crate) fn before_put(&self, act: BoxFuture<'static, ()>) {
            self.state().before_put = Some(act);
        }

        /// Writes whatever is there.
        pub(crate) fn set(&self, body: Option<Vec<u8>>) {
            let mut state = self.state();
            state.versions += 1;
            let etag = format!("\"{}\"", state.versions);
            state.object = body.map(|body| Found { etag, body });
        }

        /// Returns what is there.
        pub(crate) fn body(&self) -> Option<Vec<u8>> {
            self.state().object.as_ref().map(|found| found.body.clone())
        }

        /// Returns how many writes have been carried out.
        pub(crate) fn puts(&self) -> u32 {
            self.state().puts
        }

        pub(super) async fn get(&self) -> Result<Option<Found>, String> {
            let fault = self.state().faults.pop_front().unwrap_or(Fault::None);
            match fault {
                Fault::None | Fault::Conflict => Ok(self.state().object.clone()),
                Fault::Unreachable | Fault::AnswerLost => Err("connection reset".to_owned()),
                Fault::Hang => std::future::pending().await,
                Fault::Denied => Err("AccessDenied".to_owned()),
            }
        }

        pub(super) async fn put(
            &self,
            condition: &Condition,
            body: Vec<u8>,
        ) -> Result<String, PutError> {
            let (fault, act) = {
                let mut state = self.state();
                (state.faults.pop_front().unwrap_or(Fault::None), state.before_put.take())
            };
            if let Some(act) = act {
                act.await;
            }
            match fault {
                Fault::None => self.carry_out(condition, body),
                Fault::Unreachable => Err(PutError::Unknown("connection reset".to_owned())),
                Fault::AnswerLost => {
                    drop(self.carry_out(condition, body));
                    Err(PutError::Unknown("connection reset".to_owned()))
                }
                Fault::Hang => {
                    drop(self.carry_out(condition, body));
                    std::future::pending().await
                }
                Fault::Conflict => Err(PutError::Conflict),
                Fault::Denied => Err(PutError::Refused("AccessDenied".to_owned())),
            }
        }

        fn carry_out(&self, condition: &Condition, body: Vec<u8>) -> Result<String, PutError> {
            let mut state = self.state();
            let holds = match (condition, &state.object) {
                (Condition::Absent, None) => true,
                (Condition::Unchanged { etag }, Some(found)) => *etag == found.etag,
                (Condition::Absent, Some(_)) | (Condition::Unchanged { .. }, None) => false,
            };
            if !holds {
                return Err(PutError::NotMet);
            }
            state.versions += 1;
            state.puts += 1;
            let etag = format!("\"{}\"", state.versions);
            state.object = Some(Found { etag: etag.clone(), body });
            Ok(etag)
        }
    }
}

#[cfg(test)]
#[path = "lease_store_tests.rs"]
mod tests;
