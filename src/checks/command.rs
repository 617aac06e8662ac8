//! Check `command`: a program that only reads; exit 0 holds, 1 fails, anything else is inconclusive.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::Seen;
use crate::clients::Clients;
use crate::clients::process::{self, Program, ProgramEnd, Scrub};
use crate::runbook::catalogue::checks::Command;
use crate::sandbox::programs::Purpose;
use crate::span::Span;

const LIMIT: Duration = Duration::from_secs(30);
/// Most of its output that becomes part of the value and the record.
const STDOUT_MAX: usize = 4 * 1024;

/// Looks once.
pub(crate) async fn look(clients: &Clients, with: &Command) -> Seen {
    if !with.reads_only && clients.guard.pass(with.argv.join(" ")).is_err() {
        return Seen::unclear(
            "not run: nothing may be changed now, and the runbook does not say `reads_only`",
        );
    }
    let limit = with.timeout.map_or(LIMIT, Span::duration);
    let program = Program {
        argv: &with.argv,
        env: &BTreeMap::new(),
        scrub: Scrub::Passwords,
        cwd: None,
        limit,
        artifact: None,
        purpose: Purpose::Look,
    };
    let ended = match process::run(clients, &program).await {
        Ok(ended) => ended,
        Err(error) => return Seen::unclear(error.to_string()),
    };
    let said = ended.say(limit);
    let stdout: String = ended.stdout.trim_end().chars().take(STDOUT_MAX).collect();
    match ended.end {
        ProgramEnd::Exit(code @ 0) => Seen::holds(said, json!({ "exit": code, "stdout": stdout })),
        ProgramEnd::Exit(code @ 1) => Seen::fails(said, json!({ "exit": code, "stdout": stdout })),
        ProgramEnd::Exit(_) | ProgramEnd::Signal(_) | ProgramEnd::TimedOut => Seen::unclear(said),
    }
}
