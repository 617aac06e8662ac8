//! Rebuildings on a real server, held against the server's own recomputation.

mod corrupt;
mod lost;
mod million;
mod obstacles;
mod resumed;

use std::collections::BTreeSet;

use super::*;
use crate::actions::{observe, perform, revert};
use crate::clients::postgres::testing::Server;
use crate::clients::testing;
use crate::engine::ports::{Armed, Image};
use crate::ids::RunId;
use crate::runbook::catalogue::actions::ActionName;

const SCHEMA: &str = include_str!("../../../../docs/experiments.sql");
const RECOMPUTED: &str = include_str!("recomputed.sql");

/// What a damaged database has not: constraints that would keep the damage out.
const UNCONSTRAINED: &str = "\
    alter table lab.experiment_events drop constraint experiment_events_experiment_id_fkey, \
        drop constraint experiment_events_sequence_check, drop constraint experiment_events_payload_check, \
        drop constraint experiment_events_experiment_id_sequence_key, \
        alter experiment_id drop not null, alter sequence drop not null, alter type drop not null, \
        alter payload drop not null, alter happened_at drop not null";
const INDEX: &str = "create index on lab.experiment_events (experiment_id, sequence)";

/// The events the server itself does not take: the state is of the same version after them as before.
const LEFT: &str = "select string_agg(id::text, ',') from (select id, experiment_id, version is not distinct from \
        lag(version) over (partition by experiment_id order by sequence, id) as same from (select e.id, e.experiment_id, \
        e.sequence, lab.fold(e.id::text, e.sequence, e.type, e.payload, e.happened_at) over (partition by experiment_id \
        order by sequence, id) ->> 'version' as version from lab.experiment_events e) s) f \
    where same or experiment_id is null";

/// Returns the SQL that makes so many experiments with so many events each, as an application writes them.
fn events(experiments: u32, each: u32) -> String {
    format!(
        "insert into lab.experiment_events (experiment_id, sequence, type, payload, happened_at) \
         select x, s, case s when 1 then 'created' when 2 then 'configured' when 3 then 'started' \
                 when 20 then 'paused' when 21 then 'resumed' \
                 when {each} then (array['completed', 'failed', 'cancelled', 'progressed'])[1 + x % 4] \
                 else 'progressed' end, \
             case s when 1 then jsonb_build_object('name', 'experiment ' || x, 'config', null) \
                 when 2 then jsonb_build_object('config', jsonb_build_object('rate', 0.1000000000000000000001 * x)) \
                 when 3 then '{{}}'::jsonb when 20 then '{{\"reason\": \"night\"}}'::jsonb when 21 then '{{}}'::jsonb \
                 when {each} then jsonb_build_object('result', jsonb_build_object('n', x), 'error', 'out of memory', \
                     'progress', 99.99) \
                 else jsonb_build_object('progress', round(s * 100 / ({each} + 1.0), 3)) end, \
             timestamptz '2026-01-01 00:00:00Z' + make_interval(secs => x * 60 + s) \
         from generate_series(1, {experiments}) x, generate_series(1, {each}) s"
    )
}

/// Harm of many kinds, each to some events that no other has met; what it is called.
const HARM: [(&str, &str); 14] = [
    ("payload = '[1]'", "payload_no_object"),
    ("payload = null", "no_payload"),
    ("type = 'launched'", "unknown_type"),
    ("type = null", "no_type"),
    (
        "payload = '{\"progress\": \"half\", \"name\": 7, \"config\": [], \"error\": 1}'",
        "wrong_field",
    ),
    (
        "payload = '{\"progress\": 101, \"name\": \" \", \"config\": 1, \"error\": \"\"}'",
        "wrong_field",
    ),
    ("happened_at = happened_at - interval '1 day'", "time_backwards"),
    ("happened_at = '2999-01-01'", "future_time"),
    ("happened_at = '-infinity'", "impossible_time"),
    ("happened_at = null", "no_time"),
    ("sequence = sequence - 1", "duplicate"),
    ("sequence = null", "no_sequence"),
    ("sequence = -5", "sequence_too_low"),
    ("experiment_id = null", "no_experiment"),
];

/// A server with experiments, and folders for the artifacts of runs.
struct Lab {
    server: Server,
    artifacts: tempfile::TempDir,
}

