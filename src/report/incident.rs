//! A run as a report to file with the incident: what came of it, objectives, changes, decisions, timeline, what is
//! left to do. Markdown, from the records alone. Pure.

use super::audit;
use super::summary::{ChangedStep, LossReached, Summary, newest_record};
use super::text::{about, length, minutes, plain};
use super::words;
use crate::clock::since;
use crate::event::{Event, Mode, Record, WorldNamed};
use crate::journal::record::Entry;
use crate::plan::Plan;

/// Returns the report of a run; times in UTC. `left` is what a rehearsal asked that the simulation does not know.
pub(crate) fn markdown(entries: &[Entry], summary: &Summary, left: &[String]) -> String {
    let (runbook, title) = (&summary.runbook, &summary.title);
    let mut text = match summary.mode {
        Mode::Live => format!("# {runbook} {title}\n\n"),
        mode @ (Mode::DryRun | Mode::Rehearsal) => {
            let mode = words::mode(mode);
            format!("# {mode}: {runbook} {title}\n\n**{mode}: nothing real was changed.**\n\n")
        }
    };
    if !left.is_empty() {
        let said = "**It left the simulation: what came of it proves nothing.** Not known was:\n";
        push(&mut text, said);
        left.iter().for_each(|left| push(&mut text, &format!("- {}", inline(left))));
        push(&mut text, "");
    }
    facts(&mut text, entries, summary);
    objectives(&mut text, summary);
    changes(&mut text, summary);
    open(&mut text, summary);
    table(&mut text, "Decisions", ["UTC", "Who", "Decision"], &decisions(entries));
    table(&mut text, "Timeline", ["UTC", "Step", "What happened"], &timeline(entries));
    follow_ups(&mut text, entries);
    if summary.mode == Mode::Rehearsal {
        push(&mut text, &format!("\n**{}**", words::NOT_REAL));
    }
    text
}

fn facts(text: &mut String, entries: &[Entry], summary: &Summary) {
    let exit = summary.exit.map(|exit| format!(" (exit {exit})")).unwrap_or_default();
    let mut who: Vec<&str> = entries.iter().map(Entry::who).collect();
    who.dedup();
    let first = entries.iter().find_map(|entry| match entry {
        Entry::Known(record) => started(record),
        Entry::Foreign(_) => None,
    });
    let digest = first.map(|(plan, _)| plan.digest.clone()).unwrap_or_default();
    let world = first.and_then(|(_, world)| world).map(ToString::to_string);
    for (name, said) in [
        ("Result", format!("{}{exit}", summary.result)),
        ("Run", summary.run.to_string()),
        ("Estate", summary.estate.clone()),
        ("By", who.join(", ")),
        ("Incident began", instant(summary.incident_started)),
        ("Run began", instant(summary.started)),
        ("Run ended", instant(summary.until)),
        ("Waiting for people", length(summary.waited_for_people.duration())),
        ("Waiting for the cloud", length(summary.waited_for_cloud.duration())),
        ("Plan", digest),
        ("Took place in", world.unwrap_or_default()),
    ] {
        if said.is_empty() {
            continue;
        }
        push(text, &format!("- {name}: {}", inline(&said)));
    }
}

fn started(record: &Record) -> Option<(&Plan, Option<&WorldNamed>)> {
    let Event::RunStarted { plan, world, .. } = &record.event else { return None };
    Some((plan, world.as_ref()))
}

fn objectives(text: &mut String, summary: &Summary) {
    let mut rows: Vec<[String; 3]> = summary
        .restored
        .iter()
        .map(|restored| {
            let after = restored.after.map_or("not restored".to_owned(), |after| {
                let late = restored.objective.is_some_and(|most| after > most);
                let late = if late { ", late" } else { "" };
                format!("after {}{late}", minutes(after.duration()))
            });
            let objective = restored.objective.map(|most| minutes(most.duration()));
            let none = || "none".to_owned();
            [format!("{:?}", restored.priority), after, objective.unwrap_or_else(none)]
        })
        .collect();
    rows.extend(summary.loss.as_ref().map(loss));
    rows.extend(summary.verified.map(|at| {
        let after = format!("after {}", minutes(since(summary.incident_started, at)));
        ["verified as a whole".to_owned(), after, String::new()]
    }));
    table(text, "Objectives", ["What", "Reached", "Objective"], &rows);
}

