//! The throw-away estates of real and third-party servers, lent to one test at a time.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::Deref;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::harness::{Folder, ran};

/// Estates started at most: each takes about half a gigabyte, and a tenth of a processor even while nobody uses it.
const ESTATES_MAX: usize = 6;

/// Estates kept for whoever comes next; a further one is ended, for starting another costs less than its idling.
const FREE_MAX: usize = 2;

/// Pause between two looks at what a server has done.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// A running estate; it ends when its standard input is closed, at the latest with this process.
pub(crate) struct Estate {
    about: Value,
    _child: Child,
    _stdin: ChildStdin,
}

/// Estates that nobody uses, and how many there are in all.
struct Pool {
    free: Vec<Estate>,
    started: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { free: Vec::new(), started: 0 });
static RETURNED: Condvar = Condvar::new();

/// An estate for one test; it goes back to the pool when the test is over, however that ends.
pub(crate) struct Lent(Option<Estate>);

impl Deref for Lent {
    type Target = Estate;

    fn deref(&self) -> &Estate {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        match self.0.take() {
            Some(estate) if pool.free.len() < FREE_MAX => pool.free.push(estate),
            // Its standard input closes with it.
            Some(_) => pool.started -= 1,
            // It could not be started: somebody else may try.
            None => pool.started -= 1,
        }
        RETURNED.notify_one();
    }
}

/// Returns an estate freshly reset with these options; waits for one when all are in use.
pub(crate) fn fresh(options: &str) -> Lent {
    let estate = lend();
    estate.post("/reset", options);
    estate
}

fn lend() -> Lent {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(estate) = pool.free.pop() {
            return Lent(Some(estate));
        }
        if pool.started < ESTATES_MAX {
            pool.started += 1;
            drop(pool);
            let mut lent = Lent(None);
            lent.0 = Some(start());
            return lent;
        }
        pool = RETURNED.wait(pool).unwrap_or_else(PoisonError::into_inner);
    }
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

    /// Returns the mutating requests without what the program keeps in the state bucket itself: its lease and what it saw.
    pub(crate) fn changes(&self) -> Vec<Value> {
        let mut all = self.mutating();
        all.retain(|call| {
            let path = call["path"].as_str().unwrap_or_default();
            let ours = path.contains("/leases/") || path.contains("/facts/");
            !(call["service"] == "s3" && ours)
        });
        all
    }

    /// Returns how often an operation that changes something was requested since the last reset.
    pub(crate) fn requested(&self, operation: &str) -> usize {
        self.mutating().iter().filter(|call| call["action"] == operation).count()
    }

    /// Switches a fault on; `tests/servers/faults.py` has the form. Returns its number.
    pub(crate) fn fault(&self, fault: &Value) -> u64 {
        self.post("/faults", &fault.to_string())["id"].as_u64().expect("its number")
    }

    /// Returns how often a fault was met.
    pub(crate) fn fired(&self, fault: u64) -> u64 {
        self.count(fault, "fired")
    }

    /// Returns how many requests whose answer a fault keeps back have been carried out.
    pub(crate) fn done(&self, fault: u64) -> u64 {
        self.count(fault, "done")
    }

    /// Waits until a request whose answer a fault keeps back has been carried out, by a program that must not end before.
    pub(crate) fn keeps_back(&self, fault: u64, mut child: Child, what: &str) -> Child {
        while self.done(fault) == 0 {
            if child.try_wait().expect("look at it").is_some() {
                let ended = ran(child.wait_with_output().expect("its output"));
                panic!("{what}: never requested: {}\n{}\n{}", ended.exit, ended.out, ended.err);
            }
            // Whoever asks without a pause keeps the servers from their work.
            std::thread::sleep(PAUSE);
        }
        child
    }

    fn count(&self, fault: u64, what: &str) -> u64 {
        let faults = self.get("/faults");
        let mut all = faults.as_array().into_iter().flatten();
        let found = all.find(|known| known["id"] == fault).expect("the fault is known");
        found[what].as_u64().unwrap_or(0)
    }

    /// Switches every fault off.
    pub(crate) fn no_faults(&self) {
        self.call("DELETE", "/faults", "");
    }

    /// Turns endpoints dark, or lights them; the pattern is a shell's.
    pub(crate) fn dark(&self, endpoint: &str, dark: bool) {
        let wanted = serde_json::json!({ "endpoint": endpoint, "dark": dark });
        self.post("/dark", &wanted.to_string());
    }

    /// Asks a database server itself, as superuser, for one value.
    pub(crate) fn sql(&self, instance: &str, sql: &str) -> Value {
        let asked = serde_json::json!({ "instance": instance, "sql": sql });
        self.post("/sql", &asked.to_string())["value"].clone()
    }

    /// Returns what `estate.json` says under this key, as it is now.
    pub(crate) fn about(&self, key: &str) -> Value {
        self.get("/estate")[key].clone()
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
