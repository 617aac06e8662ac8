//! Action `experiments.rebuild`: the state of experiments from their events, and every event that is corrupt.
//!
//! Nothing is written while more is corrupt than was accepted. What is written is written by so many experiments in one
//! transaction, together with what the rows were before and how far that is: a process may be killed anywhere, and the next
//! one goes on from there.

use serde_json::{Map, Value, json};

use super::layout::{Layout, Place, layout, wanted};
use super::own::{self, Begun, Tally};
use super::pass::{self, Looked, Way};
use super::report::{Findings, Summary};
use super::{restore, source};
use crate::by_hand;
use crate::clients::Clients;
use crate::clients::postgres::{Session, database, say_who_blocks};
use crate::engine::ports::{Armed, Call, Observation, Performed};
use crate::outcome::{ActionError, Difference, Effect, FailureClass};
use crate::runbook::catalogue::actions::ExperimentsRebuild;
use crate::shell;
use crate::span::Span;

/// A look before the change reads no longer than this; what remains is read before anything is written.
const LOOK: Span = Span::seconds(45);
/// The built-in runbook's command, OPS-001.
const COMMAND: &str = "rebuild-experiments";
/// Ids of unknown experiments in one message.
const NAMED_MAX: usize = 10;

fn place<'a>(clients: &'a Clients, with: &'a ExperimentsRebuild) -> Result<Place<'a>, ActionError> {
    let database = with.database.as_deref().unwrap_or(&database(clients)?.name);
    Ok(Place { instance: &with.instance, database })
}

/// Looks what would be rebuilt, by reads only.
pub(crate) async fn observe(
    clients: &Clients,
    call: &Call,
    with: &ExperimentsRebuild,
) -> Result<Observation, ActionError> {
    let place = place(clients, with)?;
    let mut session = source::open(clients, place).await?;
    // What this step began can be gone on with, and taken back, whatever has become of the rest.
    let begun = own::begun(clients, &mut session, place, &call.token()).await?;
    let mut seen = match &begun {
        None => fresh(clients, call, with, &mut session).await?,
        Some(begun) => {
            let mut seen = Observation::new(state(Some(begun)), whole());
            seen.evidence = vec![format!("begun: {}", begun.tally.line(true))];
            if begun.ended {
                seen.outputs = outputs(&begun.tally, report_of(clients, call).as_deref());
            }
            seen
        }
    };
    seen.commands = by_hand::experiments::rebuild(&clients.estate, &call.with);
    Ok(seen)
}

/// Returns what there is of the rebuilding: of one that was begun, a part is as before and a part is this step's.
fn state(begun: Option<&Begun>) -> Value {
    match begun {
        None => json!({ "begun": null, "whole": null }),
        Some(begun) if begun.ended => whole(),
        Some(_) => json!({ "begun": true, "whole": null }),
    }
}

fn whole() -> Value {
    json!({ "begun": true, "whole": true })
}

async fn fresh(
    clients: &Clients,
    call: &Call,
    with: &ExperimentsRebuild,
    session: &mut Session,
) -> Result<Observation, ActionError> {
    let place = place(clients, with)?;
    let known = wanted(clients)?;
    let layout = layout(clients, session, place, known).await?;
    let ids = with.experiments.ids();
    all_known(clients, session, with, &layout).await?;
    own::placed(clients, session, place).await?;
    let without = match ids {
        None => without_events(clients, session, place, &layout).await?,
        Some(_) => None,
    };
    let way = Way { place, layout: &layout, ids: ids.as_ref(), first: known.events.first_sequence };
    let until = clients.clock.now().checked_add(LOOK.0).ok();
    let mut findings = Findings::counted(clients);
    let looked = pass::look(clients, call, way, until, &mut findings).await?;
    let mut seen = Observation::new(state(None), whole());
    seen.evidence = evidence(&looked, &layout, with);
    seen.evidence.extend(without);
    seen.evidence.extend(findings.shown());
    seen.evidence.extend(looked.samples.iter().map(|line| format!("other than stored: {line}")));
    seen.differences = vec![Difference {
        what: format!("experiments in {}", layout.said),
        from: format!("{} other than their events say", looked.tally.rebuilt),
        to: "as their events say".to_owned(),
    }];
    seen.context = json!({ "complete": looked.complete, "corrupt": looked.tally.corrupt });
    Ok(seen)
}

fn evidence(looked: &Looked, layout: &Layout, with: &ExperimentsRebuild) -> Vec<String> {
    let tally = &looked.tally;
    let mut lines = vec![tally.line(false)];
    if !looked.complete {
        lines.push(format!(
            "that is what {LOOK} are enough for, of about {} events: the rest is read before anything is written",
            layout.events_about
        ));
    }
    if tally.corrupt > with.max_corrupt {
        lines.push(format!(
            "NOTHING WILL BE WRITTEN: {} are corrupt, and `max_corrupt` is {}; the step fails with a list of them all",
            tally.corrupt, with.max_corrupt
        ));
    }
    lines
}

