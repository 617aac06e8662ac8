//! Action `kubernetes.apply`: manifests by server-side apply, one object after the other in the file's order.
//!
//! The state is each object's fields as far as the manifest names them: what others own is not this action's to
//! compare or restore. Values of Secrets appear as digests only.

use k8s_openapi::ByteString;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::core::GroupVersionKind;
use kube::discovery::{self, ApiResource, Scope};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::patch_params;
use crate::by_hand;
use crate::clients::Clients;
use crate::clients::kubernetes::{Cluster, change, cluster, read};
use crate::clients::sealed::{self, Object};
use crate::engine::ports::{Armed, Call, Image, Observation, Performed};
use crate::outcome::{ActionError, Difference, Effect, FailureClass, Fidelity};
use crate::runbook::catalogue::actions::KubernetesApply;
use crate::runbook::yaml;

const FILE_MAX: u64 = 8 * 1024 * 1024;

/// One object of the file.
struct Manifest {
    api: Api<DynamicObject>,
    name: String,
    /// `v1 ConfigMap namespace/name`
    title: String,
    is_secret: bool,
    body: Value,
}

impl Manifest {
    /// Returns an object's fields as far as the manifest names them, as they may be shown.
    fn part_of(&self, object: &DynamicObject) -> Value {
        self.shown(&self.plain_part_of(object))
    }

    /// Returns the same with the values of a Secret.
    fn plain_part_of(&self, object: &DynamicObject) -> Value {
        let object = serde_json::to_value(object).unwrap_or_default();
        project(&object, &self.body)
    }

    /// Returns a state as it may be shown and journalled.
    fn shown(&self, state: &Value) -> Value {
        let mut state = state.clone();
        if self.is_secret
            && let Some(data) = state.get_mut("data").and_then(Value::as_object_mut)
        {
            for value in data.values_mut() {
                *value = json!(format!("sha256:{}", &hex(value.to_string().as_bytes())[..16]));
            }
        }
        state
    }
}

/// Returns `value` reduced to the fields `shape` names; a list is taken whole.
fn project(value: &Value, shape: &Value) -> Value {
    match (value, shape) {
        (Value::Object(value), Value::Object(shape)) => {
            let fields = shape.iter().filter_map(|(name, shape)| {
                value.get(name).map(|value| (name.clone(), project(value, shape)))
            });
            Value::Object(fields.collect())
        }
        _ => value.clone(),
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn invalid(message: impl Into<String>) -> ActionError {
    ActionError::unchanged(FailureClass::Invalid, message)
}

/// Reads the file and finds out where each of its objects goes.
async fn manifests(
    clients: &Clients,
    cluster: &Cluster,
    with: &KubernetesApply,
) -> Result<Vec<Manifest>, ActionError> {
    let text = text(with)?;
    let mut found = Vec::new();
    for (index, document) in documents(&text).into_iter().enumerate() {
        let place = format!("{} document {}", with.file, index + 1);
        let body = parse(&place, &document)?;
        for body in items(body) {
            found.push(manifest(clients, cluster, &place, body).await?);
        }
    }
    if found.is_empty() {
        return Err(invalid(format!("{} holds no object", with.file)));
    }
    Ok(found)
}

fn text(with: &KubernetesApply) -> Result<String, ActionError> {
    let file = &with.file;
    let bad = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            ActionError::unchanged(FailureClass::NotFound, format!("read {file}: {error}"))
        }
        _ => invalid(format!("read {file}: {error}")),
    };
    if std::fs::metadata(file).map_err(bad)?.len() > FILE_MAX {
        return Err(invalid(format!("{file} is larger than 8 MiB")));
    }
    let bytes = std::fs::read(file).map_err(bad)?;
    let digest = hex(&bytes);
    if let Some(wanted) = &with.sha256
        && !wanted.eq_ignore_ascii_case(&digest)
    {
        return Err(invalid(format!("{file} has SHA-256 {digest}, not {wanted}"))
            .hint("the file is not the one the runbook was written for"));
    }
    String::from_utf8(bytes).map_err(|_| invalid(format!("{file} is not text")))
}

