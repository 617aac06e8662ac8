//! Taking a rebuilding back: exactly the rows that still are as it wrote them, in transactions as large as its own.

use tokio_postgres::error::SqlState;

use super::layout::{Field, Layout, Place, unreadable};
use super::own::Begun;
use super::stored::same_json;
use crate::clients::Clients;
use crate::clients::postgres::{Batch, Session, say_who_blocks};
use crate::engine::ports::Call;
use crate::outcome::{ActionError, FailureClass};

/// Rows of one transaction.
const ROWS_MAX: i64 = 500;
/// Ids of rows that somebody else changed, in one message.
const NAMED_MAX: i64 = 10;

/// Restores, and forgets the rebuilding where nothing of it is left.
pub(super) async fn restore(
    clients: &Clients,
    call: &Call,
    session: &mut Session,
    place: Place<'_>,
    (layout, begun): (&Layout, &Begun),
) -> Result<(), ActionError> {
    if begun.ended {
        begun.set_ended(clients, session, false).await?;
    }
    let mut restored = 0;
    // Rows that were there first: what refers to a new row may keep it from being deleted.
    for existed in [true, false] {
        restored += rows(clients, call, session, place, (layout, begun), existed).await?;
    }
    let left = left(clients, session, begun).await?;
    if left.0 == 0 {
        return begun.forget(clients, session).await;
    }
    let (count, named) = left;
    let message = format!(
        "{restored} experiments are as before; {count} were changed by somebody else since they were rebuilt, and stay: {named}"
    );
    Err(ActionError::applied(FailureClass::Conflict, message).hint(format!(
        "compare them with {}, which has them as they were (`was_…`) and as they were rebuilt (`is_…`)",
        begun.images
    )))
}

/// Restores the rows that were there before, or deletes those that were not; returns how many.
async fn rows(
    clients: &Clients,
    call: &Call,
    session: &mut Session,
    place: Place<'_>,
    (layout, begun): (&Layout, &Begun),
    existed: bool,
) -> Result<u64, ActionError> {
    let what = format!("restore experiments of {}", layout.said);
    let (process, other) =
        (session.process(clients, &what).await?, (place.instance, place.database));
    let mut after: Option<String> = None;
    let mut restored = 0;
    loop {
        let restoring = async {
            let batch = session.batch(clients, &what).await?;
            // By id, so that each row is looked at once, whatever becomes of it.
            let ids = next(&batch, layout, begun, existed, after.as_deref()).await?;
            let Some(last) = ids.last() else { return Ok(None) };
            let done = portion(&batch, layout, begun, existed, &ids).await.map_err(referred_to)?;
            batch.commit().await?;
            Ok(Some((last.clone(), done)))
        };
        let done = say_who_blocks(clients, &what, process, other, restoring).await?;
        let Some((last, done)) = done else { return Ok(restored) };
        after = Some(last);
        restored += done;
        call.progress.tell(format!("restored {restored} experiments"), None);
    }
}

/// Says what to do about a new row that others have come to refer to.
fn referred_to(error: ActionError) -> ActionError {
    if !error.message.contains(&format!("({})", SqlState::FOREIGN_KEY_VIOLATION.code())) {
        return error;
    }
    error.hint(
        "rows that were there before are restored; the new ones are referred to by now: keep them (skip), or drop that \
         constraint and roll back again",
    )
}

async fn next(
    batch: &Batch<'_>,
    layout: &Layout,
    begun: &Begun,
    existed: bool,
    after: Option<&str>,
) -> Result<Vec<String>, ActionError> {
    // Ordered by the column, not by its text, which bears the same name.
    let sql = format!(
        "select i.id::text from {} i where not i.restored and i.existed = $3 \
         and ($1::text is null or i.id > $1::text::{}) order by i.id limit $2",
        begun.images, layout.id.kind
    );
    let rows = batch.rows(&sql, &[&after, &ROWS_MAX, &existed]).await?;
    let ids: Result<Vec<String>, _> = rows.iter().map(|row| row.try_get(0)).collect();
    ids.map_err(|error| unreadable("read what experiments were before", &error))
}

/// Restores some rows; returns how many.
async fn portion(
    batch: &Batch<'_>,
    layout: &Layout,
    begun: &Begun,
    existed: bool,
    ids: &[String],
) -> Result<u64, ActionError> {
    let (table, id, images) = (&layout.table, &layout.id.name, &begun.images);
    let these = format!("i.id in (select n.id::{} from unnest($1::text[]) n(id))", layout.id.kind);
    let lock = format!(
        "select from {table} x where x.{id} in (select i.id from {images} i where {these}) order by x.{id} for update"
    );
    batch.rows(&lock, &[&ids]).await?;
    let ours = format!("x.{id} = i.id and not i.restored and {these} and {}", as_written(layout));
    let change = if existed {
        let set = layout.fields.iter();
        let set = set.map(|(field, column)| format!("{} = i.was_{}", column.name, field.key()));
        let set = set.collect::<Vec<_>>().join(", ");
        format!("update {table} x set {set} from {images} i where {ours} returning x.{id}")
    } else {
        // What keeps a row there is found out with this statement, not with the commit.
        batch.execute("set constraints all immediate", &[]).await?;
        format!("delete from {table} x using {images} i where {ours} returning x.{id}")
    };
    let sql = format!(
        "with back as ({change}) update {images} i set restored = true where not i.restored and i.id in \
         (select {id} from back)"
    );
    batch.execute(&sql, &[&ids]).await
}

/// Returns the condition under which a row is as this step wrote it.
fn as_written(layout: &Layout) -> String {
    let same = layout.fields.iter().map(|(field, column)| {
        let written = format!("i.is_{}", field.key());
        if Field::is_json(*field) {
            return same_json(column, &written);
        }
        format!("x.{} is not distinct from {written}", column.name)
    });
    same.collect::<Vec<_>>().join(" and ")
}

/// Returns how many rows could not be restored, and some of their ids.
async fn left(
    clients: &Clients,
    session: &mut Session,
    begun: &Begun,
) -> Result<(i64, String), ActionError> {
    let what = "look which experiments could not be restored";
    let sql = format!(
        "select count(*), coalesce((select string_agg(id::text, ', ') from \
         (select id from {images} where not restored order by id limit {NAMED_MAX}) named), '') \
         from {images} where not restored",
        images = begun.images
    );
    let row = session.read_one(clients, what, &sql, &[]).await?;
    let read = || Ok((row.try_get(0)?, row.try_get(1)?));
    read().map_err(|error: tokio_postgres::Error| unreadable(what, &error))
}
