//! A file that was taken for another kind: what it is, by its keys alone, and the command that takes it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::UserError;
use crate::exit::Exit;

/// Bytes of a file that are looked at: its keys begin there.
const LOOKED_AT: u64 = 256 * 1024;

/// What a file is that a command does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Estate,
    World,
}

impl Kind {
    /// Says what a file is, where its keys say it; it need not be readable as one.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let mut bytes = Vec::new();
        File::open(path).ok()?.take(LOOKED_AT).read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let first = text.lines().next().and_then(|line| {
            serde_json::from_str::<Map<String, Value>>(line.trim_start_matches('\u{feff}')).ok()
        });
        let has = |key: &str| match &first {
            Some(first) => first.contains_key(key),
            None => text.lines().any(|line| line.strip_prefix(key).is_some_and(begins_a_value)),
        };
        if has("runbook") {
            return None;
        }
        // A world carries its estate.
        if has("world") {
            return Some(Self::World);
        }
        (has("estate") && has("regions")).then_some(Self::Estate)
    }

    /// Words that a file is this, and not what was asked for; `name` is how it was typed.
    pub(super) fn instead_of(self, wanted: &str, name: &str) -> UserError {
        let is = match self {
            Self::Estate => "an estate file",
            Self::World => "a world",
        };
        let error = UserError::new(Exit::Usage, format!("`{name}` is {is}, not {wanted}"));
        self.commands(name).into_iter().fold(error, UserError::hint)
    }

    /// Returns what takes it.
    pub(super) fn commands(self, name: &str) -> [String; 2] {
        match self {
            Self::Estate => [
                format!("rehearse in a world made from it: --rehearse --estate {name}"),
                format!("or capture one: phoenix-dr --estate {name} world capture --out FILE"),
            ],
            Self::World => [
                format!("check it: phoenix-dr world validate {name}"),
                format!("or rehearse in it: phoenix-dr failover --region REGION --rehearse {name}"),
            ],
        }
    }
}

fn begins_a_value(rest: &str) -> bool {
    rest.strip_prefix(':').is_some_and(|value| value.is_empty() || value.starts_with(' '))
}