impl Lab {
    /// Opens one with so many experiments of forty events each, none of which has a row yet.
    async fn open(experiments: u32) -> Option<Self> {
        Some(Self::with(Server::start()?, &events(experiments, 40)).await)
    }

    async fn with(server: Server, events: &str) -> Self {
        server.prepare().await;
        let schema = format!("create schema lab; set search_path = lab; {SCHEMA}");
        for sql in [schema.as_str(), UNCONSTRAINED, RECOMPUTED, events, INDEX] {
            server.sql("phoenix", sql).await;
        }
        let grants = "grant usage on schema lab to dr; \
            grant select, insert, update, delete on lab.experiments to dr; \
            grant select on lab.experiment_events, lab.recomputed to dr; analyze";
        server.sql("phoenix", grants).await;
        Self { server, artifacts: tempfile::tempdir().expect("directory") }
    }

    /// Does harm to every so many-th event, each kind to others, and notes what it did.
    async fn harm(&self) {
        let mut sql = "create table lab.harmed (event bigint, reason text);".to_owned();
        for (nth, (harm, reason)) in HARM.iter().enumerate() {
            let mut these = format!(
                "id = any(array(select generate_series({}, (select max(id) from lab.experiment_events), 997)))",
                31 * (nth + 1)
            );
            these += match *reason {
                "wrong_field" => " and type in ('created', 'configured', 'progressed', 'failed')",
                "time_backwards" => " and sequence > 1",
                _ => "",
            };
            sql += &format!(
                "insert into lab.harmed select id, '{reason}' from lab.experiment_events where {these}; \
                 update lab.experiment_events set {harm} where {these};"
            );
        }
        // Lost altogether: the middle of some, the end of others.
        sql += "delete from lab.experiment_events where id % 997 in (900, 901, 950); grant select on lab.harmed to dr";
        self.server.sql("phoenix", &sql).await;
    }

    /// Makes rows as they should be, but for some.
    async fn rows(&self) {
        let sql = "insert into lab.experiments (id, name, state, config, progress, result, error, started_at, \
                ended_at, updated_at, version) \
             select id, state ->> 'name', state ->> 'state', state -> 'config', (state ->> 'progress')::numeric, \
                state -> 'result', state ->> 'error', (state ->> 'started_at')::timestamptz, \
                (state ->> 'ended_at')::timestamptz, (state ->> 'updated_at')::timestamptz, \
                (state ->> 'version')::int8 from lab.recomputed where state is not null; \
             delete from lab.experiments where id % 10 = 1; \
             update lab.experiments set state = 'running', progress = 1 where id % 10 = 2; \
             update lab.experiments set name = 'scrambled', config = '{}', version = 1 where id % 10 = 3";
        self.server.sql("phoenix", sql).await;
    }

    fn estate(&self) -> Value {
        self.estate_with(&json!({
            "table": { "name": "lab.experiments" },
            "events": { "name": "lab.experiment_events" },
        }))
    }

    fn estate_with(&self, experiments: &Value) -> Value {
        self.server.estate(&json!({ "experiments": experiments }))
    }

    fn clients(&self) -> (Clients, Armed) {
        let (clients, armed) = testing::armed(self.estate());
        (clients.with_artifacts(self.artifacts.path().to_owned()), armed)
    }

    /// Looks and does, as the run of that name.
    async fn done(&self, run: &str, more: &Value) -> Result<Performed, ActionError> {
        let (clients, armed) = self.clients();
        let call = call(run, more);
        let seen = observe(&clients, &call).await?;
        perform(&clients, &armed, &call, &seen).await
    }

    async fn text(&self, sql: &str) -> String {
        self.server.text("phoenix", sql).await
    }

    /// Returns a digest of all rows.
    async fn digest(&self) -> String {
        self.text("select coalesce(md5(string_agg(x::text, '|' order by id)), 'none') from lab.experiments x").await
    }

    /// Returns the ids of experiments that are other than the server recomputes them.
    async fn wrong(&self) -> String {
        let sql = "select coalesce(string_agg(coalesce(x.id, r.id)::text, ','), '') from lab.experiments x \
             full join (select * from lab.recomputed where state is not null) r on r.id = x.id \
             where (x.name, x.state, x.config, x.progress, x.result, x.error, x.started_at, x.ended_at, x.updated_at, \
                 x.version) is distinct from \
                 (r.state ->> 'name', r.state ->> 'state', r.state -> 'config', (r.state ->> 'progress')::numeric, \
                 r.state -> 'result', r.state ->> 'error', (r.state ->> 'started_at')::timestamptz, \
                 (r.state ->> 'ended_at')::timestamptz, (r.state ->> 'updated_at')::timestamptz, \
                 (r.state ->> 'version')::int8)";
        self.text(sql).await
    }

