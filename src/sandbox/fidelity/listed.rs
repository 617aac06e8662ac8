//! The list of operations in `docs/simulation.md`, held to the tables the services answer from and to what the calls of
//! this module ask: nothing is simulated that it does not name, and it names nothing as compared that no call compares.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::differences::DIFFERENCES;
use super::recorded::Named;
use super::side;
use crate::sandbox::aws;
use crate::sandbox::fault::Service;

const DOCUMENT: &str = include_str!("../../../docs/simulation.md");

/// How far an operation is compared, by the first words of its last column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compared {
    /// Answers and refusals are the server's
    Server,
    /// The server has nothing of the kind: what it refuses is compared
    Refusals,
    /// No server knows the operation: it is asked, and every answer is listed as a difference
    Nowhere,
}

impl Compared {
    fn of(cell: &str) -> Option<Self> {
        let said = |words: &str| cell.starts_with(words);
        match cell {
            _ if said("refusals of ") => Some(Self::Refusals),
            _ if said("no server") => Some(Self::Nowhere),
            _ if said("moto") || said("ministack") => Some(Self::Server),
            _ => None,
        }
    }
}

/// Returns the rows of the list: what each says of the operations it names.
fn listed() -> Result<BTreeMap<Named, Compared>, String> {
    let table = DOCUMENT.split("\n## Operations\n").nth(1).ok_or("there is no such part")?;
    let rows = table.lines().skip_while(|line| !line.starts_with('|')).skip(2);
    let mut found = BTreeMap::new();
    let mut service = None;
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, of, operations, simulated, compared, _] = cells.as_slice() else {
            return Err(format!("this row has other columns: {row}"));
        };
        if !of.is_empty() {
            let name = of.to_lowercase().replace(' ', "");
            service = Service::ALL.into_iter().find(|known| known.name() == name);
        }
        let Some(service) = service.filter(|known| !aws::operations(*known).is_empty()) else {
            continue;
        };
        for name in operations.split([',', ';', ' ']).filter(|word| is_operation(word)) {
            if !simulated.starts_with("same") {
                return Err(format!("{name} is not said to be the same: {simulated}"));
            }
            let how = Compared::of(compared).ok_or_else(|| {
                format!("{name} does not say with what it is compared: {compared}")
            })?;
            if found.insert((service, name.to_owned()), how).is_some() {
                return Err(format!("{name} is listed twice"));
            }
        }
    }
    Ok(found)
}

/// Operations are written in capitals and small letters, as `GetObject`; `GET` and `SQL` are none.
fn is_operation(word: &str) -> bool {
    let mut letters = word.chars();
    let begins = letters.next().is_some_and(char::is_uppercase);
    begins && letters.next().is_some_and(char::is_lowercase) && letters.all(char::is_alphanumeric)
}

#[test]
fn every_simulated_operation_is_listed_and_no_other() {
    let listed: BTreeSet<Named> = listed().expect("the list").into_keys().collect();
    let of =
        |service| aws::operations(service).iter().map(move |name| (service, (*name).to_owned()));
    let known: BTreeSet<Named> = Service::ALL.into_iter().flat_map(of).collect();
    let missing: Vec<&Named> = known.difference(&listed).collect();
    assert!(missing.is_empty(), "simulated and not listed in docs/simulation.md: {missing:?}");
    let more: Vec<&Named> = listed.difference(&known).collect();
    assert!(more.is_empty(), "listed in docs/simulation.md and not simulated: {more:?}");
}

#[test]
fn every_listed_operation_is_compared_as_far_as_the_list_says() {
    let asked = side::simulated(super::asked);
    let differs = |step: &str| DIFFERENCES.iter().any(|known| known.step == step);
    let mut wrong = String::new();
    for ((service, operation), compared) in listed().expect("the list") {
        let named = (service, operation.clone());
        let of = asked.steps.iter().filter(|(_, of)| **of == named).map(|(step, _)| step.as_str());
        let (apart, alike): (Vec<&str>, Vec<&str>) = of.partition(|step| differs(step));
        let refused = |step: &&&str| is_refusal(&asked.notes[**step]);
        let why = match compared {
            Compared::Server if alike.iter().all(|step| refused(&step)) => {
                "no call that is answered is compared"
            }
            Compared::Refusals if !alike.iter().any(|step| refused(&step)) => {
                "no call that is refused is compared"
            }
            Compared::Nowhere if !alike.is_empty() => "servers know it after all",
            Compared::Nowhere if apart.is_empty() => "it is never asked",
            Compared::Server | Compared::Refusals | Compared::Nowhere => continue,
        };
        wrong += &format!("\n{} {operation}: {why}", service.name());
    }
    assert!(wrong.is_empty(), "docs/simulation.md says otherwise:{wrong}");
}

/// Says whether a step's answer is that of a call that was refused.
fn is_refusal(answer: &Value) -> bool {
    answer.get("error").is_some()
}
