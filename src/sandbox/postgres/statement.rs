//! The statements this program sends, as the simulation understands them.

use serde_json::Value;

use super::wire::Type;

/// A statement the simulation knows.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Statement {
    /// Is it a replica?
    InRecovery {
        negated: bool,
    },
    /// How far has it replayed?
    Replay,
    /// Where does its log end, unless it is a replica?
    LogEnd,
    /// How far has it replayed its source's log, if it is a replica?
    ReplayedTo,
    /// The database's own default and whether it is a replica
    FenceSetting,
    /// Who of the roles may log in?
    Logins,
    /// How many sessions have the roles?
    Sessions,
    /// What was this program's user granted?
    Grants,
    /// What of a fence still stands?
    FenceStands,
    /// Which of the roles may not log in?
    Locked,
    /// Which of the roles may log in and connect?
    LetIn,
    /// May a role use a schema? Every role of a world may
    ReachesSchema,
    /// How do transactions begin?
    Defaults,
    /// Who uses it, and was anything changed?
    Usage,
    /// Which process is it?
    Process,
    /// Which system and timeline is it?
    Lineage,
    /// Is a table there?
    HasTable,
    /// Where could a table be made?
    TablePlace,
    /// Is a run's heartbeat there, of whatever server it was?
    HasRow,
    /// Is a run's heartbeat there, this very one where its instant is asked for?
    HeartbeatSeen {
        exact: bool,
    },
    /// Who is connected?
    Connections,
    /// Which other roles have sessions, and how many?
    OtherSessions,
    /// Which other roles may log in?
    OtherLogins,
    /// Have these roles no sessions?
    NoSessions,
    /// May none of the roles log in?
    AllFenced {
        roles: Vec<String>,
    },
    /// A value the world gives to this text
    Answer {
        value: Value,
    },
    /// A table of this program is made
    Make {
        table: String,
    },
    /// What a fence changed is kept
    Keep {
        what: String,
        was: Option<String>,
    },
    /// What a fence changed is forgotten
    Forget,
    /// A table is made to see whether it can be
    Attempt,
    /// What follows in this transaction is done as another role
    As {
        role: String,
    },
    /// This program's own schema is made; no world tells it from `public`
    Schema,
    Heartbeat,
    SetReadOnly {
        value: Option<String>,
    },
    SetLogin {
        role: String,
        may: bool,
    },
    Terminate,
    Control(Control),
}

/// A transaction begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Control {
    /// `None` is the session's default
    Begin {
        read_only: Option<bool>,
    },
    Commit,
    Rollback,
}

/// Statements known by their beginning, blanks taken together.
const KNOWN: [(&str, Statement); 27] = [
    (
        "select pg_is_in_recovery(), (extract(epoch from pg_last_xact_replay_timestamp())",
        Statement::Replay,
    ),
    (
        "select case when not pg_is_in_recovery() then (pg_current_wal_flush_lsn()",
        Statement::LogEnd,
    ),
    ("select (pg_last_wal_replay_lsn() - '0/0')", Statement::ReplayedTo),
    ("select pg_is_in_recovery(), (select substr(entry", Statement::FenceSetting),
    ("select rolname::text, rolcanlogin from pg_roles", Statement::Logins),
    ("select rolname::text from pg_roles where rolname::text = any", Statement::Locked),
    (
        "select r.rolname::text, r.rolcanlogin, has_database_privilege(r.oid, current_database()",
        Statement::LetIn,
    ),
    ("select has_schema_privilege($1, $2, 'usage')", Statement::ReachesSchema),
    // What a role is tried with is taken back.
    ("grant ", Statement::Attempt),
    ("select count(*) from pg_stat_activity where usename::text = any", Statement::Sessions),
    ("select (select count(*) from pg_stat_activity where usename::text = any", Statement::Usage),
    ("select me.rolsuper, pg_has_role(", Statement::Grants),
    ("select what, was from public.phoenix_dr_fence where case what", Statement::FenceStands),
    ("select setting = 'on', source from pg_settings", Statement::Defaults),
    ("select coalesce(host(inet_server_addr()), 'local')", Statement::Process),
    ("select (select system_identifier::text from pg_control_system())", Statement::Lineage),
    ("select to_regclass('public.' || $1) is not null", Statement::HasTable),
    ("select coalesce(has_schema_privilege(", Statement::TablePlace),
    (
        "select coalesce(host(client_addr), ''), coalesce(application_name, '')",
        Statement::Connections,
    ),
    (
        "select usename::text, count(*) from pg_stat_activity where datname = current_database()",
        Statement::OtherSessions,
    ),
    (
        "select rolname::text from pg_roles where rolcanlogin and rolname <> current_user",
        Statement::OtherLogins,
    ),
    (
        "select not exists (select 1 from pg_stat_activity where datname = current_database()",
        Statement::NoSessions,
    ),
    ("create schema if not exists phoenix_dr", Statement::Schema),
    ("create table phoenix_dr_must_fail", Statement::Attempt),
    ("insert into public.phoenix_dr_heartbeat", Statement::Heartbeat),
    ("delete from public.phoenix_dr_fence", Statement::Forget),
    ("select pg_terminate_backend(pid) from pg_stat_activity", Statement::Terminate),
];

