//! A large file goes up in parts, and an upload that a dead process began goes on with those that are there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use aws_sdk_s3::types::{
    ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, MultipartUpload,
};
use futures::future::join_all;
use sha2::{Digest as _, Sha256};

use crate::actions::postgres::bucket::{
    Condition, Marks, Objects, Source, Written, checksum, code, patient, patiently,
};
use crate::actions::postgres::manifest::hex;
use crate::clients::Clients;
use crate::clients::aws::error::Nature;
use crate::outcome::{ActionError, FailureClass};

/// Bytes of a part; what is not longer goes up with one request.
pub(super) const PART: u64 = 16 << 20;
/// Parts S3 takes of one object.
const PARTS_MAX: u64 = 10_000;
/// Parts that are under way at a time.
const AT_ONCE: usize = 4;
/// Pages of a listing of parts, of up to a thousand each.
const PAGES_MAX: usize = 11;

/// A large file on its way.
pub(super) struct Large<'a> {
    pub objects: &'a Objects,
    pub clients: &'a Clients,
    /// Where its object is, below the estate's prefix
    pub below: &'a str,
    pub path: &'a Path,
    pub bytes: u64,
    pub marks: Marks<'a>,
}

/// A piece of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    number: i32,
    offset: u64,
    bytes: u64,
}

/// A part that is in the bucket already.
struct Known {
    etag: String,
    bytes: u64,
    /// SHA-256 as S3 says it
    sum: String,
}

impl Large<'_> {
    /// Uploads what is not there yet, and makes the object of it.
    pub(super) async fn send(&self, condition: &Condition) -> Result<Written, ActionError> {
        let (upload, known) = match self.begun().await? {
            Some(upload) => {
                let known = patiently(self.clients, || self.known(&upload)).await?;
                (upload, known)
            }
            None => (self.begin().await?, BTreeMap::new()),
        };
        let mut parts = Vec::new();
        for some in pieces(self.bytes).chunks(AT_ONCE) {
            let sent =
                some.iter().map(|piece| self.part(&upload, *piece, known.get(&piece.number)));
            // What is under way when one fails is let arrive.
            let sent = join_all(sent).await.into_iter();
            parts.extend(sent.collect::<Result<Vec<_>, _>>()?);
        }
        patiently(self.clients, || self.complete(&upload, parts.clone(), condition)).await
    }

    /// Returns the last upload of this object that came to no end; those before it are given up.
    async fn begun(&self) -> Result<Option<String>, ActionError> {
        let key = self.objects.at.key(self.below);
        let aws = self.objects.aws(self.clients).await?;
        let asked = aws.s3.list_multipart_uploads().bucket(&self.objects.at.bucket).prefix(&key);
        let found = asked.send().await.map_err(|error| {
            self.objects.failed(Nature::Read, "s3:ListBucketMultipartUploads", &error)
        })?;
        let mut own: Vec<&MultipartUpload> =
            found.uploads().iter().filter(|upload| upload.key() == Some(key.as_str())).collect();
        own.sort_by_key(|upload| upload.initiated().map(|at| (at.secs(), at.subsec_nanos())));
        let last = own.pop().and_then(|upload| upload.upload_id()).map(str::to_owned);
        for upload in own {
            let asked = aws.s3.abort_multipart_upload().bucket(&self.objects.at.bucket).key(&key);
            // Where that fails, it only costs storage until somebody does it.
            drop(asked.set_upload_id(upload.upload_id().map(str::to_owned)).send().await);
        }
        Ok(last)
    }

    async fn begin(&self) -> Result<String, ActionError> {
        let aws = self.objects.aws(self.clients).await?;
        let mut asked = aws
            .s3
            .create_multipart_upload()
            .bucket(&self.objects.at.bucket)
            .key(self.objects.at.key(self.below))
            .checksum_algorithm(ChecksumAlgorithm::Sha256);
        for (name, value) in self.marks.metadata() {
            asked = asked.metadata(name, value);
        }
        let made = asked.send().await;
        let made =
            made.map_err(|error| self.objects.failed(Nature::Change, "s3:PutObject", &error))?;
        made.upload_id().map(str::to_owned).ok_or_else(|| {
            let message = format!("{} began an upload without a name", self.objects.at.place(""));
            ActionError::unchanged(FailureClass::Transient, message)
        })
    }

    /// Returns the parts that are there, by their numbers.
    async fn known(&self, upload: &str) -> Result<BTreeMap<i32, Known>, ActionError> {
        let (mut found, mut next) = (BTreeMap::new(), None);
        for _ in 0..PAGES_MAX {
            let aws = self.objects.aws(self.clients).await?;
            let asked = aws
                .s3
                .list_parts()
                .bucket(&self.objects.at.bucket)
                .key(self.objects.at.key(self.below))
                .upload_id(upload)
                .set_part_number_marker(next.take());
            let page = asked.send().await.map_err(|error| {
                self.objects.failed(Nature::Read, "s3:ListMultipartUploadParts", &error)
            })?;
            found.extend(page.parts().iter().filter_map(|part| {
                let known = Known {
                    etag: part.e_tag()?.to_owned(),
                    bytes: part.size()?.try_into().ok()?,
                    sum: part.checksum_sha256()?.to_owned(),
                };
                Some((part.part_number()?, known))
            }));
            next = page.next_part_number_marker().map(str::to_owned);
            if page.is_truncated() != Some(true) || next.is_none() {
                break;
            }
        }
        Ok(found)
    }

    /// Uploads one part, unless it is there as it must be.
    async fn part(
        &self,
        upload: &str,
        piece: Piece,
        known: Option<&Known>,
    ) -> Result<CompletedPart, ActionError> {
        let sum = checksum(&digest(self.path.to_owned(), piece).await?);
        let same = known.filter(|known| known.bytes == piece.bytes && known.sum == sum);
        let etag = match same {
            Some(known) => known.etag.clone(),
            None => patiently(self.clients, || self.put(upload, piece, &sum)).await?,
        };
        Ok(CompletedPart::builder()
            .part_number(piece.number)
            .e_tag(etag)
            .checksum_sha256(sum)
            .build())
    }

    async fn put(&self, upload: &str, piece: Piece, sum: &str) -> Result<String, ActionError> {
        let aws = self.objects.aws(self.clients).await?;
        let asked = aws
            .s3
            .upload_part()
            .bucket(&self.objects.at.bucket)
            .key(self.objects.at.key(self.below))
            .upload_id(upload)
            .part_number(piece.number)
            .checksum_sha256(sum)
            .content_length(i64::try_from(piece.bytes).unwrap_or(i64::MAX))
            .body(Source::File(self.path, piece.offset, piece.bytes).stream().await?);
        let answer = asked.customize().config_override(patient()).send().await;
        let answer =
            answer.map_err(|error| self.objects.failed(Nature::Change, "s3:PutObject", &error))?;
        answer.e_tag().map(str::to_owned).ok_or_else(|| {
            let message = format!("the answer to part {} has no ETag", piece.number);
            ActionError::unchanged(FailureClass::Transient, message)
        })
    }

    async fn complete(
        &self,
        upload: &str,
        parts: Vec<CompletedPart>,
        condition: &Condition,
    ) -> Result<Written, ActionError> {
        let aws = self.objects.aws(self.clients).await?;
        let (absent, unchanged) = condition.headers();
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let answer = aws
            .s3
            .complete_multipart_upload()
            .bucket(&self.objects.at.bucket)
            .key(self.objects.at.key(self.below))
            .upload_id(upload)
            .multipart_upload(parts)
            .set_if_none_match(absent)
            .set_if_match(unchanged)
            .customize()
            .config_override(patient())
            .send()
            .await;
        match answer {
            // It was made of an earlier request whose answer was lost: a look at the object tells.
            Err(error) if code(&error) == Some("NoSuchUpload") => Ok(Written::NotMet),
            answer => self.objects.written(answer.map(drop), "s3:PutObject"),
        }
    }
}

