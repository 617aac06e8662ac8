//! A folder with an estate, a runbook and a state directory, and the program run in it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const ESTATE: &str = "estate: bench
primary: { region: us-east-1 }
regions:
  us-east-1: { api: 'http://127.0.0.1:1' }
  us-west-2: { api: 'http://127.0.0.1:2' }
";

const HEAD: &str = "runbook: BENCH-1\ntitle: Benchmark\ncommand: bench\nsteps:\n";

pub(crate) struct Folder(tempfile::TempDir);

/// Returns a runbook of `/bin/true`, each step needing the one before.
pub(crate) fn chain(steps: usize) -> String {
    let mut text = HEAD.to_owned();
    for step in 0..steps {
        let needs = step.checked_sub(1).map_or(String::new(), |before| format!("s{before}"));
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "  - id: s{step}
    needs: [{needs}]
    action: command.run
    with: {{ argv: [/bin/true] }}
    verify: {{ none: it says so itself }}
    rollback: {{ none: it changes nothing }}
"
        );
    }
    text
}

/// Returns a runbook of steps that are ready at once and do nothing.
pub(crate) fn fan(steps: usize) -> String {
    let mut text = HEAD.to_owned();
    for step in 0..steps {
        // Writing to a string cannot fail.
        let _ =
            writeln!(text, "  - {{ id: s{step}, needs: [], action: wait, with: {{ for: 0s }} }}");
    }
    text
}

impl Folder {
    /// Makes a folder with a runbook, on the file system the program was built on: one in memory syncs for nothing.
    pub(crate) fn with(runbook: &str) -> Self {
        let folder = Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder"));
        fs::write(folder.path().join("phoenix-dr.yaml"), ESTATE).expect("write the estate");
        fs::write(folder.path().join("runbook.yaml"), runbook).expect("write the runbook");
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs the program, which must succeed. What it prints goes nowhere, but is printed.
    pub(crate) fn run(&self, arguments: &[&str]) {
        let status = self.command(arguments).status().expect("start the program");
        assert!(status.success(), "phoenix-dr {arguments:?}: {status}");
    }

    /// Runs the program, which must succeed; returns how much of it was resident at most, in KiB, as the kernel said while
    /// it ran.
    pub(crate) fn run_resident(&self, arguments: &[&str]) -> u64 {
        let mut child = self.command(arguments).spawn().expect("start the program");
        let file = format!("/proc/{}/status", child.id());
        let mut most = 0;
        let status = loop {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let word = line.and_then(|line| line.split_whitespace().next());
            most = word.and_then(|word| word.parse().ok()).unwrap_or(most);
            if let Some(status) = child.try_wait().expect("look at the program") {
                break status;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        };
        assert!(status.success(), "phoenix-dr {arguments:?}: {status}");
        most
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phoenix-dr"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.path())
            .env("PHOENIX_DR_STATE", self.path().join("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Returns the journal of the newest run.
    pub(crate) fn journal(&self) -> PathBuf {
        let runs = fs::read_dir(self.path().join("state/runs")).expect("a run");
        // Run ids sort by time.
        let newest = runs.map(|run| run.expect("a run").path()).max();
        newest.expect("a run").join("journal.jsonl")
    }

    /// Returns when the newest run first recorded an event of a kind.
    pub(crate) fn recorded(&self, kind: &str) -> jiff::Timestamp {
        let text = fs::read_to_string(self.journal()).expect("read the journal");
        let records = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a record"));
        let found = records
            .into_iter()
            .find(|record| record["event"]["kind"] == kind)
            .expect("it was recorded");
        found["time"].as_str().expect("a time").parse().expect("a time")
    }

    /// Returns how many steps have ended in the newest run.
    pub(crate) fn steps_ended(&self) -> usize {
        let text = fs::read_to_string(self.journal()).expect("read the journal");
        text.lines().filter(|line| line.contains(r#""kind":"step_finished""#)).count()
    }

    /// Returns a copy in a folder of its own.
    pub(crate) fn copy(&self) -> Self {
        let runbook = fs::read_to_string(self.path().join("runbook.yaml")).expect("read it");
        let copy = Self::with(&runbook);
        let journal = self.journal();
        let place = copy.path().join(journal.strip_prefix(self.path()).expect("is inside"));
        fs::create_dir_all(place.parent().expect("has a folder")).expect("make its folder");
        fs::copy(&journal, &place).expect("copy the journal");
        copy
    }
}
