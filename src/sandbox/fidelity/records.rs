//! Route 53: zones, record sets of every routing, batches, pages, health checks.

use aws_sdk_route53::error::SdkError;
use aws_sdk_route53::operation::list_resource_record_sets::ListResourceRecordSetsOutput;
use aws_sdk_route53::types::{
    AliasTarget, Change, ChangeAction, ChangeBatch, ChangeStatus, GeoLocation, HealthCheckConfig,
    HealthCheckType, ResourceRecord, ResourceRecordSet, ResourceRecordSetFailover,
    ResourceRecordSetRegion, RrType,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use serde_json::{Value, json};

use super::side::Side;
use super::told::{Notes, done, told};

const ZONE: &str = "fidelity.example.";

/// A record set under construction.
type Set = aws_sdk_route53::types::builders::ResourceRecordSetBuilder;

fn set(name: &str, kind: RrType, ttl: i64, values: &[&str]) -> Set {
    let value = |value: &&str| ResourceRecord::builder().value(*value).build().expect("a value");
    let set = ResourceRecordSet::builder().name(name).r#type(kind).ttl(ttl);
    set.set_resource_records(Some(values.iter().map(value).collect()))
}

fn a(name: &str) -> Set {
    set(name, RrType::A, 60, &["192.0.2.1"])
}

fn batch(changes: Vec<(ChangeAction, Set)>) -> ChangeBatch {
    let change = |(action, set): (ChangeAction, Set)| {
        let set = set.build().expect("a set");
        Change::builder().action(action).resource_record_set(set).build().expect("a change")
    };
    let changes = changes.into_iter().map(change).collect();
    ChangeBatch::builder().set_changes(Some(changes)).build().expect("a batch")
}

fn shown(found: &ListResourceRecordSetsOutput) -> Value {
    let one = |set: &ResourceRecordSet| {
        let values = set.resource_records().iter().map(ResourceRecord::value);
        let of_server = matches!(set.r#type(), RrType::Ns | RrType::Soa);
        json!({
            "name": set.name(), "type": set.r#type().as_str(), "ttl": set.ttl(),
            "values": if of_server { Vec::new() } else { values.collect::<Vec<_>>() },
            "set": set.set_identifier(), "weight": set.weight(),
            "failover": set.failover().map(|role| role.as_str()),
            "region": set.region().map(|region| region.as_str()),
            "place": set.geo_location().map(|place| {
                json!([place.continent_code(), place.country_code(), place.subdivision_code()])
            }),
            "several": set.multi_value_answer(),
            "alias": set.alias_target().map(|alias| {
                json!([alias.dns_name(), alias.evaluate_target_health()])
            }),
        })
    };
    json!({
        "sets": found.resource_record_sets().iter().map(one).collect::<Vec<_>>(),
        "more": found.is_truncated(),
        "next": [found.next_record_name(), found.next_record_type().map(|kind| kind.as_str()),
                 found.next_record_identifier()],
    })
}

pub(super) async fn ask(side: &Side, notes: &mut Notes) {
    let zone = zones(side, notes).await;
    simple(side, notes, &zone).await;
    routed(side, notes, &zone).await;
    pages(side, notes, &zone).await;
    checks(side, notes, &zone).await;
    ended(side, notes, &zone).await;
}

async fn zones(side: &Side, notes: &mut Notes) -> String {
    let route53 = &side.west.route53;
    let create = || route53.create_hosted_zone().name(ZONE).caller_reference("fidelity").send();
    let made = create().await;
    notes.note(
        "route53: a zone is made",
        told(&made, |made| {
            let zone = made.hosted_zone().map(|zone| json!([zone.name(), zone.resource_record_set_count()]));
            let servers = made.delegation_set().map(|set| set.name_servers().len());
            json!({ "zone": zone, "change": made.change_info().map(|info| info.status().as_str()), "servers": servers })
        }),
    );
    notes.note("route53: a zone is made again", done(&create().await));
    let id = made.ok().and_then(|made| made.hosted_zone.map(|zone| zone.id)).unwrap_or_default();
    let id = id.trim_start_matches("/hostedzone/").to_owned();
    let found = route53.get_hosted_zone().id(&id).send().await;
    notes.note(
        "route53: a zone",
        told(&found, |found| {
            json!(found.hosted_zone().map(|zone| (zone.name(), zone.caller_reference())))
        }),
    );
    let missing = route53.get_hosted_zone().id("ZNONE").send().await;
    notes.note("route53: a zone that is not there", done(&missing));
    let named = route53.list_hosted_zones_by_name().dns_name(ZONE).max_items(1).send().await;
    notes.note(
        "route53: zones by name",
        told(&named, |found| {
            json!(found.hosted_zones().iter().map(|zone| zone.name()).collect::<Vec<_>>())
        }),
    );
    listed(side, notes, &id).await;
    let sets = route53.list_resource_record_sets().hosted_zone_id(&id).send().await;
    notes.note("route53: what a zone begins with", told(&sets, shown));
    let missing = route53.list_resource_record_sets().hosted_zone_id("ZNONE").send().await;
    notes.note("route53: the records of a zone that is not there", done(&missing));
    id
}

/// Every zone, in pages of one: their order is the service's own.
async fn listed(side: &Side, notes: &mut Notes, id: &str) {
    let list = || side.west.route53.list_hosted_zones();
    let all = list().send().await;
    notes.note(
        "route53: zones",
        told(&all, |all| {
            let found = all.hosted_zones().iter().find(|zone| zone.id().ends_with(id));
            let found = found.map(|zone| {
                let private = zone.config().map(|config| config.private_zone());
                json!([zone.name(), zone.resource_record_set_count(), private])
            });
            json!({ "zone": found, "more": all.is_truncated(), "next": all.next_marker() })
        }),
    );
    let count = all.map(|all| all.hosted_zones().len()).unwrap_or_default();
    let (mut paged, mut marker) = (Vec::new(), None);
    for _ in 0..=count {
        let page = list().max_items(1).set_marker(marker.take()).send().await;
        let Ok(page) = page else { break };
        paged.extend(page.hosted_zones().iter().map(|zone| zone.id().to_owned()));
        marker = page.next_marker;
        if marker.is_none() {
            break;
        }
    }
    paged.sort_unstable();
    paged.dedup();
    notes.note("route53: zones in pages are all zones", json!(paged.len() == count));
    let unknown = list().marker("ZNONE").send().await;
    notes.note("route53: zones from one on that is not there", done(&unknown));
}

/// Makes a batch of changes in a zone.
async fn change(
    side: &Side,
    zone: &str,
    changes: Vec<(ChangeAction, Set)>,
) -> Result<String, SdkError<impl ProvideErrorMetadata + use<>, HttpResponse>> {
    let request = side.west.route53.change_resource_record_sets().hosted_zone_id(zone);
    let answer = request.change_batch(batch(changes)).send().await?;
    Ok(answer.change_info().map(|info| info.id().to_owned()).unwrap_or_default())
}

async fn simple(side: &Side, notes: &mut Notes, zone: &str) {
    use ChangeAction::{Create, Delete, Upsert};
    let route53 = &side.west.route53;
    let made = change(side, zone, vec![(Create, a("a.fidelity.example"))]).await;
    notes.note("route53: a record is made", done(&made));
    let id = made.unwrap_or_default();
    let status = || async {
        let found = route53.get_change().id(&id).send().await.ok()?;
        Some(found.change_info()?.status().clone())
    };
    notes.note(
        "route53: a change at first",
        json!(status().await.map(|status| status.as_str().to_owned())),
    );
    let synced = || async { status().await.filter(|status| *status == ChangeStatus::Insync) };
    let synced = side.until("the change is everywhere", synced).await;
    notes.note("route53: a change in the end", json!(synced.as_str()));
    let missing = route53.get_change().id("CNONE").send().await;
    notes.note("route53: a change that never was", done(&missing));
    let again = change(side, zone, vec![(Create, a("a.fidelity.example"))]).await;
    notes.note("route53: a record is made again", done(&again));
    let other = set("a.fidelity.example", RrType::A, 60, &["192.0.2.2"]);
    let mismatch = change(side, zone, vec![(Delete, other)]).await;
    notes.note("route53: a record is deleted by another value", done(&mismatch));
    let missing = change(side, zone, vec![(Delete, a("none.fidelity.example"))]).await;
    notes.note("route53: a record that is not there is deleted", done(&missing));
    let half = vec![(Upsert, a("half.fidelity.example")), (Delete, a("none.fidelity.example"))];
    notes.note(
        "route53: a batch of which half cannot be done",
        done(&change(side, zone, half).await),
    );
    let sets = route53.list_resource_record_sets().hosted_zone_id(zone).send().await;
    notes.note("route53: nothing of it was done", told(&sets, shown));
    let wrong: Vec<(&str, Set)> = vec![
        ("outside of the zone", a("a.other.example")),
        ("with no address", set("b.fidelity.example", RrType::A, 60, &["nowhere"])),
        ("another name at the top", set(ZONE, RrType::Cname, 60, &["x.example"])),
        (
            "another name beside an address",
            set("a.fidelity.example", RrType::Cname, 60, &["x.example"]),
        ),
        ("weighted too much", a("w.fidelity.example").set_identifier("x").weight(300)),
        ("weighted without a name for it", a("w.fidelity.example").weight(3)),
        ("weighted beside a simple one", a("a.fidelity.example").set_identifier("x").weight(3)),
        (
            "of a health check that is not there",
            a("h.fidelity.example").health_check_id("00000000-none"),
        ),
    ];
    for (what, set) in wrong {
        let answer = change(side, zone, vec![(Create, set.clone())]).await;
        notes.note(&format!("route53: a record {what}"), done(&answer));
        if answer.is_ok() {
            // What should not be there must not be in the way of what follows.
            drop(change(side, zone, vec![(Delete, set)]).await);
        }
    }
    let missing = change(side, "ZNONE", vec![(Create, a("a.fidelity.example"))]).await;
    notes.note("route53: a change of a zone that is not there", done(&missing));
}

async fn routed(side: &Side, notes: &mut Notes, zone: &str) {
    use ChangeAction::{Create, Delete, Upsert};
    let name = |first: &str| format!("{first}.fidelity.example");
    let of = |first: &str, id: &str| a(&name(first)).set_identifier(id);
    let place = |country: &str| GeoLocation::builder().country_code(country).build();
    let alias = AliasTarget::builder().hosted_zone_id(zone).dns_name("a.fidelity.example");
    let alias = alias.evaluate_target_health(true).build().expect("an alias");
    let alias =
        ResourceRecordSet::builder().name(name("alias")).r#type(RrType::A).alias_target(alias);
    let sets: Vec<(&str, Vec<Set>)> = vec![
        ("weighted", vec![of("w", "one").weight(100), of("w", "two").weight(0)]),
        (
            "failover",
            vec![
                of("f", "one").failover(ResourceRecordSetFailover::Primary),
                of("f", "two").failover(ResourceRecordSetFailover::Secondary),
            ],
        ),
        (
            "latency",
            vec![
                of("l", "one").region(ResourceRecordSetRegion::UsEast1),
                of("l", "two").region(ResourceRecordSetRegion::UsWest2),
            ],
        ),
        (
            "geolocation",
            vec![
                of("g", "one").geo_location(place("US")),
                of("g", "rest").geo_location(place("*")),
            ],
        ),
        (
            "multivalue",
            vec![of("m", "one").multi_value_answer(true), of("m", "two").multi_value_answer(true)],
        ),
        ("alias", vec![alias]),
    ];
    for (what, sets) in sets {
        let changes = sets.into_iter().map(|set| (Create, set)).collect();
        notes.note(&format!("route53: {what} records"), done(&change(side, zone, changes).await));
    }
    let weights = vec![(Upsert, of("w", "one").weight(0)), (Upsert, of("w", "two").weight(100))];
    notes.note("route53: weights are turned", done(&change(side, zone, weights).await));
    let ttl = of("w", "one").ttl(30).weight(1);
    notes.note(
        "route53: a weighted record of another TTL",
        done(&change(side, zone, vec![(Upsert, ttl)]).await),
    );
    drop(change(side, zone, vec![(Upsert, of("w", "one").weight(0))]).await);
    let beside = change(side, zone, vec![(Create, a(&name("w")))]).await;
    notes.note("route53: a simple record beside weighted ones", done(&beside));
    if beside.is_ok() {
        drop(change(side, zone, vec![(Delete, a(&name("w")))]).await);
    }
    let wild = a("*.wild.fidelity.example");
    notes
        .note("route53: a wildcard", done(&change(side, zone, vec![(Create, wild.clone())]).await));
    let list = side.west.route53.list_resource_record_sets().hosted_zone_id(zone);
    let list = list.start_record_name("wild.fidelity.example").send().await;
    notes.note("route53: how a wildcard is listed", told(&list, shown));
    drop(change(side, zone, vec![(Delete, wild)]).await);
    let sets = side.west.route53.list_resource_record_sets().hosted_zone_id(zone).send().await;
    notes.note("route53: all records", told(&sets, shown));
    let test = side.west.route53.test_dns_answer().hosted_zone_id(zone);
    let test = test.record_name("w.fidelity.example").record_type(RrType::A).send().await;
    notes.note("route53: an answer is tried", told(&test, |test| json!(test.record_data())));
}

async fn pages(side: &Side, notes: &mut Notes, zone: &str) {
    let list = || side.west.route53.list_resource_record_sets().hosted_zone_id(zone).max_items(4);
    let mut next = (None, None, None);
    for page in 1..=4 {
        let (name, kind, identifier) = next;
        let request = list().set_start_record_name(name).set_start_record_type(kind);
        let found = request.set_start_record_identifier(identifier).send().await;
        notes.note(&format!("route53: page {page} of the records"), told(&found, shown));
        let Ok(found) = found else { break };
        next = (found.next_record_name, found.next_record_type, found.next_record_identifier);
        if next.0.is_none() {
            break;
        }
    }
    let start = list().start_record_name("m.fidelity.example").start_record_type(RrType::A);
    notes.note("route53: records from a name on", told(&start.send().await, shown));
    let typed = list().start_record_type(RrType::A).send().await;
    notes.note("route53: records from a type on", done(&typed));
}

async fn checks(side: &Side, notes: &mut Notes, zone: &str) {
    let route53 = &side.west.route53;
    let config = HealthCheckConfig::builder().r#type(HealthCheckType::Http);
    let config = config.fully_qualified_domain_name("app.fidelity.example").port(80);
    let config = config.resource_path("/").request_interval(10).failure_threshold(3).inverted(true);
    let config = config.build().expect("a health check");
    let create = || {
        let request = route53.create_health_check().caller_reference("fidelity-check");
        request.health_check_config(config.clone()).send()
    };
    let made = create().await;
    let show = |check: Option<&aws_sdk_route53::types::HealthCheck>| {
        json!(check.map(|check| {
            let config = check.health_check_config();
            json!([
                check.health_check_version(),
                config.map(|config| {
                    json!([
                        config.r#type().as_str(),
                        config.port(),
                        config.inverted(),
                        config.failure_threshold()
                    ])
                })
            ])
        }))
    };
    notes.note("route53: a health check is made", told(&made, |made| show(made.health_check())));
    let id = made.ok().and_then(|made| made.health_check.map(|check| check.id)).unwrap_or_default();
    let again = create().await.ok().and_then(|made| made.health_check.map(|check| check.id));
    notes.note("route53: a health check is made again", json!(again.as_deref() == Some(&id)));
    let found = route53.get_health_check().health_check_id(&id).send().await;
    notes.note("route53: a health check", told(&found, |found| show(found.health_check())));
    let missing = route53.get_health_check().health_check_id("00000000-none").send().await;
    notes.note("route53: a health check that is not there", done(&missing));
    let status = route53.get_health_check_status().health_check_id(&id).send().await;
    notes.note(
        "route53: what checkers see",
        told(&status, |found| json!(!found.health_check_observations().is_empty())),
    );
    let update = || route53.update_health_check().health_check_id(&id).failure_threshold(5);
    let changed = update().health_check_version(1).send().await;
    notes.note(
        "route53: a health check is changed",
        told(&changed, |found| show(found.health_check())),
    );
    let stale = update().health_check_version(1).send().await;
    notes.note("route53: a health check is changed by an old version", done(&stale));
    let calculated = HealthCheckConfig::builder().r#type(HealthCheckType::Calculated);
    let calculated = calculated.child_health_checks(&id).health_threshold(1).build();
    let request = route53.create_health_check().caller_reference("fidelity-sum");
    let made = request.health_check_config(calculated.expect("a health check")).send().await;
    notes.note(
        "route53: a calculated health check",
        told(&made, |made| {
            let config = made.health_check().and_then(|check| check.health_check_config());
            json!(
                config
                    .map(|config| (config.child_health_checks().len(), config.health_threshold()))
            )
        }),
    );
    let all = route53.list_health_checks().send().await;
    notes.note(
        "route53: health checks",
        told(&all, |all| {
            let own = |check: &&aws_sdk_route53::types::HealthCheck| {
                check.caller_reference().starts_with("fidelity")
            };
            json!([all.health_checks().iter().filter(own).count(), all.is_truncated()])
        }),
    );
    let record = a("h.fidelity.example").set_identifier("one").weight(1).health_check_id(&id);
    let attached = change(side, zone, vec![(ChangeAction::Create, record)]).await;
    notes.note("route53: a record of a health check", done(&attached));
    let gone = route53.delete_health_check().health_check_id("00000000-none").send().await;
    notes.note("route53: a health check that is not there is deleted", done(&gone));
    let spare = HealthCheckConfig::builder().r#type(HealthCheckType::Calculated);
    let spare = spare.child_health_checks(&id).health_threshold(1).build().expect("a health check");
    let made = route53.create_health_check().caller_reference("fidelity-spare");
    let made = made.health_check_config(spare).send().await;
    let spare = made.ok().and_then(|made| made.health_check.map(|check| check.id));
    let delete = || route53.delete_health_check().set_health_check_id(spare.clone()).send();
    notes.note("route53: a health check is deleted", done(&delete().await));
    notes.note("route53: a health check is deleted again", done(&delete().await));
}

async fn ended(side: &Side, notes: &mut Notes, zone: &str) {
    let route53 = &side.west.route53;
    let full = route53.delete_hosted_zone().id(zone).send().await;
    notes.note("route53: a zone with records is deleted", done(&full));
    let sets = route53.list_resource_record_sets().hosted_zone_id(zone).send().await;
    let own = |set: &&ResourceRecordSet| !matches!(set.r#type(), RrType::Ns | RrType::Soa);
    let sets = sets.map(|found| found.resource_record_sets).unwrap_or_default();
    let changes = sets.iter().filter(own).map(|set| {
        let change =
            Change::builder().action(ChangeAction::Delete).resource_record_set(set.clone());
        change.build().expect("a change")
    });
    let all = ChangeBatch::builder().set_changes(Some(changes.collect())).build();
    let request = route53.change_resource_record_sets().hosted_zone_id(zone);
    let emptied = request.change_batch(all.expect("a batch")).send().await;
    notes.note("route53: every record is deleted", done(&emptied));
    let empty = route53.delete_hosted_zone().id(zone).send().await;
    notes.note("route53: an empty zone is deleted", done(&empty));
    let gone = route53.delete_hosted_zone().id(zone).send().await;
    notes.note("route53: a zone is deleted again", done(&gone));
}
