//! The pages of the `go` screen: details, commands and the message to paste.

use super::go::{GoView, heading};
use crate::estate::types::Contact;
use crate::plan::{Body, Plan, PlannedStep};
use crate::report::plan_view;
use crate::report::text::{self, COLUMNS, hour};
use crate::span::Span;

/// A name cut to less says nothing.
const NAME_MIN: usize = 6;

/// Contacts called for this severity, the first of them first.
pub(super) fn contacts(plan: &Plan) -> Vec<&Contact> {
    let called = |contact: &&Contact| {
        contact.severities.is_empty() || contact.severities.contains(&plan.severity)
    };
    plan.estate.contacts.iter().filter(called).collect()
}

pub(super) fn contact_line(contact: &Contact) -> String {
    let parts = [contact.name.as_deref(), contact.phone.as_deref(), contact.email.as_deref()];
    let parts: Vec<&str> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        format!("the {}", contact.role)
    } else {
        format!("the {}: {}", contact.role, parts.join(", "))
    }
}

/// Returns whom to call in at most `columns`: of all there is the phone number is the last to go.
pub(super) fn contact_within(contact: &Contact, columns: usize) -> String {
    let whole = contact_line(contact);
    if text::width(&whole) <= columns {
        return whole;
    }
    let Some(how) = contact.phone.as_ref().or(contact.email.as_ref()) else {
        return text::clip(&whole, columns);
    };
    let room = |taken: &str| columns.saturating_sub(text::width(taken) + text::width(how));
    if let Some(name) = &contact.name {
        let left = room(&format!("the {}: , ", contact.role));
        if left >= NAME_MIN {
            return format!("the {}: {}, {how}", contact.role, text::clip(name, left));
        }
    }
    let role = text::clip(&contact.role, room("the : "));
    format!("the {role}: {how}")
}

/// Returns everything known of every step.
pub(super) fn details(view: &GoView) -> Vec<String> {
    let mut lines = heading(view);
    lines.push(format!("run {}", view.run));
    lines.push(format!("plan {}", view.plan.digest));
    let world = view.world.iter().map(ToString::to_string);
    lines.extend(world.flat_map(|world| text::wrap(&world, COLUMNS, 4)));
    for finding in &view.findings {
        lines.extend(plan_view::finding_lines(finding, COLUMNS));
    }
    for (number, planned, step) in plan_view::numbered(&view.plan, &view.steps) {
        lines.push(String::new());
        lines.extend(plan_view::step_lines(number, planned, step, view.now, COLUMNS));
    }
    lines.push(String::new());
    let proofs = view.plan.verification.iter();
    lines.extend(proofs.map(|check| format!("Restored once this holds: {}", check.title)));
    for contact in contacts(&view.plan) {
        lines.extend(text::wrap(&format!("Call {}", contact_line(contact)), COLUMNS, 2));
    }
    lines
}

/// Returns the commands to finish without this program.
pub(super) fn commands(view: &GoView) -> Vec<String> {
    let mut lines = Vec::new();
    for (number, planned, step) in plan_view::numbered(&view.plan, &view.steps) {
        if step.commands.is_empty() {
            continue;
        }
        lines.push(format!("# {number} {}: {}", planned.id, planned.title));
        lines.extend(step.commands.iter().map(|command| text::plain(command)));
    }
    lines
}

/// Returns the messages people post: those of the runbook, else one made of the plan's own words.
pub(super) fn message(view: &GoView) -> Vec<String> {
    let of = |planned: &PlannedStep| match &planned.body {
        Body::Action { action, with } if action == "manual" => {
            with.get("message").and_then(|message| message.as_str()).map(str::to_owned)
        }
        Body::Action { .. } | Body::Gate { .. } => None,
    };
    let mut messages: Vec<String> = view.plan.steps.iter().filter_map(of).collect();
    if messages.is_empty() {
        let next = view.now.checked_add(Span::minutes(30).duration()).unwrap_or(view.now);
        messages.push(format!(
            "{:?}: we are working on an incident that began at {} UTC and have started \"{}\". \
             Next update at {} UTC.",
            view.plan.severity,
            hour(view.incident_started),
            view.plan.title,
            hour(next)
        ));
    }
    let messages = messages.iter().map(|message| view.mode.message(message));
    messages.flat_map(|message| text::wrap(&message, COLUMNS, 0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_contact_the_phone_number_is_never_cut() {
        let contact: Contact = serde_json::from_value(serde_json::json!({
            "role": "Incident Commander", "name": "On-call rotation",
            "phone": "+1-555-010-0100", "email": "incidents@phoenix.example",
        }))
        .expect("a contact");
        for (columns, said) in [
            (
                200,
                "the Incident Commander: On-call rotation, +1-555-010-0100, incidents@phoenix.example",
            ),
            (60, "the Incident Commander: On-call rotation, +1-555-010-0100"),
            (50, "the Incident Commander: On-call…, +1-555-010-0100"),
            (40, "the Incident Commander: +1-555-010-0100"),
            (30, "the Incident…: +1-555-010-0100"),
        ] {
            assert_eq!(contact_within(&contact, columns), said);
            assert!(text::width(said) <= columns);
        }
    }
}
