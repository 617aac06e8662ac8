//! A plan as Markdown for the day this program cannot run: what a person does by hand, in order, with real names.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::catalogue::actions::{ActionName, RecoveryMethod};
use super::catalogue::checks::CheckName;
use super::expression::template::{Piece, split};
use super::expression::{Reference, compile_cached};
use super::render::line_of;
use crate::by_hand;
use crate::estate::types::{Estate, SecretRef, TlsMode, Via};
use crate::plan::{Approval, Body, CheckSpec, Plan, PlannedStep, Rollback, ways};
use crate::shell;

/// Returns a plan as Markdown.
pub(crate) fn rendered(plan: &Plan) -> String {
    let mut sheet = Sheet { plan, text: String::new(), words: BTreeMap::new() };
    for (number, step) in plan.steps.iter().enumerate() {
        sheet.step(number + 1, step);
    }
    sheet.line("\n## Restored when\n");
    for check in &plan.verification {
        sheet.check(check);
    }
    sheet.line("\n## Afterwards\n");
    for follow_up in &plan.follow_ups {
        sheet.line(&format!("- [ ] {follow_up}"));
    }
    // Last, because the steps have said which words they leave open.
    let Sheet { text, mut words, .. } = sheet;
    words.retain(|word, _| text.contains(word.as_str()));
    format!("{}{text}", head(plan, &words))
}

fn head(plan: &Plan, words: &BTreeMap<String, String>) -> String {
    let mut text = format!("# {} {}\n\n", plan.runbook, plan.title);
    let objectives = &plan.objectives;
    line_of(
        &mut text,
        &format!(
            "Estate `{}`, severity {:?}. RTO {} (at most {}), RPO {} (at most {}).\n",
            plan.estate.estate,
            plan.severity,
            objectives.rto,
            objectives.rto_max,
            objectives.rpo,
            objectives.rpo_max
        ),
    );
    for contact in &plan.estate.contacts {
        let how: Vec<&str> = [&contact.name, &contact.phone, &contact.email]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        line_of(&mut text, &format!("- {}: {}", contact.role, how.join(", ")));
    }
    line_of(&mut text, "\n## Before you begin\n");
    line_of(
        &mut text,
        "Keep to the order, and write down when each step was done. A word in capitals is known only on the day.",
    );
    for (word, say) in words {
        line_of(&mut text, &format!("- `{word}`: {say}"));
    }
    let lines = before(&plan.estate);
    if !lines.is_empty() {
        line_of(&mut text, &format!("\n```sh\n{}\n```", lines.join("\n")));
    }
    text
}

/// What must be so before `psql`, `aws` and `kubectl` reach anything.
fn before(estate: &Estate) -> Vec<String> {
    let mut lines = Vec::new();
    for source in &estate.credentials {
        if let Some(profile) = &source.profile {
            // Pasted as a whole, only the first one counts.
            let mark = match (lines.is_empty(), source.break_glass) {
                (_, true) => "# last of all: ",
                (true, false) => "",
                (false, false) => "# or: ",
            };
            let profile = shell::word(profile);
            lines.push(format!("{mark}export AWS_PROFILE={profile} # {}", source.name));
        }
    }
    let mut vias: Vec<&Via> = estate.clusters.values().map(|cluster| &cluster.via).collect();
    if let Some(database) = &estate.database {
        let connection = &database.connection;
        lines.push(password(&connection.password_from));
        if connection.tls == TlsMode::Require {
            let root = connection.root_cert.as_ref();
            let root = root.map(|file| format!(" PGSSLROOTCERT={}", shell::word(file)));
            lines.push(format!("export PGSSLMODE=verify-full{}", root.unwrap_or_default()));
        }
        vias.push(&database.via);
        vias.extend(database.primary.via.as_ref());
        vias.extend(database.replica.as_ref().and_then(|replica| replica.via.as_ref()));
        vias.extend(database.recovered.via.as_ref());
    }
    let forwards: BTreeSet<String> = vias
        .into_iter()
        .filter_map(|via| {
            Some(format!("{} & # a port forward", shell::line(via.command.as_ref()?)))
        })
        .collect();
    lines.extend(forwards);
    lines
}

fn password(from: &SecretRef) -> String {
    match (&from.env, &from.file, &from.command) {
        (Some(name), _, _) => format!("export PGPASSWORD=\"${name}\""),
        (None, Some(file), _) => {
            format!("export PGPASSWORD=\"$(head -n 1 {})\"", shell::word(file))
        }
        (None, None, Some(argv)) => format!("export PGPASSWORD=\"$({})\"", shell::line(argv)),
        (None, None, None) => "export PGPASSWORD=PASSWORD".to_owned(),
    }
}

