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
