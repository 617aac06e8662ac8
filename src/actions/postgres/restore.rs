//! `postgres.restore`: a dump into a new database beside the damaged one, never over it.
//!
//! Every file is read against the manifest before anything is made. The new database is made under a name of the attempt's
//! own, filled, and gets the wanted name last: so each state a process can be killed in is recognised, and what is begun
//! anew begins with an empty database.

mod target;

use std::path::Path;

use serde_json::{Map, Value, json};

use super::drafts::bytes;
use super::dump::{LIMIT, class, said};
use super::manifest::Manifest;
use super::origin::{Origin, Sorted};
use super::properties::{Given, give};
use super::server::{About, about};
use super::store::{Dump, Dumps};
use crate::by_hand;
use crate::clients::Clients;
use crate::clients::postgres::tools::{Found, Tool, find, restores_on};
use crate::clients::postgres::{connect_to, database, identifier, login, watched_to};
use crate::clients::process::{self, Ended, Program, ProgramEnd, Scrub};
use crate::engine::ports::{Armed, Call, Observation, Performed};
use crate::outcome::{ActionError, Difference, FailureClass, Obligation, WARNS};
use crate::runbook::catalogue::actions::PostgresRestore;
use crate::sandbox::programs::Purpose;
use crate::shell::line;
use crate::span::Span;
use target::{State, Target, begun};

/// The database every server has, to make and drop others from.
pub(super) const MAINTENANCE: &str = "postgres";

/// Looks at the database that is to be, and where it is not there yet, at the dump and the server.
///
/// What this step made can be taken back, or taken over, without the dump, the program and the rights it needed.
pub(crate) async fn observe(
    clients: &Clients,
    call: &Call,
    with: &PostgresRestore,
) -> Result<Observation, ActionError> {
    let target = Target::of(call, with);
    let live = target.state(clients).await?;
    match &live {
        State::None | State::Part(None) => fresh(clients, with, &live).await,
        State::Part(Some(of)) => {
            let mut seen = Observation::new(live.seen(), State::whole(&of.dump));
            seen.evidence = vec![format!("an attempt to restore {} came to no end", of.dump)];
            seen.context = json!({ "dump": of.dump });
            Ok(seen)
        }
        State::Whole(of) => {
            let mut seen = Observation::new(live.seen(), live.seen());
            seen.outputs = outputs(with, &of.dump, &of.taken);
            Ok(seen)
        }
        State::Foreign { said } => {
            let message = format!("a database {} is on {} already{said}", with.into, with.instance);
            Err(ActionError::unchanged(FailureClass::Conflict, message)
                .hint("nothing is restored over a database: give `into` another name"))
        }
    }
}

/// Looks at the dump and the server.
async fn fresh(
    clients: &Clients,
    with: &PostgresRestore,
    live: &State,
) -> Result<Observation, ActionError> {
    let server = about(clients, &with.instance, MAINTENANCE).await?;
    let (dumps, dump, others) = chosen(clients, with, server.system.as_deref()).await?;
    dump.whole()?;
    let manifest = &dump.manifest;
    let tool = find(clients, Tool::Restore, manifest.tool).await?;
    fits(clients, with, manifest, &server, &tool)?;
    let mut seen = Observation::new(live.seen(), State::whole(&manifest.name));
    seen.evidence = vec![format!(
        "{} of {} on {} in {}: {}, {} rows, server {}, as of {}",
        manifest.name,
        manifest.database,
        manifest.instance,
        manifest.region,
        bytes(manifest.bytes),
        manifest.rows(),
        manifest.server_major(),
        manifest.taken
    )];
    seen.evidence.extend(dumps.stageable(&dump)?);
    seen.evidence.extend(others.iter().map(|other| format!("left out: {other}")));
    seen.differences = vec![Difference {
        what: format!("database {} on {}", with.into, with.instance),
        from: "none".to_owned(),
        to: format!("what {} holds", manifest.name),
    }];
    seen.context = json!({ "dump": manifest.name });
    let folder = dumps.folder(manifest);
    seen.commands =
        by_hand::dumps::brought(&clients.estate, &manifest.name, &folder).into_iter().collect();
    seen.commands.push(line(&argv(&tool, &folder, &with.into, with.jobs)));
    Ok(seen)
}

