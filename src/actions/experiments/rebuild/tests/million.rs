//! As many events as an application has after years.

use super::*;

const EXPERIMENTS: u32 = 10_000;
const EVENTS_EACH: u32 = 100;

/// The server folds a million events once: which of them it does not take, and the state after the last of an experiment.
const FOLDED: &str = "\
    create table lab.folded as select id, experiment_id, version is not distinct from lag(version) over w as same, \
            case when lead(id) over w is null then state end as last \
        from (select id, experiment_id, sequence, state, state ->> 'version' as version \
            from (select e.id, e.experiment_id, e.sequence, lab.fold(e.id::text, e.sequence, e.type, e.payload, \
                e.happened_at) over (partition by experiment_id order by sequence, id) as state \
            from lab.experiment_events e) f) s window w as (partition by experiment_id order by sequence, id); \
    drop view lab.recomputed; \
    create table lab.recomputed as select experiment_id as id, \
        (array_agg(last) filter (where last is not null))[1] as state \
        from lab.folded where experiment_id is not null group by experiment_id; \
    alter table lab.recomputed add primary key (id); grant select on lab.recomputed to dr; analyze";
const LEFT: &str =
    "select string_agg(id::text, ',') from lab.folded where same or experiment_id is null";

#[tokio::test]
async fn of_a_million_events_every_corrupt_one_is_listed_and_all_states_are_right() {
    let Some(server) = Server::start_with(&["-k"]) else { return };
    let lab = Lab::with(server, &events(EXPERIMENTS, EVENTS_EACH)).await;
    assert_eq!(lab.text("show data_checksums").await, "on");
    assert_eq!(lab.text("select count(*)::text from lab.experiment_events").await, "1000000");
    lab.harm().await;
    lab.server.sql("phoenix", FOLDED).await;
    lab.rows().await;
    let (clients, armed) = lab.clients();
    let call = call("01A", &json!({ "max_corrupt": 1_000_000 }));
    // What a look sees the small one shows: this one is only written, and read once.
    let mut seen = Observation::new(state(None), whole());
    seen.context = json!({ "complete": true, "corrupt": 0 });
    let performed = perform(&clients, &armed, &call, &seen).await.expect("rebuilt");
    assert_eq!(lab.wrong().await, "");
    let report = lab.report();
    every_corrupt_one_is_listed(&lab, LEFT, &report).await;
    counts_hold(&lab, &performed).await;
    let corrupt = performed.outputs["corrupt"].as_u64().expect("a count");
    assert!(corrupt > 14_000, "harm was done to one event of seventy: {corrupt}");
}
