//! The digest of a plan: what approvals, resumes and the audit hold on to.

use std::borrow::Cow;
use std::io::{self, BufWriter};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::Plan;

/// Bytes digested at once.
const BLOCK: usize = 64 * 1024;

/// Returns the SHA-256, in hex, of everything in a plan but its digest.
///
/// The bytes are the plan's JSON without spaces: fields in the order of the types, keys of maps sorted.
pub(crate) fn digest(plan: &Plan) -> String {
    // JSON is written in pieces of a few bytes; a digest takes them better by the block.
    let mut sink = BufWriter::with_capacity(BLOCK, Sink(Sha256::new()));
    let bare = if plan.digest.is_empty() {
        Cow::Borrowed(plan)
    } else {
        Cow::Owned(Plan { digest: String::new(), ..plan.clone() })
    };
    // Writing to a digest cannot fail, and a plan holds only what has a JSON form.
    let written = bare.serialize(&mut serde_json::Serializer::new(&mut sink));
    let (Ok(()), Ok(sink)) = (written, sink.into_inner()) else { return String::new() };
    sink.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Sink(Sha256);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
