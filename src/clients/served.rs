//! The throw-away estate of the test servers, for tests of this crate that ask real ones.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::Value;

/// A running estate; it ends when its standard input is closed, at the latest with this process.
pub(crate) struct Served {
    /// What it says of itself: its file, its control port, the environment it is used with
    pub about: Value,
    _child: Child,
    _stdin: ChildStdin,
}

impl Served {
    /// Starts one; `None` where `PHOENIX_DR_TEST_ESTATE` does not name its script, as `tests/run` does.
    pub(crate) fn start(options: &[&str]) -> Option<Self> {
        let script = std::env::var_os("PHOENIX_DR_TEST_ESTATE")?;
        let mut child = Command::new(script)
            .args(["--serve", "--no-build", "--quiet"])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the estate");
        let stdin = child.stdin.take().expect("its standard input");
        let stdout = child.stdout.take().expect("its standard output");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("read what it says");
        let about = serde_json::from_str(&line).expect("the estate says that it is ready");
        Some(Self { about, _child: child, _stdin: stdin })
    }

    /// Returns a value of the environment it is used with.
    pub(crate) fn variable(&self, name: &str) -> &str {
        self.about["environment"][name].as_str().expect("a variable of the estate")
    }
}
