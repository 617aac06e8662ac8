use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;
use crate::engine::ports::Journal as _;
use crate::event::{Event, RunEnd};
use crate::journal::fixtures::{self, time};
use crate::journal::summary::Standing;

const OLD: &str = "01JGZ000000000000000007F3A";
const NEW: &str = "01JH00000000000000000091QX";

fn id(text: &str) -> RunId {
    RunId(text.to_owned())
}

struct Scene {
    _dir: tempfile::TempDir,
    store: Store,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = Store::at(dir.path().join("state"));
        Self { _dir: dir, store }
    }

    /// Adds a run that has ended its process.
    fn add(&self, run: &str, mode: Mode, estate: &str, then: Vec<Event>) -> PathBuf {
        let mut open = self.store.create_run(&id(run), time(0)).expect("create");
        let events = std::iter::once(fixtures::started_as(id(run), mode, estate)).chain(then);
        let records: Vec<Record> =
            (0..).zip(events).map(|(at, event)| open.chain.seal(event, time(at))).collect();
        open.writer.append(&records).expect("append");
        open.dir.journal()
    }
}

fn finished() -> Event {
    Event::RunFinished { end: RunEnd::Restored, exit: 0 }
}

#[test]
fn the_environment_names_the_directory() {
    let store = |vars: &[(&str, &str)]| {
        let vars: Vec<(String, String)> =
            vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Store::from_env(move |name| {
            vars.iter().find(|(known, _)| known == name).map(|(_, value)| value.into())
        })
    };
    for (vars, root) in [
        (&[("PHOENIX_DR_STATE", "s"), ("HOME", "/h")][..], "s"),
        (&[("PHOENIX_DR_STATE", ""), ("HOME", "/h")], "/h/.local/state/phoenix-dr"),
        (&[("XDG_STATE_HOME", "/x"), ("HOME", "/h")], "/x/phoenix-dr"),
        (&[("XDG_STATE_HOME", "x"), ("HOME", "/h")], "/h/.local/state/phoenix-dr"),
    ] {
        assert_eq!(store(vars).expect("found").root, Path::new(root));
    }
    assert!(matches!(store(&[("HOME", "")]), Err(StoreError::NoHome)));
}

#[test]
fn a_run_is_created_written_and_opened_again() {
    let scene = Scene::new();
    let run = fixtures::run();
    let mut open = scene.store.create_run(&run, time(0)).expect("create");
    assert!(open.dir.artifacts().is_dir());
    let mode = open.dir.journal().parent().and_then(|dir| dir.metadata().ok());
    assert_eq!(mode.expect("a directory").permissions().mode() & 0o777, 0o700);
    for (at, event) in (0..).zip(fixtures::events()) {
        let record = open.chain.seal(event, time(at));
        open.writer.append(&[record]).expect("append");
    }

    let why = scene.store.open_run(&run, time(9), drop).expect_err("held by this process");
    assert!(matches!(&why, StoreError::Lock(LockError::Held { holder: Some(_), .. })), "{why}");
    assert!(matches!(scene.store.liveness(&run), Ok(Liveness::Held(Some(_)))));
    assert!(scene.store.create_run(&run, time(9)).is_err(), "an id is used once");
    drop(open);
    assert!(matches!(scene.store.liveness(&run), Ok(Liveness::Free)));
    assert!(scene.store.open_run(&id("NONE"), time(9), drop).is_err());
    assert!(!scene.store.dir(&id("NONE")).journal().parent().is_some_and(Path::exists));

    let mut seen = 0;
    let mut open = scene.store.open_run(&run, time(9), |_| seen += 1).expect("open");
    assert_eq!((seen, open.set_aside.clone()), (fixtures::events().len(), None));
    let record = open.chain.seal(fixtures::note("resumed"), time(60));
    open.writer.append(&[record]).expect("append");
    let journal = open.dir.journal();
    drop(open);
    assert!(reader::verify(&journal, Some(&run)).bad.is_none());
    assert_eq!(reader::verify(&journal, Some(&run)).records, seen as u64 + 1);
}

#[test]
fn a_torn_run_goes_on_and_a_damaged_one_does_not() {
    let scene = Scene::new();
    let journal = scene.add(NEW, Mode::Live, "phoenix", vec![fixtures::note("x"), finished()]);
    let whole = std::fs::read_to_string(&journal).expect("read");
    std::fs::write(&journal, &whole[..whole.len() - 4]).expect("tear");
    let mut open = scene.store.open_run(&id(NEW), time(9), drop).expect("open");
    assert!(open.set_aside.take().is_some());
    let record = open.chain.seal(finished(), time(9));
    open.writer.append(&[record]).expect("append");
    drop(open);
    assert!(reader::verify(&journal, None).bad.is_none());

    std::fs::write(&journal, whole.replace("Regional", "regional")).expect("change");
    let why = scene.store.open_run(&id(NEW), time(9), drop).expect_err("damaged");
    assert!(why.to_string().contains("does not continue the chain"), "{why}");
    assert!(matches!(scene.store.liveness(&id(NEW)), Ok(Liveness::Free)), "the lock is given back");
}

