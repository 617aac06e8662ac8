//! How true the simulation is: one list of calls through the real SDK clients, asked of the simulation and of the
//! servers of the throw-away estate, and the answers compared.
//!
//! What differs by design stands in [`differences`], each with which side is right by the service's documentation. A
//! difference nobody listed fails the test, and so does a listed one that is none any more. [`listed`] holds the list of
//! operations in `docs/simulation.md` to all of it. Without `PHOENIX_DR_TEST_ESTATE` (`tests/run` sets it) only the simulation is asked.

mod buckets;
mod databases;
mod differences;
mod identity;
mod instances;
mod listed;
mod objects;
mod recorded;
mod records;
mod side;
mod told;

use std::collections::BTreeMap;

use serde_json::Value;

use differences::DIFFERENCES;
use side::Side;
use told::Notes;

/// Every sequence of calls.
async fn asked(side: &Side) -> Notes {
    let mut notes = Notes::of(side.asked.clone());
    identity::ask(side, &mut notes).await;
    buckets::ask(side, &mut notes).await;
    objects::ask(side, &mut notes).await;
    records::ask(side, &mut notes).await;
    databases::ask(side, &mut notes).await;
    instances::ask(side, &mut notes).await;
    notes
}

/// Returns the names of steps whose answers differ.
fn different<'a>(
    ours: &'a BTreeMap<String, Value>,
    theirs: &'a BTreeMap<String, Value>,
) -> Vec<&'a str> {
    let names = ours.keys().chain(theirs.keys().filter(|name| !ours.contains_key(*name)));
    names.filter(|name| ours.get(*name) != theirs.get(*name)).map(String::as_str).collect()
}

#[test]
fn the_simulation_answers_as_the_servers_do() {
    let ours = side::simulated(asked);
    assert!(ours.left.is_empty(), "the simulation does not know: {:#?}", ours.left);
    let named = |name: &str| ours.notes.contains_key(name);
    let unknown: Vec<&str> =
        DIFFERENCES.iter().map(|known| known.step).filter(|step| !named(step)).collect();
    assert!(unknown.is_empty(), "no step has the name of these differences: {unknown:?}");
    let Some(theirs) = side::served(asked) else { return };
    let mut wrong = String::new();
    let found = different(&ours.notes, &theirs);
    let listed = |step: &str| DIFFERENCES.iter().any(|known| known.step == step);
    for step in &found {
        if !listed(step) {
            let of = |side: &BTreeMap<String, Value>| {
                side.get(*step).map_or("nothing".to_owned(), ToString::to_string)
            };
            wrong += &format!(
                "\n{step}\n  simulation: {}\n  servers:    {}",
                of(&ours.notes),
                of(&theirs)
            );
        }
    }
    for known in DIFFERENCES.iter().filter(|known| !found.contains(&known.step)) {
        wrong += &format!(
            "\n{}\n  is listed as a difference ({:?} is right: {}) and is none",
            known.step, known.right, known.why
        );
    }
    assert!(wrong.is_empty(), "{} steps, and these differ:{wrong}", ours.notes.len());
}
