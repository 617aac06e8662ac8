//! The way in over loopback, for programs that know nothing of a simulation: plain HTTP in front of any service.
//!
//! It listens on 127.0.0.1 alone and ends, with every connection, when it is dropped.

use std::net::SocketAddr;
use std::path::Path;

use http::{Request, Response};
use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tower::{BoxError, Service};

/// An open way in.
pub(crate) struct Front {
    address: SocketAddr,
    task: AbortHandle,
}

impl Front {
    /// Opens a way in to a service, at a port nobody uses.
    pub(crate) async fn open<S, B>(service: S) -> std::io::Result<Self>
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    // Only takes away what has ended.
                    Some(_) = open.join_next() => continue,
                };
                // A connection that broke off before it was taken is nobody's.
                let Ok((stream, _)) = accepted else { continue };
                let service = TowerToHyperService::new(service.clone());
                open.spawn(async move {
                    let served =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    if let Err(error) = served.await {
                        tracing::debug!(%error, "a connection to the simulation broke off");
                    }
                });
            }
        });
        Ok(Self { address, task: task.abort_handle() })
    }

    /// Returns where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Writes a kubeconfig by which contexts of these names come in here; there are no credentials in it.
    pub(crate) fn write_kubeconfig(&self, path: &Path, contexts: &[&str]) -> std::io::Result<()> {
        let server = format!("http://{}", self.address);
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "simulation", "cluster": { "server": server } }],
            "users": [{ "name": "nobody", "user": {} }],
            "contexts": contexts
                .iter()
                .map(|name| json!({ "name": name, "context": { "cluster": "simulation", "user": "nobody" } }))
                .collect::<Vec<_>>(),
            "current-context": contexts.first(),
        });
        std::fs::write(path, config.to_string())
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}
