//! S3's objects: conditions, ranges, sums, versions, uploads in parts, listings.

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::list_multipart_uploads::ListMultipartUploadsOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use serde_json::{Value, json};

use super::buckets::{keep_versions, make};
use super::side::Side;
use super::told::{Notes, done, told};

const BUCKET: &str = "fidelity-objects";

/// Bytes of a part that is long enough not to be the last.
const PART: usize = 5 * 1024 * 1024;

fn body(text: &str) -> ByteStream {
    ByteStream::from(text.as_bytes().to_vec())
}

async fn shown(found: GetObjectOutput) -> Value {
    let head = json!({
        "etag": found.e_tag(),
        "type": found.content_type(),
        "length": found.content_length(),
        "range": found.content_range(),
        "metadata": found.metadata(),
    });
    let held = found.body.collect().await.map(|held| held.to_vec());
    let held = held.map(|held| String::from_utf8_lossy(&held).into_owned());
    json!({ "head": head, "body": held.unwrap_or_else(|error| error.to_string()) })
}

pub(super) async fn ask(side: &Side, notes: &mut Notes) {
    make(side, BUCKET).await;
    written(side, notes).await;
    conditions(side, notes).await;
    sums(side, notes).await;
    listed(side, notes).await;
    parts(side, notes).await;
    uploads(side, notes).await;
    versions(side, notes).await;
}

async fn written(side: &Side, notes: &mut Notes) {
    let s3 = &side.west.s3;
    let put = s3.put_object().bucket(BUCKET).key("a b/ü").content_type("text/plain");
    let put = put.metadata("kind", "note").body(body("hello, world")).send().await;
    notes.note("s3: an object is put", told(&put, |put| json!(put.e_tag())));
    let get = || s3.get_object().bucket(BUCKET).key("a b/ü");
    match get().send().await {
        Ok(found) => notes.note("s3: an object is got", shown(found).await),
        failed => notes.note("s3: an object is got", done(&failed)),
    }
    for range in ["bytes=0-4", "bytes=7-", "bytes=-5", "bytes=5-500", "bytes=500-"] {
        let step = format!("s3: range {range}");
        match get().range(range).send().await {
            Ok(found) => notes.note(&step, shown(found).await),
            failed => notes.note(&step, done(&failed)),
        }
    }
    let head = s3.head_object().bucket(BUCKET).key("a b/ü").send().await;
    notes.note(
        "s3: an object's head",
        told(&head, |head| json!([head.e_tag(), head.content_length(), head.metadata()])),
    );
    let missing = s3.head_object().bucket(BUCKET).key("nothing").send().await;
    notes.note("s3: the head of an object that is not there", done(&missing));
    let missing = s3.get_object().bucket(BUCKET).key("nothing").send().await;
    notes.note("s3: an object that is not there", done(&missing));
    let copy = s3.copy_object().bucket(BUCKET).key("copy");
    let copy = copy.copy_source(format!("{BUCKET}/a%20b/%C3%BC")).send().await;
    notes.note(
        "s3: an object is copied",
        told(&copy, |copy| json!(copy.copy_object_result().and_then(|found| found.e_tag()))),
    );
    let copy = s3.copy_object().bucket(BUCKET).key("copy");
    let copy = copy.copy_source(format!("{BUCKET}/nothing")).send().await;
    notes.note("s3: an object that is not there is copied", done(&copy));
    let gone = s3.delete_object().bucket(BUCKET).key("copy").send().await;
    notes.note("s3: an object is deleted", done(&gone));
    let gone = s3.delete_object().bucket(BUCKET).key("copy").send().await;
    notes.note("s3: an object is deleted again", done(&gone));
}