/// Splits a file at its document markers, which YAML knows at the start of a line only.
fn documents(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in text.lines() {
        let marker = line == "---" || line.starts_with("--- ") || line.starts_with("---\t");
        match (marker, documents.last_mut()) {
            (false, Some(document)) => {
                document.push_str(line);
                document.push('\n');
            }
            _ => documents.push(line.trim_start_matches("---").to_owned() + "\n"),
        }
    }
    let has_content = |document: &String| {
        document.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
    };
    documents.retain(has_content);
    documents
}

fn parse(place: &str, document: &str) -> Result<Value, ActionError> {
    match yaml::read(place, document) {
        Ok(document) => Ok(document.value),
        Err(problems) => Err(invalid(problems.to_string())),
    }
}

/// Returns the objects of a document: itself, or what a `List` holds.
fn items(body: Value) -> Vec<Value> {
    let is_list = body.get("kind").and_then(Value::as_str) == Some("List");
    match body.get("items").and_then(Value::as_array) {
        Some(items) if is_list => items.clone(),
        _ => vec![body],
    }
}

async fn manifest(
    clients: &Clients,
    cluster: &Cluster,
    place: &str,
    mut body: Value,
) -> Result<Manifest, ActionError> {
    let field = |path: &str| {
        let found = body.pointer(path).and_then(Value::as_str);
        found.map(str::to_owned).ok_or_else(|| {
            let name = path.trim_start_matches('/').replace('/', ".");
            invalid(format!("{place}: `{name}` is missing"))
        })
    };
    let (version, kind, name) = (field("/apiVersion")?, field("/kind")?, field("/metadata/name")?);
    let (group, version) = version.split_once('/').unwrap_or(("", version.as_str()));
    let gvk = GroupVersionKind::gvk(group, version, &kind);
    let what = format!("find out what {version} {kind} is");
    let found = read(clients, &what, discovery::pinned_kind(&cluster.client, &gvk)).await;
    let (resource, capabilities): (ApiResource, _) = found.map_err(|error| match error.class {
        FailureClass::NotFound => {
            error.hint("apply its CustomResourceDefinition in a step before this one")
        }
        _ => error,
    })?;
    let namespace = body.pointer("/metadata/namespace").and_then(Value::as_str);
    let namespace = namespace.unwrap_or_else(|| cluster.client.default_namespace()).to_owned();
    let (api, scope) = match capabilities.scope {
        Scope::Namespaced => {
            let api = Api::namespaced_with(cluster.client.clone(), &namespace, &resource);
            (api, format!("{namespace}/"))
        }
        Scope::Cluster => (Api::all_with(cluster.client.clone(), &resource), String::new()),
    };
    let is_secret = group.is_empty() && kind == "Secret";
    if is_secret {
        encode(&mut body);
    }
    let title = format!("{} {kind} {scope}{name}", resource.api_version);
    Ok(Manifest { api, name, title, is_secret, body })
}

/// Turns a Secret's `stringData` into `data`, as the server does: only then can it be compared.
fn encode(body: &mut Value) {
    let Some(Value::Object(plain)) =
        body.as_object_mut().and_then(|body| body.remove("stringData"))
    else {
        return;
    };
    for (key, value) in plain {
        if let Some(text) = value.as_str() {
            body["data"][key] = json!(ByteString(text.as_bytes().to_vec()));
        }
    }
}