/// Says which of the ids are nobody's: neither a row nor an event has them.
async fn all_known(
    clients: &Clients,
    session: &mut Session,
    with: &ExperimentsRebuild,
    layout: &Layout,
) -> Result<(), ActionError> {
    let Some(ids) = with.experiments.ids() else { return Ok(()) };
    let invalid = |message: String| ActionError::unchanged(FailureClass::Invalid, message);
    if ids.is_empty() {
        let hint = "name their ids, or say `all`";
        return Err(invalid("`experiments` names none".to_owned()).hint(hint));
    }
    let (table, events) = (&layout.table, &layout.events);
    let sql = format!(
        "select n.id from unnest($1::text[]) n(id) \
         where not exists (select from {table} x where x.{} = n.id::{kind}) \
         and not exists (select from {} e where e.{} = n.id::{kind}) order by 1",
        layout.id.name,
        events.table,
        events.experiment,
        kind = layout.id.kind,
    );
    let what = format!("look for the experiments in {}", layout.said);
    let ids: Vec<&str> = ids.into_iter().collect();
    let rows = session.read(clients, &what, &sql, &[&ids]).await.map_err(|error| {
        let hint = format!("ids of experiments are of the type {}", layout.id.kind);
        if error.class == FailureClass::Invalid { error.hint(hint) } else { error }
    })?;
    let unknown: Vec<String> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let more = unknown.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let named = unknown.into_iter().take(NAMED_MAX).collect::<Vec<_>>().join(", ");
    Err(invalid(format!(
        "no experiment in {}, nor any event, has the id {named}{more}",
        layout.said
    ))
    .hint("compare `experiments` with the ids there are"))
}

/// Says how many experiments have no events. It is only told: where counting takes longer than a look may, that is told.
async fn without_events(
    clients: &Clients,
    session: &mut Session,
    place: Place<'_>,
    layout: &Layout,
) -> Result<Option<String>, ActionError> {
    let what = format!("count the experiments without events in {}", place.database);
    let sql = format!(
        "select count(*) from {} x where not exists (select from {} e where e.{} = x.{})",
        layout.table, layout.events.table, layout.events.experiment, layout.id.name
    );
    let row = match session.read_one(clients, &what, &sql, &[]).await {
        Ok(row) => row,
        Err(error) if error.class == FailureClass::Transient => {
            return Ok(Some(format!(
                "experiments without events are not counted: {}",
                error.message
            )));
        }
        Err(error) => return Err(error),
    };
    let count: i64 = row.try_get(0).map_err(|error| super::layout::unreadable(&what, &error))?;
    Ok((count > 0).then(|| format!("{count} experiments have no events: they stay as they are")))
}

/// Rebuilds, from where an earlier attempt came to.
pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &ExperimentsRebuild,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    let place = place(clients, with)?;
    let known = wanted(clients)?;
    let mut session = source::open(clients, place).await?;
    let layout = layout(clients, &mut session, place, known).await?;
    let ids = with.experiments.ids();
    let way = Way { place, layout: &layout, ids: ids.as_ref(), first: known.events.first_sequence };
    let begun = match own::begun(clients, &mut session, place, &call.token()).await? {
        Some(begun) => begun,
        None => {
            all_known(clients, &mut session, with, &layout).await?;
            accepted(clients, call, with, way, seen).await?;
            let what = format!("begin to rebuild experiments in {}", place.database);
            let process = session.process(clients, &what).await?;
            let beginning =
                own::begin(clients, &mut session, (&what, place.instance), call, &layout);
            say_who_blocks(clients, &what, process, way.other(), beginning).await?
        }
    };
    finish(clients, call, with, way, session, begun).await.map_err(applied)
}

/// From here on there is something that was not there before.
fn applied(error: ActionError) -> ActionError {
    match error.effect {
        Effect::Unknown => error,
        Effect::None | Effect::Applied => ActionError { effect: Effect::Applied, ..error },
    }
}

