//! What leads to a name: a record and a Service, what they cannot say, and what resolvers keep.

use aws_sdk_route53::types::{
    Change, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet, RrType,
};
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::api::{Api, PostParams};

use super::*;
use crate::actions::postgres::Shop;
use crate::clients::aws::testing::{Reply, Script, timed};
use crate::clients::served::Served;

/// A private zone whose only record may have a target, with its TTL.
fn zone(target: Option<&'static str>, ttl: u32) -> (Script, Arc<Mutex<Option<String>>>) {
    const SPACE: &str = "xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"";
    let shared = Arc::new(Mutex::new(target.map(str::to_owned)));
    let inside = Arc::clone(&shared);
    let kept = Mutex::new(ttl.to_string());
    let script = Script::new(move |sent, _| {
        let mut ttl = kept.lock().expect("not poisoned");
        let mut target = inside.lock().expect("not poisoned");
        let set = target.as_ref().map(|target| format!(
            "<ResourceRecordSet><Name>db.internal.</Name><Type>CNAME</Type><TTL>{ttl}</TTL><ResourceRecords>\
             <ResourceRecord><Value>{target}</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>"
        ));
        let info = |kind: &str| {
            format!(
                "<{kind}Response {SPACE}><ChangeInfo><Id>/change/C1</Id><Status>INSYNC</Status>\
             <SubmittedAt>2026-11-22T02:18:00Z</SubmittedAt></ChangeInfo></{kind}Response>"
            )
        };
        Reply::Answer(
            200,
            if sent.action.starts_with("GET /2013-04-01/hostedzone/Z9/rrset") {
                format!(
                    "<ListResourceRecordSetsResponse {SPACE}><ResourceRecordSets>{}</ResourceRecordSets>\
                 <IsTruncated>false</IsTruncated><MaxItems>1</MaxItems></ListResourceRecordSetsResponse>",
                    set.unwrap_or_default()
                )
            } else if sent.action.starts_with("GET /2013-04-01/change/C1") {
                info("GetChange")
            } else {
                let inside = |tag: &str| {
                    sent.body
                        .split(&format!("<{tag}>"))
                        .nth(1)
                        .and_then(|rest| rest.split('<').next())
                };
                let value = inside("Value");
                inside("TTL").unwrap_or("5").clone_into(&mut ttl);
                *target = value.filter(|_| sent.body.contains("UPSERT")).map(str::to_owned);
                info("ChangeResourceRecordSets")
            },
        )
    });
    (script, shared)
}

#[tokio::test]
async fn a_cname_is_moved_and_given_back() {
    for before in [Some("old.example."), None] {
        let (script, target) = zone(before, 5);
        let record = json!({ "zone": "Z9", "name": "db.internal", "ttl": 5 });
        let application = json!({ "cname": record, "restart": ["prod/api"] });
        let Some((_server, database)) = replica(application).await else { return };
        let estate = testing::estate(json!({ "database": database }));
        let clients = timed(Arc::new(estate), &script, Arc::new(Quick::default()));
        let world = World::of(clients).await;
        world.arm();
        let call = call("new.example:5432");
        let seen = observe(&world.clients, &call).await.expect("observed");
        let done = perform(&world.clients, &world.armed, &call, &seen).await.expect("performed");
        assert_eq!(target.lock().expect("not poisoned").as_deref(), Some("new.example"));
        assert_eq!(world.pods_for("api"), "new.example:5432");
        assert!(observe(&world.clients, &call).await.expect("observed").satisfied);
        world.undo(&call, &seen.live, &done.after).await.expect("reverted");
        let plain = |name: &str| name.trim_end_matches('.').to_owned();
        assert_eq!(target.lock().expect("not poisoned").clone(), before.map(plain));
    }
}