async fn conditions(side: &Side, notes: &mut Notes) {
    let s3 = &side.west.s3;
    let put = |text: &str| s3.put_object().bucket(BUCKET).key("lease").body(body(text));
    let first = put("1").if_none_match("*").send().await;
    notes.note("s3: put where nothing is", done(&first));
    let tag = first.ok().and_then(|first| first.e_tag().map(str::to_owned)).unwrap_or_default();
    let second = put("2").if_none_match("*").send().await;
    notes.note("s3: put where nothing should be", done(&second));
    notes.note("s3: put over what it should be", done(&put("3").if_match(&tag).send().await));
    notes.note("s3: put over something else", done(&put("4").if_match(&tag).send().await));
    let nowhere = s3.put_object().bucket(BUCKET).key("nowhere").if_match(&tag).body(body("5"));
    notes.note("s3: put over what is not there", done(&nowhere.send().await));
    let get = || s3.get_object().bucket(BUCKET).key("lease");
    notes.note("s3: got when it is something else", done(&get().if_match(&tag).send().await));
    let now = get().send().await.ok().and_then(|now| now.e_tag().map(str::to_owned));
    let now = now.unwrap_or_default();
    notes.note("s3: got when it is what it should be", done(&get().if_match(&now).send().await));
    let same = get().if_none_match(&now).send().await;
    let status = same.err().and_then(|error| error.raw_response().map(|raw| raw.status().as_u16()));
    notes.note("s3: got unless it is the same", json!(status));
}

async fn sums(side: &Side, notes: &mut Notes) {
    let s3 = &side.west.s3;
    let put = || s3.put_object().bucket(BUCKET).key("summed").body(body("hello"));
    let plain = put().send().await;
    notes.note("s3: the sum the SDK sends", told(&plain, |put| json!(put.checksum_crc32())));
    let right = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";
    let summed = put().checksum_sha256(right).send().await;
    notes.note("s3: a right sum", told(&summed, |put| json!(put.checksum_sha256())));
    let wrong = put().checksum_sha256("AAAAul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=");
    notes.note("s3: a wrong sum", done(&wrong.send().await));
    let wrong = put().content_md5("AAAAAAAAAAAAAAAAAAAAAA==").send().await;
    notes.note("s3: a wrong MD5", done(&wrong));
    let found = s3.get_object().bucket(BUCKET).key("summed").send().await;
    notes.note("s3: a sum is told", told(&found, |found| json!(found.checksum_sha256())));
}

async fn listed(side: &Side, notes: &mut Notes) {
    let s3 = &side.west.s3;
    for key in ["list/a", "list/b/1", "list/b/2", "list/c", "list/d/1"] {
        drop(s3.put_object().bucket(BUCKET).key(key).body(body(key)).send().await);
    }
    let list = || s3.list_objects_v2().bucket(BUCKET).prefix("list/");
    let show = |found: &aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output| {
        let keys: Vec<_> =
            found.contents().iter().map(|object| (object.key(), object.size())).collect();
        let common: Vec<_> = found.common_prefixes().iter().map(|found| found.prefix()).collect();
        json!({ "keys": keys, "common": common, "more": found.is_truncated(), "count": found.key_count() })
    };
    notes.note("s3: a listing", told(&list().send().await, show));
    notes.note("s3: a listing by a delimiter", told(&list().delimiter("/").send().await, show));
    notes.note(
        "s3: a listing after a key",
        told(&list().start_after("list/b/2").send().await, show),
    );
    let mut token = None;
    for page in 1..=3 {
        let found = list().delimiter("/").max_keys(2).set_continuation_token(token.take()).send();
        let found = found.await;
        notes.note(&format!("s3: page {page} of a listing"), told(&found, show));
        token = found.ok().and_then(|found| found.next_continuation_token().map(str::to_owned));
        if token.is_none() {
            break;
        }
    }
    notes.note("s3: a listing of nothing", told(&list().prefix("nothing/").send().await, show));
}

/// An upload in parts.
struct Upload<'a> {
    side: &'a Side,
    id: String,
}

impl<'a> Upload<'a> {
    async fn begin(side: &'a Side) -> Self {
        Self::named(side, "parts").await
    }

