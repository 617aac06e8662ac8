//! Privileges on a database, in the order the server keeps them: who may connect, and by whose grant.
//!
//! The order is part of what is restored: what was there before is there again to the byte.

use serde::{Deserialize, Serialize};

use super::{Session, identifier};
use crate::clients::Clients;
use crate::outcome::{ActionError, FailureClass};

/// A privilege on a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Privilege {
    Create,
    Temporary,
    Connect,
}

impl Privilege {
    const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Temporary => "temporary",
            Self::Connect => "connect",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let all = [Self::Create, Self::Temporary, Self::Connect];
        all.into_iter().find(|privilege| privilege.name().eq_ignore_ascii_case(name))
    }
}

/// What one role has from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Grant {
    /// `None` is everybody, `PUBLIC`
    to: Option<String>,
    by: String,
    may: Vec<Privilege>,
    /// What of it may be handed on
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hands_on: Vec<Privilege>,
}

impl Grant {
    fn grantee(&self) -> String {
        self.to.as_deref().map_or_else(|| "public".to_owned(), identifier)
    }
}

/// What keeps everybody but the operator out of a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Barrier {
    /// Most sessions of those who are no superusers; -1 is no limit
    Limit(i32),
    Privileges(Acl),
}

/// The privileges on a database; nothing given away at all is what a new database begins with, said aloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Acl(Vec<Grant>);

/// Reads the items one by one, each with its place among them.
const READ: &str = "select case acl.grantee when 0 then null else pg_get_userbyid(acl.grantee)::text end, \
     pg_get_userbyid(acl.grantor)::text, acl.privilege_type, acl.is_grantable \
     from pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) with ordinality \
         as acl (grantor, grantee, privilege_type, is_grantable, place) \
     where d.datname::text = $1 order by acl.place";

impl Acl {
    pub(crate) async fn read(
        clients: &Clients,
        what: &str,
        session: &mut Session,
        database: &str,
    ) -> Result<Self, ActionError> {
        let internal = |error: String| {
            ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
        };
        let unreadable = |error: tokio_postgres::Error| internal(error.to_string());
        let mut grants: Vec<Grant> = Vec::new();
        for row in session.read(clients, what, READ, &[&database]).await? {
            let to: Option<String> = row.try_get(0).map_err(unreadable)?;
            let by: String = row.try_get(1).map_err(unreadable)?;
            let privilege: &str = row.try_get(2).map_err(unreadable)?;
            let known = Privilege::parse(privilege).ok_or_else(|| {
                internal(format!("the privilege {privilege} on a database is not known"))
            })?;
            if grants.last().is_none_or(|last| last.to != to || last.by != by) {
                grants.push(Grant { to, by, may: Vec::new(), hands_on: Vec::new() });
            }
            let Some(grant) = grants.last_mut() else { continue };
            grant.may.push(known);
            if row.try_get(3).map_err(unreadable)? {
                grant.hands_on.push(known);
            }
        }
        Ok(Self(grants))
    }

    /// Returns the privileges once nobody but one role may connect, as the server will keep them: what is left empty goes,
    /// what is new comes last.
    pub(crate) fn with_only(&self, operator: &str, owner: &str) -> Self {
        let own = |grant: &Grant| grant.to.as_deref() == Some(operator) && grant.by == owner;
        let mut grants = self.0.clone();
        for grant in &mut grants {
            if !(own(grant) && grant.may.contains(&Privilege::Connect)) {
                grant.may.retain(|privilege| *privilege != Privilege::Connect);
            }
            grant.hands_on.retain(|privilege| *privilege != Privilege::Connect);
        }
        match grants.iter_mut().find(|grant| own(grant)) {
            Some(grant) if !grant.may.contains(&Privilege::Connect) => {
                grant.may.push(Privilege::Connect);
            }
            Some(_) => {}
            None => grants.push(Grant {
                to: Some(operator.to_owned()),
                by: owner.to_owned(),
                may: vec![Privilege::Connect],
                hands_on: Vec::new(),
            }),
        }
        grants.retain(|grant| !grant.may.is_empty());
        Self(grants)
    }

