//! How long reading takes, from bytes and from what was measured.

use std::time::Duration;

use super::look::Seen;
use super::reader::depth;
use super::relations::Kind;
use super::report::size;
use super::scan::values;
use crate::clients::Clients;
use crate::clients::postgres::Session;
use crate::clients::postgres::long::NoRows;
use crate::clock::since;
use crate::outcome::ActionError;
use crate::runbook::catalogue::actions::PostgresAssess;
use crate::span::Span;

/// Blocks read to measure how fast one session reads: enough to mean something, little enough for a dry run.
const BLOCKS: u32 = 512;
/// The measuring read must not keep anybody waiting.
const LIMIT: Duration = Duration::from_secs(5);
/// Shorter measurements, and fewer bytes, say nothing.
const BYTES_LEAST: u64 = 1024 * 1024;

/// Bytes a second, of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rate(pub u64);

impl Rate {
    /// Returns the rate of so many bytes in such a time; `None` where that is too little to mean anything.
    fn of(bytes: u64, took: Duration) -> Option<Self> {
        if bytes < BYTES_LEAST {
            return None;
        }
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        Some(Self((bytes.saturating_mul(1000) / millis).max(1)))
    }

    fn time_for(self, bytes: u64) -> Span {
        Span::seconds(bytes / self.0.max(1)).max(Span::seconds(1)).rounded_up()
    }
}

/// Measures how fast one session reads the largest table; `None` where there is none, or it cannot be read.
pub(super) async fn measure(
    clients: &Clients,
    session: &mut Session,
    with: &PostgresAssess,
    seen: &Seen,
) -> Result<Option<Rate>, ActionError> {
    let heads = seen.families.iter().map(|family| &family.head);
    let tables = heads.filter(|head| head.kind != Kind::Sequence && head.barred.is_none());
    let Some(largest) = tables.max_by_key(|table| table.bytes) else { return Ok(None) };
    let bytes = largest.bytes.min(u64::from(BLOCKS) * seen.facts.block_bytes);
    let sql = values(largest, depth(with.tier, &seen.facts), (0, 0), (BLOCKS, 0));
    let what = format!("measure how fast {} is read", with.instance);
    let began = clients.clock.now();
    match session.read_long(clients, &what, &sql, LIMIT).await {
        Ok(_) => Ok(Rate::of(bytes, since(began, clients.clock.now()))),
        Err(NoRows::Refused(_)) => Ok(None),
        Err(NoRows::Lost(error)) => Err(error),
    }
}

/// Returns what a full read would take: by one session, and by all of them where they do not slow each other down.
pub(super) fn range(bytes: u64, rate: Rate, jobs: usize) -> String {
    let all = Rate(rate.0.saturating_mul(u64::try_from(jobs).unwrap_or(1)));
    let (slowest, fastest) = (rate.time_for(bytes), all.time_for(bytes));
    let rate = size(rate.0);
    if slowest == fastest {
        return format!("one session reads {rate} a second: about {slowest} for all of it");
    }
    format!(
        "one session reads {rate} a second: from {fastest} ({jobs} sessions side by side) to {slowest} (one) for all of it"
    )
}

/// Returns how much of it is read within a budget.
pub(super) fn fits(bytes: u64, rate: Rate, jobs: usize, budget: Span) -> String {
    let one = rate.0.saturating_mul(budget.0.as_secs());
    let all = one.saturating_mul(u64::try_from(jobs).unwrap_or(1));
    let (least, most) = (one.min(bytes), all.min(bytes));
    let of = size(bytes);
    if least == bytes {
        return format!("its budget of {budget} is enough for all of it");
    }
    let much = match least == most {
        true => format!("about {}", size(least)),
        false => format!("{} (one session) to {} ({jobs})", size(least), size(most)),
    };
    format!("its budget of {budget} reads {much} of {of}, in their order; the rest stays unread")
}

/// Returns the forecast of the deep tier after a quick one.
pub(super) fn of_deep(bytes: u64, read: u64, took: Duration) -> Option<String> {
    let rate = Rate::of(read, took)?;
    Some(format!(
        "{} a second were read: the deep tier takes about {} for {}",
        size(rate.0),
        rate.time_for(bytes),
        size(bytes)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn a_forecast_is_bytes_by_what_was_measured() {
        for (bytes, read, millis, expected) in [
            (1000 * MIB, 100 * MIB, 1000, Some("10s")),
            (1000 * MIB, 100 * MIB, 10_000, Some("2m")),
            (MIB, 100 * MIB, 1000, Some("1s")),
            (1000 * MIB, MIB, 0, Some("1s")),
            (1000 * MIB, MIB - 1, 1000, None),
            (0, 0, 0, None),
        ] {
            let forecast = of_deep(bytes, read, Duration::from_millis(millis));
            let said = forecast.as_deref().map(|line| {
                let (_, rest) = line.split_once("about ").expect("a time");
                rest.split_once(" for").expect("of bytes").0.to_owned()
            });
            assert_eq!(said.as_deref(), expected, "{bytes}, {read} in {millis} ms");
        }
    }

    #[test]
    fn a_budget_that_is_too_short_is_told_with_what_it_reads() {
        for (jobs, budget, expected) in [
            (4, 120, "its budget of 2m is enough for all of it"),
            (
                1,
                60,
                "its budget of 1m reads about 600 MiB of 1.1 GiB, in their order; the rest stays unread",
            ),
            (
                4,
                30,
                "its budget of 30s reads 300 MiB (one session) to 1.1 GiB (4) of 1.1 GiB, in their order; the rest \
                 stays unread",
            ),
        ] {
            let said = fits(1200 * MIB, Rate(10 * MIB), jobs, Span::seconds(budget));
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn more_sessions_may_be_faster() {
        assert_eq!(
            range(1200 * MIB, Rate(10 * MIB), 4),
            "one session reads 10.0 MiB a second: from 30s (4 sessions side by side) to 2m (one) for all of it"
        );
        assert_eq!(
            range(1200 * MIB, Rate(10 * MIB), 1),
            "one session reads 10.0 MiB a second: about 2m for all of it"
        );
    }
}
