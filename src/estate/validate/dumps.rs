//! Where dumps are kept: a full path, or a bucket that survives with a full path beside it.

use super::Checks;
use crate::estate::dumps::{DumpBucket, DumpsAt, ObjectsAt};
use crate::runbook::path::Path;

impl Checks<'_> {
    pub(super) fn dumps(&mut self, dumps: &DumpsAt, path: &Path) {
        match dumps {
            DumpsAt::Directory(directory) => self.directory(path, directory),
            DumpsAt::Bucket(bucket) => self.dump_bucket(bucket, path),
        }
    }

    fn dump_bucket(&mut self, dumps: &DumpBucket, path: &Path) {
        self.survives(&path.key("region"), &dumps.region, "the bucket of dumps");
        self.objects(&dumps.at(), path);
        self.directory(&path.key("work"), &dumps.work);
    }

    /// Holds what is said of a bucket and a prefix against what those are.
    pub(super) fn objects(&mut self, at: &ObjectsAt, path: &Path) {
        self.bucket(&path.key("bucket"), &at.bucket);
        if !at.prefix.is_empty() {
            self.prefix(&path.key("prefix"), &at.prefix);
        }
    }
}
