//! Programs in a rehearsal, and actions that no world can answer: what their runbook says they would do is done to the
//! world instead; only what it says is to be started is.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::world::{Kind, resolve_instants};
use super::{GLOBAL, Sandbox};
use crate::ids::StepId;
use crate::runbook::near;
use crate::runbook::rehearse::{
    ManifestChange, ObjectChange, Played, Rehearse, RehearsedProgram, WorldChange,
};

/// What a program is run for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A step's `argv`, or its action
    Perform(StepId),
    /// A step's `undo`, or its action's own way back
    Undo(StepId),
    /// A step's `done_when`
    Done(StepId),
    /// Anything else: a check, a secret
    Look,
}

/// What becomes of a program in a rehearsal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Play {
    /// It was played to this end
    Ended { exit: u8, stdout: String },
    /// It is to be started, confined
    Start,
    /// Nothing says what it would do: that leaves the simulation
    Unknown,
}

/// What a runbook says of its programs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Programs {
    steps: BTreeMap<StepId, Rehearse>,
    others: Vec<RehearsedProgram>,
}

impl Programs {
    /// Returns what steps and their runbook say, or everything about it that no world can do.
    pub(crate) fn of(
        steps: BTreeMap<StepId, Rehearse>,
        others: Vec<RehearsedProgram>,
    ) -> Result<Self, Vec<String>> {
        let mut wrong = Vec::new();
        for (step, rehearse) in &steps {
            let played = std::iter::once(&rehearse.run).chain(&rehearse.undo);
            let place = format!("step `{step}`");
            wrong.extend(played.flat_map(|played| slips(&place, played)));
        }
        for program in &others {
            wrong.extend(slips(&format!("program `{}`", program.argv.join(" ")), &program.run));
        }
        if wrong.is_empty() { Ok(Self { steps, others }) } else { Err(wrong) }
    }

    /// Returns what a step says of itself.
    pub(crate) fn of_step(&self, step: &StepId) -> Option<&Rehearse> {
        self.steps.get(step)
    }

    /// Returns how a program is played; `None` where nothing says so.
    fn played(&self, purpose: &Purpose, argv: &[String]) -> Option<&Played> {
        let own = match purpose {
            Purpose::Perform(step) => self.steps.get(step).map(|said| &said.run),
            Purpose::Undo(step) => self.steps.get(step).and_then(|said| said.undo.as_ref()),
            Purpose::Done(_) | Purpose::Look => None,
        };
        own.or_else(|| {
            let fits = self.others.iter().filter(|other| argv.starts_with(&other.argv));
            fits.max_by_key(|other| other.argv.len()).map(|other| &other.run)
        })
    }
}

/// Returns what of a program's changes no world can do.
fn slips<'a>(place: &'a str, played: &'a Played) -> impl Iterator<Item = String> + 'a {
    let both = played.contradiction().map(|said| {
        format!("{place}: `rehearse` says `start` and `{said}`: what is started says that itself")
    });
    let wrong = played.changes.iter().filter_map(move |change| match change {
        WorldChange::Object(change) if kind(&change.kind).is_none() => {
            let known = Kind::names();
            let hint = near::hint(&change.kind, known.iter().map(String::as_str));
            let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
            Some(format!(
                "{place}: `rehearse` changes a `{}`, which no world has{hint}",
                change.kind
            ))
        }
        WorldChange::Object(_) => None,
        WorldChange::Manifest(change) => {
            let named = |name: &str| change.manifest.get(name).is_some_and(Value::is_string);
            let whole =
                named("apiVersion") && named("kind") && change.manifest.contains_key("metadata");
            (!whole).then(|| {
                format!("{place}: a manifest in `rehearse` lacks apiVersion, kind or metadata")
            })
        }
    });
    both.into_iter().chain(wrong)
}

fn kind(name: &str) -> Option<Kind> {
    serde_json::from_value(Value::from(name)).ok()
}

impl Sandbox {
    /// Plays a program, unless it is to be started.
    pub(crate) async fn program(
        &self,
        programs: &Programs,
        purpose: &Purpose,
        argv: &[String],
    ) -> Play {
        if let Purpose::Done(step) = purpose
            && let Some(said) = programs.steps.get(step)
        {
            if said.run.start {
                return Play::Start;
            }
            self.clock().sleep(self.durations().answer.0).await;
            return Play::Ended { exit: u8::from(!self.is_done(step)), stdout: String::new() };
        }
        let Some(played) = programs.played(purpose, argv) else {
            self.left(&format!("the program `{}`", argv.first().map_or("", String::as_str)));
            return Play::Unknown;
        };
        if played.start {
            return Play::Start;
        }
        self.play(played, purpose).await;
        Play::Ended { exit: played.exit, stdout: played.stdout.clone() }
    }

    /// Takes the time it takes; where it ends well, changes what it changes.
    pub(crate) async fn play(&self, played: &Played, purpose: &Purpose) {
        self.clock().sleep(played.takes.0).await;
        if played.exit != 0 {
            return;
        }
        for change in &played.changes {
            match change {
                WorldChange::Object(change) => self.change_object(change),
                WorldChange::Manifest(change) => self.change_manifest(change).await,
            }
        }
        match purpose {
            Purpose::Perform(step) => self.note_done(step, true),
            Purpose::Undo(step) => self.note_done(step, false),
            Purpose::Done(_) | Purpose::Look => {}
        }
    }

    /// Says whether what a step says of itself was played to a good end, and not taken back since.
    pub(crate) fn is_done(&self, step: &StepId) -> bool {
        let state = self.state();
        let found = state.objects.get(Kind::Program, GLOBAL, &step.0);
        found.is_some_and(|body| body["done"] == true)
    }

    fn note_done(&self, step: &StepId, done: bool) {
        let body = json!({ "done": done });
        self.state().objects.put(Kind::Program, GLOBAL, &step.0, body, Vec::new());
    }

    fn change_object(&self, change: &ObjectChange) {
        let Some(kind) = kind(&change.kind) else { return };
        let region = change.region.as_deref().unwrap_or(GLOBAL);
        let mut state = self.state();
        let now = state.objects.now();
        let mut set = Value::Object(change.set.clone());
        resolve_instants(&mut set, now);
        if change.gone {
            state.objects.remove(kind, region, &change.id);
        } else if state.objects.get(kind, region, &change.id).is_some() {
            state.objects.change(kind, region, &change.id, set);
        } else {
            state.objects.put(kind, region, &change.id, set, Vec::new());
        }
    }

    async fn change_manifest(&self, change: &ManifestChange) {
        let manifest = Value::Object(change.manifest.clone());
        let done = match self.0.clusters.get(&change.cluster) {
            Some(cluster) => cluster.clone().place(&manifest, change.gone).await,
            None => Err("it has no such cluster".to_owned()),
        };
        if let Err(why) = done {
            self.left(&format!("a change of the cluster of {}: {why}", change.cluster));
        }
    }
}