    /// Returns this program's own tables.
    async fn own(&self) -> String {
        let sql = "select coalesce(string_agg(relname, ' ' order by relname), '') from pg_class \
             where relname like 'phoenix\\_dr\\_%' and relkind = 'r'";
        self.text(sql).await
    }

    /// Returns the report of the newest rebuilding.
    fn report(&self) -> Value {
        let path = self.artifacts.path().join("step-0.experiments.json");
        serde_json::from_str(&std::fs::read_to_string(path).expect("a report")).expect("JSON")
    }
}

fn call(run: &str, more: &Value) -> Call {
    let mut with = json!({ "instance": "phoenix-prod", "region": "us-east-1" });
    for (name, value) in more.as_object().expect("arguments") {
        with[name.as_str()] = value.clone();
    }
    let (mut call, told) = testing::call(ActionName::ExperimentsRebuild, with);
    drop(told);
    call.run = RunId(run.to_owned());
    call
}

/// Returns the events a report lists, and what else.
fn listed(report: &Value) -> (BTreeSet<String>, Vec<&Value>) {
    let findings = report["findings"].as_array().expect("a list");
    let (events, others): (Vec<&Value>, Vec<&Value>) =
        findings.iter().partition(|one| one["event"].is_string());
    let ids: BTreeSet<String> =
        events.iter().map(|one| one["event"].as_str().expect("an id").to_owned()).collect();
    assert_eq!(ids.len(), events.len(), "each event is listed once");
    (ids, others)
}

