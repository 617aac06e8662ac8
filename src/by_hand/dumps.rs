//! Dumps: `pg_dump`, `pg_restore` and `psql`.

use super::With;
use super::database::{address, psql_to};
use crate::estate::types::Estate;
use crate::shell;

/// Returns what names the server and the user to PostgreSQL's own programs.
fn server(estate: &Estate, with: With<'_>) -> String {
    let (host, port) = address(estate, &with.text("instance"));
    let user = estate.database.as_ref().map_or("USER", |known| known.connection.user.as_str());
    format!("-h {} -p {port} -U {}", shell::word(&host), shell::word(user))
}

fn folder(estate: &Estate, name: &str) -> String {
    let root = estate.database.as_ref().and_then(|known| known.dumps.as_deref()).unwrap_or("DUMPS");
    shell::word(&format!("{root}/{name}.dump"))
}

fn jobs(with: With<'_>) -> String {
    with.0.get("jobs").and_then(serde_json::Value::as_u64).unwrap_or(2).to_string()
}

/// Returns the commands that dump a database.
pub(super) fn dump(estate: &Estate, with: With<'_>) -> Vec<String> {
    let own = || estate.database.as_ref().map_or("DATABASE", |known| known.name.as_str());
    let database = with.maybe("database").unwrap_or_else(own);
    let file = folder(estate, with.maybe("name").unwrap_or("NAME"));
    vec![format!(
        "pg_dump {} -d {} --format=directory --jobs={} --file={file}",
        server(estate, with),
        shell::word(database),
        jobs(with)
    )]
}

/// Returns the command that copies a whole server's files as they are.
pub(super) fn evidence(estate: &Estate, with: With<'_>) -> Vec<String> {
    let root = estate.database.as_ref().and_then(|known| known.evidence.as_deref());
    let name = with.maybe("name").unwrap_or("NAME");
    let folder = shell::word(&format!("{}/{name}.evidence", root.unwrap_or("EVIDENCE")));
    vec![format!(
        "pg_basebackup {} --format=tar --wal-method=stream --checkpoint=fast --no-verify-checksums --pgdata={folder}",
        server(estate, with)
    )]
}

/// Returns the commands that restore a dump into a new database.
pub(super) fn restore(estate: &Estate, with: With<'_>) -> Vec<String> {
    let (server, into) = (server(estate, with), shell::word(&with.text("into")));
    let file = folder(estate, with.maybe("dump").unwrap_or("NAME"));
    vec![
        format!("createdb {server} --template=template0 {into}"),
        format!(
            "pg_restore {server} -d {into} --exit-on-error --no-owner --jobs={} {file}",
            jobs(with)
        ),
        format!("vacuumdb {server} -d {into} --analyze-only"),
    ]
}

/// Returns the command that takes a restore back.
pub(super) fn remove(estate: &Estate, with: With<'_>) -> Vec<String> {
    vec![format!("dropdb {} {}", server(estate, with), shell::word(&with.text("into")))]
}

/// Returns the commands that read a restored database in full.
pub(super) fn prove(estate: &Estate, with: With<'_>) -> Vec<String> {
    let psql = psql_to(estate, &with.text("instance"), &with.text("database"));
    vec![
        "# compare with `content` in the manifest of the dump, table by table:".to_owned(),
        format!("{psql} -c 'select count(*) from SCHEMA.TABLE'"),
    ]
}
