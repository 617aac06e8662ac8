//! The database: SQL by `psql`, instances by `aws rds`.

use super::kubernetes::{self, capitals};
use super::rds::{Origin, restore_to};
use crate::clients::postgres::{identifier, literal};
use crate::estate::types::{Database, Estate, RecoveredInstance, Region};
use crate::runbook::catalogue::actions::FenceScope;
use crate::shell;

const PORT: &str = "5432";
const SETTING: &str = "default_transaction_read_only";

/// Returns host and port of an address; words in capitals where it is one itself.
pub(super) fn parts(address: &str) -> (String, String) {
    match address.rsplit_once(':') {
        Some((host, port)) => (host.to_owned(), port.to_owned()),
        None => (format!("{address}_HOST"), format!("{address}_PORT")),
    }
}

/// Returns how an instance is reached, as far as the estate knows it.
pub(super) fn address(estate: &Estate, instance: &str) -> (String, String) {
    let unknown = || (format!("{}_HOST", capitals(instance)), PORT.to_owned());
    let Some(database) = &estate.database else { return unknown() };
    let own = std::iter::once(&database.primary)
        .chain(&database.replica)
        .find(|known| known.id == instance)
        .and_then(|known| known.address.as_ref());
    match database.addresses.get(instance).or(own) {
        Some(address) => parts(address),
        None => unknown(),
    }
}

/// Returns `psql` to an instance, host, user and database named.
pub(crate) fn psql(estate: &Estate, instance: &str) -> String {
    let (host, port) = address(estate, instance);
    psql_at(estate, &host, &port)
}

/// Returns `psql` to another database of an instance.
pub(crate) fn psql_to(estate: &Estate, instance: &str, name: &str) -> String {
    let (host, port) = address(estate, instance);
    psql_of(estate, &host, &port, name)
}

/// Returns `psql` to an address.
pub(crate) fn psql_at(estate: &Estate, host: &str, port: &str) -> String {
    let name = estate.database.as_ref().map_or("DATABASE", |known| known.name.as_str());
    psql_of(estate, host, port, name)
}

fn psql_of(estate: &Estate, host: &str, port: &str, name: &str) -> String {
    let user = estate.database.as_ref().map_or("USER", |known| known.connection.user.as_str());
    let [host, user, name] = [host, user, name].map(shell::word);
    format!("psql -h {host} -p {port} -U {user} -d {name}")
}

/// Returns the commands that find out what of a database is damaged; none of them changes it.
pub(crate) fn assess(
    estate: &Estate,
    instance: &str,
    name: &str,
    schemas: &[String],
    jobs: usize,
) -> Vec<String> {
    let (host, port) = address(estate, instance);
    let user = estate.database.as_ref().map_or("USER", |found| found.connection.user.as_str());
    let [host, user, name] = [host.as_str(), user, name].map(shell::word);
    let at = format!("-h {host} -p {port} -U {user}");
    let limit: String =
        schemas.iter().map(|schema| format!(" --schema={}", shell::word(schema))).collect();
    let failures =
        "select datname, checksum_failures, checksum_last_failure from pg_stat_database".to_owned();
    vec![
        "# pages whose checksum was wrong; nothing is counted where data_checksums is off"
            .to_owned(),
        statements(&format!("psql {at} -d {name}"), &["show data_checksums".to_owned(), failures]),
        "# tables and B-tree indexes; where amcheck is not installed: create extension amcheck"
            .to_owned(),
        format!("pg_amcheck {at} -d {name} -j {jobs} --heapallindexed{limit}"),
        "# every row, large values too; it ends at the first that cannot be read".to_owned(),
        format!("pg_dump {at} -d {name} -f /dev/null{limit}"),
    ]
}

/// Returns the command that says where an instance is reached, where the estate does not.
pub(super) fn find(estate: &Estate, region: &str, instance: &str) -> Option<String> {
    let (host, _) = address(estate, instance);
    (host == format!("{}_HOST", capitals(instance))).then(|| {
        format!(
            "{} --query 'DBInstances[0].Endpoint.Address' --output text # {host}",
            rds("describe-db-instances", region, instance)
        )
    })
}

/// Returns one call of `psql` that carries out statements in one session, and ends at the first that fails.
pub(crate) fn statements(psql: &str, sql: &[String]) -> String {
    let each: Vec<String> = sql.iter().map(|sql| format!(" -c {}", shell::word(sql))).collect();
    format!("{psql} -v ON_ERROR_STOP=1{}", each.concat())
}

fn rds(verb: &str, region: &str, instance: &str) -> String {
    format!("aws rds {verb} --region {region} --db-instance-identifier {}", shell::word(instance))
}

fn wait(region: &str, instance: &str) -> String {
    rds("wait db-instance-available", region, instance)
}

