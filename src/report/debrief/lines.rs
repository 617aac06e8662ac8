//! The debrief as a person reads it.

use super::{Debrief, WorldTold, decisions, earlier, timeline};
use crate::report::summary::{loss_line, restored_cells};
use crate::report::text;

/// Returns the debrief as lines of at most `columns`.
pub(crate) fn lines(debrief: &Debrief, columns: usize) -> Vec<String> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, said: String| rows.push(vec![name.to_owned(), said]);
    let exit = debrief.exit.map(|exit| format!(" (exit {exit})")).unwrap_or_default();
    row("Result", format!("{}{exit}", debrief.result));
    if !debrief.restored.is_empty() {
        row("Restored", restored_cells(&debrief.restored));
    }
    if let Some(loss) = &debrief.loss {
        row("Data loss", loss_line(loss));
    }
    row(
        "Time",
        format!(
            "{}: {} waiting for people, {} for the cloud, {} in attempts that failed and waits after them, {} in \
             gates, looks and the program itself",
            debrief.length, debrief.people, debrief.cloud, debrief.retries, debrief.program
        ),
    );
    timeline::rows(&debrief.steps, &debrief.reverts, &mut row);
    decisions::rows(&debrief.decisions, &mut row);
    fault_rows(&debrief.world, &mut row);
    if debrief.world.untold {
        row("Surprises", "are told when the rehearsal has come to its end".to_owned());
    }
    for (index, left) in debrief.world.left.iter().enumerate() {
        let name = if index == 0 { "NOT KNOWN" } else { "" };
        row(name, format!("left the simulation: {left}"));
    }
    if let (Some(region), Some(typed)) = (&debrief.world.standing, &debrief.with_loss) {
        row("No loss", format!("nothing of {region} is down in this world, as the gate found"));
        row("", format!("rehearse its loss: {typed}"));
    }
    row("World", trust(&debrief.world));
    row("Durations", debrief.world.durations.said());
    for (index, unseen) in debrief.world.unseen.iter().enumerate() {
        let name = if debrief.world.made_from.is_some() { "Guessed" } else { "Not seen" };
        row(if index == 0 { name } else { "" }, unseen.clone());
    }
    let seed = debrief.world.seed;
    let again = &debrief.again;
    row("Seed", format!("{seed}: the same faults and answers again with {again}"));
    earlier::rows(&debrief.earlier, &mut row);
    let mut lines = vec!["DEBRIEF OF A REHEARSAL: nothing real was touched".to_owned()];
    lines.extend(text::table(&rows, columns, 2));
    lines
}

fn fault_rows(world: &WorldTold, row: &mut dyn FnMut(&str, String)) {
    // They are told in the same order.
    let (mut never, mut first) = (world.never_struck.iter(), world.struck_first.iter());
    for (index, (fault, struck)) in world.faults.iter().enumerate() {
        let name = if index == 0 { "Faults" } else { "" };
        let said = match struck {
            0 => {
                let why =
                    never.next().map_or_else(String::new, |never| format!(": {}", never.said));
                format!("{fault} never struck{why}")
            }
            times => {
                let times = if *times == 1 { String::new() } else { format!(" {times} times") };
                let first = first.next().map_or_else(String::new, |first| {
                    format!(", first after {} at {}", first.after, first.call)
                });
                format!("{fault} struck{times}{first}")
            }
        };
        row(name, said);
    }
}

fn trust(world: &WorldTold) -> String {
    let of = world.file.as_ref().map(|file| format!(" of {file}")).unwrap_or_default();
    match (world.captured, &world.made_from) {
        (Some(at), _) => {
            let age = crate::report::world::age(at, world.age.unwrap_or_default().0);
            let names = if world.pseudonyms { ", under other names" } else { "" };
            format!("the estate {}{of}, {age}{names}", world.estate)
        }
        (None, Some(file)) => format!(
            "made from the names in {file}: how your estate is doing is guessed: run phoenix-dr world capture"
        ),
        (None, None) => format!(
            "`{}`{of}, written by hand: not your estate: run phoenix-dr world capture",
            world.world
        ),
    }
}
