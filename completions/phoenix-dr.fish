# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_phoenix_dr_global_optspecs
    string join \n estate= runbooks= output= q/quiet v/verbose color= no-progress h/help V/version
end

function __fish_phoenix_dr_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_phoenix_dr_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_phoenix_dr_using_subcommand
    set -l cmd (__fish_phoenix_dr_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -s h -l help -d 'Print help'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -s V -l version -d 'Print version'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -f -a "run" -d 'Carry a runbook out by its id or file'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -f -a "plan" -d 'Show what a runbook would do; same as run --dry-run'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -f -a "list" -d 'List the runbooks'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -f -a "show" -d 'Explain a runbook'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -f -a "graph" -d 'Print a runbook\'s graph'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -f -a "validate" -d 'Check runbooks and the estate file'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -f -a "runs" -d 'List runs'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -f -a "status" -d 'Show how a run stands'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -f -a "resume" -d 'Go on with a run that stopped'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -f -a "rollback" -d 'Roll back a run that stopped'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -f -a "abandon" -d 'Give up a run; reverts nothing'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -f -a "mark-done" -d 'Record that a step or an obligation was done by hand'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -f -a "report" -d 'Write what a run did as a report for the incident\'s record (Markdown)'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -f -a "audit" -d 'Print a run\'s audit trail'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -f -a "doctor" -d 'Check that this host can act on the estate'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -f -a "recovery-points" -d 'List what the database can be restored from, with what each loses; changes nothing'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -f -a "world" -d 'Capture the estate for rehearsals; look into worlds and compare them'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -f -a "init" -d 'Write a commented estate file'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -f -a "completions" -d 'Print a shell\'s completion script'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -f -a "man" -d 'Print the manual page'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -f -a "failover" -d 'DR-001 Regional failover'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -f -a "database" -d 'DR-002 Database corruption'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -f -a "rebuild-experiments" -d 'OPS-001 Rebuild experiments from their events'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -f -a "restore-tables" -d 'OPS-002 Rows of single tables from a dump'
complete -c phoenix-dr -n "__fish_phoenix_dr_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -l set -d 'Input of the runbook (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -l rehearse -d 'Rehearse: the whole run in a simulation, nothing real is touched; a world by name or file [default: one made from the names in --estate, or phoenix]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -l speed -d 'How many times faster than real time a rehearsal is shown, or max [default: 60 at a terminal]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -l answers -d 'File with answers (YAML or JSON): question to answer' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -l approve -d 'Approve this step, typed points of no return included (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -l accept-loss -d 'Accept to lose this much data, where it is more than the objective allows; `unknown` where nobody can tell' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -l recovery-point -d 'Recovery point to take: replica, backup or snapshot, or one that `recovery-points` lists' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -l override -d 'Go on although this gate was not met, with the reason (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -l waive -d 'Go on without this step where it cannot be done, by its word (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -l confirm -d 'Ask before every changing step' -r -f -a "each\t'Every step that changes something, also those the first yes would cover'"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -l on-failure -d 'What happens after a failure that nobody is asked about [default: auto]' -r -f -a "auto\t'Roll back before a point of no return, stop after one and where a check cannot tell'
rollback\t'Roll back what may be rolled back; after a point of no return, stop'
stop\t'Start nothing new and keep everything, to be resumed'"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -l jobs -d 'Steps that may run at the same time [default: 8]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -l inject -d 'Fault to inject into the rehearsal, e.g. throttled@rds,times=3 or latency@kubernetes,delay=2s (5s where none is given), or a file of faults (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -l surprise -d 'Draw faults nobody is told of until the end' -r -f -a "mild\t'What retries get over'
hard\t'What takes a decision'
cruel\t'What may end the run'"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -l seed -d 'Chance of the rehearsal: the same seed, the same faults [default: 1; with --surprise drawn anew]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -l incident-started -d 'When the incident began, as an instant or how long ago (2026-01-01T02:12:00Z, 15m)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -l dry-run -d 'Show what would happen from live reads; change nothing'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -l detailed-exitcode -d 'With --dry-run, and with it alone, end with 20 when there are changes'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -s y -l yes -d 'Answer yes to go, to a rollback and to ordinary approvals; never to points of no return'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -l non-interactive -d 'Ask nobody; implied without a terminal'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -l allow-endpoint-override -d 'Go live although an AWS endpoint override is set in the environment or profile'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -l set -d 'Input of the runbook (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -l rehearse -d 'Rehearse: the whole run in a simulation, nothing real is touched; a world by name or file [default: one made from the names in --estate, or phoenix]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -l speed -d 'How many times faster than real time a rehearsal is shown, or max [default: 60 at a terminal]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -l answers -d 'File with answers (YAML or JSON): question to answer' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -l approve -d 'Approve this step, typed points of no return included (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -l accept-loss -d 'Accept to lose this much data, where it is more than the objective allows; `unknown` where nobody can tell' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -l recovery-point -d 'Recovery point to take: replica, backup or snapshot, or one that `recovery-points` lists' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -l override -d 'Go on although this gate was not met, with the reason (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -l waive -d 'Go on without this step where it cannot be done, by its word (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -l confirm -d 'Ask before every changing step' -r -f -a "each\t'Every step that changes something, also those the first yes would cover'"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -l on-failure -d 'What happens after a failure that nobody is asked about [default: auto]' -r -f -a "auto\t'Roll back before a point of no return, stop after one and where a check cannot tell'
rollback\t'Roll back what may be rolled back; after a point of no return, stop'
stop\t'Start nothing new and keep everything, to be resumed'"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -l jobs -d 'Steps that may run at the same time [default: 8]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -l inject -d 'Fault to inject into the rehearsal, e.g. throttled@rds,times=3 or latency@kubernetes,delay=2s (5s where none is given), or a file of faults (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -l surprise -d 'Draw faults nobody is told of until the end' -r -f -a "mild\t'What retries get over'
hard\t'What takes a decision'
cruel\t'What may end the run'"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -l seed -d 'Chance of the rehearsal: the same seed, the same faults [default: 1; with --surprise drawn anew]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -l incident-started -d 'When the incident began, as an instant or how long ago (2026-01-01T02:12:00Z, 15m)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -l dry-run -d 'Show what would happen from live reads; change nothing'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -l detailed-exitcode -d 'With --dry-run, and with it alone, end with 20 when there are changes'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -s y -l yes -d 'Answer yes to go, to a rollback and to ordinary approvals; never to points of no return'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -l non-interactive -d 'Ask nobody; implied without a terminal'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -l allow-endpoint-override -d 'Go live although an AWS endpoint override is set in the environment or profile'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand list" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand list" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand list" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand list" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand list" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand list" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand list" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand list" -s h -l help -d 'Print help'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand show" -l set -d 'Input of the runbook, for --rendered (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand show" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand show" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand show" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand show" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand show" -l actions -d 'List every action and check with its fields'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand show" -l rendered -d 'With real names and equivalent commands, as Markdown, for the day this program cannot run'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand show" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand show" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand show" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand show" -s h -l help -d 'Print help'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand graph" -l format -d 'Language the graph is written in' -r -f -a "mermaid\t'Mermaid, which forges and wikis draw'
dot\t'Graphviz: `dot -Tsvg`'"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand graph" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand graph" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand graph" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand graph" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand graph" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand graph" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand graph" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand graph" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand validate" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand validate" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand validate" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand validate" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand validate" -l rehearsable -d 'Say as well which programs a rehearsal does not know what they do'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand validate" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand validate" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand validate" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand validate" -s h -l help -d 'Print help'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand runs" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand runs" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand runs" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand runs" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand runs" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand runs" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand runs" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand runs" -s h -l help -d 'Print help'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand status" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand status" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand status" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand status" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand status" -s f -l follow -d 'Keep showing until the run ends'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand status" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand status" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand status" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand status" -s h -l help -d 'Print help'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand resume" -l rehearse -d 'Rehearse: the whole run in a simulation, nothing real is touched; a world by name or file [default: one made from the names in --estate, or phoenix]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand resume" -l speed -d 'How many times faster than real time a rehearsal is shown, or max [default: 60 at a terminal]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand resume" -l answers -d 'File with answers (YAML or JSON): question to answer' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand resume" -l approve -d 'Approve this step, typed points of no return included (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand resume" -l accept-loss -d 'Accept to lose this much data, where it is more than the objective allows; `unknown` where nobody can tell' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand resume" -l recovery-point -d 'Recovery point to take: replica, backup or snapshot, or one that `recovery-points` lists' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand resume" -l override -d 'Go on although this gate was not met, with the reason (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand resume" -l waive -d 'Go on without this step where it cannot be done, by its word (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand resume" -l confirm -d 'Ask before every changing step' -r -f -a "each\t'Every step that changes something, also those the first yes would cover'"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand resume" -l on-failure -d 'What happens after a failure that nobody is asked about [default: auto]' -r -f -a "auto\t'Roll back before a point of no return, stop after one and where a check cannot tell'
rollback\t'Roll back what may be rolled back; after a point of no return, stop'
stop\t'Start nothing new and keep everything, to be resumed'"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand resume" -l jobs -d 'Steps that may run at the same time [default: 8]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand resume" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand resume" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand resume" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand resume" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand resume" -l dry-run -d 'Show what would happen from live reads; change nothing'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand resume" -l detailed-exitcode -d 'With --dry-run, and with it alone, end with 20 when there are changes'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand resume" -s y -l yes -d 'Answer yes to go, to a rollback and to ordinary approvals; never to points of no return'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand resume" -l non-interactive -d 'Ask nobody; implied without a terminal'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand resume" -l allow-endpoint-override -d 'Go live although an AWS endpoint override is set in the environment or profile'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand resume" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand resume" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand resume" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand resume" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rollback" -l past -d 'Revert this one step although a point of no return seals it; asks for a typed word' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rollback" -l rehearse -d 'Rehearse: the whole run in a simulation, nothing real is touched; a world by name or file [default: one made from the names in --estate, or phoenix]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rollback" -l speed -d 'How many times faster than real time a rehearsal is shown, or max [default: 60 at a terminal]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rollback" -l answers -d 'File with answers (YAML or JSON): question to answer' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rollback" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rollback" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rollback" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rollback" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rollback" -l dry-run -d 'Show what would happen from live reads; change nothing'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rollback" -l detailed-exitcode -d 'With --dry-run, and with it alone, end with 20 when there are changes'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rollback" -s y -l yes -d 'Answer yes to go, to a rollback and to ordinary approvals; never to points of no return'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rollback" -l non-interactive -d 'Ask nobody; implied without a terminal'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rollback" -l allow-endpoint-override -d 'Go live although an AWS endpoint override is set in the environment or profile'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rollback" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rollback" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rollback" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rollback" -s h -l help -d 'Print help'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand abandon" -l reason -d 'Why; kept in the journal' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand abandon" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand abandon" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand abandon" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand abandon" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand abandon" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand abandon" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand abandon" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand abandon" -s h -l help -d 'Print help'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand mark-done" -l evidence -d 'How you know that it is done; kept in the journal' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand mark-done" -l value -d 'Output of the step that later steps use (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand mark-done" -l run -d 'Run id, or enough of it; the newest that has it when left out' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand mark-done" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand mark-done" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand mark-done" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand mark-done" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand mark-done" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand mark-done" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand mark-done" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand mark-done" -s h -l help -d 'Print help'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand report" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand report" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand report" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand report" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand report" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand report" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand report" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand report" -s h -l help -d 'Print help'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand audit" -l form -d 'Form of the trail' -r -f -a "text\t''
json\t''
activation\t'One activation record for compliance'"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand audit" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand audit" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand audit" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand audit" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand audit" -l verify -d 'Only check that nothing was altered'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand audit" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand audit" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand audit" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand audit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand doctor" -l region -d 'Region that would take over' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand doctor" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand doctor" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand doctor" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand doctor" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand doctor" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand doctor" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand doctor" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand recovery-points" -l incident -d 'When the damage began, as an instant or how long ago (2026-01-01T02:12:00Z, 15m) [default: now]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand recovery-points" -l region -d 'Region RDS is asked in, where the database is there; all of the estate when left out' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand recovery-points" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand recovery-points" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand recovery-points" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand recovery-points" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand recovery-points" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand recovery-points" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand recovery-points" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand recovery-points" -s h -l help -d 'Print help'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and not __fish_seen_subcommand_from capture show validate diff help" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and not __fish_seen_subcommand_from capture show validate diff help" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and not __fish_seen_subcommand_from capture show validate diff help" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and not __fish_seen_subcommand_from capture show validate diff help" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and not __fish_seen_subcommand_from capture show validate diff help" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and not __fish_seen_subcommand_from capture show validate diff help" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and not __fish_seen_subcommand_from capture show validate diff help" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and not __fish_seen_subcommand_from capture show validate diff help" -s h -l help -d 'Print help'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and not __fish_seen_subcommand_from capture show validate diff help" -f -a "capture" -d 'Read the live estate into a file to rehearse on; changes nothing'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and not __fish_seen_subcommand_from capture show validate diff help" -f -a "show" -d 'Show what is in a world, how old it is and what nobody saw of it'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and not __fish_seen_subcommand_from capture show validate diff help" -f -a "validate" -d 'Check that a world can be rehearsed on'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and not __fish_seen_subcommand_from capture show validate diff help" -f -a "diff" -d 'Show what differs between two worlds; ends with 20 where something does'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and not __fish_seen_subcommand_from capture show validate diff help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from capture" -l out -d 'Where to write the world' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from capture" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from capture" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from capture" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from capture" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from capture" -l pseudonyms -d 'Replace accounts, hosts, addresses and every other name by others'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from capture" -l force -d 'Write over an existing file'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from capture" -l allow-endpoint-override -d 'Look although an AWS endpoint override is set in the environment or profile'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from capture" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from capture" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from capture" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from capture" -s h -l help -d 'Print help'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from show" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from show" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from show" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from show" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from show" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from validate" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from validate" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from validate" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from validate" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from validate" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from validate" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from validate" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from validate" -s h -l help -d 'Print help'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from diff" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from diff" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from diff" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from diff" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from diff" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from diff" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from diff" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from diff" -s h -l help -d 'Print help'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from help" -f -a "capture" -d 'Read the live estate into a file to rehearse on; changes nothing'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show what is in a world, how old it is and what nobody saw of it'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from help" -f -a "validate" -d 'Check that a world can be rehearsed on'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from help" -f -a "diff" -d 'Show what differs between two worlds; ends with 20 where something does'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand world; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand init" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand init" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand init" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand init" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand init" -l force -d 'Replace an existing file, which is kept beside it as .bak'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand init" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand init" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand init" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand init" -s h -l help -d 'Print help'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand completions" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand completions" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand completions" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand completions" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand completions" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand completions" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand completions" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand completions" -s h -l help -d 'Print help'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand man" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand man" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand man" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand man" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand man" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand man" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand man" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand man" -s h -l help -d 'Print help'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -l from -d 'Region that failed [default: estate.primary.region]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -l region -d 'Region that takes over' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -l rehearse -d 'Rehearse: the whole run in a simulation, nothing real is touched; a world by name or file [default: one made from the names in --estate, or phoenix]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -l speed -d 'How many times faster than real time a rehearsal is shown, or max [default: 60 at a terminal]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -l answers -d 'File with answers (YAML or JSON): question to answer' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -l approve -d 'Approve this step, typed points of no return included (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -l accept-loss -d 'Accept to lose this much data, where it is more than the objective allows; `unknown` where nobody can tell' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -l recovery-point -d 'Recovery point to take: replica, backup or snapshot, or one that `recovery-points` lists' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -l override -d 'Go on although this gate was not met, with the reason (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -l waive -d 'Go on without this step where it cannot be done, by its word (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -l confirm -d 'Ask before every changing step' -r -f -a "each\t'Every step that changes something, also those the first yes would cover'"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -l on-failure -d 'What happens after a failure that nobody is asked about [default: auto]' -r -f -a "auto\t'Roll back before a point of no return, stop after one and where a check cannot tell'
rollback\t'Roll back what may be rolled back; after a point of no return, stop'
stop\t'Start nothing new and keep everything, to be resumed'"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -l jobs -d 'Steps that may run at the same time [default: 8]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -l inject -d 'Fault to inject into the rehearsal, e.g. throttled@rds,times=3 or latency@kubernetes,delay=2s (5s where none is given), or a file of faults (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -l surprise -d 'Draw faults nobody is told of until the end' -r -f -a "mild\t'What retries get over'
hard\t'What takes a decision'
cruel\t'What may end the run'"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -l seed -d 'Chance of the rehearsal: the same seed, the same faults [default: 1; with --surprise drawn anew]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -l incident-started -d 'When the incident began, as an instant or how long ago (2026-01-01T02:12:00Z, 15m)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -l dry-run -d 'Show what would happen from live reads; change nothing'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -l detailed-exitcode -d 'With --dry-run, and with it alone, end with 20 when there are changes'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -s y -l yes -d 'Answer yes to go, to a rollback and to ordinary approvals; never to points of no return'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -l non-interactive -d 'Ask nobody; implied without a terminal'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -l allow-endpoint-override -d 'Go live although an AWS endpoint override is set in the environment or profile'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand failover" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l query -d 'What the application asks first; it must answer true [default: select count(*) > 0 from experiments]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l since -d 'When the damage began: an instant, 02:05 (UTC), or 15m for so long ago [default: ]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l target -d 'How far a base backup is taken, in place of that: name RESTORE_POINT, lsn LSN or time INSTANT [default: ]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l unverified -d 'Offer recovery points no restore ever proved as well [default: false]' -r -f -a "true\t''
false\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l rehearse -d 'Rehearse: the whole run in a simulation, nothing real is touched; a world by name or file [default: one made from the names in --estate, or phoenix]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l speed -d 'How many times faster than real time a rehearsal is shown, or max [default: 60 at a terminal]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l answers -d 'File with answers (YAML or JSON): question to answer' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l approve -d 'Approve this step, typed points of no return included (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l accept-loss -d 'Accept to lose this much data, where it is more than the objective allows; `unknown` where nobody can tell' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l recovery-point -d 'Recovery point to take: replica, backup or snapshot, or one that `recovery-points` lists' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l override -d 'Go on although this gate was not met, with the reason (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l waive -d 'Go on without this step where it cannot be done, by its word (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l confirm -d 'Ask before every changing step' -r -f -a "each\t'Every step that changes something, also those the first yes would cover'"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l on-failure -d 'What happens after a failure that nobody is asked about [default: auto]' -r -f -a "auto\t'Roll back before a point of no return, stop after one and where a check cannot tell'
rollback\t'Roll back what may be rolled back; after a point of no return, stop'
stop\t'Start nothing new and keep everything, to be resumed'"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l jobs -d 'Steps that may run at the same time [default: 8]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l inject -d 'Fault to inject into the rehearsal, e.g. throttled@rds,times=3 or latency@kubernetes,delay=2s (5s where none is given), or a file of faults (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l surprise -d 'Draw faults nobody is told of until the end' -r -f -a "mild\t'What retries get over'
hard\t'What takes a decision'
cruel\t'What may end the run'"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l seed -d 'Chance of the rehearsal: the same seed, the same faults [default: 1; with --surprise drawn anew]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l incident-started -d 'When the incident began, as an instant or how long ago (2026-01-01T02:12:00Z, 15m)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l dry-run -d 'Show what would happen from live reads; change nothing'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l detailed-exitcode -d 'With --dry-run, and with it alone, end with 20 when there are changes'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -s y -l yes -d 'Answer yes to go, to a rollback and to ordinary approvals; never to points of no return'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l non-interactive -d 'Ask nobody; implied without a terminal'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l allow-endpoint-override -d 'Go live although an AWS endpoint override is set in the environment or profile'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand database" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l database -d 'Database they are in, where it is another than the estate\'s [default: ]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l experiments -d 'Which experiments: ids with commas between them [default: all]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l instance -d 'Instance it is on, where it is another than the estate\'s primary [default: ]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l max-corrupt -d 'Corrupt events and gaps up to which anything is written [default: 0]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l rehearse -d 'Rehearse: the whole run in a simulation, nothing real is touched; a world by name or file [default: one made from the names in --estate, or phoenix]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l speed -d 'How many times faster than real time a rehearsal is shown, or max [default: 60 at a terminal]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l answers -d 'File with answers (YAML or JSON): question to answer' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l approve -d 'Approve this step, typed points of no return included (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l accept-loss -d 'Accept to lose this much data, where it is more than the objective allows; `unknown` where nobody can tell' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l recovery-point -d 'Recovery point to take: replica, backup or snapshot, or one that `recovery-points` lists' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l override -d 'Go on although this gate was not met, with the reason (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l waive -d 'Go on without this step where it cannot be done, by its word (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l confirm -d 'Ask before every changing step' -r -f -a "each\t'Every step that changes something, also those the first yes would cover'"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l on-failure -d 'What happens after a failure that nobody is asked about [default: auto]' -r -f -a "auto\t'Roll back before a point of no return, stop after one and where a check cannot tell'
rollback\t'Roll back what may be rolled back; after a point of no return, stop'
stop\t'Start nothing new and keep everything, to be resumed'"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l jobs -d 'Steps that may run at the same time [default: 8]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l inject -d 'Fault to inject into the rehearsal, e.g. throttled@rds,times=3 or latency@kubernetes,delay=2s (5s where none is given), or a file of faults (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l surprise -d 'Draw faults nobody is told of until the end' -r -f -a "mild\t'What retries get over'
hard\t'What takes a decision'
cruel\t'What may end the run'"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l seed -d 'Chance of the rehearsal: the same seed, the same faults [default: 1; with --surprise drawn anew]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l incident-started -d 'When the incident began, as an instant or how long ago (2026-01-01T02:12:00Z, 15m)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l dry-run -d 'Show what would happen from live reads; change nothing'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l detailed-exitcode -d 'With --dry-run, and with it alone, end with 20 when there are changes'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -s y -l yes -d 'Answer yes to go, to a rollback and to ordinary approvals; never to points of no return'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l non-interactive -d 'Ask nobody; implied without a terminal'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l allow-endpoint-override -d 'Go live although an AWS endpoint override is set in the environment or profile'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand rebuild-experiments" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l dump -d 'Dump to take them from, where it is not the newest [default: ]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l into -d 'Name of the new database, where it is not NAME_tables [default: ]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l tables -d 'Tables as schema.table, with commas between them' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l rehearse -d 'Rehearse: the whole run in a simulation, nothing real is touched; a world by name or file [default: one made from the names in --estate, or phoenix]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l speed -d 'How many times faster than real time a rehearsal is shown, or max [default: 60 at a terminal]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l answers -d 'File with answers (YAML or JSON): question to answer' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l approve -d 'Approve this step, typed points of no return included (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l accept-loss -d 'Accept to lose this much data, where it is more than the objective allows; `unknown` where nobody can tell' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l recovery-point -d 'Recovery point to take: replica, backup or snapshot, or one that `recovery-points` lists' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l override -d 'Go on although this gate was not met, with the reason (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l waive -d 'Go on without this step where it cannot be done, by its word (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l confirm -d 'Ask before every changing step' -r -f -a "each\t'Every step that changes something, also those the first yes would cover'"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l on-failure -d 'What happens after a failure that nobody is asked about [default: auto]' -r -f -a "auto\t'Roll back before a point of no return, stop after one and where a check cannot tell'
rollback\t'Roll back what may be rolled back; after a point of no return, stop'
stop\t'Start nothing new and keep everything, to be resumed'"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l jobs -d 'Steps that may run at the same time [default: 8]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l inject -d 'Fault to inject into the rehearsal, e.g. throttled@rds,times=3 or latency@kubernetes,delay=2s (5s where none is given), or a file of faults (repeatable)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l surprise -d 'Draw faults nobody is told of until the end' -r -f -a "mild\t'What retries get over'
hard\t'What takes a decision'
cruel\t'What may end the run'"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l seed -d 'Chance of the rehearsal: the same seed, the same faults [default: 1; with --surprise drawn anew]' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l incident-started -d 'When the incident began, as an instant or how long ago (2026-01-01T02:12:00Z, 15m)' -r
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l estate -d 'Estate file; ./phoenix-dr.yaml, then the user\'s configuration directory, when not given' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l runbooks -d 'Directory with further runbooks' -r -F
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l output -d 'Form of the output' -r -f -a "human\t''
json\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l color -d 'When to use colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l dry-run -d 'Show what would happen from live reads; change nothing'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l detailed-exitcode -d 'With --dry-run, and with it alone, end with 20 when there are changes'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -s y -l yes -d 'Answer yes to go, to a rollback and to ordinary approvals; never to points of no return'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l non-interactive -d 'Ask nobody; implied without a terminal'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l allow-endpoint-override -d 'Go live although an AWS endpoint override is set in the environment or profile'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -s q -l quiet -d 'Print only results and errors'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -s v -l verbose -d 'Print diagnostics as well'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -l no-progress -d 'Print plain lines instead of bars'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand restore-tables" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and not __fish_seen_subcommand_from run plan list show graph validate runs status resume rollback abandon mark-done report audit doctor recovery-points world init completions man failover database rebuild-experiments restore-tables help" -f -a "run" -d 'Carry a runbook out by its id or file'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and not __fish_seen_subcommand_from run plan list show graph validate runs status resume rollback abandon mark-done report audit doctor recovery-points world init completions man failover database rebuild-experiments restore-tables help" -f -a "plan" -d 'Show what a runbook would do; same as run --dry-run'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and not __fish_seen_subcommand_from run plan list show graph validate runs status resume rollback abandon mark-done report audit doctor recovery-points world init completions man failover database rebuild-experiments restore-tables help" -f -a "list" -d 'List the runbooks'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and not __fish_seen_subcommand_from run plan list show graph validate runs status resume rollback abandon mark-done report audit doctor recovery-points world init completions man failover database rebuild-experiments restore-tables help" -f -a "show" -d 'Explain a runbook'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and not __fish_seen_subcommand_from run plan list show graph validate runs status resume rollback abandon mark-done report audit doctor recovery-points world init completions man failover database rebuild-experiments restore-tables help" -f -a "graph" -d 'Print a runbook\'s graph'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and not __fish_seen_subcommand_from run plan list show graph validate runs status resume rollback abandon mark-done report audit doctor recovery-points world init completions man failover database rebuild-experiments restore-tables help" -f -a "validate" -d 'Check runbooks and the estate file'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and not __fish_seen_subcommand_from run plan list show graph validate runs status resume rollback abandon mark-done report audit doctor recovery-points world init completions man failover database rebuild-experiments restore-tables help" -f -a "runs" -d 'List runs'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and not __fish_seen_subcommand_from run plan list show graph validate runs status resume rollback abandon mark-done report audit doctor recovery-points world init completions man failover database rebuild-experiments restore-tables help" -f -a "status" -d 'Show how a run stands'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and not __fish_seen_subcommand_from run plan list show graph validate runs status resume rollback abandon mark-done report audit doctor recovery-points world init completions man failover database rebuild-experiments restore-tables help" -f -a "resume" -d 'Go on with a run that stopped'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and not __fish_seen_subcommand_from run plan list show graph validate runs status resume rollback abandon mark-done report audit doctor recovery-points world init completions man failover database rebuild-experiments restore-tables help" -f -a "rollback" -d 'Roll back a run that stopped'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and not __fish_seen_subcommand_from run plan list show graph validate runs status resume rollback abandon mark-done report audit doctor recovery-points world init completions man failover database rebuild-experiments restore-tables help" -f -a "abandon" -d 'Give up a run; reverts nothing'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and not __fish_seen_subcommand_from run plan list show graph validate runs status resume rollback abandon mark-done report audit doctor recovery-points world init completions man failover database rebuild-experiments restore-tables help" -f -a "mark-done" -d 'Record that a step or an obligation was done by hand'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and not __fish_seen_subcommand_from run plan list show graph validate runs status resume rollback abandon mark-done report audit doctor recovery-points world init completions man failover database rebuild-experiments restore-tables help" -f -a "report" -d 'Write what a run did as a report for the incident\'s record (Markdown)'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and not __fish_seen_subcommand_from run plan list show graph validate runs status resume rollback abandon mark-done report audit doctor recovery-points world init completions man failover database rebuild-experiments restore-tables help" -f -a "audit" -d 'Print a run\'s audit trail'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and not __fish_seen_subcommand_from run plan list show graph validate runs status resume rollback abandon mark-done report audit doctor recovery-points world init completions man failover database rebuild-experiments restore-tables help" -f -a "doctor" -d 'Check that this host can act on the estate'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and not __fish_seen_subcommand_from run plan list show graph validate runs status resume rollback abandon mark-done report audit doctor recovery-points world init completions man failover database rebuild-experiments restore-tables help" -f -a "recovery-points" -d 'List what the database can be restored from, with what each loses; changes nothing'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and not __fish_seen_subcommand_from run plan list show graph validate runs status resume rollback abandon mark-done report audit doctor recovery-points world init completions man failover database rebuild-experiments restore-tables help" -f -a "world" -d 'Capture the estate for rehearsals; look into worlds and compare them'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and not __fish_seen_subcommand_from run plan list show graph validate runs status resume rollback abandon mark-done report audit doctor recovery-points world init completions man failover database rebuild-experiments restore-tables help" -f -a "init" -d 'Write a commented estate file'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and not __fish_seen_subcommand_from run plan list show graph validate runs status resume rollback abandon mark-done report audit doctor recovery-points world init completions man failover database rebuild-experiments restore-tables help" -f -a "completions" -d 'Print a shell\'s completion script'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and not __fish_seen_subcommand_from run plan list show graph validate runs status resume rollback abandon mark-done report audit doctor recovery-points world init completions man failover database rebuild-experiments restore-tables help" -f -a "man" -d 'Print the manual page'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and not __fish_seen_subcommand_from run plan list show graph validate runs status resume rollback abandon mark-done report audit doctor recovery-points world init completions man failover database rebuild-experiments restore-tables help" -f -a "failover" -d 'DR-001 Regional failover'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and not __fish_seen_subcommand_from run plan list show graph validate runs status resume rollback abandon mark-done report audit doctor recovery-points world init completions man failover database rebuild-experiments restore-tables help" -f -a "database" -d 'DR-002 Database corruption'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and not __fish_seen_subcommand_from run plan list show graph validate runs status resume rollback abandon mark-done report audit doctor recovery-points world init completions man failover database rebuild-experiments restore-tables help" -f -a "rebuild-experiments" -d 'OPS-001 Rebuild experiments from their events'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and not __fish_seen_subcommand_from run plan list show graph validate runs status resume rollback abandon mark-done report audit doctor recovery-points world init completions man failover database rebuild-experiments restore-tables help" -f -a "restore-tables" -d 'OPS-002 Rows of single tables from a dump'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and not __fish_seen_subcommand_from run plan list show graph validate runs status resume rollback abandon mark-done report audit doctor recovery-points world init completions man failover database rebuild-experiments restore-tables help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and __fish_seen_subcommand_from world" -f -a "capture" -d 'Read the live estate into a file to rehearse on; changes nothing'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and __fish_seen_subcommand_from world" -f -a "show" -d 'Show what is in a world, how old it is and what nobody saw of it'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and __fish_seen_subcommand_from world" -f -a "validate" -d 'Check that a world can be rehearsed on'
complete -c phoenix-dr -n "__fish_phoenix_dr_using_subcommand help; and __fish_seen_subcommand_from world" -f -a "diff" -d 'Show what differs between two worlds; ends with 20 where something does'
