//! One HTTP GET at a time: a connection of its own, no pool, so that each look sees what a new visitor sees.
//!
//! Owns redirects within one host, `connect_to`, proxies by environment and the kinds of failure. What an answer
//! means is the checks' business.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::Url;

use super::tcp::{self, Failure};
use super::{Clients, Network};
use crate::clock::within;
use crate::sandbox::Sandbox;

/// Most of a body that is read.
const BODY_MAX: usize = 64 * 1024;
const REDIRECTS_MAX: usize = 4;

/// One GET.
#[derive(Debug, Clone)]
pub(crate) struct Get<'a> {
    pub url: &'a str,
    /// `host` or `host:port` to connect to; the Host header and the TLS name stay the URL's
    pub connect_to: Option<&'a str>,
    /// Time from connecting to the end of the body, redirects included
    pub limit: Duration,
    /// Whether redirects within the host are followed
    pub follow: bool,
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub status: u16,
    /// First 64 KiB
    pub body: Vec<u8>,
    pub content_type: Option<String>,
    /// Where an unfollowed redirect points
    pub location: Option<String>,
    /// A proxy was in between: a gateway error may be its own
    pub proxied: bool,
}

/// Gets a URL.
pub(crate) async fn get(clients: &Clients, get: &Get<'_>) -> Result<Answer, Failure> {
    let mut url = parse(get.url)?;
    let mut connect_to = get.connect_to.map(str::to_owned);
    for _ in 0..=REDIRECTS_MAX {
        let answer = match &clients.network {
            Network::Real => ask(clients, &url, connect_to.as_deref(), get.limit).await?,
            Network::Simulated(sandbox) => {
                simulated(sandbox, &url, connect_to.as_deref(), get.limit).await?
            }
        };
        let next = answer.location.as_deref().filter(|_| get.follow);
        match next.and_then(|location| same_host(&url, location, connect_to.as_deref())) {
            Some((next, to)) => (url, connect_to) = (next, to),
            None => return Ok(answer),
        }
    }
    Err(Failure::Unclear(format!("{} redirects more than {REDIRECTS_MAX} times", get.url)))
}

async fn ask(
    clients: &Clients,
    url: &Url,
    connect_to: Option<&str>,
    limit: Duration,
) -> Result<Answer, Failure> {
    let hop = Hop::prepare(clients, url, connect_to).await?;
    match within(clients.clock.as_ref(), limit, hop.go()).await {
        Ok(answer) => answer,
        Err(_) if hop.proxied => {
            Err(Failure::Unclear("the proxy gave no answer in time".to_owned()))
        }
        Err(_) => Err(Failure::silent(limit)),
    }
}

async fn simulated(
    sandbox: &Sandbox,
    url: &Url,
    connect_to: Option<&str>,
    limit: Duration,
) -> Result<Answer, Failure> {
    let own = url.port_or_known_default().unwrap_or(80);
    let (host, port) = match connect_to {
        Some(to) => tcp::split(to, Some(own))?,
        None => (url.host_str().unwrap_or_default(), own),
    };
    let page = sandbox.get(host, port, url.path(), limit).await;
    let page = page.map_err(|no_way| tcp::simulated(no_way, limit))?;
    Ok(Answer {
        status: page.status,
        body: page.body.into_bytes(),
        content_type: Some("text/plain".to_owned()),
        location: None,
        proxied: false,
    })
}

fn parse(url: &str) -> Result<Url, Failure> {
    let parsed = Url::parse(url)
        .map_err(|error| Failure::Unclear(format!("`{url}` is not a URL: {error}")))?;
    match parsed.scheme() {
        "http" | "https" if parsed.has_host() => Ok(parsed),
        _ => Err(Failure::Unclear(format!("`{url}` is not an http or https URL"))),
    }
}

/// Returns where a redirect goes when it stays on the host, and what to connect to there.
fn same_host(
    from: &Url,
    location: &str,
    connect_to: Option<&str>,
) -> Option<(Url, Option<String>)> {
    let next = from.join(location).ok()?;
    if next.host_str() != from.host_str() || !matches!(next.scheme(), "http" | "https") {
        return None;
    }
    let Some(to) = connect_to else { return Some((next, None)) };
    let (host, port) = tcp::split(to, from.port_or_known_default()).ok()?;
    if next.port_or_known_default() == from.port_or_known_default() {
        return Some((next, Some(to.to_owned())));
    }
    // From http to https the override follows to https's own port, but only from http's own.
    (Some(port) == from.port_or_known_default() && from.port().is_none())
        .then(|| (next, Some(host.to_owned())))
}

/// One request, ready to go.
struct Hop {
    client: reqwest::Client,
    url: Url,
    host_header: Option<String>,
    proxied: bool,
}

impl Hop {
    async fn prepare(
        clients: &Clients,
        url: &Url,
        connect_to: Option<&str>,
    ) -> Result<Self, Failure> {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().unwrap_or(80);
        let proxied = connect_to.is_none() && proxied(url, &host, |name| std::env::var(name).ok());
        let mut target = url.clone();
        let mut host_header = None;
        let mut builder = builder(url.scheme() == "https");
        if let Some(to) = connect_to {
            let (to_host, to_port) = tcp::split(to, Some(port))?;
            let addresses = tcp::resolve(clients.clock.as_ref(), to_host, to_port).await?;
            if host.parse::<std::net::IpAddr>().is_ok() {
                return Err(Failure::Unclear(format!("connect_to needs a name in {url}")));
            }
            // reqwest takes the port from the URL always; the Host header keeps the name's own.
            host_header = Some(authority(url));
            if target.set_port(Some(to_port)).is_err() {
                return Err(Failure::Unclear(format!("connect_to does not fit {url}")));
            }
            builder = fixed(builder.no_proxy().http1_only(), &host, &addresses);
        } else if !proxied {
            let addresses = tcp::resolve(clients.clock.as_ref(), &host, port).await?;
            builder = fixed(builder.no_proxy(), &host, &addresses);
        }
        let client = builder
            .build()
            .map_err(|error| Failure::Unclear(format!("prepare {url}: {}", chain(&error))))?;
        Ok(Self { client, url: target, host_header, proxied })
    }

