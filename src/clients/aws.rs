//! AWS clients: one HTTP client for the process, one set of service clients per region, credentials from the estate's
//! sources in order.
//!
//! Regions are always named, endpoints come from the estate or are AWS's own, retries are off (the engine retries),
//! every call has time limits, and everything passes the guard. What is asked of a service lives in `actions`,
//! `checks` and the lease.

pub(crate) mod error;
mod guarded;
pub(crate) mod records;
mod source;
mod time;
mod whole;

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_sdk_sts::config::SharedCredentialsProvider;
use aws_smithy_http_client::{Connector, proxy::ProxyConfig, tls};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::interceptors::SharedInterceptor;
use jiff::Timestamp;

use crate::clients::endpoints::AwsService;
use crate::clients::guard::Guard;
use crate::clock::Clock;
use crate::estate::types::{Endpoints, Estate};
use crate::outcome::{ActionError, FailureClass};
use crate::sandbox::fault::control_region;
use guarded::{FailClosed, GuardInterceptor};
use source::{Source, Stale, StaleInterceptor};
use whole::WholeInterceptor;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const READ_TIMEOUT: Duration = Duration::from_secs(20);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// A request that carries many bytes takes as long as these do; one that does not move is ended by the SDK itself.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// Every AWS client of one process; nothing is built before it is needed.
pub(crate) struct Aws {
    estate: Arc<Estate>,
    guard: Guard,
    clock: Arc<dyn Clock>,
    transport: OnceLock<Result<SharedHttpClient, String>>,
    /// What to use instead of the estate's sources; called whenever those would be read anew
    given: Option<Given>,
    survivor: Mutex<Option<String>>,
    stale: Stale,
    held: tokio::sync::Mutex<Held>,
}

type Given = Arc<dyn Fn() -> SharedCredentialsProvider + Send + Sync>;

#[derive(Default)]
struct Held {
    source: Option<Source>,
    regions: BTreeMap<String, Arc<Regional>>,
}

/// The clients of one region.
#[derive(Debug, Clone)]
pub(crate) struct Regional {
    pub region: String,
    pub rds: aws_sdk_rds::Client,
    pub route53: aws_sdk_route53::Client,
    pub s3: aws_sdk_s3::Client,
    pub sts: aws_sdk_sts::Client,
    pub health: aws_sdk_health::Client,
}

/// Who AWS says we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Name of the credential source that worked
    pub source: String,
    pub profile: Option<String>,
    pub break_glass: bool,
    pub account: String,
    pub arn: String,
    /// When the credentials end; `None` for those that do not
    pub expires: Option<Timestamp>,
}

impl Aws {
    /// Returns the clients of an estate over the network.
    pub(crate) fn new(estate: Arc<Estate>, guard: Guard, clock: Arc<dyn Clock>) -> Self {
        Self {
            estate,
            guard,
            clock,
            transport: OnceLock::new(),
            given: None,
            survivor: Mutex::default(),
            stale: Stale::default(),
            held: tokio::sync::Mutex::default(),
        }
    }

    /// Returns clients over another HTTP client, with these credentials: a simulation or a test.
    pub(crate) fn over(
        estate: Arc<Estate>,
        guard: Guard,
        clock: Arc<dyn Clock>,
        http: SharedHttpClient,
        credentials: SharedCredentialsProvider,
    ) -> Self {
        let given: Given = Arc::new(move || credentials.clone());
        let aws = Self { given: Some(given), ..Self::new(estate, guard, clock) };
        drop(aws.transport.set(Ok(http)));
        aws
    }

    /// Names the region that is there whatever happens: STS is asked there. Before the first call.
    pub(crate) fn survive_in(&self, region: &str) {
        *self.survivor.lock().unwrap_or_else(PoisonError::into_inner) = Some(region.to_owned());
    }

    /// Returns the region STS is asked in: named, else where the shared state is, else the first that is not primary.
    pub(crate) fn survivor(&self) -> String {
        let named = self.survivor.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let primary = &self.estate.primary.region;
        named
            .or_else(|| self.estate.state.as_ref().map(|state| state.s3.region.clone()))
            .or_else(|| self.estate.regions.keys().find(|region| *region != primary).cloned())
            .unwrap_or_else(|| primary.clone())
    }

    /// Returns the clients of a region, with credentials that are valid now.
    pub(crate) async fn region(&self, name: &str) -> Result<Arc<Regional>, ActionError> {
        let mut held = self.held.lock().await;
        // Loading credentials is a large future and rarely runs: it must not weigh on every call's stack.
        let source = Box::pin(self.source(&mut held)).await?;
        if let Some(found) = held.regions.get(name) {
            return Ok(found.clone());
        }
        let clients = Arc::new(self.build(name, &source, &self.guard)?);
        held.regions.insert(name.to_owned(), clients.clone());
        Ok(clients)
    }

    /// Returns the S3 client of a region for what a run keeps of itself: its writes are what proves the lease.
    pub(crate) async fn state_bucket(&self, name: &str) -> Result<aws_sdk_s3::Client, ActionError> {
        let mut held = self.held.lock().await;
        let source = Box::pin(self.source(&mut held)).await?;
        Ok(self.build(name, &source, &self.guard.keeping_the_lease())?.s3)
    }

    /// Asks AWS, in the surviving region, who we are.
    pub(crate) async fn identity(&self) -> Result<Identity, ActionError> {
        let survivor = self.survivor();
        let clients = self.region(&survivor).await?;
        let answer = clients.sts.get_caller_identity().send().await.map_err(|error| {
            error::failure(error::Nature::Read, "sts:GetCallerIdentity", &survivor, &error)
        })?;
        let source = {
            let mut held = self.held.lock().await;
            Box::pin(self.source(&mut held)).await?
        };
        Ok(Identity {
            source: source.name,
            profile: source.profile,
            break_glass: source.break_glass,
            account: answer.account().unwrap_or_default().to_owned(),
            arn: answer.arn().unwrap_or_default().to_owned(),
            expires: source.expires,
        })
    }

