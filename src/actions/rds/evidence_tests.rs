//! Snapshots as evidence over real SDK clients and a scripted region.

use std::collections::BTreeSet;

use super::super::testing::{Made, OTHER_RUN, Region, Shared, WEST, made, region};
use super::*;
use crate::clients::aws::testing::{RUN, Script, armed, call, estate, guarded};
use crate::clock::since;
use crate::engine::ports::Armed;

const INSTANCE: &str = "phoenix-prod";
const NAME: &str = "phoenix-dr-01jd0000000000000000000001-step";

fn with() -> PostgresEvidence {
    PostgresEvidence { instance: INSTANCE.to_owned(), region: WEST.to_owned(), name: None }
}

fn over(states: &[&'static str], takes: &[&'static str]) -> (Clients, Armed, Script, Shared) {
    let instances = vec![made(INSTANCE, states)];
    let known = Region { instances, takes: takes.to_vec(), ..Region::default() };
    let (script, shared) = region(known);
    let (clients, armed) = armed(estate(|_| {}), &script);
    (clients, armed, script, shared)
}

fn ours() -> Made {
    made(NAME, &["creating", "available"]).tagged("phoenix-dr:token", &format!("{RUN}/step/0"))
}

#[tokio::test]
async fn an_instance_is_kept_as_a_snapshot_once_it_is_no_longer_busy() {
    let states = ["modifying", "modifying", "backing-up", "available"];
    let (clients, _armed, script, shared) = over(&states, &["creating", "creating", "available"]);
    let (call, _news) = call("postgres.evidence");
    let seen = observe(&clients, &call, &with()).await.expect("observed");
    assert!(!seen.satisfied && !seen.under_way && seen.waiver.is_none(), "{seen:?}");
    assert!(seen.evidence[1].contains("once it is no longer `modifying`"), "{:?}", seen.evidence);
    assert!(seen.evidence[2].contains("from the standby"), "{:?}", seen.evidence);
    assert!(seen.commands[0].starts_with("aws rds create-db-snapshot --region us-west-2"));
    assert_eq!(script.count("CreateDBSnapshot"), 0, "a look only looks");
    let done = perform(&clients, &call, &with()).await.expect("taken");
    assert_eq!(done.after, seen.desired);
    assert_eq!(done.outputs["evidence"], NAME);
    assert_eq!(done.outputs["path"], format!("arn:aws:rds:us-west-2:123456789012:snapshot:{NAME}"));
    assert_eq!(done.outputs["bytes"], 100_u64 << 30);
    assert_eq!(script.count("CreateDBSnapshot"), 1, "asked for once, and not while it was busy");
    let expected = [
        ("phoenix-dr:run", RUN),
        ("phoenix-dr:token", &format!("{RUN}/step/0")),
        ("phoenix-dr:evidence", INSTANCE),
    ];
    let tags = shared.lock().expect("not poisoned").taken[0].tags.clone();
    assert_eq!(tags, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let seen = observe(&clients, &call, &with()).await.expect("observed");
    assert!(seen.satisfied && seen.live == done.after && seen.outputs == done.outputs, "{seen:?}");
}

#[tokio::test]
async fn what_this_step_requested_before_is_awaited_and_not_requested_again() {
    let (clients, _armed, script, shared) = over(&["available"], &[]);
    shared.lock().expect("not poisoned").taken = vec![ours()];
    let (call, _news) = call("postgres.evidence");
    let seen = observe(&clients, &call, &with()).await.expect("observed");
    assert!(!seen.satisfied && seen.under_way, "{seen:?}");
    let done = perform(&clients, &call, &with()).await.expect("adopted");
    assert_eq!(done.after, seen.live);
    assert_eq!(script.count("CreateDBSnapshot"), 0);
    // The answer was lost: what shows is adopted.
    let (clients, _armed, script, shared) = over(&["available"], &["creating", "available"]);
    shared.lock().expect("not poisoned").lose_answer = true;
    perform(&clients, &call, &with()).await.expect("adopted");
    assert_eq!(script.count("CreateDBSnapshot"), 1);
    // It was made between the look and the request.
    let (script, shared) = region(Region {
        instances: vec![made(INSTANCE, &["available"])],
        taken: vec![ours()],
        ..Region::default()
    });
    let script = script.hiding_first("DescribeDBSnapshots");
    let (clients, _armed) = armed(estate(|_| {}), &script);
    perform(&clients, &call, &with()).await.expect("adopted");
    assert_eq!(script.count("CreateDBSnapshot"), 1, "refused, for it is there");
    assert_eq!(shared.lock().expect("not poisoned").taken.len(), 1);
}

#[tokio::test]
async fn a_snapshot_that_never_shows_is_not_known_to_be_none() {
    let (script, _) = region(Region {
        instances: vec![made(INSTANCE, &["available"])],
        lose_answer: true,
        ..Region::default()
    });
    // Nothing of it is ever seen.
    let script = Script::new({
        let inner = script;
        move |sent, before| match sent.action.as_str() {
            "DescribeDBSnapshots" => {
                crate::clients::aws::testing::query_error(404, "DBSnapshotNotFound", "none")
            }
            _ => inner.answer(sent, before),
        }
    });
    let (clients, _armed) = armed(estate(|_| {}), &script);
    let (call, _news) = call("postgres.evidence");
    let began = clients.clock.now();
    let lost = perform(&clients, &call, &with()).await.expect_err("lost");
    assert_eq!((lost.class, lost.effect), (FailureClass::Transient, Effect::Unknown), "{lost}");
    assert!(since(began, clients.clock.now()) > SHOWS);
}

#[tokio::test]
async fn what_is_another_runs_is_no_evidence_of_this_one() {
    let (clients, _armed, script, shared) = over(&["available"], &[]);
    let theirs = made(NAME, &["available"]).tagged("phoenix-dr:token", OTHER_RUN);
    shared.lock().expect("not poisoned").taken = vec![theirs];
    let (call, _news) = call("postgres.evidence");
    for error in [
        observe(&clients, &call, &with()).await.expect_err("not ours"),
        perform(&clients, &call, &with()).await.expect_err("not ours"),
    ] {
        assert_eq!((error.class, error.effect), (FailureClass::Conflict, Effect::None), "{error}");
    }
    assert_eq!(script.count("CreateDBSnapshot"), 0);
}

#[tokio::test]
async fn where_none_can_be_taken_the_word_goes_on_without() {
    let (call, _news) = call("postgres.evidence");
    let cases = [
        (vec![], "there is no RDS instance phoenix-prod in us-west-2"),
        (vec![made(INSTANCE, &["storage-full"])], "is `storage-full`, which does not pass"),
        (vec![made(INSTANCE, &["stopped"])], "is `stopped`"),
    ];
    for (instances, said) in cases {
        let (script, _) = region(Region { instances, ..Region::default() });
        let clients = guarded(estate(|_| {}), &script);
        let seen = observe(&clients, &call, &with()).await.expect("never an error that blocks");
        let waiver = seen.waiver.expect("a way on");
        assert!(waiver.why.contains("no snapshot of phoenix-prod can be taken"), "{}", waiver.why);
        assert!(waiver.why.contains(said), "{said}: {}", waiver.why);
        assert_eq!(waiver.word, "no-evidence");
        assert_eq!(waiver.obligation.id, "no-evidence-phoenix-prod");
        assert!(waiver.obligation.how.contains("take a snapshot of phoenix-prod by hand"));
        // What an earlier run went on without is another incident's: this one's is asked about.
        let open = BTreeSet::from([waiver.obligation.id]);
        let clients = guarded(estate(|_| {}), &script).knowing(open);
        let seen = observe(&clients, &call, &with()).await.expect("observed");
        assert!(!seen.satisfied && seen.waiver.is_some(), "{seen:?}");
    }
    // One that failed has the name, and is told with what removes it.
    let (clients, _armed, _, shared) = over(&["available"], &["creating", "failed"]);
    let error = perform(&clients, &call, &with()).await.expect_err("failed");
    assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::Applied), "{error}");
    assert!(error.hint.is_some_and(|hint| hint.contains("delete-db-snapshot")));
    let seen = observe(&clients, &call, &with()).await.expect("observed");
    assert!(seen.waiver.is_some_and(|waiver| waiver.why.contains("`failed`")));
    assert_eq!(shared.lock().expect("not poisoned").taken.len(), 1);
}

#[test]
fn a_name_is_one_that_rds_takes() {
    let (mut call, _news) = call("postgres.evidence");
    assert_eq!(identifier(&with(), &call).expect("a name"), NAME);
    call.generation = 2;
    call.step = crate::ids::StepId::from("keep__it_");
    let name = identifier(&with(), &call).expect("a name");
    assert_eq!(name, "phoenix-dr-01jd0000000000000000000001-keep-it-2");
    let given = |name: &str| PostgresEvidence { name: Some(name.to_owned()), ..with() };
    assert_eq!(identifier(&given("As-Found"), &call).expect("a name"), "as-found");
    for bad in ["", "1st", "a_b", "a--b", "a-", "a.b"] {
        let error = identifier(&given(bad), &call).expect_err(bad);
        assert_eq!(error.class, FailureClass::Invalid, "{bad}");
    }
}
