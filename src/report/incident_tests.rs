//! The report of a run that went well but for one step, and of text that would break a table.

use super::*;
use crate::event::{Answer, AnswerForm, QuestionKey, RunEnd};
use crate::outcome::{StepEnd, Verdict};
use crate::report::fixtures::{Script, at, obligation, question, quorum};
use crate::report::summary;

fn report(script: &Script) -> String {
    let entries: Vec<Entry> =
        script.records.iter().cloned().map(|record| Entry::Known(Box::new(record))).collect();
    let summary = summary::of(&script.records, at("03:00:00")).expect("a run");
    markdown(&entries, &summary, &[])
}

fn restored() -> Script {
    let approve = || QuestionKey::Approve { step: "traffic".into(), digest: "d1".to_owned() };
    let opened = Event::ObligationOpened { step: Some("fence".into()), obligation: obligation() };
    Script::started()
        .event("02:19:12", opened)
        .end("02:19:12", "fence", StepEnd::Waived)
        .done("02:19:00", "02:22:00", "capacity")
        .ask("02:22:00", "02:23:00", question(approve(), AnswerForm::YesNo), Answer::Yes)
        .done("02:23:00", "02:26:00", "traffic")
        .event("02:26:10", Event::RunVerified { verdict: Verdict::Holds, reports: vec![quorum()] })
        .event("02:26:10", Event::RunFinished { end: RunEnd::WithExceptions, exit: 7 })
}

#[test]
fn a_report_has_what_an_incident_record_needs() {
    let text = report(&restored());
    for part in [
        "# DR-001 Regional failover\n",
        "- Result: completed with exceptions (exit 7)\n",
        "- Incident began: 2026-07-14 02:12:00\n",
        "| verified as a whole | after 0:14 |",
        "- capacity: Get P0 capacity in us-west-2\n",
        "- fence: Fence the old primary (gone on without it)\n",
        "- [ ] unfenced-phoenix-prod: ",
        "- [ ] Watch error rates for two hours\n",
    ] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
    let decisions = text.split("## Decisions").nth(1).and_then(|rest| rest.split("## ").next());
    let decisions = decisions.expect("a heading");
    assert!(decisions.contains("2026-07-14 02:23:00"), "{decisions}");
    assert_eq!(
        text.lines().filter(|line| line.starts_with("| 2026-07-14 ")).count(),
        restored().records.len() + decisions.lines().filter(|l| l.starts_with("| 2026")).count(),
        "every record is in the timeline"
    );
}

#[test]
fn a_report_of_a_rehearsal_that_left_the_simulation_says_that_it_proves_nothing() {
    let script = Script::of(crate::report::fixtures::plan(), Mode::Rehearsal);
    let entries: Vec<Entry> =
        script.records.iter().cloned().map(|record| Entry::Known(Box::new(record))).collect();
    let summary = summary::of(&script.records, at("03:00:00")).expect("a run");
    let text = markdown(&entries, &summary, &["rds DescribeFoo".to_owned()]);
    assert!(text.contains("what came of it proves nothing.** Not known was:\n\n- rds DescribeFoo"));
    assert!(!markdown(&entries, &summary, &[]).contains("proves nothing"));
}

#[test]
fn a_text_of_somebody_else_stays_in_its_cell() {
    let noted = Event::Noted { step: None, text: "a | b\n# <b>big</b>".to_owned() };
    let text = report(&Script::started().event("02:20:00", noted));
    assert!(text.contains("a \\| b # \\<b>big\\</b> |"), "{text}");
}
