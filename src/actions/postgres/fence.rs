//! Action `postgres.fence`: the old primary takes no more of the application's writes, and that is proved.
//!
//! `default_transaction_read_only` alone is no fence, for any session can switch it off: the application's roles lose
//! their login, their sessions are ended, and a write is tried that must fail. What cannot be reached cannot be
//! fenced: then an operator may go on by typing `unfenced`, which stays open until a check closes it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::grants::permitted;
use crate::clients::Clients;
use crate::clients::postgres::{NoSession, Session, Tried, connect, database, identifier, literal};
use crate::engine::ports::{Armed, Call, Image, Observation, Performed, Waiver};
use crate::outcome::{ActionError, Difference, Effect, FailureClass, Fidelity, Obligation};
use crate::runbook::catalogue::actions::PostgresFence;

const SETTING: &str = "default_transaction_read_only";
/// Between two looks at the sessions: a client that reconnects does it within this.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOKS_MAX: u32 = 20;
/// SQLSTATE of a write in a read-only transaction.
const READ_ONLY: &str = "25006";

/// The fence as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    /// Value of the database's own default, where it has one
    setting: Option<String>,
    /// Whether each role of the application may log in
    logins: BTreeMap<String, bool>,
    /// The server replays another's writes and takes none
    in_recovery: bool,
}

