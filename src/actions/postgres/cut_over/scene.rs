//! Which databases have the names a cut over is about, by their OIDs, which no renaming changes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::clients::Clients;
use crate::clients::postgres::marks::{Comment, CutOver, Note};
use crate::clients::postgres::{LOGINS, Session, database};
use crate::engine::ports::Call;
use crate::outcome::{ActionError, FailureClass};
use crate::runbook::catalogue::actions::PostgresCutOver;

/// Bytes of a name: what is longer a server cuts off.
const NAME_MAX: usize = 63;

/// A database of the server.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub oid: i64,
    pub owner: String,
    /// Whoever asks has the rights of its owner
    pub ours: bool,
    /// Anybody may connect at all
    pub open: bool,
    /// Most sessions of those who are no superusers; -1 is no limit
    pub limit: i32,
    pub comment: Comment,
}

/// What a cut over is about.
pub(super) struct Scene<'a> {
    pub with: &'a PostgresCutOver,
    /// Name the application uses
    pub name: String,
    /// Name of the damaged one from the cut over on
    pub kept: String,
    /// This step's cut over, where it was made
    pub made: Option<CutOver>,
    /// Roles the fence took the login from, and whether they have it
    pub logins: BTreeMap<String, bool>,
    pub databases: BTreeMap<String, Listed>,
}

const LIST: &str = "select d.datname::text, d.oid::int8, pg_get_userbyid(d.datdba)::text, \
     pg_has_role(d.datdba, 'USAGE'), d.datallowconn, coalesce(shobj_description(d.oid, 'pg_database'), ''), \
     d.datconnlimit from pg_database d";

impl<'a> Scene<'a> {
    /// Reads it; `kept` is the name for the damaged one that was said before.
    pub(super) async fn read(
        clients: &Clients,
        call: &Call,
        with: &'a PostgresCutOver,
        session: &mut Session,
        kept: Option<&str>,
    ) -> Result<Self, ActionError> {
        let name = database(clients)?.name.clone();
        let what = format!("list the databases of {}", with.instance);
        let unreadable = |error: tokio_postgres::Error| {
            ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
        };
        let mut databases = BTreeMap::new();
        for row in session.read(clients, &what, LIST, &[]).await? {
            let listed = Listed {
                oid: row.try_get(1).map_err(unreadable)?,
                owner: row.try_get(2).map_err(unreadable)?,
                ours: row.try_get(3).map_err(unreadable)?,
                open: row.try_get(4).map_err(unreadable)?,
                comment: Comment::read(row.try_get(5).map_err(unreadable)?),
                limit: row.try_get(6).map_err(unreadable)?,
            };
            databases.insert(row.try_get::<_, String>(0).map_err(unreadable)?, listed);
        }
        let noted = databases.get(&name).and_then(|found| found.comment.note.cut_over.clone());
        let made = noted.filter(|noted| noted.token == call.token());
        let damaged = made.as_ref().and_then(|made| {
            databases.iter().find(|(_, found)| found.oid == made.damaged).map(|(name, _)| name)
        });
        let kept = match (damaged, kept) {
            (Some(damaged), _) => damaged.clone(),
            (None, Some(kept)) => kept.to_owned(),
            (None, None) => {
                let day = clients.clock.now().strftime("%Y%m%d").to_string();
                dated(&name, &day, |name| databases.contains_key(name))
            }
        };
        let of = damaged.unwrap_or(&name);
        let roles: Vec<String> =
            databases.get(of).map(|found| found.comment.note.logins.clone()).unwrap_or_default();
        let mut logins = BTreeMap::new();
        for row in session.read(clients, &what, LOGINS, &[&roles]).await? {
            let role: String = row.try_get(0).map_err(unreadable)?;
            logins.insert(role, row.try_get(1).map_err(unreadable)?);
        }
        Ok(Self { with, name, kept, made, logins, databases })
    }

    /// Returns the OID of the database that has a name.
    pub(super) fn oid(&self, name: &str) -> Option<i64> {
        self.databases.get(name).map(|found| found.oid)
    }

    fn shape(&self, oids: [Option<i64>; 3], login: impl Fn(bool) -> bool) -> Value {
        let names = [&self.name, &self.with.restored, &self.kept];
        let databases: Map<String, Value> =
            names.into_iter().zip(oids).map(|(name, oid)| (name.clone(), json!(oid))).collect();
        let logins: Map<String, Value> = self
            .logins
            .iter()
            .map(|(role, now)| (role.clone(), json!({ "login": login(*now) })))
            .collect();
        json!({ "databases": databases, "logins": logins })
    }

    /// Returns the present state in the action's own shape.
    pub(super) fn live(&self) -> Value {
        let oid = |name: &str| self.oid(name);
        self.shape([oid(&self.name), oid(&self.with.restored), oid(&self.kept)], |now| now)
    }

    /// Returns the state that is wanted: of a cut over that was made, what came of it.
    pub(super) fn desired(&self) -> Value {
        if self.made.is_some() {
            return self.live();
        }
        self.shape([self.oid(&self.with.restored), None, self.oid(&self.name)], |_| true)
    }

    /// Returns the tables whose rows alone the restored database holds.
    pub(super) fn part(&self) -> Option<String> {
        let (_, note) = self.note_of(&self.with.restored);
        (!note.part.is_empty()).then(|| note.part.join(", "))
    }

    fn note_of(&self, name: &str) -> (Comment, Note) {
        let comment =
            self.databases.get(name).map(|found| found.comment.clone()).unwrap_or_default();
        let note = comment.note.clone();
        (comment, note)
    }

    /// Returns the statement that notes the cut over, once the restored one has its name.
    pub(super) fn noting(&self, made: CutOver) -> String {
        let (comment, note) = self.note_of(&self.with.restored);
        comment.noting(&self.name, &Note { cut_over: Some(made), ..note })
    }

    /// Returns the statement that takes the note away, once the restored one has its former name.
    pub(super) fn without_note(&self) -> String {
        let (comment, note) = self.note_of(&self.name);
        comment.noting(&self.with.restored, &Note { cut_over: None, ..note })
    }
}

/// Returns the name a damaged database is kept under: dated, of no other database, and as long as names may be.
fn dated(name: &str, day: &str, taken: impl Fn(&str) -> bool) -> String {
    (1_u32..)
        .map(|count| {
            let end = match count {
                1 => format!("_damaged_{day}"),
                count => format!("_damaged_{day}_{count}"),
            };
            let mut start = name;
            while start.len() + end.len() > NAME_MAX {
                let last = start.char_indices().next_back().map_or(0, |(at, _)| at);
                start = &start[..last];
            }
            format!("{start}{end}")
        })
        .find(|name| !taken(name))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_a_damaged_database_is_kept_under_is_free_and_fits() {
        let kept =
            |name: &str, taken: &[&str]| dated(name, "20261129", |name| taken.contains(&name));
        assert_eq!(kept("phoenix", &[]), "phoenix_damaged_20261129");
        assert_eq!(
            kept("phoenix", &["phoenix_damaged_20261129", "phoenix_damaged_20261129_2"]),
            "phoenix_damaged_20261129_3"
        );
        let long = "ö".repeat(31);
        let first = kept(&long, &[]);
        assert_eq!(first, format!("{}_damaged_20261129", "ö".repeat(23)));
        let second = kept(&long, &[&first]);
        assert_eq!(second, format!("{}_damaged_20261129_2", "ö".repeat(22)));
        assert!(second.len() <= NAME_MAX);
    }
}
