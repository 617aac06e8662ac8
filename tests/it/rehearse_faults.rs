//! Each kind of fault at each step of DR-001, against the table of `docs/faults.md`: how the run ends, and why.
//!
//! Where a step begins is taken from a rehearsal that nothing disturbs; the fault strikes from that moment on. The log
//! of the world says when it struck: it must be while the step was at work.

use std::collections::BTreeMap;

use serde_json::Value;

use super::harness::Folder;
use super::rehearsal::{Flown, UNATTENDED, flown_with, instant, on_two_threads};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/faults.md");
const HEAD: &str = "| step | call | fault | struck once | struck for good |";
/// A fault that cannot befall the call
const NEVER: &str = "–";
/// The checks at the end of the run
const END: &str = "(end)";
/// What renews the lease as well
const LEASED: &str = "s3/PutObject";
/// More strikes than any run makes calls
const FOR_GOOD: u32 = 1_000_000;

const FAULTS: [&str; 11] = [
    "dark",
    "refused",
    "throttled",
    "lost_answer",
    "latency",
    "truncated",
    "stale",
    "denied",
    "no_capacity",
    "stuck",
    "expired",
];

/// A call of a step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Aim {
    step: String,
    call: String,
}

/// Once, or for good.
type Cells = (String, String);

/// Reads the table: the aims in its order, and what it says of each fault.
fn table() -> (Vec<Aim>, BTreeMap<(Aim, String), Cells>) {
    let text = std::fs::read_to_string(TABLE).expect("docs/faults.md");
    let rows = text.lines().skip_while(|line| *line != HEAD).skip(2);
    let (mut aims, mut said) = (Vec::new(), BTreeMap::new());
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [step, call, faults, once, good] = cells[..] else { panic!("five columns: {row}") };
        let plain = |text: &str| text.trim_matches('`').to_owned();
        let aim = Aim { step: plain(step), call: plain(call) };
        if !aims.contains(&aim) {
            aims.push(aim.clone());
        }
        for fault in faults.split_whitespace().map(plain) {
            assert!(FAULTS.contains(&fault.as_str()), "no fault: {fault}");
            let cells = (once.to_owned(), good.to_owned());
            let twice = said.insert((aim.clone(), fault.clone()), cells);
            assert!(twice.is_none(), "said twice: {aim:?} {fault}");
        }
    }
    (aims, said)
}

/// In which world, and by which recovery point, a step is at work at all.
fn base(folder: &Folder, step: &str) -> Vec<String> {
    let (world, point) = match step {
        // What restores is needed where no replica is taken.
        "restore" => ("--rehearse".to_owned(), "backup"),
        // The old primary can be fenced only where it can be reached: then the region's front door alone is lost.
        "fence" => {
            let world = std::fs::read_to_string("src/sandbox/worlds/phoenix.yaml").expect("it");
            let lost = "  - { fault: dark, region: us-east-1 }\n";
            let services = ["http", "rds", "health"]
                .map(|name| format!("  - {{ fault: dark, service: {name}, region: us-east-1 }}\n"));
            assert!(world.contains(lost));
            folder.write("fence.yaml", &world.replace(lost, &services.concat()));
            ("--rehearse=fence.yaml".to_owned(), "replica")
        }
        _ => ("--rehearse".to_owned(), "replica"),
    };
    let mut arguments: Vec<String> = UNATTENDED.map(str::to_owned).to_vec();
    arguments.extend([world, format!("--recovery-point={point}")]);
    arguments
}

fn fly(step: &str, more: &[String]) -> Flown {
    let folder = Folder::new();
    let mut arguments = base(&folder, step);
    arguments.extend(more.iter().cloned());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // What was made, and when a fault struck, is all that is asked of the world.
    flown_with(&folder, &arguments, |line| {
        line.contains("\"rds.instance\"") || line.contains("\"kind\":\"fault\"")
    })
}

/// From when until when a step was at work; `None` until the end of the records.
fn at_work(flown: &Flown, step: &str) -> (i128, Option<i128>) {
    if step == END {
        let ends = flown.records.iter().filter(|of| of["event"]["kind"] == "step_finished");
        return (ends.map(instant).max().expect("steps have ended"), None);
    }
    let first = |kind| flown.of(kind, step).first().map(|record| instant(record));
    (first("step_ready").expect("it was ready"), first("step_finished"))
}

/// When a step begins when nothing disturbs it, counted from the beginning as `--inject` writes it.
struct Begins {
    ready: String,
    /// Its first attempt; a gate has none
    started: Option<String>,
}

impl Begins {
    fn of(undisturbed: &Flown, step: &str) -> Self {
        let since = |at| after(at - instant(&undisturbed.records[0]));
        let started = undisturbed.of("step_started", step).first().map(|record| instant(record));
        Self { ready: since(at_work(undisturbed, step).0), started: started.map(since) }
    }

    /// Returns from when on a fault at a call strikes: the lease is renewed by the same call as the failover object is put,
    /// maybe while the step still looks.
    fn from(&self, call: &str) -> &str {
        let started = self.started.as_deref().filter(|_| call == LEASED);
        started.unwrap_or(&self.ready)
    }
}

