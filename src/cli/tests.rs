use super::*;

fn runbooks() -> Vec<Runbook> {
    let text = include_str!("../../runbooks/DR-001-regional-failover.yaml");
    vec![crate::runbook::load::parse("DR-001", text).expect("the shipped runbook").runbook]
}

fn typed(arguments: &[&str]) -> Result<Typed, Usage> {
    let arguments: Vec<OsString> =
        std::iter::once("phoenix-dr").chain(arguments.iter().copied()).map(Into::into).collect();
    parse(&arguments, &runbooks())
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
    assert!(flags.yes);
    assert_eq!(flags.jobs, 2);
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
fn help_is_no_error() {
    for arguments in [vec!["--help"], vec!["--version"], vec!["failover", "--help"]] {
        assert!(typed(&arguments).expect_err("help").asked_for);
    }
}
