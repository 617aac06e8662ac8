//! What a run decided, and by what, so that a live run and a rehearsal of its capture can be held against each other.

use serde_json::{Map, Value, json};

use super::harness::Folder;

/// Steps that follow one another: of the others it is chance which ends first.
const IN_ORDER: [&str; 8] = [
    "primary_down",
    "recovery_point",
    "fence",
    "database",
    "repoint",
    "end_to_end",
    "traffic",
    "public_name",
];

/// Texts of one estate, and what stands for each in another.
pub(crate) type Names = Vec<(String, String)>;

/// Returns the names that differ between two estates of the same shape, the longest first.
pub(crate) fn names(these: &Value, those: &Value) -> Names {
    let mut found = Names::new();
    walk(these, those, &mut found);
    found.sort_by_key(|(this, _)| std::cmp::Reverse(this.len()));
    found.dedup();
    found
}

fn walk(this: &Value, that: &Value, found: &mut Names) {
    match (this, that) {
        (Value::String(this), Value::String(that)) if this != that => {
            found.push((this.clone(), that.clone()));
        }
        (Value::Array(these), Value::Array(those)) => {
            these.iter().zip(those).for_each(|(this, that)| walk(this, that, found));
        }
        (Value::Object(these), Value::Object(those)) => {
            for (key, this) in these {
                those.get(key).into_iter().for_each(|that| walk(this, that, found));
            }
        }
        _ => {}
    }
}

/// Returns what the newest run of a folder decided: every question with its candidates and its answer, in order; what
/// each gate and proof said last, with every vote; what was chosen; how the steps ended, in order where they follow one
/// another; what each gave; how the run ended.
///
/// Left out is what no two runs share: instants, how long data lay behind, and the words in which a network fails.
/// `names` are put in place of others.
pub(crate) fn decisions(folder: &Folder, names: &Names) -> Value {
    let (_, events) = folder.journals().remove(0);
    let (mut questions, mut ends) = (Vec::new(), Vec::new());
    let (mut seen, mut chosen, mut gave) = (Map::new(), Map::new(), Map::new());
    let mut end = Value::Null;
    for event in &events {
        let step = event["step"].as_str().unwrap_or("(run)").to_owned();
        match event["kind"].as_str().expect("a kind") {
            "asked" => questions.push(question(&event["question"])),
            "decided" => questions.push(json!({ "answer": event["answer"] })),
            "gate_seen" | "verified" | "run_verified" => {
                seen.insert(step, json!([event["verdict"], votes(&event["reports"])]));
            }
            "step_started" if event["choice"].is_object() => {
                chosen.insert(step, event["choice"]["id"].clone());
            }
            "attempt_finished" => {
                gave.insert(step, timeless(&event["result"]["outputs"]));
            }
            "step_satisfied" => {
                gave.insert(step, timeless(&event["outputs"]));
            }
            "step_finished" => ends.push((step, event["end"].clone())),
            "run_finished" => end = json!([event["end"], event["exit"]]),
            _ => {}
        }
    }
    let (ordered, mut others): (Vec<_>, Vec<_>) =
        ends.into_iter().partition(|(step, _)| IN_ORDER.contains(&step.as_str()));
    others.sort_by(|(one, _), (other, _)| one.cmp(other));
    let decided = json!({ "questions": questions, "seen": seen, "chosen": chosen, "gave": gave,
        "ends": ordered, "other ends": others, "end": end });
    let text =
        names.iter().fold(decided.to_string(), |text, (this, that)| text.replace(this, that));
    serde_json::from_str(&text).expect("JSON as before")
}

fn question(asked: &Value) -> Value {
    let candidates = asked["form"]["candidates"].as_array().into_iter().flatten();
    let candidates = candidates.map(|offered| {
        json!([offered["id"], offered["title"], offered["reversible"], offered["unusable"]])
    });
    // A loss is a length of time; which candidate it is of stands beside it.
    let about = ["kind", "step", "candidate"].map(|part| asked["key"][part].clone());
    json!({ "about": about, "title": asked["title"], "form": asked["form"]["kind"],
        "candidates": candidates.collect::<Vec<Value>>(), "best": asked["form"]["best"] })
}

fn votes(reports: &Value) -> Value {
    let reports = reports.as_array().into_iter().flatten();
    let vote = |of: &Value| json!([of["title"], of["verdict"], votes(&of["votes"])]);
    reports.map(vote).collect()
}

fn timeless(value: &Value) -> Value {
    match value {
        Value::String(text) if text.parse::<jiff::Timestamp>().is_ok() => json!("TIME"),
        Value::Array(items) => items.iter().map(timeless).collect(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), timeless(value)));
            Value::Object(fields.collect())
        }
        other => other.clone(),
    }
}