/// Reads every object and has the server say what it would become.
pub(crate) async fn observe(
    clients: &Clients,
    _call: &Call,
    with: &KubernetesApply,
) -> Result<Observation, ActionError> {
    let cluster = cluster(clients, &with.region).await?;
    let manifests = manifests(clients, &cluster, with).await?;
    let (mut live, mut desired) = (Map::new(), Map::new());
    let mut differences = Vec::new();
    let mut irreversible = None;
    let mut fidelity = Fidelity::Validated;
    for manifest in &manifests {
        let title = &manifest.title;
        let what = format!("read {title}");
        let found = read(clients, &what, manifest.api.get_opt(&manifest.name)).await?;
        let before = found.map_or(Value::Null, |object| manifest.part_of(&object));
        let after = match apply(clients, manifest, &manifest.body, patch_params(true)).await {
            Ok(object) => manifest.part_of(&object),
            // Its namespace is in the same file: nothing can be tried in it yet.
            Err(error) if error.class == FailureClass::NotFound && before.is_null() => {
                fidelity = Fidelity::Observed;
                manifest.shown(&manifest.body)
            }
            Err(error) => return Err(error),
        };
        if before != after {
            differences.push(Difference {
                what: title.clone(),
                from: if before.is_null() { "absent" } else { "as it is" }.to_owned(),
                to: if before.is_null() { "created" } else { "as the manifest says" }.to_owned(),
            });
            if manifest.is_secret && !before.is_null() && irreversible.is_none() {
                let why = not_kept(clients).await?;
                irreversible = why.map(|why| format!("{title} holds secrets: {why}"));
            }
        }
        live.insert(title.clone(), before);
        desired.insert(title.clone(), after);
    }
    let mut seen = Observation::new(Value::Object(live), Value::Object(desired));
    seen.differences = differences;
    seen.irreversible = irreversible;
    seen.fidelity = fidelity;
    seen.commands = vec![by_hand::kubernetes::apply(&cluster.kubectl(), &with.file)];
    Ok(seen)
}

/// Says why what a Secret holds is not kept for a rollback, where the estate does not say how. A password that is named
/// and cannot be read is an error: nobody is to consent to a change without a way back for want of a variable.
async fn not_kept(clients: &Clients) -> Result<Option<String>, ActionError> {
    let key = sealed::key(clients).await?;
    Ok(key.is_none().then(|| "the estate names no `before_images` to keep them".to_owned()))
}

/// Keeps what a Secret holds before it is changed, where the estate says how; it must be what was looked at.
async fn keep(
    clients: &Clients,
    call: &Call,
    manifest: &Manifest,
    looked_at: &Value,
) -> Result<(), ActionError> {
    let title = &manifest.title;
    if !manifest.is_secret || looked_at.is_null() {
        return Ok(());
    }
    let Some(key) = sealed::key(clients).await? else { return Ok(()) };
    let now = read(clients, &format!("read {title}"), manifest.api.get_opt(&manifest.name)).await?;
    match now.filter(|now| manifest.part_of(now) == *looked_at) {
        Some(now) => {
            let object = Object { title, shown: looked_at };
            sealed::keep(clients, &key, call, &object, &manifest.plain_part_of(&now))
        }
        None => {
            let message = format!("{title} is not as it was looked at any more");
            Err(ActionError::unchanged(FailureClass::Transient, message))
        }
    }
}

/// Returns what a Secret held before this step changed it.
async fn kept(
    clients: &Clients,
    call: &Call,
    title: &str,
    before: &Value,
) -> Result<Value, ActionError> {
    match sealed::key(clients).await? {
        Some(key) => sealed::read(clients, &key, call, &Object { title, shown: before }),
        None => Err(invalid(format!("{title} holds secrets, which were not kept"))),
    }
}

async fn apply(
    clients: &Clients,
    manifest: &Manifest,
    body: &Value,
    params: PatchParams,
) -> Result<DynamicObject, ActionError> {
    let what = format!("apply {}", manifest.title);
    let patch = Patch::Apply(body);
    let applied = change(clients, &what, manifest.api.patch(&manifest.name, &params, &patch)).await;
    applied.map_err(|error| match error.class {
        FailureClass::Conflict => error.hint(
            "another manager owns these fields: take them out of the manifest, or have it give them up",
        ),
        _ => error,
    })
}