/// Restores, gives back privileges and settings, and gathers the planner's statistics, which no dump holds.
pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &PostgresRestore,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    let began = clients.clock.now();
    let (dumps, dump) = same(clients, with, seen).await?;
    let manifest = &dump.manifest;
    let server = about(clients, &with.instance, MAINTENANCE).await?;
    let tool = find(clients, Tool::Restore, manifest.tool).await?;
    fits(clients, with, manifest, &server, &tool)?;
    let staged = dumps.stage(clients, call, &dump).await?;
    let target = Target::of(call, with);
    let (draft, mut notes) = target.make(clients, manifest, server.major()).await?;
    let folder = staged.folder();
    call.progress.tell(format!("restoring {} rows", manifest.rows()), None);
    let restored = run(clients, call, with, &argv(&tool, folder, &draft, with.jobs)).await;
    let ended = restored.map_err(begun)?;
    if ended.end != ProgramEnd::Exit(0) {
        let message = format!("pg_restore of {}: {}", manifest.name, said(&ended));
        return Err(begun(
            ActionError::unchanged(class(&ended), message)
                .hint("see its whole output in the run's artifacts"),
        ));
    }
    let granting = Granting { tool: &tool, folder, draft: &draft };
    notes.extend(granting.give(clients, call, with).await.map_err(begun)?);
    call.progress.tell("gathering statistics", None);
    notes.extend(target.analyze(clients, &draft).await.map_err(begun)?);
    notes.extend(target.finish(clients, &draft, manifest, began).await.map_err(begun)?);
    staged.done().await;
    let head = format!("restored {} into {}: {} rows", manifest.name, with.into, manifest.rows());
    Ok(Performed {
        after: State::whole(&manifest.name),
        outputs: outputs(with, &manifest.name, &manifest.taken.to_string()),
        obligations: not_given(&with.into, &notes).into_iter().collect(),
        notes: std::iter::once(head).chain(notes).collect(),
    })
}

/// Returns what stays open where the restored database lacks something the dumped one had.
fn not_given(database: &str, notes: &[String]) -> Option<Obligation> {
    let mut lacks = notes.iter().filter_map(|note| note.strip_prefix(WARNS));
    let (first, more) = (lacks.next()?, lacks.count());
    let others = if more > 0 {
        format!("; and {more} more, see its notes in the audit")
    } else {
        String::new()
    };
    Some(Obligation {
        id: format!("lacks-{database}"),
        say: format!("{database} lacks what the dumped database had: {first}{others}"),
        how: "do it by hand as the server's administrator before the application is let in"
            .to_owned(),
        closed_by: None,
    })
}

/// Returns how long the restore of a dump into a database took, as that database itself says; `None` where it is of another
/// dump, or nobody noted it.
pub(super) async fn took(
    clients: &Clients,
    instance: &str,
    (database, dump): (&str, &str),
) -> Result<Option<Span>, ActionError> {
    let mut session = connect_to(clients, instance, MAINTENANCE).await?;
    let what = format!("read of which dump {database} on {instance} is");
    let sql = "select coalesce(shobj_description(oid, 'pg_database'), '') from pg_database where datname = $1";
    let row = session.read_one(clients, &what, sql, &[&database]).await?;
    let comment: String = row.try_get(0).map_err(|error| {
        ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
    })?;
    Ok(target::took(&comment, dump))
}

/// Drops the new database, and only one that this very step made.
pub(crate) async fn revert(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &PostgresRestore,
) -> Result<(), ActionError> {
    Target::of(call, with).remove(clients).await
}

