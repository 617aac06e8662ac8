//! The objects of a bucket: the few requests that backups need, what their answers mean, and patience with them.
//!
//! Every write gives S3 the SHA-256 of what it sends, so that S3 itself refuses what was altered on its way.

mod write;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::config;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumMode, Object};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::base64;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use jiff::Timestamp;
use tokio::io::AsyncWriteExt as _;

use crate::actions::postgres::manifest::hex;
use crate::clients::Clients;
use crate::clients::aws::error::{Nature, failure};
use crate::clients::aws::{Regional, said, transfers};
use crate::clock::within;
use crate::estate::dumps::ObjectsAt;
use crate::outcome::{ActionError, FailureClass};

pub(super) use write::{Condition, Marks, Source, Written};

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

/// The objects below the estate's prefix.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    pub at: ObjectsAt,
    pub of: Backups,
}

/// What the objects are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backups {
    Dumps,
    /// Base backups and the WAL archived since
    Base,
}

impl Backups {
    const fn name(self) -> &'static str {
        match self {
            Self::Dumps => "dumps",
            Self::Base => "base backups",
        }
    }

    /// Returns what of the estate file says where they are.
    const fn setting(self) -> &'static str {
        match self {
            Self::Dumps => "database.dumps",
            Self::Base => "database.base_backups.from",
        }
    }

    /// Returns the error of a file of this host that could not be written.
    pub(super) fn local(self, place: &str, error: &io::Error) -> ActionError {
        let class = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FailureClass::Capacity,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                FailureClass::Denied
            }
            // Whoever used the copy last has removed it: it is made anew.
            io::ErrorKind::NotFound => FailureClass::Transient,
            _ => FailureClass::Invalid,
        };
        let setting = match self {
            Self::Dumps => "database.dumps.work",
            Self::Base => "database.base_backups",
        };
        ActionError::unchanged(class, format!("write {place}: {error}")).hint(format!(
            "it is in the estate's `{setting}`; what was fetched whole is not fetched again"
        ))
    }
}

/// What is directly below a place, by names without it.
#[derive(Debug, Default)]
pub(super) struct Below {
    /// Objects with their lengths
    pub objects: BTreeMap<String, u64>,
    /// What tells each of them from another of its name
    pub versions: BTreeMap<String, Version>,
    pub folders: Vec<String>,
}

/// What tells an object from another of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub etag: String,
    /// When it was written; S3 says that to the second
    pub written: Timestamp,
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

/// An object whose bytes come.
struct Opened {
    /// Length of what comes, as S3 says it
    bytes: u64,
    etag: Option<String>,
    /// It comes from its beginning on
    whole: bool,
    body: ByteStream,
}

/// What is on a host of an object already.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun<'a> {
    pub bytes: u64,
    /// The version it is of: of another nothing is read
    pub etag: &'a str,
}

/// The file an object is read into.
#[derive(Debug, Clone, Copy)]
pub(super) struct Destination<'a> {
    /// Open for appending
    pub file: &'a File,
    pub path: &'a Path,
    pub begun: Option<Begun<'a>>,
}

impl Objects {
    /// Returns the clients of the bucket's region, with credentials that are valid now: an upload may take hours.
    pub(super) async fn aws(&self, clients: &Clients) -> Result<Arc<Regional>, ActionError> {
        clients.aws.region(&self.at.region).await
    }

    /// Lists what is directly below a place, to the last page.
    pub(super) async fn below(&self, clients: &Clients, place: &str) -> Result<Below, ActionError> {
        self.listed(clients, place, Some("/")).await
    }

    /// Lists all objects below a place, those in folders of it as well, to the last page.
    pub(super) async fn all_below(
        &self,
        clients: &Clients,
        place: &str,
    ) -> Result<Below, ActionError> {
        self.listed(clients, place, None).await
    }

