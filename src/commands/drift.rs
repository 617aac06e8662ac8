//! The estate file as it is now beside what a run was planned with: a run never reads it again.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::context::Context;
use super::preflight;
use crate::estate::load as estate_file;
use crate::event::Finding;
use crate::plan::Plan;
use crate::sandbox::compare;

/// Fields told by name.
const NAMED_MAX: usize = 3;

/// Where the estate file is that a new run would read; `None` where there is none, as in a rehearsal.
pub(super) fn file(context: &Context) -> Option<PathBuf> {
    if context.rehearsal().is_some() {
        return None;
    }
    estate_file::find(context.global.estate.as_deref()).ok()
}

/// Says what has changed in the file since a run was planned; the file may also have become unreadable, which a new run
/// will say. Values are not told: only names, for a file may hold what it should not.
pub(super) fn finding(plan: &Plan, file: &Path) -> Option<Finding> {
    let now = estate_file::read(file).ok()?;
    // Where a run was started with another file by name, the one that lies about may be of another estate.
    if now.estate != plan.estate.estate {
        return None;
    }
    let now = serde_json::to_value(now).ok()?;
    let planned = serde_json::to_value(&plan.estate).ok()?;
    let fields = changed(&planned, &now);
    let first = fields.get(..NAMED_MAX.min(fields.len()))?.join(", ");
    if first.is_empty() {
        return None;
    }
    let more = fields.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let said = format!(
        "{} is not what this run was planned with ({first}{more}), and this run goes on with what it was",
        file.display()
    );
    let hint = "to use it, end this run and start again: one that changed nothing is given up by itself, another by \
                phoenix-dr abandon; what is done is then found done";
    Some(preflight::warning("changed estate file", said, Some(hint.to_owned())))
}

fn changed(planned: &Value, now: &Value) -> Vec<String> {
    compare::fields(planned, now).into_iter().map(|field| field.field).collect()
}
