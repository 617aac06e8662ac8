//! `database.repoint`: tells the application where its database is, and restarts it so that it listens.
//!
//! Only the keys that hold host and port are read and written; whatever else a Secret holds is never looked at.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Map, Value, json};

use super::kubernetes::restart::{self, Mark};
use super::kubernetes::{Workload, changed_meanwhile, patch_params};
use crate::clients::Clients;
use crate::clients::kubernetes::{Cluster, change, cluster, read};
use crate::engine::ports::{Armed, Call, Image, Observation, Performed};
use crate::estate::types::{ApplicationEndpoint, ObjectKey};
use crate::outcome::{ActionError, Difference, Effect, FailureClass, Fidelity};
use crate::runbook::catalogue::actions::DatabaseRepoint;

/// Pods with this annotation were started to read this endpoint.
const MARK: &str = "phoenix-dr/database";

/// Where the endpoint is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Secret,
    ConfigMap,
}

/// What this action works on, from the estate.
struct Target<'a> {
    kind: Kind,
    key: &'a ObjectKey,
    workloads: Vec<Workload>,
}

/// The keys as they are, with what is needed to change exactly this version.
struct Found {
    keys: Map<String, Value>,
    version: String,
}

fn target(clients: &Clients) -> Result<Target<'_>, ActionError> {
    let missing = |what: &str| {
        ActionError::unchanged(FailureClass::Invalid, format!("the estate has no `{what}`"))
            .hint("say in the estate how the application learns its database endpoint")
    };
    let database = clients.estate.database.as_ref().ok_or_else(|| missing("database"))?;
    let application: &ApplicationEndpoint =
        database.application.as_ref().ok_or_else(|| missing("database.application"))?;
    let (kind, key) = match (&application.secret, &application.config_map, &application.cname) {
        (Some(secret), None, None) => (Kind::Secret, secret),
        (None, Some(config_map), None) => (Kind::ConfigMap, config_map),
        (None, None, Some(cname)) => {
            let message =
                format!("`{}` is a CNAME: change it by a route53 step of the runbook", cname.name);
            return Err(ActionError::unchanged(FailureClass::Invalid, message));
        }
        _ => return Err(missing("database.application.secret, config_map or cname")),
    };
    let workloads = application.restart.iter().map(|name| Workload::parse(name));
    Ok(Target { kind, key, workloads: workloads.collect::<Result<_, _>>()? })
}

impl Target<'_> {
    fn name(&self) -> String {
        let kind = match self.kind {
            Kind::Secret => "Secret",
            Kind::ConfigMap => "ConfigMap",
        };
        format!("{kind} {}/{}", self.key.namespace, self.key.name)
    }

    fn keys(&self) -> Vec<&str> {
        std::iter::once(self.key.host_key.as_str()).chain(self.key.port_key.as_deref()).collect()
    }

    /// The values the keys must have for an address.
    fn values(&self, address: &str) -> Result<Map<String, Value>, ActionError> {
        let Some((host, port)) = address.rsplit_once(':') else {
            let message = format!("`{address}` is no host:port");
            return Err(ActionError::unchanged(FailureClass::Invalid, message));
        };
        let mut values = Map::new();
        match &self.key.port_key {
            Some(port_key) => {
                values.insert(self.key.host_key.clone(), json!(host));
                values.insert(port_key.clone(), json!(port));
            }
            None => {
                values.insert(self.key.host_key.clone(), json!(address));
            }
        }
        Ok(values)
    }

    async fn find(&self, clients: &Clients, cluster: &Cluster) -> Result<Found, ActionError> {
        let (namespace, name) = (&self.key.namespace, &self.key.name);
        let what = format!("get {}", self.name());
        let (version, text): (_, Box<dyn Fn(&str) -> Option<String> + Send>) = match self.kind {
            Kind::Secret => {
                let api: Api<Secret> = Api::namespaced(cluster.client.clone(), namespace);
                let secret = read(clients, &what, api.get(name)).await?;
                let data = secret.data.unwrap_or_default();
                let text = move |key: &str| {
                    let ByteString(bytes) = data.get(key)?;
                    Some(String::from_utf8_lossy(bytes).into_owned())
                };
                (secret.metadata.resource_version, Box::new(text))
            }
            Kind::ConfigMap => {
                let api: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), namespace);
                let map = read(clients, &what, api.get(name)).await?;
                let data = map.data.unwrap_or_default();
                (map.metadata.resource_version, Box::new(move |key: &str| data.get(key).cloned()))
            }
        };
        let keys = self.keys().into_iter().map(|key| (key.to_owned(), json!(text(key)))).collect();
        Ok(Found { keys, version: version.unwrap_or_default() })
    }

    /// Writes the keys over exactly the version that was read.
    async fn write(
        &self,
        clients: &Clients,
        cluster: &Cluster,
        version: &str,
        values: &Map<String, Value>,
        params: &PatchParams,
    ) -> Result<(), ActionError> {
        let (namespace, name) = (&self.key.namespace, &self.key.name);
        let what = format!("patch {}", self.name());
        let metadata = json!({ "resourceVersion": version });
        match self.kind {
            Kind::Secret => {
                // `stringData` cannot take a key away; `data` with null can.
                let data: Map<String, Value> = values
                    .iter()
                    .map(|(key, value)| {
                        let bytes = value.as_str().map(|text| ByteString(text.as_bytes().to_vec()));
                        (key.clone(), json!(bytes))
                    })
                    .collect();
                let patch = Patch::Merge(json!({ "metadata": metadata, "data": data }));
                let api: Api<Secret> = Api::namespaced(cluster.client.clone(), namespace);
                change(clients, &what, api.patch(name, params, &patch)).await?;
            }
            Kind::ConfigMap => {
                let patch = Patch::Merge(json!({ "metadata": metadata, "data": values }));
                let api: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), namespace);
                change(clients, &what, api.patch(name, params, &patch)).await?;
            }
        }
        Ok(())
    }
}

