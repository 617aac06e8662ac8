//! Dumps: `pg_dump`, `pg_restore` and `psql`.

use std::path::Path;

use serde_json::{Map, Value};

use super::With;
use super::database::{address, psql_to, statements};
use crate::clients::postgres::marks::{Note, noted};
use crate::clients::postgres::{identifier, literal};
use crate::estate::dumps::{DumpBucket, DumpsAt};
use crate::estate::types::{Database, Estate};
use crate::runbook::catalogue::actions::Tables;
use crate::shell;

/// How the name of a dump's directory ends.
const DUMP: &str = ".dump";

/// Returns what names the server and the user to PostgreSQL's own programs.
fn server(estate: &Estate, with: With<'_>) -> String {
    let (host, port) = address(estate, &with.text("instance"));
    let user = estate.database.as_ref().map_or("USER", |known| known.connection.user.as_str());
    format!("-h {} -p {port} -U {}", shell::word(&host), shell::word(user))
}

fn at(estate: &Estate) -> Option<&DumpsAt> {
    estate.database.as_ref()?.dumps.as_ref()
}

fn bucket(estate: &Estate) -> Option<&DumpBucket> {
    match at(estate)? {
        DumpsAt::Directory(_) => None,
        DumpsAt::Bucket(bucket) => Some(bucket),
    }
}

fn root_and(estate: &Estate, name: &str) -> String {
    let root = at(estate).map_or("DUMPS", DumpsAt::work);
    format!("{root}/{name}{DUMP}")
}

fn folder(estate: &Estate, name: &str) -> String {
    shell::word(&root_and(estate, name))
}

fn copied(region: &str, from: &str, to: &str) -> String {
    let (from, to) = (shell::word(from), shell::word(to));
    format!("aws s3 cp --recursive --region {region} {from} {to}")
}

/// Returns the command that brings a dump into the bucket, where there is one.
pub(crate) fn sent(estate: &Estate, name: &str) -> Option<String> {
    let bucket = bucket(estate)?;
    Some(copied(
        &bucket.region,
        &root_and(estate, name),
        &bucket.at().place(&format!("{name}{DUMP}")),
    ))
}

/// Returns the command that brings a dump from the bucket into a folder of this host, where there is one.
pub(crate) fn brought(estate: &Estate, name: &str, folder: &Path) -> Option<String> {
    let bucket = bucket(estate)?;
    let from = bucket.at().place(&format!("{name}{DUMP}"));
    Some(copied(&bucket.region, &from, &folder.display().to_string()))
}

fn jobs(with: With<'_>) -> String {
    with.0.get("jobs").and_then(Value::as_u64).unwrap_or(2).to_string()
}

/// Returns the commands that dump a database.
pub(super) fn dump(estate: &Estate, with: With<'_>) -> Vec<String> {
    let own = || estate.database.as_ref().map_or("DATABASE", |known| known.name.as_str());
    let database = with.maybe("database").unwrap_or_else(own);
    let file = folder(estate, with.maybe("name").unwrap_or("NAME"));
    let dumped = format!(
        "pg_dump {} -d {} --format=directory --compress=3 --jobs={} --file={file}",
        server(estate, with),
        shell::word(database),
        jobs(with)
    );
    std::iter::once(dumped).chain(sent(estate, with.maybe("name").unwrap_or("NAME"))).collect()
}

/// Returns the commands that show what the database could be restored from.
pub(super) fn points(estate: &Estate, with: With<'_>) -> Vec<String> {
    let database = estate.database.as_ref();
    let bases = database.and_then(|known| known.base_backups.as_ref());
    let shown = at(estate).map(|at| match at {
        DumpsAt::Directory(root) => format!("ls -ld {}/*{DUMP}", shell::word(root)),
        DumpsAt::Bucket(bucket) => {
            let place = shell::word(&format!("{}/", bucket.at().place("")));
            format!("aws s3 ls --region {} {place}", bucket.region)
        }
    });
    let mut lines: Vec<String> = shown.into_iter().collect();
    if let Some(bases) = bases {
        match &bases.from {
            None => {
                lines.push(format!("ls -l {}", shell::word(&bases.directory)));
                lines.push(format!("ls -l {} | tail", shell::word(&bases.wal)));
            }
            Some(at) => {
                let list = |below: &str| {
                    let place = shell::word(&format!("{}/", at.place(below)));
                    format!("aws s3 ls --region {} {place}", at.region)
                };
                lines.extend([list("base"), format!("{} | tail", list("wal"))]);
            }
        }
    } else {
        let region = with.maybe("region").unwrap_or(&estate.primary.region);
        lines.extend(super::database::points(estate, region));
    }
    lines
}