    fn transport(&self) -> Result<SharedHttpClient, String> {
        self.transport.get_or_init(http_client).clone()
    }

    fn build(&self, region: &str, source: &Source, guard: &Guard) -> Result<Regional, ActionError> {
        let http =
            self.transport().map_err(|why| ActionError::unchanged(FailureClass::Invalid, why))?;
        let shared = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .credentials_provider(source.provider.clone())
            .identity_cache(source.identities.clone())
            .http_client(FailClosed { inner: http, guard: guard.clone() })
            .sleep_impl(time::sleep(&self.clock))
            .time_source(time::source(&self.clock))
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts())
            .app_name(AppName::new("phoenix-dr").expect("a valid application name"))
            .region(Region::new(region.to_owned()))
            .build();
        let endpoints = self
            .estate
            .regions
            .get(region)
            .map(|found| found.endpoints.clone())
            .unwrap_or_default();
        let interceptors = [
            SharedInterceptor::new(GuardInterceptor(guard.clone())),
            SharedInterceptor::new(StaleInterceptor(self.stale.clone())),
            SharedInterceptor::new(WholeInterceptor),
        ];
        Ok(regional(region, &shared, &endpoints, interceptors))
    }
}

/// Builds the clients of one region: the only place that makes service clients, each with the guard.
fn regional(
    region: &str,
    shared: &SdkConfig,
    endpoints: &Endpoints,
    [guard, stale, whole]: [SharedInterceptor; 3],
) -> Regional {
    let to = |service: AwsService| service.of(endpoints).map(str::to_owned);
    let mut rds = aws_sdk_rds::config::Builder::from(shared)
        .interceptor(guard.clone())
        .interceptor(stale.clone())
        .interceptor(whole.clone());
    rds.set_endpoint_url(to(AwsService::Rds));
    let mut s3 = aws_sdk_s3::config::Builder::from(shared)
        .interceptor(guard.clone())
        .interceptor(stale.clone())
        .interceptor(whole.clone());
    if let Some(url) = to(AwsService::S3) {
        // `http://localhost:…` would become `http://bucket.localhost:…`.
        s3 = s3.endpoint_url(url).force_path_style(true);
    }
    let mut sts = aws_sdk_sts::config::Builder::from(shared)
        .interceptor(guard.clone())
        .interceptor(stale.clone())
        .interceptor(whole.clone());
    sts.set_endpoint_url(to(AwsService::Sts));
    // Both are global with their control plane in one region of the partition, whichever region is asked about.
    let control = Region::new(control_region(region));
    let mut route53 = aws_sdk_route53::config::Builder::from(shared)
        .region(control.clone())
        .interceptor(guard.clone())
        .interceptor(stale.clone())
        .interceptor(whole.clone());
    route53.set_endpoint_url(to(AwsService::Route53));
    let mut health = aws_sdk_health::config::Builder::from(shared)
        .region(control)
        .interceptor(guard)
        .interceptor(stale)
        .interceptor(whole);
    health.set_endpoint_url(to(AwsService::Health));
    Regional {
        region: region.to_owned(),
        rds: aws_sdk_rds::Client::from_conf(rds.build()),
        route53: aws_sdk_route53::Client::from_conf(route53.build()),
        s3: aws_sdk_s3::Client::from_conf(s3.build()),
        sts: aws_sdk_sts::Client::from_conf(sts.build()),
        health: aws_sdk_health::Client::from_conf(health.build()),
    }
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build()
}

/// Returns the limits of a request that carries many bytes.
pub(crate) fn transfers() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(TRANSFER_TIMEOUT)
        .operation_attempt_timeout(TRANSFER_TIMEOUT)
        .build()
}

/// Returns an HTTP client with ring, the proxies of the environment and the certificates of `AWS_CA_BUNDLE`.
///
/// The SDK's own builder ignores the proxies, and the SDK does not read the bundle.
fn http_client() -> Result<SharedHttpClient, String> {
    let mut trust = tls::TrustStore::default();
    if let Some(path) = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty()) {
        let pem = std::fs::read(&path).map_err(|error| {
            format!("read the certificates of AWS_CA_BUNDLE ({}): {error}", path.display())
        })?;
        trust = trust.with_pem_certificate(pem);
    }
    let context = tls::TlsContext::builder()
        .with_trust_store(trust)
        .build()
        .map_err(|error| format!("set TLS up for AWS: {}", said(&error)))?;
    let client = aws_smithy_http_client::Builder::new().build_with_connector_fn(
        move |settings, components| {
            let mut builder = Connector::builder().proxy_config(ProxyConfig::from_env());
            if let Some(settings) = settings {
                builder = builder.connector_settings(settings.clone());
            }
            if let Some(sleep) = components.and_then(|known| known.sleep_impl()) {
                builder = builder.sleep_impl(sleep);
            }
            let ring = tls::rustls_provider::CryptoMode::Ring;
            builder.tls_provider(tls::Provider::Rustls(ring)).tls_context(context.clone()).build()
        },
    );
    Ok(client)
}

/// Returns an error with its sources in one line, each said once.
pub(crate) fn said(error: &(dyn Error + 'static)) -> String {
    let mut line = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !line.contains(&text) {
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(&text);
        }
        next = error.source();
    }
    line
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
