//! What a rehearsal does in place of a program, or of an action that no world can answer; or that it starts the program,
//! cut off from everything but the simulation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::span::Span;

/// Worlds that come with the program.
pub(crate) const WORLDS: [&str; 2] = ["phoenix", "phoenix-corrupt"];

/// What a rehearsal does in place of a step's program, or of its action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rehearse {
    /// In place of `argv`, or of the action
    pub run: Played,
    /// In place of `undo`, or of the action's own way back
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Played>,
}

/// What a rehearsal does in place of a program that a check or another step runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RehearsedProgram {
    /// The program's first words; of several that fit, the longest counts
    #[schemars(length(min = 1))]
    pub argv: Vec<String>,
    pub run: Played,
}

/// How a program, or an action, is played.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Played {
    /// It is started after all, cut off from every network: on loopback the simulation answers it
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub start: bool,
    /// How long it takes
    #[serde(default = "soon")]
    pub takes: Span,
    /// How it ends; only 0 changes the world
    #[serde(default)]
    pub exit: u8,
    /// What it prints; only programs do
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stdout: String,
    /// What later steps are given of it; only actions give such
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub outputs: Map<String, Value>,
    /// What it changes in the world
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<WorldChange>,
}

impl Played {
    /// Says what it says besides that the program is started, which then says so itself.
    pub(crate) fn contradiction(&self) -> Option<&'static str> {
        let said = [
            (self.takes != soon(), "takes"),
            (self.exit != 0, "exit"),
            (!self.stdout.is_empty(), "stdout"),
            (!self.outputs.is_empty(), "outputs"),
            (!self.changes.is_empty(), "changes"),
        ];
        said.into_iter().find(|(said, _)| self.start && *said).map(|(_, name)| name)
    }
}

impl Default for Played {
    /// It ends well, soon, and changes nothing.
    fn default() -> Self {
        Self {
            start: false,
            takes: soon(),
            exit: 0,
            stdout: String::new(),
            outputs: Map::new(),
            changes: Vec::new(),
        }
    }
}

fn soon() -> Span {
    Span::seconds(1)
}

/// One change of the world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum WorldChange {
    Object(ObjectChange),
    Manifest(ManifestChange),
}

/// A change of an object outside of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ObjectChange {
    /// Its type, as a world names it: `rds.instance`, `s3.object`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Its region; left out for what has none
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    pub id: String,
    /// Fields that get these values, null takes one away; what is not there is made
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub set: Map<String, Value>,
    /// It is deleted
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

/// A change of a Kubernetes object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManifestChange {
    /// Region of the cluster
    pub cluster: String,
    /// Merged into what is there; what is not there is made
    pub manifest: Map<String, Value>,
    /// It is deleted
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}
