use super::*;
use crate::operator::scripted::AcceptedLoss;

fn runbooks() -> Vec<Runbook> {
    let text = include_str!("../../runbooks/DR-001-regional-failover.yaml");
    vec![crate::runbook::load::parse("DR-001", text).expect("the shipped runbook").runbook]
}

fn typed(arguments: &[&str]) -> Result<Typed, Usage> {
    let arguments: Vec<OsString> =
        std::iter::once("phoenix-dr").chain(arguments.iter().copied()).map(Into::into).collect();
    let Parsed { typed, wrong } = parse(&arguments, &runbooks())?;
    wrong.map_or(Ok(typed), Err)
}

#[test]
fn the_command_line_is_sound() {
    command(&runbooks()).debug_assert();
}

#[test]
fn a_runbook_is_a_command_and_its_inputs_are_flags() {
    let typed = typed(&["failover", "--region", "us-west-2", "--yes", "--jobs", "2"]);
    let Ok(Typed::Runbook { command, inputs, flags, .. }) = typed else {
        panic!("not a runbook: {typed:?}")
    };
    assert_eq!(command, "failover");
    assert_eq!(inputs, [("region".to_owned(), "us-west-2".to_owned())]);
    assert!(flags.how.who.yes);
    assert_eq!(flags.how.jobs, Some(2));
}

#[test]
fn wrong_usage_says_what_is_missing() {
    for (arguments, part) in [
        (vec!["failover"], "--region"),
        (vec!["failovr"], "failover"),
        (vec!["failover", "--region", "us-west-2", "--jobs", "0"], "1 to 1024"),
        (vec!["failover", "--region", "us-west-2", "--override", "gate"], "STEP=TEXT"),
        (vec!["run"], "<RUNBOOK>"),
        (vec!["abandon"], "--reason"),
    ] {
        let usage = typed(&arguments).expect_err("wrong usage");
        assert!(!usage.asked_for);
        assert!(usage.text.contains(part), "{arguments:?}: {}", usage.text);
    }
}

#[test]
fn every_wrong_flag_is_told_at_once() {
    for arguments in [
        ["--surprise", "crule", "--speed", "0", "--jobs=x", "--rehearse"],
        ["--jobs=x", "--rehearse", "--speed=0", "--seed=1", "--surprise", "crule"],
    ] {
        let usage = typed(&[&["failover", "--region", "us-west-2"], &arguments[..]].concat());
        let text = usage.expect_err("wrong usage").text;
        for part in ["'crule' for '--surprise", "'0' for '--speed", "'x' for '--jobs"] {
            assert_eq!(text.matches(part).count(), 1, "{part}: {text}");
        }
        assert_eq!(text.matches("error: ").count(), 3, "{text}");
        assert_eq!(text.matches("--help").count(), 1, "{text}");
    }
    // What else is missing is told, and what was given wrong is not called missing.
    let text = typed(&["failover", "--jobs", "x"]).expect_err("wrong usage").text;
    assert!(text.contains("'--jobs") && text.contains("--region"), "{text}");
    let text = typed(&["audit", "--form", "x"]).expect_err("wrong usage").text;
    assert!(!text.contains("not provided"), "{text}");
    assert!(typed(&["failover", "--help", "--jobs", "x"]).expect_err("help").asked_for);
}

#[test]
fn a_rehearsal_that_is_gone_on_with_keeps_what_it_began_with() {
    let given = ["--inject", "dark@s3", "--seed=7", "--surprise", "mild"];
    for verb in ["resume", "rollback"] {
        let arguments = [&[verb, "--rehearse"], &given[..]].concat();
        let text = typed(&arguments).expect_err("wrong usage").text;
        for flag in ["--inject", "--seed", "--surprise"] {
            let said =
                format!("`{verb}` takes no {flag}: a rehearsal that is gone on with keeps its");
            assert!(text.contains(&said), "{text}");
            assert!(text.contains(&format!("--rehearse {flag} …")), "{text}");
        }
        assert!(!text.contains("as a value"), "{text}");
    }
}

