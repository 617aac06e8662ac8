//! What a proof finds, against a real server.

use super::super::points::{Asked, list};
use super::super::testing::Lab;
use super::*;
use crate::clients::testing;
use crate::outcome::Effect;
use crate::runbook::catalogue::actions::ActionName;

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
async fn a_proof_that_fails_voids_the_one_on_record_and_one_that_holds_restores_it() {
    let Some(lab) = Lab::open().await else { return };
    lab.dumped("first").await;
    lab.restored("first", "copy").await.expect("restored");
    let point = async || {
        let (clients, _armed) = lab.clients();
        let now = clients.clock.now();
        let asked = Asked { incident: None, now, regions: Vec::new() };
        list(&clients, &asked).await.expect("listed").points.remove(0)
    };
    let unproved = "no restore ever proved it";
    assert_eq!(point().await.doubts(), [unproved]);
    lab.proved("first", "copy").await.expect("proved");
    assert_eq!(point().await.doubts(), [""; 0]);
    lab.server.sql("copy", "select setval('lab.tickets', 400)").await;
    lab.proved("first", "copy").await.expect_err("it is not what was dumped");
    let found = point().await;
    assert_eq!(found.proved, None, "the older proof is void");
    let why = "its last proof failed: sequence lab.tickets is at 400, the dump at 500";
    assert_eq!(found.doubts(), [why]);
    lab.server.sql("copy", "select setval('lab.tickets', 500)").await;
    lab.proved("first", "copy").await.expect("proved anew");
    assert_eq!(point().await.doubts(), [""; 0]);
}

#[tokio::test]
async fn what_the_application_asks_is_asked_of_the_restored_database() {
    let Some(lab) = Lab::open().await else { return };
    lab.dumped("first").await;
    lab.restored("first", "copy").await.expect("restored");
    // What the application has now is not what it will have.
    lab.server.sql("phoenix", "delete from lab.runs; delete from lab.experiments").await;
    let with = json!({
        "instance": "phoenix-prod", "region": "us-east-1", "database": "copy", "dump": "first",
    });
    let prove = async |essentials: Value| {
        let (clients, armed) = lab.clients_with(&json!({ "essentials": essentials }));
        let (call, _news) = testing::call(ActionName::PostgresProve, with.clone());
        let seen = crate::actions::observe(&clients, &call).await.expect("observed");
        crate::actions::perform(&clients, &armed, &call, &seen).await
    };
    let there = "select count(*) = 200 from lab.experiments";
    let newest = "select max(at) from lab.experiments";
    let essentials =
        json!({ "queries": [{ "title": "all there", "sql": there }], "newest": newest });
    let proved = prove(essentials).await.expect("proved");
    assert_eq!(proved.outputs["newest"], "2026-01-01T00:00:00Z");
    let asked = "what the application asks is true: 1 question";
    assert!(proved.notes.iter().any(|note| note == asked), "{:?}", proved.notes);
    let error = prove(json!({ "queries": [
        { "title": "all there", "sql": there },
        { "title": "many", "sql": "select count(*) > 200 from lab.experiments" },
        { "title": "nothing", "sql": "select null::boolean" },
        { "title": "none", "sql": "select true where false" },
        { "title": "several", "sql": "select true from lab.experiments" },
        { "title": "a number", "sql": "select 1" },
        { "title": "gone", "sql": "select true from lab.nowhere" },
        { "title": "writes", "sql": "with x as (delete from lab.runs returning 1) select true from x" },
        { "title": "acts", "sql": "select pg_reload_conf()" },
    ] }));
    let error = error.await.expect_err("not what the application needs");
    assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::None));
    for said in [
        "`many` is false",
        "`nothing` is null",
        "`none` gives 0 rows instead of one",
        "`several` gives 200 rows instead of one",
        "`a number` gives a value of type int4 and not true",
        "`gone` fails: relation \"lab.nowhere\" does not exist",
        "`writes` ",
        "`acts` could not be asked",
    ] {
        assert!(error.message.contains(said), "{said}: {error}");
    }
    assert!(!error.message.contains("all there"), "{error}");
    // That the newest record is not known is no difference.
    let proved = prove(json!({ "newest": "select 'today'" })).await.expect("proved");
    assert_eq!(proved.outputs["newest"], "");
    assert!(proved.notes.iter().any(|note| note.contains("gives no timestamptz")), "{proved:?}");
}

#[tokio::test]
async fn a_sequence_that_is_only_a_columns_default_is_held_against_it_too() {
    let Some(lab) = Lab::open().await else { return };
    let made = "create sequence lab.shared; create sequence lab.coded; \
        create table lab.bare (id int default nextval('lab.shared'), code int default nextval('lab.coded') * 10, \
            text text default nextval('lab.shared')); \
        create table lab.also (id bigint default nextval('lab.shared')); \
        insert into lab.bare values (default, default, 'x'), (default, default, 'y'); \
        insert into lab.also values (default); alter table lab.bare owner to dr";
    lab.server.sql("phoenix", made).await;
    lab.dumped("first").await;
    assert_eq!(lab.manifest("first").content.behind, Vec::<String>::new());
    lab.restored("first", "copy").await.expect("restored");
    lab.proved("first", "copy").await.expect("proved");
    // As where the rows were loaded and the sequence was not.
    lab.server.sql("copy", "insert into lab.also values (900)").await;
    lab.server.sql("phoenix", "insert into lab.also values (900)").await;
    let error = lab.proved("first", "copy").await.expect_err("its next value is there already");
    assert_eq!(
        error.message.matches("sequence lab.shared is behind its column").count(),
        1,
        "{error}"
    );
    assert!(!error.message.contains("lab.coded"), "{error}");
    // A dump that was so already is no worse, and one of before this was looked at is not held to it.
    lab.dumped("second").await;
    assert_eq!(lab.manifest("second").content.behind, ["lab.shared"]);
    lab.restored("second", "other").await.expect("restored");
    lab.proved("second", "other").await.expect("as it was");
    lab.rewrite("second", |manifest| {
        manifest.format = "phoenix-dr/dump/2".to_owned();
        (manifest.content.behind, manifest.extensions) = (Vec::new(), None);
    });
    lab.proved("second", "other").await.expect("nobody looked then");
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
    lab.rewrite("first", |manifest| {
        manifest.format = "phoenix-dr/dump/1".to_owned();
        (manifest.system, manifest.content.objects, manifest.extensions) = (None, None, None);
        let old = serde_json::to_value(&*manifest).expect("JSON");
        assert_eq!(old["content"].get("objects"), None, "as it was written then");
        assert_eq!(old.get("extensions"), None, "as it was written then");
    });
    lab.server.sql("copy", "alter table lab.runs drop constraint runs_experiment_fkey").await;
    let proved = lab.proved("first", "copy").await.expect("rows are all it can tell of");
    let untold = proved.notes.iter().find(|note| note.starts_with(WARNS)).expect("it says so");
    assert!(untold.contains("whether they are there is not known"), "{untold}");
}
