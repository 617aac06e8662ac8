//! Where AWS credentials come from: the estate's sources in order, each asked within bounded time, the first that
//! works kept until it ends or AWS refuses it.
//!
//! Service clients are handed credentials that are there already: what a source takes to answer must never be taken
//! for the silence of a service.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_sts::config::{
    ProvideCredentials, ResolveCachedIdentity, SharedCredentialsProvider, SharedIdentityCache,
};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::identity::{
    Identity, IdentityFuture, ResolveIdentity as _, SharedIdentityResolver,
};
use aws_smithy_runtime_api::client::interceptors::context::FinalizerInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use jiff::Timestamp;

use super::error::refuses_credentials;
use super::{Aws, Held, said, time, timeouts};
use crate::clock::{Clock, within};
use crate::estate::types::CredentialSource;
use crate::outcome::{ActionError, FailureClass};

/// How long one credential source may take: a token endpoint in a lost region must not hold up the next source.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(5);

/// Credentials this close to their end are fetched anew before a call rather than during it.
const EXPIRY_MARGIN: Duration = Duration::from_secs(60);

/// Set when AWS refused the credentials in use: whoever needs some next reads every source anew.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stale(Arc<AtomicBool>);

impl Stale {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

/// Sees every answer: one that refuses the credentials makes them stale, whoever asked and for what.
#[derive(Debug, Clone)]
pub(super) struct StaleInterceptor(pub(super) Stale);

#[dyn_dispatch_hint]
impl Intercept for StaleInterceptor {
    fn name(&self) -> &'static str {
        "PhoenixStale"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let refused = |response: &HttpResponse| {
            let body = response.body().bytes().unwrap_or_default();
            refuses_credentials(response.status().as_u16(), body)
        };
        if context.response().is_some_and(refused) {
            self.0.set();
        }
        Ok(())
    }
}

/// A credential source that works.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) profile: Option<String>,
    pub(super) break_glass: bool,
    pub(super) provider: SharedCredentialsProvider,
    pub(super) identities: SharedIdentityCache,
    pub(super) expires: Option<Timestamp>,
}

/// The identity cache of every client of one source: filled when the source was tried, and again when that ends.
///
/// A cache of the SDK's own is empty at first and would make the first call to each region wait for the source.
pub(super) struct Primed {
    now: Mutex<Identity>,
    clock: Arc<dyn Clock>,
    stale: Stale,
}

impl Primed {
    fn held(&self) -> Option<Identity> {
        let held = self.now.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let ends = held.expiration().and_then(|end| Timestamp::try_from(end).ok());
        ends.is_none_or(|end| end > self.clock.now()).then_some(held)
    }
}

impl fmt::Debug for Primed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Primed")
    }
}

impl ResolveCachedIdentity for Primed {
    fn resolve_cached_identity<'a>(
        &'a self,
        resolver: SharedIdentityResolver,
        components: &'a RuntimeComponents,
        config: &'a ConfigBag,
    ) -> IdentityFuture<'a> {
        IdentityFuture::new(async move {
            if let Some(held) = self.held() {
                return Ok(held);
            }
            let asking = resolver.resolve_identity(components, config);
            let answer = within(&*self.clock, SOURCE_TIMEOUT, asking).await;
            let answer = answer.unwrap_or_else(|elapsed| Err(Box::new(elapsed)));
            match &answer {
                Ok(fresh) => {
                    self.now.lock().unwrap_or_else(PoisonError::into_inner).clone_from(fresh);
                }
                Err(_) => self.stale.set(),
            }
            answer
        })
    }
}

/// Returns what renews the credentials of sources.
fn renewals(sources: &[CredentialSource]) -> String {
    let command = |source: &CredentialSource| match &source.profile {
        Some(profile) => format!("`aws sso login --profile {profile}`"),
        None => "`aws sso login`".to_owned(),
    };
    // Break-glass credentials are nobody's to renew in passing.
    let usual = sources.iter().filter(|source| !source.break_glass);
    let mut commands: Vec<String> = usual.map(command).collect();
    if commands.is_empty() {
        commands.extend(sources.first().map(command));
    }
    commands.dedup();
    commands.join(" or ")
}

impl Aws {
    /// Returns the source in use, or the first one in order that works now.
    pub(super) async fn source(&self, held: &mut Held) -> Result<Source, ActionError> {
        if self.stale.take() {
            // Read anew from the beginning: a source further up may work again.
            *held = Held::default();
        }
        let soon = self.clock.now() + EXPIRY_MARGIN;
        if let Some(source) = &held.source
            && source.expires.is_none_or(|end| end > soon)
        {
            return Ok(source.clone());
        }
        let mut refusals = Vec::new();
        let candidates = self.candidates();
        let renewals = renewals(&candidates);
        for candidate in candidates {
            match self.try_source(&candidate).await {
                Ok(source) => {
                    // The clients hold the credentials they were built with.
                    held.regions.clear();
                    held.source = Some(source.clone());
                    return Ok(source);
                }
                Err(why) => refusals.push(format!("{}: {why}", candidate.name)),
            }
        }
        *held = Held::default();
        let message = format!("no AWS credentials work ({})", refusals.join("; "));
        Err(ActionError::unchanged(FailureClass::Credentials, message)
            .hint(format!("renew them, for example by {renewals}, and go on")))
    }

    /// Returns the estate's sources, break-glass last; the default chain when it names none.
    fn candidates(&self) -> Vec<CredentialSource> {
        let mut sources = self.estate.credentials.clone();
        if sources.is_empty() {
            let name = "default chain".to_owned();
            sources.push(CredentialSource { name, profile: None, break_glass: false });
        }
        sources.sort_by_key(|source| source.break_glass);
        sources
    }

    async fn try_source(&self, candidate: &CredentialSource) -> Result<Source, String> {
        let attempt = async {
            let provider = match &self.given {
                Some(given) => given(),
                None => self.provider(candidate).await?,
            };
            let credentials = provider.provide_credentials().await;
            Ok::<_, String>((provider, credentials.map_err(|error| said(&error))?))
        };
        let (provider, credentials) = within(&*self.clock, SOURCE_TIMEOUT, attempt)
            .await
            .map_err(|elapsed| elapsed.to_string())??;
        let expires = credentials.expiry().and_then(|end| Timestamp::try_from(end).ok());
        if expires.is_some_and(|end| end <= self.clock.now()) {
            return Err("the credentials have expired".to_owned());
        }
        let now = Mutex::new(Identity::from(credentials));
        let (clock, stale) = (Arc::clone(&self.clock), self.stale.clone());
        Ok(Source {
            name: candidate.name.clone(),
            profile: candidate.profile.clone(),
            break_glass: candidate.break_glass,
            provider,
            identities: SharedIdentityCache::new(Primed { now, clock, stale }),
            expires,
        })
    }

    /// Returns the provider of a profile or of the default chain. Its own requests (STS, SSO) read nothing of the
    /// estate and bypass the guard; they go to the surviving region.
    async fn provider(
        &self,
        candidate: &CredentialSource,
    ) -> Result<SharedCredentialsProvider, String> {
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(self.transport()?)
            .sleep_impl(time::sleep(&self.clock))
            .time_source(time::source(&self.clock))
            .timeout_config(timeouts())
            .region(Region::new(self.survivor()));
        if let Some(profile) = &candidate.profile {
            loader = loader.profile_name(profile);
        }
        let config = loader.load().await;
        config.credentials_provider().ok_or_else(|| "no provider of credentials".to_owned())
    }
}
