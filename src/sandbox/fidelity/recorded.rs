//! What the clients of a side asked, in order: by it each step is known by the operation whose answer it notes.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

use crate::sandbox::aws::Request;
use crate::sandbox::fault::Service;

/// The operation that was asked last, as the simulation reads it.
#[derive(Clone, Default)]
pub(super) struct Asked(Arc<Mutex<Option<Named>>>);

/// An operation of a service.
pub(super) type Named = (Service, String);

impl Asked {
    /// Returns the operation that was asked last, once.
    pub(super) fn take(&self) -> Option<Named> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Passes requests on to a client, and remembers them.
    pub(super) fn through(&self, client: SharedHttpClient) -> SharedHttpClient {
        SharedHttpClient::new(Recorded { client, asked: self.clone() })
    }

    fn read(&self, request: &HttpRequest) {
        let headers: Vec<(String, String)> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let body = request.body().bytes().unwrap_or_default();
        let call = Request::new(request.method(), request.uri(), &headers, body).call();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            call.map(|call| (call.service, call.operation));
    }
}

#[derive(Clone)]
struct Recorded {
    client: SharedHttpClient,
    asked: Asked,
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorded")
    }
}

impl HttpClient for Recorded {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let connector = self.client.http_connector(settings, components);
        SharedHttpConnector::new(RecordedConnector { connector, asked: self.asked.clone() })
    }
}

struct RecordedConnector {
    connector: SharedHttpConnector,
    asked: Asked,
}

impl fmt::Debug for RecordedConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordedConnector")
    }
}

impl HttpConnector for RecordedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        self.asked.read(&request);
        self.connector.call(request)
    }
}
