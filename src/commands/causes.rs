//! One finding for one cause: what keeps many steps from being looked at is said once, with all who need it.

use serde_json::Value;

use crate::event::{Finding, FindingLevel};
use crate::report::plan_view::{DryRunReport, DryRunStep};

/// Shorter words say little enough to be said again.
const LENGTH_MIN: usize = 40;
/// Steps named behind a cause.
const NAMED_MAX: usize = 8;

/// Makes one finding of those that say the same, and lets steps that say it again point to it.
pub(super) fn gather(report: &mut DryRunReport, findings: Vec<Finding>) -> Vec<Finding> {
    let mut gathered: Vec<(Finding, Vec<String>)> = Vec::new();
    for finding in findings {
        let alike = gathered.iter_mut().find(|(known, _)| is_same(known, &finding));
        let Some((known, steps)) = alike else {
            let steps = finding.step.iter().map(|step| step.0.clone()).collect();
            gathered.push((finding, steps));
            continue;
        };
        if finding.level == FindingLevel::Blocking {
            known.level = FindingLevel::Blocking;
        }
        if known.hint.is_none() {
            known.hint = finding.hint;
        }
        if let Some(step) = finding.step.filter(|step| !steps.contains(&step.0)) {
            steps.push(step.0);
        }
    }
    let causes: Vec<Finding> = gathered.iter().map(|(finding, _)| finding.clone()).collect();
    let mut findings = Vec::with_capacity(gathered.len());
    for (at, (mut finding, steps)) in gathered.into_iter().enumerate() {
        if is_cause(&finding) {
            point(report, &finding);
        }
        for cause in causes[..at].iter().filter(|cause| is_cause(cause)) {
            finding.said = finding.said.replace(&cause.said, &above(cause));
        }
        if steps.len() > 1 || (finding.step.is_none() && !steps.is_empty()) {
            finding.said = format!("{}; needed by: {}", finding.said, named(&steps));
            // It is no longer about one of them.
            finding.step = None;
        }
        findings.push(finding);
    }
    findings
}

fn is_cause(finding: &Finding) -> bool {
    finding.level != FindingLevel::Good && finding.said.len() >= LENGTH_MIN
}

fn above(cause: &Finding) -> String {
    format!("see `{}` above", cause.about)
}

fn is_same(known: &Finding, other: &Finding) -> bool {
    let good = |finding: &Finding| finding.level == FindingLevel::Good;
    !good(known) && !good(other) && known.said == other.said
}

fn named(steps: &[String]) -> String {
    let rest = steps.len().saturating_sub(NAMED_MAX);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    format!("{}{more}", steps[..steps.len() - rest].join(", "))
}

/// Replaces a cause's words in what was found of the steps.
fn point(report: &mut DryRunReport, finding: &Finding) {
    let above = above(finding);
    for step in &mut report.steps {
        for asked in &mut step.asks {
            *asked = asked.replace(&finding.said, &above);
        }
        let Ok(found) = serde_json::to_value(&step.found) else { continue };
        let (replaced, changed) = replace(found, finding, &above);
        // What was seen of a step keeps its shape: only words in it changed.
        if changed && let Ok(found) = serde_json::from_value(replaced) {
            *step = DryRunStep { found, ..step.clone() };
        }
    }
}

fn replace(value: Value, finding: &Finding, above: &str) -> (Value, bool) {
    match value {
        Value::String(text) if text.contains(&finding.said) => {
            (Value::String(text.replace(&finding.said, above)), true)
        }
        Value::Array(items) => {
            let items: Vec<(Value, bool)> =
                items.into_iter().map(|item| replace(item, finding, above)).collect();
            let changed = items.iter().any(|(_, changed)| *changed);
            (items.into_iter().map(|(item, _)| item).collect(), changed)
        }
        Value::Object(entries) => {
            let mut changed = false;
            let entries = entries.into_iter().map(|(key, value)| {
                if key == "hint"
                    && value.as_str().is_some_and(|hint| finding.hint.as_deref() == Some(hint))
                {
                    // The finding gives it.
                    changed = true;
                    return (key, Value::Null);
                }
                let (value, other) = replace(value, finding, above);
                changed |= other;
                (key, value)
            });
            let entries = Value::Object(entries.collect());
            (entries, changed)
        }
        other => (other, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::plan_view::Found;
    use crate::report::plan_view::tests::report;

    const CAUSE: &str =
        "no AWS credentials work (default chain: no providers in chain provided credentials)";

    fn finding(about: &str, said: &str, step: Option<&str>) -> Finding {
        Finding {
            level: FindingLevel::Warning,
            about: about.to_owned(),
            said: said.to_owned(),
            hint: Some("aws sso login".to_owned()),
            step: step.map(Into::into),
        }
    }

    #[test]
    fn one_cause_is_said_once_with_all_who_need_it() {
        let mut report = report();
        report.steps[1].asks = vec![format!("type `x` to go on without it: {CAUSE}")];
        let hint = Some("aws sso login".to_owned());
        report.steps[1].found = Found::Unreachable { why: CAUSE.to_owned(), hint };
        let blocking =
            Finding { level: FindingLevel::Blocking, ..finding("Scale", CAUSE, Some("capacity")) };
        let found = gather(
            &mut report,
            vec![
                finding("credentials", CAUSE, None),
                blocking,
                finding("Restore P1", CAUSE, Some("p1")),
                finding("shared lock", &format!("read it: {CAUSE}"), None),
                finding("Fence", "cannot be reached", Some("fence")),
            ],
        );
        let said: Vec<(&str, &str)> =
            found.iter().map(|finding| (finding.about.as_str(), finding.said.as_str())).collect();
        let whole = format!("{CAUSE}; needed by: capacity, p1");
        assert_eq!(
            said,
            [
                ("credentials", whole.as_str()),
                ("shared lock", "read it: see `credentials` above"),
                ("Fence", "cannot be reached")
            ]
        );
        assert_eq!(found[0].level, FindingLevel::Blocking, "the gravest counts");
        assert_eq!(found[2].step, Some("fence".into()), "one step's own finding stays its own");
        let Found::Unreachable { why, hint } = &report.steps[1].found else { panic!("kept") };
        assert_eq!((why.as_str(), hint), ("see `credentials` above", &None));
        let asked = "type `x` to go on without it: see `credentials` above";
        assert_eq!(report.steps[1].asks, [asked]);
    }

    #[test]
    fn what_is_good_is_never_gathered() {
        let good = |about: &str| Finding {
            level: FindingLevel::Good,
            ..finding(about, "a long enough sentence about a host that answers", None)
        };
        assert_eq!(gather(&mut report(), vec![good("a"), good("b")]).len(), 2);
    }
}