fn roles(database: &Database) -> Vec<String> {
    database.connection.application_roles.clone()
}

/// Returns the statements that fence an instance: a database of it, or the application's roles.
fn fenced(database: &Database, scope: FenceScope) -> Vec<String> {
    let name = identifier(&database.name);
    let mut sql =
        vec!["begin read write".to_owned(), format!("alter database {name} set {SETTING} = on")];
    let theirs: Vec<String> = roles(database).iter().map(|role| identifier(role)).collect();
    let whose = match scope {
        FenceScope::Roles => {
            sql.extend(theirs.iter().map(|role| format!("alter role {role} nologin")));
            let listed: Vec<String> = roles(database).iter().map(|role| literal(role)).collect();
            (!listed.is_empty()).then(|| format!("usename in ({})", listed.join(", ")))
        }
        FenceScope::Database => {
            let from = std::iter::once("public").chain(theirs.iter().map(String::as_str));
            let from = from.collect::<Vec<_>>().join(", ");
            let user = identifier(&database.connection.user);
            sql.push(format!("revoke connect on database {name} from {from} cascade"));
            sql.push(format!("grant connect on database {name} to {user}"));
            let of = literal(&database.name);
            Some(format!("datname = {of} and pid <> pg_backend_pid()"))
        }
    };
    sql.push("commit".to_owned());
    sql.extend(whose.map(|whose| {
        format!("select pg_terminate_backend(pid) from pg_stat_activity where {whose}")
    }));
    sql
}

/// Returns the ways to fence an instance, the strongest first; the last word is a person's.
pub(crate) fn fence(
    estate: &Estate,
    instance: &str,
    region: &str,
    scope: FenceScope,
) -> Vec<String> {
    let Some(database) = &estate.database else {
        return vec!["# the estate names no database".to_owned()];
    };
    let sql = fenced(database, scope);
    let mut lines = vec!["# where it answers: no writes, no logins, no sessions".to_owned()];
    lines.extend(find(estate, region, instance));
    if scope == FenceScope::Database {
        lines.push(format!(
            "# keep what was: select datacl from pg_database where datname = {}; as a superuser `connection limit 0` does",
            literal(&database.name)
        ));
    }
    lines.push(statements(&psql(estate, instance), &sql));
    let group = &database.primary.fence_security_group;
    if let Some(group) = group.as_deref().filter(|_| database.primary.id == instance) {
        lines.push(
            "# where it does not, and RDS does: cut it off, then end its sessions".to_owned(),
        );
        lines.extend(cut_off(instance, region, group));
    }
    lines.push("# or stop it:".to_owned());
    lines.push(stop(instance, region));
    let writers = database.application.iter().flat_map(|application| &application.restart);
    let writers: Vec<&String> = writers.collect();
    if !writers.is_empty() && estate.clusters.contains_key(region) {
        lines.push("# or end what writes to it:".to_owned());
        let kubectl = kubernetes::kubectl(estate, region);
        lines.extend(writers.iter().map(|workload| {
            let (namespace, name) = workload.split_once('/').unwrap_or(("NAMESPACE", workload));
            kubernetes::scale(&kubectl, namespace, name, "0")
        }));
    }
    lines.push(
        "# if none can be done: go on only knowing that it may still take writes, and fence it once it answers"
            .to_owned(),
    );
    lines
}

/// Returns the commands that cut an instance off from everything.
pub(crate) fn cut_off(instance: &str, region: &str, group: &str) -> Vec<String> {
    vec![
        format!(
            "{} --vpc-security-group-ids {group} --apply-immediately",
            rds("modify-db-instance", region, instance)
        ),
        rds("reboot-db-instance", region, instance),
    ]
}

/// Returns the command that stops an instance.
pub(crate) fn stop(instance: &str, region: &str) -> String {
    rds("stop-db-instance", region, instance)
}

pub(super) fn unfence(estate: &Estate, instance: &str, scope: FenceScope) -> Vec<String> {
    let Some(database) = &estate.database else { return Vec::new() };
    let name = identifier(&database.name);
    let mut sql =
        vec!["begin read write".to_owned(), format!("alter database {name} reset {SETTING}")];
    match scope {
        FenceScope::Roles => sql.extend(
            roles(database).iter().map(|role| format!("alter role {} login", identifier(role))),
        ),
        FenceScope::Database => sql.push(format!("grant connect on database {name} to public")),
    }
    sql.push("commit".to_owned());
    vec![statements(&psql(estate, instance), &sql)]
}

/// Returns the commands by which a restored database takes the name of the estate's, and that is kept under another.
pub(crate) fn cut_over(
    estate: &Estate,
    instance: &str,
    restored: &str,
    kept: Option<&str>,
) -> Vec<String> {
    let Some(name) = estate.database.as_ref().map(|known| known.name.as_str()) else {
        return vec!["# the estate names no database".to_owned()];
    };
    let kept = kept.map_or_else(|| format!("{name}_damaged_DATE"), str::to_owned);
    vec![renamed(estate, instance, &[(name, &kept), (restored, name)])]
}

