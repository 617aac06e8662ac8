//! Where requests go: the estate's endpoints, and overrides lying about in the environment or an AWS profile.
//!
//! Our AWS clients use the estate's endpoints and AWS's own, nothing else. An override found elsewhere is reported:
//! it tells that this shell was made for a test server, and child programs would follow it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::estate::types::{Endpoints, Estate};

/// An AWS service phoenix-dr talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AwsService {
    Health,
    Rds,
    Route53,
    S3,
    Sts,
}

impl AwsService {
    pub(crate) const ALL: [Self; 5] = [Self::Health, Self::Rds, Self::Route53, Self::S3, Self::Sts];

    /// Returns the name people use.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Health => "AWS Health",
            Self::Rds => "RDS",
            Self::Route53 => "Route 53",
            Self::S3 => "S3",
            Self::Sts => "STS",
        }
    }

    /// Returns the endpoint the estate names for it.
    pub(crate) fn of(self, endpoints: &Endpoints) -> Option<&str> {
        match self {
            Self::Health => endpoints.health.as_deref(),
            Self::Rds => endpoints.rds.as_deref(),
            Self::Route53 => endpoints.route53.as_deref(),
            Self::S3 => endpoints.s3.as_deref(),
            Self::Sts => endpoints.sts.as_deref(),
        }
    }

    /// Returns the URL requests of this service go to for a region of the estate.
    pub(crate) fn url(self, estate: &Estate, region: &str) -> String {
        if let Some(url) = estate.regions.get(region).and_then(|found| self.of(&found.endpoints)) {
            return url.to_owned();
        }
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        match self {
            Self::Health => format!("https://global.health.{domain}"),
            Self::Route53 => format!("https://route53.{domain}"),
            Self::Rds => format!("https://rds.{region}.{domain}"),
            Self::S3 => format!("https://s3.{region}.{domain}"),
            Self::Sts => format!("https://sts.{region}.{domain}"),
        }
    }
}

/// Returns the endpoints of every service for a region, a line each, as preflight shows them.
pub(crate) fn shown(estate: &Estate, region: &str) -> Vec<(AwsService, String)> {
    AwsService::ALL.into_iter().map(|service| (service, service.url(estate, region))).collect()
}

/// Returns the host of a URL, with its port where it has one.
pub(crate) fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// Returns every endpoint override of the environment and of the AWS profiles in use, a line each.
pub(crate) fn overrides(estate: &Estate) -> Vec<String> {
    let variables: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let config = read_shared(&variables, "AWS_CONFIG_FILE", ".aws/config");
    let credentials = read_shared(&variables, "AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials");
    let mut profiles: Vec<String> =
        estate.credentials.iter().filter_map(|source| source.profile.clone()).collect();
    if estate.credentials.iter().any(|source| source.profile.is_none()) || profiles.is_empty() {
        let default = variables.get("AWS_PROFILE").cloned();
        profiles.push(default.unwrap_or_else(|| "default".to_owned()));
    }
    overrides_in(&variables, &config, &credentials, &profiles)
}

/// Reads one of the two files that the SDK merges; one that is not there sets nothing.
fn read_shared(variables: &BTreeMap<String, String>, variable: &str, usual: &str) -> String {
    let path = match variables.get(variable) {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(variables.get("HOME").map_or("", String::as_str)).join(usual),
    };
    std::fs::read_to_string(path).unwrap_or_default()
}

fn overrides_in(
    variables: &BTreeMap<String, String>,
    config: &str,
    credentials: &str,
    profiles: &[String],
) -> Vec<String> {
    let ignored = variables
        .get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if ignored {
        return Vec::new();
    }
    let mut found: Vec<String> = variables
        .iter()
        .filter(|(name, value)| name.starts_with("AWS_ENDPOINT_URL") && !value.is_empty())
        .map(|(name, value)| format!("{name}={value} in the environment"))
        .collect();
    let configured = read_settings(config);
    let shared = read_settings(credentials);
    for profile in profiles {
        // The credentials file names a profile as it is.
        let shared = of_sections(&shared, std::slice::from_ref(profile));
        let names = if profile == "default" {
            vec!["default".to_owned(), "profile default".to_owned()]
        } else {
            vec![format!("profile {profile}")]
        };
        let configured_here = of_sections(&configured, &names);
        // A profile may name a section of service endpoints.
        let services: Vec<String> = configured_here
            .iter()
            .chain(&shared)
            .filter(|setting| setting.key == "services")
            .map(|setting| format!("services {}", setting.value))
            .collect();
        let configured_there = of_sections(&configured, &services);
        let configured = configured_here.into_iter().chain(configured_there);
        let configured = configured.map(|setting| (setting, "configuration"));
        let shared = shared.into_iter().map(|setting| (setting, "credentials"));
        for (setting, file) in configured.chain(shared) {
            if setting.key != "endpoint_url" || setting.value.is_empty() {
                continue;
            }
            let (value, section) = (&setting.value, &setting.section);
            let line = format!("endpoint_url = {value} in [{section}] of the AWS {file} file");
            if !found.contains(&line) {
                found.push(line);
            }
        }
    }
    found
}