fn set(text: &str) -> BTreeSet<String> {
    text.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_corrupt_event_is_listed_and_the_states_are_what_the_server_recomputes() {
    let Some(lab) = Lab::open(1000).await else { return };
    lab.harm().await;
    lab.rows().await;
    let before = lab.digest().await;
    // A look writes nothing.
    let (clients, armed) = lab.clients();
    let seen = observe(&clients, &call("01A", &json!({}))).await.expect("observed");
    assert!(!seen.satisfied && seen.evidence.iter().any(|line| line.contains("NOTHING WILL BE")));
    assert_eq!((lab.digest().await, lab.own().await), (before.clone(), String::new()));
    // Nor does the deed, while more is corrupt than was accepted; but it lists everything.
    let error = perform(&clients, &armed, &call("01A", &json!({})), &seen).await;
    let error = error.expect_err("too many");
    assert!(error.message.contains("at most 0 are accepted: nothing was written"), "{error}");
    assert_eq!(error.effect, Effect::None);
    assert_eq!((lab.digest().await, lab.own().await), (before.clone(), String::new()));
    let refused = lab.report();
    assert_eq!(refused["written"], false);
    let corrupt = refused["counts"]["corrupt"].as_u64().expect("a count");
    let hint = error.hint.expect("what to do");
    assert!(hint.contains(&format!("`max_corrupt: {corrupt}`")), "{hint}");
    // Told to, it rebuilds what the sound events say.
    let with = json!({ "max_corrupt": corrupt });
    let performed = lab.done("01A", &with).await.expect("rebuilt");
    assert_eq!(lab.wrong().await, "");
    let report = lab.report();
    assert_eq!(report["findings"], refused["findings"], "the same list");
    every_corrupt_one_is_listed(&lab, LEFT, &report).await;
    counts_hold(&lab, &performed).await;
    again_and_back(&lab, &with, &before).await;
}

/// Holds that a report lists what the server itself does not take, each event once, and every gap; by the right reasons.
async fn every_corrupt_one_is_listed(lab: &Lab, left: &str, report: &Value) {
    let (events, others) = listed(report);
    assert_eq!(events, set(&lab.text(left).await));
    let gaps = "select count(*)::text from (select sequence, lag(sequence) over (partition by experiment_id \
        order by sequence) as before from lab.experiment_events where sequence > 0 and experiment_id is not null) s \
        where sequence > coalesce(before, 0) + 1";
    let found = others.iter().filter(|one| one["reason"] == "gap").count();
    assert_eq!(found.to_string(), lab.text(gaps).await);
    assert_eq!(report["counts"]["corrupt"], (events.len() + found) as u64);
    // Each harm is told by its own name, where nothing before it made the event wrong already.
    let findings = report["findings"].as_array().expect("a list");
    for (_, reason) in HARM {
        let sql = format!(
            "select string_agg(event::text, ',') from lab.harmed where reason = '{reason}'"
        );
        let harmed = set(&lab.text(&sql).await);
        assert!(!harmed.is_empty() && harmed.is_subset(&events), "{reason}: {harmed:?}");
        let told = findings.iter().filter(|one| {
            one["reason"] == reason && one["event"].as_str().is_some_and(|id| harmed.contains(id))
        });
        assert!(told.count() * 2 > harmed.len(), "{reason} is what most of them are told by");
    }
}

async fn counts_hold(lab: &Lab, performed: &Performed) {
    let number = |name: &str| performed.outputs[name].as_u64().expect("a number");
    let experiments = "select count(distinct experiment_id)::text from lab.experiment_events";
    assert_eq!(number("experiments").to_string(), lab.text(experiments).await);
    assert_eq!(
        number("rebuilt") + number("unchanged") + number("not_rebuilt"),
        number("experiments")
    );
    let never = "select count(*)::text from lab.recomputed where state is null";
    assert_eq!(number("not_rebuilt").to_string(), lab.text(never).await);
    assert!(number("rebuilt") >= 290, "a tenth each is lost, other and scrambled: {performed:?}");
    let text = std::fs::read_to_string(lab.artifacts.path().join("step-0.experiments.txt"));
    let text = text.expect("the report for people");
    let findings = lab.report()["findings"].as_array().expect("a list").len();
    assert_eq!(text.lines().skip_while(|line| *line != "All of it:").skip(1).count(), findings);
    let worst = lab.report()["worst"][0].clone();
    assert_eq!(worst["not_rebuilt"], true, "the worst first: {worst}");
}

/// Once more nothing is written, and what was written is taken back to the last byte.
async fn again_and_back(lab: &Lab, with: &Value, before: &str) {
    let versions =
        "select md5(string_agg(xmin::text || ctid::text, '' order by id)) from lab.experiments";
    let (rows, after) = (lab.text(versions).await, lab.digest().await);
    let performed = lab.done("01B", with).await.expect("rebuilt again");
    assert_eq!(performed.outputs["rebuilt"], 0);
    assert_eq!(lab.text(versions).await, rows, "no row was written");
    let (clients, armed) = lab.clients();
    for (run, expected) in [("01B", after.as_str()), ("01A", before)] {
        let call = call(run, with);
        let now = observe(&clients, &call).await.expect("observed");
        assert!(now.satisfied && now.outputs["corrupt"].is_u64(), "{now:?}");
        let image = Image { before: state(None), ours: whole(), now };
        revert(&clients, &armed, &call, &image).await.expect("taken back");
        assert_eq!(lab.digest().await, expected, "{run}");
        let now = observe(&clients, &call).await.expect("observed");
        assert_eq!(now.live, state(None));
        revert(&clients, &armed, &call, &image).await.expect("twice takes back once");
    }
    assert_eq!(lab.own().await, "phoenix_dr_rebuilds", "what was kept of them is gone");
}

#[tokio::test]
async fn one_or_some_or_all_are_rebuilt() {
    let Some(lab) = Lab::open(30).await else { return };
    let rows = "select string_agg(id::text, ',' order by id) from lab.experiments";
    let one = lab.done("01A", &json!({ "experiments": "17" })).await.expect("one");
    assert_eq!((&one.outputs["rebuilt"], &one.outputs["experiments"]), (&json!(1), &json!(1)));
    assert_eq!(lab.text(rows).await, "17");
    let some = lab.done("01B", &json!({ "experiments": ["3", "17", "4"] })).await.expect("some");
    assert_eq!((&some.outputs["rebuilt"], &some.outputs["unchanged"]), (&json!(2), &json!(1)));
    lab.done("01C", &json!({ "experiments": "5, 6" })).await.expect("some by a text");
    assert_eq!(lab.text(rows).await, "3,4,5,6,17");
    let all = lab.done("01D", &json!({ "experiments": "all" })).await.expect("all");
    assert_eq!((&all.outputs["rebuilt"], &all.outputs["experiments"]), (&json!(25), &json!(30)));
    assert_eq!(lab.wrong().await, "");
}

#[tokio::test]
async fn a_row_that_knows_more_than_the_events_stays_as_it_is() {
    let Some(lab) = Lab::open(3).await else { return };
    lab.rows().await;
    let sql = "update lab.experiments set version = 44, name = 'newer' where id = 2; \
        delete from lab.experiments where id = 1; delete from lab.experiment_events where experiment_id = 3; \
        insert into lab.experiments (id, name, state, updated_at, version) values (4, 'lone', 'draft', now(), 9)";
    lab.server.sql("phoenix", sql).await;
    let (clients, _armed) = lab.clients();
    let seen = observe(&clients, &call("01A", &json!({}))).await.expect("observed");
    let said = seen.evidence.join("\n");
    assert!(said.contains("2 experiments have no events"), "{said}");
    let error = lab.done("01A", &json!({})).await.expect_err("events are missing");
    assert!(error.message.contains("missing_at_end 1"), "{error}");
    let performed = lab.done("01A", &json!({ "max_corrupt": 1 })).await.expect("the others");
    assert_eq!(performed.outputs["not_rebuilt"], 1);
    assert!(
        performed.notes.iter().any(|note| note.contains("2: left as it was, 1 corrupt")),
        "{performed:?}"
    );
    let kept = "select string_agg(id || name, ',' order by id) from lab.experiments where id > 1";
    let kept = lab.text(kept).await;
    assert!(kept.starts_with("2newer,3"), "{kept}");
    let finding = &lab.report()["findings"][0];
    assert_eq!((&finding["reason"], &finding["sequence"]), (&json!("missing_at_end"), &json!(44)));
}

#[tokio::test]
async fn other_names_and_types_are_as_good() {
    let Some(lab) = Lab::open(12).await else { return };
    let sql = "create schema \"Other\"; create type \"Other\".status as enum \
            ('draft', 'running', 'paused', 'completed', 'failed', 'cancelled'); \
        create domain \"Other\".key as text; \
        create table \"Other\".\"Trials\" (\"Key\" \"Other\".key primary key, status \"Other\".status not null, \
            ver int not null, at timestamp(0), settings json, tag text default 'kept'); \
        create table \"Other\".log (nr uuid default gen_random_uuid(), trial varchar(40), n smallint, what varchar(20), \
            body json, at timestamp); \
        insert into \"Other\".log (trial, n, what, body, at) select 'trial-' || experiment_id, sequence - 1, type, \
            payload, happened_at + interval '0.4 s' from lab.experiment_events; \
        grant usage on schema \"Other\" to dr; \
        grant select, insert, update, delete on \"Other\".\"Trials\" to dr; grant select on \"Other\".log to dr";
    lab.server.sql("phoenix", sql).await;
    let estate = lab.estate_with(&json!({
        "table": {
            "name": "Other.Trials", "id": "Key", "state": "status", "version": "ver", "config": "settings",
            "title": null, "progress": null, "result": null, "error": null, "started_at": null, "ended_at": null,
            "updated_at": "at",
        },
        "events": {
            "name": "Other.log", "id": "nr", "experiment": "trial", "sequence": "n", "type": "what",
            "payload": "body", "at": "at", "first_sequence": 0,
        },
    }));
    let (clients, armed) = testing::armed(estate);
    let clients = clients.with_artifacts(lab.artifacts.path().to_owned());
    for (run, rebuilt) in [("01A", 12), ("01B", 0)] {
        let call = call(run, &json!({}));
        let seen = observe(&clients, &call).await.expect("observed");
        let performed = perform(&clients, &armed, &call, &seen).await.expect("rebuilt");
        assert_eq!(performed.outputs["rebuilt"], rebuilt, "what is rounded is rounded alike");
        assert_eq!(performed.outputs["corrupt"], 0, "{performed:?}");
    }
    let wrong = "select count(*)::text from \"Other\".\"Trials\" t full join lab.recomputed r \
        on t.\"Key\" = 'trial-' || r.id where t.status::text is distinct from r.state ->> 'state' or tag <> 'kept' \
        or t.ver + 1 is distinct from (r.state ->> 'version')::int8 or t.settings::jsonb is distinct from r.state -> 'config'";
    assert_eq!(lab.text(wrong).await, "0");
}
