//! What of a world is not as somebody meant it: nothing is concluded from what such a part lacks, so that one mistake
//! is told once.

use std::collections::BTreeSet;

use super::Places;
use crate::runbook::near;
use crate::runbook::path::{Path, Segment};
use crate::sandbox::world::{Kind, World};

/// What a part with a mistake in it is.
#[derive(Clone)]
enum Sort {
    Object(Kind),
    /// A manifest of this kind
    Manifest(String),
    /// Nobody can say
    Unread,
}

/// The parts of a world in which there is a mistake.
#[derive(Clone, Default)]
pub(super) struct Doubts<'a> {
    places: Option<&'a Places<'a>>,
    /// Objects, by their number
    objects: BTreeSet<usize>,
    /// Manifests, by region and id
    manifests: BTreeSet<(String, String)>,
    /// What is written of each of them, and what could not be read at all
    texts: Vec<(Sort, &'a str)>,
}

impl<'a> Doubts<'a> {
    /// Returns what could not be read of a world.
    pub(super) fn of(world: &World, places: &'a Places<'a>) -> Self {
        let mut doubts = Self {
            places: Some(places),
            texts: places.unread().map(|text| (Sort::Unread, text)).collect(),
            ..Self::default()
        };
        let partly =
            places.rows.iter().flat_map(|rows| rows.partly.keys().map(|row| row + rows.before));
        let partly: Vec<usize> = partly.collect();
        partly.into_iter().for_each(|item| doubts.object(world, item));
        if !places.lost.is_empty() {
            let objects = Path::root().key("objects");
            let read = (0..world.objects.len()).filter(|item| places.lacks(&objects.item(*item)));
            read.for_each(|item| doubts.object(world, item));
        }
        doubts
    }

    /// Remembers that there is a mistake in an object.
    pub(super) fn object(&mut self, world: &World, item: usize) {
        let Some(object) = world.objects.get(item) else { return };
        if !self.objects.insert(item) {
            return;
        }
        let sort = match object.kind {
            Kind::Kubernetes => {
                let region = object.region.clone().unwrap_or_default();
                self.manifests.insert((region, object.id.clone()));
                Sort::Manifest(kind_of(&object.id))
            }
            kind => Sort::Object(kind),
        };
        self.text(sort, &Path::root().key("objects").item(item));
    }

    /// Remembers that there is a mistake in a manifest of a cluster's own list.
    pub(super) fn manifest(&mut self, region: &str, id: &str, path: &Path) {
        if self.manifests.insert((region.to_owned(), id.to_owned())) {
            self.text(Sort::Manifest(kind_of(id)), path);
        }
    }

    /// Remembers that there is a mistake in whatever stands at a place.
    pub(super) fn whole(&mut self, path: &Path) {
        self.text(Sort::Unread, path);
    }

    fn text(&mut self, sort: Sort, path: &Path) {
        self.texts.extend(self.places.map(|places| (sort, places.text(path))));
    }

    pub(super) fn has_object(&self, item: usize) -> bool {
        self.objects.contains(&item)
    }

    pub(super) fn has_manifest(&self, region: &str, id: &str) -> bool {
        self.manifests.contains(&(region.to_owned(), id.to_owned()))
    }

    /// Says whether an object may be there after all: one with a mistake in it speaks of it.
    pub(super) fn may_have(&self, wanted: Kind, name: &str) -> bool {
        self.texts.iter().any(|(sort, text)| {
            let alike = match sort {
                Sort::Object(kind) => *kind == wanted,
                Sort::Manifest(_) => wanted == Kind::Kubernetes,
                Sort::Unread => true,
            };
            alike && names(text, name)
        })
    }

    /// Says whether a manifest (`namespace/name`) may be there after all; of any kind where none is given.
    pub(super) fn may_have_manifest(&self, wanted: &str, name: &str) -> bool {
        // A manifest says the two apart.
        let name = name.rsplit('/').next().unwrap_or(name);
        self.texts.iter().any(|(sort, text)| {
            let alike = match sort {
                Sort::Object(_) => false,
                Sort::Manifest(kind) => {
                    wanted.is_empty() || near::nearest(kind, std::iter::once(wanted)).is_some()
                }
                Sort::Unread => true,
            };
            alike && names(text, name)
        })
    }

    /// Says whether a part of the estate, or what it says of another, could not be read.
    pub(super) fn touches(&self, path: &Path) -> bool {
        self.places.is_some_and(|places| places.lost.touches(path))
    }

    /// Says whether the estate's own names of regions are known, without which nothing else of it means anything.
    pub(super) fn knows_regions(&self) -> bool {
        let whole: [&[&str]; 3] = [&["estate"], &["estate", "primary"], &["estate", "regions"]];
        let lost = self.places.map(|places| places.lost.paths()).unwrap_or_default();
        let is = |path: &Path, keys: &[&str]| {
            let keys = keys.iter().map(|key| Segment::Key((*key).to_owned()));
            path.0.iter().cloned().eq(keys)
        };
        let primary = Path::root().keys(&["estate", "primary"]);
        !lost.iter().any(|path| path.is_within(&primary) || whole.iter().any(|keys| is(path, keys)))
    }

    /// Says whether a fault could not be read: what is dark is not known then.
    pub(super) fn knows_faults(&self) -> bool {
        let lost = self.places.map(|places| places.lost.paths()).unwrap_or_default();
        let faults = Path::root().key("faults");
        !lost.iter().any(|path| path.is_within(&faults))
    }
}

/// Says whether a text has a name in it; every text has the empty one, and none speaks of it.
fn names(text: &str, name: &str) -> bool {
    !name.is_empty() && text.contains(name)
}

/// Returns the kind of a manifest by its id.
fn kind_of(id: &str) -> String {
    id.split('/').next().unwrap_or_default().to_owned()
}