    async fn named(side: &'a Side, key: &str) -> Self {
        let made = side.west.s3.create_multipart_upload().bucket(BUCKET).key(key).send().await;
        let id = made.ok().and_then(|made| made.upload_id).unwrap_or_default();
        Self { side, id }
    }

    /// Sends a part; returns its ETag.
    async fn part(&self, number: i32, bytes: Vec<u8>) -> Result<String, Value> {
        let request = self.side.west.s3.upload_part().bucket(BUCKET).key("parts");
        let request = request.upload_id(&self.id).part_number(number);
        let sent = request.body(ByteStream::from(bytes)).send().await;
        let failed = done(&sent);
        sent.map(|sent| sent.e_tag.unwrap_or_default()).map_err(|_| failed)
    }

    async fn complete(&self, parts: &[(i32, String)]) -> Value {
        let mut all = CompletedMultipartUpload::builder();
        for (number, tag) in parts {
            all = all.parts(CompletedPart::builder().part_number(*number).e_tag(tag).build());
        }
        let request = self.side.west.s3.complete_multipart_upload().bucket(BUCKET).key("parts");
        let whole = request.upload_id(&self.id).multipart_upload(all.build()).send().await;
        told(&whole, |whole| json!(whole.e_tag()))
    }

    async fn abort(&self) -> Value {
        let request = self.side.west.s3.abort_multipart_upload().bucket(BUCKET).key("parts");
        done(&request.upload_id(&self.id).send().await)
    }
}

async fn parts(side: &Side, notes: &mut Notes) {
    let s3 = &side.west.s3;
    let upload = Upload::begin(side).await;
    notes.note("s3: an upload is begun", json!(!upload.id.is_empty()));
    let mut tags = Vec::new();
    for (number, bytes) in [(1, vec![b'x'; PART]), (2, b"the end".to_vec())] {
        let sent = upload.part(number, bytes).await;
        notes.note(
            &format!("s3: part {number}"),
            json!(sent.clone().map_err(|error| error.to_string())),
        );
        tags.push((number, sent.unwrap_or_default()));
    }
    let known = s3.list_parts().bucket(BUCKET).key("parts").upload_id(&upload.id).send().await;
    notes.note(
        "s3: the parts of an upload",
        told(&known, |known| {
            let all = known.parts().iter().map(|part| (part.part_number(), part.size()));
            json!(all.collect::<Vec<_>>())
        }),
    );
    notes.note("s3: an upload is completed", upload.complete(&tags).await);
    let head = s3.head_object().bucket(BUCKET).key("parts").send().await;
    notes.note("s3: what was uploaded", told(&head, |head| json!(head.content_length())));
    let late = upload.part(3, b"late".to_vec()).await;
    notes.note("s3: a part of a completed upload", json!(late.err()));
    let nothing = (1, "\"00000000000000000000000000000000\"".to_owned());
    for (what, order) in [("in the wrong order", [1, 0]), ("that are too short", [0, 1])] {
        let upload = Upload::begin(side).await;
        let mut tags = Vec::new();
        for number in 1..=2 {
            let tag = upload.part(number, b"short".to_vec()).await.unwrap_or_default();
            tags.push((number, tag));
        }
        let tags = order.map(|at| tags[at].clone());
        notes.note(&format!("s3: parts {what}"), upload.complete(&tags).await);
        upload.abort().await;
    }
    let upload = Upload::begin(side).await;
    notes.note("s3: a part that was not sent", upload.complete(&[nothing]).await);
    let upload = Upload::begin(side).await;
    notes.note("s3: an upload is given up", upload.abort().await);
    notes.note("s3: an upload is given up again", upload.abort().await);
}