/// Understands a text; `None` where the simulation does not know it.
pub(super) fn understand(sql: &str, answer: impl Fn(&str) -> Option<Value>) -> Option<Statement> {
    let words: Vec<&str> = sql.split_whitespace().collect();
    let text = words.join(" ");
    let plain = text.trim_end_matches(';');
    if let Some(value) = answer(plain) {
        return Some(Statement::Answer { value });
    }
    let plain = &plain.replace(" phoenix_dr.phoenix_dr_", " public.phoenix_dr_");
    let lower = plain.to_ascii_lowercase();
    if let Some(control) = control(&lower) {
        return Some(Statement::Control(control));
    }
    match lower.as_str() {
        "select pg_is_in_recovery()" => return Some(Statement::InRecovery { negated: false }),
        "select not pg_is_in_recovery()" => return Some(Statement::InRecovery { negated: true }),
        // What a runbook asks that has put in for itself what it found.
        "select not true" | "select false" => {
            return Some(Statement::Answer { value: Value::Bool(false) });
        }
        "select not false" | "select true" => {
            return Some(Statement::Answer { value: Value::Bool(true) });
        }
        _ => {}
    }
    // A row of literals is one that a role is tried with; it is taken back.
    if lower.starts_with("insert into public.phoenix_dr_heartbeat (run, identity, at) values ('") {
        return Some(Statement::Attempt);
    }
    if lower == "select 1 from public.phoenix_dr_heartbeat where run = $1" {
        return Some(Statement::HasRow);
    }
    if let Some((_, known)) = KNOWN.iter().find(|(start, _)| lower.starts_with(start)) {
        return Some(known.clone());
    }
    if lower.starts_with("select not exists (select 1 from pg_roles where rolname in (")
        && lower.ends_with("and rolcanlogin)")
    {
        let roles = plain.split('\'').skip(1).step_by(2).map(str::to_owned).collect();
        return Some(Statement::AllFenced { roles });
    }
    if lower.starts_with("select 1 from public.phoenix_dr_heartbeat where") {
        return Some(Statement::HeartbeatSeen { exact: lower.contains("and at =") });
    }
    let made = lower.strip_prefix("create table if not exists public.phoenix_dr_");
    if let Some(rest) = made {
        let name = rest.split([' ', '(']).next().unwrap_or_default();
        return Some(Statement::Make { table: format!("phoenix_dr_{name}") });
    }
    if let Some(rest) =
        plain.strip_prefix("insert into public.phoenix_dr_fence (what, was) values ")
    {
        let quoted: Vec<&str> = rest.split('\'').skip(1).step_by(2).collect();
        let what = (*quoted.first()?).to_owned();
        let was = quoted.get(1).map(|was| (*was).to_owned());
        return Some(Statement::Keep { what, was });
    }
    altered(plain, &lower)
}

fn control(lower: &str) -> Option<Control> {
    let read_only = match (lower.contains("read only"), lower.contains("read write")) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    };
    match lower.split(' ').next()? {
        "begin" | "start" => Some(Control::Begin { read_only }),
        "commit" | "end" => Some(Control::Commit),
        "rollback" | "abort" => Some(Control::Rollback),
        _ => None,
    }
}

fn altered(plain: &str, lower: &str) -> Option<Statement> {
    if let Some(rest) = lower.strip_prefix("alter database ") {
        let setting = rest.split_once(" set default_transaction_read_only = ");
        if let Some((_, value)) = setting {
            return Some(Statement::SetReadOnly {
                value: Some(value.trim_matches('\'').to_owned()),
            });
        }
        let resets = rest.ends_with(" reset default_transaction_read_only");
        return resets.then_some(Statement::SetReadOnly { value: None });
    }
    if lower.starts_with("set local role ") {
        return Some(Statement::As { role: unquoted(plain.get("set local role ".len()..)?) });
    }
    let rest = plain.get("alter role ".len()..).filter(|_| lower.starts_with("alter role "))?;
    let (role, word) = rest.rsplit_once(' ')?;
    let role = unquoted(role);
    match word {
        "login" => Some(Statement::SetLogin { role, may: true }),
        "nologin" => Some(Statement::SetLogin { role, may: false }),
        _ => None,
    }
}

/// Returns the name that an identifier quotes.
fn unquoted(identifier: &str) -> String {
    identifier.trim_matches('"').replace("\"\"", "\"")
}

