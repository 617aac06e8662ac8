//! What a world must be beyond its types: references that lead somewhere, ids that are given once, faults that can
//! strike, bodies that are of their kind.
//!
//! What objects say of themselves comes first. Where one of them, or a part that could not be read, has a mistake in
//! it, nothing is concluded from what it lacks: [`Doubts`].

mod clusters;
mod contents;
mod doubts;
mod objects;
mod places;
mod references;

use super::fault::senseless;
use super::world::{FORMAT, World};
use crate::estate::load as estate_file;
use crate::runbook::near;
use crate::runbook::path::Path;
use crate::runbook::problem::{Gravity, Problem};
use crate::runbook::yaml;
use doubts::Doubts;
pub(super) use places::{Places, Rows};

/// How closely a world is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// As a rehearsal begins: what there may be very much of, manifests and the objects of buckets, is left as it is
    Start,
    Whole,
}

/// Returns everything that is wrong with a world, but for what kept parts of it from being read.
pub(super) fn check(world: &World, places: &Places<'_>, depth: Depth) -> Vec<Problem> {
    let doubts = Doubts::of(world, places);
    let mut checks = Checks { world, places, doubts, ruled: Vec::new(), problems: Vec::new() };
    checks.file();
    checks.faults();
    checks.bodies(depth);
    if depth == Depth::Whole {
        checks.manifests();
    }
    checks.objects();
    checks.clusters();
    checks.links();
    checks.hosts();
    checks.estate();
    checks.problems
}

struct Checks<'a> {
    world: &'a World,
    places: &'a Places<'a>,
    doubts: Doubts<'a>,
    /// Where the estate breaks its own rules
    ruled: Vec<Path>,
    problems: Vec<Problem>,
}

impl Checks<'_> {
    fn wrong(&mut self, path: &Path, message: impl Into<String>) {
        self.problems.push(Problem::at(self.places.at(path), message));
    }

    fn missing<'n>(
        &mut self,
        path: &Path,
        message: String,
        given: &str,
        known: impl Iterator<Item = &'n str>,
    ) {
        let help = near::hint(given, known);
        self.problems.push(Problem::at(self.places.at(path), message).maybe_help(help));
    }

    fn file(&mut self) {
        let path = Path::root().key("format");
        if self.world.format != FORMAT {
            let message =
                format!("format {} is not known; this version reads {FORMAT}", self.world.format);
            self.wrong(&path, message);
        }
        // The estate is held to its own rules, in its own words; a line for each value, as what is said of one with a
        // secret in it is said of its line.
        let text = serde_json::to_string_pretty(&self.world.estate).unwrap_or_default();
        let Err(problems) = estate_file::parse("estate", &text) else { return };
        let written = yaml::read("estate", &text).ok();
        let errors = problems.without_usual_help().items.into_iter();
        for problem in errors.filter(|problem| problem.gravity == Gravity::Error) {
            let place = problem.range.as_ref().zip(written.as_ref());
            let place = place.and_then(|(range, written)| written.index.path_of(range));
            let mut path = Path::root().key("estate");
            path.0.extend(place.unwrap_or_default().0);
            if self.doubts.knows_regions() && !self.doubts.touches(&path) {
                let found = Problem::at(self.places.at(&path), problem.message);
                self.problems.push(found.maybe_help(problem.help));
                self.ruled.push(path);
            }
        }
    }

    /// The estate is held against what the world has.
    fn estate(&mut self) {
        for found in references::dangling(self.world, &self.doubts) {
            // What can be no name leads nowhere as well.
            if self.ruled.contains(&found.path) {
                continue;
            }
            let problem = Problem::at(self.places.at(&found.path), found.message);
            self.problems.push(problem.maybe_help(found.help));
        }
    }

    /// Holds a region's name against the estate's; says whether it is one of them.
    fn region(&mut self, path: &Path, name: &str) -> bool {
        let known = &self.world.estate.regions;
        if known.contains_key(name) || !self.doubts.knows_regions() {
            return true;
        }
        let message = format!("the world's estate has no region `{name}`");
        self.missing(path, message, name, known.keys().map(String::as_str));
        false
    }

    fn faults(&mut self) {
        let regions: Vec<&str> = self.world.estate.regions.keys().map(String::as_str).collect();
        for (i, rule) in self.world.faults.iter().enumerate() {
            for found in senseless(rule, &regions) {
                let at = Path::root().key("faults").item(i).key(found.part.name());
                let problem = Problem::at(self.places.at(&at), found.said);
                self.problems.push(problem.help(found.help));
            }
        }
    }
}

#[cfg(test)]
mod tests;