/// Applies what differs, in the file's order.
pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &KubernetesApply,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    let cluster = cluster(clients, &with.region).await?;
    let manifests = manifests(clients, &cluster, with).await?;
    let mut after = Map::new();
    let mut notes: Vec<String> = Vec::new();
    for manifest in &manifests {
        let title = &manifest.title;
        if seen.live.get(title) == seen.desired.get(title) {
            after.insert(title.clone(), seen.live.get(title).cloned().unwrap_or_default());
            continue;
        }
        call.progress.tell(format!("applying {title}"), None);
        let looked_at = seen.live.get(title).unwrap_or(&Value::Null);
        let kept = keep(clients, call, manifest, looked_at).await;
        kept.map_err(|error| partly(&notes, error))?;
        match apply(clients, manifest, &manifest.body, patch_params(false)).await {
            Ok(object) => {
                after.insert(title.clone(), manifest.part_of(&object));
                notes.push(format!("applied {title}"));
            }
            Err(error) => return Err(partly(&notes, error)),
        }
    }
    Ok(Performed {
        after: Value::Object(after),
        outputs: Map::new(),
        obligations: Vec::new(),
        notes,
    })
}

/// Returns a failure with what objects before it have become.
fn partly(applied: &[String], error: ActionError) -> ActionError {
    if applied.is_empty() { error } else { ActionError { effect: Effect::Applied, ..error } }
}

/// Deletes what the step created and gives the rest its earlier fields back, last object first.
pub(crate) async fn revert(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &KubernetesApply,
    image: &Image,
) -> Result<(), ActionError> {
    let cluster = cluster(clients, &with.region).await?;
    let manifests = manifests(clients, &cluster, with).await?;
    for manifest in manifests.iter().rev() {
        let title = &manifest.title;
        let before = image.before.get(title).unwrap_or(&Value::Null);
        let what = format!("read {title}");
        let Some(now) = read(clients, &what, manifest.api.get_opt(&manifest.name)).await? else {
            if before.is_null() {
                continue;
            }
            return Err(ActionError::unchanged(
                FailureClass::Conflict,
                format!("{title} is gone: someone else deleted it"),
            ));
        };
        if manifest.part_of(&now) == *before {
            continue;
        }
        call.progress.tell(format!("restoring {title}"), None);
        if before.is_null() {
            delete(clients, manifest, &now).await?;
        } else {
            let mut body = match manifest.is_secret {
                false => before.clone(),
                true => kept(clients, call, title, before).await?,
            };
            body["apiVersion"] = manifest.body["apiVersion"].clone();
            body["kind"] = manifest.body["kind"].clone();
            // The fields are this run's own; force covers what was shared with another manager before.
            let params = PatchParams { force: true, ..patch_params(false) };
            apply(clients, manifest, &body, params).await?;
        }
    }
    Ok(())
}

/// Deletes an object if it is still the very one that was looked at.
async fn delete(
    clients: &Clients,
    manifest: &Manifest,
    now: &DynamicObject,
) -> Result<(), ActionError> {
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: now.metadata.uid.clone(),
            resource_version: now.metadata.resource_version.clone(),
        }),
        ..DeleteParams::background()
    };
    let what = format!("delete {}", manifest.title);
    change(clients, &what, manifest.api.delete(&manifest.name, &params)).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_documents_at_markers_only() {
        let text = "# head\n---\na: 1\n--- \nb: |\n  ---\n  x\n---\n# nothing\n---\n";
        assert_eq!(documents(text), ["\na: 1\n", " \nb: |\n  ---\n  x\n"]);
    }

    #[test]
    fn compares_what_the_manifest_names() {
        let live =
            json!({ "spec": { "a": 1, "list": [{ "x": 1, "defaulted": true }] }, "status": {} });
        let manifest = json!({ "spec": { "a": 2, "list": [{ "x": 1 }], "new": 3 } });
        let part = project(&live, &manifest);
        assert_eq!(part, json!({ "spec": { "a": 1, "list": [{ "x": 1, "defaulted": true }] } }));
    }

    #[test]
    fn secrets_are_compared_encoded() {
        let mut body = json!({ "stringData": { "a": "b" }, "data": { "c": "ZA==" } });
        encode(&mut body);
        assert_eq!(body, json!({ "data": { "a": "Yg==", "c": "ZA==" } }));
    }
}