struct Sheet<'a> {
    plan: &'a Plan,
    text: String,
    /// Words in capitals, and what they stand for
    words: BTreeMap<String, String>,
}

impl Sheet<'_> {
    fn line(&mut self, line: &str) {
        line_of(&mut self.text, line);
    }

    fn code(&mut self, lines: &[String]) {
        self.line(&format!("```sh\n{}\n```", lines.join("\n")));
    }

    fn step(&mut self, number: usize, step: &PlannedStep) {
        let priority = step.priority.map(|priority| format!(" ({priority:?})")).unwrap_or_default();
        let title = self.filled_text(&step.title);
        self.line(&format!("\n## {number}. {title}{priority}\n"));
        let needs: Vec<String> =
            step.needs.iter().map(|need| self.numbered(need.0.as_str())).collect();
        if !needs.is_empty() {
            self.line(&format!("After: {}.\n", needs.join(", ")));
        }
        if let Some(when) = &step.when {
            let said = self.outputs_said(when);
            self.line(&format!("**Only if** `{when}`{said}; else leave this step out.\n"));
        }
        match &step.approve {
            Approval::Plan | Approval::Each { say: None } => {}
            Approval::Each { say: Some(say) } => {
                let say = self.filled_text(say);
                self.line(&format!("**Stop and think:** {say}\n"));
            }
            Approval::Typed { say, word } => {
                let (say, word) = (self.filled_text(say), self.filled_text(word));
                self.line(&format!(
                    "**Stop and think:** {say} The program would have `{word}` typed: have a second person say it.\n"
                ));
            }
        }
        match &step.body {
            Body::Gate { checks } => checks.iter().for_each(|check| self.check(check)),
            Body::Action { action, with } => self.action(step, action, with),
        }
        step.verify.iter().for_each(|check| self.check(check));
        self.undo(step);
    }

    fn numbered(&self, id: &str) -> String {
        let at = self.plan.steps.iter().position(|step| step.id.0 == id);
        at.map_or_else(|| id.to_owned(), |at| format!("{} ({id})", at + 1))
    }

    fn action(&mut self, step: &PlannedStep, action: &str, with: &Map<String, Value>) {
        let with = self.filled(with);
        match ActionName::parse(action) {
            Some(ActionName::RdsRecover) if !with.get("point").is_some_and(Value::is_object) => {
                let region = with.get("region").and_then(Value::as_str).unwrap_or_default();
                self.recovery(step, region);
            }
            Some(name) => self.code(&by_hand::action(&self.plan.estate, name, &with)),
            None => self.line(&format!("`{action}`")),
        }
    }

    /// Each way by itself: following the sheet must never promote for one who chose to restore.
    fn recovery(&mut self, step: &PlannedStep, region: &str) {
        let methods = ways::of_step(self.plan, step);
        for method in methods {
            if !by_hand::possible(&self.plan.estate, method) {
                continue;
            }
            self.line(&format!("If {}:\n", by_hand::chosen(method)));
            if let Some(before) = ways::done_before(self.plan, step, method) {
                let before = self.numbered(&before.id.0);
                self.line(&format!("Nothing: step {before} has done it.\n"));
                continue;
            }
            self.code(&by_hand::recovery(&self.plan.estate, region, method));
            self.line("");
        }
    }

    fn check(&mut self, check: &CheckSpec) {
        let title = self.filled_text(&check.title);
        self.line(&format!("\n- [ ] {title} (`{}`, within {})\n", check.check, check.within));
        let with = self.filled(&check.with);
        if let Some(name) = CheckName::parse(&check.check) {
            let lines = by_hand::checks::check(&self.plan.estate, name, &with);
            let lines: Vec<String> = lines.iter().map(|line| format!("  {line}")).collect();
            self.line(&format!("  ```sh\n{}\n  ```", lines.join("\n")));
        }
        for (what, said) in [
            ("holds when", check.that.clone()),
            ("must be", check.expect.as_ref().map(Value::to_string)),
        ] {
            if let Some(said) = said {
                self.line(&format!("  {what} `{said}`"));
            }
        }
    }

    fn undo(&mut self, step: &PlannedStep) {
        let body = match &step.body {
            Body::Gate { .. } => return,
            Body::Action { action, with } => (action, with),
        };
        let (action, with) = match &step.rollback {
            // What only looks, asks or chooses leaves nothing to undo.
            Rollback::None { .. } if !step.changes => return,
            Rollback::None { why } => {
                let why = self.filled_text(why);
                return self.line(&format!("\nCannot be undone: {why}."));
            }
            Rollback::Action { action, with } => {
                let (with, name) = (self.filled(with), ActionName::parse(action));
                let lines = name.map(|name| by_hand::action(&self.plan.estate, name, &with));
                self.line("\nTo undo it:\n");
                return self.code(&lines.unwrap_or_default());
            }
            Rollback::Auto => body,
        };
        let with = self.filled(with);
        let Some(name) = ActionName::parse(action) else { return };
        let lines = by_hand::undo(&self.plan.estate, name, &with);
        let promotes = name == ActionName::RdsRecover
            && ways::of_step(self.plan, step).contains(&RecoveryMethod::Promote);
        if promotes {
            self.line("\n**A promotion cannot be undone.** To undo a restore:\n");
        } else if lines.is_empty() {
            if step.changes {
                self.line("\nNothing takes this back.");
            }
            return;
        } else if step.point_of_no_return {
            self.line("\n**No way back from here on without loss.** To undo it all the same:\n");
        } else {
            self.line("\nTo undo it:\n");
        }
        self.code(&lines);
    }

    /// Returns arguments with a word in capitals for each expression that has no value yet.
    fn filled(&mut self, with: &Map<String, Value>) -> Map<String, Value> {
        with.iter().map(|(name, value)| (name.clone(), self.filled_value(value))).collect()
    }

    fn filled_value(&mut self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.filled_text(text)),
            Value::Array(items) => items.iter().map(|item| self.filled_value(item)).collect(),
            Value::Object(entries) => Value::Object(self.filled(entries)),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    fn filled_text(&mut self, text: &str) -> String {
        let Ok(pieces) = split(text) else { return text.to_owned() };
        let parts: Vec<String> = pieces
            .into_iter()
            .map(|piece| match piece {
                Piece::Literal(text) => text.to_owned(),
                Piece::Expression { text, .. } => self.word(text),
            })
            .collect();
        parts.concat()
    }

    /// Returns the word for an expression: `DATABASE_INSTANCE` for `steps.database.outputs.instance`.
    fn word(&mut self, expression: &str) -> String {
        let named: Vec<(String, String)> = outputs_of(expression);
        let word = match named.as_slice() {
            [(step, output)] => format!("{step}_{output}"),
            _ => expression.to_owned(),
        };
        let word: String = word
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
            .collect();
        let say: Vec<String> =
            named.iter().map(|(step, output)| self.output_said(step, output)).collect();
        let say = if say.is_empty() { format!("`{expression}`") } else { say.join("; ") };
        self.words.insert(word.clone(), say);
        word
    }

    fn output_said(&self, step: &str, output: &str) -> String {
        let planned = self.plan.steps.iter().find(|planned| planned.id.0 == step);
        let action = planned.and_then(|planned| match &planned.body {
            Body::Action { action, .. } => ActionName::parse(action),
            Body::Gate { .. } => None,
        });
        let outputs = action.map(ActionName::outputs).unwrap_or_default();
        let say = outputs.iter().find(|known| known.name == output).map(|known| known.say);
        let of = format!("`{output}` of step {}", self.numbered(step));
        let recovered = self.recovered(action, output);
        match say {
            Some(say) => format!("{of}, {say}{recovered}"),
            None => format!("{of}{recovered}"),
        }
    }

    /// What a recovery gives is one of few: the sheet names them.
    fn recovered(&self, action: Option<ActionName>, output: &str) -> String {
        let database = self.plan.estate.database.as_ref();
        match (action, output, database) {
            (Some(ActionName::RdsRecover), "instance", Some(database)) => {
                let replica = database.replica.as_ref();
                let promoted =
                    replica.map(|replica| format!("`{}` after a promotion, ", replica.id));
                format!(
                    " ({}`{}` after a restore)",
                    promoted.unwrap_or_default(),
                    database.recovered.id
                )
            }
            (Some(ActionName::RdsRecover), "address", Some(_)) => {
                " (`_HOST` and `_PORT` are its parts)".to_owned()
            }
            _ => String::new(),
        }
    }

    fn outputs_said(&self, expression: &str) -> String {
        let said: Vec<String> = outputs_of(expression)
            .iter()
            .map(|(step, output)| self.output_said(step, output))
            .collect();
        if said.is_empty() { String::new() } else { format!(" ({})", said.join("; ")) }
    }
}

