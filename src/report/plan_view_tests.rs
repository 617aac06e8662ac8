//! The dry run's text and its figures.

use serde_json::json;

use super::*;
use crate::report::fixtures::{at, candidates, plan, quorum, zone};

fn state(satisfied: bool, differences: Vec<Difference>) -> StateFound {
    StateFound {
        present: json!({ "replicas": 1 }),
        desired: json!({ "replicas": if satisfied { 1 } else { 5 } }),
        differences,
        satisfied,
        irreversible: None,
        evidence: Vec::new(),
        choices: Vec::new(),
        waiver: None,
        seen: None,
    }
}

fn found(id: &str) -> Found {
    let difference = |what: &str, from: &str, to: &str| Difference {
        what: what.to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
    };
    let boxed = |state: StateFound| Found::State { state: Box::new(state) };
    match id {
        "primary_down" => Found::Gate { verdict: Verdict::Holds, reports: vec![quorum()] },
        "recovery_point" => boxed(StateFound { choices: candidates(), ..state(false, Vec::new()) }),
        "fence" => boxed(StateFound {
            waiver: Some((
                "phoenix-prod does not answer from here".to_owned(),
                "unfenced".to_owned(),
            )),
            seen: Some(at("02:12:00")),
            ..state(false, Vec::new())
        }),
        "notify" => Found::ByHand {
            lines: vec!["Tell the Incident Commander and post the status message.".to_owned()],
            evidence: None,
            later: true,
        },
        "capacity" => boxed(state(
            false,
            vec![
                difference("phoenix-system/phoenix-api replicas", "1", "5"),
                difference("phoenix-system/gateway replicas", "2", "6"),
            ],
        )),
        "restore" => Found::Skipped { when: "steps.recovery_point.outputs.reversible".to_owned() },
        "database" => boxed(StateFound {
            irreversible: Some("a promoted replica cannot follow again".to_owned()),
            evidence: vec!["replica lag 7 s, measured 02:18:06".to_owned()],
            ..state(false, vec![difference("phoenix-dr-replica role", "replica", "primary")])
        }),
        "repoint" => Found::KnownAfter { step: "database".into() },
        "traffic" => Found::Unreachable {
            why: "route53.amazonaws.com: timed out after 5 s".to_owned(),
            hint: Some("The failover object is tried first; it does not need Route 53".to_owned()),
        },
        _ => boxed(state(true, Vec::new())),
    }
}

pub(crate) fn report() -> DryRunReport {
    let plan = plan();
    let steps = plan
        .steps
        .iter()
        .map(|step| {
            let commands = match step.id.0.as_str() {
                "capacity" => vec![
                    "kubectl --context west -n phoenix-system scale deploy/phoenix-api --replicas=5"
                        .to_owned(),
                ],
                _ => Vec::new(),
            };
            DryRunStep::of(step, Fidelity::Observed, found(&step.id.0), commands)
        })
        .collect();
    let findings = vec![Finding {
        level: FindingLevel::Warning,
        about: "helm".to_owned(),
        said: "3.9 is old".to_owned(),
        hint: None,
        step: Some("p1".into()),
    }];
    let (mode, seen) = (Mode::DryRun, at("02:18:09"));
    DryRunReport { mode, plan: Arc::new(plan), seen, steps, findings }
}

fn lines() -> Vec<String> {
    let lines = text(&report(), 80, &zone());
    for line in lines.iter().filter(|line| !line.contains("$ ")) {
        assert!(text::width(line) <= 80, "{line}");
    }
    lines
}

