//! A runbook's graph as text for programs that draw: Mermaid and DOT.

use std::fmt::Write;

use super::catalogue::actions::ActionName;
use super::graph::Graph;
use super::render::named;
use super::schema::{RollbackField, Runbook, Step};

/// How a step is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Only looks
    Gate,
    /// Changes something that can be undone
    Change,
    /// Asks or waits
    Quiet,
    /// Cannot be undone
    NoReturn,
}

fn look(step: &Step) -> Look {
    let Some(action) = step.action.as_deref().and_then(ActionName::parse) else {
        return Look::Gate;
    };
    let kept = matches!(step.rollback, Some(RollbackField::None(_)));
    // A recovery may be a promotion; where its condition leaves only restores, it is not.
    let promotes = matches!(action, ActionName::RdsPromoteReplica)
        || (action == ActionName::RdsRecover && step.when.is_none());
    if step.point_of_no_return || promotes {
        Look::NoReturn
    } else if !action.changes() {
        Look::Quiet
    } else if kept {
        Look::NoReturn
    } else {
        Look::Change
    }
}

/// Returns what a node says: id, title, and what is worth knowing at a glance.
fn lines(step: &Step) -> Vec<String> {
    let mut lines = vec![step.id.clone()];
    lines.extend(step.title.as_deref().map(named));
    let mut marks: Vec<String> = Vec::new();
    marks.extend(step.priority.map(|priority| format!("{priority:?}")));
    marks.extend(step.usually.map(|usually| format!("usually {usually}")));
    if step.when.is_some() {
        marks.push("conditional".to_owned());
    }
    if step.approve.is_some() {
        marks.push("asks".to_owned());
    }
    if !marks.is_empty() {
        lines.push(marks.join(", "));
    }
    lines
}

/// Returns the graph for Mermaid.
pub(crate) fn mermaid(runbook: &Runbook) -> String {
    let graph = Graph::of(runbook);
    let mut text =
        format!("---\ntitle: \"{}\"\n---\nflowchart TD\n", mermaid_text(&heading(runbook)));
    for (i, step) in runbook.steps.iter().enumerate() {
        let words: Vec<String> = lines(step).iter().map(|line| mermaid_text(line)).collect();
        let words = words.join("<br/>");
        // Writing to a text cannot fail.
        match look(step) {
            Look::Gate => writeln!(text, "  s{i}{{{{\"{words}\"}}}}"),
            Look::Change => writeln!(text, "  s{i}[\"{words}\"]"),
            Look::Quiet => writeln!(text, "  s{i}(\"{words}\")"),
            Look::NoReturn => writeln!(text, "  s{i}[[\"{words}\"]]:::noreturn"),
        }
        .ok();
    }
    for (i, needs) in graph.needs.iter().enumerate() {
        for needed in needs {
            writeln!(text, "  s{needed} --> s{i}").ok();
        }
    }
    text.push_str("  classDef noreturn stroke-width:3px,stroke:#c00\n");
    text
}

fn heading(runbook: &Runbook) -> String {
    format!("{} {}", runbook.runbook, runbook.title)
}

/// Returns a text as Mermaid takes it between quotes: its own signs by number.
fn mermaid_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '<' | '>' | '#' | '&' | '`' | '\\' | '{' | '}' | '[' | ']' | '|' | ';' => {
                write!(out, "#{};", u32::from(character)).ok();
            }
            '\n' | '\r' => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

/// Returns the graph for Graphviz.
pub(crate) fn dot(runbook: &Runbook) -> String {
    let graph = Graph::of(runbook);
    let mut text = format!(
        "digraph \"{}\" {{\n  label=\"{}\";\n  node [shape=box, fontname=\"sans-serif\"];\n",
        dot_text(&runbook.runbook),
        dot_text(&heading(runbook))
    );
    for (i, step) in runbook.steps.iter().enumerate() {
        let words: Vec<String> = lines(step).iter().map(|line| dot_text(line)).collect();
        let style = match look(step) {
            Look::Gate => ", shape=hexagon",
            Look::Change => "",
            Look::Quiet => ", style=rounded",
            Look::NoReturn => ", penwidth=3, color=red",
        };
        writeln!(text, "  s{i} [label=\"{}\"{style}];", words.join("\\n")).ok();
    }
    for (i, needs) in graph.needs.iter().enumerate() {
        for needed in needs {
            writeln!(text, "  s{needed} -> s{i};").ok();
        }
    }
    text.push_str("}\n");
    text
}

fn dot_text(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runbook::load;

    fn sample() -> Runbook {
        let text = "runbook: T-1
title: A \"test\"
command: t
steps:
  - { id: look, needs: [], checks: [{ check: tcp, with: { address: 'h:1' } }] }
  - { id: choose, title: Choose <it>, action: manual, with: { say: x } }
  - { id: side, needs: [look], priority: P1, when: 'true', action: wait, with: { for: 1s } }
  - { id: promote, usually: 12m, approve: each, action: rds.promote_replica, with: { region: r, replica: x } }
";
        load::parse("t.yaml", text).unwrap_or_else(|problems| panic!("{problems}")).runbook
    }

    #[test]
    fn for_mermaid() {
        insta::assert_snapshot!(mermaid(&sample()), @r#"
        ---
        title: "T-1 A #34;test#34;"
        ---
        flowchart TD
          s0{{"look"}}
          s1("choose<br/>Choose #60;it#62;")
          s2("side<br/>P1, conditional")
          s3[["promote<br/>usually 12m, asks"]]:::noreturn
          s0 --> s1
          s0 --> s2
          s1 --> s3
          s2 --> s3
          classDef noreturn stroke-width:3px,stroke:#c00
        "#);
    }

    #[test]
    fn for_graphviz() {
        insta::assert_snapshot!(dot(&sample()), @r#"
        digraph "T-1" {
          label="T-1 A \"test\"";
          node [shape=box, fontname="sans-serif"];
          s0 [label="look", shape=hexagon];
          s1 [label="choose\nChoose <it>", style=rounded];
          s2 [label="side\nP1, conditional", style=rounded];
          s3 [label="promote\nusually 12m, asks", penwidth=3, color=red];
          s0 -> s1;
          s0 -> s2;
          s1 -> s3;
          s2 -> s3;
        }
        "#);
    }
}
