//! What is in the way of a cut over: all of it said at once, and before anything is changed.

use super::scene::{Listed, Scene};
use crate::actions::postgres::fence::access::Known;
use crate::actions::postgres::rights::{Lacking, Rights};
use crate::actions::postgres::server::NAME_THE_PRIMARY;
use crate::clients::Clients;
use crate::clients::postgres::{READ_ONLY, Session, connect_to, database, identifier, literal};
use crate::outcome::{ActionError, FailureClass};

/// One thing that is in the way, and what takes it away.
struct Obstacle {
    class: FailureClass,
    said: String,
    way: String,
}

fn invalid(said: String, way: String) -> Obstacle {
    Obstacle { class: FailureClass::Invalid, said, way }
}

fn denied(said: String, way: String) -> Obstacle {
    Obstacle { class: FailureClass::Denied, said, way }
}

/// What whoever asks may do.
const ME: &str = "select rolname::text, rolsuper or rolcreatedb, rolsuper or rolcreaterole, pg_is_in_recovery() \
     from pg_roles where rolname = current_user";
/// What belongs to a database and would be left behind with it, or keeps it from getting another name.
const BOUND: &str = "select 'prepared', gid::text, database::text from pg_prepared_xacts where database::text = any($1::text[]) \
     union all select 'slot', slot_name::text, database::text from pg_replication_slots where database::text = any($1::text[]) \
     union all select 'subscription', s.subname::text, d.datname::text from pg_subscription s \
         join pg_database d on d.oid = s.subdbid where d.datname::text = any($1::text[]) order by 1, 2";
/// Roles of the application that may not connect to a database.
const SHUT_OUT: &str = "select r.rolname::text from pg_roles r, pg_database d where d.datname::text = $1 \
     and r.rolname::text = any($2::text[]) and not has_database_privilege(r.oid, d.oid, 'CONNECT') order by 1";
/// How many roles of the application get into a database.
const ENTER: &str = "select count(*) from pg_roles r, pg_database d where r.rolname::text = any($1::text[]) \
     and d.datname::text = $2 and r.rolcanlogin and d.datallowconn \
     and (r.rolsuper or (d.datconnlimit <> 0 and has_database_privilege(r.oid, d.oid, 'CONNECT')))";
/// Settings that one of two databases has and the other has not, or not so; the fence's own is none of them.
const SETTINGS: &str = "with s as (select d.datname::text as name, coalesce(r.rolname::text, '') as role, \
         split_part(entry, '=', 1) as setting, entry from pg_db_role_setting a join pg_database d on d.oid = a.setdatabase \
         left join pg_roles r on r.oid = a.setrole, unnest(a.setconfig) entry where d.datname::text in ($1, $2)) \
     select case role when '' then setting else setting || ' of ' || role end from s \
     where not (role = '' and setting = $3) group by role, setting having count(*) filter (where name = $1) <> 1 \
     or count(*) filter (where name = $2) <> 1 or count(distinct entry) > 1 order by 1";
/// Who is in databases, whatever they are.
const INSIDE: &str = "select pid, coalesce(usename::text, backend_type, 'a session'), coalesce(application_name, ''), \
     coalesce(backend_type, 'hidden from this user') from pg_stat_activity \
     where datname::text = any($1::text[]) and pid <> pg_backend_pid() order by 1";

/// Returns what is to be known of the two before their names change, a line each; an error where anything is in the way.
pub(super) async fn known(
    clients: &Clients,
    scene: &Scene<'_>,
    session: &mut Session,
) -> Result<Vec<String>, ActionError> {
    none(clients, scene, session).await?;
    let rest = Box::pin(unusable(clients, scene)).await?;
    let mut lines = differing(clients, scene, session).await?;
    lines.extend(rest);
    Ok(lines)
}

