use std::sync::Arc;
use std::time::Duration;

use aws_sdk_rds::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_rds::operation::delete_db_instance::DeleteDBInstanceError;
use jiff::Timestamp;
use serde_json::json;

use super::fault::Rule;
use super::world::{self, World};
use super::*;
use crate::clients::Clients;
use crate::clients::guard::Guard;
use crate::clients::postgres::{connect, prove_writable, replay_lag};
use crate::clock::jump::{JumpClock, Pace};
use crate::engine::ports::Armed;
use crate::ids::RunId;

pub(crate) fn phoenix() -> World {
    world::parse("phoenix", world::shipped("phoenix").expect("it is shipped"))
        .unwrap_or_else(|problems| panic!("{}", problems.render(false)))
}

fn clock() -> JumpClock {
    JumpClock::at("2026-11-22T02:18:00Z".parse().expect("an instant"), Pace::Max)
}

/// A rehearsal's simulation, and clients that may change it.
pub(crate) struct Scene {
    pub clock: JumpClock,
    pub clients: Clients,
    pub sandbox: Sandbox,
}

impl Scene {
    pub(crate) fn of(world: World, faults: &[&str]) -> Self {
        let clock = clock();
        let faults: Vec<Rule> =
            faults.iter().map(|fault| fault.parse().expect("a fault")).collect();
        let beginning = Beginning { world, faults, seed: 7, secret: false };
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let sandbox = Sandbox::begin(beginning, shared.clone(), None).expect("it begins");
        let guard = Guard::closed();
        guard.open(&Armed::mint());
        let estate = Arc::new(sandbox.world().estate.clone());
        let clients = Clients::simulated(estate, guard, shared, sandbox.clone());
        Self { clock, clients, sandbox }
    }

    pub(crate) fn new(faults: &[&str]) -> Self {
        Self::of(phoenix(), faults)
    }

    /// Runs work in virtual time; returns what it gave and how long it took.
    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> (T, Duration) {
        let began = self.clock.now();
        let runtime = self.clock.runtime().expect("a runtime");
        let done = runtime.block_on(work);
        (done, since(began, self.clock.now()))
    }
}

fn code<E: aws_sdk_rds::error::ProvideErrorMetadata>(
    result: Result<impl Sized, SdkError<E>>,
) -> String {
    let error = result.err().expect("it is refused");
    error.code().unwrap_or("no code").to_owned()
}

#[test]
fn the_shipped_world_is_sound() {
    let world = phoenix();
    assert_eq!(world.estate.services.len(), 9);
    let schema = world::schema();
    let kept = std::fs::read_to_string("docs/world.schema.json").unwrap_or_default();
    let now = format!("{}\n", serde_json::to_string_pretty(&schema).expect("a schema"));
    if std::env::var_os("PHOENIX_DR_WRITE_SCHEMA").is_some() {
        std::fs::write("docs/world.schema.json", &now).expect("written");
        return;
    }
    assert_eq!(kept, now, "write it anew: PHOENIX_DR_WRITE_SCHEMA=1 cargo test the_shipped_world");
}

#[test]
fn what_is_wrong_with_a_world_is_told_with_its_place() {
    let text = world::shipped("phoenix").expect("it is shipped");
    for (from, to, said) in [
        ("type: postgres\n", "type: postgre\n", "postgre"),
        (
            "id: phoenix-dr-replica\n    body:\n      system",
            "id: phoenix-replica\n    body:\n      system",
            "no rds.instance `phoenix-replica`",
        ),
        ("format: 1", "format: 2", "format 2 is not known"),
        (
            "fault: dark, region: us-east-1",
            "fault: dark, region: us-east-9",
            "no region `us-east-9`",
        ),
        ("HealthCheckId: 0123", "HealthCheckId: x123", "no route53.health_check"),
        ("ports: [443]", "ports: https", "ports"),
        (
            "workloads: [phoenix-system/phoenix-api]",
            "workloads: [phoenix-system/phoenix-apy]",
            "did you mean",
        ),
        ("      replayed: now-7s", "      replayed: yesterday", "replayed"),
        ("    id: phoenix-db-usw2", "    id: phoenix-db-usw3", "must be the object's id"),
    ] {
        assert!(text.contains(from), "{from}");
        let problems = world::parse("w", text.replacen(from, to, 1)).expect_err(said);
        let rendered = problems.render(false);
        assert!(rendered.contains(said), "{said}: {rendered}");
    }
}