/// Returns a time as `--inject` writes it.
fn after(nanoseconds: i128) -> String {
    let milliseconds = nanoseconds / 1_000_000;
    match (milliseconds / 1000, milliseconds % 1000) {
        (0, 0) => "0s".to_owned(),
        (seconds, 0) => format!("{seconds}s"),
        (seconds, rest) => format!("{seconds}s{rest}ms"),
    }
}

/// Says in the table's words how a run ended and what became of a step.
fn handled(flown: &Flown, step: &str) -> String {
    let exit = flown.ran.exit;
    let attempts = flown.of("step_started", step).len();
    let end = flown.of("step_finished", step).last().map(|record| &record["event"]["end"]);
    let failed = flown.records.iter().rev().find(|of| of["event"]["kind"] == "step_failed");
    let asked = flown.last()["why"].as_str().and_then(|why| {
        why.strip_prefix("an answer is needed: ")
            .map(|flag| flag.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
            .or_else(|| why.contains("Credentials").then(|| "credentials".to_owned()))
    });
    let mut said = exit.to_string();
    if let Some(asked) = asked {
        said += &format!(", asks: {}", asked.trim_end_matches([',', ';']));
    } else if let Some(failed) = failed {
        let of = failed["event"]["step"].as_str().expect("a step");
        let whose = if of == step { String::new() } else { format!("{of} ") };
        let error = &failed["event"]["error"];
        let part = |name: &str| error[name].as_str().expect("it is told").to_owned();
        said += &format!(", {whose}{}/{}", part("class"), part("effect"));
    } else if exit == 0 && attempts > 1 {
        said += &format!(", {attempts} attempts");
    }
    if end.is_some_and(|end| end == "waived") {
        said += ", waived";
    }
    said
}

/// What one fault did at one call, and how often it struck.
fn struck(aim: &Aim, fault: &str, from: &str, times: u32) -> Result<(String, u64), String> {
    let rule = format!("{fault}@{},from={from},times={times}", aim.call);
    let flown = fly(&aim.step, &["--inject".to_owned(), rule.clone()]);
    if flown.ran.exit == 2 && flown.ran.err.contains("cannot befall") {
        return Ok((NEVER.to_owned(), 0));
    }
    let told = flown.debrief["world"]["faults"].as_array().ok_or("there is no debrief")?;
    let told = told.last().expect("the fault is told");
    let mine = told[0].as_str().expect("its text").starts_with(&format!("{fault}@"));
    let count = told[1].as_u64().filter(|_| mine).ok_or("the fault is not told last")?;
    if !flown.debrief["world"]["left"].as_array().is_some_and(Vec::is_empty) {
        return Err(format!("{rule}: left the simulation: {}", flown.debrief["world"]["left"]));
    }
    let (promoted, created) = flown.made();
    if promoted > 1 || created > 1 {
        return Err(format!("{rule}: promoted {promoted} times, created {created} times"));
    }
    if count == 0 {
        return Err(format!("{rule}: it was taken and never struck: {}", flown.debrief["world"]));
    }
    // The last rule of all is the injected one; those before it are the world's own.
    let strikes: Vec<&Value> = flown.world.iter().filter(|of| of["kind"] == "fault").collect();
    let number = strikes.iter().filter_map(|of| of["rule"].as_u64()).max();
    let first = strikes.iter().find(|of| of["rule"].as_u64() == number).expect("it is logged");
    let (ready, end) = at_work(&flown, &aim.step);
    let at = instant(first);
    if at < ready || end.is_some_and(|end| at > end) {
        return Err(format!("{rule}: struck outside of the step: {first}"));
    }
    if times == 1 && count != 1 {
        return Err(format!("{rule}: struck {count} times"));
    }
    Ok((handled(&flown, &aim.step), count))
}

/// A step that is left to a person calls nothing: no time passes in it, and every call takes some.
fn calls_nothing(undisturbed: &Flown, step: &str) {
    let (ready, end) = at_work(undisturbed, step);
    assert_eq!(Some(ready), end, "{step}");
    assert_eq!(undisturbed.of("step_started", step).len(), 0, "{step}");
}

fn found(aim: &Aim, fault: &str, begins: &BTreeMap<String, Begins>) -> Cells {
    if aim.call == NEVER {
        return (NEVER.to_owned(), NEVER.to_owned());
    }
    let from = begins[&aim.step].from(&aim.call);
    let cell = |times| {
        struck(aim, fault, from, times).unwrap_or_else(|why| (format!("WRONG: {why}"), u64::MAX))
    };
    let (good, count) = cell(FOR_GOOD);
    // What could strike for ever and struck once, or never, would have done the same if it might strike once alone.
    if count <= 1 {
        return (good.clone(), good);
    }
    (cell(1).0, good)
}

/// Writes the table anew: faults that end the same share a row.
fn written(found: &[((Aim, &str), Cells)]) -> String {
    let mut rows: Vec<(Aim, Vec<&str>, Cells)> = Vec::new();
    for ((aim, fault), cells) in found {
        match rows.iter_mut().find(|(of, _, said)| of == aim && said == cells) {
            Some((_, faults, _)) => faults.push(fault),
            None => rows.push((aim.clone(), vec![fault], cells.clone())),
        }
    }
    let coded = |text: &str| {
        if text == NEVER { text.to_owned() } else { format!("`{text}`") }
    };
    let row = |(aim, faults, (once, good)): &(Aim, Vec<&str>, Cells)| {
        let faults: Vec<String> = faults.iter().map(|fault| coded(fault)).collect();
        let (step, call) = (coded(&aim.step), coded(&aim.call));
        format!("| {step} | {call} | {} | {once} | {good} |\n", faults.join(" "))
    };
    format!("{HEAD}\n|---|---|---|---|---|\n{}", rows.iter().map(row).collect::<String>())
}

/// What the table says cannot befall a call is given to it all at once and for good: each is refused, and nothing begins.
fn unstruck(aim: &Aim, faults: &[&str], begins: &BTreeMap<String, Begins>) -> Result<(), String> {
    if aim.call == NEVER || faults.is_empty() {
        return Ok(());
    }
    let from = begins[&aim.step].from(&aim.call);
    let folder = Folder::new();
    let rule = |fault: &&str| format!("--inject={fault}@{},from={from}", aim.call);
    let mut arguments = base(&folder, &aim.step);
    arguments.extend(faults.iter().map(rule));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ran = folder.run(&arguments);
    let told = |fault: &&str| ran.err.contains(&format!("`{fault}` cannot befall"));
    match ran.exit == 2 && faults.iter().all(told) && !folder.path().join("state/runs").exists() {
        true => Ok(()),
        false => Err(format!("{aim:?}: {faults:?}: exit {}, {}", ran.exit, ran.err)),
    }
}

/// Returns when each step begins in the world in which it is at work; the table must have each of them.
fn beginnings(aims: &[Aim]) -> BTreeMap<String, Begins> {
    let apart = ["restore", "fence"];
    let mut begun = BTreeMap::new();
    for way in ["", apart[0], apart[1]] {
        let undisturbed = fly(way, &[]);
        assert_eq!(undisturbed.ran.exit, 0, "{way}: {}", undisturbed.ran.err);
        for id in undisturbed.steps().iter().map(String::as_str).chain([END]) {
            if id == way || (way.is_empty() && !apart.contains(&id)) {
                assert!(aims.iter().any(|aim| aim.step == id), "the table has no {id}");
                begun.insert(id.to_owned(), Begins::of(&undisturbed, id));
            }
        }
        let silent = aims.iter().filter(|aim| way.is_empty() && aim.call == NEVER);
        silent.for_each(|aim| calls_nothing(&undisturbed, &aim.step));
    }
    begun
}

#[test]
fn each_kind_of_fault_at_each_step_is_handled_as_documented() {
    let (aims, said) = table();
    let begun = beginnings(&aims);
    let writing = std::env::var_os("PHOENIX_DR_WRITE_FAULTS").is_some();
    let cell = |aim: &Aim, fault: &str| said.get(&(aim.clone(), fault.to_owned()));
    let never = (NEVER.to_owned(), NEVER.to_owned());
    let spared = |aim: &Aim, fault: &str| !writing && cell(aim, fault) == Some(&never);
    let mut wrong: Vec<String> = on_two_threads(&aims, |aim| {
        let faults: Vec<&str> = FAULTS.into_iter().filter(|fault| spared(aim, fault)).collect();
        unstruck(aim, &faults, &begun)
    })
    .into_iter()
    .filter_map(Result::err)
    .collect();
    let each = |aim: &Aim| FAULTS.map(|fault| (aim.clone(), fault));
    let mut all: Vec<(Aim, &str)> = aims.iter().flat_map(each).collect();
    all.retain(|(aim, fault)| !spared(aim, fault));
    let cells = on_two_threads(&all, |(aim, fault)| found(aim, fault, &begun));
    let found: Vec<((Aim, &str), Cells)> = all.into_iter().zip(cells).collect();
    if writing {
        let text = std::fs::read_to_string(TABLE).expect("docs/faults.md");
        let (before, rest) = text.split_once(HEAD).expect("the table");
        let after = rest.find("\n\n").map_or("", |end| &rest[end + 1..]);
        std::fs::write(TABLE, format!("{before}{}{after}", written(&found))).expect("written");
    }
    wrong.extend(found.iter().filter_map(|((aim, fault), cells)| {
        let said = cell(aim, fault);
        let wanted =
            said == Some(cells) && !cells.0.contains("WRONG") && !cells.1.contains("WRONG");
        (!wanted).then(|| format!("{aim:?} {fault}: {cells:?}, said {said:?}"))
    }));
    assert!(wrong.is_empty(), "{} cells differ:\n{}", wrong.len(), wrong.join("\n"));
}
