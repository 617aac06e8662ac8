//! The guard in the AWS transport: what reads, who refuses the rest, and a connector nothing unguarded gets through.

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, Metadata};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

use crate::clients::guard::Guard;

/// Operations that change nothing, by the service's own name: each one phoenix-dr calls, and no prefix rule.
///
/// `GetSessionToken` begins with `Get` and hands out credentials, so names alone decide.
const READS: [(&str, &[&str]); 5] = [
    (
        "RDS",
        &[
            "DescribeDBInstances",
            "DescribeDBInstanceAutomatedBackups",
            "DescribeDBSnapshots",
            "DescribeDBSubnetGroups",
            "DescribeDBParameterGroups",
            "ListTagsForResource",
        ],
    ),
    (
        "Route 53",
        &[
            "GetChange",
            "GetHealthCheck",
            "GetHealthCheckStatus",
            "GetHostedZone",
            "ListResourceRecordSets",
            "TestDNSAnswer",
        ],
    ),
    (
        "S3",
        &[
            "GetObject",
            "HeadBucket",
            "HeadObject",
            "ListMultipartUploads",
            "ListObjectsV2",
            "ListParts",
        ],
    ),
    ("STS", &["GetCallerIdentity"]),
    ("Health", &["DescribeEvents"]),
];

/// Says whether an operation is known to change nothing.
pub(super) fn reads(service: &str, operation: &str) -> bool {
    READS.iter().any(|(name, operations)| *name == service && operations.contains(&operation))
}

/// Stamp of the interceptor on a request it has let through.
#[derive(Debug, Clone)]
struct Cleared {
    reads: bool,
    call: String,
}

/// Refuses, before anything is signed or sent, what is no known read while the guard is closed.
#[derive(Debug, Clone)]
pub(super) struct GuardInterceptor(pub(super) Guard);

impl GuardInterceptor {
    fn clear(&self, config: &ConfigBag) -> Result<Cleared, BoxError> {
        // Without a name nobody can tell what the call does.
        let metadata = config.load::<Metadata>().ok_or("the request names no operation")?;
        let cleared = Cleared {
            reads: reads(metadata.service(), metadata.name()),
            call: format!("{}.{}", metadata.service().replace(' ', ""), metadata.name()),
        };
        if !cleared.reads {
            self.0.pass(&cleared.call)?;
        }
        Ok(cleared)
    }
}

#[dyn_dispatch_hint]
impl Intercept for GuardInterceptor {
    fn name(&self) -> &'static str {
        "PhoenixGuard"
    }

    fn read_before_serialization(
        &self,
        _context: &BeforeSerializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.clear(config).map(drop)
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let cleared = self.clear(config)?;
        let request = context.request_mut();
        tracing::debug!(call = cleared.call, uri = request.uri(), "aws request");
        request.add_extension(cleared);
        Ok(())
    }
}

/// Lets only stamped requests through: a client made without the interceptor cannot send anything.
#[derive(Debug, Clone)]
pub(super) struct FailClosed {
    pub(super) inner: SharedHttpClient,
    pub(super) guard: Guard,
}

#[derive(Debug)]
struct FailClosedConnector {
    inner: SharedHttpConnector,
    guard: Guard,
}

impl HttpConnector for FailClosedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let refusal: BoxError = match request.extension::<Cleared>() {
            None => "the request did not pass the guard".into(),
            Some(cleared) if cleared.reads => return self.inner.call(request),
            Some(cleared) => match self.guard.pass(&cleared.call) {
                Ok(()) => return self.inner.call(request),
                Err(refused) => Box::new(refused),
            },
        };
        HttpConnectorFuture::ready(Err(ConnectorError::user(refusal)))
    }
}

impl HttpClient for FailClosed {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(FailClosedConnector { inner, guard: self.guard.clone() })
    }
}
