//! The way in over loopback, for programs that know nothing of a simulation: plain HTTP in front of any service.
//!
//! It listens on loopback alone and ends, with every connection, when it is dropped.

use std::net::SocketAddr;

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
    #[cfg(test)]
    pub(crate) async fn open<S, B>(service: S) -> std::io::Result<Self>
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self::on(TcpListener::bind(("127.0.0.1", 0)).await?, service)
    }

    /// Opens a way in to a service where somebody listens already.
    pub(crate) fn on<S, B>(listener: TcpListener, service: S) -> std::io::Result<Self>
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
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
}

/// Returns a kubeconfig by which contexts of these names come in at these addresses; there are no credentials in it, and
/// no context is the current one.
pub(crate) fn kubeconfig(contexts: &[(String, SocketAddr)]) -> String {
    let named = |at: usize| format!("simulation-{at}");
    let clusters = contexts.iter().enumerate().map(|(at, (_, address))| {
        json!({ "name": named(at), "cluster": { "server": format!("http://{address}") } })
    });
    let known = contexts.iter().enumerate().map(|(at, (name, _))| {
        json!({ "name": name, "context": { "cluster": named(at), "user": "nobody" } })
    });
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": clusters.collect::<Vec<_>>(),
        "users": [{ "name": "nobody", "user": {} }],
        "contexts": known.collect::<Vec<_>>(),
    });
    config.to_string()
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}
