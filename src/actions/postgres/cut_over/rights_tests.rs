//! Rights the application's roles have in the damaged database and lack in the restored one.

use super::*;

/// A table as in the restored database, and a view.
const BEFORE: &str = "grant select, insert, delete on orders to app; \
     create table seen (id serial primary key); grant select, insert on seen to app; \
     grant usage on sequence seen_id_seq to app; \
     create table dropped (id int); grant all on dropped to app; \
     create schema side; create view side.orders as select 1 as one; grant usage on schema side to app; \
     grant select on side.orders to app";
const RESTORED: &str = "create table seen (id serial primary key); grant select, insert on seen to app; \
     create schema side; create view side.orders as select 1 as one; grant select on side.orders to app; \
     revoke insert on orders from app";

#[tokio::test]
async fn a_right_that_is_lacking_on_what_is_essential_is_named_before_the_names_change() {
    let Some(mut lab) = Lab::open("select").await else { return };
    lab.server.sql("phoenix", BEFORE).await;
    lab.server.sql("phoenix_restored", RESTORED).await;
    lab.essentials = json!({ "tables": ["public.orders", "public.seen"] });
    lab.fenced().await;
    let (before, clients) = (lab.everything().await, lab.clients());
    let refused = async || observe(&clients, &call()).await.expect_err("a right is lacking");
    let error = refused().await;
    assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::None), "{error}");
    let said = "in phoenix_restored app lacks insert on public.orders, app lacks usage on public.seen_id_seq, which it has in phoenix";
    assert!(error.message.contains(said), "{error}");
    assert!(
        !error.message.contains("side.orders") && !error.message.contains("dropped"),
        "{error}"
    );
    // What is told is typed.
    let hint = error.hint.expect("a way");
    let (_, grants) = hint.split_once("as their owner: ").expect("statements");
    let (grants, _) = grants.split_once("; where nobody is asked").expect("more");
    lab.server.sql("phoenix_restored", grants).await;
    // Of what is not essential it is said, and it keeps nobody out.
    let seen = observe(&clients, &call()).await.expect("observed");
    let line = "in phoenix_restored app lacks select on side.orders, which it has in phoenix; as their owner: \
         grant usage on schema \"side\" to \"app\"; grant select on \"side\".\"orders\" to \"app\"";
    assert!(seen.evidence.iter().any(|found| found == line), "{:?}", seen.evidence);
    assert_eq!(lab.everything().await, before, "it was looked at");
    let (_, done) = lab.cut_over().await;
    let warned = |note: &String| note.starts_with(WARNS) && note.contains("side.orders");
    assert!(done.notes.iter().any(warned), "{:?}", done.notes);
}
