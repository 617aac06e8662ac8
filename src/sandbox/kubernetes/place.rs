//! Objects put in their place from outside, as a program that is no part of the simulation would.

use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use serde_json::Value;

use super::Cluster;
use super::store::text;

/// Who is said to own what such a program wrote.
const MANAGER: &str = "program";

impl Cluster {
    /// Applies a manifest, or deletes the object it names; what is gone already may be deleted again.
    pub(in crate::sandbox) async fn place(
        &self,
        manifest: &Value,
        gone: bool,
    ) -> Result<(), String> {
        let path = self.path_of(manifest)?;
        let (method, uri, body) = match gone {
            true => (Method::DELETE, path, Vec::new()),
            false => {
                let uri = format!("{path}?fieldManager={MANAGER}&force=true");
                (Method::PATCH, uri, manifest.to_string().into_bytes())
            }
        };
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("content-type", "application/apply-patch+yaml")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        let answered = self.clone().answer(request).await.map_err(|error| error.to_string())?;
        let (parts, body) = answered.0.into_parts();
        if parts.status.is_success() || (gone && parts.status == http::StatusCode::NOT_FOUND) {
            return Ok(());
        }
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        let status: Value = serde_json::from_slice(&body).unwrap_or_default();
        Err(text(&status, "/message").to_owned())
    }

    fn path_of(&self, manifest: &Value) -> Result<String, String> {
        let kind = self.settled(|store| store.kinds.of_object(manifest)).ok_or_else(|| {
            let (version, kind) = (text(manifest, "/apiVersion"), text(manifest, "/kind"));
            format!("{kind} of {version} is not simulated")
        })?;
        let api = match kind.group.as_str() {
            "" => format!("/api/{}", kind.version),
            group => format!("/apis/{group}/{}", kind.version),
        };
        let namespace = match (kind.namespaced, text(manifest, "/metadata/namespace")) {
            (false, _) => String::new(),
            (true, "") => "/namespaces/default".to_owned(),
            (true, namespace) => format!("/namespaces/{namespace}"),
        };
        Ok(format!("{api}{namespace}/{}/{}", kind.plural, text(manifest, "/metadata/name")))
    }
}