impl Statement {
    /// Returns the types of its parameters.
    pub(super) fn parameters(&self) -> &'static [Type] {
        match self {
            Self::FenceSetting => &[Type::Text],
            Self::Logins
            | Self::Sessions
            | Self::Grants
            | Self::Locked
            | Self::LetIn
            | Self::Usage
            | Self::OtherSessions
            | Self::OtherLogins => &[Type::TextArray],
            Self::HasRow => &[Type::Text],
            Self::HasTable | Self::ReachesSchema | Self::HeartbeatSeen { exact: false } => {
                &[Type::Text, Type::Text]
            }
            Self::HeartbeatSeen { exact: true } | Self::Heartbeat => {
                &[Type::Text, Type::Text, Type::Int8]
            }
            Self::InRecovery { .. }
            | Self::Replay
            | Self::LogEnd
            | Self::ReplayedTo
            | Self::FenceStands
            | Self::Defaults
            | Self::Process
            | Self::Lineage
            | Self::TablePlace
            | Self::Connections
            | Self::NoSessions
            | Self::AllFenced { .. }
            | Self::Answer { .. }
            | Self::Make { .. }
            | Self::Keep { .. }
            | Self::Forget
            | Self::Attempt
            | Self::As { .. }
            | Self::Schema
            | Self::SetReadOnly { .. }
            | Self::SetLogin { .. }
            | Self::Terminate
            | Self::Control(_) => &[],
        }
    }

    /// Returns the types of its columns.
    pub(super) fn columns(&self) -> Vec<Type> {
        match self {
            Self::InRecovery { .. }
            | Self::AllFenced { .. }
            | Self::NoSessions
            | Self::ReachesSchema
            | Self::Terminate => vec![Type::Bool],
            Self::LetIn => vec![Type::Text, Type::Bool, Type::Bool],
            Self::Replay => vec![Type::Bool, Type::Int8, Type::Int8, Type::Bool, Type::Int8],
            Self::FenceSetting => vec![Type::Bool, Type::Text],
            Self::Logins => vec![Type::Text, Type::Bool],
            Self::Sessions | Self::LogEnd | Self::ReplayedTo => vec![Type::Int8],
            Self::Grants => vec![Type::Bool; 6],
            Self::FenceStands => vec![Type::Text, Type::Text],
            Self::Locked | Self::OtherLogins => vec![Type::Text],
            Self::OtherSessions => vec![Type::Text, Type::Int8],
            Self::Defaults => vec![Type::Bool, Type::Text],
            Self::Usage => vec![Type::Int8, Type::Int8],
            Self::Process => vec![Type::Text, Type::Bool],
            Self::Lineage => vec![Type::Text, Type::Int8],
            Self::HasTable | Self::TablePlace => vec![Type::Bool; 2],
            Self::HasRow | Self::HeartbeatSeen { .. } => vec![Type::Int4],
            Self::Connections => vec![Type::Text, Type::Text, Type::Bool],
            Self::Answer { value } => vec![match value {
                Value::Bool(_) => Type::Bool,
                Value::Number(number) if number.is_i64() => Type::Int8,
                Value::Number(_) => Type::Float8,
                Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => Type::Text,
            }],
            Self::Make { .. }
            | Self::Keep { .. }
            | Self::Forget
            | Self::Attempt
            | Self::As { .. }
            | Self::Schema
            | Self::Heartbeat
            | Self::SetReadOnly { .. }
            | Self::SetLogin { .. }
            | Self::Control(_) => Vec::new(),
        }
    }

    /// Says whether it changes something.
    pub(super) fn writes(&self) -> bool {
        match self {
            Self::Make { .. }
            | Self::Keep { .. }
            | Self::Forget
            | Self::Attempt
            | Self::Schema
            | Self::Heartbeat
            | Self::SetReadOnly { .. }
            | Self::SetLogin { .. } => true,
            Self::InRecovery { .. }
            | Self::Replay
            | Self::LogEnd
            | Self::ReplayedTo
            | Self::FenceSetting
            | Self::Logins
            | Self::Sessions
            | Self::Grants
            | Self::FenceStands
            | Self::Locked
            | Self::LetIn
            | Self::ReachesSchema
            | Self::HasRow
            | Self::Defaults
            | Self::Usage
            | Self::Process
            | Self::Lineage
            | Self::HasTable
            | Self::TablePlace
            | Self::HeartbeatSeen { .. }
            | Self::Connections
            | Self::OtherSessions
            | Self::OtherLogins
            | Self::NoSessions
            | Self::As { .. }
            | Self::AllFenced { .. }
            | Self::Answer { .. }
            | Self::Terminate
            | Self::Control(_) => false,
        }
    }
}

#[cfg(test)]
#[path = "statement_tests.rs"]
mod tests;
