//! One runbook with many mistakes: all of them are said at once.

use super::tests::whole;

#[test]
fn everything_is_said_at_once() {
    let text = "runbook: 'T 1'
title: Test
command: resume
objectives: { rto: 5h, rto_max: 4h, rpo: 5m, rpo_max: 30m }
inputs:
  dry_run: { type: boolean }
  count: { type: integer, default: many, min: 5, max: 3 }
  kind: { type: choice, default: fast }
  span: { type: duration, default: 5m, required: true, max: 1m }
  name: { type: string, pattern: '[a-z', values: [x] }
  key: { type: secret, default: hunter2 }
  spare: { type: string, default: '${{ estate.regions }}' }
steps:
  - id: Fence-1
    title: Fence ${{ inputs.cuont }} ${{ estate.databse.name }}
    action: postgres.fense
    retry: { attempts: 0, backoff: fast }
  - id: scale
    needs: [fence1, scale]
    when: inputs.count
    action: kubernetes.scale
    with: { region: '${{ inputs.count }}', workload: [] }
    verify: []
  - id: run
    action: command.run
    with: { argv: ['x ${{ inputs.key }}', '${{ estate.services }}', '${{ size(estate.services) + }}', '${{ open'] }
  - id: gate
    checks:
      - { check: http, with: { url: 'http://h/', expect: unreachable }, vote: bonus }
      - { check: quorum, with: { holds: 2, of: [ { check: tcp, with: { address: 'h:1' }, within: 3s }, { check: aws.health, with: { region: r }, vote: bonus } ] } }
      - { check: postgres.query, with: { instance: i, region: r, sql: s }, that: 'value.lag < 5 && \"yes\"', within: 3s, every: 2s, consecutive: 5 }
    approve: each
  - id: nothing
";
    insta::assert_snapshot!(whole(text).render(false), @r#"
    warning: the runbook has no `verification`
     --> t.yaml:1:1
      |
    1 | runbook: 'T 1'
      | ^^^^^^^
      |
      = help: without checks at the end, nothing decides whether the service is restored

    error: `T 1` cannot be a runbook's id
     --> t.yaml:1:10
      |
    1 | runbook: 'T 1'
      |          ^^^^^
      |
      = help: letters, digits and dashes: DR-001

    error: `resume` is a command of phoenix-dr itself
     --> t.yaml:3:10
      |
    3 | command: resume
      |          ^^^^^^
      |
      = help: choose another name for the runbook's command

    error: rto 5h is more than rto_max 4h
     --> t.yaml:4:20
      |
    4 | objectives: { rto: 5h, rto_max: 4h, rpo: 5m, rpo_max: 30m }
      |                    ^^
      |
      = help: mend it and check the file again: phoenix-dr validate t.yaml

    error: `--dry-run` is a flag of phoenix-dr itself
     --> t.yaml:6:3
      |
    6 |   dry_run: { type: boolean }
      |   ^^^^^^^
      |
      = help: choose another name for the input

    warning: nothing uses the input `dry_run`
     --> t.yaml:6:3
      |
    6 |   dry_run: { type: boolean }
      |   ^^^^^^^
      |
      = help: remove it, or use it as ${{ inputs.dry_run }}

    error: expected a whole number, found the text `many`
     --> t.yaml:7:36
      |
    7 |   count: { type: integer, default: many, min: 5, max: 3 }
      |                                    ^^^^
      |
      = help: mend it and check the file again: phoenix-dr validate t.yaml

    error: `min` is more than `max`
     --> t.yaml:7:47
      |
    7 |   count: { type: integer, default: many, min: 5, max: 3 }
      |                                               ^
      |
      = help: mend it and check the file again: phoenix-dr validate t.yaml

    warning: nothing uses the input `kind`
     --> t.yaml:8:3
      |
    8 |   kind: { type: choice, default: fast }
      |   ^^^^
      |
      = help: remove it, or use it as ${{ inputs.kind }}

    error: `values` is missing
     --> t.yaml:8:9
      |
    8 |   kind: { type: choice, default: fast }
      |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = help: list what can be chosen

    warning: nothing uses the input `span`
     --> t.yaml:9:3
      |
    9 |   span: { type: duration, default: 5m, required: true, max: 1m }
      |   ^^^^
      |
      = help: remove it, or use it as ${{ inputs.span }}

    error: `span` is required and has a default
     --> t.yaml:9:36
      |
    9 |   span: { type: duration, default: 5m, required: true, max: 1m }
      |                                    ^^
      |
      = help: what is required is given; what has a default need not be

    error: is more than `max`
     --> t.yaml:9:36
      |
    9 |   span: { type: duration, default: 5m, required: true, max: 1m }
      |                                    ^^
      |
      = help: mend it and check the file again: phoenix-dr validate t.yaml

    warning: nothing uses the input `name`
      --> t.yaml:10:3
       |
    10 |   name: { type: string, pattern: '[a-z', values: [x] }
       |   ^^^^
       |
       = help: remove it, or use it as ${{ inputs.name }}

    error: is not a regular expression: unclosed character class
      --> t.yaml:10:34
       |
    10 |   name: { type: string, pattern: '[a-z', values: [x] }
       |                                  ^^^^^^
       |
       = help: mend it and check the file again: phoenix-dr validate t.yaml

    error: only a `choice` has values
      --> t.yaml:10:50
       |
    10 |   name: { type: string, pattern: '[a-z', values: [x] }
       |                                                  ^^^
       |
       = help: mend it and check the file again: phoenix-dr validate t.yaml

    error: the input `key` is a secret and has a default
      --> t.yaml:11:33
       |
    11 |   key: { type: secret, default: ******* }
       |                                 ^^^^^^^
       |
       = help: a secret is given as env:NAME or file:PATH when the runbook is run

    warning: nothing uses the input `spare`
      --> t.yaml:12:3
       |
    12 |   spare: { type: string, default: '${{ estate.regions }}' }
       |   ^^^^^
       |
       = help: remove it, or use it as ${{ inputs.spare }}

    error: a mapping cannot be the default
      --> t.yaml:12:35
       |
    12 |   spare: { type: string, default: '${{ estate.regions }}' }
       |                                   ^^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: mend it and check the file again: phoenix-dr validate t.yaml

    error: `Fence-1` cannot be a step's id
      --> t.yaml:14:9
       |
    14 |   - id: Fence-1
       |         ^^^^^^^
       |
       = help: small letters, digits and underscores, a letter first

    error: there is no input `cuont`
      --> t.yaml:15:22
       |
    15 |     title: Fence ${{ inputs.cuont }} ${{ estate.databse.name }}
       |                      ^^^^^^^^^^^^
       |
       = help: did you mean `count`?

    error: `estate` has no `databse`
      --> t.yaml:15:42
       |
    15 |     title: Fence ${{ inputs.cuont }} ${{ estate.databse.name }}
       |                                          ^^^^^^^^^^^^^^
       |
       = help: did you mean `database`?

    error: unknown action `postgres.fense`
      --> t.yaml:16:13
       |
    16 |     action: postgres.fense
       |             ^^^^^^^^^^^^^^
       |
       = help: did you mean `postgres.fence`?

    error: 0 attempts; 1 to 100 are possible
      --> t.yaml:17:24
       |
    17 |     retry: { attempts: 0, backoff: fast }
       |                        ^
       |
       = help: 1 tries once and no more

    error: `fast` is not a backoff
      --> t.yaml:17:36
       |
    17 |     retry: { attempts: 0, backoff: fast }
       |                                    ^^^^
       |
       = help: write it like 2s..30s: the first and the longest wait

    error: step `scale` needs an unknown step `fence1`
      --> t.yaml:19:13
       |
    19 |     needs: [fence1, scale]
       |             ^^^^^^
       |
       = help: did you mean `Fence-1`?

    error: step `scale` needs itself
      --> t.yaml:19:21
       |
    19 |     needs: [fence1, scale]
       |                     ^^^^^
       |
       = help: mend it and check the file again: phoenix-dr validate t.yaml

    error: expected true or false, found a number
      --> t.yaml:20:11
       |
    20 |     when: inputs.count
       |           ^^^^^^^^^^^^
       |
       = help: mend it and check the file again: phoenix-dr validate t.yaml

    error: `workloads` is missing
      --> t.yaml:22:5
       |
    22 |     with: { region: '${{ inputs.count }}', workload: [] }
       |     ^^^^
       |
       = help: workloads: Workloads and their replicas; entries of the estate's service table fit as they are

    error: expected text, found a number
      --> t.yaml:22:26
       |
    22 |     with: { region: '${{ inputs.count }}', workload: [] }
       |                          ^^^^^^^^^^^^
       |
       = help: mend it and check the file again: phoenix-dr validate t.yaml

    error: unknown key `workload`
      --> t.yaml:22:44
       |
    22 |     with: { region: '${{ inputs.count }}', workload: [] }
       |                                            ^^^^^^^^
       |
       = help: did you mean `workloads`?

    error: `run` means something else and cannot be a step's id
      --> t.yaml:24:9
       |
    24 |   - id: run
       |         ^^^
       |
       = help: choose another id

    error: nothing proves what step `run` did
      --> t.yaml:25:13
       |
    25 |     action: command.run
       |             ^^^^^^^^^^^
       |
       = help: `command.run` does not prove its own result: add `verify`, or `verify: { none: "why" }`

    error: step `run` cannot be rolled back: a command is undone by its own `undo`, and there is none
      --> t.yaml:25:13
       |
    25 |     action: command.run
       |             ^^^^^^^^^^^
       |
       = help: say `rollback: { none: "why" }`, give an action of its own, or `point_of_no_return: true`

    error: the secret `key` cannot be used here
      --> t.yaml:26:27
       |
    26 |     with: { argv: ['x ${{ inputs.key }}', '${{ estate.services }}', '${{ size(estate.services) + }}', '${{ open'] }
       |                           ^^^^^^^^^^
       |
       = help: a secret goes to a program alone, as all of a variable: `action: command.run` with `env: { VARIABLE: "${{ inputs.key }}" }`

    error: expected text, found a list
      --> t.yaml:26:48
       |
    26 |     with: { argv: ['x ${{ inputs.key }}', '${{ estate.services }}', '${{ size(estate.services) + }}', '${{ open'] }
       |                                                ^^^^^^^^^^^^^^^
       |
       = help: mend it and check the file again: phoenix-dr validate t.yaml

    error: the expression ends too early
      --> t.yaml:26:97
       |
    26 |     with: { argv: ['x ${{ inputs.key }}', '${{ estate.services }}', '${{ size(estate.services) + }}', '${{ open'] }
       |                                                                                                 ^
       |
       = help: mend it and check the file again: phoenix-dr validate t.yaml

    error: `${{` is never closed by `}}`
      --> t.yaml:26:104
       |
    26 |     with: { argv: ['x ${{ inputs.key }}', '${{ estate.services }}', '${{ size(estate.services) + }}', '${{ open'] }
       |                                                                                                        ^^^
       |
       = help: mend it and check the file again: phoenix-dr validate t.yaml

    error: nothing tells a dead system from a dead network of this host
      --> t.yaml:29:58
       |
    29 |       - { check: http, with: { url: 'http://h/', expect: unreachable }, vote: bonus }
       |                                                          ^^^^^^^^^^^
       |
       = help: give `control`, a URL that must answer in the same round, here or in the quorum around it

    error: only a quorum's checks vote
      --> t.yaml:29:79
       |
    29 |       - { check: http, with: { url: 'http://h/', expect: unreachable }, vote: bonus }
       |                                                                               ^^^^^
       |
       = help: mend it and check the file again: phoenix-dr validate t.yaml

    error: 2 votes must hold, and 1 are full votes
      --> t.yaml:30:41
       |
    30 |       - { check: quorum, with: { holds: 2, of: [ { check: tcp, with: { address: 'h:1' }, within: 3s }, { check: aws.health, with: { ...
       |                                         ^
       |
       = help: a bonus vote counts when it holds, and must not be needed

    error: a vote has no `within`
      --> t.yaml:30:98
       |
    30 |       - { check: quorum, with: { holds: 2, of: [ { check: tcp, with: { address: 'h:1' }, within: 3s }, { check: aws.health, with: { ...
       |                                                                                                  ^^
       |
       = help: votes are taken together: the quorum says how long it is looked at

    error: expected true or false, found text
      --> t.yaml:31:100
       |
    31 |       - { check: postgres.query, with: { instance: i, region: r, sql: s }, that: 'value.lag < 5 && "yes"', within: 3s, every: 2s, co...
       |                                                                                                    ^^^^^
       |
       = help: mend it and check the file again: phoenix-dr validate t.yaml

    error: 5 looks every 2s do not fit into 3s
      --> t.yaml:31:116
       |
    31 |       - { check: postgres.query, with: { instance: i, region: r, sql: s }, that: 'value.lag < 5 && "yes"', within: 3s, every: 2s, co...
       |                                                                                                                    ^^
       |
       = help: make `within` longer, or `every` shorter

    error: a step with checks has no `approve`
      --> t.yaml:32:5
       |
    32 |     approve: each
       |     ^^^^^^^
       |
       = help: there is nothing to approve

    error: step `nothing` has neither an action nor checks
      --> t.yaml:33:5
       |
    33 |   - id: nothing
       |     ^^^^^^^^^^^
       |
       = help: `action: wait` with `for: 0s` does nothing
    "#);
}