/// Returns the commands that keep a whole server as it is: its files, or on RDS a snapshot.
pub(super) fn evidence(estate: &Estate, with: With<'_>) -> Vec<String> {
    if estate.database.as_ref().is_some_and(Database::on_rds) {
        let (region, instance) = (with.text("region"), with.text("instance"));
        return super::rds::evidence(&region, &instance, with.maybe("name").unwrap_or("NAME"));
    }
    let root = estate.database.as_ref().and_then(|known| known.evidence.as_deref());
    let name = with.maybe("name").unwrap_or("NAME");
    let folder = shell::word(&format!("{}/{name}.evidence", root.unwrap_or("EVIDENCE")));
    vec![format!(
        "pg_basebackup {} --format=tar --wal-method=stream --checkpoint=fast --no-verify-checksums --pgdata={folder}",
        server(estate, with)
    )]
}

/// Returns the commands that restore some tables of a dump into a new database, by the step's arguments.
pub(crate) fn tables(estate: &Estate, arguments: &Map<String, Value>) -> Vec<String> {
    restore(estate, With(arguments))
}

/// Returns the commands that restore a dump into a new database.
pub(super) fn restore(estate: &Estate, with: With<'_>) -> Vec<String> {
    let (server, into) = (server(estate, with), shell::word(&with.text("into")));
    let name = with.maybe("dump").unwrap_or("NAME");
    let file = folder(estate, name);
    let mut lines: Vec<String> =
        brought(estate, name, Path::new(&root_and(estate, name))).into_iter().collect();
    lines.push(format!("createdb {server} --template=template0 {into}"));
    let restored =
        format!("pg_restore {server} -d {into} --exit-on-error --no-owner --jobs={}", jobs(with));
    let tables = with.0.get("tables").map(Tables::of).unwrap_or_default();
    if tables.is_all() {
        lines.push(format!("{restored} {file}"));
    } else {
        lines.push(format!("{restored} --section=pre-data {file}"));
        lines.extend(tables.names().iter().map(|name| {
            // The program compares names to the letter.
            let (schema, table) = Tables::parts(name);
            let [schema, table] = [schema, table].map(|part| shell::word(&part));
            format!(
                "{restored} --data-only --strict-names --schema={schema} --table={table} {file}"
            )
        }));
        // So that it is taken neither for a proof of the dump nor for the whole.
        let part = tables.names().into_iter().map(str::to_owned).collect();
        let note = noted("", &Note { part, ..Note::default() });
        let sql =
            format!("comment on database {} is {}", identifier(&with.text("into")), literal(&note));
        let psql = psql_to(estate, &with.text("instance"), &with.text("into"));
        lines.push(statements(&psql, &[sql]));
    }
    if with.0.get("analyze") != Some(&Value::Bool(false)) {
        lines.push(analyze(estate, with, "into"));
    }
    lines
}

/// Returns the command that gathers the statistics of a database, which an argument names.
pub(super) fn analyze(estate: &Estate, with: With<'_>, argument: &str) -> String {
    // `vacuumdb` leaves partitioned tables out.
    statements(
        &psql_to(estate, &with.text("instance"), &with.text(argument)),
        &["analyze".to_owned()],
    )
}

/// Returns the commands that bring rows from one database of an instance to another: each statement of the first list in
/// the first, then all of the second in one transaction in the second, closed by a fence or not.
pub(crate) fn rows(
    estate: &Estate,
    instance: &str,
    (from, to): (&str, &str),
    (written, sql): (&[String], &[String]),
) -> String {
    let read = statements(&psql_to(estate, instance, from), written);
    let write = statements(&psql_to(estate, instance, to), sql);
    // A database's own limit on statements must not cut a large table short; and what was cut short is not put in its place.
    let limit = "-c statement_timeout=0";
    format!(
        "$ PGOPTIONS='{limit}' {read} && PGOPTIONS='{limit} -c default_transaction_read_only=off' {write}"
    )
}

/// Returns the commands that keep what can still be read of tables of a database, a line each.
pub(crate) fn keep_rows(estate: &Estate, instance: &str, name: &str, copies: &[String]) -> String {
    let psql = psql_to(estate, instance, name);
    let each =
        copies.iter().map(|copy| format!("$ {}", statements(&psql, std::slice::from_ref(copy))));
    each.collect::<Vec<_>>().join("\n")
}