#[test]
fn lists_are_newest_first_and_hide_nothing() {
    let scene = Scene::new();
    assert!(scene.store.list().expect("no directory yet").is_empty());
    assert_eq!(scene.store.meant().expect("no directory yet"), None);
    scene.add(OLD, Mode::Live, "phoenix", vec![finished()]);
    scene.add(NEW, Mode::Rehearsal, "phoenix", vec![]);
    let runs = scene.store.root.join("runs");
    let put = |name: &str, journal: &str| {
        std::fs::create_dir(runs.join(name)).expect("create");
        std::fs::write(runs.join(name).join("journal.jsonl"), journal).expect("write");
    };
    put("01JGZ00000000000000000EMTY", "");
    put("01JGZ00000000000000000BAD0", "garbage\n{}\n");
    put(
        "01JGZ00000000000000000COPY",
        &std::fs::read_to_string(runs.join(OLD).join("journal.jsonl")).expect("read"),
    );
    std::fs::create_dir(runs.join("something else")).expect("create");
    std::fs::write(runs.join("a file"), "").expect("write");

    let listed = scene.store.list().expect("list");
    let seen: Vec<String> = listed
        .iter()
        .map(|listed| match listed {
            Listed::Run(summary) => {
                format!("{} {:?}", summary.run.short(), summary.standing.is_final())
            }
            Listed::Unreadable(found) => format!("{}: {}", found.name, found.why),
        })
        .collect();
    let starts = [
        "something else: ",
        "a file: ",
        "91QX false",
        "01JGZ00000000000000000EMTY: no record was written",
        "01JGZ00000000000000000COPY: record 0 is damaged: it starts run 01JGZ000000000000000007F3A",
        "01JGZ00000000000000000BAD0: record 0 is damaged",
        "7F3A true",
    ];
    assert_eq!(seen.len(), starts.len(), "{seen:?}");
    for (seen, start) in seen.iter().zip(starts) {
        assert!(seen.starts_with(start), "{seen} does not start with {start}");
    }
    assert_eq!(scene.store.meant().expect("list"), Some(id(NEW)), "not the file named later");
}

#[test]
fn a_live_run_that_has_not_ended_is_meant_before_a_newer_rehearsal() {
    let scene = Scene::new();
    let meant = || scene.store.meant().expect("list").expect("a run").0;
    scene.add("A1", Mode::Live, "phoenix", vec![finished()]);
    scene.add("A2", Mode::Rehearsal, "phoenix", vec![]);
    assert_eq!(meant(), "A2", "what is over is not asked about");
    scene.add("A3", Mode::Live, "other", vec![]);
    scene.add("A4", Mode::DryRun, "phoenix", vec![]);
    assert_eq!(meant(), "A4", "newer, and no practice");
    scene.add("A5", Mode::Rehearsal, "phoenix", vec![]);
    assert_eq!(meant(), "A3");
}

#[test]
fn a_rehearsal_that_cannot_be_read_stands_in_the_way_of_rehearsals_alone() {
    let scene = Scene::new();
    let journal = scene.add(NEW, Mode::Rehearsal, "phoenix", vec![]);
    std::fs::write(&journal, "garbage\n").expect("damage");
    let stands = |namespace| {
        let found = scene.store.unfinished("phoenix", namespace).expect("list");
        found.unreadable.len()
    };
    assert_eq!(stands(Namespace::Live), 1, "nobody can tell what it was");
    std::fs::write(scene.store.dir(&id(NEW)).world(), "").expect("write");
    assert_eq!((stands(Namespace::Live), stands(Namespace::Rehearsal)), (0, 1));
}