/// The outputs an expression names, as step and output.
fn outputs_of(expression: &str) -> Vec<(String, String)> {
    let Ok(compiled) = compile_cached(expression) else { return Vec::new() };
    let pair = |reference: &Reference| {
        Some((reference.step()?.to_owned(), reference.output()?.to_owned()))
    };
    let named: BTreeSet<(String, String)> = compiled.references.iter().filter_map(pair).collect();
    named.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::plan::resolve::resolve;
    use crate::runbook::load;
    use crate::sandbox::world;

    fn estates() -> Vec<Estate> {
        let template = crate::estate::init::template();
        let template =
            crate::estate::load::parse("phoenix-dr.yaml", &template).expect("a template");
        let shipped = world::shipped(world::SHIPPED).expect("a world");
        let shipped = world::parse("phoenix", shipped).expect("a world").estate;
        // An estate that can only restore, has no failover object, and a private record for its database.
        let mut poor = shipped.clone();
        let database = poor.database.as_mut().expect("a database");
        database.replica = None;
        let application = database.application.as_mut().expect("an application");
        application.secret = None;
        application.cname = serde_json::from_value(
            json!({ "zone": "Z9", "name": "db.phoenix.internal", "ttl": 30 }),
        )
        .expect("a record");
        poor.dns.as_mut().expect("a name").failover_object = None;
        vec![template, shipped, poor]
    }

    fn sheet(estate: &Estate) -> String {
        let loaded = load::find("DR-001", &[]).expect("is embedded");
        let inputs = BTreeMap::from([("region".to_owned(), json!("us-west-2"))]);
        let plan = resolve(&loaded, estate, &inputs).unwrap_or_else(|why| panic!("{why}"));
        rendered(&plan)
    }

    /// The part of a sheet under one step's heading.
    fn part<'a>(sheet: &'a str, title: &str) -> &'a str {
        let from = sheet.find(title).unwrap_or_else(|| panic!("no {title} in\n{sheet}"));
        let rest = &sheet[from..];
        rest.find("\n## ").map_or(rest, |to| &rest[..to])
    }

    #[test]
    fn the_sheet_leaves_no_expression_and_no_step_without_a_command() {
        for estate in estates() {
            let text = sheet(&estate);
            assert!(!text.contains("${{"), "{text}");
            assert!(!text.contains("```sh\n\n```"), "a step has no command:\n{text}");
            let steps = text.lines().filter(|line| line.starts_with("## ") && line.contains(". "));
            for heading in steps {
                assert!(
                    part(&text, heading).contains("```sh"),
                    "{heading} has no command:\n{text}"
                );
            }
        }
    }

    #[test]
    fn following_the_sheet_promotes_only_after_the_fence_and_restores_beside_only_if_chosen() {
        let text = sheet(&estates()[1]);
        let restore = part(&text, "Restore the database beside the lost one");
        assert!(
            restore.contains("**Only if** `steps.recovery_point.outputs.reversible`"),
            "{restore}"
        );
        assert!(!restore.contains("promote-read-replica"), "{restore}");
        assert!(restore.contains("restore-db-instance-from-db-snapshot"), "{restore}");
        for part in ["--multi-az", "--db-instance-class db.r6g.xlarge", "--deletion-protection"] {
            assert!(restore.contains(part), "{restore}");
        }
        let database = part(&text, "Bring the database up");
        assert!(database.contains("promote-read-replica"), "{database}");
        assert!(!database.contains("restore-db-instance"), "it was done before: {database}");
        assert!(database.contains("`us-west-2` typed"), "{database}");
        assert!(database.contains("A promotion cannot be undone"), "{database}");
    }

    #[test]
    fn the_sheet_names_hosts_ports_autoscalers_and_changes() {
        let estates = estates();
        let text = sheet(&estates[1]);
        for said in [
            "psql -h phoenix-prod.c1x2y3.us-east-1.rds.amazonaws.com -p 5432 -U phoenix_dr -d phoenix",
            "\"port\":\"DATABASE_ADDRESS_PORT\"",
            "patch hpa/HPA_OF_PHOENIX_API",
            "> CHANGES.json",
            "file://CHANGES.json",
            "To undo it:",
            "curl -fsS -m 3 -o /dev/null https://api.us-west-2.phoenix.example/healthz",
            "aws route53 test-dns-answer",
            "aws s3api put-object",
        ] {
            assert!(text.contains(said), "no `{said}` in\n{text}");
        }
        let poor = sheet(&estates[2]);
        let repoint = part(&poor, "Point the application");
        assert!(repoint.contains("db.phoenix.internal"), "{repoint}");
        assert!(!poor.contains("promote-read-replica") && !poor.contains("put-object"), "{poor}");
    }
}
