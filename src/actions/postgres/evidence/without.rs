//! Going on without evidence: what is missing, all of it at once, and the word that goes on all the same.

use std::path::Path;

use crate::clients::Clients;
use crate::engine::ports::{Observation, Waiver};
use crate::estate::types::Database;
use crate::outcome::{ActionError, Obligation};
use crate::runbook::catalogue::actions::PostgresEvidence;
use crate::shell::line;

/// Something that is missing, and what brings it about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::actions) struct Lack {
    pub what: String,
    pub mend: Option<String>,
}

impl Lack {
    pub(in crate::actions) fn of(error: ActionError) -> Self {
        Self { what: error.message, mend: error.hint }
    }
}

/// Returns what is missing of a server that does not answer: it may be down, and its files are there all the same.
pub(super) fn down(error: ActionError, root: Option<&Path>, name: &str) -> Lack {
    let archive = root.unwrap_or_else(|| Path::new("DIRECTORY")).join(format!("{name}.tar"));
    let tar = ["tar", "--numeric-owner", "-C", "DATA_DIRECTORY", "-cf"].map(str::to_owned);
    let argv: Vec<String> =
        tar.into_iter().chain([archive.display().to_string(), ".".to_owned()]).collect();
    let copy = format!(
        "if it is down, on its host and before anybody starts it: {}, and so each directory that pg_tblspc in it points to",
        line(&argv)
    );
    let mend = match error.hint {
        Some(hint) => format!("{hint}; {copy}"),
        None => copy,
    };
    Lack { what: error.message, mend: Some(mend) }
}

fn on_rds(clients: &Clients) -> bool {
    clients.estate.database.as_ref().is_some_and(Database::on_rds)
}

/// Returns a look that offers to go on without: all that is missing at once, and what would mend it.
pub(in crate::actions) fn gone_without(
    clients: &Clients,
    with: &PostgresEvidence,
    mut seen: Observation,
    lacking: &[Lack],
) -> Observation {
    // What an earlier run went on without was lost in another incident: nobody has said yet that this one may be as well.
    let obligation = none(clients, with);
    seen.evidence = lacking.iter().map(|lack| lack.what.clone()).collect();
    let what: Vec<&str> = lacking.iter().map(|lack| lack.what.as_str()).collect();
    let mend: Vec<&str> = lacking.iter().filter_map(|lack| lack.mend.as_deref()).collect();
    let mend = if mend.is_empty() { String::new() } else { format!(" ({})", mend.join("; ")) };
    let instance = &with.instance;
    let cannot = match on_rds(clients) {
        true => format!("no snapshot of {instance} can be taken from here"),
        false => format!("the files of {instance} cannot be copied from here"),
    };
    seen.waiver = Some(Waiver {
        why: format!(
            "{cannot}: {}{mend}. What is written from now on may destroy what shows how the damage came about",
            what.join("; ")
        ),
        word: "no-evidence".to_owned(),
        obligation,
    });
    seen
}

/// Returns what stays open where the run goes on without evidence.
pub(in crate::actions) fn none(clients: &Clients, with: &PostgresEvidence) -> Obligation {
    let PostgresEvidence { instance, region, .. } = with;
    let by_hand = match on_rds(clients) {
        true => format!("take a snapshot of {instance} by hand"),
        false => format!("copy the files of {instance} by other means"),
    };
    Obligation {
        id: format!("no-evidence-{instance}"),
        say: format!(
            "there is no copy of {instance} in {region} as it was found: nothing but the damaged database itself shows \
             how the damage came about"
        ),
        how: format!("keep the damaged database, and {by_hand} before anything is repaired there"),
        closed_by: None,
    }
}
