//! Rows one by one, however many there are: a cursor of a held look, read in portions.

use std::pin::Pin;

use futures::TryStreamExt;
use tokio_postgres::{Row, RowStream};

use super::Purpose;
use super::error::explain;
use super::held::Held;
use crate::outcome::ActionError;

/// Rows the server is asked for at once.
const PORTION: u32 = 4096;

/// The rows of one query, as the look it belongs to sees them. Only what is being worked on is in memory: the server is
/// read no faster than its rows are taken.
pub(crate) struct Cursor {
    held: Held,
    what: String,
    /// What was asked for and not taken yet
    portion: Option<Pin<Box<RowStream>>>,
    taken: u32,
    ended: bool,
}

impl Cursor {
    /// Begins to read the rows of a query. `what` fits "failed to …".
    pub(crate) async fn open(held: Held, what: &str, query: &str) -> Result<Self, ActionError> {
        let declare = format!("declare phoenix_dr no scroll cursor for {query}");
        held.read(what, &declare, &[]).await?;
        Ok(Self { held, what: what.to_owned(), portion: None, taken: 0, ended: false })
    }

    /// Returns the next row; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Row>, ActionError> {
        while !self.ended {
            let portion = match &mut self.portion {
                Some(portion) => portion,
                None => {
                    self.taken = 0;
                    let fetch = format!("fetch forward {PORTION} from phoenix_dr");
                    let none = std::iter::empty::<i32>();
                    let rows = self.held.client().query_raw(fetch.as_str(), none).await;
                    let rows = rows.map_err(|error| explain(&self.what, &error, Purpose::Read))?;
                    self.portion.insert(Box::pin(rows))
                }
            };
            match portion.try_next().await {
                Ok(Some(row)) => {
                    self.taken += 1;
                    return Ok(Some(row));
                }
                Ok(None) => {
                    self.portion = None;
                    self.ended = self.taken < PORTION;
                }
                Err(error) => return Err(Held::explain(&self.what, &error)),
            }
        }
        Ok(None)
    }
}