/// Holds that nothing is in the way.
pub(super) async fn none(
    clients: &Clients,
    scene: &Scene<'_>,
    session: &mut Session,
) -> Result<(), ActionError> {
    let (name, restored) = (scene.name.as_str(), scene.with.restored.as_str());
    let mut found = Vec::new();
    if name == restored {
        found.push(invalid(
            format!("`restored` is {name} itself"),
            "name the database that was restored beside it".to_owned(),
        ));
    }
    for wanted in [name, restored] {
        if scene.oid(wanted).is_none() {
            found.push(invalid(
                format!("there is no database {wanted}"),
                "compare `database.name` of the estate file and `restored` with the databases of the server"
                    .to_owned(),
            ));
        }
    }
    found.extend(scene.part().map(|tables| {
        invalid(
            format!("{restored} holds the rows of {tables} alone"),
            "restore all of a dump, without `tables`".to_owned(),
        )
    }));
    found.extend(rights(clients, scene, session).await?);
    if found.iter().all(|obstacle| obstacle.class == FailureClass::Denied) {
        found.extend(not_fenced(clients, scene, session).await?);
        found.extend(not_open(clients, scene, session).await?);
        found.extend(bound(clients, scene, session).await?);
    }
    let Some(first) = found.first() else { return Ok(()) };
    Err(refused(scene, first.class, &found))
}

/// Says all that is in the way at once.
fn refused(scene: &Scene<'_>, class: FailureClass, found: &[Obstacle]) -> ActionError {
    let (name, restored) = (scene.name.as_str(), scene.with.restored.as_str());
    let one = found.iter().all(|obstacle| obstacle.class == class);
    let said: Vec<&str> = found.iter().map(|obstacle| obstacle.said.as_str()).collect();
    let mut ways: Vec<&str> = found.iter().map(|obstacle| obstacle.way.as_str()).collect();
    ways.dedup();
    let message = format!(
        "{restored} cannot take the name {name} on {}, and nothing was changed: {}",
        scene.with.instance,
        said.join("; ")
    );
    let class = if one { class } else { FailureClass::Invalid };
    ActionError::unchanged(class, message).hint(ways.join("; "))
}

async fn rights(
    clients: &Clients,
    scene: &Scene<'_>,
    session: &mut Session,
) -> Result<Vec<Obstacle>, ActionError> {
    let what = format!("read the grants on {}", scene.with.instance);
    let row = session.read_one(clients, &what, ME, &[]).await?;
    let flag = |index: usize| row.try_get::<_, bool>(index).unwrap_or(false);
    let me: String = row.try_get(0).unwrap_or_default();
    let user = identifier(&me);
    let mut found = Vec::new();
    if flag(3) {
        found.push(invalid(
            format!("{} is a replica", scene.with.instance),
            NAME_THE_PRIMARY.to_owned(),
        ));
    }
    if !flag(1) {
        found.push(denied(
            format!("{me} may not rename databases without the right to make them"),
            format!("as its administrator: alter role {user} createdb"),
        ));
    }
    let locked = scene.logins.values().any(|login| !login);
    if locked && !flag(2) {
        found.push(denied(
            format!("{me} may not give roles back the login their fence took"),
            format!("as its administrator: alter role {user} createrole"),
        ));
    }
    let both = [scene.name.as_str(), scene.with.restored.as_str()];
    let foreign = |name: &str| scene.databases.get(name).filter(|found: &&Listed| !found.ours);
    for (name, listed) in both.into_iter().filter_map(|name| Some((name, foreign(name)?))) {
        found.push(denied(
            format!("{me} does not own {name}"),
            format!("as its administrator: grant {} to {user}", identifier(&listed.owner)),
        ));
    }
    Ok(found)
}

/// Holds that the damaged database is fenced: what is written to it until then is lost with its name.
async fn not_fenced(
    clients: &Clients,
    scene: &Scene<'_>,
    session: &mut Session,
) -> Result<Option<Obstacle>, ActionError> {
    let open = open_still(clients, &scene.with.instance, session).await?;
    Ok(open.map(|open| {
        invalid(
            format!("{} is not fenced ({open})", scene.name),
            "fence it first: `postgres.fence` with `scope: database`".to_owned(),
        )
    }))
}

