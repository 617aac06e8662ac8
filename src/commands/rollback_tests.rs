use super::*;
use crate::report::screens;

#[test]
fn the_question_is_laid_out_once() {
    let view = View {
        run: RunId("01JGZ000000000000000007F3A".to_owned()),
        mode: Mode::Rehearsal,
        about: "DR-001 on estate phoenix-rehearsal".to_owned(),
        reverts: vec![Revert {
            step: "capacity".into(),
            title: "Get P0 capacity in us-west-2, which is warm and has one pod of each".to_owned(),
            how: "sets replicas and autoscalers to what they were before".to_owned(),
            values: vec!["phoenix-system/phoenix-api minReplicas 5 -> 1; ".repeat(4)],
        }],
        stays: vec![Stay { step: "database".into(), why: "it never follows again; ".repeat(6) }],
    };
    for columns in [80, 100, 132] {
        let question = view.question(columns - MARGIN);
        let shown = screens::frame(&question, columns, None);
        for line in &question.lines {
            let whole = format!("  {line}").trim_end().to_owned();
            assert!(shown.contains(&whole), "{columns}: `{line}` is broken again: {shown:#?}");
        }
    }
}
