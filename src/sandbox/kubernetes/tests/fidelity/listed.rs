//! The list of operations in `docs/simulation.md`, held to what a cluster is dispatched by and to what the calls ask.

use std::collections::BTreeSet;

use super::*;
use crate::sandbox::kubernetes::access::Review;
use crate::sandbox::kubernetes::change;
use crate::sandbox::kubernetes::operation::Operation;

const DOCUMENT: &str = include_str!("../../../../../docs/simulation.md");

/// Returns the words in backticks of the paragraph that begins so.
fn listed(beginning: &str) -> BTreeSet<String> {
    let rest = DOCUMENT.split(beginning).nth(1);
    let paragraph = rest.and_then(|rest| rest.split("\n\n").next());
    let paragraph = paragraph.unwrap_or_else(|| panic!("no paragraph begins with `{beginning}`"));
    paragraph.split('`').skip(1).step_by(2).map(|name| name.replace('\n', " ")).collect()
}

fn of_review(review: Review) -> String {
    format!("create {}", review.plural())
}

/// Returns what a call asks for; nothing where the simulation has no such thing.
fn operation(scene: &Scene, call: &Call) -> Option<String> {
    if let Some(review) = Review::of(call.path) {
        return Some(of_review(review));
    }
    let headers = HeaderMap::new();
    let uri = call.path.replace(['<', '>', ' '], "").parse().expect("a path");
    let asked =
        scene.cluster.settled(|store| Asked::of(&call.method, &uri, &headers, &store.kinds));
    let operation = Operation::of(&asked.ok()?).ok()?;
    Some(operation.name().to_owned())
}

#[test]
fn every_operation_and_patch_is_listed_and_compared() {
    let calls = calls();
    let scene = Scene::of(Vec::new(), behaviour(Some(0)));
    let operations: Vec<Option<String>> =
        calls.iter().map(|call| operation(&scene, call)).collect();
    let runtime = scene.clock.runtime().expect("a runtime");
    let answers = runtime.block_on(Server::Simulated(scene).all(&calls));
    let differs = |call: &Call| DIFFERENT.iter().any(|(name, _)| *name == call.name);
    let answered = |call: &&Call| answers[call.name].0 < 400;
    let alike = || calls.iter().filter(|call| !differs(call));

    let known = Operation::ALL.map(|operation| operation.name().to_owned()).into_iter();
    let known: BTreeSet<String> = known.chain(Review::ALL.map(of_review)).collect();
    let (compared, alone) = (listed("\nCompared: "), listed("\nNot compared: "));
    let said: BTreeSet<String> = compared.union(&alone).cloned().collect();
    assert_eq!(said, known, "docs/simulation.md lists what a cluster may be asked");
    let of_calls = calls.iter().zip(&operations).filter(|(call, _)| !differs(call));
    let of_calls = of_calls.filter(|(call, _)| answered(call));
    let found: BTreeSet<String> = of_calls.filter_map(|(_, operation)| operation.clone()).collect();
    assert_eq!(found, compared, "what an answered call compares is what the list says is compared");

    let patches: BTreeSet<String> = change::KINDS.map(str::to_owned).into_iter().collect();
    assert_eq!(listed("\nPatches: "), patches);
    let found: BTreeSet<String> = alike()
        .filter(answered)
        .filter(|call| call.method == Method::PATCH)
        .map(|call| call.kind.to_owned())
        .collect();
    assert_eq!(found, patches, "each kind of patch is compared");
}