/// Reads who gets into the estate's database on an instance.
async fn access(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
) -> Result<Known, ActionError> {
    let estate = database(clients)?;
    let roles = &estate.connection.application_roles;
    Known::read(clients, instance, session, &estate.name, roles).await
}

/// Returns what is open still of the estate's database on an instance, as its fence would close it; `None` where it is fenced.
pub(in crate::actions) async fn open_still(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
) -> Result<Option<String>, ActionError> {
    let known = access(clients, instance, session).await?;
    if known.access == known.fenced() {
        return Ok(None);
    }
    let open = known.differences(instance);
    let open: Vec<String> =
        open.iter().map(|found| format!("{}: {}", found.what, found.from)).collect();
    Ok(Some(open.join(", ")))
}

/// Says whether a fence of this program was put on the estate's database on an instance and never taken off, whatever somebody
/// has opened of it since.
pub(in crate::actions) async fn was_closed(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
) -> Result<bool, ActionError> {
    let known = access(clients, instance, session).await?;
    Ok(known.comment.note.closed.is_some())
}

/// Says whether none of the application's roles gets into the estate's database on an instance, by whatever closes it.
pub(in crate::actions) async fn is_shut(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
) -> Result<bool, ActionError> {
    let estate = database(clients)?;
    let roles = &estate.connection.application_roles;
    let what = format!("ask who of the application gets into {} on {instance}", estate.name);
    let row = session.read_one(clients, &what, ENTER, &[roles, &estate.name]).await?;
    let enter: i64 = row.try_get(0).map_err(|error| {
        ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
    })?;
    Ok(!roles.is_empty() && enter == 0)
}

/// Holds that the application gets into the restored database and may write there.
async fn not_open(
    clients: &Clients,
    scene: &Scene<'_>,
    session: &mut Session,
) -> Result<Vec<Obstacle>, ActionError> {
    let (instance, restored) = (&scene.with.instance, scene.with.restored.as_str());
    let quoted = identifier(restored);
    let roles = &database(clients)?.connection.application_roles;
    let known = Known::read(clients, instance, session, restored, roles).await?;
    let mut found = Vec::new();
    if scene.databases.get(restored).is_some_and(|listed| !listed.open) {
        found.push(invalid(
            format!("{restored} takes no connections"),
            format!("alter database {quoted} allow_connections true"),
        ));
    }
    if scene.databases.get(restored).is_some_and(|listed| listed.limit == 0) {
        found.push(invalid(
            format!("{restored} has the connection limit 0"),
            format!("alter database {quoted} connection limit -1"),
        ));
    }
    // As a dump has it that was taken behind the fence.
    if known
        .access
        .setting
        .as_deref()
        .is_some_and(|value| !["off", "false", "no", "0"].contains(&value))
    {
        found.push(invalid(
            format!("sessions in {restored} begin read-only"),
            format!("alter database {quoted} reset {READ_ONLY}"),
        ));
    }
    let what = format!("read who may connect to {restored} on {instance}");
    for row in session.read(clients, &what, SHUT_OUT, &[&restored, roles]).await? {
        let role: String = row.try_get(0).unwrap_or_default();
        found.push(invalid(
            format!("{role} may not connect to {restored}"),
            format!("grant connect on database {quoted} to {}", identifier(&role)),
        ));
    }
    Ok(found)
}

