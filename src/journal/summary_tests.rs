use super::*;
use crate::event::{Event, RollbackScope};
use crate::journal::{fixtures, golden};

fn summary_of(bytes: &[u8]) -> Result<Summary, SummaryError> {
    scan(Lines::new(bytes))
}

fn of(events: Vec<Event>) -> Summary {
    let records = fixtures::seal(&fixtures::run(), events);
    summary_of(&fixtures::bytes(&records)).expect("readable")
}

#[test]
fn a_run_is_summed_up() {
    let summary = of(fixtures::events());
    assert_eq!((summary.run.clone(), summary.mode), (fixtures::run(), Mode::Live));
    assert_eq!((summary.estate.as_str(), summary.runbook.as_str()), ("phoenix", "DR-001"));
    assert_eq!(
        (summary.title.as_str(), summary.who.as_str()),
        ("Regional failover", "ops@bastion")
    );
    assert_eq!((summary.started, summary.last), (fixtures::time(0), fixtures::time(13)));
    assert_eq!(summary.incident_started, fixtures::time(-360));
    assert_eq!((summary.records, summary.torn), (14, false));
    assert_eq!(summary.step, Some("database".into()));
    assert_eq!(summary.last_kind, "run_finished");
    assert_eq!(summary.standing, Standing::Finished { end: RunEnd::WithExceptions, exit: 7 });
    assert_eq!(summary.obligations.len(), 1);
}

#[test]
fn standings_follow_the_events() {
    let stopped = || Event::RunStopped { why: "SIGTERM".to_owned(), exit: 13 };
    let resumed =
        || Event::RunResumed { settings: fixtures::settings(), version: "0.1.0".to_owned() };
    let abandoned = || Event::RunAbandoned { reason: "again".to_owned(), still_changed: vec![] };
    let finished = || Event::RunFinished { end: RunEnd::Restored, exit: 0 };
    let is_stopped = Standing::Stopped { why: "SIGTERM".to_owned(), exit: 13 };
    let is_abandoned = Standing::Abandoned { reason: "again".to_owned() };
    let is_finished = Standing::Finished { end: RunEnd::Restored, exit: 0 };
    for (after, standing) in [
        (vec![], Standing::Running),
        (vec![stopped()], is_stopped.clone()),
        (vec![stopped(), fixtures::note("still")], is_stopped),
        (vec![stopped(), resumed()], Standing::Running),
        (vec![stopped(), abandoned()], is_abandoned.clone()),
        (vec![abandoned(), fixtures::note("why")], is_abandoned),
        (vec![finished(), fixtures::note("thanks")], is_finished),
    ] {
        let events = std::iter::once(fixtures::started()).chain(after).collect();
        assert_eq!(of(events).standing, standing);
    }
    let rolling = vec![
        fixtures::started(),
        Event::RollbackStarted { why: String::new(), scope: RollbackScope::Run },
    ];
    assert!(of(rolling).rolling_back);
}

#[test]
fn every_kind_of_event_is_passed() {
    let summary = of(golden::events());
    assert!(summary.rolling_back);
    assert_eq!(summary.records, golden::events().len() as u64);
}

#[test]
fn what_cannot_be_summed_up_says_why() {
    let good = fixtures::bytes(&fixtures::records());
    let text = String::from_utf8(good.clone()).expect("text");
    let first_only = text.lines().next().expect("a line");
    for (bytes, says) in [
        (String::new(), "no record was written"),
        (first_only.to_owned(), "no record was written"),
        ("garbage".to_owned(), "no record was written"),
        ("garbage\n".to_owned(), "record 0 is damaged"),
        (format!("garbage\n{text}"), "record 0 is damaged"),
        (text.replacen("\"seq\":4", "\"seq:4", 1), "record 4 is damaged"),
        (text.replacen("\"format\":1", "\"format\":2", 1), "newer phoenix-dr: format 2"),
        ("{\"format\":3}\n".to_owned(), "newer phoenix-dr: format 3"),
        (text.lines().skip(1).collect::<Vec<_>>().join("\n"), "not the start of a run"),
    ] {
        let why = summary_of(bytes.as_bytes()).expect_err(says).to_string();
        assert!(why.contains(says), "{why} does not say: {says}");
    }
    let torn = summary_of(&good[..good.len() - 5]).expect("only torn");
    assert_eq!((torn.torn, torn.records), (true, 13));
    assert_eq!(torn.standing, Standing::Running);
}

#[test]
fn a_later_run_closes_what_an_earlier_one_opened() {
    let change = |at, run: &str, change| ObligationChange {
        time: fixtures::time(at),
        run: RunId(run.to_owned()),
        change,
    };
    let opened = |id| Change::Opened { step: None, obligation: fixtures::obligation(id) };
    let closed = |id: &str| Change::Closed { id: id.to_owned(), lapsed: false };
    let open = open_obligations(vec![
        change(9, "B", closed("unfenced")),
        change(1, "A", opened("unfenced")),
        change(2, "A", opened("no-replica")),
        change(3, "B", opened("no-replica")),
        change(4, "B", closed("never opened")),
        change(10, "C", opened("unfenced")),
    ]);
    let seen: Vec<_> = open
        .iter()
        .map(|open| (open.obligation.id.as_str(), open.run.0.as_str(), open.since))
        .collect();
    assert_eq!(
        seen,
        [("no-replica", "A", fixtures::time(2)), ("unfenced", "C", fixtures::time(10))]
    );
}

#[test]
fn what_lapses_is_what_its_own_run_opened() {
    let change = |at, run: &str, change| ObligationChange {
        time: fixtures::time(at),
        run: RunId(run.to_owned()),
        change,
    };
    let opened = || Change::Opened { step: None, obligation: fixtures::obligation("unfenced") };
    let lapsed = || Change::Closed { id: "unfenced".to_owned(), lapsed: true };
    let open = |changes: Vec<ObligationChange>| {
        let open = open_obligations(changes).into_iter().map(|open| open.run.0);
        open.collect::<Vec<_>>()
    };
    assert!(open(vec![change(1, "A", opened()), change(2, "A", lapsed())]).is_empty());
    let again = [change(1, "A", opened()), change(2, "B", opened()), change(3, "B", lapsed())];
    assert_eq!(open(again.into()), ["A"], "the earlier run took nothing back");
}

#[test]
fn a_damaged_journal_still_says_whose_it_is() {
    let start = |text: &str| start_in(Lines::new(text.as_bytes()));
    let text = String::from_utf8(fixtures::bytes(&fixtures::records())).expect("text");
    let later = text.replacen("\"seq\":4", "\"seq:4", 1);
    assert!(summary_of(later.as_bytes()).is_err());
    let begins = start(&later).expect("its first record is intact");
    assert_eq!((begins.estate.as_str(), begins.mode), ("phoenix", Mode::Live));
    // The second record vouches for the first: what was altered may be whose the run is.
    let altered = later.replacen("\"estate\":\"phoenix\"", "\"estate\":\"phoenlx\"", 1);
    assert_ne!(altered, later);
    assert_eq!(start(&altered), None);
    assert_eq!(start(&text.replacen("\"kind\"", "\"kid\"", 1)), None);
    assert_eq!(start(""), None);
}