/// Returns the dump that is to be restored, and what was left out of the choice; `system` is that of the server it is to
/// be restored on.
async fn chosen(
    clients: &Clients,
    with: &PostgresRestore,
    system: Option<&str>,
) -> Result<(Dumps, Dump, Vec<String>), ActionError> {
    let dumps = Dumps::of(clients)?;
    if let Some(name) = &with.dump {
        let found = dumps.find(clients, name).await?;
        let dump = found.ok_or_else(|| dumps.missing(&format!("the dump {name}")))?;
        return Ok((dumps, dump, Vec::new()));
    }
    let database = database(clients)?;
    let mut listing = dumps.list(clients, &database.name).await?;
    let Sorted { own, foreign } = Origin { database, system }.sort(listing.dumps)?;
    listing.others.extend(foreign);
    let others = listing.others;
    let Some(newest) = own.into_iter().next() else {
        let error = dumps.missing(&format!("a dump of {} with a manifest", database.name));
        return Err(match others.as_slice() {
            [] => error,
            others => error.hint(format!("left out: {}", others.join("; "))),
        });
    };
    Ok((dumps, newest, others))
}

/// Returns the dump that was looked at: a newer one that came meanwhile is not the one that was approved.
async fn same(
    clients: &Clients,
    with: &PostgresRestore,
    seen: &Observation,
) -> Result<(Dumps, Dump), ActionError> {
    let name = seen.context["dump"].as_str().map(str::to_owned).or_else(|| with.dump.clone());
    let with = PostgresRestore { dump: name, ..with.clone() };
    let (dumps, dump, _) = chosen(clients, &with, None).await?;
    Ok((dumps, dump))
}

/// Says what about the server is in the way.
fn fits(
    clients: &Clients,
    with: &PostgresRestore,
    manifest: &Manifest,
    server: &About,
    tool: &Found,
) -> Result<(), ActionError> {
    let instance = &with.instance;
    let no = |class, message: String| Err(ActionError::unchanged(class, message));
    if server.in_recovery {
        let message = format!("{instance} is a replica and takes no database of its own");
        return no(FailureClass::Invalid, message);
    }
    if server.major() < manifest.server_major() {
        let (theirs, ours) = (manifest.server_major(), server.major());
        let message =
            format!("the dump is of PostgreSQL {theirs}, and {instance} is older: {ours}");
        return no(FailureClass::Invalid, message);
    }
    if !restores_on(tool.major, server.major()) {
        let message = format!(
            "pg_restore {} cannot restore on {instance}, PostgreSQL {}",
            tool.major,
            server.major()
        );
        return Err(ActionError::unchanged(FailureClass::Invalid, message)
            .hint("take dumps with pg_dump 16 or older, or restore on a newer server"));
    }
    manifest.locale.clause(server.major())?;
    if !server.creates {
        let user = &database(clients)?.connection.user;
        let message = format!("{user} may not create databases on {instance}");
        return Err(ActionError::unchanged(FailureClass::Denied, message)
            .hint(format!("as its administrator: alter role {} createdb", identifier(user))));
    }
    Ok(())
}

fn argv(tool: &Found, folder: &Path, into: &str, jobs: u8) -> Vec<String> {
    vec![
        tool.program.clone(),
        "--exit-on-error".to_owned(),
        "--no-owner".to_owned(),
        "--no-privileges".to_owned(),
        "--no-tablespaces".to_owned(),
        "--no-subscriptions".to_owned(),
        // A copy beside the original sends nothing to its subscribers; and only a superuser may publish all tables.
        "--no-publications".to_owned(),
        "--no-password".to_owned(),
        format!("--jobs={jobs}"),
        format!("--dbname={}", watched_to(into)),
        folder.display().to_string(),
    ]
}

