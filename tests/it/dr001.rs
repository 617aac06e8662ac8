//! DR-001 as the tests run it: the built-in runbook, or a copy of it whose looks follow each other faster.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::estate::Estate;
use super::harness::Folder;

pub(crate) const FAILOVER: [&str; 3] = ["failover", "--region", "us-west-2"];
const ANSWERS: [&str; 5] = ["--yes", "--approve", "database,traffic", "--waive", "fence=unfenced"];

/// The built-in runbook with every answer given, and these arguments.
pub(crate) fn live(extra: &[&str]) -> Vec<String> {
    words(&[&FAILOVER, &ANSWERS, extra])
}

/// The quick copy with every answer given, and these arguments.
pub(crate) fn quick(extra: &[&str]) -> Vec<String> {
    words(&[&["run", "quick.yaml", "--set", "region=us-west-2"], &ANSWERS, extra])
}

/// A run that stopped, taken up again with every answer given.
pub(crate) fn resume(extra: &[&str]) -> Vec<String> {
    words(&[&["resume"], &ANSWERS, extra])
}

fn words(parts: &[&[&str]]) -> Vec<String> {
    parts.concat().into_iter().map(str::to_owned).collect()
}

pub(crate) fn runbook() -> String {
    std::fs::read_to_string("runbooks/DR-001-regional-failover.yaml").expect("DR-001")
}

/// Writes the quick copy: the same steps, checks and limits, but the next look comes after 100 ms.
pub(crate) fn write_quick(folder: &Folder) {
    let mut text = String::new();
    let mut changed = 0;
    for line in runbook().lines() {
        let (indent, rest) = line.split_at(line.len() - line.trim_start().len());
        if rest.starts_with("every: ") {
            changed += 1;
            text += &format!("{indent}every: 100ms\n");
        } else {
            text += &format!("{line}\n");
        }
    }
    assert!(changed >= 4, "DR-001 says elsewhere how often it looks");
    folder.write("quick.yaml", &text);
}

/// A folder with the quick copy, for an estate whose lost region refuses connections.
///
/// That is a lost region too, and one that is known to be lost at once instead of after a timeout for every look.
pub(crate) fn quick_folder(estate: &Estate) -> Folder {
    let folder = estate.folder();
    write_quick(&folder);
    let file = folder.path().join("phoenix-dr.yaml");
    let mut text = std::fs::read_to_string(&file).expect("the estate file");
    let endpoints = estate.about("endpoints");
    for (name, facts) in endpoints.as_object().expect("endpoints") {
        let lost = name.starts_with("us-east-1.") || name == "global.health";
        if lost && facts["dark"] == true {
            let address = format!("{}:{}", facts["host"].as_str().expect("a host"), facts["port"]);
            // nothing listens on port 1
            text = text.replace(&address, "127.0.0.1:1");
        }
    }
    std::fs::write(file, text).expect("write the estate file");
    folder
}

/// The end of runs that nothing disturbs, by the estate's options.
static UNDISTURBED: Mutex<BTreeMap<String, Value>> = Mutex::new(BTreeMap::new());

/// Returns the world an undisturbed run leaves, and the estate as at the start.
///
/// The first to ask makes that run; whoever asks meanwhile may make another, which ends the same.
pub(crate) fn undisturbed(estate: &Estate, options: &str) -> Value {
    let known = UNDISTURBED.lock().unwrap_or_else(PoisonError::into_inner).get(options).cloned();
    if let Some(world) = known {
        return world;
    }
    quick_folder(estate).run(&quick(&[])).exits(0);
    let world = estate.settled();
    estate.post("/reset", options);
    let mut all = UNDISTURBED.lock().unwrap_or_else(PoisonError::into_inner);
    all.entry(options.to_owned()).or_insert(world).clone()
}
