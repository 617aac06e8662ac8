//! Programs in a rehearsal: none is started; what their runbook says of them happens to the world.

use super::harness::{Folder, flat, of_step};

const RUNBOOK: &str = r#"runbook: T-2
title: Programs
command: programs
inputs:
  region: { type: region, required: true }
rehearse:
  - argv: [terraform, plan]
    run: { takes: 20s, stdout: "No changes." }
steps:
  - id: ready
    checks:
      - check: command
        title: terraform has nothing to do
        with: { argv: [terraform, plan, -detailed-exitcode], reads_only: true }
  - id: nodes
    needs: [ready]
    action: command.run
    with:
      argv: [eksctl, scale, nodegroup]
      undo: [eksctl, scale, back]
      done_when: [eksctl, get, nodegroup]
    timeout: 30m
    rehearse:
      run:
        takes: 6m
        stdout: scaled
        changes:
          - { type: s3.object, region: us-west-2, id: phoenix-dr-switch/nodes, set: { Body: "6" } }
          - cluster: "${{ inputs.region }}"
            manifest:
              apiVersion: v1
              kind: ConfigMap
              metadata: { name: nodes, namespace: phoenix-system }
              data: { count: "6" }
      undo: { takes: 2m }
    verify: { none: the program says so }
  - id: more
    needs: [nodes]
    action: command.run
    with: { argv: [helm, upgrade], undo: [helm, rollback], done_when: [helm, status] }
    retry: { attempts: 1 }
    rehearse:
      run: { takes: 30s, exit: 0 }
      undo: { takes: 5s }
    verify: { none: the program says so }
"#;

fn rehearsed(folder: &Folder, more: &[&str]) -> super::harness::Ran {
    let mut arguments = vec![
        "run",
        "programs.yaml",
        "--set",
        "region=us-west-2",
        "--rehearse",
        "--yes",
        "--speed=max",
        "--non-interactive",
    ];
    arguments.extend(more);
    folder.run(&arguments)
}

fn folder(runbook: &str) -> Folder {
    let folder = Folder::new();
    folder.write("programs.yaml", runbook);
    folder
}

#[test]
fn what_a_runbook_says_of_its_programs_happens_to_the_world() {
    let folder = folder(RUNBOOK);
    folder.run(&["validate", "--rehearsable", "programs.yaml"]).exits(0);
    rehearsed(&folder, &[]).exits(0);
    let (path, events) = folder.journals().remove(0);
    let attempt = of_step(&events, "attempt_finished", "nodes")[0];
    assert_eq!(attempt["result"]["outputs"]["stdout"], "scaled");
    let world = std::fs::read_to_string(path.join("world.jsonl")).expect("the world");
    let changed =
        |parts: &[&str]| world.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(changed(&["phoenix-dr-switch/nodes", "\"put\""]), "{world}");
    assert!(changed(&["ConfigMap", "\"count\":\"6\""]), "{world}");
}

#[test]
fn a_program_that_fails_has_the_others_undone() {
    let folder = folder(&RUNBOOK.replace("exit: 0", "exit: 3"));
    rehearsed(&folder, &[]).exits(5);
    let (_, events) = folder.journals().remove(0);
    assert_eq!(of_step(&events, "revert_finished", "nodes")[0]["result"]["kind"], "reverted");
}

#[test]
fn a_program_nobody_says_anything_of_is_listed_and_leaves_the_simulation() {
    let without = RUNBOOK.replace(
        "    rehearse:\n      run: { takes: 30s, exit: 0 }\n      undo: { takes: 5s }\n",
        "",
    );
    let folder = folder(&without);
    folder.run(&["validate", "programs.yaml"]).exits(0);
    let ran = folder.run(&["validate", "--rehearsable", "programs.yaml"]).exits(3);
    let said = format!("{}{}", ran.out, ran.err);
    assert!(said.contains("does not know what `helm` does"), "{said}");
    assert!(!said.contains("eksctl") || !said.contains("what `eksctl` does"), "{said}");
    let ran = rehearsed(&folder, &[]);
    assert_ne!(ran.exit, 0);
    assert!(ran.out.contains("left the simulation: the program `helm`"), "{}", ran.out);
    let last = ran.out.rsplit("\nResult ").next().expect("last lines");
    let last = flat(last);
    assert!(last.starts_with("LEFT THE SIMULATION, which proves nothing: "), "{last}");
    assert!(last.contains(&format!("(exit {})", ran.exit)), "{last}");
    let report = folder.run(&["report"]).exits(0).out;
    assert!(report.contains("what came of it proves nothing.**"), "{report}");
    assert!(report.contains("- the program `helm`"), "{report}");
}

