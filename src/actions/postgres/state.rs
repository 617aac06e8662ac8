//! The fence as it stands in a database: its own default, and who of the application may log in.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::clients::Clients;
use crate::clients::postgres::fence::{Changed, forget, keep};
use crate::clients::postgres::{
    LOGINS, OWN_DEFAULT, READ_ONLY as SETTING, Session, database, identifier, literal,
};
use crate::outcome::{ActionError, FailureClass};

const ON: &str = "on";

/// The fence as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    /// Value of the database's own default, where it has one
    pub setting: Option<String>,
    /// Whether each role of the application may log in
    pub logins: BTreeMap<String, bool>,
    /// The server replays another's writes and takes none
    pub in_recovery: bool,
}

impl State {
    pub(super) async fn read(
        clients: &Clients,
        instance: &str,
        session: &mut Session,
        roles: &[String],
    ) -> Result<Self, ActionError> {
        let what = format!("read the fence of {instance}");
        let row = session.read_one(clients, &what, OWN_DEFAULT, &[&SETTING]).await?;
        let unreadable = |error: tokio_postgres::Error| {
            ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
        };
        let in_recovery = row.try_get(0).map_err(unreadable)?;
        let setting = row.try_get(1).map_err(unreadable)?;
        let mut logins = BTreeMap::new();
        for row in session.read(clients, &what, LOGINS, &[&roles]).await? {
            let name = row.try_get(0).map_err(unreadable)?;
            logins.insert(name, row.try_get(1).map_err(unreadable)?);
        }
        match roles.iter().find(|role| !logins.contains_key(*role)) {
            Some(missing) => Err(ActionError::unchanged(
                FailureClass::NotFound,
                format!("{instance} has no role `{missing}`"),
            )
            .hint("correct `database.connection.application_roles` in the estate file")),
            None => Ok(Self { setting, logins, in_recovery }),
        }
    }

    pub(super) fn fenced(&self) -> Self {
        let logins = self.logins.keys().map(|role| (role.clone(), false)).collect();
        Self { setting: Some(ON.to_owned()), logins, in_recovery: false }
    }

    /// Returns the state in the action's own shape.
    pub(super) fn shape(&self) -> Value {
        if self.in_recovery {
            return json!({ "in_recovery": true });
        }
        let roles: Map<String, Value> = self
            .logins
            .iter()
            .map(|(role, login)| (role.clone(), json!({ "login": login })))
            .collect();
        json!({ SETTING: self.setting, "roles": roles })
    }

    pub(super) fn of_shape(shape: &Value) -> Result<Self, ActionError> {
        let bad = || {
            ActionError::unchanged(
                FailureClass::Internal,
                format!("{shape} is no state of a fence"),
            )
        };
        let roles = shape.get("roles").and_then(Value::as_object).ok_or_else(bad)?;
        let mut logins = BTreeMap::new();
        for (role, state) in roles {
            let login = state.get("login").and_then(Value::as_bool).ok_or_else(bad)?;
            logins.insert(role.clone(), login);
        }
        let setting = shape.get(SETTING).and_then(Value::as_str).map(str::to_owned);
        Ok(Self { setting, logins, in_recovery: false })
    }

    /// Returns the statements that lead to another state.
    pub(super) fn statements(&self, to: &Self, database: &str) -> Vec<String> {
        let database = identifier(database);
        let mut statements = Vec::new();
        if self.setting != to.setting {
            statements.push(match &to.setting {
                Some(value) => {
                    format!("alter database {database} set {SETTING} = {}", literal(value))
                }
                None => format!("alter database {database} reset {SETTING}"),
            });
        }
        for (role, login) in &to.logins {
            if self.logins.get(role) != Some(login) {
                let word = if *login { "login" } else { "nologin" };
                statements.push(format!("alter role {} {word}", identifier(role)));
            }
        }
        statements
    }

    /// Fences in one transaction, and keeps in the database what that changed: it must be told apart from what was so
    /// before, here and wherever the fence comes over to. Returns a note where that could not be kept.
    pub(super) async fn fence(
        &self,
        clients: &Clients,
        instance: &str,
        session: &mut Session,
    ) -> Result<Option<String>, ActionError> {
        let fenced = self.fenced();
        let statements = self.statements(&fenced, &database(clients)?.name);
        if statements.is_empty() {
            return Ok(None);
        }
        let changed = Changed {
            setting: (self.setting != fenced.setting).then(|| self.setting.clone()),
            roles: self
                .logins
                .iter()
                .filter(|(_, login)| **login)
                .map(|(role, _)| role.clone())
                .collect(),
        };
        let anew = changed.setting.is_some();
        let (kept, note) = match keep(clients, instance, session, &changed, anew).await {
            Ok(kept) => (kept, None),
            // A fence that nobody can write down is better than none.
            Err(error) => (
                Vec::new(),
                Some(format!(
                    "what the fence changed could not be kept in {instance} ({error}): where it comes over, lift it by hand"
                )),
            ),
        };
        bring(clients, instance, session, kept.into_iter().chain(statements)).await?;
        Ok(note)
    }

    /// Leads back to an earlier state in one transaction.
    pub(super) async fn lift(
        &self,
        clients: &Clients,
        instance: &str,
        session: &mut Session,
        to: &Self,
    ) -> Result<(), ActionError> {
        let statements = self.statements(to, &database(clients)?.name);
        let forgotten = forget(clients, instance, session).await?;
        bring(clients, instance, session, statements.into_iter().chain(forgotten)).await
    }
}

async fn bring(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
    statements: impl Iterator<Item = String>,
) -> Result<(), ActionError> {
    let statements: Vec<_> = statements.map(|sql| (sql, Vec::new())).collect();
    session.change(clients, &format!("change the fence of {instance}"), &statements).await
}