    async fn go(&self) -> Result<Answer, Failure> {
        let mut request = self.client.get(self.url.clone());
        if let Some(host) = &self.host_header {
            request = request.header(reqwest::header::HOST, host);
        }
        let mut response = request.send().await.map_err(|error| self.failure(&error))?;
        let header = |name: reqwest::header::HeaderName| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let mut answer = Answer {
            status: response.status().as_u16(),
            body: Vec::new(),
            content_type: header(reqwest::header::CONTENT_TYPE),
            location: header(reqwest::header::LOCATION)
                .filter(|_| response.status().is_redirection()),
            proxied: self.proxied,
        };
        while answer.body.len() < BODY_MAX {
            let chunk = response.chunk().await.map_err(|error| self.failure(&error))?;
            let Some(chunk) = chunk else { break };
            let room = BODY_MAX - answer.body.len();
            answer.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
        Ok(answer)
    }

    fn failure(&self, error: &reqwest::Error) -> Failure {
        if self.proxied {
            return Failure::Unclear(format!("through a proxy: {}", chain(error)));
        }
        Failure::of(error).unwrap_or_else(|| Failure::Unclear(chain(error)))
    }
}

fn fixed(
    builder: reqwest::ClientBuilder,
    host: &str,
    addresses: &[SocketAddr],
) -> reqwest::ClientBuilder {
    builder.resolve_to_addrs(host, addresses)
}

fn builder(tls: bool) -> reqwest::ClientBuilder {
    // The first install wins and all install the same provider.
    drop(rustls::crypto::ring::default_provider().install_default());
    let builder = reqwest::Client::builder()
        .user_agent(concat!("phoenix-dr/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(0);
    // Plain HTTP must work on a host without a certificate store.
    if tls { builder } else { builder.tls_certs_only([]) }
}

/// Returns the value of the Host header for a URL: its port only where it is not the scheme's own.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Says whether the environment sends this URL through a proxy; doubt counts as yes, for then a failure proves nothing.
fn proxied(url: &Url, host: &str, variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &str| {
        let lower = variable(&name.to_ascii_lowercase());
        // HTTP_PROXY in capitals is what a CGI request header becomes, but reqwest reads it outside of CGI.
        lower.or_else(|| variable(name)).filter(|value| !value.trim().is_empty())
    };
    let proxy = match url.scheme() {
        "https" => set("HTTPS_PROXY").or_else(|| set("ALL_PROXY")),
        _ => set("HTTP_PROXY").or_else(|| set("ALL_PROXY")),
    };
    if proxy.is_none() {
        return false;
    }
    let exceptions = set("NO_PROXY").unwrap_or_default();
    let excepted =
        exceptions.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
            let name = entry.trim_start_matches('.');
            entry == "*"
                || host.eq_ignore_ascii_case(name)
                || host.to_ascii_lowercase().ends_with(&format!(".{}", name.to_ascii_lowercase()))
        });
    !excepted
}

/// Returns an error with its causes, for `reqwest::Error` says only the outermost.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        if !said.contains(&cause) {
            said.push_str(": ");
            said.push_str(&cause);
        }
        next = error.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        parse(text).expect(text)
    }

    #[test]
    fn redirects_stay_on_the_host() {
        let from = url("http://app.example/a");
        let (next, to) = same_host(&from, "/b", Some("lb.example:8080")).expect("same host");
        assert_eq!(
            (next.as_str(), to.as_deref()),
            ("http://app.example/b", Some("lb.example:8080"))
        );
        let (next, to) = same_host(&from, "https://app.example/", Some("lb.example")).expect("tls");
        assert_eq!((next.as_str(), to.as_deref()), ("https://app.example/", Some("lb.example")));
        assert!(same_host(&from, "https://app.example/", Some("lb.example:8080")).is_none());
        assert!(same_host(&from, "http://other.example/", None).is_none());
        assert!(same_host(&from, "ftp://app.example/", None).is_none());
    }

    #[test]
    fn knows_when_a_proxy_is_in_between() {
        let env = |name: &str| match name {
            "https_proxy" => Some("http://proxy:3128".to_owned()),
            "no_proxy" => Some("localhost, .internal,10.0.0.9".to_owned()),
            _ => None,
        };
        let through = |text: &str| {
            let url = url(text);
            proxied(&url, url.host_str().expect("host"), env)
        };
        assert!(through("https://api.example/"));
        assert!(!through("http://api.example/"), "only https has one");
        assert!(!through("https://db.internal/"));
        assert!(!through("https://10.0.0.9/"));
        assert!(!through("https://localhost/"));
        assert!(through("https://notinternal/"));
    }

    #[test]
    fn refuses_what_is_no_url() {
        for bad in ["", "api.example", "ftp://api.example/", "http://", "unix:/tmp/x"] {
            assert!(matches!(parse(bad), Err(Failure::Unclear(_))), "{bad}");
        }
    }
}