async fn run(
    clients: &Clients,
    call: &Call,
    with: &PostgresRestore,
    argv: &[String],
) -> Result<Ended, ActionError> {
    clients.guard.pass(line(argv))?;
    let login = login(clients, &with.instance).await?;
    let program = Program {
        argv,
        env: &login.env,
        scrub: Scrub::Connection,
        cwd: None,
        limit: LIMIT,
        artifact: clients.artifacts.as_ref().map(|dir| dir.join(format!("{}.log", call.step))),
        purpose: Purpose::Perform(call.step.clone()),
    };
    process::run(clients, &program)
        .await
        .map_err(|error| ActionError::unchanged(FailureClass::Invalid, error.to_string()))
}

/// Gives privileges back in a database that was restored without.
struct Granting<'a> {
    tool: &'a Found,
    folder: &'a Path,
    draft: &'a str,
}

impl Granting<'_> {
    /// Gives the roles that are there their privileges, one by one; returns what could not be given, a line each.
    ///
    /// A role that is not on this server must not stop a restore, nor take from others what they had.
    async fn give(
        &self,
        clients: &Clients,
        call: &Call,
        with: &PostgresRestore,
    ) -> Result<Vec<String>, ActionError> {
        let kept = clients.artifacts.as_ref().ok_or_else(|| {
            let message = "there is no directory of the run's artifacts";
            ActionError::unchanged(FailureClass::Internal, message)
        })?;
        let [list, script] = ["list", "sql"].map(|kind| kept.join(format!("{}.{kind}", call.step)));
        let (folder, list_file) = (self.folder.display().to_string(), list.display().to_string());
        let told = ["--list", &format!("--file={list_file}"), &folder];
        self.run(clients, call, with, &told).await?;
        let failed = |error: std::io::Error| {
            ActionError::unchanged(FailureClass::Invalid, format!("{list_file}: {error}"))
        };
        let listed = std::fs::read_to_string(&list).map_err(failed)?;
        let grants: Vec<&str> = listed.lines().filter(|line| is_grant(line)).collect();
        if grants.is_empty() {
            return Ok(Vec::new());
        }
        std::fs::write(&list, grants.join("\n")).map_err(failed)?;
        let (using, into) =
            (format!("--use-list={list_file}"), format!("--file={}", script.display()));
        self.run(clients, call, with, &["--no-owner", &using, &into, &folder]).await?;
        let session = connect_to(clients, &with.instance, self.draft).await?;
        let script = std::fs::read_to_string(&script).map_err(failed)?;
        let given: Vec<Given> = statements(&script)
            .filter(|sql| is_privilege(sql))
            .map(|sql| Given { said: sql.to_owned(), sql: sql.to_owned() })
            .collect();
        give(clients, &session, "give privileges", &given).await
    }

    async fn run(
        &self,
        clients: &Clients,
        call: &Call,
        with: &PostgresRestore,
        arguments: &[&str],
    ) -> Result<(), ActionError> {
        let words = std::iter::once(self.tool.program.as_str()).chain(arguments.iter().copied());
        let argv: Vec<String> = words.map(str::to_owned).collect();
        let ended = run(clients, call, with, &argv).await?;
        if ended.end == ProgramEnd::Exit(0) {
            return Ok(());
        }
        let message = format!("{}: {}", line(&argv), said(&ended));
        Err(ActionError::unchanged(class(&ended), message))
    }
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

/// Says whether a line of an archive's list is about privileges, e.g. `3340; 0 0 ACL app TABLE orders dr`.
fn is_grant(line: &str) -> bool {
    !line.starts_with(';')
        && matches!(
            line.split_whitespace().skip(3).collect::<Vec<_>>().as_slice(),
            ["ACL", ..] | ["DEFAULT", "ACL", ..]
        )
}

fn outputs(with: &PostgresRestore, dump: &str, taken: &str) -> Map<String, Value> {
    Map::from_iter([
        ("database".to_owned(), json!(with.into)),
        ("dump".to_owned(), json!(dump)),
        ("taken".to_owned(), json!(taken)),
    ])
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