#[test]
fn a_dark_region_takes_what_lives_there_with_it() {
    let scene = Scene::new(&[]);
    let ((rds, route53, here), took) = scene.run(async {
        let east = scene.clients.aws.region("us-east-1").await.expect("clients");
        let west = scene.clients.aws.region("us-west-2").await.expect("clients");
        let rds = east.rds.describe_db_instances().send().await;
        let zone = "Z0123456789ABCDEFGHIJ";
        let route53 = west.route53.list_resource_record_sets().hosted_zone_id(zone).send().await;
        (rds.is_err(), route53.is_err(), west.rds.describe_db_instances().send().await)
    });
    assert!(rds && route53);
    assert_eq!(here.expect("it answers").db_instances().len(), 1);
    // Two connections that were never accepted, three seconds each.
    assert!((6..8).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn a_promotion_takes_its_time_and_gives_a_database_that_takes_writes() {
    let scene = Scene::new(&[]);
    let run = RunId("01JD0000000000000000000001".to_owned());
    let (writable, took) = scene.run(async {
        let aws = scene.clients.aws.region("us-west-2").await.expect("clients");
        let replica = "phoenix-dr-replica";
        let lag = replay_lag(&scene.clients, replica, "us-west-2", None).await.expect("a lag");
        assert!(lag.expect("it is known").0 < Duration::from_secs(10));
        let early = prove_writable(&scene.clients, replica, "us-west-2", None, &run, None).await;
        assert!(early.is_err(), "a replica takes no writes");
        let promote = || aws.rds.promote_read_replica().db_instance_identifier(replica).send();
        promote().await.expect("accepted");
        assert_eq!(code(promote().await), "InvalidDBInstanceState");
        loop {
            scene.clock.sleep(Duration::from_secs(10)).await;
            let found =
                prove_writable(&scene.clients, replica, "us-west-2", None, &run, None).await;
            if let Ok(writable) = found {
                return writable;
            }
        }
    });
    assert!(writable.identity.ends_with("/2"), "{}", writable.identity);
    assert!((420..460).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn rds_refuses_what_it_would_refuse() {
    let scene = Scene::new(&[]);
    scene.run(async {
        let aws = scene.clients.aws.region("us-west-2").await.expect("clients");
        let rds = &aws.rds;
        let missing = rds.describe_db_instances().db_instance_identifier("nope").send().await;
        assert_eq!(code(missing), "DBInstanceNotFound");
        let restore = |subnets: &str, id: &str| {
            rds.restore_db_instance_from_db_snapshot()
                .db_snapshot_identifier("phoenix-prod-daily")
                .db_instance_identifier(id)
                .db_subnet_group_name(subnets)
                .send()
        };
        assert_eq!(code(restore("nope", "new").await), "DBSubnetGroupNotFoundFault");
        restore("phoenix-db-usw2", "new").await.expect("accepted");
        assert_eq!(code(restore("phoenix-db-usw2", "new").await), "DBInstanceAlreadyExists");
        let protected = rds.modify_db_instance().db_instance_identifier("phoenix-dr-replica");
        protected.deletion_protection(true).send().await.expect("accepted");
        let delete = rds.delete_db_instance().db_instance_identifier("phoenix-dr-replica");
        let delete = delete.skip_final_snapshot(true).send().await;
        assert_eq!(code(delete), "InvalidParameterCombination");
    });
}

#[test]
fn s3_holds_its_conditions() {
    let scene = Scene::new(&[]);
    scene.run(async {
        let aws = scene.clients.aws.region("us-west-2").await.expect("clients");
        let put = || aws.s3.put_object().bucket("phoenix-dr-state").key("lease.json");
        let body = |text: &str| aws_sdk_s3::primitives::ByteStream::from(text.as_bytes().to_vec());
        let first = put().if_none_match("*").body(body("1")).send().await.expect("written");
        let second = put().if_none_match("*").body(body("2")).send().await;
        assert_eq!(code(second), "PreconditionFailed");
        let tag = first.e_tag().expect("a tag").to_owned();
        let third = put().if_match(&tag).body(body("3")).send().await.expect("written");
        assert_eq!(code(put().if_match(&tag).body(body("4")).send().await), "PreconditionFailed");
        let found = aws.s3.get_object().bucket("phoenix-dr-state").key("lease.json").send().await;
        let found = found.expect("it is there");
        assert_eq!(found.e_tag(), third.e_tag());
        assert_eq!(found.body.collect().await.expect("a body").to_vec(), b"3");
        let gone = aws.s3.get_object().bucket("phoenix-dr-state").key("nope").send().await;
        assert_eq!(code(gone), "NoSuchKey");
    });
}

#[test]
fn the_failover_object_moves_what_resolvers_answer() {
    let scene = Scene::new(&[]);
    scene.run(async {
        let ask = || scene.sandbox.question("1.1.1.1:53", "app.phoenix.example", "A");
        assert_eq!(ask().await, Some(vec!["198.51.100.11".to_owned()]), "still the lost one");
        let aws = scene.clients.aws.region("us-west-2").await.expect("clients");
        let put = aws.s3.put_object().bucket("phoenix-dr-switch").key("failed-over");
        put.send().await.expect("written");
        scene.clock.sleep(Duration::from_secs(20)).await;
        assert_eq!(ask().await, Some(vec!["198.51.100.11".to_owned()]), "nobody believes it yet");
        scene.clock.sleep(Duration::from_secs(90)).await;
        assert_eq!(ask().await, Some(vec!["203.0.113.11".to_owned()]));
    });
}

#[test]
fn record_sets_change_whole_or_not_at_all() {
    use aws_sdk_route53::types::{
        Change, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet, RrType,
    };
    let mut world = phoenix();
    world.faults.clear();
    let scene = Scene::of(world, &[]);
    scene.run(async {
        let aws = scene.clients.aws.region("us-west-2").await.expect("clients");
        let set = |name: &str, identifier: &str, weight: i64| {
            let record = ResourceRecord::builder().value("x.example").build().expect("a record");
            let set = ResourceRecordSet::builder().name(name).r#type(RrType::Cname).ttl(60);
            let set = set.set_identifier(identifier).weight(weight).resource_records(record);
            let set = set.build().expect("a set");
            Change::builder().action(ChangeAction::Upsert).resource_record_set(set).build()
        };
        let zone = "Z0123456789ABCDEFGHIJ";
        let change = |changes: Vec<Change>| {
            let batch = ChangeBatch::builder().set_changes(Some(changes)).build().expect("a batch");
            let request = aws.route53.change_resource_record_sets().hosted_zone_id(zone);
            request.change_batch(batch).send()
        };
        let app = "app.phoenix.example";
        let good = set(app, "use1", 0).expect("a change");
        let bad = set("elsewhere.example", "x", 0).expect("a change");
        assert_eq!(code(change(vec![good.clone(), bad]).await), "InvalidChangeBatch");
        let weights = || async {
            let sets = aws.route53.list_resource_record_sets().hosted_zone_id(zone).send().await;
            let sets = sets.expect("sets");
            sets.resource_record_sets().iter().map(|set| set.weight()).collect::<Vec<_>>()
        };
        assert_eq!(weights().await, [Some(100), Some(0)], "nothing of it was done");
        let done = change(vec![good]).await.expect("accepted");
        assert_eq!(weights().await, [Some(0), Some(0)]);
        let id = done.change_info().expect("it is named").id().to_owned();
        let status = || async {
            let change = aws.route53.get_change().id(&id).send().await.expect("it is known");
            change.change_info().expect("it is told").status().as_str().to_owned()
        };
        assert_eq!(status().await, "PENDING");
        scene.clock.sleep(Duration::from_secs(40)).await;
        assert_eq!(status().await, "INSYNC");
    });
}

#[test]
fn faults_are_told_as_each_service_tells_them() {
    let scene = Scene::new(&[
        "throttled@rds,times=1",
        "throttled@s3,times=1",
        "denied@sts",
        "expired@rds,spare=1,times=1",
    ]);
    scene.run(async {
        let aws = scene.clients.aws.region("us-west-2").await.expect("clients");
        assert_eq!(code(aws.rds.describe_db_instances().send().await), "Throttling");
        aws.rds.describe_db_instances().send().await.expect("once only");
        assert_eq!(code(aws.rds.describe_db_instances().send().await), "ExpiredToken");
        let list = aws.s3.list_objects_v2().bucket("phoenix-dr-state");
        assert_eq!(code(list.send().await), "SlowDown");
        assert_eq!(code(aws.sts.get_caller_identity().send().await), "AccessDenied");
    });
    let told = scene.sandbox.told();
    let struck: Vec<u32> = told.faults.iter().map(|told| told.struck).collect();
    assert_eq!(struck, [0, 1, 1, 1, 1]);
}

#[test]
fn a_lost_answer_was_carried_out() {
    let scene = Scene::new(&["lost_answer@rds/PromoteReadReplica,times=1"]);
    let (_, took) = scene.run(async {
        let aws = scene.clients.aws.region("us-west-2").await.expect("clients");
        let promote = aws.rds.promote_read_replica().db_instance_identifier("phoenix-dr-replica");
        assert!(promote.send().await.is_err());
        let found = aws.rds.describe_db_instances().send().await.expect("it answers");
        assert_eq!(found.db_instances()[0].db_instance_status(), Some("modifying"));
    });
    assert!((20..31).contains(&took.as_secs()), "as long as an answer is waited for: {took:?}");
}

#[test]
fn stale_and_stuck() {
    let scene = Scene::new(&["stale@rds/Describe,times=1", "stuck@rds/Promote"]);
    scene.run(async {
        let aws = scene.clients.aws.region("us-west-2").await.expect("clients");
        let promote = aws.rds.promote_read_replica().db_instance_identifier("phoenix-dr-replica");
        promote.send().await.expect("accepted");
        scene.clock.sleep(Duration::from_secs(10)).await;
        let status = || async {
            let found = aws.rds.describe_db_instances().send().await.expect("it answers");
            found.db_instances()[0].db_instance_status().unwrap_or_default().to_owned()
        };
        assert_eq!(status().await, "available", "as before");
        assert_eq!(status().await, "modifying");
        scene.clock.sleep(Duration::from_secs(86_400)).await;
        assert_eq!(status().await, "modifying", "for ever");
    });
}

/// The shipped world with its lost region there again, and a security group to cut the primary off with.
fn with_groups() -> World {
    let mut world = phoenix();
    world.faults.clear();
    let database = world.estate.database.as_mut().expect("a database");
    database.primary.fence_security_group = Some("sg-nothing".to_owned());
    let mut objects = world.objects.iter_mut();
    let primary = objects.find(|object| object.id == "phoenix-prod").expect("the primary");
    let groups = json!([{ "VpcSecurityGroupId": "sg-app", "Status": "active" }]);
    let mut body = primary.body.decode().into_owned();
    body.insert("VpcSecurityGroups".to_owned(), groups);
    primary.body = world::Body::Known(body);
    world
}

#[test]
fn security_groups_change_after_a_while_and_the_fence_lets_nothing_in() {
    let scene = Scene::of(with_groups(), &[]);
    scene.run(async {
        let aws = scene.clients.aws.region("us-east-1").await.expect("clients");
        let groups = || async {
            let found = aws.rds.describe_db_instances().db_instance_identifier("phoenix-prod");
            let found = found.send().await.expect("described");
            let instance = &found.db_instances()[0];
            let each = instance.vpc_security_groups().iter();
            let each = each.map(|group| (group.vpc_security_group_id(), group.status()));
            each.map(|(id, state)| format!("{} {}", id.unwrap_or(""), state.unwrap_or("")))
                .collect::<Vec<_>>()
        };
        let reach = || async {
            let host = "phoenix-prod.c1x2y3.us-east-1.rds.amazonaws.com";
            scene.sandbox.reach(host, 5432, Duration::from_secs(3)).await
        };
        assert_eq!(groups().await, ["sg-app active"]);
        reach().await.expect("it lets in");
        let change = aws.rds.modify_db_instance().db_instance_identifier("phoenix-prod");
        change.vpc_security_group_ids("sg-nothing").send().await.expect("accepted");
        assert_eq!(groups().await, ["sg-nothing adding", "sg-app removing"]);
        reach().await.expect("it lets in until the old group is gone");
        scene.clock.sleep(Duration::from_secs(60)).await;
        assert_eq!(groups().await, ["sg-nothing active"]);
        assert_eq!(reach().await, Err(NoWay::Silent));
    });
}

#[test]
fn a_change_of_an_instance_that_is_not_simulated_is_refused_and_remembered() {
    let scene = Scene::new(&[]);
    scene.run(async {
        let aws = scene.clients.aws.region("us-west-2").await.expect("clients");
        let change = aws.rds.modify_db_instance().db_instance_identifier("phoenix-dr-replica");
        assert_eq!(code(change.publicly_accessible(true).send().await), "InvalidAction");
    });
    let left = scene.sandbox.told().left;
    assert!(left.len() == 1 && left[0].contains("PubliclyAccessible"), "{left:?}");
}

#[test]
fn what_is_not_known_is_refused_and_remembered() {
    let scene = Scene::new(&[]);
    scene.run(async {
        let aws = scene.clients.aws.region("us-west-2").await.expect("clients");
        let users = aws.rds.describe_events().send().await;
        assert_eq!(code(users), "InvalidAction");
        let mut session = connect(&scene.clients, "phoenix-dr-replica", None).await.expect("in");
        let asked = session.read(&scene.clients, "count", "select count(*) from orders", &[]).await;
        assert!(asked.is_err_and(|error| error.message.contains("not simulated")));
    });
    let left = scene.sandbox.told().left;
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left[0].contains("DescribeEvents") && left[1].contains("orders"), "{left:?}");
}

#[test]
fn a_world_answers_the_queries_it_names() {
    let mut world = phoenix();
    for object in &mut world.objects {
        if object.kind == world::Kind::Postgres {
            let answers = json!({ "select count(*) from orders": 7 });
            let mut body = object.body.decode().into_owned();
            body.insert("answers".to_owned(), answers);
            object.body = world::Body::Known(body);
        }
    }
    let scene = Scene::of(world, &[]);
    scene.run(async {
        let mut session = connect(&scene.clients, "phoenix-dr-replica", None).await.expect("in");
        let row = session.read_one(&scene.clients, "count", "select count(*)\n  from orders", &[]);
        let row = row.await.expect("a row");
        assert_eq!(row.get::<_, i64>(0), 7);
    });
    assert!(scene.sandbox.told().left.is_empty());
}

#[test]
fn a_world_goes_on_as_its_log_has_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let scene = Scene::new(&[]);
    let beginning = Beginning {
        world: phoenix(),
        faults: [
            "throttled@rds/Promote,times=1",
            "denied@rds/Delete,spare=2,times=1",
            "denied@rds/Describe,region=us-west-2,until=1s",
        ]
        .map(|fault| fault.parse().expect("a fault"))
        .to_vec(),
        seed: 7,
        secret: false,
    };
    let shared: Arc<dyn Clock> = Arc::new(scene.clock.clone());
    let sandbox =
        Sandbox::begin(beginning, shared.clone(), Some(directory.path())).expect("begins");
    let guard = Guard::closed();
    guard.open(&Armed::mint());
    let estate = Arc::new(sandbox.world().estate.clone());
    let clients = Clients::simulated(estate.clone(), guard.clone(), shared, sandbox.clone());
    scene.run(async {
        let aws = clients.aws.region("us-west-2").await.expect("clients");
        let promote =
            || aws.rds.promote_read_replica().db_instance_identifier("phoenix-dr-replica");
        assert_eq!(code(promote().send().await), "Throttling");
        promote().send().await.expect("accepted");
        assert_eq!(code(delete(&clients).await), "DBInstanceNotFound", "spared");
        scene.clock.sleep(Duration::from_secs(60)).await;
        for _ in 0..2 {
            let lost = clients.aws.region("us-east-1").await.expect("clients");
            lost.rds.describe_db_instances().send().await.expect_err("it is dark");
        }
        status(&clients).await
    });
    drop((clients, sandbox));
    // A line that was not written whole is as if it had not happened.
    let path = directory.path().join(log::FILE_NAME);
    let mut torn = std::fs::read(&path).expect("a log");
    torn.extend(b"{\"kind\":\"put\",");
    std::fs::write(&path, torn).expect("written");
    let resumed = Resumed::read(directory.path()).expect("it is read");
    let until = resumed.until;
    assert!(since(scene_began(), until) >= Duration::from_secs(30), "{until}");
    let later = JumpClock::at(until, Pace::Max);
    let shared: Arc<dyn Clock> = Arc::new(later.clone());
    let sandbox = Sandbox::go_on(resumed, shared.clone()).expect("it goes on");
    let told = sandbox.told().faults;
    assert_eq!(told[1].struck, 1, "a fault that struck has struck");
    assert_eq!(told[0].struck, 1, "so has what strikes with every call, however often: {told:?}");
    let never: Vec<&str> =
        told.iter().filter_map(|told| Some(told.never.as_ref()?.because())).collect();
    assert_eq!(never, ["spared", "too_late"]);
    let clients = Clients::simulated(estate, guard, shared, sandbox);
    let runtime = later.runtime().expect("a runtime");
    runtime.block_on(async {
        assert_eq!(code(delete(&clients).await), "DBInstanceNotFound", "the second that is spared");
        assert_eq!(code(delete(&clients).await), "AccessDenied", "not spared any more");
        assert_eq!(status(&clients).await.as_deref(), Some("modifying"));
        later.sleep(Duration::from_secs(700)).await;
        assert_eq!(status(&clients).await.as_deref(), Some("available"));
    });
}

async fn delete(clients: &Clients) -> Result<impl Sized, SdkError<DeleteDBInstanceError>> {
    let aws = clients.aws.region("us-west-2").await.expect("clients");
    let delete = aws.rds.delete_db_instance().db_instance_identifier("nobody");
    delete.skip_final_snapshot(true).send().await
}

async fn status(clients: &Clients) -> Option<String> {
    let aws = clients.aws.region("us-west-2").await.expect("clients");
    let found = aws.rds.describe_db_instances().send().await.expect("it answers");
    found.db_instances()[0].db_instance_status().map(str::to_owned)
}

fn scene_began() -> Timestamp {
    "2026-11-22T02:18:00Z".parse().expect("an instant")
}