#[test]
fn what_no_world_can_do_is_refused_before_anything_starts() {
    let folder = folder(&RUNBOOK.replace("type: s3.object", "type: s3.objects"));
    rehearsed(&folder, &[]).exits(3).says("`s3.objects`").says("s3.object");
}

/// Steps whose actions no world answers: what each would find, do and put out stands in the runbook.
const DAMAGED: &str = r#"runbook: T-3
title: Damage
command: damage
inputs:
  region: { type: region, required: true }
steps:
  - id: assess
    action: postgres.assess
    with: { instance: phoenix-dr-replica, region: us-west-2 }
    timeout: 1h
    rehearse:
      run:
        takes: 12m
        outputs: { damaged: true, damaged_tables: [lab.experiments] }
  - id: restore
    needs: [assess]
    action: postgres.restore
    with: { instance: phoenix-dr-replica, region: us-west-2, into: restored }
    timeout: 1h
    rehearse:
      run:
        takes: 20m
        outputs: { database: restored, dump: "d-${{ inputs.region }}" }
        changes:
          - { type: s3.object, region: us-west-2, id: phoenix-dr-switch/restored, set: { Body: "1" } }
      undo: { takes: 3m }
    rollback: auto
  - id: prove
    needs: [restore]
    when: steps.assess.outputs.damaged && size(steps.assess.outputs.damaged_tables) > 0
    action: postgres.prove
    with:
      instance: phoenix-dr-replica
      region: us-west-2
      database: "${{ steps.restore.outputs.database }}"
      dump: "${{ steps.restore.outputs.dump }}"
    timeout: 1h
    rehearse: { run: { takes: 5m, exit: 0 } }
"#;

#[test]
fn actions_that_no_world_answers_are_played_as_their_runbook_says() {
    let folder = folder(DAMAGED);
    folder.run(&["validate", "--rehearsable", "programs.yaml"]).exits(0);
    let ran = rehearsed(&folder, &[]).exits(0);
    assert!(!ran.out.contains("LEFT THE SIMULATION"), "{}", ran.out);
    let (path, events) = folder.journals().remove(0);
    let restored = of_step(&events, "attempt_finished", "restore")[0];
    assert_eq!(restored["result"]["outputs"]["dump"], "d-us-west-2");
    let world = std::fs::read_to_string(path.join("world.jsonl")).expect("the world");
    assert!(world.contains("phoenix-dr-switch/restored"), "{world}");
}

#[test]
fn an_action_that_is_said_to_fail_does_and_the_others_are_taken_back() {
    let folder = folder(&DAMAGED.replace("exit: 0", "exit: 3"));
    let ran = rehearsed(&folder, &["--on-failure", "rollback"]).exits(5);
    let said = flat(&ran.out);
    assert!(said.contains("postgres.prove fails in this rehearsal"), "{}", ran.out);
    let (_, events) = folder.journals().remove(0);
    let reverted = of_step(&events, "revert_finished", "restore");
    assert_eq!(reverted[0]["result"]["kind"], "reverted");
}

#[test]
fn what_an_action_cannot_put_out_or_others_lack_is_refused() {
    let slips = [
        ("dump: \"d-${{ inputs.region }}\"", "dumpp: x", "has no output `dumpp`"),
        (
            "dump: \"d-${{ inputs.region }}\"",
            "dumpp: x",
            "`rehearse` of `restore` does not say its output `dump`",
        ),
        ("damaged: true", "damaged: perhaps", "the output `damaged` is true or false"),
        ("takes: 12m", "stdout: x", "`postgres.assess` prints nothing"),
        ("takes: 12m", "start: true", "is no program that could be started"),
        ("{ takes: 3m }", "{ outputs: { dump: x } }", "what is taken back puts out nothing"),
    ];
    for (from, to, said) in slips {
        let folder = folder(&DAMAGED.replace(from, to));
        let ran = folder.run(&["validate", "programs.yaml"]).exits(3);
        let all = flat(&format!("{}{}", ran.out, ran.err));
        assert!(all.contains(said), "{to}: {all}");
    }
    let without = DAMAGED.replace("    rehearse: { run: { takes: 5m, exit: 0 } }\n", "");
    let folder = folder(&without);
    let ran = folder.run(&["validate", "--rehearsable", "programs.yaml"]).exits(3);
    assert!(ran.out.contains("postgres.prove") || ran.err.contains("postgres.prove"));
}
