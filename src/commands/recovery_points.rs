//! `recovery-points`: what the database can come back from, with what each loses; by reads alone.

use std::sync::Arc;

use serde_json::json;

use super::context::Context;
use crate::actions::postgres::drafts::bytes;
use crate::actions::postgres::points::{Asked, Point, Points, list};
use crate::cli::RecoveryPointsArgs;
use crate::clients::guard::Guard;
use crate::clients::{Clients, endpoints};
use crate::clock::said_instant;
use crate::error::UserError;
use crate::estate::types::Estate;
use crate::exit::Exit;
use crate::outcome::ActionError;
use crate::report::points::{self as shown, PointShown, PointsShown};
use crate::report::terminal::Tone;

/// Lists the recovery points; ends with 10 where none can be taken.
pub(super) fn run(context: &Context, given: &RecoveryPointsArgs) -> Result<Exit, UserError> {
    let estate = context.estate()?;
    let now = context.clock.now();
    let incident = given.incident.as_deref().map(|text| said_instant(text, now)).transpose();
    let incident =
        incident.map_err(|error| UserError::new(Exit::Usage, format!("--incident: {error}")))?;
    let regions = regions(&estate, given.region.as_deref())?;
    for said in endpoints::overrides(&estate) {
        let said = format!("endpoint override: {said}; RDS of another estate may be asked");
        context.terminal.loud(Tone::Warn, &said);
    }
    let found = look(context, &estate, &Asked { incident, now, regions })?;
    let can = found.points.iter().any(|point| point.unusable.is_none());
    if context.json() {
        let answer = json!({
            "format": "phoenix-dr/recovery-points", "version": 1, "estate": estate.estate,
            "incident": incident, "looked": now, "points": found.points, "remarks": found.remarks,
        });
        context.terminal.out(&answer.to_string());
    } else {
        let points = found.points.iter().map(row).collect();
        let all =
            PointsShown { estate: &estate.estate, incident, now, points, remarks: found.remarks };
        for line in shown::lines(&all, context.terminal.columns()) {
            context.terminal.out(&line);
        }
    }
    Ok(if can { Exit::Ok } else { Exit::NotMet })
}

fn regions<'a>(estate: &'a Estate, named: Option<&'a str>) -> Result<Vec<&'a str>, UserError> {
    let known = || estate.regions.keys().map(String::as_str);
    match named {
        None => Ok(known().collect()),
        Some(named) if known().any(|known| known == named) => Ok(vec![named]),
        Some(named) => {
            let known: Vec<&str> = known().collect();
            let message = format!("`{named}` is not among the estate's regions");
            Err(UserError::new(Exit::Usage, message).hint(format!("they are {}", known.join(", "))))
        }
    }
}

/// Looks with a closed guard: what would change anything is refused in the transport.
fn look(context: &Context, estate: &Estate, asked: &Asked<'_>) -> Result<Points, UserError> {
    let runtime = context.runtime()?;
    let masks = context.terminal.masker().clone();
    masks.open(serde_json::to_string(estate).unwrap_or_default());
    let clock = Arc::clone(&context.clock);
    let clients = Clients::new(Arc::new(estate.clone()), Guard::closed(), clock).with_masks(masks);
    let found = runtime.block_on(async {
        clients.learn_secrets(&[]).await;
        let found = list(&clients, asked).await;
        clients.tunnels.close().await;
        found
    });
    runtime.shutdown_background();
    found.map_err(|ActionError { message, hint, .. }| {
        hint.into_iter().fold(UserError::new(Exit::NotMet, message), UserError::hint)
    })
}

fn row(point: &Point) -> PointShown {
    let mut notes = point.reaches();
    notes.extend(point.unusable.as_ref().map(|why| format!("cannot be taken: {why}")));
    notes.extend(point.damage.said().map(str::to_owned));
    notes.extend(point.disproved.as_ref().map(|why| format!("its last proof failed: {why}")));
    PointShown {
        id: point.id.clone(),
        title: point.title.clone(),
        taken: point.taken,
        age: point.age,
        loss: point.loss,
        size: point.bytes.map(bytes),
        forecast: point.forecast,
        proved: point.proved.as_ref().map(|proof| proof.at),
        notes,
    }
}
