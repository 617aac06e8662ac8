//! Crashes over every runbook: the process ends after each record, and in the middle of each; the run is taken up
//! again from what is on disk and ends as it would have.

use std::path::Path;

use super::runbooks::{Case, after, cases};
use super::script::{Fault, Op, World};
use super::*;
use crate::engine::ports::{Journal, JournalFailure};
use crate::journal::reader;
use crate::journal::record::line;
use crate::journal::writer::JournalWriter;
use crate::outcome::{Effect, FailureClass};

#[test]
fn resume_from_every_prefix_of_a_run_ends_the_same() {
    for case in cases() {
        for records in 1..case.clean.len() {
            for world in case.worlds(records) {
                let said = format!("{}: after {records} records", case.name);
                let ran = resume(&world, settings(false));
                assert_eq!(ran.exit, Exit::Ok, "{said}");
                same_end(&case, &world, &said);
            }
        }
    }
}

fn same_end(case: &Case, world: &World, said: &str) {
    assert_eq!(world.places().live, case.end(), "{said}");
    sound::nothing_doubled(world, said);
    let made = |world: &World| {
        let mut made: Vec<String> = world.places().made.into_iter().map(|(step, _)| step).collect();
        made.sort();
        made
    };
    assert_eq!(made(world), made(&case.world), "{said}");
}

#[test]
fn resume_from_every_prefix_of_a_run_that_changes_nothing_ends_the_same() {
    for case in cases() {
        let world = case.fresh();
        case.changing().iter().for_each(|id| world.switch(id));
        let ran = start(&world, case.plan.clone(), settings(false));
        let outputs = |state: &RunState| -> Vec<Map<String, serde_json::Value>> {
            state.steps.iter().map(|step| step.outputs.clone()).collect()
        };
        let (whole, expected) = (world.durable(), outputs(&ran.state));
        for records in 1..whole.len() {
            let said = format!("{}: after {records} records", case.name);
            let world = after(&world, &whole, records).remove(0);
            let ran = resume(&world, settings(false));
            assert_eq!((ran.exit, world.places().made), (Exit::Ok, vec![]), "{said}");
            assert_eq!(outputs(&ran.state), expected, "{said}");
        }
    }
}

/// Returns the steps whose failure has a run rolled back, and how that run went.
fn rollbacks(case: &Case, fault: &Fault) -> Vec<(String, World)> {
    let mut found = Vec::new();
    for id in &case.performed {
        let world = case.fresh();
        world.strike(id, Op::Perform, fault.clone(), 99);
        let ran = start(&world, case.plan.clone(), settings(false));
        let rolled_back = kinds(&world, |event| matches!(event, Event::RevertStarted { .. })) > 0;
        if ran.exit == Exit::RolledBack && rolled_back {
            found.push((id.clone(), world));
        }
    }
    found
}

#[test]
fn resume_from_every_prefix_of_a_rollback_ends_rolled_back() {
    let mut tried = 0;
    for (effect, from_the_start) in [(Effect::None, true), (Effect::Applied, false)] {
        let fault = Fault::Fail(FailureClass::Invalid, effect);
        for case in cases() {
            // The last one has the most to take back, the first the least; what lies between is like them.
            let all = rollbacks(&case, &fault);
            for (id, world) in [all.first(), all.last()].into_iter().flatten() {
                let whole = world.durable();
                let begun = whole
                    .iter()
                    .position(|record| matches!(record.event, Event::RollbackStarted { .. }));
                let begun = begun.expect("it was rolled back") + 1;
                // What took effect although it failed is found in place by a process that does not know that.
                for records in if from_the_start { 1 } else { begun }..whole.len() {
                    for world in after(world, &whole, records) {
                        let said = format!("{}: {id} fails, after {records} records", case.name);
                        // The fault is still there.
                        world.strike(id, Op::Perform, fault.clone(), 99);
                        let ran = resume(&world, settings(false));
                        assert_eq!(ran.exit, Exit::RolledBack, "{said}");
                        assert_eq!(world.switched(), [""; 0], "{said}");
                        sound::nothing_doubled(&world, &said);
                        tried += 1;
                    }
                }
            }
        }
    }
    assert!(tried > 0, "no runbook was ever rolled back");
}