/// Returns where a server is restored, and who runs it.
fn own_server(estate: &Estate) -> (&str, &str, &str) {
    let server = estate.database.as_ref().and_then(|known| known.recovered.server.as_ref());
    server.map_or(("DATA", "5433", "postgres"), |server| {
        let port = server.listen.rsplit_once(':').map_or("5433", |(_, port)| port);
        (&server.data, port, &server.user)
    })
}

/// The folders of every data directory: `subdirs` in PostgreSQL's `initdb.c`. A bucket has none that is empty, and without them a
/// server does not start.
pub(crate) const FOLDERS: [&str; 19] = [
    "global",
    "pg_wal/archive_status",
    "pg_commit_ts",
    "pg_dynshmem",
    "pg_notify",
    "pg_serial",
    "pg_snapshots",
    "pg_subtrans",
    "pg_twophase",
    "pg_multixact/members",
    "pg_multixact/offsets",
    "base/1",
    "pg_replslot",
    "pg_tblspc",
    "pg_stat",
    "pg_stat_tmp",
    "pg_xact",
    "pg_logical/snapshots",
    "pg_logical/mappings",
];

/// Returns the commands that restore a base backup, by its name and the archives it is packed in, and archived WAL into a new
/// server.
pub(crate) fn point_in_time(
    estate: &Estate,
    (name, packed): (&str, &[String]),
    target: &str,
) -> Vec<String> {
    let (data, port, user) = own_server(estate);
    let bases = estate.database.as_ref().and_then(|known| known.base_backups.as_ref());
    let wal = bases.map_or("WAL", |bases| &bases.wal);
    let backup = format!("{}/{name}", bases.map_or("BASE_BACKUPS", |bases| &bases.directory));
    let (word, backup) = (shell::word, backup.as_str());
    let from = bases.and_then(|bases| bases.from.as_ref());
    let mut lines: Vec<String> = from
        .into_iter()
        .flat_map(|at| {
            let below = format!("base/{name}");
            [(below.as_str(), backup), ("wal", wal)]
                .map(|(below, to)| copied(&at.region, &at.place(below), to))
        })
        .collect();
    if packed.is_empty() {
        lines.push(format!("cp -a {} {}", word(backup), word(data)));
    } else {
        // Fails where there is one already.
        lines.push(format!("mkdir {} {}", word(data), word(&format!("{data}/pg_wal"))));
    }
    lines.extend(packed.iter().map(|file| {
        let into =
            if file.starts_with("pg_wal.") { format!("{data}/pg_wal") } else { data.to_owned() };
        format!("tar -xf {} -C {}", word(&format!("{backup}/{file}")), word(&into))
    }));
    if from.is_some() && packed.is_empty() {
        lines.push(format!("(cd {} && mkdir -p {})", word(data), FOLDERS.join(" ")));
    }
    let mut settings = vec![
        format!("restore_command = 'cp {}/%f %p'", word(wal)),
        "recovery_target_action = promote".to_owned(),
        "archive_mode = off".to_owned(),
        "synchronous_standby_names = ''".to_owned(),
        "max_logical_replication_workers = 0".to_owned(),
        "cron.launch_active_jobs = off".to_owned(),
        format!("port = {port}"),
    ];
    if let Some((kind, value)) = target.split_once(' ') {
        settings.push(format!("recovery_target_{kind} = '{value}'"));
    }
    let settings = settings.iter().map(|line| format!(" {}", word(line))).collect::<String>();
    let (file, signal) =
        (format!("{data}/postgresql.auto.conf"), format!("{data}/recovery.signal"));
    let manifest = word(&format!("{backup}/backup_manifest"));
    // Its own WAL mostly comes with it.
    let bare = !packed.is_empty() && packed.iter().all(|file| !file.starts_with("pg_wal."));
    let own = if bare { format!(" -w {}", word(wal)) } else { String::new() };
    lines.extend([
        format!("pg_verifybackup -m {manifest}{own} {}", word(data)),
        format!("printf '%s\\n'{settings} >> {}", word(&file)),
        format!("touch {}", word(&signal)),
        format!("chmod 700 {}", word(data)),
        format!("chown -R {user}: {}", word(data)),
        format!("runuser -u {user} -- pg_ctl start -D {}", word(data)),
        format!("psql -h 127.0.0.1 -p {port} -c 'select pg_is_in_recovery()'"),
    ]);
    lines
}

/// Returns the commands that take a restored server away.
pub(super) fn remove_server(estate: &Estate) -> Vec<String> {
    let (data, _, user) = own_server(estate);
    let data = shell::word(data);
    vec![format!("runuser -u {user} -- pg_ctl stop -D {data}"), format!("rm -r {data}")]
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