impl State {
    async fn read(
        clients: &Clients,
        instance: &str,
        session: &mut Session,
        roles: &[String],
    ) -> Result<Self, ActionError> {
        let what = format!("read the fence of {instance}");
        let sql = "select pg_is_in_recovery(), (select substr(entry, length($1) + 2) \
             from pg_db_role_setting, unnest(setconfig) entry \
             where setdatabase = (select oid from pg_database where datname = current_database()) \
             and setrole = 0 and entry like $1 || '=%')";
        let row = session.read_one(clients, &what, sql, &[&SETTING]).await?;
        let unreadable = |error: tokio_postgres::Error| {
            ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
        };
        let in_recovery = row.try_get(0).map_err(unreadable)?;
        let setting = row.try_get(1).map_err(unreadable)?;
        let sql =
            "select rolname::text, rolcanlogin from pg_roles where rolname::text = any($1::text[])";
        let mut logins = BTreeMap::new();
        for row in session.read(clients, &what, sql, &[&roles]).await? {
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

    fn fenced(&self) -> Self {
        let logins = self.logins.keys().map(|role| (role.clone(), false)).collect();
        Self { setting: Some("on".to_owned()), logins, in_recovery: false }
    }

    /// Returns the state in the action's own shape.
    fn shape(&self) -> Value {
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

    fn of_shape(shape: &Value) -> Result<Self, ActionError> {
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
    fn statements(&self, to: &Self, database: &str) -> Vec<String> {
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
}

/// Looks whether the instance can be reached, what stands, and what is missing to fence it.
pub(crate) async fn observe(
    clients: &Clients,
    _call: &Call,
    with: &PostgresFence,
) -> Result<Observation, ActionError> {
    let known = database(clients)?;
    let mut session = match connect(clients, &with.instance, None).await {
        Ok(session) => session,
        Err(NoSession::Unreachable { address, said } | NoSession::Unclear { address, said }) => {
            return Ok(dark(clients, with, &address, &said));
        }
        Err(NoSession::Failed(error)) => return Err(error),
    };
    let roles = roles(clients)?;
    let state = State::read(clients, &with.instance, &mut session, roles).await?;
    let sessions = sessions(clients, &with.instance, &mut session, roles).await?;
    if state.in_recovery {
        let mut seen = Observation::new(state.shape(), state.shape());
        seen.evidence = vec![format!("{} replays another's writes and takes none", with.instance)];
        return Ok(seen);
    }
    let fenced = state.fenced();
    let mut seen = Observation::new(state.shape(), fenced.shape());
    let statements = state.statements(&fenced, &known.name);
    if !statements.is_empty() || sessions > 0 {
        permitted(clients, &with.instance, &mut session, roles).await?;
    }
    // Killed between the two halves: the locks are on and the sessions still write. To be carried on, not called done.
    seen.under_way = seen.satisfied && sessions > 0;
    seen.satisfied &= sessions == 0;
    seen.evidence = vec![format!(
        "{} at {} answers; {sessions} sessions of {}",
        with.instance,
        session.address,
        roles.join(", ")
    )];
    seen.differences = differences(&state, &fenced, with, sessions);
    seen.commands = commands(clients, with, &session.address, &statements, roles);
    Ok(seen)
}

fn differences(
    state: &State,
    fenced: &State,
    with: &PostgresFence,
    sessions: i64,
) -> Vec<Difference> {
    let mut found = Vec::new();
    if state.setting != fenced.setting {
        found.push(Difference {
            what: format!("{} {SETTING}", with.instance),
            from: state.setting.clone().unwrap_or_else(|| "not set".to_owned()),
            to: "on".to_owned(),
        });
    }
    for (role, _) in state.logins.iter().filter(|(_, login)| **login) {
        found.push(Difference {
            what: format!("{} role {role}", with.instance),
            from: "may log in".to_owned(),
            to: "may not".to_owned(),
        });
    }
    if sessions > 0 {
        found.push(Difference {
            what: format!("{} sessions of the application", with.instance),
            from: sessions.to_string(),
            to: "0".to_owned(),
        });
    }
    found
}

fn commands(
    clients: &Clients,
    with: &PostgresFence,
    address: &str,
    statements: &[String],
    roles: &[String],
) -> Vec<String> {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "5432"));
    let (name, user) = match &clients.estate.database {
        Some(database) => (database.name.as_str(), database.connection.user.as_str()),
        None => ("postgres", with.instance.as_str()),
    };
    let psql = format!("psql -h {host} -p {port} -U {user} -d {name}");
    let mut sql: Vec<String> = vec!["begin read write".to_owned()];
    sql.extend(statements.iter().cloned());
    sql.push("commit".to_owned());
    sql.push(terminate(roles));
    sql.into_iter().map(|sql| format!("{psql} -c {}", shell(&sql))).collect()
}

fn shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Returns the observation of an instance that cannot be reached: it can only be gone without, knowingly.
fn dark(clients: &Clients, with: &PostgresFence, address: &str, said: &str) -> Observation {
    let PostgresFence { instance, region } = with;
    let roles = roles(clients).unwrap_or_default();
    let mut seen = Observation::new(
        json!({ "reachable": false }),
        json!({ "reachable": true, "fenced": true }),
    );
    seen.fidelity = Fidelity::Unreachable;
    seen.evidence = vec![format!("{instance} at {address}: {said}")];
    let listed: Vec<String> = roles.iter().map(|role| literal(role)).collect();
    let closed_by = (!listed.is_empty()).then(|| {
        json!({
            "check": "postgres.query",
            "title": format!("{instance} is fenced"),
            "with": {
                "instance": instance,
                "region": region,
                "sql": format!(
                    "select not exists (select 1 from pg_roles where rolname in ({}) and rolcanlogin)",
                    listed.join(", ")
                ),
            },
            "that": "value",
        })
    });
    let obligation = Obligation {
        id: format!("unfenced-{instance}"),
        say: format!(
            "{instance} in {region} is not fenced: when it comes back it takes writes that the recovered database will not have"
        ),
        how: format!(
            "when {region} answers again, before anything there is started: fence {instance}, or stop or delete it"
        ),
        closed_by,
    };
    seen.waiver = Some(Waiver {
        why: format!(
            "{instance} cannot be reached from here ({said}), so it cannot be fenced. If the application can still reach it, it keeps writing there and those writes are lost"
        ),
        word: "unfenced".to_owned(),
        obligation,
    });
    seen
}

/// Returns the application's roles; fencing must neither do nothing nor lock this program out.
fn roles(clients: &Clients) -> Result<&[String], ActionError> {
    let connection = &database(clients)?.connection;
    let roles = connection.application_roles.as_slice();
    let invalid = |message: String| {
        ActionError::unchanged(FailureClass::Invalid, message)
            .hint("see `database.connection` in the estate file")
    };
    if roles.is_empty() {
        return Err(invalid(
            "`application_roles` names nobody: there is nothing to fence".to_owned(),
        ));
    }
    if roles.contains(&connection.user) {
        return Err(invalid(format!(
            "`{}` is the application's role and phoenix-dr's own: fencing it would lock phoenix-dr out",
            connection.user
        )));
    }
    Ok(roles)
}

async fn sessions(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
    roles: &[String],
) -> Result<i64, ActionError> {
    let what = format!("count the application's sessions on {instance}");
    let sql = "select count(*) from pg_stat_activity where usename::text = any($1::text[])";
    let row = session.read_one(clients, &what, sql, &[&roles]).await?;
    row.try_get(0)
        .map_err(|error| ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}")))
}

fn terminate(roles: &[String]) -> String {
    let roles: Vec<String> = roles.iter().map(|role| literal(role)).collect();
    format!(
        "select pg_terminate_backend(pid) from pg_stat_activity where usename in ({})",
        roles.join(", ")
    )
}

/// Fences, ends the sessions, and proves it.
pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &PostgresFence,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    let instance = &with.instance;
    let roles = roles(clients)?;
    let mut session = connect(clients, instance, None).await?;
    let state = State::read(clients, instance, &mut session, roles).await?;
    let fenced = state.fenced();
    if state.shape() != seen.live && state != fenced {
        return Err(changed(instance, &seen.live, &state.shape()));
    }
    call.progress.tell("blocking the application's logins", None);
    bring(clients, with, &mut session, &state, &fenced).await?;
    let applied = |error: ActionError| ActionError { effect: Effect::Applied, ..error };
    let ended =
        end_sessions(clients, call, instance, &mut session, roles).await.map_err(applied)?;
    prove(clients, instance, roles).await.map_err(applied)?;
    Ok(Performed {
        after: fenced.shape(),
        outputs: Map::new(),
        obligations: Vec::new(),
        notes: vec![
            format!("{} may no longer log in to {instance}", roles.join(", ")),
            format!("{ended} sessions ended; none came back"),
            format!("a write by a new session failed with SQLSTATE {READ_ONLY}"),
        ],
    })
}

fn changed(instance: &str, expected: &Value, now: &Value) -> ActionError {
    ActionError::unchanged(
        FailureClass::Conflict,
        format!(
            "the fence of {instance} was changed by someone else: expected {expected}, found {now}"
        ),
    )
}

/// Leads from one state to another in one transaction.
async fn bring(
    clients: &Clients,
    with: &PostgresFence,
    session: &mut Session,
    from: &State,
    to: &State,
) -> Result<(), ActionError> {
    let name = &database(clients)?.name;
    let statements: Vec<_> =
        from.statements(to, name).into_iter().map(|sql| (sql, Vec::new())).collect();
    if statements.is_empty() {
        return Ok(());
    }
    session.change(clients, &format!("change the fence of {}", with.instance), &statements).await
}

/// Ends the application's sessions until two looks in a row find none; returns how many there were at first.
async fn end_sessions(
    clients: &Clients,
    call: &Call,
    instance: &str,
    session: &mut Session,
    roles: &[String],
) -> Result<i64, ActionError> {
    let first = sessions(clients, instance, session, roles).await?;
    let mut quiet = 0;
    for _ in 0..LOOKS_MAX {
        let left = sessions(clients, instance, session, roles).await?;
        if left == 0 {
            quiet += 1;
            if quiet == 2 {
                return Ok(first);
            }
        } else {
            quiet = 0;
            call.progress.tell(format!("ending {left} sessions"), None);
            let statement = (terminate(roles), Vec::new());
            session.change(clients, &format!("end sessions on {instance}"), &[statement]).await?;
        }
        clients.clock.sleep(LOOK_EVERY).await;
    }
    Err(ActionError::applied(
        FailureClass::Transient,
        format!("sessions of {} on {instance} do not end", roles.join(", ")),
    )
    .hint("something still connects as these roles, or a session cannot be interrupted"))
}

/// Proves the fence by a session of its own: the roles may not log in, and a write fails.
async fn prove(clients: &Clients, instance: &str, roles: &[String]) -> Result<(), ActionError> {
    let mut session = connect(clients, instance, None).await?;
    let state = State::read(clients, instance, &mut session, roles).await?;
    if state != state.fenced() {
        return Err(changed(instance, &state.fenced().shape(), &state.shape()));
    }
    let what = format!("try a write on {instance}");
    let attempt = "create table phoenix_dr_must_fail (x int)";
    match session.attempt(clients, &what, None, attempt).await? {
        Tried::Failed(code) if code == READ_ONLY => Ok(()),
        Tried::Failed(code) | Tried::NotAs(code) => Err(ActionError::applied(
            FailureClass::Conflict,
            format!("{what}: it failed with SQLSTATE {code} instead of {READ_ONLY}"),
        )),
        Tried::Worked => Err(ActionError::applied(
            FailureClass::Conflict,
            format!("{what}: it would have worked; the fence does not hold"),
        )
        .hint(format!("does its role set {SETTING} by itself? see pg_db_role_setting"))),
    }
}

/// Gives logins and the default back, if they are still as this run left them.
pub(crate) async fn revert(
    clients: &Clients,
    _armed: &Armed,
    _call: &Call,
    with: &PostgresFence,
    image: &Image,
) -> Result<(), ActionError> {
    let (before, ours) = (State::of_shape(&image.before)?, State::of_shape(&image.ours)?);
    let roles: Vec<String> = before.logins.keys().cloned().collect();
    let mut session = connect(clients, &with.instance, None).await?;
    let now = State::read(clients, &with.instance, &mut session, &roles).await?;
    if now == before {
        return Ok(());
    }
    if now != ours {
        return Err(changed(&with.instance, &ours.shape(), &now.shape()));
    }
    bring(clients, with, &mut session, &now, &before).await
}

#[cfg(test)]
#[path = "fence_tests.rs"]
mod tests;
