//! How a store begins: with the manifests of a world, dressed as a server has them, brought to rest.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::Behaviour;
use super::super::kinds::Kinds;
use super::{NAMESPACES, Store, text};

impl Store {
    /// Makes a store of manifests that were there when a world began.
    pub(in super::super) fn load(
        objects: Vec<Value>,
        behaviour: Behaviour,
        (began, now): (Timestamp, Timestamp),
        version: u64,
    ) -> Result<Self, String> {
        let mut store = Self {
            kinds: Kinds::built_in(),
            behaviour,
            listener: None,
            placing: None,
            now: began,
            dirty: BTreeSet::new(),
            fresh: BTreeSet::new(),
            lost: BTreeSet::new(),
            bereaved: BTreeSet::new(),
            objects: BTreeMap::new(),
            version: version.max(1),
            loading: true,
            told: Vec::new(),
            changes: VecDeque::new(),
            known_from: 0,
            by_uid: BTreeMap::new(),
            owned: BTreeMap::new(),
            placed: BTreeMap::new(),
            pending: BTreeSet::new(),
            without_machine: BTreeSet::new(),
            orphans: BTreeSet::new(),
            ending: BTreeSet::new(),
            due: BTreeSet::new(),
        };
        let latest = objects.iter().map(|object| text(object, "/metadata/resourceVersion"));
        let latest = latest.filter_map(|version| version.parse().ok()).max();
        store.version = store.version.max(latest.unwrap_or(0));
        let (definitions, objects): (Vec<Value>, Vec<Value>) = objects
            .into_iter()
            .partition(|object| text(object, "/kind") == "CustomResourceDefinition");
        for object in definitions.into_iter().chain(objects) {
            store.take_in(object)?;
        }
        store.needs_namespaces();
        super::super::controllers::begin(&mut store, now);
        store.loading = false;
        store.dirty.extend(store.pending.iter().cloned());
        store.known_from = store.version;
        Ok(store)
    }

    fn take_in(&mut self, mut object: Value) -> Result<(), String> {
        let api = text(&object, "/apiVersion").to_owned();
        let named = format!("{} {}", text(&object, "/kind"), text(&object, "/metadata/name"));
        let Some(kind) = self.kinds.of_object(&object) else {
            return Err(format!("{named} of {api} is not simulated"));
        };
        let name = text(&object, "/metadata/name").to_owned();
        if name.is_empty() {
            return Err(format!("a {} without a name", kind.kind));
        }
        let namespace = match (kind.namespaced, text(&object, "/metadata/namespace")) {
            (false, _) => String::new(),
            (true, "") => "default".to_owned(),
            (true, namespace) => namespace.to_owned(),
        };
        super::super::convert::inward(&kind, &mut object);
        super::super::defaults::fill(&kind, &mut object);
        let uid = named_uid(&kind.kind, &namespace, &name);
        self.dress(&kind, &mut object, &namespace, &uid);
        self.put((kind.kept.clone(), namespace, name), object);
        Ok(())
    }

    /// Makes the namespaces that everything lies in.
    fn needs_namespaces(&mut self) {
        let mut names: BTreeSet<String> =
            self.objects.keys().map(|key| key.1.clone()).filter(|name| !name.is_empty()).collect();
        names.extend(["default", "kube-system"].map(str::to_owned));
        for name in names {
            let key = (NAMESPACES.to_owned(), String::new(), name.clone());
            if let (false, Some(kind)) =
                (self.objects.contains_key(&key), self.kinds.of(NAMESPACES))
            {
                let mut made = json!({
                    "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name },
                });
                super::super::defaults::fill(&kind, &mut made);
                self.dress(&kind, &mut made, "", &named_uid("Namespace", "", &name));
                self.put(key, made);
            }
        }
    }
}

/// Returns an object's uid, by what it is called: a world that is loaded again gives the same.
fn named_uid(kind: &str, namespace: &str, name: &str) -> String {
    let bytes = [kind, namespace, name].join("/").into_bytes();
    let start = 0xcbf2_9ce4_8422_2325_u64;
    let sum = bytes
        .iter()
        .fold(start, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    format!("00000000-0000-4000-8000-{:012x}", sum & 0xffff_ffff_ffff)
}
