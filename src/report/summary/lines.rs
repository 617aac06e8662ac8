//! The summary as a person reads it.

use jiff::tz::TimeZone;

use super::{ChangedStep, LossReached, RestoredPriority, Summary};
use crate::clock::since;
use crate::event::Mode;
use crate::report::text::{self, about, length, minutes};
use crate::report::words;

/// Steps named in one list: the next command must stay in view.
const STEPS_MAX: usize = 20;

/// Columns the names at the left take at most.
const NAMES: usize = 15;

/// Returns the summary as lines of at most `columns`.
pub(crate) fn lines(summary: &Summary, columns: usize, zone: &TimeZone) -> Vec<String> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, said: String| rows.push(vec![name.to_owned(), said]);
    let exit = summary.exit.map(|exit| format!(" (exit {exit})")).unwrap_or_default();
    row("Result", format!("{}{exit}", summary.result));
    row("", run_line(summary, zone));
    if !summary.restored.is_empty() {
        row("Restored", restored_line(summary));
    }
    if let Some(loss) = &summary.loss {
        row("Data loss", loss_line(loss));
    }
    row(
        "Time",
        format!(
            "{} since the incident began: {} waiting for people, {} for the cloud",
            minutes(since(summary.incident_started, summary.until)),
            length(summary.waited_for_people.duration()),
            length(summary.waited_for_cloud.duration())
        ),
    );
    let all = summary.still_changed.len() == summary.changed.len() && !summary.changed.is_empty();
    let mut steps = listed(summary, "Not done", &summary.not_done, None);
    steps.extend(listed(summary, "Changed", &summary.changed, Some("nothing")));
    if all {
        steps.push(("Still changed".to_owned(), "all of that".to_owned()));
    } else {
        steps.extend(listed(summary, "Still changed", &summary.still_changed, Some("nothing")));
    }
    for (name, said) in steps {
        row(&name, said);
    }
    for (at, obligation) in summary.obligations.iter().enumerate() {
        // One line each: the list must be taken in at a glance.
        let said = format!("{}: {}", obligation.id, obligation.say);
        let said = text::clip(&said, columns.saturating_sub(NAMES));
        row(if at == 0 { "Open" } else { "" }, said);
    }
    if summary.obligations.is_empty() {
        row("Open", "nothing".to_owned());
    } else {
        row("", format!("how each is closed: phoenix-dr status {}", summary.run.short()));
    }
    for (at, (command, does)) in summary.next.iter().enumerate() {
        row(if at == 0 { "Next" } else { "" }, format!("{command} # {does}"));
    }
    let mut lines = text::table(&rows, columns, 0);
    if summary.mode == Mode::Rehearsal {
        lines.extend(text::wrap(words::NOT_REAL, columns, 2));
    }
    lines
}

fn run_line(summary: &Summary, zone: &TimeZone) -> String {
    format!(
        "{} {} · {} · estate {} · run {} · {} to {}",
        summary.runbook,
        summary.title,
        words::mode(summary.mode),
        summary.estate,
        summary.run.short(),
        text::hour(summary.started),
        text::hour_both(summary.until, zone)
    )
}

fn restored_line(summary: &Summary) -> String {
    let cells = restored_cells(&summary.restored);
    match summary.verified {
        Some(at) => format!("{cells} · verified {}", minutes(since(summary.incident_started, at))),
        None => format!("{cells} · not verified as a whole"),
    }
}

/// Returns when each priority was back, against its objective.
pub(in crate::report) fn restored_cells(restored: &[RestoredPriority]) -> String {
    let cells = restored.iter().map(|restored| {
        let priority = restored.priority;
        let of = restored.objective.map(|span| format!(" of {}", minutes(span.duration())));
        let of = of.unwrap_or_default();
        match restored.after {
            Some(after) => {
                let late = restored.objective.is_some_and(|most| after > most);
                let late = if late { " LATE" } else { "" };
                format!("{priority:?} {}{of}{late}", minutes(after.duration()))
            }
            None => format!("{priority:?} NOT"),
        }
    });
    cells.collect::<Vec<_>>().join(" · ")
}

/// Returns what was lost, against its objective.
pub(in crate::report) fn loss_line(loss: &LossReached) -> String {
    let lost = loss.loss.map_or("not known".to_owned(), about);
    let over = match loss.loss {
        Some(lost) if lost > loss.most => ", MORE THAN ALLOWED",
        Some(lost) if lost > loss.objective => ", over the objective",
        Some(_) | None => "",
    };
    let yet = if loss.recovered { "" } else { "none yet; chosen: " };
    let by = newest_record(loss).map(|by| format!("; {by}")).unwrap_or_default();
    format!(
        "{yet}{lost} of {}, at most {}{over}; {}{by}",
        about(loss.objective),
        about(loss.most),
        loss.from
    )
}

/// Says what the newest record tells of a loss, and what was expected; `None` where it was not read. Where nothing was
/// written in the last minutes before the incident, less is lost than it can tell.
pub(in crate::report) fn newest_record(loss: &LossReached) -> Option<String> {
    let (newest, lost) = (loss.newest?, loss.loss?);
    let expected = loss.estimated.map_or("not known".to_owned(), about);
    let at = newest.strftime("%Y-%m-%d %H:%M:%S");
    let told = if lost.duration().is_zero() {
        "not from before the incident".to_owned()
    } else {
        format!("{} before the incident: at most that is lost", about(lost))
    };
    Some(format!("newest record {at} UTC, {told}; estimated {expected}"))
}

/// Returns the rows of a list of steps.
fn listed(
    summary: &Summary,
    name: &str,
    steps: &[ChangedStep],
    none: Option<&str>,
) -> Vec<(String, String)> {
    let mut rows: Vec<String> = steps
        .iter()
        .take(STEPS_MAX)
        .map(|ChangedStep { step, title, said }| match said.as_str() {
            "" => format!("{step}: {title}"),
            said => format!("{step}: {title} ({said})"),
        })
        .collect();
    if let Some(more) = steps.len().checked_sub(STEPS_MAX).filter(|more| *more > 0) {
        let (more, run) = (text::count(more, "more step"), summary.run.short());
        rows.push(format!("and {more}: phoenix-dr status {run} lists them"));
    }
    if rows.is_empty() {
        rows.extend(none.map(str::to_owned));
    }
    let names = std::iter::once(name).chain(std::iter::repeat(""));
    names.map(str::to_owned).zip(rows).collect()
}