/// Returns the settings of some sections.
fn of_sections<'a>(settings: &'a [Setting], sections: &[String]) -> Vec<&'a Setting> {
    settings.iter().filter(|setting| sections.contains(&setting.section)).collect()
}

struct Setting {
    section: String,
    key: String,
    value: String,
}

/// Reads `key = value` lines, nested ones like top-level ones, with the section each stands in.
fn read_settings(config: &str) -> Vec<Setting> {
    let mut section = String::new();
    let mut settings = Vec::new();
    for line in config.lines().map(str::trim) {
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            section = name.split_whitespace().collect::<Vec<_>>().join(" ");
        } else if let Some((key, value)) = line.split_once('=') {
            settings.push(Setting {
                section: section.clone(),
                key: key.trim().to_ascii_lowercase(),
                value: value.trim().to_owned(),
            });
        }
    }
    settings
}

/// Says whether requests to a URL go through a proxy of the environment: then a failed connection is the proxy's.
pub(crate) fn proxied(url: &str) -> bool {
    proxied_by(url, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

fn proxied_by(url: &str, variable: impl Fn(&str) -> Option<String>) -> bool {
    let either =
        |name: &str| variable(name).or_else(|| variable(name.to_ascii_lowercase().as_str()));
    let scheme = if url.starts_with("http://") { "HTTP_PROXY" } else { "HTTPS_PROXY" };
    if either(scheme).or_else(|| either("ALL_PROXY")).is_none() {
        return false;
    }
    let authority = host_of(url);
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let direct = either("NO_PROXY").unwrap_or_default();
    !direct.split(',').map(str::trim).filter(|rule| !rule.is_empty()).any(|rule| {
        let suffix = rule.trim_start_matches('*').trim_start_matches('.');
        rule == "*" || host == suffix || host.ends_with(&format!(".{suffix}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn finds_overrides_of_environment_and_profiles_in_use() {
        let config = "\
[default]
region = us-east-1
[profile dr]
services = testing
endpoint_url = http://127.0.0.1:1
[profile other]
endpoint_url = http://127.0.0.1:2
[services testing]
rds =
  endpoint_url = http://127.0.0.1:3
# endpoint_url = http://127.0.0.1:4
";
        let environment = variables(&[
            ("AWS_ENDPOINT_URL_RDS", "http://127.0.0.1:5"),
            ("AWS_ENDPOINT_URL", ""),
            ("AWS_REGION", "us-east-1"),
        ]);
        assert_eq!(
            overrides_in(&environment, config, "", &["dr".to_owned()]),
            [
                "AWS_ENDPOINT_URL_RDS=http://127.0.0.1:5 in the environment",
                "endpoint_url = http://127.0.0.1:1 in [profile dr] of the AWS configuration file",
                "endpoint_url = http://127.0.0.1:3 in [services testing] of the AWS configuration file",
            ]
        );
        assert!(overrides_in(&variables(&[]), config, "", &["default".to_owned()]).is_empty());
    }

    #[test]
    fn the_credentials_file_sets_endpoints_as_well() {
        let credentials = "\
[default]
aws_access_key_id = AKID
endpoint_url = http://127.0.0.1:1
[dr]
services = testing
[profile dr]
endpoint_url = http://127.0.0.1:2
";
        let config = "[services testing]\nrds =\n  endpoint_url = http://127.0.0.1:3\n";
        let found = |profile: &str| {
            overrides_in(&variables(&[]), config, credentials, &[profile.to_owned()])
        };
        assert_eq!(
            found("default"),
            ["endpoint_url = http://127.0.0.1:1 in [default] of the AWS credentials file"]
        );
        assert_eq!(
            found("dr"),
            [
                "endpoint_url = http://127.0.0.1:3 in [services testing] of the AWS configuration file"
            ]
        );
    }

    #[test]
    fn ignored_overrides_are_none() {
        let environment = variables(&[
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:5"),
            ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"),
        ]);
        assert!(overrides_in(&environment, "", "", &[]).is_empty());
    }

    #[test]
    fn a_proxy_counts_unless_the_host_is_direct() {
        let proxy = |name: &str| match name {
            "https_proxy" => Some("http://proxy:3128".to_owned()),
            "NO_PROXY" => Some("localhost, .internal,127.0.0.1".to_owned()),
            _ => None,
        };
        assert!(proxied_by("https://rds.us-east-1.amazonaws.com", proxy));
        assert!(!proxied_by("https://rds.internal:8443/x", proxy));
        assert!(!proxied_by("https://127.0.0.1:9", proxy));
        assert!(!proxied_by("http://rds.us-east-1.amazonaws.com", proxy));
        assert!(proxied_by("https://notinternal", proxy));
    }

    #[test]
    fn hosts_of_urls() {
        assert_eq!(
            host_of("https://user@rds.us-east-1.amazonaws.com:443/x?y"),
            "rds.us-east-1.amazonaws.com:443"
        );
        assert_eq!(host_of("127.0.0.1:5555"), "127.0.0.1:5555");
    }
}