/// Reads the keys and the restarts; satisfied when the application was restarted for this endpoint and runs.
pub(crate) async fn observe(
    clients: &Clients,
    _call: &Call,
    with: &DatabaseRepoint,
) -> Result<Observation, ActionError> {
    let target = target(clients)?;
    let cluster = cluster(clients, &with.region).await?;
    let found = target.find(clients, &cluster).await?;
    let (marks, complete) = restart::read_marks(clients, &cluster, &target.workloads, MARK).await?;
    let values = target.values(&with.address)?;
    let wanted: Map<String, Value> = target
        .workloads
        .iter()
        .map(|workload| (workload.to_string(), json!(with.address)))
        .collect();
    let live = json!({ "endpoint": found.keys, "restarted_for": marks });
    let desired = json!({ "endpoint": values, "restarted_for": wanted });
    let mut seen = Observation::new(live, desired);
    seen.satisfied &= complete;
    seen.differences = differences(&target, &found.keys, &values, seen.satisfied);
    seen.commands = commands(&target, &cluster, &values);
    seen.context = json!({ "version": found.version });
    if !clients.guard.is_open() && !seen.satisfied {
        let params = patch_params(true);
        target.write(clients, &cluster, &found.version, &values, &params).await?;
        seen.fidelity = Fidelity::Validated;
    }
    Ok(seen)
}

fn differences(
    target: &Target<'_>,
    now: &Map<String, Value>,
    values: &Map<String, Value>,
    satisfied: bool,
) -> Vec<Difference> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("absent").to_owned();
    let keys = values.iter().filter(|(key, value)| now.get(*key) != Some(value));
    let mut differences: Vec<Difference> = keys
        .map(|(key, value)| Difference {
            what: format!("{} {key}", target.name()),
            from: text(now.get(key)),
            to: text(Some(value)),
        })
        .collect();
    if !satisfied && !target.workloads.is_empty() {
        let names: Vec<String> = target.workloads.iter().map(ToString::to_string).collect();
        differences.push(Difference {
            what: names.join(", "),
            from: "running".to_owned(),
            to: "restarted".to_owned(),
        });
    }
    differences
}

fn commands(target: &Target<'_>, cluster: &Cluster, values: &Map<String, Value>) -> Vec<String> {
    let ObjectKey { namespace, name, .. } = target.key;
    let kind = match target.kind {
        Kind::Secret => "secret",
        Kind::ConfigMap => "configmap",
    };
    let field = match target.kind {
        Kind::Secret => "stringData",
        Kind::ConfigMap => "data",
    };
    let patch = json!({ field: values });
    let kubectl = cluster.kubectl();
    let mut lines =
        vec![format!("{kubectl} -n {namespace} patch {kind} {name} --type merge -p '{patch}'")];
    lines.extend(restart::kubectl(cluster, &target.workloads));
    lines
}

/// Writes the endpoint, restarts the application and waits until it runs.
pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &DatabaseRepoint,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    let target = target(clients)?;
    let cluster = cluster(clients, &with.region).await?;
    put(clients, call, &target, &cluster, &seen.live, &seen.desired).await?;
    Ok(Performed {
        after: seen.desired.clone(),
        outputs: Map::new(),
        obligations: Vec::new(),
        notes: vec![format!("{} names {}", target.name(), with.address)],
    })
}

/// Writes back what was there before and restarts the application once more.
pub(crate) async fn revert(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &DatabaseRepoint,
    image: &Image,
) -> Result<(), ActionError> {
    let target = target(clients)?;
    let cluster = cluster(clients, &with.region).await?;
    put(clients, call, &target, &cluster, &image.now.live, &image.before).await
}

/// Brings endpoint and restarts from one state to another.
async fn put(
    clients: &Clients,
    call: &Call,
    target: &Target<'_>,
    cluster: &Cluster,
    from: &Value,
    to: &Value,
) -> Result<(), ActionError> {
    let part = |state: &Value, name: &str| state.get(name).cloned().unwrap_or_default();
    let wanted = part(to, "endpoint").as_object().cloned().unwrap_or_default();
    let found = target.find(clients, cluster).await?;
    if found.keys != wanted {
        let expected = part(from, "endpoint");
        if Value::Object(found.keys.clone()) != expected {
            let now = Value::Object(found.keys);
            return Err(changed_meanwhile(&target.name(), &expected, &now));
        }
        call.progress.tell(format!("writing {}", target.name()), Some(0.1));
        let params = patch_params(false);
        target.write(clients, cluster, &found.version, &wanted, &params).await?;
    }
    call.progress.tell("restarting the application", Some(0.3));
    let (marks_from, marks_to) = (part(from, "restarted_for"), part(to, "restarted_for"));
    let mark = Mark { annotation: MARK, from: &marks_from, to: &marks_to, dry_run: false };
    // The endpoint is written: whatever fails from here on has changed something.
    let applied =
        |error: ActionError| ActionError { effect: error.effect.max(Effect::Applied), ..error };
    restart::mark(clients, cluster, &target.workloads, mark).await.map_err(applied)?;
    restart::rolled_out(clients, cluster, call, &target.workloads).await.map_err(applied)
}
