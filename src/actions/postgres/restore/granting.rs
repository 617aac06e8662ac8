//! Privileges in a database that was restored without: given back one by one.

use super::archive::{Archive, artifact, failed, is_grant};
use crate::actions::postgres::properties::{Failed, Given, tried};
use crate::clients::Clients;
use crate::clients::postgres::connect_to;
use crate::engine::ports::Call;
use crate::outcome::ActionError;
use crate::runbook::catalogue::actions::PostgresRestore;

/// SQLSTATEs of a function, a table or view and a schema that are not there. A role that is not has that of a type: privileges on
/// types of an extension that was left out count as lacking.
const NOT_THERE: [&str; 3] = ["(42883)", "(42P01)", "(3F000)"];

/// What came of the privileges.
pub(super) struct Granted {
    /// What could not be given, a line each
    pub notes: Vec<String>,
    /// Statements for what comes with the extensions that were left out
    pub later: Vec<String>,
}

/// Gives the roles that are there their privileges, one by one.
///
/// A role that is not on this server must not stop a restore, nor take from others what they had.
pub(super) async fn grant(
    clients: &Clients,
    call: &Call,
    with: &PostgresRestore,
    archive: Archive<'_>,
    (draft, left): (&str, &[String]),
) -> Result<Granted, ActionError> {
    let (list, listed) = archive.listed(clients, call, with, "list").await?;
    let script = artifact(clients, call, "sql")?;
    let grants: Vec<&str> = listed.lines().filter(|line| is_grant(line)).collect();
    if grants.is_empty() {
        return Ok(Granted { notes: Vec::new(), later: Vec::new() });
    }
    std::fs::write(&list, grants.join("\n")).map_err(|error| failed(&list, &error))?;
    let using = format!("--use-list={}", list.display());
    let (into, folder) =
        (format!("--file={}", script.display()), archive.folder.display().to_string());
    archive.run(clients, call, with, &["--no-owner", &using, &into, &folder]).await?;
    let session = connect_to(clients, &with.instance, draft).await?;
    let written = std::fs::read_to_string(&script).map_err(|error| failed(&script, &error))?;
    let given: Vec<Given> = statements(&written)
        .filter(|sql| is_privilege(sql))
        .map(|sql| Given { said: sql.to_owned(), sql: sql.to_owned() })
        .collect();
    let failed = tried(clients, &session, "give privileges", &given).await?;
    let not_there = |failed: &&Failed<'_>| {
        !left.is_empty() && NOT_THERE.iter().any(|code| failed.why.ends_with(code))
    };
    let (missing, others): (Vec<&Failed<'_>>, Vec<_>) = failed.iter().partition(not_there);
    let later = missing.into_iter().flat_map(|failed| &failed.those);
    Ok(Granted {
        notes: others.into_iter().map(Failed::said).collect(),
        later: later.map(|given| given.sql.clone()).collect(),
    })
}

/// Returns the statements of a script, each without the lines before it that are no part of it.
///
/// A line that ends in a semicolon ends a statement only outside of quotes: whoever may name a table must not be able to
/// write statements into its name.
fn statements(script: &str) -> impl Iterator<Item = &str> {
    let mut rest = script;
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_start();
            if rest.is_empty() {
                return None;
            }
            if rest.starts_with("--") {
                rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
                continue;
            }
            let mut quote = None;
            let end = rest.char_indices().find(|(_, c)| match quote {
                // A quote that is doubled ends and begins again.
                Some(open) => {
                    quote = (*c != open).then_some(open);
                    false
                }
                None => {
                    quote = matches!(*c, '"' | '\'').then_some(*c);
                    *c == ';'
                }
            });
            let end = end.map_or(rest.len(), |(at, _)| at + 1);
            let (statement, after) = rest.split_at(end);
            rest = after;
            return Some(statement);
        }
    })
}

/// Says whether a statement gives or takes privileges.
fn is_privilege(sql: &str) -> bool {
    let starts = ["GRANT ", "REVOKE ", "ALTER DEFAULT PRIVILEGES "];
    sql.ends_with(';') && starts.iter().any(|start| sql.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_no_statement() {
        let script = "--\n-- Name: x; Type: ACL\n--\n\nGRANT SELECT ON TABLE public.\"x\nGRANT dr TO evil;\n\" TO app;\n\
            SET x = 'a;b';\nREVOKE ALL ON TABLE \"a\"\";\" FROM app;\n";
        let all: Vec<&str> = statements(script).collect();
        assert_eq!(
            all,
            [
                "GRANT SELECT ON TABLE public.\"x\nGRANT dr TO evil;\n\" TO app;",
                "SET x = 'a;b';",
                "REVOKE ALL ON TABLE \"a\"\";\" FROM app;",
            ]
        );
        let privileges: Vec<bool> = all.iter().map(|sql| is_privilege(sql)).collect();
        assert_eq!(privileges, [true, false, true]);
        assert_eq!(statements("GRANT x TO y").collect::<Vec<_>>(), ["GRANT x TO y"]);
    }
}