#[test]
fn unfinished_runs_are_of_this_estate_and_realm() {
    let scene = Scene::new();
    let stopped = || Event::RunStopped { why: "SIGTERM".to_owned(), exit: 13 };
    scene.add("A1", Mode::Live, "phoenix", vec![finished()]);
    scene.add("A2", Mode::Live, "phoenix", vec![stopped()]);
    scene.add("A3", Mode::Live, "other", vec![]);
    scene.add("A4", Mode::Rehearsal, "phoenix", vec![]);
    scene.add("A5", Mode::DryRun, "phoenix", vec![]);
    let unfinished = |namespace| scene.store.unfinished("phoenix", namespace).expect("list");
    let names = |found: &Unfinished| -> Vec<String> {
        found.runs.iter().map(|summary| summary.run.0.clone()).collect()
    };
    let live = unfinished(Namespace::Live);
    assert_eq!(names(&live), ["A2"]);
    assert!(matches!(live.runs[0].standing, Standing::Stopped { exit: 13, .. }));
    assert_eq!(names(&unfinished(Namespace::Rehearsal)), ["A4"]);
    assert!(live.unreadable.is_empty());

    let runs = scene.store.root.join("runs");
    drop(scene.store.create_run(&id("A6"), time(0)).expect("never began"));
    std::fs::create_dir(runs.join(OLD)).expect("died before its journal");
    std::fs::write(runs.join(".DS_Store"), "").expect("nobody's run");
    let journal = scene.add(NEW, Mode::Live, "other", vec![]);
    std::fs::write(&journal, "garbage\n\n").expect("damage");
    let names = |found: Unfinished| -> Vec<String> {
        found.unreadable.into_iter().map(|found| found.name).collect()
    };
    assert_eq!(unfinished(Namespace::Live).runs.len(), 1);
    assert_eq!(names(unfinished(Namespace::Live)), [NEW]);
    std::fs::remove_file(&journal).expect("remove");
    assert!(names(unfinished(Namespace::Live)).is_empty(), "no journal and nothing left behind");
    std::fs::write(runs.join(NEW).join("artifacts/plan.txt"), "").expect("write");
    assert_eq!(
        names(unfinished(Namespace::Live)),
        [NEW],
        "something was done and its journal is gone"
    );
    for (left, blocks) in [("", true), ("{\"format\":1,\"se", true), ("garbage\n", true)] {
        std::fs::write(&journal, left).expect("write");
        assert_eq!(
            !names(unfinished(Namespace::Live)).is_empty(),
            blocks,
            "{left:?}, with artifacts"
        );
    }
    std::fs::remove_file(runs.join(NEW).join("artifacts/plan.txt")).expect("remove");
    for (left, blocks) in [("", false), ("{\"format\":1,\"se", false), ("garbage\n", true)] {
        std::fs::write(&journal, left).expect("write");
        assert_eq!(!names(unfinished(Namespace::Live)).is_empty(), blocks, "{left:?}, without");
    }
}

#[test]
fn a_damaged_run_stands_only_in_the_way_of_its_own_estate_and_realm_until_it_is_given_up() {
    let scene = Scene::new();
    let many = || (0..9).map(|at| fixtures::note(&at.to_string())).collect::<Vec<_>>();
    let damaged = |run: &str, mode, estate: &str| {
        let journal = scene.add(run, mode, estate, many());
        let text = std::fs::read_to_string(&journal).expect("read");
        std::fs::write(&journal, text.replacen("\"seq\":8", "\"seq:8", 1)).expect("damage");
    };
    let blocks = |namespace| -> Vec<String> {
        let found = scene.store.unfinished("phoenix", namespace).expect("list");
        assert!(found.runs.is_empty(), "{:?}", found.runs);
        found.unreadable.into_iter().map(|found| found.name).collect()
    };
    damaged(OLD, Mode::Rehearsal, "phoenix");
    assert_eq!(blocks(Namespace::Live), [""; 0], "a rehearsal never blocks what is live");
    assert_eq!(blocks(Namespace::Rehearsal), [OLD]);
    damaged("01JGZ00000000000000000THER", Mode::Live, "other");
    assert_eq!(blocks(Namespace::Live), [""; 0], "another estate's run never blocks this one");
    damaged(NEW, Mode::Live, "phoenix");
    assert_eq!(blocks(Namespace::Live), [NEW]);
    let given_up = |reason: &str| GivenUp {
        reason: reason.to_owned(),
        who: "ops@bastion".to_owned(),
        at: time(20),
        damage: "record 8".to_owned(),
    };
    let dir = scene.store.dir(&id(NEW));
    let journal = std::fs::read(dir.journal()).expect("read");
    damaged::give_up(&dir, &given_up("finished by hand")).expect("kept");
    damaged::give_up(&dir, &given_up("again")).expect("what was said first stays");
    assert_eq!(damaged::read(&dir), Some(given_up("finished by hand")));
    assert_eq!(std::fs::read(dir.journal()).expect("read"), journal, "evidence");
    assert_eq!(blocks(Namespace::Live), [""; 0]);

    // One whose chain alone is broken is listed as any run; resuming it is what finds the damage.
    let chained = "01JH00000000000000000092QX";
    let journal = scene.add(chained, Mode::Live, "phoenix", many());
    let text = std::fs::read_to_string(&journal).expect("read");
    std::fs::write(&journal, text.replace("Regional", "regional")).expect("damage");
    assert_eq!(scene.store.unfinished("phoenix", Namespace::Live).expect("list").runs.len(), 1);
    damaged::give_up(&scene.store.dir(&id(chained)), &given_up("seen")).expect("kept");
    assert_eq!(blocks(Namespace::Live), [""; 0]);
}