fn loss(loss: &LossReached) -> [String; 3] {
    let reached = loss.loss.map_or("not known".to_owned(), about);
    let objective = format!("{}, at most {}", about(loss.objective), about(loss.most));
    let yet = if loss.recovered { "" } else { "none yet; chosen: " };
    let by = newest_record(loss).map(|by| format!("; {by}")).unwrap_or_default();
    ["data loss".to_owned(), format!("{yet}{reached} ({}{by})", loss.from), objective]
}

fn changes(text: &mut String, summary: &Summary) {
    for (heading, steps) in [
        ("Changed", &summary.changed),
        ("Still changed", &summary.still_changed),
        ("Not done", &summary.not_done),
    ] {
        push(text, &format!("\n## {heading}\n"));
        for step in steps {
            push(text, &format!("- {}", inline(&step_line(step))));
        }
        if steps.is_empty() {
            push(text, "Nothing.");
        }
    }
}

fn step_line(step: &ChangedStep) -> String {
    let said = if step.said.is_empty() { String::new() } else { format!(" ({})", step.said) };
    format!("{}: {}{said}", step.step, step.title)
}

fn open(text: &mut String, summary: &Summary) {
    push(text, "\n## Open\n");
    for obligation in &summary.obligations {
        let warned = words::if_pasted(Some(summary.mode));
        let (id, say, how) = (&obligation.id, &obligation.say, &obligation.how);
        let line = format!("{id}: {say} To close it{warned}: {how}");
        push(text, &format!("- [ ] {}", inline(&line)));
    }
    if summary.obligations.is_empty() {
        push(text, "Nothing.");
    }
}

/// What people decided; what flags answered for them is theirs too.
fn decisions(entries: &[Entry]) -> Vec<[String; 3]> {
    let mode = audit::mode_of(entries);
    let told = entries.iter().filter_map(|entry| {
        let Entry::Known(record) = entry else { return None };
        let told = audit::told(&record.event, mode);
        told.by_a_person.then(|| [instant(entry.time()), entry.who().to_owned(), told.whole()])
    });
    told.collect()
}

fn timeline(entries: &[Entry]) -> Vec<[String; 3]> {
    let mode = audit::mode_of(entries);
    let row = |entry: &Entry| match entry {
        Entry::Known(record) => {
            let told = audit::told(&record.event, mode);
            let step = told.step.map(|step| step.0.clone()).unwrap_or_default();
            [instant(entry.time()), step, told.what]
        }
        Entry::Foreign(foreign) => {
            [instant(entry.time()), String::new(), format!("event `{}`", foreign.kind())]
        }
    };
    entries.iter().map(row).collect()
}

fn follow_ups(text: &mut String, entries: &[Entry]) {
    let Some(Entry::Known(first)) = entries.first() else { return };
    let Some((plan, _)) = started(first) else { return };
    if plan.follow_ups.is_empty() {
        return;
    }
    push(text, "\n## Afterwards\n");
    for follow_up in &plan.follow_ups {
        push(text, &format!("- [ ] {}", inline(follow_up)));
    }
}

fn table(text: &mut String, heading: &str, columns: [&str; 3], rows: &[[String; 3]]) {
    push(text, &format!("\n## {heading}\n"));
    if rows.is_empty() {
        push(text, "None.");
        return;
    }
    push(text, &format!("| {} |", columns.join(" | ")));
    push(text, "|---|---|---|");
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| inline(cell)).collect();
        push(text, &format!("| {} |", cells.join(" | ")));
    }
}

fn instant(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Returns a text that stays in its line and cell, whatever a service or a person wrote.
fn inline(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in plain(text).chars() {
        if matches!(c, '|' | '<' | '\\' | '[') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
#[path = "incident_tests.rs"]
mod tests;
