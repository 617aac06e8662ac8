//! Objects are written: on conditions, and each request with the SHA-256 of what it sends.

use std::error::Error;
use std::path::Path;

use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use sha2::{Digest as _, Sha256};

use super::{DIGEST, Objects, WRITER, checksum, code, patient, status};
use crate::actions::postgres::manifest::hex;
use crate::clients::Clients;
use crate::clients::aws::error::Nature;
use crate::clients::aws::said;
use crate::outcome::{ActionError, Effect, FailureClass};

/// Names no version of anything.
const NO_VERSION: &str = "\"00000000000000000000000000000000\"";
/// What a probe is named, beside the files of a dump.
const PROBE: &str = ".phoenix-dr-may-write";

/// On what condition an object is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::actions::postgres) enum Condition {
    /// Whatever is there is replaced
    None,
    /// It is not there
    Absent,
    /// It is this version still
    Unchanged { etag: String },
}

impl Condition {
    /// Returns the headers `If-None-Match` and `If-Match`.
    pub(in crate::actions::postgres) fn headers(&self) -> (Option<String>, Option<String>) {
        match self {
            Self::None => (None, None),
            Self::Absent => (Some("*".to_owned()), None),
            Self::Unchanged { etag } => (None, Some(etag.clone())),
        }
    }
}

/// What came of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::actions::postgres) enum Written {
    Done,
    /// Its condition does not hold; nothing was written
    NotMet,
}

/// Where the bytes of a request come from.
#[derive(Debug, Clone, Copy)]
pub(in crate::actions::postgres) enum Source<'a> {
    Text(&'a [u8]),
    /// A piece of a file: where it begins, and its length
    File(&'a Path, u64, u64),
}

impl Source<'_> {
    /// Returns a stream that reads a file as it is sent.
    pub(in crate::actions::postgres) async fn stream(self) -> Result<ByteStream, ActionError> {
        let (path, offset, length) = match self {
            Self::Text(text) => return Ok(ByteStream::from(text.to_vec())),
            Self::File(path, offset, length) => (path, offset, length),
        };
        let piece = ByteStream::read_from().path(path).offset(offset);
        piece.length(Length::Exact(length)).build().await.map_err(|error| {
            let message = format!("read {}: {}", path.display(), said(&error));
            ActionError::unchanged(FailureClass::Invalid, message)
        })
    }

    fn length(self) -> i64 {
        let length = match self {
            Self::Text(text) => u64::try_from(text.len()).unwrap_or(u64::MAX),
            Self::File(_, _, length) => length,
        };
        i64::try_from(length).unwrap_or(i64::MAX)
    }
}

/// What an object is said to be by whoever writes it.
#[derive(Debug, Clone, Copy)]
pub(in crate::actions::postgres) struct Marks<'a> {
    /// SHA-256 of its content
    pub sha256: &'a str,
    /// The step that writes it
    pub writer: &'a str,
}

impl<'a> Marks<'a> {
    /// Returns them as the object's metadata.
    pub(in crate::actions::postgres) const fn metadata(self) -> [(&'static str, &'a str); 2] {
        [(DIGEST, self.sha256), (WRITER, self.writer)]
    }
}

impl Objects {
    /// Writes an object with one request.
    pub(in crate::actions::postgres) async fn put(
        &self,
        clients: &Clients,
        below: &str,
        (source, marks): (Source<'_>, Marks<'_>),
        condition: &Condition,
    ) -> Result<Written, ActionError> {
        let (aws, key) = (self.aws(clients).await?, self.at.key(below));
        let (absent, unchanged) = condition.headers();
        let mut asked = aws.s3.put_object().bucket(&self.at.bucket).key(key);
        for (name, value) in marks.metadata() {
            asked = asked.metadata(name, value);
        }
        let asked = asked
            .set_if_none_match(absent)
            .set_if_match(unchanged)
            .checksum_sha256(checksum(marks.sha256))
            .content_length(source.length())
            .body(source.stream().await?);
        let answer = asked.customize().config_override(patient()).send().await;
        self.written(answer.map(drop), "s3:PutObject")
    }

    /// Writes a small text.
    pub(in crate::actions::postgres) async fn put_text(
        &self,
        clients: &Clients,
        below: &str,
        (text, writer): (&[u8], &str),
        condition: &Condition,
    ) -> Result<Written, ActionError> {
        let sha256 = hex(&Sha256::digest(text));
        let marks = Marks { sha256: &sha256, writer };
        self.put(clients, below, (Source::Text(text), marks), condition).await
    }

    /// Has S3 say whether this identity may write below a place, by a write whose condition cannot hold: nothing is
    /// written, and who may not write is refused before S3 looks at the condition.
    pub(in crate::actions::postgres) async fn may_write(
        &self,
        clients: &Clients,
        folder: &str,
    ) -> Result<(), ActionError> {
        let below = format!("{folder}{PROBE}");
        let never = Condition::Unchanged { etag: NO_VERSION.to_owned() };
        let asked = self.put_text(clients, &below, (b"", "probe"), &never).await;
        // Whatever became of it, nothing was to be written.
        let asked = asked.map_err(|error| ActionError { effect: Effect::None, ..error });
        match asked? {
            Written::NotMet => Ok(()),
            Written::Done => {
                let (aws, key) = (self.aws(clients).await?, self.at.key(&below));
                drop(aws.s3.delete_object().bucket(&self.at.bucket).key(key).send().await);
                let message = format!(
                    "the server of {} does what it is asked although the condition does not hold (`If-Match`)",
                    self.at.place("")
                );
                Err(ActionError::unchanged(FailureClass::Invalid, message).hint(
                    "a dump could be written over another there: keep dumps in S3, or where conditions are held",
                ))
            }
        }
    }

    /// Returns what came of a write.
    pub(in crate::actions::postgres) fn written<E>(
        &self,
        answer: Result<(), SdkError<E, HttpResponse>>,
        call: &str,
    ) -> Result<Written, ActionError>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match answer {
            Ok(()) => Ok(Written::Done),
            Err(error) if status(&error) == Some(412) => Ok(Written::NotMet),
            // `If-Match` on an object that is gone.
            Err(error) if code(&error) == Some("NoSuchKey") => Ok(Written::NotMet),
            Err(error) => Err(self.failed(Nature::Change, call, &error)),
        }
    }
}
