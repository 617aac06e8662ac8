//! The throw-away estate of real and third-party servers, one for all tests of this binary.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::Value;

use super::harness::Folder;

/// A running estate; it ends when its standard input is closed, at the latest with this process.
pub(crate) struct Estate {
    about: Value,
    _child: Child,
    _stdin: ChildStdin,
}

static ESTATE: OnceLock<Mutex<Estate>> = OnceLock::new();

/// Returns the estate, freshly reset with these options.
pub(crate) fn fresh(options: &str) -> MutexGuard<'static, Estate> {
    let estate = ESTATE.get_or_init(|| Mutex::new(start()));
    let estate = estate.lock().unwrap_or_else(PoisonError::into_inner);
    estate.post("/reset", options);
    estate
}

fn start() -> Estate {
    let script = std::env::var_os("PHOENIX_DR_TEST_ESTATE")
        .expect("PHOENIX_DR_TEST_ESTATE is not set: run tests/run, or see docs/testing.md");
    let mut child = Command::new(script)
        .args(["--serve", "--no-build", "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start the estate");
    let stdin = child.stdin.take().expect("its standard input");
    let stdout = child.stdout.take().expect("its standard output");
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).expect("read what it says");
    let about: Value = serde_json::from_str(&line).expect("the estate says that it is ready");
    Estate { about, _child: child, _stdin: stdin }
}

impl Estate {
    /// Returns a folder that holds the estate file, with the estate's environment and a state directory of its own.
    pub(crate) fn folder(&self) -> Folder {
        let mut folder = Folder::new();
        let environment: BTreeMap<String, String> =
            serde_json::from_value(self.about["environment"].clone()).expect("its environment");
        let state = folder.environment["PHOENIX_DR_STATE"].clone();
        folder.environment.extend(environment);
        folder.environment.insert("PHOENIX_DR_STATE".to_owned(), state);
        let file = PathBuf::from(self.about["estate"].as_str().expect("its file"));
        let text = std::fs::read_to_string(file).expect("read the estate file");
        folder.write("phoenix-dr.yaml", &text);
        folder
    }

    /// Returns the mutating requests seen since the last reset.
    pub(crate) fn mutating(&self) -> Vec<Value> {
        let answer = self.get("/requests?mutating=1");
        answer.as_array().cloned().expect("a list of requests")
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        self.call("GET", path, "")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Value {
        self.call("POST", path, body)
    }

    /// One request to the control port, by hand: the tests need no HTTP client for this.
    fn call(&self, method: &str, path: &str, body: &str) -> Value {
        let control = self.about["control"].as_str().expect("its control port");
        let host = control.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host).expect("reach the control port");
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("ask");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read the answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        assert!(head.contains(" 200"), "{method} {path}: {answer}");
        serde_json::from_str(body).unwrap_or(Value::Null)
    }
}