/// Returns the pieces of a file: the same for every attempt.
fn pieces(bytes: u64) -> Vec<Piece> {
    let length = PART.max(bytes.div_ceil(PARTS_MAX).next_multiple_of(1 << 20));
    let offsets = (0..bytes).step_by(usize::try_from(length).unwrap_or(usize::MAX));
    let pieces = (1..).zip(offsets);
    pieces
        .map(|(number, offset)| Piece { number, offset, bytes: length.min(bytes - offset) })
        .collect()
}

async fn digest(path: PathBuf, piece: Piece) -> Result<String, ActionError> {
    let said = path.display().to_string();
    let failed = |error: String| {
        ActionError::unchanged(FailureClass::Invalid, format!("read {said}: {error}"))
    };
    let read = tokio::task::spawn_blocking(move || read(&path, piece)).await;
    read.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
}

fn read(path: &Path, piece: Piece) -> io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(piece.offset))?;
    let mut rest = file.take(piece.bytes);
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 18]);
    loop {
        match rest.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            length => hasher.update(&buffer[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_whole_file_and_no_more_than_s3_takes() {
        const TIB: u64 = 1 << 40;
        for bytes in [1, PART, PART + 1, 3 * PART, 5 * TIB, 5 * TIB - 1] {
            let pieces = pieces(bytes);
            assert!(u64::try_from(pieces.len()).is_ok_and(|count| count <= PARTS_MAX), "{bytes}");
            assert_eq!(pieces.iter().map(|piece| piece.bytes).sum::<u64>(), bytes);
            let mut end = 0;
            for (number, piece) in (1..).zip(&pieces) {
                assert_eq!((piece.number, piece.offset), (number, end), "{bytes}");
                end += piece.bytes;
            }
            let (last, others) = pieces.split_last().expect("one at least");
            assert!(last.bytes > 0 && others.iter().all(|piece| piece.bytes >= PART), "{bytes}");
        }
    }
}
