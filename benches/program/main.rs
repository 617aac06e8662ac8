//! The program's own speed, a whole process each time, as an operator meets it: `cargo bench`.
//!
//! Under `cargo test` each benchmark runs once and small, so that it stays true; nothing is timed there.
//! `cargo bench --bench program -- pairs` puts dumps, restores and assessments beside PostgreSQL's own programs, on the same
//! server and in turns. `benches/compare` puts the chain beside other tools; `docs/benchmarks.md` has figures and targets.

#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]

mod dumps;
mod experiments;
mod folder;
mod journal;
mod pairs;
mod postgres;
mod world;

use divan::Bencher;
use divan::counter::ItemsCount;

use experiments::Experiments;
use folder::Folder;
use journal::Tail;

fn main() {
    // Flags and filters given to `cargo test` are meant for the tests beside this.
    if std::env::args().any(|argument| argument == "pairs") {
        pairs::measure();
    } else if timed() {
        divan::main();
    } else {
        divan::Divan::default().test_benches();
        pairs::try_out();
    }
}

fn timed() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// Returns the sizes to measure; one small one where nothing is measured.
fn sizes(full: &[usize]) -> Vec<usize> {
    if timed() { full.to_vec() } else { vec![20] }
}

/// Steps of `/bin/true`, each needing the one before; every record is synced.
#[divan::bench(args = sizes(&[100, 1_000]), sample_count = 5, sample_size = 1)]
fn chain(bencher: Bencher, steps: usize) {
    let folder = Folder::with(&folder::chain(steps));
    folder.run(&["run", "runbook.yaml", "--yes"]);
    assert_eq!(folder.steps_ended(), steps, "every step of the run ended");
    bencher.counter(ItemsCount::new(steps)).bench(|| folder.run(&["run", "runbook.yaml", "--yes"]));
}

/// Steps that are ready at once and have nothing to do.
#[divan::bench(args = sizes(&[1_000, 5_000, 10_000]), sample_count = 5, sample_size = 1)]
fn fan(bencher: Bencher, steps: usize) {
    let arguments = ["run", "runbook.yaml", "--yes", "--jobs", "256"];
    let folder = Folder::with(&folder::fan(steps));
    folder.run(&arguments);
    assert_eq!(folder.steps_ended(), steps, "every step of the run ended");
    bencher.counter(ItemsCount::new(steps)).bench(|| folder.run(&arguments));
}

#[divan::bench(args = sizes(&[1_000, 5_000, 10_000]), sample_count = 10, sample_size = 1)]
fn validate(bencher: Bencher, steps: usize) {
    let folder = Folder::with(&folder::chain(steps));
    bencher.counter(ItemsCount::new(steps)).bench(|| folder.run(&["validate", "runbook.yaml"]));
}

#[divan::bench(args = sizes(&[1_000, 5_000, 10_000]), sample_count = 10, sample_size = 1)]
fn plan(bencher: Bencher, steps: usize) {
    let folder = Folder::with(&folder::chain(steps));
    bencher.counter(ItemsCount::new(steps)).bench(|| folder.run(&["plan", "runbook.yaml"]));
}

/// Reading a journal, checking its chain and folding it.
#[divan::bench(args = sizes(&[10_000, 100_000]), sample_count = 10, sample_size = 1)]
fn replay(bencher: Bencher, records: usize) {
    let folder = journal::folder(records, Tail::Finished);
    let arguments = ["status", "--output", "json"];
    bencher.counter(ItemsCount::new(records)).bench(|| folder.run(&arguments));
}

#[divan::bench(args = sizes(&[10_000, 100_000]), sample_count = 10, sample_size = 1)]
fn audit_verify(bencher: Bencher, records: usize) {
    let folder = journal::folder(records, Tail::Finished);
    bencher.counter(ItemsCount::new(records)).bench(|| folder.run(&["audit", "--verify"]));
}

/// Taking up a run that lost its process with one step to go.
#[divan::bench(args = sizes(&[10_000, 100_000]), sample_count = 5, sample_size = 1)]
fn resume(bencher: Bencher, records: usize) {
    let folder = journal::folder(records, Tail::OneToGo);
    bencher
        .counter(ItemsCount::new(records))
        .with_inputs(|| folder.copy())
        .bench_refs(|folder| folder.run(&["resume", "--yes"]));
}

/// A rehearsal of one step that does nothing, in a world as captures have it: read, checked, its simulation built, and all
/// of it given back. So many S3 objects, a fiftieth as many workloads, a twentieth as many record sets.
#[divan::bench(args = sizes(&[10_000, 100_000]), sample_count = 10, sample_size = 1)]
fn world(bencher: Bencher, objects: usize) {
    let folder = Folder::with(&folder::fan(1));
    world::write(&folder.path().join("world.jsonl"), objects);
    let arguments = ["run", "runbook.yaml", "--rehearse", "world.jsonl", "--yes", "--speed", "max"];
    bencher.counter(ItemsCount::new(objects)).bench(|| folder.run(&arguments));
}

/// Experiments rebuilt from their events, a hundred each, some of them corrupt, on a PostgreSQL server of our own: a whole run,
/// which reads all events before go, before the change and for it, and writes every row.
#[divan::bench(args = event_counts(), sample_count = 3, sample_size = 1)]
fn rebuild(bencher: Bencher, events: usize) {
    let Some(experiments) = Experiments::with(events) else { return };
    experiments.lose();
    let mut resident = experiments.rebuild();
    experiments.all_there(events);
    let mut changes = Vec::new();
    bencher.counter(ItemsCount::new(events)).with_inputs(|| experiments.lose()).bench_local_values(
        |()| {
            resident = resident.max(experiments.rebuild());
            changes.push(experiments.change_took());
        },
    );
    if timed() {
        changes.sort_by(f64::total_cmp);
        let rates = changes.iter().map(|took| format!("{:.0}", events as f64 / took));
        println!(
            "rebuild of {events} events: {} MiB resident at most; the change itself, events/s: {}",
            resident / 1024,
            rates.collect::<Vec<_>>().join(", ")
        );
    }
}

/// A hundred events are one experiment.
fn event_counts() -> Vec<usize> {
    if timed() { vec![100_000, 1_000_000] } else { vec![2_000] }
}

#[divan::bench(sample_count = 50, sample_size = 1)]
fn version(bencher: Bencher) {
    let folder = Folder::with(&folder::fan(1));
    bencher.bench(|| folder.run(&["--version"]));
}

#[divan::bench(sample_count = 50, sample_size = 1)]
fn list(bencher: Bencher) {
    let folder = Folder::with(&folder::fan(1));
    bencher.bench(|| folder.run(&["list"]));
}
