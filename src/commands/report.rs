//! `report`: what a run did, for the incident's record.

use serde_json::json;

use super::context::Context;
use super::meant;
use crate::error::UserError;
use crate::event::{Mode, Record};
use crate::exit::Exit;
use crate::journal::reader;
use crate::journal::record::Entry;
use crate::report::{incident, summary};
use crate::sandbox::log;

/// Prints the report of a run on stdout.
pub(super) fn run(context: &Context, text: Option<&str>) -> Result<Exit, UserError> {
    let store = context.store()?;
    let run = meant::named_or_meant(&store, text)?;
    let mut entries: Vec<Entry> = Vec::new();
    reader::read(&store.dir(&run).journal(), |entry| entries.push(entry))
        .map_err(|error| error.user())?;
    let records: Vec<Record> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Known(record) => Some((**record).clone()),
            Entry::Foreign(_) => None,
        })
        .collect();
    // Of a run that is under way, or whose process was lost, the last record is as far as anybody knows.
    let until = records.last().map_or_else(|| context.clock.now(), |record| record.time);
    let Some(found) = summary::of(&records, until) else {
        return Err(UserError::new(Exit::Journal, format!("run {run} has no beginning"))
            .hint(format!("look at it: phoenix-dr audit {} --verify", run.short())));
    };
    let left = match found.mode {
        // A world that cannot be read any more says nothing of it; the journal is what is reported.
        Mode::Rehearsal => {
            let journal = store.dir(&run).journal();
            journal.parent().and_then(|directory| log::left(directory).ok()).unwrap_or_default()
        }
        Mode::Live | Mode::DryRun => Vec::new(),
    };
    if context.json() {
        let shown =
            json!({ "format": "phoenix-dr/report", "version": 1, "summary": found, "left": left });
        context.terminal.out(&shown.to_string());
    } else {
        context.terminal.out(incident::markdown(&entries, &found, &left).trim_end());
    }
    Ok(Exit::Ok)
}
