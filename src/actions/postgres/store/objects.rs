//! The objects of the bucket: the few requests that dumps need, what their answers mean, and patience with them.
//!
//! Every write gives S3 the SHA-256 of what it sends, so that S3 itself refuses what was altered on its way.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::config;
use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::ChecksumMode;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::base64;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use sha2::{Digest as _, Sha256};

use crate::actions::postgres::manifest::hex;
use crate::clients::Clients;
use crate::clients::aws::error::{Nature, failure};
use crate::clients::aws::{Regional, said, transfers};
use crate::clock::within;
use crate::estate::dumps::DumpBucket;
use crate::outcome::{ActionError, Effect, FailureClass};

/// Pages of a listing, of up to a thousand each.
const PAGES_MAX: usize = 1000;
/// Nothing of a body may take longer to come.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// Times that one request is made, and the pause before the second: the further ones are twice as long each.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(500);
/// What an object is marked with: the digest of all of it, and the step that wrote it.
const DIGEST: &str = "phoenix-dr-sha256";
const WRITER: &str = "phoenix-dr-step";
/// Names no version of anything.
const NO_VERSION: &str = "\"00000000000000000000000000000000\"";
/// What a probe is named, beside the files of a dump.
const PROBE: &str = ".phoenix-dr-may-write";

/// The objects below the estate's prefix.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    pub at: DumpBucket,
}

/// What is directly below a place, by names without it.
#[derive(Debug, Default)]
pub(super) struct Below {
    /// Objects with their lengths
    pub objects: BTreeMap<String, u64>,
    pub folders: Vec<String>,
}

/// What is known of an object without reading it.
#[derive(Debug)]
pub(super) struct Head {
    pub bytes: u64,
    pub etag: String,
    /// SHA-256 of its content, where S3 or its writer says it
    pub sha256: Option<String>,
    /// The step that wrote it
    pub writer: Option<String>,
}

/// On what condition an object is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// Whatever is there is replaced
    None,
    /// It is not there
    Absent,
    /// It is this version still
    Unchanged { etag: String },
}

impl Condition {
    /// Returns the headers `If-None-Match` and `If-Match`.
    pub(super) fn headers(&self) -> (Option<String>, Option<String>) {
        match self {
            Self::None => (None, None),
            Self::Absent => (Some("*".to_owned()), None),
            Self::Unchanged { etag } => (None, Some(etag.clone())),
        }
    }
}

/// What came of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Done,
    /// Its condition does not hold; nothing was written
    NotMet,
}

