//! DR-002 whose connections are lost in the middle of a phase: once in each, and for as long as one lasts.
//!
//! The program is stopped as a phase begins, until a session at the server waits for whatever the phase will connect: so
//! nothing depends on who is faster.

use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::corrupt::{
    Backups, DUMP, INSTANCE, OPTIONS, PROVE, ROLLED_BACK, client_of, damage, database,
};
use super::corrupt::{application_writes, databases, events, recovered, settings};
use super::corrupt_rds;
use super::corrupt_refused::NEEDS_ANSWER;
use super::estate::{Estate, PAUSE, fresh};
use super::harness::{Folder, Ran, of_step, ran};
use super::killed::killer;

/// Phases that ask a server, in their order. `statistics` is beside `prove`, and nothing rests on it.
const PHASES: [&str; 6] = ["evidence", "fence", "assess", "restore", "prove", "cut_over"];

/// What is said of a connection that was lost: by the server, or by whoever finds it closed.
const TOLD: [&str; 2] =
    ["terminating connection due to administrator command", "connection closed"];

/// How often the connections of a phase are lost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lost {
    Once,
    UntilItFails,
}

/// A session at the server that ends those of the program and of the tools it starts.
struct Cutter<'a> {
    estate: &'a Estate,
    instance: &'a str,
    session: Child,
}

impl<'a> Cutter<'a> {
    /// Starts one, which leaves alone what waits since before; it is at work when this returns.
    fn of(estate: &'a Estate, instance: &'a str, lost: Lost) -> Self {
        let enough = match lost {
            Lost::Once => "exit when ended > 0;",
            Lost::UntilItFails => "",
        };
        let work = format!(
            "do $$ declare ended int; begin loop perform pg_stat_clear_snapshot(); \
             select count(pg_terminate_backend(pid)) into ended from pg_stat_activity where usename = 'phoenix_dr' \
             and greatest(backend_start, query_start) > now(); \
             {enough} perform pg_sleep(0.001); end loop; end $$"
        );
        let mut session = client_of(estate, instance, "psql");
        session.args(["-X", "-d", "postgres", "-c", &work]).env("PGAPPNAME", "cutter");
        session.stdout(Stdio::null()).stderr(Stdio::null());
        let session = session.spawn().expect("psql runs");
        let at_work = "select count(*) from pg_stat_activity where application_name = 'cutter' and state = 'active'";
        while estate.sql(instance, at_work) == 0 {
            std::thread::sleep(PAUSE);
        }
        Self { estate, instance, session }
    }

    /// Says whether it has ended, which it does by itself once it has ended others.
    fn is_done(&mut self) -> bool {
        self.session.try_wait().expect("looked at").is_some_and(|ended| ended.success())
    }

    fn end(mut self) {
        let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'cutter'";
        self.estate.sql(self.instance, end);
        self.session.wait().expect("it ends");
    }
}

/// Says whether a process stands still, as a debugger leaves it.
fn is_stopped(pid: Pid) -> bool {
    let about = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold anything.
    about.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

/// Waits until the program stands still; `None` where it has ended before.
fn stopped(child: &mut Child) -> Option<Pid> {
    let pid = Pid::from_child(child);
    loop {
        if child.try_wait().expect("looked at").is_some() {
            return None;
        }
        if is_stopped(pid) {
            return Some(pid);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Runs DR-002, stopped as each of these phases begins, and has connections lost in it.
fn cut(estate: &Estate, folder: &Folder, phases: &[&str], lost: Lost) -> Ran {
    cut_on(INSTANCE, estate, folder.command(&database(&[])), folder, phases, lost)
}

/// The same of a command, with the connections to a server lost.
fn cut_on(
    instance: &str,
    estate: &Estate,
    mut command: Command,
    folder: &Folder,
    phases: &[&str],
    lost: Lost,
) -> Ran {
    let begins =
        |phase: &&str| format!("\"event\":{{\"kind\":\"step_started\",\"step\":\"{phase}\"");
    let begins: Vec<String> = phases.iter().map(begins).collect();
    command.env("LD_PRELOAD", killer()).env("STOP_AFTER", begins.join("\n"));
    let mut child = command.spawn().expect("start the binary");
    let mut times = 0;
    while let Some(pid) = stopped(&mut child) {
        times += 1;
        let mut cutter = Cutter::of(estate, instance, lost);
        kill_process(pid, Signal::CONT).expect("it goes on");
        let over = |cutter: &mut Cutter<'_>| match lost {
            Lost::Once => cutter.is_done(),
            Lost::UntilItFails => phases
                .iter()
                .any(|phase| !of_step(&events(folder), "step_failed", phase).is_empty()),
        };
        while !over(&mut cutter) {
            // Where there is another way, or somebody has to be asked, it does not fail.
            if child.try_wait().expect("looked at").is_some() {
                assert!(lost == Lost::UntilItFails, "{phases:?}: nothing was lost");
                break;
            }
            std::thread::sleep(PAUSE);
        }
        cutter.end();
    }
    assert_eq!(times, phases.len(), "{phases:?}");
    ran(child.wait_with_output().expect("its output"))
}

#[test]
fn connections_lost_for_good_in_a_phase_take_the_run_back_and_lost_once_in_each_cost_nothing() {
    let estate = fresh(OPTIONS);
    let backups = Backups::of(&estate, &format!("{DUMP}{PROVE}"));
    estate.sql(INSTANCE, "drop database proof");
    damage(&estate);
    let before = (settings(&estate), databases(&estate));
    for phase in PHASES {
        let folder = backups.folder(&estate);
        let ran = cut(&estate, &folder, &[phase], Lost::UntilItFails);
        // Without evidence nothing is begun unless somebody says so.
        let (exit, said) = match phase {
            "evidence" => (NEEDS_ANSWER, &["--waive evidence=no-evidence"][..]),
            _ => (ROLLED_BACK, &TOLD[..]),
        };
        let ran = ran.exits(exit);
        assert!(said.iter().any(|said| ran.said().contains(said)), "{phase}: {}", ran.said());
        let run = events(&folder);
        let begun = |step: &str| !of_step(&run, "step_started", step).is_empty();
        let after = PHASES.iter().skip_while(|known| **known != phase).skip(1);
        // Where SQL cannot close it for that long, its writers are ended instead, and the run goes on to the next phase.
        let mut after = after.filter(|step| (phase, **step) != ("fence", "assess"));
        assert!(!after.any(|step| begun(step)), "{phase}: {}", ran.said());
        assert_eq!((settings(&estate), databases(&estate)), before, "{phase}: as it was");
    }
    application_writes(&estate);
    let folder = backups.folder(&estate);
    cut(&estate, &folder, &PHASES, Lost::Once).exits(0);
    recovered(&estate, "connections lost once in each phase");
}

#[test]
fn connections_to_a_restored_instance_lost_once_in_each_phase_cost_nothing() {
    let estate = corrupt_rds::damaged();
    let folder = estate.folder();
    let command = folder.command(&corrupt_rds::database(&[]));
    let phases = ["prove_server", "repoint", "deep"];
    let ran = cut_on(corrupt_rds::RESTORED, &estate, command, &folder, &phases, Lost::Once);
    ran.exits(0);
    corrupt_rds::recovered(&estate, "connections lost once in each phase");
}
