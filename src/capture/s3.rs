//! S3: the buckets the estate names, their listings up to a limit, and the failover object with its content.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::fields::{Fields, ITEMS_MAX, at_most, counted};
use super::{Part, no_answer, patiently};
use crate::clients::Clients;
use crate::clients::aws::Regional;
use crate::clients::aws::error::{Nature, failure};
use crate::estate::types::{Estate, FailoverObject};
use crate::outcome::{ActionError, FailureClass};
use crate::sandbox::fault::Service;
use crate::sandbox::world::Kind;

/// Pages of a listing that are read: S3 gives a thousand objects with each, and one more tells that there are more.
const PAGES_MAX: usize = ITEMS_MAX / 1_000 + 1;

/// Most bytes of the failover object's content that are kept.
const CONTENT_MAX: usize = 64 * 1024;

pub(super) async fn look(clients: &Clients, at: Timestamp) -> Part {
    let estate = &clients.estate;
    let state = estate.state.as_ref().map(|state| &state.s3);
    let object = switch(estate);
    let buckets: BTreeSet<(&str, &str)> = estate
        .buckets
        .values()
        .map(|bucket| (bucket.region.as_str(), bucket.bucket.as_str()))
        .chain(state.map(|state| (state.region.as_str(), state.bucket.as_str())))
        .chain(object.map(|object| (object.region.as_str(), object.bucket.as_str())))
        .collect();
    let mut part = Part::default();
    let looks = buckets.iter().map(|(region, bucket)| bucket_of(clients, region, bucket, at));
    futures::future::join_all(looks).await.into_iter().for_each(|found| part.join(found));
    part
}

fn switch(estate: &Estate) -> Option<&FailoverObject> {
    estate.dns.as_ref()?.failover_object.as_ref()
}

async fn bucket_of(clients: &Clients, region: &str, bucket: &str, at: Timestamp) -> Part {
    let mut part = Part::default();
    let switch = switch(&clients.estate).filter(|object| object.bucket == bucket);
    let public = switch.map(|_| true);
    part.add(Kind::Bucket, region, bucket, Fields::default().set("PublicRead", public).done());
    if switch.is_some() {
        let why = "taken for granted: a health check could not see the failover object otherwise";
        part.assumed(&format!("whether anybody may read bucket {bucket}"), Some(region), why);
    }
    let found = async {
        let aws = clients.aws.region(region).await?;
        objects(clients, &aws, bucket, at, &mut part).await
    };
    if let Err(error) = found.await {
        part.missed(&format!("S3 bucket {bucket}"), Some(region), &error);
        if no_answer(&error) {
            part.silent(region, Service::S3);
        }
    }
    part
}

async fn objects(
    clients: &Clients,
    aws: &Regional,
    bucket: &str,
    at: Timestamp,
    part: &mut Part,
) -> Result<(), ActionError> {
    let pages = patiently(clients, || async {
        let pages = aws.s3.list_objects_v2().bucket(bucket).into_paginator().send();
        let pages = at_most(PAGES_MAX, pages).await;
        pages.map_err(|error| failure(Nature::Read, "s3:ListObjectsV2", &aws.region, &error))
    });
    let pages = pages.await?;
    part.answers += 1;
    let state = clients.estate.state.as_ref().map(|state| &state.s3);
    let prefix = state.filter(|state| state.bucket == bucket).map(|state| state.prefix.as_str());
    let mut count = 0;
    let mut cut = pages.last().is_some_and(|page| page.is_truncated() == Some(true));
    for object in pages.iter().flat_map(|page| page.contents()) {
        let key = object.key().unwrap_or_default();
        // A lease or what was seen of the real estate is no part of a rehearsal.
        if prefix.is_some_and(|prefix| key.starts_with(prefix)) {
            continue;
        }
        if count >= ITEMS_MAX {
            cut = true;
            break;
        }
        count += 1;
        let fields = Fields::default()
            .set("ETag", object.e_tag())
            .set("LastModified", counted(at, object.last_modified()))
            .set("Size", object.size());
        let wanted = switch(&clients.estate)
            .is_some_and(|switch| switch.bucket == bucket && switch.key == key);
        let fields = if wanted { content(aws, bucket, key, fields, part).await } else { fields };
        part.add(Kind::S3Object, &aws.region, &format!("{bucket}/{key}"), fields.done());
    }
    if cut {
        part.missed = true;
        let why = format!("only its first {count} objects were taken");
        part.assumed(&format!("S3 bucket {bucket}"), Some(&aws.region), &why);
    }
    Ok(())
}

/// Adds what is in the failover object.
async fn content(
    aws: &Regional,
    bucket: &str,
    key: &str,
    fields: Fields,
    part: &mut Part,
) -> Fields {
    let what = format!("content of the failover object in {bucket}");
    let found = aws.s3.get_object().bucket(bucket).key(key).send().await;
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            let error = failure(Nature::Read, "s3:GetObject", &aws.region, &error);
            part.missed(&what, Some(&aws.region), &error);
            return fields;
        }
    };
    let kind = found.content_type().map(str::to_owned);
    let fields = fields.set("ContentType", kind);
    let bytes = match found.body.collect().await {
        Ok(body) => body.to_vec(),
        Err(error) => {
            let message = format!("s3:GetObject broke off: {error}");
            let error = ActionError::unchanged(FailureClass::Transient, message);
            part.missed(&what, Some(&aws.region), &error);
            return fields;
        }
    };
    if bytes.len() > CONTENT_MAX {
        let why = format!("only its first {CONTENT_MAX} bytes were taken");
        part.assumed(&what, Some(&aws.region), &why);
    }
    match std::str::from_utf8(&bytes[..bytes.len().min(CONTENT_MAX)]) {
        Ok(text) => fields.set("Body", Some(text)),
        // A letter that the limit cuts through is no reason to say that it is no text.
        Err(error) if error.error_len().is_none() && bytes.len() > CONTENT_MAX => {
            let text = String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned();
            fields.set("Body", Some(text))
        }
        Err(_) => {
            part.assumed(&what, Some(&aws.region), "left out: it is no text");
            fields
        }
    }
}