async fn finish(
    clients: &Clients,
    call: &Call,
    with: &ExperimentsRebuild,
    way: Way<'_>,
    mut session: Session,
    mut begun: Begun,
) -> Result<Performed, ActionError> {
    if !begun.ended {
        pass::write(clients, call, way, &mut begun, with.max_corrupt).await?;
    }
    let mut findings = Findings::kept(clients, call)?;
    begun.findings(clients, way.place, |finding| findings.add(&finding)).await?;
    let shown = findings.shown();
    let summary = Summary {
        place: way.place,
        table: &way.layout.said,
        at: clients.clock.now(),
        written: true,
        max_corrupt: with.max_corrupt,
        tally: begun.tally,
        images: Some(&begun.images),
    };
    let file = findings.finish(call, &summary)?;
    // Last: what is called done has its report.
    if !begun.ended {
        begun.set_ended(clients, &mut session, true).await?;
    }
    let mut notes = vec![begun.tally.line(true)];
    notes.extend(shown);
    notes.push(format!("what the rows were before: {}", begun.images));
    notes.extend(file.iter().map(|file| format!("report: {file}")));
    Ok(Performed {
        after: whole(),
        outputs: outputs(&begun.tally, file.as_deref()),
        obligations: Vec::new(),
        notes,
    })
}

/// Holds that no more is corrupt than was accepted; otherwise all of it is in the report, and nothing was written.
async fn accepted(
    clients: &Clients,
    call: &Call,
    with: &ExperimentsRebuild,
    way: Way<'_>,
    seen: &Observation,
) -> Result<(), ActionError> {
    let before: Option<u64> = seen.context["corrupt"].as_u64();
    if seen.context["complete"] == json!(true) && before.is_some_and(|n| n <= with.max_corrupt) {
        return Ok(());
    }
    let mut findings = Findings::kept(clients, call)?;
    let looked = pass::look(clients, call, way, None, &mut findings).await?;
    let tally = looked.tally;
    let shown = findings.shown();
    let summary = Summary {
        place: way.place,
        table: &way.layout.said,
        at: clients.clock.now(),
        written: false,
        max_corrupt: with.max_corrupt,
        tally,
        images: None,
    };
    let file = findings.finish(call, &summary)?;
    if tally.corrupt <= with.max_corrupt {
        return Ok(());
    }
    let report = file.map(|file| format!("; all of them: {file}")).unwrap_or_default();
    let worst = shown.join("; ");
    let message = format!(
        "{} corrupt events and gaps in {}, and at most {} are accepted: nothing was written. {worst}{report}",
        tally.corrupt, way.layout.events.table, with.max_corrupt
    );
    let hint = format!(
        "restore them, or accept them: `{}` rebuilds what the sound events say",
        accepting(clients, with, tally.corrupt)
    );
    Err(ActionError::unchanged(FailureClass::Invalid, message).hint(hint))
}

/// Returns what accepts so many corrupt events: the next command, or where another runbook does this, the argument.
fn accepting(clients: &Clients, with: &ExperimentsRebuild, corrupt: u64) -> String {
    if clients.command != COMMAND {
        return format!("max_corrupt: {corrupt}");
    }
    let mut command = format!("phoenix-dr {COMMAND}");
    let known = clients.estate.database.as_ref();
    let ids = with.experiments.ids().map(|ids| ids.into_iter().collect::<Vec<_>>().join(","));
    let database =
        with.database.as_ref().filter(|name| known.is_none_or(|known| known.name != **name));
    let instance =
        Some(&with.instance).filter(|id| known.is_none_or(|known| known.primary.id != **id));
    for (flag, value) in
        [("experiments", ids.as_ref()), ("database", database), ("instance", instance)]
    {
        let given = value.map(|value| format!(" --{flag} {}", shell::word(value)));
        command.extend(given);
    }
    format!("{command} --max-corrupt {corrupt}")
}

/// Restores the rows that are still as this step wrote them.
pub(crate) async fn revert(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &ExperimentsRebuild,
) -> Result<(), ActionError> {
    let place = place(clients, with)?;
    let mut session = source::open(clients, place).await?;
    let Some(begun) = own::begun(clients, &mut session, place, &call.token()).await? else {
        return Ok(());
    };
    let layout = layout(clients, &mut session, place, wanted(clients)?).await?;
    restore::restore(clients, call, &mut session, place, (&layout, &begun)).await.map_err(applied)
}

/// Returns where the report of a step is, which is done.
fn report_of(clients: &Clients, call: &Call) -> Option<String> {
    super::report::file(clients, call).filter(|file| file.exists()).map(|f| f.display().to_string())
}

fn outputs(tally: &Tally, report: Option<&str>) -> Map<String, Value> {
    Map::from_iter([
        ("rebuilt".to_owned(), json!(tally.rebuilt)),
        ("unchanged".to_owned(), json!(tally.unchanged)),
        ("not_rebuilt".to_owned(), json!(tally.not_rebuilt)),
        ("corrupt".to_owned(), json!(tally.corrupt)),
        ("experiments".to_owned(), json!(tally.experiments)),
        ("report".to_owned(), json!(report.unwrap_or_default())),
    ])
}

#[cfg(test)]
mod tests;
