//! This program's own tables beside the experiments: how far a rebuilding has come, what the rows were before, and what was
//! found corrupt. All of it is written in the same transactions as the experiments themselves.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::finding::{Finding, Reason};
use super::layout::{Layout, Place, unreadable};
use crate::clients::Clients;
use crate::clients::postgres::{
    Batch, Cursor, Held, Opening, Session, connect_with, literal, tables,
};
use crate::engine::ports::Call;
use crate::outcome::{ActionError, FailureClass};

/// A row for each rebuilding that was begun.
const REBUILDS: &str = "phoenix_dr_rebuilds";
const COLUMNS: &str = "token text primary key, images text not null, findings text not null, \
     position text, nameless boolean not null default false, tally text not null, \
     ended boolean not null default false, began timestamptz not null default now()";

/// What came of the experiments so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    /// Events that were read
    pub events: u64,
    /// Experiments that have events
    pub experiments: u64,
    /// Experiments that were written, or would be
    pub rebuilt: u64,
    /// Of those, the ones that had no row
    pub created: u64,
    /// Experiments that were so already
    pub unchanged: u64,
    /// Experiments that stay as they were, because no sound state can be rebuilt
    pub not_rebuilt: u64,
    /// Corrupt events, and gaps
    pub corrupt: u64,
}

/// A rebuilding that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Begun {
    token: String,
    rebuilds: String,
    /// Table of what the rows were before, and as they were written
    pub images: String,
    findings: String,
    /// The last experiment that is done
    pub position: Option<String>,
    /// The events that name no experiment are done
    pub nameless: bool,
    pub tally: Tally,
    pub ended: bool,
}

