//! Experiments and their events on a server of our own.

use crate::folder::Folder;
use crate::postgres::Server;

/// Events of each experiment.
pub(crate) const EVENTS_EACH: usize = 100;

const RUNBOOK: &str = "runbook: BENCH-1
title: Benchmark
command: bench
steps:
  - id: rebuild
    action: experiments.rebuild
    with: { instance: bench-db, region: us-east-1, max_corrupt: 1000000 }
";

/// A folder whose estate names the server.
pub(crate) struct Experiments {
    folder: Folder,
    server: Server,
}

impl Experiments {
    /// Makes so many events; `None` where PostgreSQL is not installed.
    pub(crate) fn with(events: usize) -> Option<Self> {
        let server = Server::start()?;
        let folder = Folder::with(RUNBOOK);
        server.named_in(&folder, "experiments: {}");
        server.sql(include_str!("../../docs/experiments.sql"));
        server.sql(&format!(
            "alter table experiment_events drop constraint experiment_events_experiment_id_fkey;
             insert into experiment_events (experiment_id, sequence, type, payload, happened_at)
             select x, s, case s when 1 then 'created' when 2 then 'started' when {EVENTS_EACH} then 'completed'
                     else 'progressed' end,
                 case s when 1 then jsonb_build_object('name', 'experiment ' || x, 'config',
                         jsonb_build_object('pipeline', 'adaptive', 'hosts', x % 50, 'variant', md5(x::text)))
                     when {EVENTS_EACH} then jsonb_build_object('result', jsonb_build_object('reduction', x % 90))
                     else jsonb_build_object('progress', s, 'host', md5(s::text)) end,
                 timestamptz '2026-01-01 00:00:00Z' + make_interval(secs => s)
             from generate_series(1, {}) x, generate_series(1, {EVENTS_EACH}) s",
            events / EVENTS_EACH
        ));
        // One of a thousand is corrupt, which changes no state: each experiment has later ones of its kind.
        server.sql("update experiment_events set type = 'launched' where id % 997 = 13 and type = 'progressed'");
        server.sql("vacuum analyze");
        Some(Self { folder, server })
    }

    /// Loses every row, and has the server know that: it plans to go through the whole table then, which is not empty for long.
    pub(crate) fn lose(&self) {
        self.server.sql("truncate experiments");
        self.server.sql("analyze experiments");
    }

    /// Rebuilds every row from its events; returns how much of the program was resident at most, in KiB.
    pub(crate) fn rebuild(&self) -> u64 {
        self.folder.run_resident(&["run", "runbook.yaml", "--yes"])
    }

    /// Returns how long the change itself took, in seconds, by the journal of the run that ended last: without the two looks
    /// before it.
    pub(crate) fn change_took(&self) -> f64 {
        let (began, ended) =
            (self.folder.recorded("step_started"), self.folder.recorded("attempt_finished"));
        ended.duration_since(began).as_secs_f64()
    }

    /// Holds that every row is there and complete, and every corrupt event was found.
    pub(crate) fn all_there(&self, events: usize) {
        let wanted = events / EVENTS_EACH;
        // Divides by zero where it is not so.
        self.server.sql(&format!(
            "select 1 / (count(*) = {wanted})::int from experiments where state = 'completed' and version = {EVENTS_EACH}"
        ));
        self.server.sql(
            "select 1 / ((tally::jsonb ->> 'corrupt')::int = (select count(*) from experiment_events where type = 'launched'))::int \
             from phoenix_dr_rebuilds order by began desc limit 1",
        );
    }
}
