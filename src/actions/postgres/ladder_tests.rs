//! The ways to keep a database from taking writes that PostgreSQL itself cannot be asked for.

use std::sync::{Arc, Mutex};

use super::*;
use crate::actions::kubernetes::fake::{Fake, deployment_path, settle};
use crate::actions::{observe, perform, revert};
use crate::clients::aws::testing::{Reply, Script, StepClock, query_error, timed};
use crate::clients::tcp::tests::closed;
use crate::clients::testing;
use crate::clock::{Clock, RealClock, since};
use crate::engine::ports::Armed;
use crate::runbook::catalogue::actions::{ActionName, FenceScope};
use crate::sandbox::tests::{Scene, phoenix};

const EAST: &str = "us-east-1";

/// The old primary as RDS of the lost region shows it.
#[derive(Default)]
struct Old {
    states: Vec<&'static str>,
    groups: Vec<String>,
    /// Groups that are still there, with their states, until so many more looks have been made
    lingers: Vec<(&'static str, &'static str)>,
    looks_lingering: usize,
    replicas: usize,
    tags: Vec<String>,
    refuses: Vec<&'static str>,
    /// What RDS refuses for the state the instance is in
    busy: Vec<&'static str>,
    /// A change of the groups is answered by 200 and not made
    ignores: bool,
    /// States after a change of the groups
    changing: Vec<&'static str>,
}

