//! Whose a dump is: two servers may have a database of the same name, and share a directory of dumps.

use std::collections::BTreeSet;

use super::manifest::Manifest;
use super::store::Dump;
use crate::estate::types::Database;
use crate::outcome::{ActionError, FailureClass};

/// The estate's database, and the server something is to be restored on.
pub(super) struct Origin<'a> {
    pub database: &'a Database,
    /// The server's system identifier; `None` where it keeps that to itself
    pub system: Option<&'a str>,
}

/// Dumps of a database's name, by whose they are; in their order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sorted {
    pub own: Vec<Dump>,
    /// The others, a line each
    pub foreign: Vec<String>,
}

impl Origin<'_> {
    /// Tells the dumps of this database from those of others that have its name.
    ///
    /// Those of the very system the restore is for are its own. On another server, such as one that was made anew, the
    /// estate's instances tell; an error where these were several systems, for the newest of them may be of another.
    pub(super) fn sort(&self, found: Vec<Dump>) -> Result<Sorted, ActionError> {
        let of_system = |dump: &Dump| dump.manifest.system.as_deref() == self.system;
        let known = self.system.is_some() && found.iter().any(of_system);
        let is_own = |dump: &Dump| match &dump.manifest.system {
            Some(_) if known => of_system(dump),
            Some(_) | None => is_of_estate(self.database, &dump.manifest.instance),
        };
        let (own, others): (Vec<_>, Vec<_>) = found.into_iter().partition(is_own);
        let systems: BTreeSet<&str> =
            own.iter().filter_map(|dump| dump.manifest.system.as_deref()).collect();
        if systems.len() > 1 {
            let dumps: Vec<String> = own.iter().map(|dump| said(&dump.manifest)).collect();
            let message = format!(
                "which dump of {} is the newest cannot be told: they are of several servers: {}",
                self.database.name,
                dumps.join(", ")
            );
            return Err(ActionError::unchanged(FailureClass::Conflict, message)
                .hint("name the one that is meant in `dump`"));
        }
        let foreign =
            others.iter().map(|dump| format!("{} is of another server", said(&dump.manifest)));
        let foreign = foreign.collect();
        Ok(Sorted { own, foreign })
    }
}

fn said(dump: &Manifest) -> String {
    let system = dump.system.as_deref().unwrap_or("unknown");
    format!("{} ({}, system {system})", dump.name, dump.instance)
}

/// Says whether the estate knows an instance.
pub(super) fn is_of_estate(database: &Database, instance: &str) -> bool {
    let replica = database.replica.as_ref().map(|replica| replica.id.as_str());
    [Some(database.primary.id.as_str()), replica, Some(database.recovered.id.as_str())]
        .contains(&Some(instance))
        || database.addresses.contains_key(instance)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clients::testing;

    fn dump(name: &str, instance: &str, system: Option<&str>) -> Dump {
        let content = json!({
            "tables": [], "sequences": [], "large_objects": 0, "invalid_indexes": [], "unvalidated_constraints": [],
        });
        let locale = json!({ "encoding": "UTF8", "collate": "C", "ctype": "C", "provider": "c" });
        let manifest = json!({
            "format": "phoenix-dr/dump/2", "name": name, "token": "t", "instance": instance, "region": "us-east-1",
            "system": system, "database": "phoenix", "taken": "2026-01-01T00:00:00Z", "lsn": "0/1",
            "server_version": 150_008, "tool": 15, "locale": locale, "bytes": 1, "files": [], "content": content,
            "properties": { "settings": [], "public": false, "grants": [], "owners": [] },
        });
        Dump { manifest: serde_json::from_value(manifest).expect("a manifest"), wrong: None }
    }

    /// Sorts dumps for a server of a system; returns the names of its own, or the error.
    fn sorted(system: Option<&str>, dumps: &[Dump]) -> Result<Vec<String>, ActionError> {
        let clients = testing::clients(json!({ "database": {
            "name": "phoenix",
            "primary": { "id": "prod", "region": "us-east-1", "address": "127.0.0.1:5432" },
            "recovered": { "id": "recovered" },
            "connection": { "user": "dr", "password_from": { "env": "PATH" }, "tls": "disable" },
        } }));
        let database = clients.estate.database.as_ref().expect("a database");
        let sorted = Origin { database, system }.sort(dumps.to_vec())?;
        assert_eq!(
            sorted.own.len() + sorted.foreign.len(),
            dumps.len(),
            "none is left out silently"
        );
        Ok(sorted.own.into_iter().map(|dump| dump.manifest.name).collect())
    }

    #[test]
    fn the_system_tells_whose_a_dump_is_and_where_it_cannot_the_estates_instances() {
        let dumps = [
            dump("staging", "staging", Some("2")),
            dump("same_name", "prod", Some("2")),
            dump("ours", "prod", Some("1")),
            dump("from_a_copy", "copy", Some("1")),
            dump("before", "prod", None),
        ];
        let own = sorted(Some("1"), &dumps).expect("known");
        assert_eq!(own, ["ours", "from_a_copy", "before"]);
        // On a server that was made anew the newest may be of either.
        let error = sorted(Some("3"), &dumps).expect_err("which one?");
        assert_eq!(error.class, FailureClass::Conflict);
        assert!(
            error.message.contains("same_name (prod, system 2), ours (prod, system 1)"),
            "{error}"
        );
        let one = [dumps[0].clone(), dumps[2].clone(), dumps[4].clone()];
        for system in [Some("3"), None] {
            assert_eq!(sorted(system, &one).expect("one system"), ["ours", "before"]);
        }
    }
}