/// Returns the target and TTL of the only record of a zone, as the server has it.
async fn kept(route53: &aws_sdk_route53::Client, zone: &str) -> Option<(String, Option<i64>)> {
    let found = route53.list_resource_record_sets().hosted_zone_id(zone).send().await;
    let found = found.expect("listed");
    let mut sets = found.resource_record_sets().iter().filter(|set| *set.r#type() == RrType::Cname);
    let set = sets.next()?;
    assert!(sets.next().is_none(), "one record and no more");
    assert_eq!(set.name(), "db.internal.");
    Some((set.resource_records().first()?.value().to_owned(), set.ttl()))
}

#[tokio::test]
async fn a_real_route_53_takes_the_name_and_gives_it_back() {
    let Some(shop) = Shop::open().await else { return };
    let (maker, _armed) = shop.armed(json!({}));
    let route53 = maker.aws.region("us-west-2").await.expect("clients").route53.clone();
    let made = route53.create_hosted_zone().name("internal").caller_reference("tests").send().await;
    let made = made.expect("a zone").hosted_zone().expect("a zone").id().to_owned();
    let zone = made.trim_start_matches("/hostedzone/");
    for before in [None, Some("old.example")] {
        if let Some(target) = before {
            let value = ResourceRecord::builder().value(target).build().expect("sound");
            let set =
                ResourceRecordSet::builder().name("db.internal").r#type(RrType::Cname).ttl(60);
            let set = set.resource_records(value).build().expect("sound");
            let change = Change::builder().action(ChangeAction::Create).resource_record_set(set);
            let batch = ChangeBatch::builder().changes(change.build().expect("sound")).build();
            let asked = route53.change_resource_record_sets().hosted_zone_id(zone);
            asked.change_batch(batch.expect("sound")).send().await.expect("a record");
        }
        let record = json!({ "zone": zone, "name": "db.internal", "ttl": 5 });
        let application = json!({ "cname": record, "restart": ["prod/api"] });
        let Some((_server, database)) = replica(application).await else { return };
        let estate = json!({ "database": database });
        let world = World::of(shop.clients_on(estate, Arc::new(Quick::default()))).await;
        let was = kept(&route53, zone).await;
        let call = call("new.example:5432");
        let seen = observe(&world.clients, &call).await.expect("observed");
        assert_eq!(kept(&route53, zone).await, was, "a look changes nothing");
        world.arm();
        let done = perform(&world.clients, &world.armed, &call, &seen).await.expect("performed");
        let (target, ttl) = kept(&route53, zone).await.expect("a record");
        assert_eq!((target.trim_end_matches('.'), ttl), ("new.example", Some(5)));
        assert_eq!(world.pods_for("api"), "new.example:5432");
        assert!(observe(&world.clients, &call).await.expect("observed").satisfied);
        world.undo(&call, &seen.live, &done.after).await.expect("reverted");
        let back = kept(&route53, zone).await;
        let back = back.map(|(target, ttl)| (target.trim_end_matches('.').to_owned(), ttl));
        assert_eq!(back, before.map(|target| (target.to_owned(), Some(60))));
    }
}

/// A world whose application is told by a record of a TTL, as an address is that it has now.
async fn recorded(ttl: u32) -> Option<(World, Arc<Mutex<Option<String>>>, Arc<Quick>, Server)> {
    let (script, target) = zone(Some("old.example"), ttl);
    let record = json!({ "zone": "Z9", "name": "db.internal", "ttl": 5 });
    let (server, database) = replica(json!({ "cname": record, "restart": ["prod/api"] })).await?;
    let estate = testing::estate(json!({ "database": database }));
    let clock = Arc::new(Quick::default());
    let shared: Arc<dyn Clock> = Arc::clone(&clock) as Arc<dyn Clock>;
    let world = World::of(timed(Arc::new(estate), &script, shared)).await;
    world.arm();
    Some((world, target, clock, server))
}

#[tokio::test]
async fn pods_are_restarted_once_no_resolver_keeps_the_former_answer() {
    let Some((world, target, clock, _server)) = recorded(300).await else { return };
    let call = call("new.example:5432");
    let seen = observe(&world.clients, &call).await.expect("observed");
    let said = "resolvers may keep the former answer for 5m";
    assert!(seen.evidence.iter().any(|line| line.starts_with(said)), "{:?}", seen.evidence);
    // An attempt that ends before would restart nothing.
    let soon = clock.now() + Duration::from_secs(200);
    let short = Call { progress: call.progress.clone().until(soon), ..call.clone() };
    let error = perform(&world.clients, &world.armed, &short, &seen).await.expect_err("too short");
    assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::None), "{error}");
    assert!(error.hint.expect("a way").contains("`timeout` of more than 6m"));
    assert_eq!(target.lock().expect("not poisoned").as_deref(), Some("old.example"));
    // When the pods were marked, on the clock of the waits.
    let marked = Arc::new(Mutex::new(None));
    let (inside, began) = (Arc::clone(&marked), *clock.0.lock().expect("not poisoned"));
    let told = Arc::clone(&clock);
    world.fake.control(move |state| {
        settle(state);
        let path = deployment_path("prod", "api");
        let mark = &state.objects[&path]["spec"]["template"]["metadata"]["annotations"][MARK];
        if mark == "new.example:5432" {
            let now = *told.0.lock().expect("not poisoned");
            inside.lock().expect("not poisoned").get_or_insert(now - began);
        }
    });
    perform(&world.clients, &world.armed, &call, &seen).await.expect("performed");
    let marked = marked.lock().expect("not poisoned").expect("restarted");
    assert!(marked >= Duration::from_secs(300), "{marked:?}");
    assert_eq!(target.lock().expect("not poisoned").as_deref(), Some("new.example"));
}