/// Returns the commands that take a cut over back, while nothing was written since.
pub(super) fn cut_back(estate: &Estate, instance: &str, restored: &str) -> Vec<String> {
    let Some(name) = estate.database.as_ref().map(|known| known.name.as_str()) else {
        return Vec::new();
    };
    let kept = format!("{name}_damaged_DATE");
    vec![
        "# only while nothing was written to the restored database under its new name:".to_owned(),
        renamed(estate, instance, &[(name, restored), (&kept, name)]),
    ]
}

/// Returns the command that gives databases other names, all of them or none, once their sessions are ended.
fn renamed(estate: &Estate, instance: &str, names: &[(&str, &str)]) -> String {
    let present: Vec<String> = names.iter().map(|(from, _)| literal(from)).collect();
    let mut sql = vec![
        format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname in ({})",
            present.join(", ")
        ),
        "begin".to_owned(),
    ];
    sql.extend(names.iter().map(|(from, to)| {
        format!("alter database {} rename to {}", identifier(from), identifier(to))
    }));
    sql.push("commit".to_owned());
    statements(&psql_to(estate, instance, "postgres"), &sql)
}

/// Returns the looks that tell what each recovery point loses.
pub(super) fn points(estate: &Estate, region: &str) -> Vec<String> {
    let database = estate.database.as_ref();
    let primary = database.map_or("PRIMARY", |found| found.primary.id.as_str());
    let word = shell::word(primary);
    let mut lines = Vec::new();
    if let Some(replica) = database.and_then(|found| found.replica.as_ref()) {
        lines.push("# the replica loses what it has not replayed:".to_owned());
        lines.push(rds("describe-db-instances", region, &replica.id));
        lines.extend(find(estate, region, &replica.id));
        lines.push(format!(
            "{} -Atc 'select now() - pg_last_xact_replay_timestamp()'",
            psql(estate, &replica.id)
        ));
    }
    lines.push("# the automated backup loses what came after RestoreWindow.LatestTime:".to_owned());
    lines.push(format!(
        "aws rds describe-db-instance-automated-backups --region {region} --db-instance-identifier {word}"
    ));
    lines.push("# a snapshot loses what came after it was taken:".to_owned());
    lines.push(snapshots(region, primary));
    lines
}

/// A copy's `SnapshotCreateTime` is that of the copying; what it loses counts from the original's.
fn snapshots(region: &str, primary: &str) -> String {
    format!(
        "aws rds describe-db-snapshots --region {region} --query \
         \"reverse(sort_by(DBSnapshots[?DBInstanceIdentifier=='{primary}'],&OriginalSnapshotCreateTime))[].[DBSnapshotIdentifier,OriginalSnapshotCreateTime,Status]\" \
         --output text"
    )
}

pub(crate) fn promote(estate: &Estate, region: &str, replica: &str) -> Vec<String> {
    let days = estate.database.as_ref().map(|found| found.recovered.backup_retention_days);
    let days = days.map(|days| format!(" --backup-retention-period {days}")).unwrap_or_default();
    let mut lines = vec![
        format!("{}{days}", rds("promote-read-replica", region, replica)),
        wait(region, replica),
    ];
    lines.extend(lift(estate, region, replica));
    lines
}

/// Returns what lifts a fence that came over, by replication or in a backup: until then nobody writes to what was
/// recovered, and the application cannot log in to it.
pub(crate) fn lift(estate: &Estate, region: &str, recovered: &str) -> Vec<String> {
    let lifts = unfence(estate, recovered, FenceScope::Roles);
    if lifts.is_empty() {
        return lifts;
    }
    let why = "# a fence of the old primary by SQL came over; lift it here:";
    let mut lines = vec![why.to_owned()];
    lines.extend(find(estate, region, recovered));
    lines.extend(lifts);
    lines
}

/// Where a restore puts its instance; what is left out RDS fills with its defaults.
pub(crate) fn place(region: Option<&Region>, recovered: Option<&RecoveredInstance>) -> String {
    let groups = region.map(|found| found.security_groups.join(" ")).unwrap_or_default();
    let groups = if groups.is_empty() { "SECURITY_GROUPS".to_owned() } else { groups };
    let or = |given: Option<&String>, word: &str| {
        given.map_or(word.to_owned(), |name| shell::word(name))
    };
    let mut line = format!(
        "--db-subnet-group-name {} --vpc-security-group-ids {groups} --db-parameter-group-name {}",
        or(region.and_then(|found| found.subnet_group.as_ref()), "SUBNET_GROUP"),
        or(region.and_then(|found| found.parameter_group.as_ref()), "PARAMETER_GROUP"),
    );
    if let Some(recovered) = recovered {
        if let Some(class) = &recovered.class {
            line += &format!(" --db-instance-class {class}");
        }
        line += if recovered.multi_az { " --multi-az" } else { " --no-multi-az" };
        line += deletion(recovered.deletion_protection);
    }
    line + " --copy-tags-to-snapshot"
}

