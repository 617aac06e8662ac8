//! Clusters, buckets, services, objectives and people.

use std::collections::BTreeMap;

use super::Checks;
use crate::estate::defaults;
use crate::estate::types::{Priority, Service, Severity};
use crate::runbook::near;
use crate::runbook::path::Path;

impl Checks<'_> {
    pub(super) fn credentials(&mut self) {
        let path = Path::root().key("credentials");
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        let mut broken_glass = false;
        for (i, source) in self.estate.credentials.iter().enumerate() {
            if seen.insert(&source.name, i).is_some() {
                let message = format!("two credential sources are named `{}`", source.name);
                self.wrong(&path.item(i).key("name"), message);
            }
            if broken_glass && !source.break_glass {
                let message = format!("`{}` comes after break-glass credentials", source.name);
                let help =
                    "break-glass credentials come last: they are used when all others failed";
                self.wrong_with_help(&path.item(i), message, help);
            }
            broken_glass |= source.break_glass;
        }
    }

    pub(super) fn clusters(&mut self) {
        let root = Path::root().key("clusters");
        let mut seen: BTreeMap<(&str, Option<&str>), &str> = BTreeMap::new();
        for (region, cluster) in &self.estate.clusters {
            let path = root.key(region);
            self.region(&path, region);
            if cluster.context.is_empty() {
                self.wrong(&path.key("context"), "the context's name is empty");
            }
            let name = (cluster.context.as_str(), cluster.kubeconfig.as_deref());
            if let Some(other) = seen.insert(name, region) {
                let message = format!("`{}` is {other}'s cluster already", cluster.context);
                self.wrong(&path.key("context"), message);
            }
            self.via(&path.key("via"), &cluster.via, *region == self.estate.primary.region);
        }
        for (name, bucket) in &self.estate.buckets {
            let path = Path::root().key("buckets").key(name);
            self.region(&path.key("region"), &bucket.region);
            self.bucket(&path.key("bucket"), &bucket.bucket);
        }
    }

    pub(super) fn services(&mut self) {
        let root = Path::root().key("services");
        let urgent =
            |service: &Service| service.priority == Priority::P0 && service.workload.is_some();
        let has_services = !self.estate.services.is_empty() || !self.estate.clusters.is_empty();
        if has_services && !self.estate.services.iter().any(urgent) {
            let message = "no P0 service has a workload";
            let help = "a failover scales nothing up before it moves the database and the traffic";
            self.doubtful(&root, message, help);
        }
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        let mut workloads: BTreeMap<&str, usize> = BTreeMap::new();
        for (i, service) in self.estate.services.iter().enumerate() {
            let path = root.item(i);
            if names.insert(&service.name, i).is_some() {
                let message = format!("two services are named `{}`", service.name);
                self.wrong(&path.key("name"), message);
            }
            match (&service.workload, service.replicas) {
                (Some(workload), replicas) => {
                    self.workload(&path.key("workload"), workload);
                    if workloads.insert(workload, i).is_some() {
                        let message = format!("`{workload}` belongs to another service already");
                        self.wrong(&path.key("workload"), message);
                    }
                    match replicas {
                        None => self.wrong_with_help(
                            &path,
                            format!("`{}` has a workload and no `replicas`", service.name),
                            "say how many the region that takes over must have",
                        ),
                        Some(count) if count < 1 => {
                            let message = format!("{count} replicas serve nobody");
                            self.wrong(&path.key("replicas"), message);
                        }
                        Some(_) => {}
                    }
                }
                (None, Some(_)) => {
                    self.wrong(&path.key("replicas"), "there is no workload to have replicas");
                }
                (None, None) => {}
            }
        }
    }

    pub(super) fn people(&mut self) {
        let objectives = Path::root().key("objectives");
        for priority in [Priority::P0, Priority::P1, Priority::P2, Priority::P3] {
            if !self.estate.objectives.contains_key(&priority) {
                let message = format!("{priority:?} has no objectives");
                let help =
                    "services of that priority are restored without anything to measure against";
                self.doubtful(&objectives, message, help);
            }
        }
        let severities = Path::root().key("severities");
        for severity in [Severity::SEV1, Severity::SEV2, Severity::SEV3, Severity::SEV4] {
            if !self.estate.severities.contains_key(&severity) {
                let message = format!("{severity:?} has no rule");
                let help = "nobody would be told in time of an incident of that severity";
                self.doubtful(&severities, message, help);
            }
        }
        self.escalations(&severities);
        let contacts = Path::root().key("contacts");
        for (i, contact) in self.estate.contacts.iter().enumerate() {
            if contact.role.is_empty() {
                self.wrong(&contacts.item(i).key("role"), "the role is empty");
            }
            if contact.phone.is_none() && contact.email.is_none() {
                let message = format!("`{}` has neither phone nor email", contact.role);
                self.doubtful(&contacts.item(i), message, "nobody can be called");
            }
        }
    }

    /// Holds whom severities escalate to against the contacts.
    fn escalations(&mut self, path: &Path) {
        let contacts = &self.estate.contacts;
        let usual = defaults::severities();
        for (severity, rule) in &self.estate.severities {
            let path = path.key(&format!("{severity:?}")).key("escalation");
            // Roles nobody named are the procedures' own.
            if usual.get(severity).is_some_and(|usual| usual.escalation == rule.escalation) {
                continue;
            }
            let roles = contacts.iter().map(|contact| contact.role.as_str());
            if roles.clone().any(|role| role == rule.escalation) {
                continue;
            }
            let message = format!("`{}` is no contact's role", rule.escalation);
            if contacts.is_empty() {
                let help = "add it under `contacts:` with a phone number";
                self.doubtful(&path, message, help);
                continue;
            }
            let help = near::hint(&rule.escalation, roles.clone()).unwrap_or_else(|| {
                let roles: Vec<&str> = roles.collect();
                format!("add it under `contacts:`, or name one of {}", roles.join(", "))
            });
            self.wrong_with_help(&path, message, help);
        }
    }
}
