//! Fields of what S3 has, as the simulation keeps it, and of programs.

use super::{Field, Of, may, own};

pub(super) const BUCKET: &[Field] = &[
    own(
        "PublicRead",
        Of::Flag,
        "Anybody may read its objects without credentials, as a health check reads the failover object",
    ),
    own(
        "Versioning",
        Of::Words(&["Enabled", "Suspended"]),
        "Whether it keeps versions; never when left out",
    ),
    own("CreationDate", Of::Instant, "When it was made"),
    own(
        "ReplicationConfiguration",
        Of::Inside(&[may("Role", Of::Text)]),
        "What is replicated, as GetBucketReplication has it",
    ),
];

/// Objects, their versions, uploads and copies on their way: what of them a person might write.
pub(super) const OBJECT: &[Field] = &[
    own("Body", Of::Text, "Content, where it is text"),
    own("BodyBase64", Of::Text, "Content in base64, where it is not"),
    may("Size", Of::Whole(0, i64::MAX)),
    may("ETag", Of::Text),
    may("LastModified", Of::Instant),
    may("Initiated", Of::Instant),
    may("ContentType", Of::Text),
    may("ContentEncoding", Of::Text),
    may("CacheControl", Of::Text),
    may("StorageClass", Of::Text),
    may("VersionId", Of::Text),
    may("DeleteMarker", Of::Flag),
    may("ReplicationStatus", Of::Words(&["PENDING", "COMPLETED", "FAILED", "REPLICA"])),
    may("Metadata", Of::Named),
];

pub(super) const PROGRAM: &[Field] =
    &[own("done", Of::Flag, "Its `run` has ended with 0, and its `undo` has not since")];