    async fn listed(
        &self,
        clients: &Clients,
        place: &str,
        delimiter: Option<&str>,
    ) -> Result<Below, ActionError> {
        let prefix = self.at.key(place);
        let (mut found, mut next) = (Below::default(), None);
        for _ in 0..PAGES_MAX {
            let aws = self.aws(clients).await?;
            let asked = aws.s3.list_objects_v2().bucket(&self.at.bucket).prefix(&prefix);
            let asked = asked.set_delimiter(delimiter.map(str::to_owned));
            let asked = asked.set_continuation_token(next.take()).send().await;
            let page = asked.map_err(|error| self.failed(Nature::Read, "s3:ListBucket", &error))?;
            let name = |key: Option<&str>| key?.strip_prefix(&prefix).map(str::to_owned);
            for object in page.contents() {
                let bytes = object.size().and_then(|size| u64::try_from(size).ok());
                found.versions.extend(name(object.key()).zip(version(object)));
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
        Err(ActionError::unchanged(FailureClass::Invalid, message).hint(format!(
            "give {} a prefix of their own (`{}.prefix` of the estate file), and have what is old there expire",
            self.of.name(),
            self.of.setting()
        )))
    }

    /// Reads a small object; `None` where it is not there.
    pub(super) async fn read(
        &self,
        clients: &Clients,
        below: &str,
        longest: u64,
    ) -> Result<Option<Vec<u8>>, ActionError> {
        Ok(self.read_version(clients, below, longest).await?.map(|(text, _)| text))
    }

    /// Reads a small object, and the ETag of what was read; `None` where it is not there.
    pub(super) async fn read_version(
        &self,
        clients: &Clients,
        below: &str,
        longest: u64,
    ) -> Result<Option<(Vec<u8>, Option<String>)>, ActionError> {
        let Some(Opened { mut body, etag, .. }) = self.open(clients, below, None).await? else {
            return Ok(None);
        };
        let mut text = Vec::new();
        while let Some(bytes) = next(clients, &mut body).await? {
            text.extend_from_slice(bytes.as_ref());
            if u64::try_from(text.len()).unwrap_or(u64::MAX) > longest {
                let message = format!("{} is longer than {longest} bytes", self.at.place(below));
                return Err(ActionError::unchanged(FailureClass::Invalid, message));
            }
        }
        Ok(Some((text, etag)))
    }

    /// Begins to read an object, of a version from a byte on where that is said; `None` where it is not there.
    async fn open(
        &self,
        clients: &Clients,
        below: &str,
        begun: Option<Begun<'_>>,
    ) -> Result<Option<Opened>, ActionError> {
        let (aws, key) = (self.aws(clients).await?, self.at.key(below));
        let mut asked = aws.s3.get_object().bucket(&self.at.bucket).key(key);
        if let Some(Begun { bytes, etag }) = begun {
            asked = asked.if_match(etag);
            // All of an object of no bytes is no range of it.
            asked = asked.set_range((bytes > 0).then(|| format!("bytes={bytes}-")));
        }
        match asked.send().await {
            Ok(answer) => {
                let length = answer.content_length().and_then(|length| u64::try_from(length).ok());
                Ok(Some(Opened {
                    bytes: length.unwrap_or(0),
                    etag: answer.e_tag().map(str::to_owned),
                    whole: answer.content_range().is_none(),
                    body: answer.body,
                }))
            }
            Err(error) if code(&error) == Some("NoSuchKey") => Ok(None),
            Err(error) if status(&error) == Some(412) => {
                let message = "it was written anew since it was listed";
                Err(ActionError::unchanged(FailureClass::Transient, message))
            }
            Err(error) => Err(self.failed(Nature::Read, "s3:GetObject", &error)),
        }
    }

    /// Reads the first bytes of an object, up to so many; none where it is not there.
    pub(super) async fn begins(
        &self,
        clients: &Clients,
        below: &str,
        most: u64,
    ) -> Result<Vec<u8>, ActionError> {
        let Some(Opened { mut body, .. }) = self.open(clients, below, None).await? else {
            return Ok(Vec::new());
        };
        let (mut found, most) = (Vec::new(), usize::try_from(most).unwrap_or(usize::MAX));
        while found.len() < most {
            let Some(bytes) = next(clients, &mut body).await? else { break };
            found.extend_from_slice(bytes.as_ref());
        }
        found.truncate(most);
        Ok(found)
    }

    /// Reads an object into a file, durably, and gives each piece to a function, which says whether to go on; returns whether it is
    /// there. What is cut off is an error that may pass.
    pub(super) async fn download(
        &self,
        clients: &Clients,
        below: &str,
        into: Destination<'_>,
        mut piece: impl FnMut(&[u8]) -> bool,
    ) -> Result<bool, ActionError> {
        let Some(Opened { bytes, whole, mut body, .. }) =
            self.open(clients, below, into.begun).await?
        else {
            return Ok(false);
        };
        let failed = |error: io::Error| self.of.local(&into.path.display().to_string(), &error);
        // A server that knows no ranges sends all of it: that is not what comes behind what is there.
        if whole && into.begun.is_some_and(|begun| begun.bytes > 0) {
            into.file.set_len(0).map_err(failed)?;
        }
        let mut out = tokio::fs::File::from_std(into.file.try_clone().map_err(failed)?);
        let mut count = 0;
        let read = async {
            while let Some(some) = next(clients, &mut body).await? {
                let some = some.as_ref();
                count += u64::try_from(some.len()).unwrap_or(u64::MAX);
                if !piece(some) {
                    return Ok(false);
                }
                out.write_all(some).await.map_err(failed)?;
            }
            Ok(true)
        };
        let read: Result<bool, ActionError> = read.await;
        // What is still being written must not come behind what another attempt appends.
        out.flush().await.map_err(failed)?;
        if !read? {
            return Ok(true);
        }
        if count < bytes {
            let why = format!("cut off after {count} of {bytes} bytes");
            return Err(ActionError::unchanged(FailureClass::Transient, why));
        }
        out.sync_all().await.map_err(failed)?;
        Ok(true)
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
                let (name, setting) = (self.of.name(), self.of.setting());
                let message = format!("the bucket of {name} `{bucket}` does not exist");
                ActionError::unchanged(FailureClass::NotFound, message).hint(format!(
                    "correct `{setting}.bucket` in the estate file, or make it: aws s3 mb s3://{bucket} --region {region}"
                ))
            }
            Some("PermanentRedirect" | "AuthorizationHeaderMalformed") => failed.hint(format!(
                "the bucket is in another region: correct `{}.region` in the estate file",
                self.of.setting()
            )),
            Some(_) | None => {
                let message = format!("{}: {}", self.at.place(""), failed.message);
                ActionError { message, ..failed }
            }
        }
    }
}

/// Returns what tells a listed object from another of its name.
fn version(object: &Object) -> Option<Version> {
    let written = Timestamp::from_second(object.last_modified()?.secs()).ok()?;
    Some(Version { etag: object.e_tag()?.to_owned(), written })
}

/// Returns the next bytes of a body; `None` at its end.
async fn next(
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

/// Says whether a failed look tells nothing of what is there.
pub(super) fn may_pass(error: &ActionError) -> bool {
    error.class.retryable() || error.class == FailureClass::Credentials
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
