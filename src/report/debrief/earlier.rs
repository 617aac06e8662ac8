//! Earlier rehearsals beside this one: what each reached, and whether the two can be compared at all.

use jiff::Timestamp;
use serde::Serialize;

use crate::report::summary::{LossReached, RestoredPriority, Summary, restored_cells};
use crate::report::text;
use crate::span::Span;

/// Earlier ones that are shown.
const SHOWN_MAX: usize = 3;

/// What a rehearsal began with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setup {
    /// Of its world, whatever that calls itself
    pub world: String,
    /// Of what it was to carry out: runbook, inputs and estate, whatever recovery point was named
    pub plan: String,
    pub faults: Vec<String>,
}

/// Why an earlier rehearsal cannot be compared with this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Differs {
    World,
    Faults,
    /// The runbook, its inputs or the estate
    Plan,
    /// What it, or this one, began with cannot be read any more
    Unknown,
}

/// An earlier rehearsal of the same runbook in an estate of the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Earlier {
    pub run: String,
    pub at: Timestamp,
    pub length: Span,
    pub exit: Option<u8>,
    /// What came of it, in a line
    pub result: String,
    /// Recovery times against their objectives
    pub restored: Vec<RestoredPriority>,
    /// Data lost against its objective
    pub loss: Option<LossReached>,
    /// Its world, and the file of that
    pub world: Option<String>,
    pub seed: Option<u64>,
    /// But for surprises of one that can still be gone on with
    pub faults: Vec<String>,
    /// It has surprises that are not told yet
    pub untold: bool,
    /// What keeps it from being compared with this one; nothing where it can be
    pub differs: Vec<Differs>,
}

impl Setup {
    /// Returns what keeps two from being compared.
    pub(crate) fn differs(ours: Option<&Self>, theirs: Option<&Self>) -> Vec<Differs> {
        let (Some(ours), Some(theirs)) = (ours, theirs) else { return vec![Differs::Unknown] };
        let sorted = |faults: &[String]| {
            let mut faults = faults.to_vec();
            faults.sort();
            faults
        };
        let mut differs = Vec::new();
        if ours.world != theirs.world {
            differs.push(Differs::World);
        }
        if sorted(&ours.faults) != sorted(&theirs.faults) {
            differs.push(Differs::Faults);
        }
        // Another world has another estate in its plan: that says nothing about the runbook.
        if ours.world == theirs.world && ours.plan != theirs.plan {
            differs.push(Differs::Plan);
        }
        differs
    }
}

impl Differs {
    const fn word(self) -> &'static str {
        match self {
            Self::World => "another world",
            Self::Faults => "other faults",
            Self::Plan => "another runbook or other inputs",
            Self::Unknown => "what it began with cannot be read",
        }
    }
}

impl Earlier {
    /// Returns an earlier rehearsal by what its journal says; what it began with is still to be told.
    pub(crate) fn of(summary: &Summary) -> Self {
        Self {
            run: summary.run.short().to_owned(),
            at: summary.started,
            length: super::whole(crate::clock::since(summary.started, summary.until)),
            exit: summary.exit,
            result: summary.result.clone(),
            restored: summary.restored.clone(),
            loss: summary.loss.clone(),
            world: None,
            seed: None,
            faults: Vec::new(),
            untold: false,
            differs: vec![Differs::Unknown],
        }
    }

    fn reached(&self) -> String {
        let loss = self.loss.as_ref().filter(|loss| loss.recovered);
        let loss = loss.map(|loss| match loss.loss {
            Some(lost) => format!(" · lost {}", text::about(lost)),
            None => " · loss not known".to_owned(),
        });
        format!("{}{}", restored_cells(&self.restored), loss.unwrap_or_default())
    }

    fn began_with(&self) -> String {
        let world = self.world.as_deref().unwrap_or("its world is not known");
        let seed = self.seed.map(|seed| format!(", seed {seed}")).unwrap_or_default();
        let faults = match (self.faults.as_slice(), self.untold) {
            ([], false) => "no faults".to_owned(),
            ([], true) => "surprises that are not told yet".to_owned(),
            (faults, untold) => {
                let more = if untold { " and surprises that are not told yet" } else { "" };
                format!("{}{more}", faults.join(" "))
            }
        };
        format!("{world}{seed}, {faults}")
    }
}

/// Adds earlier rehearsals to the rows of a debrief.
pub(super) fn rows(earlier: &[Earlier], row: &mut dyn FnMut(&str, String)) {
    if earlier.is_empty() {
        return row("Earlier", "the first rehearsal of this runbook here".to_owned());
    }
    for (index, earlier) in earlier.iter().take(SHOWN_MAX).enumerate() {
        let name = if index == 0 { "Earlier" } else { "" };
        let exit = earlier.exit.map_or_else(String::new, |exit| format!(", exit {exit}"));
        let day = text::day(earlier.at);
        row(name, format!("{} on {day}: {}{exit}", earlier.run, earlier.length));
        row("", earlier.reached());
        row("", earlier.began_with());
        let differs: Vec<&str> = earlier.differs.iter().map(|differs| differs.word()).collect();
        if !differs.is_empty() {
            row("", format!("NOT COMPARABLE: {}", differs.join(", ")));
        }
    }
}
