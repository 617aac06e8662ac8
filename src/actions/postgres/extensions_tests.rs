//! Extensions of dumps that are restored by a user who is no superuser, on a real server.

use super::super::testing::Lab;
use super::*;
use crate::outcome::Effect;

const THERE: &str = "select string_agg(extname::text, ' ' order by extname) from pg_extension";

async fn lab_with(sql: &str) -> Option<Lab> {
    let lab = Lab::open().await?;
    lab.server.sql("phoenix", sql).await;
    lab.dumped("first").await;
    Some(lab)
}

#[tokio::test]
async fn a_restore_goes_without_what_only_looks_and_says_so() {
    let made = "create extension amcheck; create extension pg_buffercache; create extension pg_stat_statements; \
        create extension hstore; comment on extension amcheck is 'looks'; \
        grant execute on function bt_index_check(regclass, boolean) to dr";
    let Some(lab) = lab_with(made).await else { return };
    let done = lab.restored("first", "copy").await.expect("restored");
    assert_eq!(lab.server.text("copy", THERE).await, "hstore plpgsql");
    let left = "without the extensions amcheck, pg_buffercache, pg_stat_statements";
    assert!(done.notes.iter().any(|note| note.contains(left)), "{:?}", done.notes);
    let owed = done.obligations.iter().find(|owed| owed.id == "extensions-copy");
    let how = &owed.expect("it stays open").how;
    assert!(how.contains("create extension \"amcheck\"; create extension"), "{how}");
    // With what they bring, and nothing else is lacking.
    assert!(
        how.contains("; GRANT ALL ON FUNCTION public.bt_index_check(index regclass, heapallindexed boolean) TO dr"),
        "{how}"
    );
    assert_eq!(done.obligations.len(), 1, "{:?}", done.obligations);
    let statements = how.rsplit("by then: ").next().expect("statements");
    lab.server.sql("copy", statements).await;
    let may =
        "select has_function_privilege('dr', 'bt_index_check(regclass, boolean)', 'EXECUTE')::text";
    assert_eq!(lab.server.text("copy", may).await, "true");
    lab.proved("first", "copy").await.expect("all of its own is there");
    // A superuser makes them all.
    lab.server.sql("postgres", "alter role dr superuser").await;
    let done = lab.restored("first", "whole").await.expect("restored");
    let all = "amcheck hstore pg_buffercache pg_stat_statements plpgsql";
    assert_eq!(lab.server.text("whole", THERE).await, all);
    assert!(done.obligations.is_empty(), "{:?}", done.obligations);
}

#[tokio::test]
async fn what_cannot_be_had_and_may_be_needed_is_refused_before_anything_is_made() {
    let made = "create extension amcheck; create extension dblink; create extension pg_buffercache; \
        create view lab.cached as select count(*) from pg_buffercache";
    let Some(lab) = lab_with(made).await else { return };
    let error = lab.restored("first", "copy").await.expect_err("not by this user");
    assert_eq!((error.class, error.effect), (FailureClass::Denied, Effect::None));
    assert!(error.message.contains("dr may not make dblink, pg_buffercache there"), "{error}");
    assert!(error.hint.is_some_and(|hint| hint.contains("alter role \"dr\" superuser")));
    lab.rewrite("first", |manifest| {
        let (name, version) = ("nowhere".to_owned(), "3.3".to_owned());
        manifest.extensions = Some(vec![Extension { name, version, used: false }]);
    });
    let error = lab.restored("first", "copy").await.expect_err("the server has no such thing");
    assert_eq!((error.class, error.effect), (FailureClass::NotFound, Effect::None));
    assert!(error.message.contains("phoenix-prod does not have nowhere 3.3"), "{error}");
    assert_eq!(lab.databases().await, ["phoenix", "postgres"], "nothing was made");
    // Of a dump of before they were listed the restore itself tells, half-way.
    lab.rewrite("first", |manifest| manifest.extensions = None);
    let error = lab.restored("first", "copy").await.expect_err("not by this user");
    assert!(error.message.contains("permission denied to create extension"), "{error}");
    assert_eq!(error.effect, Effect::Applied);
}