/// A journal on disk, kept in memory as well so that the world can look at it.
struct OnDisk {
    memory: Memory,
    disk: JournalWriter,
}

impl Journal for OnDisk {
    fn append(&mut self, records: &[Record]) -> Result<(), JournalFailure> {
        self.disk.append(records)?;
        self.memory.append(records)
    }
}

/// Reads a journal that ends in the middle of a record, and goes on with it through the real reader and writer.
fn resume_from_disk(world: &World, path: &Path, said: &str) -> Ran {
    let mut records = Vec::new();
    let run = RunId("01TESTRUN".to_owned());
    let recovered = reader::recover(path, &run, |record| records.push(record))
        .unwrap_or_else(|why| panic!("{said}: {why}"));
    assert_eq!(records.len(), world.durable().len(), "{said}: what was whole is read, and no more");
    let disk = JournalWriter::go_on(path, &recovered.end).expect(said);
    let journal = OnDisk { memory: Memory(world.clone()), disk };
    let ran = Process { journal: Some(Box::new(journal)), ..Process::with(settings(false)) };
    let ran = ran.resume(world);
    let mut again = Vec::new();
    let end = reader::recover(path, &run, |record| again.push(line(&record))).expect(said);
    assert!(end.set_aside.is_none(), "{said}");
    let durable: Vec<String> = world.durable().iter().map(line).collect();
    assert_eq!(again, durable, "{said}: what is on disk is what was recorded");
    ran
}

/// Bytes at either end of a record.
const END: usize = 400;

#[test]
fn a_record_cut_at_each_byte_was_never_written() {
    let mut kinds = std::collections::BTreeSet::new();
    for case in cases() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("journal.jsonl");
        let lines: Vec<String> = case.clean.iter().map(|record| line(record) + "\n").collect();
        let run = RunId("01TESTRUN".to_owned());
        let mut whole = lines[0].clone();
        for (records, last) in lines.iter().enumerate().skip(1) {
            // Every byte of both ends of one record of each kind; of the others, and of the middle of a long one, whose bytes are
            // alike, some.
            let event = serde_json::to_value(&case.clean[records].event).expect("an event");
            let new_kind = kinds.insert(event["kind"].to_string());
            let at_end = |cut: usize| cut < END || cut + END > last.len();
            let tried = |cut: &usize| cut % 61 == 1 || new_kind && at_end(*cut);
            for cut in (1..last.len()).filter(tried) {
                // Without its newline alone a record may be taken for whole or not; it was not synced either way.
                let text = [whole.as_bytes(), &last.as_bytes()[..cut]].concat();
                std::fs::write(&path, text).expect("it is written");
                let mut read = 0;
                let end = reader::read(&path, |_| read += 1).unwrap_or_else(|why| {
                    panic!("{}: record {records} cut at {cut}: {why}", case.name)
                });
                assert_eq!(
                    (read, end.run.as_ref()),
                    (records, Some(&run)),
                    "record {records} cut at {cut}"
                );
            }
            let middle = last.len() / 2;
            let cuts = if new_kind { vec![1, middle, last.len() - 1] } else { vec![middle] };
            for cut in cuts {
                let said = format!("{}: record {records} cut at {cut}", case.name);
                let text = [whole.as_bytes(), &last.as_bytes()[..cut]].concat();
                std::fs::write(&path, text).expect("it is written");
                let world = case.worlds(records).remove(0);
                let ran = resume_from_disk(&world, &path, &said);
                assert_eq!(ran.exit, Exit::Ok, "{said}");
                same_end(&case, &world, &said);
            }
            whole.push_str(last);
        }
    }
}