/// Returns what a step has begun.
pub(super) async fn begun(
    clients: &Clients,
    session: &mut Session,
    place: Place<'_>,
    token: &str,
) -> Result<Option<Begun>, ActionError> {
    let Some(rebuilds) = tables::find(clients, place.instance, session, REBUILDS).await? else {
        return Ok(None);
    };
    let what = format!("look for what this step began in {}", place.database);
    let sql = format!(
        "select images, findings, position, nameless, tally, ended from {rebuilds} where token = $1"
    );
    let rows = session.read(clients, &what, &sql, &[&token]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let read = || -> Result<(Begun, String), tokio_postgres::Error> {
        let begun = Begun {
            token: token.to_owned(),
            rebuilds: rebuilds.clone(),
            images: row.try_get(0)?,
            findings: row.try_get(1)?,
            position: row.try_get(2)?,
            nameless: row.try_get(3)?,
            tally: Tally::default(),
            ended: row.try_get(5)?,
        };
        Ok((begun, row.try_get(4)?))
    };
    let (begun, tally) = read().map_err(|error| unreadable(&what, &error))?;
    let tally = serde_json::from_str(&tally).map_err(|error| {
        let message = format!("{what}: the counts in {rebuilds} cannot be read: {error}");
        ActionError::unchanged(FailureClass::Invalid, message)
    })?;
    Ok(Some(Begun { tally, ..begun }))
}

/// Says whether there is a place for these tables.
pub(super) async fn placed(
    clients: &Clients,
    session: &mut Session,
    place: Place<'_>,
) -> Result<(), ActionError> {
    tables::place(clients, place.instance, session, REBUILDS, COLUMNS).await.map(drop)
}

/// Makes the tables of a rebuilding; from here on it is begun.
pub(super) async fn begin(
    clients: &Clients,
    session: &mut Session,
    (what, instance): (&str, &str),
    call: &Call,
    layout: &Layout,
) -> Result<Begun, ActionError> {
    let own = tables::place(clients, instance, session, REBUILDS, COLUMNS).await?;
    let schema = own.table.split('.').next().unwrap_or("public").to_owned();
    let token = call.token();
    let digest = Sha256::digest(token.as_bytes());
    let short: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let day = clients.clock.now().strftime("%Y%m%d").to_string();
    let images = format!("{schema}.phoenix_dr_experiments_{day}_{short}");
    let findings = format!("{schema}.phoenix_dr_corrupt_{day}_{short}");
    let said = format!("{} as they were before {token} rebuilt them", layout.said);
    let batch = session.batch(clients, what).await?;
    let mut statements = own.prepare;
    statements.extend([
        images_table(layout, &images),
        format!("alter table {images} add primary key (id)"),
        format!("comment on table {images} is {}", literal(&said)),
        format!(
            "create table {findings} (nth bigint generated always as identity primary key, \
             experiment text, event text, sequence bigint, reason text not null, said text not null)"
        ),
    ]);
    for statement in &statements {
        batch.execute(statement, &[]).await?;
    }
    let tally = Tally::default();
    let sql = format!(
        "insert into {} (token, images, findings, tally) values ($1, $2, $3, $4)",
        own.table
    );
    batch.execute(&sql, &[&token, &images, &findings, &json(&tally)]).await?;
    batch.commit().await?;
    let (position, rebuilds) = (None, own.table);
    let nameless = false;
    Ok(Begun { token, rebuilds, images, findings, position, nameless, tally, ended: false })
}

/// Returns the statement that makes the table of before-images, of the types the columns themselves have.
fn images_table(layout: &Layout, images: &str) -> String {
    let both = ["was", "is"].into_iter().flat_map(|when| {
        let columns = layout.fields.iter();
        columns.map(move |(field, column)| format!("x.{} as {when}_{}", column.name, field.key()))
    });
    format!(
        "create table {images} as select x.{} as id, false as existed, false as restored, {} from {} x with no data",
        layout.id.name,
        both.collect::<Vec<_>>().join(", "),
        layout.table
    )
}

fn json(tally: &Tally) -> String {
    serde_json::json!(tally).to_string()
}

impl Begun {
    /// Moves on, in a transaction: whoever else works on the same rebuilding is found out, and waits.
    pub(super) async fn advance(
        &self,
        batch: &Batch<'_>,
        position: Option<&str>,
        nameless: bool,
    ) -> Result<(), ActionError> {
        let sql = format!(
            "update {} set position = $2, nameless = $3 \
             where token = $1 and position is not distinct from $4 and nameless = $5 and not ended",
            self.rebuilds
        );
        let moved = batch
            .execute(&sql, &[&self.token, &position, &nameless, &self.position, &self.nameless])
            .await?;
        if moved == 1 {
            return Ok(());
        }
        let message = "another process goes on with this rebuilding, or has taken it back";
        Err(ActionError::unchanged(FailureClass::Conflict, message)
            .hint("see `phoenix-dr status`; one process at a time does a step"))
    }

    /// Keeps what came of it so far.
    pub(super) async fn count(&self, batch: &Batch<'_>, tally: &Tally) -> Result<(), ActionError> {
        let sql = format!("update {} set tally = $2 where token = $1", self.rebuilds);
        batch.execute(&sql, &[&self.token, &json(tally)]).await.map(drop)
    }

    /// Keeps what was found.
    pub(super) async fn find(
        &self,
        batch: &Batch<'_>,
        found: &[Finding],
    ) -> Result<(), ActionError> {
        if found.is_empty() {
            return Ok(());
        }
        let sql = format!(
            "insert into {} (experiment, event, sequence, reason, said) \
             select * from unnest($1::text[], $2::text[], $3::int8[], $4::text[], $5::text[])",
            self.findings
        );
        let experiments: Vec<_> = found.iter().map(|one| one.experiment.as_deref()).collect();
        let events: Vec<_> = found.iter().map(|one| one.event.as_deref()).collect();
        let sequences: Vec<_> = found.iter().map(|one| one.sequence).collect();
        let reasons: Vec<_> = found.iter().map(|one| one.reason.name()).collect();
        let said: Vec<_> = found.iter().map(|one| one.said.as_str()).collect();
        batch.execute(&sql, &[&experiments, &events, &sequences, &reasons, &said]).await.map(drop)
    }

    /// Says that all is done, or, when it is being taken back, that it no longer is.
    pub(super) async fn set_ended(
        &self,
        clients: &Clients,
        session: &mut Session,
        ended: bool,
    ) -> Result<(), ActionError> {
        let sql = format!("update {} set ended = $2 where token = $1", self.rebuilds);
        let what = "note how far the rebuilding is";
        session.change(clients, what, &[(sql, vec![&self.token, &ended])]).await
    }

    /// Forgets the rebuilding, with what it kept.
    pub(super) async fn forget(
        &self,
        clients: &Clients,
        session: &mut Session,
    ) -> Result<(), ActionError> {
        let statements = [
            format!("drop table if exists {}", self.images),
            format!("drop table if exists {}", self.findings),
            format!("delete from {} where token = {}", self.rebuilds, literal(&self.token)),
        ];
        let statements = statements.map(|sql| (sql, Vec::new()));
        session.change(clients, "forget the rebuilding that was taken back", &statements).await
    }

    /// Reads all that was found, in the order in which it was.
    pub(super) async fn findings(
        &self,
        clients: &Clients,
        place: Place<'_>,
        mut each: impl FnMut(Finding) -> Result<(), ActionError>,
    ) -> Result<(), ActionError> {
        let what = format!("read what was found corrupt from {}", self.findings);
        let opening = Opening { database: Some(place.database), options: "" };
        let session = connect_with(clients, place.instance, None, opening).await?;
        let held = Held::begin(clients, &what, session, 0, &[]).await?;
        let query = format!(
            "select experiment, event, sequence, reason, said from {} order by nth",
            self.findings
        );
        let mut cursor = Cursor::open(held, &what, &query).await?;
        while let Some(row) = cursor.next().await? {
            let read = || -> Result<(Finding, String), tokio_postgres::Error> {
                let reason = Reason::Gap;
                let finding = Finding {
                    experiment: row.try_get(0)?,
                    event: row.try_get(1)?,
                    sequence: row.try_get(2)?,
                    reason,
                    said: row.try_get(4)?,
                };
                Ok((finding, row.try_get(3)?))
            };
            let (finding, name) = read().map_err(|error| unreadable(&what, &error))?;
            let reason = Reason::parse(&name).ok_or_else(|| {
                let message = format!("{what}: there is no reason `{name}`");
                ActionError::unchanged(FailureClass::Invalid, message)
            })?;
            each(Finding { reason, ..finding })?;
        }
        Ok(())
    }
}