/// Holds the rights of the application's roles in the restored database against those in the damaged one: what is essential
/// must not lack any, and of the rest it is said.
async fn unusable(clients: &Clients, scene: &Scene<'_>) -> Result<Option<String>, ActionError> {
    let (name, restored) = (scene.name.as_str(), scene.with.restored.as_str());
    let (instance, estate) = (&scene.with.instance, database(clients)?);
    let rights = async |database: &str| {
        let what = format!("read what the application may do in {database} on {instance}");
        let mut session = connect_to(clients, instance, database).await?;
        Rights::read(clients, &what, &mut session, &estate.connection.application_roles).await
    };
    let there = rights(restored).await?;
    let before = match rights(name).await {
        Ok(before) => before,
        // Damage may keep it from being asked.
        Err(error) => {
            let said = format!(
                "whether the application may do in {restored} what it may in {name} is not known: {error}"
            );
            return Ok(Some(said));
        }
    };
    // An application seldom truncates.
    let essential = |table: &str, right: &str| {
        right != "truncate" && estate.essentials.tables.iter().any(|name| name == table)
    };
    if let Some(Lacking { said, grants }) = there.lacking(&before, essential) {
        let said = format!("in {restored} {said}, which it has in {name}");
        let way = format!(
            "in {restored}, as their owner: {grants}; where nobody is asked the run takes the restore back before that can be \
             typed: --on-failure stop keeps it"
        );
        let found = invalid(said, way);
        return Err(refused(scene, found.class, &[found]));
    }
    let rest = there.lacking(&before, |_, _| true);
    let say = |Lacking { said, grants }| {
        format!("in {restored} {said}, which it has in {name}; as their owner: {grants}")
    };
    Ok(rest.map(say))
}

/// Returns what is bound to either database: it would hold the names up, or be left with the damaged one unseen.
async fn bound(
    clients: &Clients,
    scene: &Scene<'_>,
    session: &mut Session,
) -> Result<Vec<Obstacle>, ActionError> {
    let both = [scene.name.as_str(), scene.with.restored.as_str()];
    let what = format!("read what is bound to {} on {}", both.join(", "), scene.with.instance);
    let rows = session.read(clients, &what, BOUND, &[&both.as_slice()]).await?;
    let found = rows.iter().map(|row| {
        let text = |index: usize| row.try_get::<_, String>(index).unwrap_or_default();
        let (kind, thing, place) = (text(0), text(1), text(2));
        match kind.as_str() {
            "prepared" => invalid(
                format!("{place} has the prepared transaction `{thing}`"),
                format!("in {place}, as whoever prepared it: rollback prepared {}", literal(&thing)),
            ),
            "slot" => invalid(
                format!("{place} has the logical replication slot {thing}"),
                format!("end what reads it, then: select pg_drop_replication_slot({})", literal(&thing)),
            ),
            _ => {
                let quoted = identifier(&thing);
                invalid(
                    format!("{place} has the subscription {thing}"),
                    format!(
                        "in {place}, read write: alter subscription {quoted} disable; alter subscription {quoted} set \
                         (slot_name = none); drop subscription {quoted}; and drop its slot at the publisher"
                    ),
                )
            }
        }
    });
    Ok(found.collect())
}

/// Says which settings the restored database has otherwise than the damaged one; their values are nobody's business.
async fn differing(
    clients: &Clients,
    scene: &Scene<'_>,
    session: &mut Session,
) -> Result<Vec<String>, ActionError> {
    let (name, restored) = (scene.name.as_str(), scene.with.restored.as_str());
    let what = format!("compare the settings of {restored} with those of {name}");
    let rows = session.read(clients, &what, SETTINGS, &[&name, &restored, &READ_ONLY]).await?;
    let names: Vec<String> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![format!("{restored} has other settings than {name}: {}", names.join(", "))])
}

/// Names who is in the databases whose names could not be changed for that.
pub(super) async fn held(
    clients: &Clients,
    scene: &Scene<'_>,
    session: &mut Session,
    error: ActionError,
) -> ActionError {
    let both = [scene.name.as_str(), scene.with.restored.as_str()];
    let what = format!("ask who is in {}", both.join(", "));
    let Ok(rows) = session.read(clients, &what, INSIDE, &[&both.as_slice()]).await else {
        return error;
    };
    let (mut said, mut ends) = (Vec::new(), Vec::new());
    for row in rows {
        let text = |index: usize| row.try_get::<_, String>(index).unwrap_or_default();
        let pid: i32 = row.try_get(0).unwrap_or_default();
        said.push(format!("{} (pid {pid}, `{}`, {})", text(1), text(2), text(3)));
        ends.push(format!("select pg_terminate_backend({pid})"));
    }
    if said.is_empty() {
        return error;
    }
    let message = format!("{}: there are {}", error.message, said.join(", "));
    ActionError { message, ..error }.hint(format!("as a superuser: {}", ends.join("; ")))
}