fn old(states: &[&'static str]) -> Old {
    let changing = vec!["modifying", "available"];
    Old { states: states.to_vec(), groups: vec!["sg-app".to_owned()], changing, ..Old::default() }
}

impl Old {
    fn xml(&mut self) -> String {
        let state = if self.states.len() > 1 { self.states.remove(0) } else { self.states[0] };
        let lingering = if self.looks_lingering > 0 { self.lingers.clone() } else { Vec::new() };
        self.looks_lingering = self.looks_lingering.saturating_sub(1);
        let own = self.groups.iter().map(|group| (group.as_str(), "active"));
        let groups: String = own
            .chain(lingering)
            .map(|(group, state)| {
                format!("<VpcSecurityGroupMembership><Status>{state}</Status><VpcSecurityGroupId>{group}</VpcSecurityGroupId></VpcSecurityGroupMembership>")
            })
            .collect();
        let replicas = "<ReadReplicaDBInstanceIdentifier>r</ReadReplicaDBInstanceIdentifier>"
            .repeat(self.replicas);
        let tags: String = self
            .tags
            .iter()
            .map(|key| format!("<Tag><Key>{key}</Key><Value>x</Value></Tag>"))
            .collect();
        format!(
            "<DBInstances><DBInstance><DBInstanceIdentifier>phoenix-prod</DBInstanceIdentifier>\
             <DBInstanceArn>arn:aws:rds:us-east-1:123456789012:db:phoenix-prod</DBInstanceArn>\
             <DBInstanceStatus>{state}</DBInstanceStatus><VpcSecurityGroups>{groups}</VpcSecurityGroups>\
             <TagList>{tags}</TagList>\
             <ReadReplicaDBInstanceIdentifiers>{replicas}</ReadReplicaDBInstanceIdentifiers></DBInstance></DBInstances>"
        )
    }
}

fn rds(old: Old) -> Script {
    let inside = Mutex::new(old);
    Script::new(move |sent, _| {
        let mut old = inside.lock().expect("not poisoned");
        let action = sent.action.as_str();
        if old.refuses.contains(&action) {
            return query_error(403, "AccessDenied", "not you");
        }
        if old.busy.contains(&action) {
            let state = old.states[0];
            return query_error(400, "InvalidDBInstanceState", &format!("it is {state}"));
        }
        let mut body = String::new();
        match action {
            "DescribeDBInstances" => body = old.xml(),
            "StopDBInstance" => old.states = vec!["stopping", "stopped"],
            "StartDBInstance" => old.states = vec!["starting", "available"],
            "RebootDBInstance" => old.states = vec!["rebooting", "available"],
            "ModifyDBInstance" if old.ignores => {}
            "ModifyDBInstance" => {
                let group = sent.field("VpcSecurityGroupIds.VpcSecurityGroupId.1");
                old.groups = group.into_iter().collect();
                old.states = old.changing.clone();
            }
            "AddTagsToResource" => old.tags.extend(sent.field("Tags.Tag.1.Key")),
            "RemoveTagsFromResource" => old.tags.clear(),
            other => return query_error(400, "InvalidAction", other),
        }
        Reply::Answer(
            200,
            format!("<{action}Response><{action}Result>{body}</{action}Result></{action}Response>"),
        )
    })
}

fn over(script: &Script, clock: Arc<dyn Clock>, group: Option<&str>) -> (Clients, Armed) {
    let mut estate = json!({
        "database": {
            "name": "phoenix",
            "primary": { "id": "phoenix-prod", "region": EAST, "address": closed().to_string() },
            "recovered": { "id": "phoenix-recovered" },
            "connection": {
                "user": "dr", "password_from": { "env": "PATH" }, "tls": "disable", "application_roles": ["app"],
            },
            "application": {
                "secret": { "namespace": "prod", "name": "db", "host_key": "host" },
                "restart": ["prod/api", "prod/worker"],
            },
        },
    });
    if let Some(group) = group {
        estate["database"]["primary"]["fence_security_group"] = json!(group);
    }
    let clients = timed(Arc::new(testing::estate(estate)), script, clock);
    let armed = Armed::mint();
    clients.guard.open(&armed);
    (clients, armed)
}

fn still() -> Arc<dyn Clock> {
    Arc::new(StepClock::at("2026-11-22T02:18:00Z"))
}

fn call() -> Call {
    testing::call(ActionName::PostgresFence, json!({ "instance": "phoenix-prod", "region": EAST }))
        .0
}

fn changes(script: &Script) -> Vec<String> {
    script.actions().into_iter().filter(|action| !action.starts_with("Describe")).collect()
}

#[tokio::test]
async fn an_instance_that_only_rds_reaches_is_stopped() {
    let script = rds(old(&["available"]));
    let (clients, armed) = over(&script, still(), None);
    let seen = observe(&clients, &call()).await.expect("observed");
    assert!(seen.waiver.is_none() && !seen.satisfied, "there is another way than going without");
    assert_eq!(seen.differences[0].to, "stopped");
    assert_eq!(
        seen.commands,
        ["aws rds stop-db-instance --region us-east-1 --db-instance-identifier phoenix-prod"]
    );
    let done = perform(&clients, &armed, &call(), &seen).await.expect("stopped");
    assert_eq!(done.after, seen.desired);
    assert_eq!(done.obligations[0].id, "stopped-phoenix-prod", "RDS starts it again by itself");
    assert_eq!(changes(&script), ["StopDBInstance"]);
    let again = observe(&clients, &call()).await.expect("observed");
    assert!(again.satisfied && again.waiver.is_none(), "{again:?}");

    let image = Image { before: seen.live.clone(), ours: done.after, now: again };
    revert(&clients, &armed, &call(), &image).await.expect("started");
    assert_eq!(observe(&clients, &call()).await.expect("observed").live, seen.live);
    assert_eq!(changes(&script), ["StopDBInstance", "StartDBInstance"]);
}

#[tokio::test]
async fn a_stop_under_way_is_waited_for() {
    let script = rds(old(&["stopping", "stopping", "stopped"]));
    let (clients, armed) = over(&script, still(), None);
    let seen = observe(&clients, &call()).await.expect("observed");
    assert!(seen.under_way && !seen.satisfied, "{seen:?}");
    perform(&clients, &armed, &call(), &seen).await.expect("stopped");
    assert_eq!(changes(&script), [] as [&str; 0]);
}

#[tokio::test]
async fn a_group_without_ingress_cuts_off_and_a_restart_ends_what_was_connected() {
    let mut known = old(&["available"]);
    known.replicas = 1;
    let script = rds(known);
    let (clients, armed) = over(&script, still(), Some("sg-nothing"));
    let seen = observe(&clients, &call()).await.expect("observed");
    assert_eq!(
        (seen.differences[0].from.as_str(), seen.differences[0].to.as_str()),
        ("sg-app", "sg-nothing")
    );
    let done = perform(&clients, &armed, &call(), &seen).await.expect("cut off");
    assert_eq!(changes(&script), ["ModifyDBInstance", "RebootDBInstance", "AddTagsToResource"]);
    assert_eq!(done.obligations, []);
    let again = observe(&clients, &call()).await.expect("observed");
    assert!(again.satisfied, "{again:?}");
    let image = Image { before: seen.live.clone(), ours: done.after, now: again };
    revert(&clients, &armed, &call(), &image).await.expect("reconnected");
    assert_eq!(observe(&clients, &call()).await.expect("observed").live, seen.live);

    // Killed before the restart: what is connected writes on.
    let mut half = old(&["available"]);
    half.groups = vec!["sg-nothing".to_owned()];
    let (clients, _armed) = over(&rds(half), still(), Some("sg-nothing"));
    let seen = observe(&clients, &call()).await.expect("observed");
    assert!(seen.under_way && !seen.satisfied, "{seen:?}");
}

/// The old primary in the fence's group already, before the restart that ends what is connected.
fn half(states: &[&'static str]) -> Old {
    Old { groups: vec!["sg-nothing".to_owned()], ..old(states) }
}

#[tokio::test]
async fn a_restart_that_is_refused_leaves_the_old_sessions_open_and_ends_the_step() {
    let mut known = half(&["backing-up"]);
    known.busy = vec!["RebootDBInstance", "StopDBInstance"];
    let script = rds(known);
    let (clients, armed) = over(&script, still(), Some("sg-nothing"));
    let seen = observe(&clients, &call()).await.expect("observed");
    assert!(seen.under_way && !seen.satisfied, "{seen:?}");
    let done = perform(&clients, &armed, &call(), &seen).await.expect("what can be done is done");
    assert_eq!(changes(&script), ["RebootDBInstance", "StopDBInstance"], "each way once");
    assert_eq!(done.obligations[0].id, "unfenced-phoenix-prod");
    let say = &done.obligations[0].say;
    assert!(
        say.contains("sessions from before") && say.contains("InvalidDBInstanceState"),
        "{say}"
    );
    assert!(!done.notes.iter().any(|note| note.contains("is kept from taking")), "{done:?}");
    let again = observe(&clients, &call()).await.expect("observed");
    assert!(!again.under_way && again.waiver.is_some(), "it is not begun anew: {again:?}");
}

#[tokio::test]
async fn a_restart_refused_after_the_group_was_set_goes_on_to_the_next_way() {
    let mut known = old(&["available"]);
    known.busy = vec!["RebootDBInstance"];
    let script = rds(known);
    let (clients, armed) = over(&script, still(), Some("sg-nothing"));
    let seen = observe(&clients, &call()).await.expect("observed");
    let done = perform(&clients, &armed, &call(), &seen).await.expect("stopped");
    assert_eq!(changes(&script), ["ModifyDBInstance", "RebootDBInstance", "StopDBInstance"]);
    assert_eq!(done.obligations[0].id, "stopped-phoenix-prod");
    let now = observe(&clients, &call()).await.expect("observed");
    assert!(now.satisfied, "{now:?}");
    // RDS changes nothing of a stopped instance: it is started first.
    let image = Image { before: seen.live.clone(), ours: done.after, now };
    revert(&clients, &armed, &call(), &image).await.expect("taken back");
    assert_eq!(changes(&script)[3..], ["StartDBInstance", "ModifyDBInstance"]);
    assert_eq!(observe(&clients, &call()).await.expect("observed").live, seen.live);
}

#[tokio::test]
async fn an_instance_that_works_is_not_waited_for() {
    let mut known = old(&["storage-optimization"]);
    known.changing = vec!["storage-optimization"];
    let script = rds(known);
    let clock = still();
    let (clients, armed) = over(&script, clock.clone(), Some("sg-nothing"));
    let seen = observe(&clients, &call()).await.expect("observed");
    let began = clock.now();
    let done = perform(&clients, &armed, &call(), &seen).await.expect("cut off");
    assert_eq!(done.obligations, []);
    assert!(since(began, clock.now()) < Duration::from_secs(60), "{:?}", clock.now());
}

#[tokio::test]
async fn a_way_has_its_own_time_and_a_bad_state_ends_it_at_once() {
    for (state, limit) in [("modifying", 240), ("storage-full", 30)] {
        let mut known = old(&["available"]);
        (known.changing, known.lingers) = (vec![state], vec![("sg-app", "removing")]);
        (known.looks_lingering, known.replicas) = (usize::MAX, 1);
        let script = rds(known);
        let clock = still();
        let (clients, armed) = over(&script, clock.clone(), Some("sg-nothing"));
        let seen = observe(&clients, &call()).await.expect("observed");
        let began = clock.now();
        let error = perform(&clients, &armed, &call(), &seen).await.expect_err("not cut off");
        assert_eq!(error.effect, Effect::Applied, "the group was asked for: {error}");
        assert!(error.message.contains(state), "{error}");
        let took = since(began, clock.now());
        assert!(took < Duration::from_secs(limit), "{state}: {took:?}");
        let again = observe(&clients, &call()).await.expect("observed");
        assert!(again.waiver.is_some() && !again.under_way, "{again:?}");
    }
}

#[tokio::test]
async fn a_change_that_rds_ignores_is_not_called_a_fence() {
    let mut known = old(&["available"]);
    (known.ignores, known.replicas) = (true, 1);
    let script = rds(known);
    let (clients, armed) = over(&script, still(), Some("sg-nothing"));
    let seen = observe(&clients, &call()).await.expect("observed");
    let error = perform(&clients, &armed, &call(), &seen).await.expect_err("it takes writes");
    assert!(error.message.contains("security groups: sg-app"), "{error}");
    assert_eq!(changes(&script), ["ModifyDBInstance"], "nothing is restarted for it");
    let again = observe(&clients, &call()).await.expect("observed");
    assert_eq!(again.waiver.expect("what is left").obligation.id, "unfenced-phoenix-prod");
}

#[tokio::test]
async fn a_group_that_is_still_being_taken_off_lets_in_until_it_is_gone() {
    // Seen so from the start: nobody may call it fenced, tagged or not.
    let mut known = half(&["available"]);
    known.tags = vec!["phoenix-dr:cut-off".to_owned()];
    (known.lingers, known.looks_lingering) = (vec![("sg-app", "removing")], 3);
    let script = rds(known);
    let (clients, armed) = over(&script, still(), Some("sg-nothing"));
    let seen = observe(&clients, &call()).await.expect("observed");
    assert!(seen.under_way && !seen.satisfied, "{seen:?}");
    let done = perform(&clients, &armed, &call(), &seen).await.expect("cut off");
    assert_eq!(changes(&script), ["RebootDBInstance", "AddTagsToResource"]);
    assert_eq!(done.obligations, []);
    assert!(observe(&clients, &call()).await.expect("observed").satisfied);
}

#[tokio::test]
async fn an_address_that_still_accepts_connections_is_no_fence() {
    let mut known = old(&["available"]);
    known.replicas = 1;
    let script = rds(known);
    let (mut clients, _armed) = over(&script, still(), Some("sg-nothing"));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address").to_string();
    let mut estate = (*clients.estate).clone();
    estate.database.as_mut().expect("a database").primary.address = Some(address);
    clients.estate = Arc::new(estate);
    let with = PostgresFence {
        instance: "phoenix-prod".to_owned(),
        region: EAST.to_owned(),
        scope: FenceScope::Roles,
    };
    let error = super::perform(&clients, &call(), &with).await.expect_err("it lets in");
    assert!(error.message.contains("still accepts connections"), "{error}");
    assert_eq!(error.effect, Effect::Applied);
}

#[test]
fn in_the_simulation_the_primary_is_cut_off_in_its_time() {
    let mut world = phoenix();
    world.faults = vec!["refused@postgres".parse().expect("a fault")];
    let database = world.estate.database.as_mut().expect("a database");
    database.primary.fence_security_group = Some("sg-nothing".to_owned());
    let scene = Scene::of(world, &[]);
    let (clients, armed) = (&scene.clients, Armed::mint());
    let (done, _) = scene.run(async {
        let seen = observe(clients, &call()).await.expect("observed");
        let done = perform(clients, &armed, &call(), &seen).await.expect("cut off");
        assert!(observe(clients, &call()).await.expect("observed").satisfied);
        done
    });
    assert_eq!(done.obligations, [], "{:?}", done.notes);
    assert!(done.notes.iter().any(|note| note.contains("failed: no answer")), "{:?}", done.notes);
    assert_eq!(scene.sandbox.told().left, [] as [&str; 0]);
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_only_once() {
    let script = Script::new(|sent, before| match sent.action.as_str() {
        "DescribeDBInstances" => {
            let body = old(&["available"]).xml();
            Reply::Answer(
                200,
                format!(
                    "<DescribeDBInstancesResponse><DescribeDBInstancesResult>{body}</DescribeDBInstancesResult></DescribeDBInstancesResponse>"
                ),
            )
        }
        _ => query_error(500, "InternalFailure", &format!("try {before}")),
    });
    let (clients, armed) = over(&script, still(), None);
    let seen = observe(&clients, &call()).await.expect("observed");
    let error = perform(&clients, &armed, &call(), &seen).await.expect_err("nobody knows");
    assert_eq!(error.effect, Effect::Unknown, "{error}");
    let seen = observe(&clients, &call()).await.expect("observed");
    assert!(seen.waiver.is_none(), "{seen:?}");
    perform(&clients, &armed, &call(), &seen).await.expect_err("nobody knows");
    assert!(observe(&clients, &call()).await.expect("observed").waiver.is_some());
}

#[tokio::test]
async fn what_was_tried_in_vain_leaves_the_waiver_and_says_so() {
    let mut known = old(&["available"]);
    known.refuses = vec!["StopDBInstance"];
    let script = rds(known);
    let (clients, armed) = over(&script, still(), None);
    let seen = observe(&clients, &call()).await.expect("observed");
    let error = perform(&clients, &armed, &call(), &seen).await.expect_err("refused");
    assert_eq!((error.class, error.effect), (FailureClass::Transient, Effect::None), "{error}");
    let seen = observe(&clients, &call()).await.expect("observed");
    let waiver = seen.waiver.expect("what is left");
    assert_eq!(waiver.word, "unfenced");
    assert!(
        waiver.why.contains("StopDBInstance") && waiver.why.contains("AccessDenied"),
        "{}",
        waiver.why
    );
    // RDS stops nothing that has replicas: known before it is tried.
    let mut followed = old(&["available"]);
    followed.replicas = 1;
    let (clients, _armed) = over(&rds(followed), still(), None);
    let seen = observe(&clients, &call()).await.expect("observed");
    assert!(seen.waiver.expect("nothing else").why.contains("has replicas"));
}

#[tokio::test]
async fn writers_are_ended_where_only_the_cluster_answers() {
    let mut blind = old(&["available"]);
    blind.refuses = vec!["DescribeDBInstances"];
    let (clients, armed) = over(&rds(blind), Arc::new(RealClock), None);
    let fake = Fake::default();
    fake.serve_in(EAST, &clients).await;
    fake.deployment("prod", "api", 5);
    fake.deployment("prod", "worker", 2);
    fake.control(settle);
    let seen = observe(&clients, &call()).await.expect("observed");
    assert_eq!(seen.live["writers"], json!({ "prod/api": 5, "prod/worker": 2 }));
    assert_eq!(seen.commands[0], "kubectl -n prod scale deployment/api --replicas=0");
    let done = perform(&clients, &armed, &call(), &seen).await.expect("ended");
    assert_eq!(done.after["writers"], json!({ "prod/api": 0, "prod/worker": 0 }));
    assert_eq!(done.obligations[0].id, "unfenced-phoenix-prod", "others may still write");
    let now = observe(&clients, &call()).await.expect("observed");
    assert!(now.waiver.is_some(), "that the writers are gone is no fence");
    assert_eq!(now.live, done.after, "what this run did is seen all the same");
    let image = Image { before: seen.live.clone(), ours: done.after, now };
    revert(&clients, &armed, &call(), &image).await.expect("given back");
    assert_eq!(fake.object(&deployment_path("prod", "api"))["spec"]["replicas"], 5);

    // Who may not scale is told beforehand, and the way is closed.
    fake.state().denied.push("deployments/scale");
    let seen = observe(&clients, &call()).await.expect("observed");
    assert!(seen.waiver.expect("nothing is left").why.contains("may not patch deployments/scale"));
}