const fn deletion(protected: bool) -> &'static str {
    if protected { " --deletion-protection" } else { " --no-deletion-protection" }
}

fn target(estate: &Estate, given: Option<String>) -> String {
    let own = || estate.database.as_ref().map(|found| found.recovered.id.clone());
    given.or_else(own).unwrap_or("TARGET".to_owned())
}

fn placed(estate: &Estate, region: &str) -> String {
    place(estate.regions.get(region), estate.database.as_ref().map(|found| &found.recovered))
}

pub(super) fn restore_backup(
    estate: &Estate,
    region: &str,
    backup: Option<&str>,
    given: Option<String>,
    time: Option<&str>,
) -> Vec<String> {
    let database = estate.database.as_ref();
    let known = database.and_then(|found| found.automated_backup.as_ref()?.arn.as_deref());
    let mut lines = Vec::new();
    // Replicated backups alone are named by the estate; its own an instance keeps where it is.
    let known = known.filter(|_| region != estate.primary.region);
    let arn = backup.or(known).unwrap_or_else(|| {
        let primary = database.map_or("PRIMARY", |found| found.primary.id.as_str());
        lines.push(format!(
            "aws rds describe-db-instance-automated-backups --region {region} --db-instance-identifier {} --query \
             'DBInstanceAutomatedBackups[].DBInstanceAutomatedBackupsArn' --output text # BACKUP_ARN",
            shell::word(primary)
        ));
        "BACKUP_ARN"
    });
    let target = target(estate, given);
    lines.push(restore_to(region, &Origin::Backup { arn, time }, &target, &placed(estate, region)));
    lines.push(wait(region, &target));
    lines.extend(lift(estate, region, &target));
    lines
}

pub(super) fn restore_snapshot(
    estate: &Estate,
    region: &str,
    snapshot: Option<&str>,
    given: Option<String>,
) -> Vec<String> {
    let mut lines = Vec::new();
    let id = snapshot.unwrap_or_else(|| {
        let primary = estate.database.as_ref().map_or("PRIMARY", |found| found.primary.id.as_str());
        lines.push(format!(
            "{} # SNAPSHOT: the newest that is available",
            snapshots(region, primary)
        ));
        "SNAPSHOT"
    });
    let target = target(estate, given);
    lines.push(restore_to(region, &Origin::Snapshot(id), &target, &placed(estate, region)));
    lines.push(wait(region, &target));
    lines.extend(lift(estate, region, &target));
    lines
}

/// Returns the command that gives an instance its protection.
pub(crate) fn protection(
    region: &str,
    instance: &str,
    retention_days: i32,
    multi_az: bool,
    deletion_protection: bool,
) -> String {
    format!(
        "{} --backup-retention-period {retention_days} {}{} --apply-immediately",
        rds("modify-db-instance", region, instance),
        if multi_az { "--multi-az" } else { "--no-multi-az" },
        deletion(deletion_protection),
    )
}

pub(super) fn protect(estate: &Estate, region: &str, instance: &str) -> Vec<String> {
    let look = format!(
        "{} # write down what is there now",
        rds("describe-db-instances", region, instance)
    );
    let change = match estate.database.as_ref().map(|found| &found.recovered) {
        Some(wanted) => protection(
            region,
            instance,
            wanted.backup_retention_days,
            wanted.multi_az,
            wanted.deletion_protection,
        ),
        None => protection(region, instance, 7, true, true),
    };
    vec![look, change, wait(region, instance)]
}

pub(super) fn unprotect(region: &str, instance: &str) -> Vec<String> {
    vec![format!(
        "{} --backup-retention-period DAYS_BEFORE --no-multi-az --no-deletion-protection --apply-immediately # as it was before",
        rds("modify-db-instance", region, instance)
    )]
}

/// Returns the commands that take a restored instance away, keeping what it holds as a snapshot.
pub(super) fn remove(region: &str, instance: &str) -> Vec<String> {
    vec![
        format!(
            "{} --no-deletion-protection --apply-immediately",
            rds("modify-db-instance", region, instance)
        ),
        format!(
            "{} --no-delete-automated-backups --final-db-snapshot-identifier {}-removed",
            rds("delete-db-instance", region, instance),
            shell::word(instance)
        ),
    ]
}

pub(super) fn remove_recovered(estate: &Estate, region: &str) -> Vec<String> {
    remove(region, &target(estate, None))
}
