//! A runbook as text: explained for a terminal, and with real names as Markdown for the day this program cannot run.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::catalogue::actions::ActionName;
use super::catalogue::checks::CheckName;
use super::schema::{Approve, Runbook, Step, Verify};
use crate::plan::{Approval, Body, CheckSpec, Plan, PlannedStep, Rollback};

/// Returns a runbook explained, in lines of at most 80 columns where its own texts allow.
pub(crate) fn show(runbook: &Runbook) -> String {
    let mut text = format!("{}  {}\n", runbook.runbook, runbook.title);
    if let Some(description) = &runbook.description {
        for line in wrap(description, 78) {
            line_of(&mut text, &format!("  {line}"));
        }
    }
    line_of(&mut text, &format!("\ncommand: phoenix-dr {}", runbook.command));
    if let Some(objectives) = &runbook.objectives {
        line_of(
            &mut text,
            &format!(
                "objectives: RTO {} (at most {}), RPO {} (at most {})",
                objectives.rto, objectives.rto_max, objectives.rpo, objectives.rpo_max
            ),
        );
    }
    for (name, input) in &runbook.inputs {
        let needed = if input.required { "required" } else { "optional" };
        let help = input.help.clone().unwrap_or_default();
        line_of(&mut text, &format!("  --{} ({needed})  {help}", name.replace('_', "-")));
    }
    line_of(&mut text, "\nsteps:");
    for (number, step) in runbook.steps.iter().enumerate() {
        show_step(&mut text, number + 1, step);
    }
    if !runbook.verification.is_empty() {
        line_of(&mut text, "\nrestored when:");
        for check in &runbook.verification {
            let title = check.title.as_deref().unwrap_or(&check.check);
            line_of(&mut text, &format!("  {title} ({})", check.check));
        }
    }
    for follow_up in &runbook.follow_ups {
        line_of(&mut text, &format!("afterwards: {follow_up}"));
    }
    text
}

fn show_step(text: &mut String, number: usize, step: &Step) {
    let title = step.title.as_deref().unwrap_or(&step.id);
    let priority = step.priority.map(|p| format!("{p:?} ")).unwrap_or_default();
    line_of(text, &format!("{number:3} {:16} {priority}{title}", step.id));
    let what = step.action.clone().unwrap_or_else(|| "gate".to_owned());
    let needs = match &step.needs {
        None => "everything before".to_owned(),
        Some(needs) if needs.is_empty() => "nothing".to_owned(),
        Some(needs) => needs.join(", "),
    };
    line_of(text, &format!("      {what}; needs {needs}"));
    if let Some(when) = &step.when {
        line_of(text, &format!("      only when {when}"));
    }
    match &step.approve {
        None => {}
        Some(Approve::Say(say)) => line_of(text, &format!("      asks: {say}")),
        Some(Approve::Typed(typed)) => {
            line_of(text, &format!("      asks to type `{}`: {}", typed.word, typed.say));
        }
    }
    if let Some(Verify::Checks(checks)) = &step.verify {
        for check in checks {
            let title = check.title.as_deref().unwrap_or(&check.check);
            line_of(text, &format!("      proved by: {title}"));
        }
    }
}

/// Returns the catalogue: every action and check with its fields.
pub(crate) fn show_actions() -> String {
    let mut text = "Actions\n".to_owned();
    for action in ActionName::ALL {
        line_of(&mut text, &format!("\n{}\n  {}", action.name(), action.say()));
        fields(&mut text, &action.schema());
        for output in action.outputs() {
            line_of(&mut text, &format!("    -> {}: {}", output.name, output.say));
        }
    }
    text.push_str("\nChecks\n");
    for check in CheckName::ALL {
        line_of(&mut text, &format!("\n{}\n  {}", check.name(), check.say()));
        fields(&mut text, &check.schema());
    }
    text
}

fn fields(text: &mut String, schema: &Value) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    for (name, property) in properties {
        let must = if required.contains(&name.as_str()) { "" } else { " (optional)" };
        let say = property.get("description").and_then(Value::as_str).unwrap_or_default();
        line_of(text, format!("    {name}{must}  {say}").trim_end());
    }
}

