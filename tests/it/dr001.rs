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
    let mut folder = estate.folder();
    write_quick(&folder);
    let files = ["phoenix-dr.yaml", "kubeconfig"].map(|name| folder.path().join(name));
    let [estate_file, kubeconfig] = &files;
    // The estate's own kubeconfig is every test's: this folder gets a copy to change.
    let shared = &folder.environment["KUBECONFIG"];
    std::fs::copy(shared, kubeconfig).expect("copy the kubeconfig");
    let text = std::fs::read_to_string(estate_file).expect("the estate file");
    assert!(text.contains(shared), "the estate file names its kubeconfig elsewhere");
    let text = text.replace(shared, &kubeconfig.display().to_string());
    std::fs::write(estate_file, text).expect("write the estate file");
    folder.environment.insert("KUBECONFIG".to_owned(), kubeconfig.display().to_string());
    let endpoints = estate.about("endpoints");
    for file in &files {
        let mut text = std::fs::read_to_string(file).expect("a file of the estate");
        for (name, facts) in endpoints.as_object().expect("endpoints") {
            let lost = name.starts_with("us-east-1.") || name == "global.health";
            if lost && facts["dark"] == true {
                let host = facts["host"].as_str().expect("a host");
                // nothing listens on port 1
                text = text.replace(&format!("{host}:{}", facts["port"]), "127.0.0.1:1");
            }
        }
        std::fs::write(file, text).expect("write a file of the estate");
    }
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
