//! Experiments and their events: `psql`.

use serde_json::{Map, Value};

use super::With;
use super::database::psql_to;
use crate::clients::postgres::identifier;
use crate::estate::experiments::Experiments;
use crate::estate::types::Estate;
use crate::shell;

/// Where the experiments are, as commands name them.
struct Place {
    psql: String,
    tables: Experiments,
}

impl Place {
    fn of(estate: &Estate, with: With<'_>) -> Self {
        let known = estate.database.as_ref();
        let own = known.map_or("DATABASE", |known| known.name.as_str());
        let name = with.maybe("database").unwrap_or(own);
        let psql = psql_to(estate, &with.text("instance"), name);
        let tables = known.and_then(|known| known.experiments.clone()).unwrap_or_default();
        Self { psql, tables }
    }

    fn run(&self, sql: &str) -> String {
        format!("{} -c {}", self.psql, shell::word(sql))
    }
}

fn quoted(name: &str) -> String {
    name.split('.').map(identifier).collect::<Vec<_>>().join(".")
}

/// Returns the commands that show what an experiment is rebuilt from: what follows from it a person writes.
pub(crate) fn rebuild(estate: &Estate, with: &Map<String, Value>) -> Vec<String> {
    let place = Place::of(estate, With(with));
    let (table, events) = (&place.tables.table, &place.tables.events);
    let happened = format!(
        "select * from {} where {} = 'ID' order by {}",
        quoted(&events.name),
        identifier(&events.experiment),
        identifier(&events.sequence)
    );
    let stored =
        format!("select * from {} where {} = 'ID'", quoted(&table.name), identifier(&table.id));
    vec![
        "# what happened, and what is stored, experiment by experiment:".to_owned(),
        place.run(&happened),
        place.run(&stored),
    ]
}

/// Returns the commands that take a rebuilding back.
pub(super) fn restore(estate: &Estate, with: &Map<String, Value>) -> Vec<String> {
    let place = Place::of(estate, With(with));
    let table = &place.tables.table;
    let (name, id) = (quoted(&table.name), identifier(&table.id));
    let columns = table.columns();
    let columns = columns.iter().filter(|(key, _)| *key != "id");
    let set = columns
        .filter_map(|(key, column)| Some(format!("{} = i.was_{key}", identifier((*column)?))));
    let update = format!(
        "update {name} x set {} from phoenix_dr_experiments_DATE i where x.{id} = i.id and i.existed",
        set.collect::<Vec<_>>().join(", ")
    );
    let delete = format!(
        "delete from {name} x using phoenix_dr_experiments_DATE i where x.{id} = i.id and not i.existed"
    );
    vec![
        "# which rebuildings there were, and where each keeps what the rows were before:"
            .to_owned(),
        place.run("select token, images, began from phoenix_dr_rebuilds"),
        place.run(&update),
        place.run(&delete),
    ]
}