    /// Returns the statements that leave the right to connect to one role alone.
    pub(crate) fn close(&self, database: &str, operator: &str, owner: &str) -> Vec<String> {
        let (name, user) = (identifier(database), identifier(operator));
        let own = |grant: &Grant| grant.to.as_deref() == Some(operator) && grant.by == owner;
        let connects = |grant: &&Grant| grant.may.contains(&Privilege::Connect);
        // What the operator has from others goes with what those others had.
        let others = self.0.iter().filter(|grant| grant.to.as_deref() != Some(operator));
        let mut from: Vec<String> = others.filter(connects).map(Grant::grantee).collect();
        from.sort();
        from.dedup();
        let mut statements: Vec<String> = from
            .iter()
            .map(|grantee| format!("revoke connect on database {name} from {grantee} cascade"))
            .collect();
        match self.0.iter().filter(connects).find(|grant| own(grant)) {
            // What it has it keeps; what it handed on goes.
            Some(grant) if grant.hands_on.contains(&Privilege::Connect) => statements.push(
                format!("revoke grant option for connect on database {name} from {user} cascade"),
            ),
            Some(_) => {}
            None => statements.push(format!("grant connect on database {name} to {user}")),
        }
        statements
    }

    /// Returns the statements that put these privileges in place of others: all anew, for the order in which they are kept
    /// is the order in which they were given.
    pub(crate) fn restore(&self, instead_of: &Self, database: &str, owner: &str) -> Vec<String> {
        let name = identifier(database);
        let mut grantees: Vec<String> = instead_of.0.iter().map(Grant::grantee).collect();
        grantees.sort();
        grantees.dedup();
        let mut statements: Vec<String> = grantees
            .iter()
            .map(|grantee| format!("revoke all on database {name} from {grantee} cascade"))
            .collect();
        for grant in &self.0 {
            let foreign = grant.by != owner;
            if foreign {
                statements.push(format!("set role {}", identifier(&grant.by)));
            }
            let grantee = grant.grantee();
            for (privileges, option) in [
                (without(&grant.may, &grant.hands_on), ""),
                (grant.hands_on.clone(), " with grant option"),
            ] {
                if privileges.is_empty() {
                    continue;
                }
                let names: Vec<&str> = privileges.iter().map(|given| given.name()).collect();
                statements.push(format!(
                    "grant {} on database {name} to {grantee}{option}",
                    names.join(", ")
                ));
            }
            if foreign {
                statements.push("reset role".to_owned());
            }
        }
        statements
    }

    /// Returns those who gave privileges on and are not the owner: to restore what they gave takes being them.
    pub(crate) fn grantors(&self, owner: &str) -> Vec<String> {
        let mut others: Vec<String> =
            self.0.iter().filter(|grant| grant.by != owner).map(|grant| grant.by.clone()).collect();
        others.sort();
        others.dedup();
        others
    }

    /// Returns who may connect by a grant of their own, in words.
    pub(crate) fn said(&self) -> String {
        let may = self.0.iter().filter(|grant| grant.may.contains(&Privilege::Connect));
        let mut names: Vec<&str> =
            may.map(|grant| grant.to.as_deref().unwrap_or("everybody")).collect();
        names.dedup();
        if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
    }
}

fn without(all: &[Privilege], some: &[Privilege]) -> Vec<Privilege> {
    all.iter().copied().filter(|privilege| !some.contains(privilege)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(to: Option<&str>, by: &str, may: &[Privilege], hands_on: &[Privilege]) -> Grant {
        let to = to.map(str::to_owned);
        Grant { to, by: by.to_owned(), may: may.to_vec(), hands_on: hands_on.to_vec() }
    }

    #[test]
    fn only_the_operator_is_left_and_everybody_keeps_the_rest() {
        use Privilege::{Connect, Create, Temporary};
        let before = Acl(vec![
            grant(Some("app"), "owner", &[Connect], &[Connect]),
            grant(None, "owner", &[Temporary, Connect], &[]),
            grant(Some("other"), "app", &[Connect], &[]),
            grant(Some("owner"), "owner", &[Create, Temporary, Connect], &[]),
        ]);
        let after = Acl(vec![
            grant(None, "owner", &[Temporary], &[]),
            grant(Some("owner"), "owner", &[Create, Temporary], &[]),
            grant(Some("dr"), "owner", &[Connect], &[]),
        ]);
        assert_eq!(before.with_only("dr", "owner"), after);
        assert_eq!(after.with_only("dr", "owner"), after, "and that is where it stays");
        assert_eq!(before.grantors("owner"), ["app"]);
        assert_eq!(before.said(), "app, everybody, other, owner");
        assert_eq!(
            before.restore(&after, "d\"b", "owner"),
            [
                "revoke all on database \"d\"\"b\" from \"dr\" cascade",
                "revoke all on database \"d\"\"b\" from \"owner\" cascade",
                "revoke all on database \"d\"\"b\" from public cascade",
                "grant connect on database \"d\"\"b\" to \"app\" with grant option",
                "grant temporary, connect on database \"d\"\"b\" to public",
                "set role \"app\"",
                "grant connect on database \"d\"\"b\" to \"other\"",
                "reset role",
                "grant create, temporary, connect on database \"d\"\"b\" to \"owner\"",
            ]
        );
    }
}