/// Returns a plan as Markdown: what a person does by hand, in order, with real names and commands.
pub(crate) fn rendered(plan: &Plan) -> String {
    let mut text = format!("# {} {}\n\n", plan.runbook, plan.title);
    line_of(
        &mut text,
        &format!(
            "Estate `{}`, severity {:?}. RTO {} (at most {}), RPO {} (at most {}).\n",
            plan.estate.estate,
            plan.severity,
            plan.objectives.rto,
            plan.objectives.rto_max,
            plan.objectives.rpo,
            plan.objectives.rpo_max
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
    for (number, step) in plan.steps.iter().enumerate() {
        rendered_step(&mut text, plan, number + 1, step);
    }
    text.push_str("\n## Restored when\n\n");
    for check in &plan.verification {
        line_of(&mut text, &format!("- [ ] {}", said(check)));
    }
    text.push_str("\n## Afterwards\n\n");
    for follow_up in &plan.follow_ups {
        line_of(&mut text, &format!("- [ ] {follow_up}"));
    }
    text
}

fn rendered_step(text: &mut String, plan: &Plan, number: usize, step: &PlannedStep) {
    line_of(text, &format!("\n## {number}. {}\n", step.title));
    if !step.needs.is_empty() {
        let needs: Vec<&str> = step.needs.iter().map(|need| need.0.as_str()).collect();
        line_of(text, &format!("After: {}.\n", needs.join(", ")));
    }
    match &step.approve {
        Approval::Plan | Approval::Each { say: None } => {}
        Approval::Each { say: Some(say) } | Approval::Typed { say, .. } => {
            line_of(text, &format!("**Stop and think:** {say}\n"));
        }
    }
    match &step.body {
        Body::Gate { checks } => {
            for check in checks {
                line_of(text, &format!("- [ ] {}", said(check)));
            }
        }
        Body::Action { action, with } => {
            let lines = by_hand(plan, action, with);
            if lines.is_empty() {
                line_of(text, &format!("`{action}` with `{}`", Value::Object(with.clone())));
            } else {
                line_of(text, &format!("```sh\n{}\n```", lines.join("\n")));
            }
        }
    }
    for check in &step.verify {
        line_of(text, &format!("- [ ] {}", said(check)));
    }
    match &step.rollback {
        Rollback::Auto => {}
        Rollback::None { why } => line_of(text, &format!("\nCannot be undone: {why}.")),
        Rollback::Action { action, .. } => line_of(text, &format!("\nUndone by `{action}`.")),
    }
}

/// The commands a person types in place of an action; what is only known then is in capitals.
fn by_hand(plan: &Plan, action: &str, with: &Map<String, Value>) -> Vec<String> {
    let text = |name: &str| with.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let region = text("region");
    let context = plan.estate.clusters.get(&region).map_or("CONTEXT", |c| c.context.as_str());
    let workloads = with.get("workloads").and_then(Value::as_array).cloned().unwrap_or_default();
    let split = |name: &str| {
        let (namespace, name) = name.split_once('/').unwrap_or(("NAMESPACE", name));
        (namespace.to_owned(), name.to_owned())
    };
    match ActionName::parse(action) {
        Some(ActionName::KubernetesScale) => workloads
            .iter()
            .map(|entry| {
                let (namespace, name) =
                    split(entry.get("workload").and_then(Value::as_str).unwrap_or_default());
                let replicas = entry.get("replicas").cloned().unwrap_or(Value::Null);
                format!(
                    "kubectl --context {context} -n {namespace} scale deployment/{name} --replicas={replicas}"
                )
            })
            .collect(),
        Some(ActionName::KubernetesRestart) => workloads
            .iter()
            .filter_map(Value::as_str)
            .map(|workload| {
                let (namespace, name) = split(workload);
                format!("kubectl --context {context} -n {namespace} rollout restart deployment/{name}")
            })
            .collect(),
        Some(ActionName::KubernetesApply) => {
            vec![format!("kubectl --context {context} apply --server-side -f {}", text("file"))]
        }
        Some(ActionName::RdsChooseRecoveryPoint) => vec![
            format!("aws rds describe-db-instances --region {region}"),
            format!("aws rds describe-db-instance-automated-backups --region {region}"),
            format!("aws rds describe-db-snapshots --region {region}"),
        ],
        Some(ActionName::RdsRecover | ActionName::RdsPromoteReplica) => recover(plan, &region),
        Some(ActionName::DatabaseRepoint) => repoint(plan, context),
        Some(ActionName::Route53Weights | ActionName::TrafficShift) => traffic(plan, &text("to")),
        Some(ActionName::CommandRun) => {
            let argv = with.get("argv").and_then(Value::as_array).cloned().unwrap_or_default();
            vec![argv.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")]
        }
        Some(ActionName::Manual) => vec![format!("# {}", text("say"))],
        Some(ActionName::PostgresFence) => fence(plan),
        Some(
            ActionName::RdsProtect
            | ActionName::RdsRestorePointInTime
            | ActionName::RdsRestoreSnapshot
            | ActionName::S3FailoverObject
            | ActionName::Wait,
        )
        | None => Vec::new(),
    }
}

fn recover(plan: &Plan, region: &str) -> Vec<String> {
    let Some(database) = &plan.estate.database else { return Vec::new() };
    let mut lines = Vec::new();
    if let Some(replica) = &database.replica {
        lines.push("# either promote the replica; this cannot be undone:".to_owned());
        lines.push(format!(
            "aws rds promote-read-replica --region {region} --db-instance-identifier {}",
            replica.id
        ));
    }
    let settings = plan.estate.regions.get(region);
    let subnets =
        settings.and_then(|r| r.subnet_group.clone()).unwrap_or("SUBNET_GROUP".to_owned());
    let parameters =
        settings.and_then(|r| r.parameter_group.clone()).unwrap_or("PARAMETER_GROUP".to_owned());
    let groups = settings.map(|r| r.security_groups.join(" ")).unwrap_or_default();
    lines.push("# or restore the replicated automated backup beside it:".to_owned());
    lines.push(format!(
        "aws rds restore-db-instance-to-point-in-time --region {region} --source-db-instance-automated-backups-arn ARN --use-latest-restorable-time --target-db-instance-identifier {} --db-subnet-group-name {subnets} --vpc-security-group-ids {groups} --db-parameter-group-name {parameters}",
        database.recovered.id
    ));
    lines
}

fn fence(plan: &Plan) -> Vec<String> {
    let Some(database) = &plan.estate.database else { return Vec::new() };
    let mut lines = vec![format!(
        "psql -d postgres -c 'ALTER DATABASE \"{}\" SET default_transaction_read_only = on'",
        database.name
    )];
    for role in &database.connection.application_roles {
        lines.push(format!("psql -d postgres -c 'ALTER ROLE \"{role}\" NOLOGIN'"));
        lines.push(format!(
            "psql -d postgres -c \"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'\""
        ));
    }
    lines
}

fn repoint(plan: &Plan, context: &str) -> Vec<String> {
    let application = plan.estate.database.as_ref().and_then(|d| d.application.as_ref());
    let Some(application) = application else { return Vec::new() };
    let mut lines = Vec::new();
    for (kind, field, key) in [
        ("secret", "stringData", &application.secret),
        ("configmap", "data", &application.config_map),
    ] {
        if let Some(key) = key {
            lines.push(format!(
                "kubectl --context {context} -n {} patch {kind} {} --type merge -p '{{\"{field}\":{{\"{}\":\"NEW_HOST\"}}}}'",
                key.namespace, key.name, key.host_key
            ));
        }
    }
    for workload in &application.restart {
        let (namespace, name) = workload.split_once('/').unwrap_or(("NAMESPACE", workload));
        lines.push(format!(
            "kubectl --context {context} -n {namespace} rollout restart deployment/{name}"
        ));
    }
    lines
}

fn traffic(plan: &Plan, to: &str) -> Vec<String> {
    let Some(dns) = &plan.estate.dns else { return Vec::new() };
    let mut lines = Vec::new();
    if let Some(object) = &dns.failover_object {
        lines.push("# works while Route 53's API does not:".to_owned());
        lines.push(format!(
            "aws s3api put-object --region {} --bucket {} --key {}",
            object.region, object.bucket, object.key
        ));
    }
    lines.push(format!(
        "aws route53 list-resource-record-sets --hosted-zone-id {} --start-record-name {}",
        dns.zone, dns.name
    ));
    let identifier = dns.records.get(to).map_or("SET_IDENTIFIER", String::as_str);
    lines.push(format!(
        "# give {identifier} all the weight and the others 0 in one batch, TTL unchanged:"
    ));
    lines.push(format!(
        "aws route53 change-resource-record-sets --hosted-zone-id {} --change-batch file://CHANGES.json",
        dns.zone
    ));
    lines
}

fn said(check: &CheckSpec) -> String {
    format!("{} (`{}`, within {})", check.title, check.check, check.within)
}

fn line_of(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    writeln!(text, "{line}").ok();
}

fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let full = lines.last().is_some_and(|line| {
            !line.is_empty() && line.chars().count() + 1 + word.chars().count() > columns
        });
        if full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runbook::load;

    #[test]
    fn every_step_of_a_runbook_is_explained() {
        for (name, text) in load::embedded() {
            let runbook = load::parse(name, text).expect("a shipped runbook").runbook;
            let shown = show(&runbook);
            for step in &runbook.steps {
                assert!(shown.contains(&step.id), "{name}: {}", step.id);
            }
        }
    }

    #[test]
    fn the_catalogue_names_every_action_and_check() {
        let text = show_actions();
        for action in ActionName::ALL {
            assert!(text.contains(action.name()));
        }
        for check in CheckName::ALL {
            assert!(text.contains(check.name()));
        }
    }
}