#[test]
fn a_dry_run_begins_like_this() {
    insta::assert_snapshot!(lines()[..42].join("\n"), @r#"
    DRY RUN · estate phoenix · DR-001 Regional failover · seen 02:18 UTC (19:18 PDT)
    Nothing was changed, and nothing is by a dry run.
    ! helm (p1): 3.9 is old

    1 primary_down Establish that us-east-1 is down
          now  holds
               holds: us-east-1 is down, 3 of 3 signals hold
               holds: API healthz, no answer in 3 s
               holds: database, no answer in 3 s
               holds: RDS us-east-1, no answer in 3 s
               no vote: AWS Health, no support plan, no vote
               control from this host: https://api.us-west-2.phoenix.example/healthz
               answered
          how  gate, observed

    2 recovery_point P0 Choose the recovery point
          choice  replica: replica phoenix-dr-replica, loses 7 s, takes 12 min
                  backup: automated backup of phoenix-prod, loses 6 min, takes 44
                  min
                  snapshot: snapshot phoenix-2026-07-14-00-02, loses 2 h 10 (cannot
                  be taken: status is `creating`, 40 % done)
          asks    which way to take
          how     rds.choose_recovery_point, observed, usually 1m

    3 fence P0 Fence the old primary
          seen  6m 09s ago, from saved facts
          now   replicas: 1
          then  replicas: 5
          asks  type `unfenced` to go on without it: phoenix-prod does not answer
                from here
          undo  restores what was there before
          how   postgres.fence, observed, usually 30s

    4 notify Tell the company and the customers
          by hand  a person does it, the run goes on
                   Tell the Incident Commander and post the status message.
          how      manual, observed

    5 capacity P0 Get P0 capacity in us-west-2
          change  phoenix-system/phoenix-api replicas: 1 -> 5
                  phoenix-system/gateway replicas: 2 -> 6
          undo    restores what was there before
    "#);
}

#[test]
fn a_dry_run_ends_like_this() {
    insta::assert_snapshot!(lines()[42..].join("\n"), @r#"
          how     kubernetes.scale, observed, usually 3m
          $ kubectl --context west -n phoenix-system scale deploy/phoenix-api --replicas=5

    6 restore P0 Restore the database beside the lost one
          now   skipped: `steps.recovery_point.outputs.reversible` is false
          undo  deletes the database it restored
          how   rds.recover, observed, usually 40m

    7 database P0 Bring the database up in us-west-2
          change  phoenix-dr-replica role: replica -> primary
          fact    replica lag 7 s, measured 02:18:06
          asks    type `us-west-2`: A promoted replica can never follow again.
          proof   takes writes (within 5m)
          undo    NO: a promoted replica cannot follow again
          how     rds.recover, observed, usually 12m

    8 repoint P0 Point the application at the recovered database
          change  known after database
          undo    restores what was there before
          how     database.repoint, observed, usually 2m

    9 traffic P0 Move traffic to us-west-2
          now   unreachable: route53.amazonaws.com: timed out after 5 s
                Hint: The failover object is tried first; it does not need Route 53
          asks  yes or no: Traffic goes to us-west-2.
          undo  restores what was there before
          how   traffic.shift, observed, usually 3m

    10 p1 P1 Restore P1 services
          now   is as it should be already; nothing to do
          undo  restores what was there before
          how   kubernetes.scale, observed, usually 3m

    Restored when:
      service by its public name (within 5m)

    5 steps would change something; 1 step as it should be already; 1 step known
      only once others have run; 1 step unreachable from here.
    "#);
}

#[test]
fn a_command_is_one_line_for_pasting() {
    let mut report = report();
    let long = "aws rds restore-db-instance-to-point-in-time ".repeat(6);
    report.steps[4].commands = vec![long.trim().to_owned()];
    assert!(
        text(&report, 80, &zone()).iter().any(|line| line.trim() == format!("$ {}", long.trim()))
    );
}

#[test]
fn figures_follow_what_was_found() {
    let whole = report();
    assert!(whole.changes());
    assert!(!whole.unmet());

    let mut nothing = report();
    for (step, planned) in nothing.steps.iter_mut().zip(&whole.plan.steps) {
        let same = Found::State { state: Box::new(state(true, Vec::new())) };
        *step = DryRunStep::of(planned, Fidelity::Observed, same, Vec::new());
        assert!(step.asks.is_empty(), "nothing is asked about what is as it should be");
    }
    assert!(!nothing.changes());

    for verdict in [Verdict::Fails, Verdict::Inconclusive] {
        let mut unmet = report();
        unmet.steps[0].found = Found::Gate { verdict, reports: vec![quorum()] };
        assert!(unmet.unmet(), "{verdict:?} is not met");
        let lines = text(&unmet, 80, &zone()).join("\n");
        assert!(lines.contains("1 gate not met"), "{lines}");
    }

    let mut blocked = report();
    blocked.findings[0].level = FindingLevel::Blocking;
    assert!(blocked.unmet());
}

#[test]
fn a_choice_or_a_look_changes_nothing() {
    let report = report();
    let changing: Vec<&str> = report
        .steps
        .iter()
        .filter(|step| step.changes())
        .map(|step| step.step.0.as_str())
        .collect();
    assert_eq!(changing, ["fence", "capacity", "database", "repoint", "traffic"]);
}

#[test]
fn the_json_form_names_itself_and_reads_back() {
    let value = report().json();
    assert_eq!((&value["format"], &value["version"]), (&json!("phoenix-dr/plan"), &json!(1)));
    let back: DryRunReport = serde_json::from_value(value["report"].clone()).expect("reads back");
    assert_eq!(back.steps.len(), report().steps.len());
    assert_eq!(value["changes"], json!(true));
    assert_eq!(value["mode"], json!("dry_run"));
}

#[test]
fn a_rehearsed_dry_run_says_so_before_anything_else() {
    let report = DryRunReport { mode: Mode::Rehearsal, ..report() };
    let lines = text(&report, 80, &zone());
    assert!(lines[0].starts_with("REHEARSAL · DRY RUN · estate phoenix"), "{lines:#?}");
    let said = lines.join(" ");
    assert!(said.contains("in a simulated estate"), "{lines:#?}");
    assert_eq!(report.json()["mode"], json!("rehearsal"));
}

#[test]
fn a_dry_run_says_by_the_choice_what_can_be_undone_and_when_all_is_restored() {
    let plan = plan();
    let restored = plan.verification.first().map(|check| check.title.clone());
    let mut report = report();
    let mut said = |id: &str, undo: Undo| {
        let step = report.steps.iter_mut().find(|step| step.step.0 == id).expect("there");
        step.undo = undo;
    };
    said("database", Undo::ByChoice { promotes: Some(true) });
    said("repoint", Undo::Sealed { by: "database".into(), promotes: true });
    said("capacity", Undo::Command { line: "un make it".to_owned() });
    let text = text(&report, 80, &zone()).join("\n");
    for part in [
        "promotion: no; restore: yes",
        "not by itself once `database` is promoted",
        "by `un make it`",
        "Restored when:",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    assert!(restored.is_none_or(|title| text.contains(&title)), "{text}");
    assert!(!text.contains('{'), "a state is said in words:\n{text}");
}

#[test]
fn a_program_is_undone_by_its_own_undo_or_not_at_all() {
    let mut step = plan().steps[4].clone();
    let with = |undo: Value| {
        let with = json!({ "argv": ["make"], "undo": undo });
        let with = with.as_object().expect("arguments").clone();
        Body::Action { action: "command.run".to_owned(), with }
    };
    step.rollback = crate::plan::Rollback::Auto;
    step.body = with(json!(["un", "make it"]));
    assert_eq!(Undo::of(&step, None), Undo::Command { line: "un 'make it'".to_owned() });
    step.body = with(Value::Null);
    assert!(Undo::of(&step, None).is_final());
}
