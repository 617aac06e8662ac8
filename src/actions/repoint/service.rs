//! The endpoint as a Service of type `ExternalName`: a name of the cluster that stands for the database's.

use std::fmt;

use k8s_openapi::api::core::v1::Service as KubernetesService;
use kube::api::{Api, Patch};
use serde_json::{Value, json};

use crate::actions::kubernetes::{Permission, or_absent, patch_params, permitted};
use crate::actions::repoint::write::compare_and_set;
use crate::by_hand;
use crate::clients::Clients;
use crate::clients::kubernetes::{Cluster, change, read};
use crate::estate::types::ServiceName;
use crate::outcome::{ActionError, FailureClass};

const RESOURCE: &str = "services";
/// What leads to a name, and not to pods.
const KIND: &str = "ExternalName";
/// The field that has it.
pub(super) const FIELD: &str = "externalName";

/// The Service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Service<'a> {
    pub service: &'a ServiceName,
}

impl fmt::Display for Service<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Service {}/{}", self.service.namespace, self.service.name)
    }
}

impl Service<'_> {
    fn api(&self, cluster: &Cluster) -> Api<KubernetesService> {
        Api::namespaced(cluster.client.clone(), &self.service.namespace)
    }

    /// Returns the name it stands for.
    pub(super) async fn target(
        &self,
        clients: &Clients,
        cluster: &Cluster,
    ) -> Result<Value, ActionError> {
        Ok(self.get(clients, cluster).await?.0)
    }

    /// Returns the name and the version it was read at.
    async fn get(
        &self,
        clients: &Clients,
        cluster: &Cluster,
    ) -> Result<(Value, Option<String>), ActionError> {
        let ServiceName { namespace, name } = self.service;
        let api = self.api(cluster);
        let found = read(clients, &format!("read {self}"), api.get(name)).await;
        let found = found.map_err(|error| {
            let then = "correct `database.application.service` of the estate file, or make it as it is in the other region";
            or_absent(error, cluster, namespace, RESOURCE, then)
        })?;
        let spec = found.spec.unwrap_or_default();
        // What a cluster leaves out is a Service with an address of its own.
        let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
        if kind != KIND {
            let message = format!("{self} is of type {kind}: it leads to pods, and to no name");
            return Err(ActionError::unchanged(FailureClass::Invalid, message).hint(format!(
                "name one of type {KIND} in `database.application.service`; one of another type is not made one while the \
                 application uses it"
            )));
        }
        Ok((json!({ FIELD: spec.external_name }), found.metadata.resource_version))
    }

    pub(super) fn desired(self, host: &str) -> Value {
        json!({ FIELD: host.trim_end_matches('.') })
    }

    /// Brings it from one name to another. True when it had to change it.
    pub(super) async fn write(
        &self,
        clients: &Clients,
        cluster: &Cluster,
        from: &Value,
        to: &Value,
        dry_run: bool,
    ) -> Result<bool, ActionError> {
        if dry_run {
            let namespace = self.service.namespace.as_str();
            let wanted = Permission { verb: "patch", group: "", resource: RESOURCE, namespace };
            permitted(clients, cluster, &wanted).await?;
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
        let patch = Patch::Merge(json!({ "metadata": { "resourceVersion": version }, "spec": to }));
        let (api, params) = (self.api(cluster), patch_params(dry_run));
        let what = format!("write {self}");
        change(clients, &what, api.patch(&self.service.name, &params, &patch)).await.map(drop)
    }

    /// Returns the command that writes the name.
    pub(super) fn command(&self, cluster: &Cluster, to: &Value) -> String {
        by_hand::kubernetes::external_name(&cluster.kubectl(), self.service, &to[FIELD])
    }
}
