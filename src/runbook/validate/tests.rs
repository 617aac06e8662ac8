use super::*;
use crate::runbook::load;

/// Says what is wrong with the steps of a small runbook.
fn steps(steps: &str) -> Problems {
    whole(&format!(
        "runbook: T-1\ntitle: Test\ncommand: test\nverification: [{{check: http, with: {{url: 'http://h/'}}}}]\nsteps:\n{steps}\n"
    ))
}

pub(super) fn whole(text: &str) -> Problems {
    validate(&load::parse("t.yaml", text).unwrap_or_else(|problems| panic!("{problems}")))
}

#[test]
fn the_embedded_runbooks_are_sound() {
    for (name, text) in load::embedded() {
        let loaded = load::parse(name, text).unwrap_or_else(|problems| panic!("{problems}"));
        let problems = validate(&loaded);
        assert_eq!(problems.items, [], "{problems}");
    }
}

#[test]
fn a_cycle_is_printed() {
    insta::assert_snapshot!(steps(
        "  - {id: a, needs: [c], action: wait, with: {for: 0s}}
  - {id: b, needs: [a], action: wait, with: {for: 0s}}
  - {id: c, needs: [b], action: wait, with: {for: 0s}}
  - {id: d, needs: [a], action: wait, with: {for: 0s}}"
    ).render(false), @r"
    error: steps need each other: a → c → b → a
     --> t.yaml:6:21
      |
    6 |   - {id: a, needs: [c], action: wait, with: {for: 0s}}
      |                     ^
    7 |   - {id: b, needs: [a], action: wait, with: {for: 0s}}
      |          - is part of it
    8 |   - {id: c, needs: [b], action: wait, with: {for: 0s}}
      |          - is part of it
      |
      = help: remove one of these needs: none of the steps could ever start
    ");
    insta::assert_snapshot!(steps("  - {id: a, needs: [a], action: wait, with: {for: 0s}}").render(false), @r"
    error: step `a` needs itself
     --> t.yaml:6:21
      |
    6 |   - {id: a, needs: [a], action: wait, with: {for: 0s}}
      |                     ^
      |
      = help: mend it and check the file again: phoenix-dr validate t.yaml
    ");
}

#[test]
fn an_id_is_given_once() {
    insta::assert_snapshot!(steps(
        "  - {id: a, action: wait, with: {for: 0s}}
  - {id: a, action: wait, with: {for: 0s}}"
    ).render(false), @r"
    error: two steps have the id `a`
     --> t.yaml:7:10
      |
    6 |   - {id: a, action: wait, with: {for: 0s}}
      |          - first given here
    7 |   - {id: a, action: wait, with: {for: 0s}}
      |          ^
      |
      = help: give one of them another id, and name that in the `needs` it is meant in
    ");
}

#[test]
fn a_cycle_hides_no_output_that_is_used_too_early() {
    let problems = steps(
        "  - {id: early, needs: [], action: manual, with: {say: '${{ steps.late.outputs.stdout }}'}}
  - {id: late, needs: [], action: command.run, with: {argv: [x]}, verify: {none: x}, rollback: {none: x}}
  - {id: round, needs: [trip], action: manual, with: {say: '${{ steps.late.outputs.stdout }}'}}
  - {id: trip, needs: [round], action: wait, with: {for: 0s}}",
    );
    let said: Vec<&str> = problems.items.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        said,
        [
            "step `early` uses an output of `late`, which does not come before it",
            "steps need each other: round → trip → round",
        ]
    );
}

#[test]
fn what_may_be_a_secret_is_in_no_excerpt() {
    let text = "runbook: T-1\ntitle: Test\ncommand: test\ninputs:\n  key: {type: secret, default: 'hunter2 ünd'}\nsteps:\n  - {id: a, action: wait, with: {for: 0s}}\n";
    let shown = whole(text).render(false);
    assert!(shown.contains("nothing uses the input `key`"), "{shown}");
    assert!(shown.contains("{type: secret, default: ********"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn outputs_come_from_upstream() {
    insta::assert_snapshot!(steps(
        "  - {id: early, action: command.run, with: {argv: ['${{ steps.late.outputs.stdout }}']}, verify: {none: x}, rollback: {none: x}}
  - {id: late, action: command.run, with: {argv: [x]}, verify: {none: x}, rollback: {none: x}}
  - {id: beside, needs: [], action: manual, with: {say: '${{ steps.late.outputs.stdout }}'}}
  - {id: own, action: manual, with: {say: '${{ steps.own.outputs.evidence }}'}}
  - {id: none, action: manual, with: {say: '${{ steps.lete.outputs.stdout }} ${{ steps.late.outputs.stdot }} ${{ steps.late.exit }}'}}"
    ).render(false), @r"
    error: step `early` uses an output of `late`, which does not come before it
     --> t.yaml:6:57
      |
    6 |   - {id: early, action: command.run, with: {argv: ['${{ steps.late.outputs.stdout }}']}, verify: {none: x}, rollback: {none: x}}
      |                                                         ^^^^^^^^^^^^^^^^^^^^^^^^^
    7 |   - {id: late, action: command.run, with: {argv: [x]}, verify: {none: x}, rollback: {none: x}}
      |          ---- this step
      |
      = help: write `late` above `early`, or name it in its `needs`

    error: step `beside` uses an output of `late`, which does not come before it
     --> t.yaml:8:62
      |
    7 |   - {id: late, action: command.run, with: {argv: [x]}, verify: {none: x}, rollback: {none: x}}
      |          ---- this step
    8 |   - {id: beside, needs: [], action: manual, with: {say: '${{ steps.late.outputs.stdout }}'}}
      |                                                              ^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = help: add `late` to the `needs` of `beside`

    error: step `own` uses its own outputs
     --> t.yaml:9:48
      |
    9 |   - {id: own, action: manual, with: {say: '${{ steps.own.outputs.evidence }}'}}
      |                                                ^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = help: they are known in its verify and rollback only

    error: `none` means something else and cannot be a step's id
      --> t.yaml:10:10
       |
    10 |   - {id: none, action: manual, with: {say: '${{ steps.lete.outputs.stdout }} ${{ steps.late.outputs.stdot }} ${{ steps.late.exit }}'}}
       |          ^^^^
       |
       = help: choose another id

    error: there is no step `lete`
      --> t.yaml:10:49
       |
    10 |   - {id: none, action: manual, with: {say: '${{ steps.lete.outputs.stdout }} ${{ steps.late.outputs.stdot }} ${{ steps.late.exit }}'}}
       |                                                 ^^^^^^^^^^
       |
       = help: did you mean `late`?

    error: step `late` has no output `stdot`
      --> t.yaml:10:82
       |
    10 |   - {id: none, action: manual, with: {say: '${{ steps.lete.outputs.stdout }} ${{ steps.late.outputs.stdot }} ${{ steps.late.exit }}'}}
       |                                                                                  ^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: did you mean `stdout`?

    error: a step has no `exit`
      --> t.yaml:10:114
       |
    10 |   - {id: none, action: manual, with: {say: '${{ steps.lete.outputs.stdout }} ${{ steps.late.outputs.stdot }} ${{ steps.late.exit }}'}}
       |                                                                                                                  ^^^^^^^^^^^^^^^
       |
       = help: what a step gives to others is under `outputs`
    ");
}

#[test]
fn outputs_of_a_step_that_may_be_skipped_need_another_way() {
    insta::assert_snapshot!(steps(
        "  - {id: maybe, when: 'estate.estate == \"x\"', action: manual, with: {say: x}}
  - {id: bad, action: manual, with: {say: '${{ steps.maybe.outputs.evidence }}'}}
  - {id: good, action: manual, with: {say: '${{ has(steps.maybe.outputs.evidence) ? steps.maybe.outputs.evidence : \"none\" }}'}}"
    ).render(false), @r#"
    error: step `maybe` may be skipped, and has no outputs then
     --> t.yaml:7:48
      |
    6 |   - {id: maybe, when: 'estate.estate == "x"', action: manual, with: {say: x}}
      |          ----- has a `when`
    7 |   - {id: bad, action: manual, with: {say: '${{ steps.maybe.outputs.evidence }}'}}
      |                                                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = help: say what is used then: has(steps.maybe.outputs.evidence) ? steps.maybe.outputs.evidence : …
    "#);
}

#[test]
fn the_lost_database_is_not_asked() {
    insta::assert_snapshot!(steps(
        "  - id: db
    action: rds.recover
    with: {region: us-west-2}
    verify:
      - {check: postgres.query, with: {region: r, instance: '${{ estate.database.primary.id }}', sql: select 1}}
  - id: look
    checks:
      - {check: postgres.query, with: {region: r, instance: '${{ estate.database.replica.id }}', sql: select 1}}
      - {check: postgres.query, with: {region: r, instance: '${{ steps.db.outputs.instance }}', sql: select 1}}
  - {id: point, action: database.repoint, with: {region: r, instance: '${{ steps.db.outputs.instance }}', address: '${{ estate.database.primary.address }}'}}"
    ).render(false), @r"
    error: the database is another one after step `db`
      --> t.yaml:10:66
       |
     6 |   - id: db
       |         -- recovers it
    ...
    10 |       - {check: postgres.query, with: {region: r, instance: '${{ estate.database.primary.id }}', sql: select 1}}
       |                                                                  ^^^^^^^^^^^^^^^^^^^^^^^^^^ this is the lost one
       |
       = help: use ${{ steps.db.outputs.instance }}

    error: the database is another one after step `db`
      --> t.yaml:13:66
       |
     6 |   - id: db
       |         -- recovers it
    ...
    13 |       - {check: postgres.query, with: {region: r, instance: '${{ estate.database.replica.id }}', sql: select 1}}
       |                                                                  ^^^^^^^^^^^^^^^^^^^^^^^^^^ this is the lost one
       |
       = help: use ${{ steps.db.outputs.instance }}

    error: the database is another one after step `db`
      --> t.yaml:15:121
       |
     6 | ...d: db
       |       -- recovers it
    ...
    15 | ...id: point, action: database.repoint, with: {region: r, instance: '${{ steps.db.outputs.instance }}', address: '${{ estate.database.primary.address }}'}}
       |                                                                                                                       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ this is the lost one
       |
       = help: use ${{ steps.db.outputs.address }}
    ");
    let promoted = steps(
        "  - id: db
    action: rds.promote_replica
    rollback: {none: it stays promoted}
    with: {region: us-west-2, replica: x}
    verify:
      - {check: postgres.query, with: {region: r, instance: '${{ estate.database.replica.id }}', sql: select 1}}",
    );
    assert_eq!(promoted.items, [], "{promoted}");
}

#[test]
fn one_mistake_each() {
    for (step, said) in [
        (
            "{id: a, action: wait, with: {for: 0s}, checks: [{check: tcp, with: {address: 'h:1'}}]}",
            "an action or checks, not both",
        ),
        ("{id: a, checks: []}", "at least one check"),
        ("{id: if, action: wait, with: {for: 0s}}", "means something else"),
        ("{id: a, action: wait, with: {}}", "`for` is missing"),
        (
            "{id: a, action: wait, with: {for: 5}}",
            "expected a length of time such as 30s or 1h30m, found the number 5",
        ),
        (
            "{id: a, action: command.run, with: {argv: [x], undo: [y]}}",
            "nothing proves what step `a` did",
        ),
        (
            "{id: a, action: command.run, with: {argv: [x], undo: [y]}, verify: {none: ''}}",
            "say why nothing proves it",
        ),
        (
            "{id: a, action: command.run, with: {argv: [x]}, verify: {none: x}}",
            "undone by its own `undo`",
        ),
        (
            "{id: a, action: rds.promote_replica, with: {region: r, replica: x}}",
            "`rds.promote_replica` cannot be undone",
        ),
        (
            "{id: a, action: rds.promote_replica, with: {region: r, replica: x}, rollback: auto, point_of_no_return: true}",
            "cannot be undone",
        ),
        ("{id: a, action: manual, with: {say: x}, rollback: auto}", "`manual` cannot be undone"),
        (
            "{id: a, action: wait, with: {for: 0s}, rollback: {action: wiat}}",
            "did you mean `wait`?",
        ),
        ("{id: a, action: wait, with: {for: 0s}, approve: {say: x, type: ' '}}", "no word to type"),
        ("{id: a, action: wait, with: {for: 0s}, approve: ''}", "nothing to approve in an empty"),
        (
            "{id: a, timeout: 5s, checks: [{check: tcp, with: {address: 'h:1'}}]}",
            "a step with checks has no `timeout`",
        ),
        (
            "{id: a, checks: [{check: tcp, with: {address: 'h:1'}, that: 'value == 1', expect: 1}]}",
            "`that` or `expect`, not both",
        ),
        (
            "{id: a, checks: [{check: tcp, with: {address: 'h:1'}, within: 5s, every: 10s}]}",
            "a second look after 10s does not fit into 5s",
        ),
        ("{id: a, action: wait, with: {for: 0s}, timeout: 0s}", "an attempt takes time"),
        ("{id: a, action: wait, with: {for: 0s}, needs: [b]}", "unknown step `b`"),
        (
            "{id: a, action: wait, with: {for: 0s}, when: '${{ true }}'}",
            "write the expression alone",
        ),
        ("{id: a, action: wait, with: {for: 0s}, when: 'value'}", "known in `that` only"),
        ("{id: a, action: wait, with: {for: 0s}, when: 'run.idd == \"x\"'}", "a run has no `idd`"),
        (
            "{id: a, action: wait, with: {for: 0s}, when: 'sizee(estate.services) > 3'}",
            "did you mean `size`?",
        ),
        (
            "{id: a, action: wait, with: {for: 0s}, when: 'estate.services.exist(s, true)'}",
            "did you mean `exists`?",
        ),
        (
            "{id: a, action: wait, with: {for: 0s}, when: 'estate.services.exists(s, s.nme == \"x\")'}",
            "did you mean `name`?",
        ),
        (
            "{id: a, action: wait, with: {for: 0s}, when: 'estate.services.map(s, s.name).exists(n, n == 3)'}",
            "text is compared with a number",
        ),
        (
            "{id: a, action: wait, with: {for: 0s}, when: 'estate.estate.name == \"x\"'}",
            "text has no fields",
        ),
        (
            "{id: a, action: wait, with: {for: 0s}, when: 'estate.services == 3'}",
            "a list is compared with a number",
        ),
        (
            "{id: a, action: wait, with: {for: 0s}, when: 'estate.estate in [1, 2]'}",
            "text is compared with a number",
        ),
        (
            "{id: a, action: wait, with: {for: 0s}, when: 'estate.regions[3].apl == \"x\"'}",
            "did you mean `api`?",
        ),
        (
            "{id: a, action: wait, with: {for: 0s}, when: 'estate.objectives[\"P0\"].rpo == 5'}",
            "text is compared with a number",
        ),
        (
            "{id: a, action: wait, with: {for: 0s}, when: '!estate.estate'}",
            "expected true or false, found text",
        ),
        (
            "{id: a, action: manual, with: {say: '${{ estate.services.filter(s, s.priority == \"P0\") }}'}}",
            "expected text, found a list",
        ),
        (
            "{id: a, action: kubernetes.scale, with: {region: r, workloads: '${{ estate.estate }}'}}",
            "expected a list, found text",
        ),
        ("{id: a, checks: [{check: quorum, with: {holds: 0, of: []}}]}", "a quorum of none"),
        (
            "{id: a, checks: [{check: quorum, with: {holds: 1, of: [{check: quorum, with: {holds: 1, of: []}}]}}]}",
            "does not vote in a quorum",
        ),
        (
            "{id: a, checks: [{check: quorum, with: {holds: 1, of: [{check: tcp, with: {address: '${{ estate.nme }}'}}]}}]}",
            "`estate` has no `nme`",
        ),
        (
            "{id: a, checks: [{check: quorum, with: {holds: 1, of: [{check: tcp, with: {address: h}, that: 'valu'}]}}]}",
            "did you mean `value`?",
        ),
        (
            "{id: a, checks: [{check: command, with: {argv: [x]}}]}",
            "nothing says that the command only reads",
        ),
        (
            "{id: a, checks: [{check: tcp, with: {address: h}, consecutive: 0}]}",
            "looked at once at least",
        ),
        ("{id: a, checks: [{check: tcp, with: {}}]}", "to an `address` or to an `instance`"),
        (
            "{id: a, checks: [{check: tcp, with: {address: h, instance: i}}]}",
            "to an `address` or to an `instance`",
        ),
        (
            "{id: a, checks: [{check: tcp, with: {address: h}}], with: {x: y}}",
            "a step with checks has no `with`",
        ),
        (
            "{id: a, checks: [{check: tcp, with: {address: h}}], point_of_no_return: true}",
            "changes nothing",
        ),
        (
            "{id: a, checks: [{check: tcp, with: {address: h}, that: 'estate.primary.region == value'}]}",
            "known here: value",
        ),
    ] {
        let problems = steps(&format!("  - {step}"));
        let text = problems.render(false);
        assert!(text.contains(said), "{step}: {text}");
        assert_eq!(problems.items.len(), 1, "{step}: {text}");
    }
}

#[test]
fn what_is_right_is_accepted() {
    for step in [
        "{id: a, action: command.run, with: {argv: [x], undo: [y]}, verify: {none: it says so itself}}",
        "{id: a, action: command.run, with: {argv: [x]}, verify: {none: x}, point_of_no_return: true}",
        "{id: a, action: manual, with: {say: x}}",
        "{id: a, action: wait, with: {for: 0s}, when: 'has(estate.database) && has(estate.database.replica)'}",
        "{id: a, action: wait, with: {for: 0s}, when: 'run.mode == \"live\"'}",
        "{id: a, action: wait, with: {for: 0s}, when: 'estate.objectives[\"P0\"].rpo == \"5m\"'}",
        "{id: a, action: wait, with: {for: 0s}, when: 'estate.primary.region in estate.regions'}",
        "{id: a, action: wait, with: {for: 0s}, when: 'estate.services.exists_one(s, s.name == \"x\")'}",
        "{id: a, action: wait, with: {for: 0s}, when: 'estate.database.replica == null'}",
        "{id: a, action: kubernetes.restart, with: {region: '${{ estate.primary.region }}', workloads: '${{ estate.services.filter(s, has(s.workload)).map(s, s.workload) }}'}}",
        "{id: a, action: command.run, with: {argv: [x]}, rollback: {action: manual, with: {say: '${{ steps.a.outputs.stdout }}'}}, verify: [{check: tcp, with: {address: h}, that: 'value == 0'}]}",
        "{id: a, checks: [{check: quorum, with: {holds: 1, control: 'http://c/', of: [{check: tcp, with: {address: h, expect: unreachable}}]}}]}",
    ] {
        let problems = steps(&format!("  - {step}"));
        assert_eq!(problems.items, [], "{step}: {problems}");
    }
}

#[test]
fn an_objective_out_of_reach_is_a_warning() {
    let text = "runbook: T-1
title: t
command: c
objectives: { rto: 30m, rto_max: 4h, rpo: 5m, rpo_max: 30m }
verification: [{ check: http, with: { url: 'http://h/' } }]
steps:
  - { id: a, priority: P0, action: manual, with: { say: x }, usually: 20m }
  - { id: skipped, when: 'true', action: manual, with: { say: x }, usually: 2h }
  - { id: b, priority: P0, action: manual, with: { say: x }, usually: 11m }
  - { id: c, priority: P1, action: manual, with: { say: x }, usually: 5h }
";
    insta::assert_snapshot!(whole(text).render(false), @r"
    warning: even the shortest way takes 31m, and the objective is 30m
     --> t.yaml:4:15
      |
    4 | objectives: { rto: 30m, rto_max: 4h, rpo: 5m, rpo_max: 30m }
      |               ^^^
      |
      = help: the longest chain: a → skipped → b
    ");
    assert!(!whole(text).has_errors());
    assert_eq!(whole(&text.replace("11m", "10m")).items, []);
}

#[test]
fn ten_thousand_steps_take_no_longer_than_they_must() {
    let mut text = String::new();
    for i in 0..10_000 {
        let from = if i == 0 {
            "estate.estate".to_owned()
        } else {
            format!("steps.s{}.outputs.evidence", i / 2)
        };
        text.push_str(&format!(
            "  - {{id: s{i}, action: manual, with: {{say: 'x ${{{{ {from} }}}}'}}}}\n"
        ));
    }
    let problems = steps(&text);
    assert_eq!(problems.items, [], "{problems}");
}

proptest::proptest! {
    #[test]
    fn no_runbook_makes_it_panic(
        id in "[a-z_]{1,3}", needs in "[a-c, ]{0,5}", action in "(wait|manual|command.run|quorum)",
        text in "[a-c.$ {}'()=]{0,20}", when in "[a-c.()'= ]{0,12}",
    ) {
        let yaml = serde_json::json!({
            "runbook": "T-1", "title": text, "command": "c",
            "steps": [
                {"id": "a", "action": "wait", "with": {"for": "0s"}},
                {"id": id, "needs": needs.split(", ").collect::<Vec<_>>(), "action": action, "when": when,
                 "with": {"say": text, "argv": [text]}},
                {"id": "b", "checks": [{"check": action, "that": when, "with": {"of": [{"check": text}], "holds": 1}}]},
            ],
        });
        if let Ok(loaded) = load::parse("t.yaml", &yaml.to_string()) {
            drop(validate(&loaded).render(false));
        }
    }
}