#[tokio::test]
async fn what_leads_to_a_name_is_not_led_to_an_address_or_to_another_port() {
    let record = json!({ "zone": "Z9", "name": "db.internal" });
    let service = json!({ "namespace": "prod", "name": "db" });
    for (way, what) in [("cname", "CNAME db.internal"), ("service", "Service prod/db")] {
        let told = if way == "cname" { record.clone() } else { service.clone() };
        let world = World::new(json!({ way: told })).await;
        for (address, said) in [
            ("10.1.2.3:5432", "leads to a name, and replica is at 10.1.2.3:5432, which has none"),
            ("[fd00::1]:5432", "which has none"),
            (
                "new.example:5433",
                "the application connects to 5432 now, and replica listens at 5433",
            ),
        ] {
            let error = observe(&world.clients, &call(address)).await.expect_err(address);
            assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::None));
            assert!(error.message.contains(said) && error.message.contains(what), "{error}");
            assert!(error.hint.expect("a way").contains("`config_map`"));
        }
    }
}

#[tokio::test]
async fn a_service_stands_for_another_name_and_is_given_back() {
    const SERVICE: &str = "/api/v1/namespaces/prod/services/db";
    let told = json!({ "service": { "namespace": "prod", "name": "db" }, "restart": ["prod/api"] });
    let Some((world, _server)) = World::with_database(told).await else { return };
    let service = |kind: &str, name: &str| {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "db", "namespace": "prod" },
            "spec": { "type": kind, "externalName": name, "sessionAffinity": "None" },
        })
    };
    let call = call("new.example:5432");
    world.fake.put(SERVICE, service("ClusterIP", "old.example"));
    let error = observe(&world.clients, &call).await.expect_err("it leads to pods");
    assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::None), "{error}");
    assert!(error.message.contains("is of type ClusterIP"), "{error}");
    world.fake.put(SERVICE, service("ExternalName", "old.example"));
    let seen = observe(&world.clients, &call).await.expect("observed");
    assert_eq!(seen.live["endpoint"], json!({ "externalName": "old.example" }));
    let command = &seen.commands[0];
    assert!(command.contains("patch service db --type merge -p"), "{command}");
    let done = perform(&world.clients, &world.armed, &call, &seen).await.expect("performed");
    let spec = world.fake.object(SERVICE)["spec"].clone();
    assert_eq!(spec["externalName"], "new.example");
    assert_eq!(spec["sessionAffinity"], "None", "nothing else of it is touched");
    assert_eq!(world.pods_for("api"), "new.example:5432");
    assert!(observe(&world.clients, &call).await.expect("observed").satisfied);
    // Somebody else's is left alone.
    world.fake.put(SERVICE, service("ExternalName", "theirs.example"));
    let error = world.undo(&call, &seen.live, &done.after).await.expect_err("theirs");
    assert_eq!(error.class, FailureClass::Conflict, "{error}");
    world.fake.put(SERVICE, service("ExternalName", "new.example"));
    world.undo(&call, &seen.live, &done.after).await.expect("reverted");
    assert_eq!(world.fake.object(SERVICE)["spec"]["externalName"], "old.example");
}

#[tokio::test]
async fn a_real_api_server_takes_the_name_and_gives_it_back() {
    let Some(served) = Served::start(&[]) else { return };
    let namespace = format!("phoenix-dr-{}", ulid::Ulid::generate().to_string().to_lowercase());
    let told = json!({ "service": { "namespace": namespace, "name": "db" } });
    let Some((server, database)) = replica(told).await else { return };
    let known = json!({ "context": "eks-us-west-2", "kubeconfig": served.variable("KUBECONFIG") });
    let estate = json!({ "database": database, "clusters": { "us-west-2": known } });
    let estate = Arc::new(testing::estate(estate));
    let clients = || Clients::new(Arc::clone(&estate), Guard::closed(), Arc::new(RealClock));
    // What the test makes goes the way of a change.
    let (maker, armed) = (clients(), Armed::mint());
    maker.guard.open(&armed);
    let client = cluster(&maker, "us-west-2").await.expect("connects").client.clone();
    let clients = clients();
    let made = serde_json::from_value(json!({ "metadata": { "name": namespace } }));
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.create(&PostParams::default(), &made.expect("sound")).await.expect("a namespace");
    let services: Api<Service> = Api::namespaced(client, &namespace);
    let made = serde_json::from_value(json!({
        "metadata": { "name": "db" }, "spec": { "type": "ExternalName", "externalName": "old.example" },
    }));
    services.create(&PostParams::default(), &made.expect("sound")).await.expect("a Service");
    let now = || async {
        let found = services.get("db").await.expect("there");
        found.spec.expect("a spec").external_name.expect("a name")
    };
    let call = call("new.example:5432");
    let seen = observe(&clients, &call).await.expect("observed");
    assert_eq!(seen.fidelity, Fidelity::Validated, "the server itself has checked the change");
    assert_eq!(now().await, "old.example");
    clients.guard.open(&armed);
    let done = perform(&clients, &armed, &call, &seen).await.expect("performed");
    assert_eq!(now().await, "new.example");
    let image = Image {
        before: seen.live.clone(),
        ours: done.after,
        now: observe(&clients, &call).await.expect("observed"),
    };
    revert(&clients, &armed, &call, &image).await.expect("reverted");
    assert_eq!(now().await, "old.example");
    drop(server);
}
