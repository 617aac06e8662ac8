//! What a proof finds, against a real server.

use super::super::testing::Lab;
use super::*;
use crate::outcome::Effect;

/// One of each kind that a proof knows, in words a server writes otherwise once it has read its own.
const OBJECTS: &str = "\
    create table lab.samples (id int primary key, code varchar(10) not null unique, mass numeric(10,2) default 1.5, \
        state varchar check (state in ('new', 'used')), at timestamp(3) without time zone default now(), \
        took interval day to second(3), double float8 generated always as (mass * 2) stored, \
        constraint heavy check (mass between -1 and 2.5 and (mass > 0 or code <> '') and id > -5), \
        exclude using btree (code with =)); \
    alter table lab.runs add primary key (id, day); \
    create table lab.uses (sample int references lab.samples on delete cascade, run int, day date, \
        foreign key (run, day) references lab.runs); \
    create index young on lab.samples (lower(code::text) desc, (mass::int)) where state = any ('{new}'::varchar[]); \
    create domain lab.share as numeric check (value >= 0 and value <= 1::numeric); \
    create function lab.double(x int, y text default 'a'::varchar) returns int language sql \
        as $$ select (x * 2)::int $$; \
    create function lab.atomic(x varchar) returns boolean language sql begin atomic select x in ('a', 'b'); end; \
    create procedure lab.clean() language sql as 'delete from lab.uses'; \
    create aggregate lab.total (int) (sfunc = int4pl, stype = int, initcond = '0'); \
    create function lab.stamp() returns trigger language plpgsql as $$ begin new.at := now(); return new; end $$; \
    create trigger stamp before insert or update of code on lab.samples for each row \
        when (new.state is distinct from 'used' and new.state in ('new', 'used')) execute function lab.stamp(); \
    create function lab.seen() returns trigger language plpgsql as $$ begin return null; end $$; \
    create trigger each_run after insert on lab.runs for each row execute function lab.seen(); \
    create constraint trigger late after insert on lab.uses deferrable for each row execute function lab.seen(); \
    alter table lab.uses disable trigger late; \
    create view lab.recent with (security_barrier) as with last as (select *, row_number() over \
        (partition by state order by at desc) as n from lab.samples where code like any (array['a%', 'b%']::varchar[])) \
        select l.id, l.code || '-' || l.n as label, case when l.n > 1 then 'old' else l.state end, \
            count(u.run) filter (where u.day > date '2026-01-01') over () as uses, \
            coalesce((select max(r.score) from lab.runs r where r.id = u.run), 0)::numeric(10,2) as best \
        from last l left join lab.uses u on u.sample = l.id and (u.run, u.day) in (select id, day from lab.runs) \
        where l.took < interval '1 day' or l.at at time zone 'UTC' > now() - interval '2 days' \
        union all select id, code, state, 0, mass from lab.samples order by 1 limit 10; \
    create materialized view lab.sums as select state, sum(mass) from lab.samples group by grouping sets ((state), ()); \
    create unique index on lab.sums (state); \
    create rule quiet as on delete to lab.samples where old.state = 'used' do instead nothing; \
    create policy mine on lab.uses for select to app using (sample > 0 and sample in (1, 2)); \
    insert into lab.samples (id, code, state) values (1, 'a', 'new')";

#[tokio::test]
async fn a_proof_names_every_difference() {
    let Some(lab) = Lab::open().await else { return };
    lab.dumped("first").await;
    lab.restored("first", "copy").await.expect("restored");
    for (sql, said) in [
        (
            "delete from lab.experiments where id = 7 and not exists (select 1 from lab.runs where experiment = 7); \
          delete from lab.runs_1 where id = 1",
            "table lab.runs_1 has",
        ),
        (
            "update lab.runs_2 set score = score + 1e-9 where id = (select min(id) from lab.runs_2)",
            "table lab.runs_2 has as many rows as the dump, and other content",
        ),
        ("drop table public.\"Odd name\"", "table public.Odd name is missing"),
        ("select setval('lab.tickets', 400)", "sequence lab.tickets is at 400, the dump at 500"),
        (
            // The next value it gives out is one that its column has.
            "select setval('lab.experiments_id_seq', 200, false)",
            "sequence lab.experiments_id_seq is behind its column",
        ),
        (
            "select setval('lab.experiments_id_seq', 100)",
            "sequence lab.experiments_id_seq is behind its column",
        ),
        ("select lo_unlink(4711)", "0 large objects, the dump has 1"),
        ("create table extra (x int)", "table public.extra is not in the dump"),
    ] {
        lab.server.sql("copy", sql).await;
        let error = lab.proved("first", "copy").await.expect_err(said);
        assert!(error.message.contains(said), "{said}: {error}");
        assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::None));
    }
}

