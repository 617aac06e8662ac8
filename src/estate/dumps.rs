//! Where dumps are kept: in a directory of this host, or in a bucket.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where dumps are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum DumpsAt {
    /// Directory of this host
    Directory(String),
    /// Bucket in a region that survives the failure it is meant for
    Bucket(DumpBucket),
}

impl DumpsAt {
    /// Returns the directory of this host that dumps are written to, whether they stay in it or not.
    pub(crate) fn work(&self) -> &str {
        match self {
            Self::Directory(directory) => directory,
            Self::Bucket(bucket) => &bucket.work,
        }
    }
}

/// A bucket that dumps are kept in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DumpBucket {
    pub bucket: String,
    pub region: String,
    /// Key prefix, without a slash at either end; none when left out
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Directory of this host that a dump is in before it is uploaded, and after it was fetched
    pub work: String,
}

impl DumpBucket {
    /// Returns where the objects are.
    pub(crate) fn at(&self) -> ObjectsAt {
        let Self { bucket, region, prefix, .. } = self.clone();
        ObjectsAt { bucket, region, prefix }
    }
}

/// Objects of a bucket that survives the failure they are meant for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ObjectsAt {
    pub bucket: String,
    pub region: String,
    /// Key prefix, without a slash at either end; none when left out
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}

impl ObjectsAt {
    /// Returns the key of something below the prefix.
    pub(crate) fn key(&self, below: &str) -> String {
        match self.prefix.as_str() {
            "" => below.to_owned(),
            prefix => format!("{prefix}/{below}"),
        }
    }

    /// Returns where something below the prefix is, as people and the AWS CLI say it.
    pub(crate) fn place(&self, below: &str) -> String {
        let place = format!("s3://{}/{}", self.bucket, self.key(below));
        place.trim_end_matches('/').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estate::{init, load};

    /// Where the template shows how dumps are kept.
    const SHOWN: &str = "  # dumps: /var/backups/phoenix\n";

    fn estate(dumps: &str) -> String {
        let text = init::template();
        assert_eq!(text.matches(SHOWN).count(), 1);
        text.replacen(SHOWN, &format!("  dumps: {dumps}\n"), 1)
    }

    fn read(dumps: &str) -> DumpsAt {
        let estate = load::parse("phoenix-dr.yaml", &estate(dumps));
        let estate = estate.unwrap_or_else(|wrong| panic!("{dumps}: {wrong}"));
        let at = estate.database.expect("a database").dumps.expect("dumps");
        // A plan keeps the estate: what is read back is the same.
        let kept = serde_json::to_value(&at).expect("JSON");
        assert_eq!(serde_json::from_value::<DumpsAt>(kept).expect("read"), at);
        at
    }

    #[test]
    fn dumps_are_in_a_directory_or_in_a_bucket() {
        assert_eq!(read("/var/backups"), DumpsAt::Directory("/var/backups".to_owned()));
        let at = read("{ bucket: b-1, region: us-west-2, work: /w }");
        assert_eq!(at.work(), "/w");
        let DumpsAt::Bucket(bucket) = at else { panic!("{at:?}") };
        assert_eq!(
            (bucket.at().key("x.dump/y"), bucket.at().place("")),
            ("x.dump/y".to_owned(), "s3://b-1".to_owned())
        );
        let at = read("{ bucket: b-1, region: us-west-2, prefix: a/b, work: /w }");
        let DumpsAt::Bucket(bucket) = at else { panic!("{at:?}") };
        assert_eq!(bucket.at().key("x.dump/y"), "a/b/x.dump/y");
        assert_eq!(bucket.at().place("x.dump/"), "s3://b-1/a/b/x.dump");
    }

    #[test]
    fn each_mistake_is_said_in_place_and_all_at_once() {
        let wrong = "{ bucket: s3://b, region: us-east-1, prefix: a/, work: tmp }";
        let problems = load::parse("phoenix-dr.yaml", &estate(wrong)).expect_err("four mistakes");
        let text = problems.render(false);
        for said in [
            "`s3://b` is not a bucket's name",
            "the bucket of dumps is in the primary region, and lost with it",
            "`a/` is not a prefix",
            "`tmp` is not a directory's full path",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
        for (wrong, said) in [
            ("{ bucket: b-1, region: us-wst-2, work: /w }", "did you mean `us-west-2`?"),
            ("{ bucket: b-1, region: us-west-2, wrk: /w }", "did you mean `work`?"),
            (
                "{ buckt: b-1, region: us-west-2, work: /w }",
                "`bucket` is missing in database.dumps",
            ),
            ("{ bucket: b-1, region: us-west-2 }", "`work` is missing in database.dumps"),
            ("[a]", "expected text or a mapping, found a list"),
            ("backups", "`backups` is not a directory's full path"),
        ] {
            let problems = load::parse("phoenix-dr.yaml", &estate(wrong)).expect_err(said);
            let text = problems.render(false);
            assert!(text.contains(said), "{wrong}: {text}");
            assert!(text.contains("--> phoenix-dr.yaml:"), "{wrong}: {text}");
        }
    }
}