/// Uploads that were begun and have not ended.
async fn uploads(side: &Side, notes: &mut Notes) {
    let s3 = &side.west.s3;
    let bucket = "fidelity-uploads";
    make(side, bucket).await;
    let show = |found: &ListMultipartUploadsOutput| {
        let all = found.uploads().iter();
        let all = all.map(|upload| (upload.key(), upload.initiated().is_some()));
        json!({ "uploads": all.collect::<Vec<_>>(), "more": found.is_truncated() })
    };
    let list = || s3.list_multipart_uploads().bucket(bucket);
    notes.note("s3: the uploads of a new bucket", told(&list().send().await, show));
    let mut begun = Vec::new();
    for key in ["b/2", "a", "b/1"] {
        let made = s3.create_multipart_upload().bucket(bucket).key(key).send().await;
        begun.push((key, made.ok().and_then(|made| made.upload_id).unwrap_or_default()));
    }
    notes.note("s3: uploads that go on", told(&list().send().await, show));
    notes.note("s3: uploads of a prefix", told(&list().prefix("b/").send().await, show));
    let (key, id) = begun.remove(0);
    drop(s3.abort_multipart_upload().bucket(bucket).key(key).upload_id(id).send().await);
    notes.note("s3: uploads without the one given up", told(&list().send().await, show));
    for (key, id) in begun {
        drop(s3.abort_multipart_upload().bucket(bucket).key(key).upload_id(id).send().await);
    }
    let missing = s3.list_multipart_uploads().bucket("fidelity-none").send().await;
    notes.note("s3: the uploads of a bucket that is not there", done(&missing));
    let missing = s3.list_parts().bucket(bucket).key("a").upload_id("nothing").send().await;
    notes.note("s3: the parts of an upload that is not there", done(&missing));
}

async fn versions(side: &Side, notes: &mut Notes) {
    let s3 = &side.west.s3;
    let bucket = "fidelity-versions";
    make(side, bucket).await;
    keep_versions(side, bucket).await;
    let mut known = Vec::new();
    for text in ["one", "two"] {
        let put = s3.put_object().bucket(bucket).key("k").body(body(text)).send().await;
        known.push(put.ok().and_then(|put| put.version_id).unwrap_or_default());
    }
    notes.note("s3: versions have names", json!(known.iter().all(|name| !name.is_empty())));
    let get = |version: Option<String>| {
        let request = s3.get_object().bucket(bucket).key("k").set_version_id(version);
        async move {
            match request.send().await {
                Ok(found) => {
                    let held = found.body.collect().await.expect("a body").to_vec();
                    json!(String::from_utf8_lossy(&held))
                }
                failed => done(&failed),
            }
        }
    };
    notes.note("s3: the version before", get(Some(known[0].clone())).await);
    notes.note("s3: the current version", get(None).await);
    notes.note("s3: a version that never was", get(Some("nothing-of-that-name".to_owned())).await);
    let deleted = s3.delete_object().bucket(bucket).key("k").send().await;
    notes.note("s3: a version is hidden", told(&deleted, |gone| json!(gone.delete_marker())));
    let marker = deleted.ok().and_then(|gone| gone.version_id).unwrap_or_default();
    notes.note("s3: what is hidden", get(None).await);
    notes.note("s3: what hides it", get(Some(marker.clone())).await);
    let all = s3.list_object_versions().bucket(bucket).send().await;
    notes.note(
        "s3: a listing of versions",
        told(&all, |all| {
            let versions = all.versions().iter();
            let versions = versions.map(|found| (found.key(), found.size(), found.is_latest()));
            let markers = all.delete_markers().iter().map(|found| (found.key(), found.is_latest()));
            json!([versions.collect::<Vec<_>>(), markers.collect::<Vec<_>>()])
        }),
    );
    let back = s3.delete_object().bucket(bucket).key("k").version_id(marker).send().await;
    notes.note("s3: what hides is deleted", told(&back, |back| json!(back.delete_marker())));
    notes.note("s3: what was hidden", get(None).await);
    let gone = s3.delete_object().bucket(bucket).key("k").version_id(&known[1]).send().await;
    notes.note("s3: a version is deleted for good", done(&gone));
    notes.note("s3: the version before it", get(None).await);
}
