//! `--output json`: a line that names the format, then one event a line, as the journal has them.

use serde_json::json;

use super::terminal::Terminal;
use crate::event::Record;

/// Version of the stream; fields are only ever added to it.
const VERSION: u32 = 1;

/// Prints records as JSON Lines on stdout.
pub(crate) struct JsonLines {
    terminal: Terminal,
}

impl JsonLines {
    /// Begins the stream: its first line names the format.
    pub(crate) fn begin(terminal: Terminal) -> Self {
        terminal.out(&json!({ "format": "phoenix-dr/events", "version": VERSION }).to_string());
        Self { terminal }
    }

    /// Prints one record that is durable.
    pub(crate) fn record(&self, record: &Record) {
        match serde_json::to_string(record) {
            Ok(line) => self.terminal.out(&line),
            // The journal has serialized the same record before: only a defect gets here, and the run goes on.
            Err(error) => tracing::error!(seq = record.seq, %error, "a record is not shown"),
        }
    }
}
