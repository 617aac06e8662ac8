//! Privileges in a database that was restored without: given back one by one.

use super::archive::{Archive, artifact, failed, is_grant};
use crate::actions::postgres::properties::{Given, give};
use crate::clients::Clients;
use crate::clients::postgres::connect_to;
use crate::engine::ports::Call;
use crate::outcome::ActionError;
use crate::runbook::catalogue::actions::PostgresRestore;

/// Gives the roles that are there their privileges, one by one; returns what could not be given, a line each.
///
/// A role that is not on this server must not stop a restore, nor take from others what they had.
pub(super) async fn grant(
    clients: &Clients,
    call: &Call,
    with: &PostgresRestore,
    archive: Archive<'_>,
    draft: &str,
) -> Result<Vec<String>, ActionError> {
    let (list, listed) = archive.listed(clients, call, with, "list").await?;
    let script = artifact(clients, call, "sql")?;
    let grants: Vec<&str> = listed.lines().filter(|line| is_grant(line)).collect();
    if grants.is_empty() {
        return Ok(Vec::new());
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
    give(clients, &session, "give privileges", &given).await
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