#[test]
fn open_obligations_are_kept_over_runs() {
    let scene = Scene::new();
    let opened = |id: &str| Event::ObligationOpened {
        step: Some("fence".into()),
        obligation: fixtures::obligation(id),
    };
    let closed = |id: &str| Event::ObligationClosed {
        id: id.to_owned(),
        said: String::new(),
        lapsed: false,
    };
    scene.add("A1", Mode::Live, "phoenix", vec![opened("x"), opened("y"), finished()]);
    scene.add("A2", Mode::Rehearsal, "phoenix", vec![opened("z"), closed("y")]);
    scene.add("A3", Mode::Live, "other", vec![closed("y")]);
    scene.add(
        "A4",
        Mode::Live,
        "phoenix",
        vec![fixtures::note("1"), fixtures::note("2"), closed("x")],
    );
    let open = scene.store.obligations("phoenix", Namespace::Live).expect("list");
    assert_eq!(open.len(), 1);
    assert_eq!((open[0].obligation.id.as_str(), open[0].run.0.as_str()), ("y", "A1"));
    assert_eq!(open[0].step, Some("fence".into()));
    let rehearsed = scene.store.obligations("phoenix", Namespace::Rehearsal).expect("list");
    assert_eq!(rehearsed.len(), 1);
}

#[test]
fn runs_are_found_by_what_screens_show() {
    let listed = || {
        [OLD, NEW, "01JH00000000000000000092QX", "01JH00000000000000000077AB"]
            .map(str::to_owned)
            .to_vec()
    };
    for text in [OLD, "7F3A", "7f3a", " 7f3a ", "01JGZ", "a"] {
        assert_eq!(find(text, listed()), Ok(id(OLD)), "{text}");
    }
    let why = find("qx", listed()).expect_err("two end in it");
    assert_eq!(
        why.to_string(),
        "find run `qx`: 2 runs match: 01JH00000000000000000092QX, 01JH00000000000000000091QX"
    );
    let why = find("7F3B", listed()).expect_err("no such run");
    assert_eq!(why.to_string(), "there is no run `7F3B`; near it: 01JGZ000000000000000007F3A");
    assert_eq!(find("zzzz", listed()).expect_err("unknown").to_string(), "there is no run `zzzz`");
    assert!(matches!(find("", listed()), Err(FindError::Ambiguous { .. })));
    assert!(matches!(find("", vec![]), Err(FindError::Unknown { .. })));
    assert!(matches!(find("", vec![OLD.to_owned()]), Err(FindError::Ambiguous { .. })));
    let many: Vec<String> = (0..9).map(|number| format!("RUN{number}X")).collect();
    assert!(find("x", many).expect_err("nine").to_string().ends_with("and 4 more"));
    assert!(Scene::new().store.find("7F3A").is_err());
}

#[test]
fn estates_are_locked_apart_from_each_other_and_from_rehearsals() {
    let scene = Scene::new();
    let holder = || Holder::this_process(&fixtures::run(), time(0));
    let lock = |estate: &str, namespace| scene.store.lock_estate(estate, namespace, holder());
    let _live = lock("phoenix", Namespace::Live).expect("free");
    let _rehearsal = lock("phoenix", Namespace::Rehearsal).expect("its own");
    let _other = lock("phoenix/2", Namespace::Live).expect("another estate");
    let why = lock("phoenix", Namespace::Live).expect_err("held");
    assert!(why.to_string().contains("run 01JGZ7ZQ2V7S6M9Q3N4K5T7F3A by "), "{why}");
}

#[test]
fn facts_of_a_rehearsal_are_never_facts_of_the_estate() {
    let scene = Scene::new();
    let store = &scene.store;
    let facts = Facts::new(time(0), serde_json::Value::Bool(true));
    store.save_facts("phoenix", Namespace::Rehearsal, "dns", &facts).expect("saved");
    let load = |namespace| store.load_facts("phoenix", namespace, "dns").expect("readable");
    assert_eq!(load(Namespace::Live), None);
    assert!(load(Namespace::Rehearsal).is_some());
}

#[test]
fn a_state_directory_that_cannot_be_used_is_one_clear_error() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let root = dir.path().join("state");
    std::fs::write(&root, "a file where the directory should be").expect("write");
    let why = Store::at(&root).create_run(&fixtures::run(), time(0)).expect_err("not a directory");
    let StoreError::Io { path, source } = &why else { panic!("{why:?}") };
    assert!(path.starts_with(&root) && source.raw_os_error() == Some(17), "{why:?}");
    assert!(why.to_string().starts_with("use the state directory `"), "{why}");
}
