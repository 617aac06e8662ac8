//! The estate's database: its instances, what SQL finds behind them, its backup, where the application learns of it.

use serde_json::Value;

use super::Look;
use super::traffic::Wanted;
use crate::estate::types::{ApplicationEndpoint, Database, DatabaseInstance};
use crate::runbook::path::Path;
use crate::sandbox::fault::Service;
use crate::sandbox::world::Kind;

impl Look<'_> {
    pub(super) fn database(&mut self) {
        let Some(database) = &self.world.estate.database else { return };
        let path = Path::root().keys(&["estate", "database"]);
        self.instance(&path.key("primary"), database, &database.primary);
        if let Some(replica) = &database.replica {
            self.instance(&path.key("replica"), database, replica);
        }
        self.backup(&path.key("automated_backup"), database);
        let known = [Some(&database.primary), database.replica.as_ref()];
        for known in known.into_iter().flatten() {
            if let Some(address) = database.addresses.get(&known.id) {
                let path = path.keys(&["addresses", &known.id]);
                self.address(path, (&known.region, &known.id), address);
            }
        }
        if let Some(application) = &database.application {
            self.application(&path.key("application"), application);
        }
    }

    fn instance(&mut self, path: &Path, database: &Database, known: &DatabaseInstance) {
        let (region, id) = (known.region.as_str(), known.id.as_str());
        self.object(path.key("id"), Kind::RdsInstance, region, id);
        if let Some(group) = &known.fence_security_group {
            self.security_group(path.key("fence_security_group"), region, group);
        }
        if self.get(Kind::RdsInstance, region, id).is_none() {
            return;
        }
        // One that stands behind nothing, or cannot be read, may be the one.
        if !self.has_doubtful(Kind::Postgres, region) {
            self.object(path.key("id"), Kind::Postgres, region, id);
        }
        if let Some(address) = &known.address {
            self.address(path.key("address"), (region, id), address);
        }
        let Some(sql) = self.get(Kind::Postgres, region, id) else { return };
        let sound = self.sound(Kind::Postgres, region, id).is_some();
        let body = sql.body.decode();
        let roles = body.get("roles").and_then(Value::as_object);
        let names: Vec<&str> = roles.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        for (i, role) in database.connection.application_roles.iter().enumerate() {
            let may_be = !sound && self.doubts.may_have(Kind::Postgres, role);
            if !names.contains(&role.as_str()) && !may_be {
                let path = Path::root().keys(&["estate", "database", "connection"]);
                let path = path.key("application_roles").item(i);
                let what = format!("role behind postgres {id}");
                self.report(path, (&what, Some(region), role), names.iter().copied());
            }
        }
    }

    /// The backup is found by the instance it is one of.
    fn backup(&mut self, path: &Path, database: &Database) {
        let Some(wanted) = &database.automated_backup else { return };
        let text = |body: &serde_json::Map<String, Value>, key: &str| {
            body.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let backups: Vec<(String, String)> = self
            .of(Kind::RdsBackup, &wanted.region)
            .into_iter()
            .map(|(_, object)| object.body.decode())
            .map(|body| {
                let arn = text(&body, "DBInstanceAutomatedBackupsArn");
                (arn, text(&body, "DBInstanceIdentifier"))
            })
            .collect();
        if backups.is_empty() && self.may_be_bare(&wanted.region, Service::Rds) {
            return;
        }
        let (region, what) = (Some(wanted.region.as_str()), Kind::RdsBackup.name());
        let known = |(arn, id): &(String, String)| match &wanted.arn {
            Some(wanted) => arn == wanted,
            None => *id == database.primary.id,
        };
        let sought = wanted.arn.as_deref().unwrap_or(&database.primary.id);
        if backups.iter().any(known)
            || self.is_nowhere(&wanted.region)
            || self.doubts.may_have(Kind::RdsBackup, sought)
        {
            return;
        }
        match &wanted.arn {
            Some(arn) => {
                let known = backups.iter().map(|(arn, _)| arn.as_str());
                self.report(path.key("arn"), (what, region, arn), known);
            }
            None => {
                let known = backups.iter().map(|(_, id)| id.as_str());
                let what = format!("{what} of the instance");
                self.report(path.key("region"), (&what, region, &database.primary.id), known);
            }
        }
    }

    fn application(&mut self, path: &Path, application: &ApplicationEndpoint) {
        let holders = [
            ("secret", "Secret", &application.secret),
            ("config_map", "ConfigMap", &application.config_map),
        ];
        for (key, kind, holder) in holders {
            let Some(holder) = holder else { continue };
            let path = path.key(key);
            let name = format!("{}/{}", holder.namespace, holder.name);
            self.everywhere(&path.key("name"), kind, &name);
            let keys =
                [("host_key", Some(&holder.host_key)), ("port_key", holder.port_key.as_ref())];
            for (field, wanted) in keys {
                if let Some(wanted) = wanted {
                    self.key_of(path.key(field), (kind, &name), wanted);
                }
            }
        }
        if let Some(service) = &application.service {
            let name = format!("{}/{}", service.namespace, service.name);
            self.everywhere(&path.keys(&["service", "name"]), "Service", &name);
        }
        if let Some(cname) = &application.cname {
            let path = path.key("cname");
            self.object(path.key("zone"), Kind::Zone, "", &cname.zone);
            let wanted = Wanted { zone: &cname.zone, name: &cname.name, kind: "CNAME", set: None };
            self.record(path.key("name"), &wanted);
        }
        for (i, workload) in application.restart.iter().enumerate() {
            self.everywhere(&path.key("restart").item(i), "Deployment", workload);
        }
        if let Some(pods) = &application.pods {
            self.selected(path.keys(&["pods", "selector"]), pods);
        }
    }

    /// Holds a key against those that a Secret or ConfigMap has, in each cluster that has it.
    fn key_of(&mut self, path: Path, (kind, name): (&str, &str), wanted: &str) {
        for region in self.world.estate.clusters.keys() {
            let Some(id) = self.id_of(region, kind, name) else { continue };
            if self.doubts.has_manifest(region, &id) {
                continue;
            }
            let Some(manifest) = self.manifest(region, &id) else { continue };
            let data = ["data", "stringData"].into_iter().filter_map(|part| manifest.get(part));
            let keys: Vec<&str> =
                data.filter_map(Value::as_object).flatten().map(|(key, _)| key.as_str()).collect();
            if !keys.contains(&wanted) {
                let what = format!("key of {kind} {name}");
                self.report(path.clone(), (&what, Some(region), wanted), keys.into_iter());
            }
        }
    }

    /// Holds a selector against the pods that the workloads of its namespace make.
    fn selected(&mut self, path: Path, pods: &crate::estate::types::PodSelector) {
        const WORKLOADS: [&str; 3] = ["Deployment", "StatefulSet", "Pod"];
        for region in self.world.estate.clusters.keys() {
            let of = |kind: &&str| format!("{kind}/{}/", pods.namespace);
            let here: Vec<String> =
                WORKLOADS.iter().flat_map(|kind| self.ids(region, &of(kind))).collect();
            if here.is_empty() && self.may_be_bare(region, Service::Kubernetes) {
                continue;
            }
            let selects = |id: &String| {
                self.manifest(region, id).is_some_and(|manifest| {
                    let at = if id.starts_with("Pod/") {
                        "/metadata"
                    } else {
                        "/spec/template/metadata"
                    };
                    let manifest = Value::Object(manifest.into_owned());
                    let labels = manifest.pointer(&format!("{at}/labels")).cloned();
                    let labels = labels.unwrap_or_default();
                    crate::sandbox::kubernetes::selects(&pods.selector, &labels)
                })
            };
            // One in which there is a mistake may have had them.
            if !here.iter().any(selects)
                && !WORKLOADS
                    .iter()
                    .any(|kind| self.doubts.may_have_manifest(kind, &pods.namespace))
            {
                let what = format!("workload in {} whose pods have the labels", pods.namespace);
                let known = std::iter::empty();
                self.report(path.clone(), (&what, Some(region), &pods.selector), known);
            }
        }
    }
}
