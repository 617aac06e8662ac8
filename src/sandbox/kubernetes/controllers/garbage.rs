//! What becomes of what an object owned, and of what lies in a namespace, once that is deleted.

use serde_json::{Value, json};

use super::super::delete::{FOREGROUND, ORPHAN, Owned, begin, is_over};
use super::super::store::{Key, NAMESPACES, Store, owners_of, text};

/// Looks after an object that is being deleted, or whose owners are gone. Says whether anything is left to do with it.
pub(super) fn reconcile(store: &mut Store, key: &Key) -> bool {
    bereaved(store, key);
    let Some(object) = store.shared(key) else { return false };
    if object["metadata"].get("deletionTimestamp").is_none() {
        return true;
    }
    if key.0 == NAMESPACES {
        emptied(store, key);
        return false;
    }
    let uid = text(&object, "/metadata/uid").to_owned();
    let has = |finalizer: &str| {
        object["metadata"]["finalizers"]
            .as_array()
            .is_some_and(|all| all.contains(&json!(finalizer)))
    };
    if has(ORPHAN) {
        for owned in store.owned_by(&uid) {
            store.change(&owned, |owned| let_go(owned, &uid));
        }
        store.change(key, |object| freed(object, ORPHAN));
    }
    if has(FOREGROUND) {
        let mut blocked = false;
        for owned in store.owned_by(&uid) {
            begin(store, &owned, Owned::Foreground, None);
            let left = store.get(&owned);
            blocked |= left.is_some_and(|left| blocks(left, &uid));
        }
        if !blocked {
            store.change(key, |object| freed(object, FOREGROUND));
        }
    }
    if store.get(key).is_some_and(is_over) {
        store.remove(key);
    }
    store.get(key).is_some()
}

/// Deletes what has lost every owner; of several owners the lost ones are struck out.
fn bereaved(store: &mut Store, key: &Key) {
    if !store.bereaved.remove(key) {
        return;
    }
    let Some(object) = store.get(key) else { return };
    let (here, gone): (Vec<String>, Vec<String>) =
        owners_of(object).map(str::to_owned).partition(|uid| store.with_uid(uid).is_some());
    if here.is_empty() && !gone.is_empty() {
        begin(store, key, Owned::Background, None);
        return;
    }
    for uid in gone {
        store.change(key, |object| let_go(object, &uid));
    }
}

fn let_go(object: &mut Value, uid: &str) {
    let Some(metadata) = object["metadata"].as_object_mut() else { return };
    let owners = metadata.get_mut("ownerReferences").and_then(Value::as_array_mut);
    let Some(owners) = owners else { return };
    owners.retain(|owner| owner["uid"] != uid);
    if owners.is_empty() {
        metadata.remove("ownerReferences");
    }
}

fn freed(object: &mut Value, finalizer: &str) {
    let Some(metadata) = object["metadata"].as_object_mut() else { return };
    let all = metadata.get_mut("finalizers").and_then(Value::as_array_mut);
    let Some(all) = all else { return };
    all.retain(|kept| kept != finalizer);
    if all.is_empty() {
        metadata.remove("finalizers");
    }
}

fn blocks(object: &Value, uid: &str) -> bool {
    let mut owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    owners.any(|owner| owner["uid"] == uid && owner["blockOwnerDeletion"] == true)
}

/// Deletes what lies in a namespace, and the namespace once nothing does.
fn emptied(store: &mut Store, key: &Key) {
    let inside = |(known, _): &(&Key, _)| known.1 == key.2;
    let all: Vec<Key> = store.everything().filter(inside).map(|(known, _)| known.clone()).collect();
    for key in &all {
        begin(store, key, Owned::Background, None);
    }
    if !store.everything().any(|(known, _)| known.1 == key.2) {
        store.change(key, |namespace| {
            if let Some(spec) = namespace["spec"].as_object_mut() {
                spec.remove("finalizers");
            }
        });
        if store.get(key).is_some_and(is_over) {
            store.remove(key);
        }
    }
}