#[tokio::test]
async fn what_comes_back_besides_rows_is_proved_too() {
    let Some(lab) = Lab::open().await else { return };
    lab.server.sql("phoenix", OBJECTS).await;
    lab.server.sql("postgres", "alter role dr superuser").await;
    lab.dumped("first").await;
    lab.restored("first", "copy").await.expect("restored");
    // However a server words what it has read, that is no difference.
    let proved = lab.proved("first", "copy").await.expect("proved");
    assert!(proved.notes[0].contains("other objects"), "{:?}", proved.notes);
    for (sql, said) in [
        ("drop index lab.young", "index lab.young is missing"),
        (
            "alter table lab.samples drop constraint heavy",
            "check constraint lab.samples.heavy is missing",
        ),
        ("drop trigger stamp on lab.samples", "trigger lab.samples.stamp is missing"),
        (
            "drop function lab.double(int, text)",
            "function lab.double(x integer, y text) is missing",
        ),
        ("drop view lab.recent", "view lab.recent is missing"),
        ("drop policy mine on lab.uses", "policy lab.uses.mine is missing"),
        (
            "alter table lab.uses drop constraint uses_sample_fkey",
            "foreign key lab.uses.uses_sample_fkey is missing",
        ),
        (
            "alter table lab.uses drop constraint uses_run_day_fkey; alter table lab.runs drop constraint runs_pkey",
            "primary key lab.runs.runs_pkey is missing",
        ),
    ] {
        lab.server.sql("copy", sql).await;
        let error = lab.proved("first", "copy").await.expect_err(said);
        assert!(error.message.contains(said), "{said}: {error}");
    }
    lab.restored("first", "other").await.expect("restored");
    for (sql, said) in [
        (
            "create or replace function lab.double(x int, y text default 'a'::varchar) returns int language sql \
            as $$ select (x * 3)::int $$",
            "function lab.double(x integer, y text) is defined otherwise",
        ),
        ("alter table lab.uses enable trigger late", "trigger lab.uses.late is defined otherwise"),
        (
            "alter table lab.samples alter mass drop default",
            "columns of lab.samples is defined otherwise",
        ),
        (
            "drop rule quiet on lab.samples; create rule quiet as on delete to lab.samples do instead nothing",
            "rule lab.samples.quiet is defined otherwise",
        ),
        ("create index extra on lab.samples (mass)", "index lab.extra is not in the dump"),
    ] {
        lab.server.sql("other", sql).await;
        let error = lab.proved("first", "other").await.expect_err(said);
        assert!(error.message.contains(said), "{said}: {error}");
    }
}

#[tokio::test]
async fn a_manifest_of_before_objects_were_listed_is_read_and_its_proof_says_so() {
    let Some(lab) = Lab::open().await else { return };
    lab.dumped("first").await;
    lab.restored("first", "copy").await.expect("restored");
    let path = lab.dumps.path().join("first.dump/manifest.json");
    let text = std::fs::read_to_string(&path).expect("read");
    let mut kept: Value = serde_json::from_str(&text).expect("JSON");
    let mut manifest: Manifest =
        serde_json::from_value(kept["manifest"].take()).expect("a manifest");
    manifest.format = "phoenix-dr/dump/1".to_owned();
    (manifest.system, manifest.content.objects) = (None, None);
    let old = json!({ "sha256": manifest.digest(), "manifest": manifest });
    assert_eq!(old["manifest"]["content"].get("objects"), None, "as it was written then");
    std::fs::write(&path, old.to_string()).expect("written");
    lab.server.sql("copy", "alter table lab.runs drop constraint runs_experiment_fkey").await;
    let proved = lab.proved("first", "copy").await.expect("rows are all it can tell of");
    let untold = proved.notes.iter().find(|note| note.starts_with(WARNS)).expect("it says so");
    assert!(untold.contains("whether they are there is not known"), "{untold}");
}
