//! The endpoint in a Secret or ConfigMap: only the keys the estate names are read, recorded and written.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, Patch};
use serde_json::{Map, Value, json};

use crate::actions::kubernetes::{Permission, or_absent, patch_params, permitted};
use crate::actions::repoint::write::compare_and_set;
use crate::by_hand;
use crate::clients::Clients;
use crate::clients::kubernetes::{Cluster, change, read};
use crate::clients::tcp;
use crate::estate::types::ObjectKey;
use crate::outcome::{ActionError, FailureClass};
use crate::runbook::near;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Secret,
    ConfigMap,
}

/// The object and its keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object<'a> {
    pub kind: Kind,
    pub key: &'a ObjectKey,
}

impl fmt::Display for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Secret => "Secret",
            Kind::ConfigMap => "ConfigMap",
        };
        write!(f, "{kind} {}/{}", self.key.namespace, self.key.name)
    }
}

impl Object<'_> {
    fn resource(&self) -> &'static str {
        match self.kind {
            Kind::Secret => "secrets",
            Kind::ConfigMap => "configmaps",
        }
    }

    fn keys(&self) -> Vec<&str> {
        let mut keys = vec![self.key.host_key.as_str()];
        keys.extend(self.key.port_key.as_deref());
        keys
    }

    /// Returns the values of the keys; null for one that is not there.
    pub(super) async fn values(
        &self,
        clients: &Clients,
        cluster: &Cluster,
    ) -> Result<Value, ActionError> {
        Ok(self.get(clients, cluster).await?.0)
    }

    /// Fails where a key is not there: an application does not read one that nobody has ever written.
    pub(super) async fn has_keys(
        &self,
        clients: &Clients,
        cluster: &Cluster,
    ) -> Result<(), ActionError> {
        let (data, _) = self.data(clients, cluster).await?;
        let absent = self.keys().into_iter().find(|key| !data.contains_key(*key));
        absent.map_or(Ok(()), |key| Err(self.without(key, &data)))
    }

    /// Returns what is in it, and the version it was read at.
    async fn data(
        &self,
        clients: &Clients,
        cluster: &Cluster,
    ) -> Result<(BTreeMap<String, Vec<u8>>, Option<String>), ActionError> {
        let what = format!("read {self}");
        let absent = |error| {
            let resource = match self.kind {
                Kind::Secret => "secrets",
                Kind::ConfigMap => "configmaps",
            };
            let then = "correct `database.application` of the estate file, or make it as it is in the other region";
            or_absent(error, cluster, &self.key.namespace, resource, then)
        };
        let (client, ObjectKey { namespace, name, .. }) = (cluster.client.clone(), self.key);
        Ok(match self.kind {
            Kind::Secret => {
                let api: Api<Secret> = Api::namespaced(client, namespace);
                let found = read(clients, &what, api.get(name)).await.map_err(absent)?;
                let data = found.data.unwrap_or_default().into_iter();
                (data.map(|(key, value)| (key, value.0)).collect(), found.metadata.resource_version)
            }
            Kind::ConfigMap => {
                let api: Api<ConfigMap> = Api::namespaced(client, namespace);
                let found = read(clients, &what, api.get(name)).await.map_err(absent)?;
                let data = found.data.unwrap_or_default().into_iter();
                (
                    data.map(|(key, value)| (key, value.into_bytes())).collect(),
                    found.metadata.resource_version,
                )
            }
        })
    }

    /// Returns the values and the version they were read at.
    async fn get(
        &self,
        clients: &Clients,
        cluster: &Cluster,
    ) -> Result<(Value, Option<String>), ActionError> {
        let (data, version) = self.data(clients, cluster).await?;
        let mut values = Map::new();
        for key in self.keys() {
            let value = match data.get(key) {
                None => Value::Null,
                Some(bytes) => match std::str::from_utf8(bytes) {
                    // It may hold a password, which a journal must not.
                    Ok(text) if text.contains('@') || text.contains("://") => {
                        let said = format!("{self}: the value of `{key}` is a connection string");
                        return Err(ActionError::unchanged(FailureClass::Invalid, said).hint(
                            "give the host a key of its own; `database.application` names it",
                        ));
                    }
                    Ok(text) => json!(text),
                    Err(_) => {
                        let message = format!("{self}: the value of `{key}` is no text");
                        return Err(ActionError::unchanged(FailureClass::Invalid, message)
                            .hint("check host_key and port_key in `database.application`"));
                    }
                },
            };
            values.insert(key.to_owned(), value);
        }
        Ok((Value::Object(values), version))
    }

    fn without(&self, key: &str, data: &BTreeMap<String, Vec<u8>>) -> ActionError {
        let keys: Vec<&str> = data.keys().map(String::as_str).collect();
        let has = if keys.is_empty() { "nothing".to_owned() } else { keys.join(", ") };
        let meant = near::hint(key, keys.into_iter());
        let message = format!("{self} has no key `{key}`; it has {has}");
        let correct = "correct host_key and port_key in `database.application` of the estate file";
        let hint = meant.map_or(correct.to_owned(), |meant| format!("{meant} {correct}"));
        ActionError::unchanged(FailureClass::NotFound, message).hint(hint)
    }

    /// Returns the values that name a host and port, in the form the present ones have.
    pub(super) fn desired(&self, live: &Value, host: &str, port: u16) -> Value {
        let with_port = self.key.port_key.is_none()
            && live[&self.key.host_key].as_str().is_some_and(|present| present.contains(':'));
        let host = if with_port { format!("{host}:{port}") } else { host.to_owned() };
        let mut values = Map::from_iter([(self.key.host_key.clone(), json!(host))]);
        if let Some(key) = &self.key.port_key {
            values.insert(key.clone(), json!(port.to_string()));
        }
        Value::Object(values)
    }

    /// Returns the host and port that values name; a port they do not name is the application's own.
    pub(super) fn way_in(&self, values: &Value, port: u16) -> Option<(String, u16)> {
        let text = values[&self.key.host_key].as_str()?;
        let (host, inside) = tcp::split(text, Some(port)).ok()?;
        let port = match &self.key.port_key {
            Some(key) => values[key].as_str()?.parse().ok()?,
            None => inside,
        };
        Some((host.to_owned(), port))
    }

    /// Returns what an operator should know of the form the endpoint is kept in.
    pub(super) fn remark(&self, live: &Value, port: u16) -> Option<String> {
        let present = live[&self.key.host_key].as_str().unwrap_or_default();
        let nowhere = self.key.port_key.is_none() && !present.contains(':') && port != 5432;
        nowhere.then(|| format!("{self} holds no port: the application must know {port} itself"))
    }

    /// Brings the keys from one set of values to another. True when it had to change them.
    pub(super) async fn write(
        &self,
        clients: &Clients,
        cluster: &Cluster,
        from: &Value,
        to: &Value,
        dry_run: bool,
    ) -> Result<bool, ActionError> {
        if dry_run {
            let (verb, group, resource) = ("patch", "", self.resource());
            let namespace = self.key.namespace.as_str();
            permitted(clients, cluster, &Permission { verb, group, resource, namespace }).await?;
        }
        let get = || self.get(clients, cluster);
        let patch = |version| self.patch(clients, cluster, to, version, dry_run);
        compare_and_set(&self.to_string(), (from, to), get, patch).await
    }

    async fn patch(
        &self,
        clients: &Clients,
        cluster: &Cluster,
        to: &Value,
        version: Option<String>,
        dry_run: bool,
    ) -> Result<(), ActionError> {
        let encoded = |value: &Value| match (self.kind, value) {
            (Kind::Secret, Value::String(text)) => json!(ByteString(text.clone().into_bytes())),
            (_, other) => other.clone(),
        };
        let data: Map<String, Value> = to
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.clone(), encoded(value)))
            .collect();
        let patch = Patch::Merge(json!({
            "metadata": { "resourceVersion": version },
            "data": data,
        }));
        let (client, params) = (cluster.client.clone(), patch_params(dry_run));
        let ObjectKey { namespace, name, .. } = self.key;
        let what = format!("write {self}");
        match self.kind {
            Kind::Secret => {
                let api: Api<Secret> = Api::namespaced(client, namespace);
                change(clients, &what, api.patch(name, &params, &patch)).await.map(drop)
            }
            Kind::ConfigMap => {
                let api: Api<ConfigMap> = Api::namespaced(client, namespace);
                change(clients, &what, api.patch(name, &params, &patch)).await.map(drop)
            }
        }
    }

    /// Returns the command that writes the values.
    pub(super) fn command(&self, cluster: &Cluster, to: &Value) -> String {
        let kind = match self.kind {
            Kind::Secret => "secret",
            Kind::ConfigMap => "configmap",
        };
        by_hand::kubernetes::patch(&cluster.kubectl(), kind, self.key, to)
    }
}
