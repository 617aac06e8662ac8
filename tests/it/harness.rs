//! Runs the binary in a folder of its own with an environment of its own.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_phoenix-dr");

/// A folder with a state directory; everything the binary sees of this machine.
pub(crate) struct Folder {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) environment: BTreeMap<String, String>,
}

/// How a command ended.
pub(crate) struct Ran {
    pub(crate) exit: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Returns the SHA-256 of a text, as manifests write it.
pub(crate) fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns a text without the breaks of lines that fit the screen.
pub(crate) fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Ran {
    /// Everything that was said, without the breaks of lines.
    pub(crate) fn said(&self) -> String {
        flat(&format!("{}\n{}", self.out, self.err))
    }

    /// Holds the exit code, showing everything when it is another.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.exit, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// Holds that something was said on stderr.
    #[track_caller]
    pub(crate) fn says(self, part: &str) -> Self {
        assert!(self.err.contains(part), "`{part}` is not in stderr:\n{}", self.err);
        self
    }
}

impl Folder {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let state = dir.path().join("state").display().to_string();
        let environment = BTreeMap::from([
            ("PATH".to_owned(), std::env::var("PATH").unwrap_or_default()),
            ("HOME".to_owned(), dir.path().display().to_string()),
            ("PHOENIX_DR_STATE".to_owned(), state),
            ("TZ".to_owned(), "UTC".to_owned()),
            ("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()),
        ]);
        Self { dir, environment }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("write a file of the test");
        path
    }

    /// Puts a world of the tests' folder here and returns its name: what is printed of it does not depend on where the
    /// sources are. The library's own tests hold these files to what a capture gives.
    pub(crate) fn world(&self, name: &str) -> String {
        let worlds = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/worlds");
        std::fs::copy(worlds.join(name), self.path().join(name)).expect("copy the world");
        name.to_owned()
    }

    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        self.program(BINARY, arguments)
    }

    /// Returns the command of another program, which sees no more.
    pub(crate) fn program<S: AsRef<OsStr>>(&self, program: &str, arguments: &[S]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.path()).env_clear().envs(&self.environment);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Ran {
        ran(self.command(arguments).output().expect("run the binary"))
    }

    pub(crate) fn start<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Child {
        self.command(arguments).spawn().expect("start the binary")
    }

    /// Journals of all runs, newest first: each the events of its whole lines.
    pub(crate) fn journals(&self) -> Vec<(PathBuf, Vec<Value>)> {
        let runs = Path::new(&self.environment["PHOENIX_DR_STATE"]).join("runs");
        let mut names: Vec<PathBuf> = match std::fs::read_dir(runs) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            Err(_) => Vec::new(),
        };
        names.sort();
        names.reverse();
        names.into_iter().map(|path| (path.clone(), events(&path.join("journal.jsonl")))).collect()
    }
}

pub(crate) fn ran(output: Output) -> Ran {
    use std::os::unix::process::ExitStatusExt;
    let exit = output.status.code().unwrap_or_else(|| -output.status.signal().unwrap_or(0));
    Ran {
        exit,
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Events of the whole lines of a journal.
pub(crate) fn events(journal: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(journal).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| {
            let record: Value = serde_json::from_str(line).expect("a whole line is a record");
            record["event"].clone()
        })
        .collect()
}

/// Events of one kind about one step.
pub(crate) fn of_step<'a>(events: &'a [Value], kind: &str, step: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["kind"] == kind && event["step"] == step).collect()
}