#[test]
fn a_loss_nobody_can_tell_can_be_accepted() {
    for (given, accepted) in [
        ("42m", AcceptedLoss::AtMost(crate::span::Span::minutes(42))),
        ("unknown", AcceptedLoss::Unknown),
    ] {
        let typed = typed(&["failover", "--region", "us-west-2", "--accept-loss", given]);
        let Ok(Typed::Runbook { flags, .. }) = typed else { panic!("{typed:?}") };
        assert_eq!(flags.how.accept_loss, Some(accepted));
    }
    let usage = typed(&["resume", "--accept-loss", "some"]).expect_err("no loss");
    assert!(usage.text.contains("or unknown"), "{}", usage.text);
}

#[test]
fn a_flag_that_does_nothing_is_refused() {
    for arguments in [
        ["resume", "--incident-started", "5m"],
        ["rollback", "--incident-started", "5m"],
        ["rollback", "--waive", "fence=unfenced"],
        ["rollback", "--approve", "database"],
    ] {
        let usage = typed(&arguments).expect_err("wrong usage");
        assert!(usage.text.contains("unexpected argument"), "{}", usage.text);
    }
    let Ok(Typed::Builtin { command, .. }) = typed(&["resume", "--dry-run"]) else { panic!() };
    assert!(matches!(*command, Builtin::Resume(given) if given.flags.who.dry_run));
}

#[test]
fn every_flag_has_its_variable() {
    fn missing(command: &clap::Command) -> Vec<String> {
        let named = |argument: &&clap::Arg| {
            argument.get_long().is_some_and(|long| !["help", "version"].contains(&long))
        };
        let own = command.get_arguments().filter(named).filter_map(|argument| {
            let long = argument.get_long().expect("a flag");
            let variable = format!("PHOENIX_DR_{}", long.replace('-', "_").to_uppercase());
            let has = argument.get_env().is_some_and(|name| *name == *variable);
            (!has).then(|| format!("{} --{long}", command.get_name()))
        });
        own.chain(command.get_subcommands().flat_map(missing)).collect()
    }
    assert_eq!(missing(&command(&runbooks())), [""; 0]);
}

#[test]
fn every_flag_of_a_runbooks_command_is_reserved() {
    use crate::runbook::validate::reserved;
    let whole = command(&runbooks());
    let failover = whole.find_subcommand("failover").expect("a runbook's command");
    let own = failover.get_arguments().filter(|flag| !flag.get_id().as_str().starts_with("input-"));
    let longs = own.chain(whole.get_arguments()).filter_map(clap::Arg::get_long);
    let missing: Vec<&str> = longs.filter(|long| !reserved::FLAGS.contains(long)).collect();
    assert_eq!(missing, [""; 0], "an input of that name would make clap panic");
    for long in ["seed", "estate", "yes"] {
        assert!(reserved::FLAGS.contains(&long));
    }
    let missing: Vec<&str> = whole
        .get_subcommands()
        .map(clap::Command::get_name)
        .filter(|name| *name != "failover" && !reserved::COMMANDS.contains(name))
        .collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn help_is_no_error() {
    for arguments in [vec!["--help"], vec!["--version"], vec!["failover", "--help"]] {
        assert!(typed(&arguments).expect_err("help").asked_for);
    }
}

#[test]
fn the_manual_has_every_command_exit_code_and_variable_on_one_page() {
    let page = manual(&runbooks()).expect("a page");
    let page = String::from_utf8(page).expect("text");
    let whole = command(&runbooks());
    for found in whole.get_subcommands() {
        let name = found.get_name().replace('-', "\\-");
        assert!(page.contains(&format!(".SS \"phoenix\\-dr {name}\"")), "{name} is missing");
        assert!(!page.contains(&format!("phoenix\\-dr\\-{name}(1)")), "there is no such page");
        for argument in found.get_arguments() {
            if let Some(flag) = argument.get_long() {
                assert!(page.contains(&flag.replace('-', "\\-")), "--{flag} is missing");
            }
            let said = argument.get_help().is_some() || argument.get_long_help().is_some();
            let plain = ["help", "version", "shell"].contains(&argument.get_id().as_str());
            assert!(said || plain, "{name} {} says nothing", argument.get_id());
        }
    }
    for exit in crate::exit::Exit::ALL {
        assert!(page.contains(&format!(".TP\n\\fB{}\\fR\n", exit.code())), "{exit:?}");
    }
    for part in [".SH \"EXIT STATUS\"", ".SH ENVIRONMENT", "PHOENIX_DR_STATE", ".SH FILES"] {
        assert!(page.contains(part), "{part}");
    }
}
