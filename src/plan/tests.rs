use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::resolve::resolve;
use super::*;
use crate::estate;
use crate::runbook::load::{self, Loaded};
use crate::runbook::problem::Problems;

fn estate() -> Estate {
    estate_of(&estate::init::template())
}

fn estate_of(text: &str) -> Estate {
    estate::load::parse("phoenix-dr.yaml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn dr001() -> Loaded {
    load::find("DR-001", &[]).expect("is embedded")
}

fn given(values: &[(&str, Value)]) -> BTreeMap<String, Value> {
    values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn to_west() -> BTreeMap<String, Value> {
    given(&[("region", json!("us-west-2"))])
}

fn plan(loaded: &Loaded, given: &BTreeMap<String, Value>) -> Plan {
    resolve(loaded, &estate(), given).unwrap_or_else(|problems| panic!("{problems}"))
}

fn refused(loaded: &Loaded, estate: &Estate, given: &BTreeMap<String, Value>) -> Problems {
    match resolve(loaded, estate, given) {
        Ok(plan) => panic!("accepted with the digest {}", plan.digest),
        Err(problems) => problems,
    }
}

/// A runbook of the given steps and inputs.
fn runbook(inputs: &str, steps: &str) -> Loaded {
    let text = format!(
        "runbook: T-1\ntitle: Test\ncommand: test\ninputs: {{{inputs}}}\nsteps:\n{steps}\n"
    );
    load::parse("test.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn with<'a>(plan: &'a Plan, step: &str) -> &'a Map<String, Value> {
    match &plan.step(&step.into()).expect(step).body {
        Body::Action { with, .. } => with,
        Body::Gate { .. } => panic!("{step} is a gate"),
    }
}

#[test]
fn dr001_resolves() {
    let plan = plan(&dr001(), &to_west());
    assert_eq!(plan.inputs["from"], json!("us-east-1"));
    assert_eq!(plan.steps.len(), 15);
    let ids = |id: &str| -> Vec<String> {
        plan.step(&id.into()).expect(id).needs.iter().map(ToString::to_string).collect()
    };
    assert_eq!(ids("primary_down"), [""; 0]);
    assert_eq!(ids("database"), ["fence", "capacity", "restore"]);

    let Body::Gate { checks } = &plan.steps[0].body else { panic!("is a gate") };
    assert_eq!(checks[0].with["control"], json!("https://api.us-west-2.phoenix.example/healthz"));
    assert_eq!(
        checks[0].with["of"][0]["with"]["url"],
        json!("https://api.us-east-1.phoenix.example/healthz")
    );
    assert_eq!(checks[0].within, Span::seconds(15));

    let workloads = with(&plan, "capacity")["workloads"].as_array().expect("is a list").clone();
    let names: Vec<&Value> = workloads.iter().map(|workload| &workload["workload"]).collect();
    assert_eq!(names, ["phoenix-system/phoenix-api", "phoenix-system/experiment-controller"]);

    let database = plan.step(&"database".into()).expect("is there");
    assert_eq!(
        with(&plan, "database")["point"],
        json!("${{ steps.recovery_point.outputs.point }}"),
        "what only the run knows stays an expression"
    );
    assert_eq!(database.approve, Approval::Typed {
        say: "A promoted replica can never follow again. Writes will go to us-west-2 from here on."
            .to_owned(),
        word: "us-west-2".to_owned(),
    });
    assert_eq!(database.rollback, Rollback::Auto);
    assert_eq!(database.timeout, Span::minutes(45));
    assert_eq!(database.retry.backoff_longest, Span::seconds(30));
    assert_eq!(database.verify[0].consecutive, 2);
    assert!(database.changes && database.critical && !database.point_of_no_return);
    // Customers write to the recovered database from here on: nothing upstream is taken back by itself.
    let traffic = plan.steps.iter().find(|step| step.id.0 == "traffic").expect("there");
    assert!(traffic.point_of_no_return && traffic.rollback == Rollback::Auto);
    assert!(matches!(traffic.approve, Approval::Each { say: Some(_) }));
    assert_eq!(plan.step(&"p1".into()).map(|step| step.critical), Some(false));
    assert_eq!(plan.steps[0].title, "Establish that us-east-1 is down");
    assert_eq!(plan.verification[0].every, Span::seconds(5));
    assert_eq!(plan.objectives.rto, Span::minutes(30));
}

#[test]
fn what_takes_as_long_as_a_database_is_large_has_a_day() {
    let place = "instance: phoenix-prod, region: us-east-1";
    let steps = [
        format!(
            "evidence, action: postgres.evidence, with: {{ {place} }}, rollback: {{ none: kept }}"
        ),
        format!("assess, action: postgres.assess, with: {{ {place} }}"),
        format!("dump, action: postgres.dump, with: {{ {place} }}, rollback: {{ none: kept }}"),
        format!("restore, action: postgres.restore, with: {{ {place}, into: copy }}"),
        format!("prove, action: postgres.prove, with: {{ {place}, database: copy, dump: first }}"),
        format!("fence, action: postgres.fence, with: {{ {place} }}"),
        format!("short, action: postgres.assess, with: {{ {place} }}, timeout: 3m"),
    ];
    let steps = steps.map(|step| format!("  - {{ id: {step} }}")).join("\n");
    let plan = plan(&runbook("", &steps), &given(&[]));
    let (short, long): (Vec<_>, Vec<_>) =
        plan.steps.iter().partition(|step| step.timeout < Span::minutes(24 * 60));
    let long: Vec<&str> = long.iter().map(|step| step.id.0.as_str()).collect();
    assert_eq!(long, ["evidence", "assess", "dump", "restore", "prove"]);
    let short: Vec<_> = short.iter().map(|step| (step.id.0.as_str(), step.timeout)).collect();
    assert_eq!(short, [("fence", Span::minutes(10)), ("short", Span::minutes(3))]);
}

#[test]
fn a_digest_covers_everything_and_nothing_else() {
    let first = plan(&dr001(), &to_west());
    assert_eq!(first.digest.len(), 64);
    assert_eq!(first.digest, plan(&dr001(), &to_west()).digest);
    let stored = serde_json::to_string(&first).expect("is JSON");
    let read: Plan = serde_json::from_str(&stored).expect("is a plan");
    assert_eq!(digest(&read), first.digest, "a plan read from a journal has its digest");
    let mut other = first.clone();
    other.steps[3].timeout = Span::minutes(3);
    assert_ne!(digest(&other), first.digest);
    let mut other = first.clone();
    other.estate.contacts.clear();
    assert_ne!(digest(&other), first.digest);
}

#[test]
fn inputs_are_typed() {
    let loaded = runbook(
        "region: {type: region, required: true}, count: {type: integer, min: 1, max: 9}, \
         flag: {type: boolean}, span: {type: duration, max: 1h}, kind: {type: choice, values: [fast, safe]}, \
         at: {type: instant}, key: {type: secret}, name: {type: string, pattern: '[a-z]+'}",
        "  - {id: a, action: wait, with: {for: 0s}}",
    );
    let good = given(&[
        ("region", json!("us-west-2")),
        ("count", json!("7")),
        ("flag", json!("true")),
        ("span", json!("60m")),
        ("kind", json!("safe")),
        ("at", json!("2026-02-01T03:00:00+01:00")),
        ("key", json!("env:TOKEN")),
        ("name", json!("abc")),
    ]);
    let plan = plan(&loaded, &good);
    assert_eq!(
        json!(plan.inputs),
        json!({
            "region": "us-west-2", "count": 7, "flag": true, "span": "1h", "kind": "safe",
            "at": "2026-02-01T02:00:00Z", "key": {"env": "TOKEN"}, "name": "abc",
        })
    );
    let bad = given(&[
        ("count", json!("10")),
        ("flag", json!("maybe")),
        ("span", json!("2h")),
        ("kind", json!("saef")),
        ("at", json!("noon")),
        ("key", json!("hunter2")),
        ("name", json!("Abc")),
        ("regoin", json!("us-west-2")),
    ]);
    let problems = refused(&loaded, &estate(), &bad);
    assert!(problems.only_usage());
    insta::assert_snapshot!(problems.render(false), @r"
    error: T-1 has no input `regoin`
     |
     = help: did you mean `region`?

    error: `--at`: `noon` is not an instant
     |
     = help: write it like 2026-02-01T03:00:00Z

    error: `--count`: is more than 9
     |
     = help: its inputs and what they take: phoenix-dr COMMAND --help, or phoenix-dr show RUNBOOK

    error: `--flag`: expected true or false, found the text `maybe`
     |
     = help: its inputs and what they take: phoenix-dr COMMAND --help, or phoenix-dr show RUNBOOK

    error: `--key`: a secret is given by where it is, never by its value
     |
     = help: write env:NAME or file:PATH

    error: `--kind`: `saef` is not one of fast, safe
     |
     = help: did you mean `safe`?

    error: `--name`: `Abc` does not match `[a-z]+`
     |
     = help: its inputs and what they take: phoenix-dr COMMAND --help, or phoenix-dr show RUNBOOK

    error: `--span`: is more than 1h
     |
     = help: its inputs and what they take: phoenix-dr COMMAND --help, or phoenix-dr show RUNBOOK

    error: `--region` is required
     |
     = help: its inputs and what they take: phoenix-dr COMMAND --help, or phoenix-dr show RUNBOOK
    ");
}

#[test]
fn an_unknown_region_is_named_with_those_that_exist() {
    let problems = refused(&dr001(), &estate(), &given(&[("region", json!("us-wset-2"))]));
    insta::assert_snapshot!(problems.render(false), @r"
    error: `--region`: `us-wset-2` is not a region of the estate `phoenix-production`
     |
     = help: did you mean `us-west-2`?
    ");
}

#[test]
fn a_recovery_point_named_beforehand_is_the_step_s_own_choice() {
    let plan = resolve(&dr001(), &estate(), &to_west()).expect("is sound");
    let pinned = plan.clone().choosing(Some("backup"));
    assert_eq!(with(&pinned, "recovery_point")["choose"], "backup");
    assert_ne!(pinned.digest, plan.digest, "it is another plan");
    let again = pinned.clone().choosing(Some("replica"));
    assert_eq!(again.digest, pinned.digest, "a choice that is made stays");
    assert_eq!(plan.clone().choosing(None).digest, plan.digest);
}

#[test]
fn traffic_moves_between_two_regions() {
    let problems = refused(&dr001(), &estate(), &given(&[("region", json!("us-east-1"))]));
    assert!(problems.only_usage());
    insta::assert_snapshot!(problems.render(false), @r#"
    error: traffic would move from us-east-1 to us-east-1
     |
     = help: give another `--region`: us-west-2
    "#);
}

#[test]
fn defaults_may_use_the_estate_and_other_inputs() {
    let loaded = runbook(
        "a: {type: string, default: '${{ inputs.b }}-x'}, b: {type: region, default: '${{ estate.primary.region }}'}, \
         c: {type: string}",
        "  - {id: s, action: manual, with: {say: 'go', evidence: '${{ inputs.c }}'}}",
    );
    let plan = plan(&loaded, &BTreeMap::new());
    assert_eq!(json!(plan.inputs), json!({"a": "us-east-1-x", "b": "us-east-1", "c": null}));
    assert_eq!(with(&plan, "s")["evidence"], Value::Null, "an optional argument may stay empty");

    let circle = runbook(
        "a: {type: string, default: '${{ inputs.b }}'}, b: {type: string, default: '${{ inputs.a }}'}",
        "  - {id: s, action: wait, with: {for: 0s}}",
    );
    let problems = refused(&circle, &estate(), &BTreeMap::new());
    assert_eq!(problems.items.len(), 2, "{problems}");
}

#[test]
fn what_the_estate_lacks_is_said_once() {
    let template = estate::init::template();
    let (before, rest) = template.split_once("# The PostgreSQL database").expect("is there");
    let (_, after) = rest.split_once("# Kubernetes clusters").expect("is there");
    let bare = estate_of(&format!("{before}# Kubernetes clusters{after}"));
    assert!(bare.database.is_none());
    let problems = refused(&dr001(), &bare, &to_west());
    assert!(problems.only_usage());
    insta::assert_snapshot!(problems.render(false), @r#"
    error: step `primary_down` needs `estate.database`, which the estate `phoenix-production` does not have
      --> DR-001-regional-failover.yaml:35:38
       |
    35 |               with: { instance: "${{ estate.database.primary.id }}", expect: unreachable, timeout: 3s }
       |                                      ^^^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: add a `database:` section to phoenix-dr.yaml; `phoenix-dr init` writes one to copy from
               also needed by recovery_point, fence, restore, database, repoint, protect
    "#);

    let mut bare = estate();
    if let Some(database) = &mut bare.database {
        database.application = None;
    }
    bare.clusters.remove("us-west-2");
    bare.dns = None;
    insta::assert_snapshot!(refused(&dr001(), &bare, &to_west()).render(false), @r#"
    error: step `capacity` needs `estate.clusters.us-west-2`, which the estate `phoenix-production` does not have
      --> DR-001-regional-failover.yaml:87:15
       |
    87 |       region: "${{ inputs.region }}"
       |               ^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: add `us-west-2:` under `clusters:` in phoenix-dr.yaml; `phoenix-dr init` writes one to copy from
               also needed by repoint, p1, p2, p3

    error: step `repoint` needs `estate.database.application`, which the estate `phoenix-production` does not have
       --> DR-001-regional-failover.yaml:136:13
        |
    136 |     action: database.repoint
        |             ^^^^^^^^^^^^^^^^
        |
        = help: add `application:` under `database:` in phoenix-dr.yaml; `phoenix-dr init` writes one to copy from

    error: step `end_to_end` needs `estate.dns`, which the estate `phoenix-production` does not have
       --> DR-001-regional-failover.yaml:161:26
        |
    161 |           contains: "${{ estate.dns.contains }}"
        |                          ^^^^^^^^^^^^^^^^^^^
        |
        = help: add a `dns:` section to phoenix-dr.yaml; `phoenix-dr init` writes one to copy from
                also needed by traffic, public_name, verification
    "#);

    // Found before anything is changed, not after the promotion by a check that cannot tell.
    let mut podless = estate();
    let application = podless.database.as_mut().and_then(|known| known.application.as_mut());
    application.expect("the template has one").pods = None;
    let problems = refused(&dr001(), &podless, &to_west());
    assert_eq!(problems.items.len(), 1, "{problems}");
    let said = problems.render(false);
    assert!(said.contains("step `repoint` needs `estate.database.application.pods`"), "{said}");
}

#[test]
fn wrong_types_are_found_in_place() {
    let loaded = runbook(
        "n: {type: integer, default: 3}",
        "  - id: a
    action: kubernetes.scale
    with: {region: us-west-2, workloads: '${{ inputs.n }}', wrkloads: []}
  - id: b
    action: kubernetes.scale
    with: {region: eu-west-9, workloads: [{workload: a/b, replicas: '${{ estate.estate }}'}]}
  - id: c
    checks:
      - {check: quorum, with: {holds: 1, of: [{check: tpc, with: {}}, {check: tcp, with: {adress: 'h:1'}}]}}
  - id: d
    action: rds.promote
    rollback: {action: wait, with: {for: long}}
    retry: {backoff: 2s}
  - {id: e, action: wait, with: {for: 1s}, when: 'inputs.n'}
  - {id: f, action: wait, with: {for: 1s}, when: 'inputs.n == \"3\"'}",
    );
    insta::assert_snapshot!(refused(&loaded, &estate(), &BTreeMap::new()).render(false), @r#"
    error: expected a list, found the number 3
     --> test.yaml:8:42
      |
    8 |     with: {region: us-west-2, workloads: '${{ inputs.n }}', wrkloads: []}
      |                                          ^^^^^^^^^^^^^^^^^
      |
      = help: a list is `[a, b]`, or an item a line, each behind `- `

    error: unknown key `wrkloads`
     --> test.yaml:8:61
      |
    8 |     with: {region: us-west-2, workloads: '${{ inputs.n }}', wrkloads: []}
      |                                                             ^^^^^^^^
      |
      = help: known here: region, workloads

    error: `eu-west-9` is not a region of the estate `phoenix-production`
      --> test.yaml:11:20
       |
    11 |     with: {region: eu-west-9, workloads: [{workload: a/b, replicas: '${{ estate.estate }}'}]}
       |                    ^^^^^^^^^
       |
       = help: its regions: us-east-1, us-west-2

    error: expected a whole number, found the text `phoenix-production`
      --> test.yaml:11:69
       |
    11 |     with: {region: eu-west-9, workloads: [{workload: a/b, replicas: '${{ estate.estate }}'}]}
       |                                                                     ^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: mend it and check the file again: phoenix-dr validate test.yaml

    error: unknown check `tpc`
      --> test.yaml:14:55
       |
    14 |       - {check: quorum, with: {holds: 1, of: [{check: tpc, with: {}}, {check: tcp, with: {adress: 'h:1'}}]}}
       |                                                       ^^^
       |
       = help: did you mean `tcp`?

    error: unknown key `adress`
      --> test.yaml:14:91
       |
    14 |       - {check: quorum, with: {holds: 1, of: [{check: tpc, with: {}}, {check: tcp, with: {adress: 'h:1'}}]}}
       |                                                                                           ^^^^^^
       |
       = help: did you mean `address`?

    error: unknown action `rds.promote`
      --> test.yaml:16:13
       |
    16 |     action: rds.promote
       |             ^^^^^^^^^^^
       |
       = help: did you mean `rds.promote_replica`?

    error: expected a length of time such as 30s or 1h30m, found the text `long`
      --> test.yaml:17:42
       |
    17 |     rollback: {action: wait, with: {for: long}}
       |                                          ^^^^
       |
       = help: mend it and check the file again: phoenix-dr validate test.yaml

    error: `2s` is not a backoff
      --> test.yaml:18:22
       |
    18 |     retry: {backoff: 2s}
       |                      ^^
       |
       = help: write it like 2s..30s: the first and the longest wait

    error: expected true or false, found the number 3
      --> test.yaml:19:51
       |
    19 |   - {id: e, action: wait, with: {for: 1s}, when: 'inputs.n'}
       |                                                   ^^^^^^^^
       |
       = help: mend it and check the file again: phoenix-dr validate test.yaml

    error: cannot compare int with string
      --> test.yaml:20:51
       |
    20 |   - {id: f, action: wait, with: {for: 1s}, when: 'inputs.n == "3"'}
       |                                                   ^^^^^^^^^^^^^^^
       |
       = help: mend it and check the file again: phoenix-dr validate test.yaml
    "#);
}

#[test]
fn texts_from_inputs_are_never_expressions() {
    let loaded = runbook(
        "t: {type: string}",
        "  - {id: a, action: command.run, with: {argv: [x]}}
  - {id: b, action: manual, with: {say: '${{ inputs.t }}', message: 'x ${{ inputs.t }}${{ steps.a.outputs.stdout }}'}}",
    );
    let plan = plan(&loaded, &given(&[("t", json!("${{ estate.estate }} $"))]));
    let scope = {
        let mut scope = crate::runbook::expression::Scope::new(&plan.inputs, &plan.estate);
        scope.set_outputs("a", Map::from_iter([("stdout".to_owned(), json!("out"))]));
        scope
    };
    let run = crate::runbook::expression::resolve_map(with(&plan, "b"), &scope).expect("resolves");
    assert_eq!(run["say"], json!("${{ estate.estate }} $"));
    assert_eq!(run["message"], json!("x ${{ estate.estate }} $out"));
}

#[test]
fn what_cannot_be_undone_is_asked_by_itself() {
    let loaded = runbook(
        "",
        "  - {id: p, title: Promote, action: rds.promote_replica, with: {region: us-west-2, replica: phoenix-dr-replica}}
  - {id: q, action: wait, with: {for: 0s}, point_of_no_return: true}",
    );
    let plan = plan(&loaded, &BTreeMap::new());
    assert!(plan.steps.iter().all(|step| step.point_of_no_return));
    assert_eq!(
        plan.steps[0].approve,
        Approval::Typed { say: "Promote. This cannot be undone.".to_owned(), word: "p".to_owned() }
    );
    assert_eq!(
        plan.steps[1].approve,
        Approval::Typed { say: "q. This cannot be undone.".to_owned(), word: "q".to_owned() }
    );
}

#[test]
fn implicit_order_stays_linear() {
    let mut steps = String::new();
    for i in 0..10_000 {
        steps.push_str(&format!("  - {{id: s{i}, action: wait, with: {{for: 0s}}}}\n"));
    }
    let plan = plan(&runbook("", &steps), &BTreeMap::new());
    assert_eq!(plan.steps.iter().map(|step| step.needs.len()).sum::<usize>(), 9_999);
    assert_eq!(plan.steps[9_999].needs, ["s9998".into()]);
}
