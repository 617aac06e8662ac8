//! Where dumps are kept: a full path, or a bucket that survives with a full path beside it.

use super::Checks;
use crate::estate::dumps::{DumpBucket, DumpsAt};
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
        self.bucket(&path.key("bucket"), &dumps.bucket);
        if !dumps.prefix.is_empty() {
            self.prefix(&path.key("prefix"), &dumps.prefix);
        }
        self.directory(&path.key("work"), &dumps.work);
    }
}