/// Where the bytes of a request come from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source<'a> {
    Text(&'a [u8]),
    /// A piece of a file: where it begins, and its length
    File(&'a Path, u64, u64),
}

impl Source<'_> {
    /// Returns a stream that reads a file as it is sent.
    pub(super) async fn stream(self) -> Result<ByteStream, ActionError> {
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
pub(super) struct Marks<'a> {
    /// SHA-256 of its content
    pub sha256: &'a str,
    /// The step that writes it
    pub writer: &'a str,
}

impl<'a> Marks<'a> {
    /// Returns them as the object's metadata.
    pub(super) const fn metadata(self) -> [(&'static str, &'a str); 2] {
        [(DIGEST, self.sha256), (WRITER, self.writer)]
    }
}

impl Objects {
    /// Returns the clients of the bucket's region, with credentials that are valid now: an upload may take hours.
    pub(super) async fn aws(&self, clients: &Clients) -> Result<Arc<Regional>, ActionError> {
        clients.aws.region(&self.at.region).await
    }

    /// Lists what is directly below a place, to the last page.
    pub(super) async fn below(&self, clients: &Clients, place: &str) -> Result<Below, ActionError> {
        let prefix = self.at.key(place);
        let (mut found, mut next) = (Below::default(), None);
        for _ in 0..PAGES_MAX {
            let aws = self.aws(clients).await?;
            let asked = aws.s3.list_objects_v2().bucket(&self.at.bucket).prefix(&prefix);
            let asked = asked.delimiter("/").set_continuation_token(next.take()).send().await;
            let page = asked.map_err(|error| self.failed(Nature::Read, "s3:ListBucket", &error))?;
            let name = |key: Option<&str>| key?.strip_prefix(&prefix).map(str::to_owned);
            for object in page.contents() {
                let bytes = object.size().and_then(|size| u64::try_from(size).ok());
                found.objects.extend(name(object.key()).zip(bytes));
            }
            found.folders.extend(page.common_prefixes().iter().filter_map(|p| name(p.prefix())));
            next = page.next_continuation_token().map(str::to_owned);
            if page.is_truncated() != Some(true) {
                return Ok(found);
            }
            if next.is_none() {
                break;
            }
        }
        let message = format!("{} could not be listed to its end", self.at.place(place));
        Err(ActionError::unchanged(FailureClass::Invalid, message)
            .hint("give dumps a prefix of their own: `database.dumps.prefix` of the estate file"))
    }

    /// Reads a small object; `None` where it is not there.
    pub(super) async fn read(
        &self,
        clients: &Clients,
        below: &str,
        longest: u64,
    ) -> Result<Option<Vec<u8>>, ActionError> {
        let Some((_, mut body)) = self.open(clients, below).await? else { return Ok(None) };
        let mut text = Vec::new();
        while let Some(bytes) = next(clients, &mut body).await? {
            text.extend_from_slice(bytes.as_ref());
            if u64::try_from(text.len()).unwrap_or(u64::MAX) > longest {
                let message = format!("{} is longer than {longest} bytes", self.at.place(below));
                return Err(ActionError::unchanged(FailureClass::Invalid, message));
            }
        }
        Ok(Some(text))
    }

    /// Begins to read an object; returns its length as S3 says it, and its bytes as they come.
    pub(super) async fn open(
        &self,
        clients: &Clients,
        below: &str,
    ) -> Result<Option<(u64, ByteStream)>, ActionError> {
        let (aws, key) = (self.aws(clients).await?, self.at.key(below));
        match aws.s3.get_object().bucket(&self.at.bucket).key(key).send().await {
            Ok(answer) => {
                let length = answer.content_length().and_then(|length| u64::try_from(length).ok());
                Ok(Some((length.unwrap_or(0), answer.body)))
            }
            Err(error) if code(&error) == Some("NoSuchKey") => Ok(None),
            Err(error) => Err(self.failed(Nature::Read, "s3:GetObject", &error)),
        }
    }

    /// Looks at an object; `None` where it is not there.
    pub(super) async fn head(
        &self,
        clients: &Clients,
        below: &str,
    ) -> Result<Option<Head>, ActionError> {
        let (aws, key) = (self.aws(clients).await?, self.at.key(below));
        let asked = aws.s3.head_object().bucket(&self.at.bucket).key(key);
        let answer = match asked.checksum_mode(ChecksumMode::Enabled).send().await {
            Ok(answer) => answer,
            // The answer to HEAD has no body, and so no code.
            Err(error) if status(&error) == Some(404) => return Ok(None),
            Err(error) => return Err(self.failed(Nature::Read, "s3:GetObject", &error)),
        };
        let marked = |name: &str| answer.metadata().and_then(|known| known.get(name)).cloned();
        // Of an object in parts S3's own sum is one of sums, and says nothing of the whole.
        let summed = answer.checksum_sha256().filter(|sum| !sum.contains('-'));
        let summed = summed.and_then(|sum| base64::decode(sum).ok()).map(|sum| hex(&sum));
        Ok(Some(Head {
            bytes: answer.content_length().and_then(|bytes| bytes.try_into().ok()).unwrap_or(0),
            etag: answer.e_tag().unwrap_or_default().to_owned(),
            sha256: summed.or_else(|| marked(DIGEST)),
            writer: marked(WRITER),
        }))
    }

    /// Writes an object with one request.
    pub(super) async fn put(
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
    pub(super) async fn put_text(
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
    pub(super) async fn may_write(
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
    pub(super) fn written<E>(
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

    /// Returns the meaning of a failed call.
    pub(super) fn failed<E>(
        &self,
        nature: Nature,
        call: &str,
        error: &SdkError<E, HttpResponse>,
    ) -> ActionError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let (bucket, region) = (&self.at.bucket, &self.at.region);
        let failed = failure(nature, call, region, error);
        match code(error) {
            Some("NoSuchBucket") => {
                let message = format!("the bucket of dumps `{bucket}` does not exist");
                ActionError::unchanged(FailureClass::NotFound, message).hint(format!(
                    "correct `database.dumps.bucket` in the estate file, or make it: aws s3 mb s3://{bucket} \
                     --region {region}"
                ))
            }
            Some("PermanentRedirect" | "AuthorizationHeaderMalformed") => failed.hint(
                "the bucket is in another region: correct `database.dumps.region` in the estate file",
            ),
            Some(_) | None => {
                let message = format!("{}: {}", self.at.place(""), failed.message);
                ActionError { message, ..failed }
            }
        }
    }
}

/// Returns the next bytes of a body; `None` at its end.
pub(super) async fn next(
    clients: &Clients,
    body: &mut ByteStream,
) -> Result<Option<impl AsRef<[u8]> + use<>>, ActionError> {
    let lost = |class, why: String| ActionError::unchanged(class, format!("cut off: {why}"));
    match within(&*clients.clock, IDLE_LIMIT, body.try_next()).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(lost(FailureClass::Transient, said(&error))),
        Err(elapsed) => Err(lost(FailureClass::Timeout, elapsed.to_string())),
    }
}

/// Makes a request again that failed for what may pass: hours must not be lost for one answer that was.
pub(super) async fn patiently<T, F>(
    clients: &Clients,
    ask: impl Fn() -> F,
) -> Result<T, ActionError>
where
    F: Future<Output = Result<T, ActionError>>,
{
    let mut pause = PAUSE;
    for _ in 1..TRIES {
        match ask().await {
            Err(error) if error.class.retryable() => clients.clock.sleep(pause).await,
            done => return done,
        }
        pause *= 2;
    }
    ask().await
}

/// Returns the limits of requests that carry a part of a dump.
pub(super) fn patient() -> config::Builder {
    config::Builder::new().timeout_config(transfers())
}

/// Returns a digest as S3 is given it.
pub(super) fn checksum(sha256: &str) -> String {
    let byte = |at: usize| u8::from_str_radix(sha256.get(at..at + 2)?, 16).ok();
    let bytes: Vec<u8> = (0..sha256.len()).step_by(2).map_while(byte).collect();
    base64::encode(bytes)
}

pub(super) fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

pub(super) fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}
