//! The ways to keep a database from taking writes that PostgreSQL itself cannot be asked for.

use std::sync::{Arc, Mutex};

use super::*;
use crate::actions::kubernetes::fake::{Fake, deployment_path, settle};
use crate::actions::{observe, perform, revert};
use crate::clients::aws::testing::{Reply, Script, StepClock, query_error, timed};
use crate::clients::tcp::tests::closed;
use crate::clients::testing;
use crate::clock::{Clock, RealClock};
use crate::engine::ports::Armed;
use crate::runbook::catalogue::actions::ActionName;

const EAST: &str = "us-east-1";

/// The old primary as RDS of the lost region shows it.
#[derive(Default)]
struct Old {
    states: Vec<&'static str>,
    groups: Vec<String>,
    replicas: usize,
    tags: Vec<String>,
    refuses: Vec<&'static str>,
}

fn old(states: &[&'static str]) -> Old {
    Old { states: states.to_vec(), groups: vec!["sg-app".to_owned()], ..Old::default() }
}

impl Old {
    fn xml(&mut self) -> String {
        let state = if self.states.len() > 1 { self.states.remove(0) } else { self.states[0] };
        let groups: String = self
            .groups
            .iter()
            .map(|group| {
                format!("<VpcSecurityGroupMembership><VpcSecurityGroupId>{group}</VpcSecurityGroupId></VpcSecurityGroupMembership>")
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
        let mut body = String::new();
        match action {
            "DescribeDBInstances" => body = old.xml(),
            "StopDBInstance" => old.states = vec!["stopping", "stopped"],
            "StartDBInstance" => old.states = vec!["starting", "available"],
            "RebootDBInstance" => old.states = vec!["rebooting", "available"],
            "ModifyDBInstance" => {
                let group = sent.field("VpcSecurityGroupIds.VpcSecurityGroupId.1");
                old.groups = group.into_iter().collect();
                old.states = vec!["modifying", "available"];
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
