//! Health checks: what their checkers see, and what Route 53 makes of it.

use serde_json::Value;

use super::super::objects::text;
use super::super::world::Kind;
use super::{Asker, endpoint, plain};

/// Checks of checks that are followed.
const DEPTH_MAX: usize = 8;

impl Asker<'_> {
    /// Says whether a health check calls its record healthy, inversion applied.
    pub(super) fn is_healthy(self, id: &str) -> bool {
        self.healthy_check(id, 0)
    }

    fn healthy_check(self, id: &str, depth: usize) -> bool {
        let Some(check) = self.objects.get(Kind::HealthCheck, "", id) else { return true };
        let config = &check["HealthCheckConfig"];
        let inverted = config["Inverted"] == true;
        // A check that is switched off counts as healthy.
        if config["Disabled"] == true || depth > DEPTH_MAX {
            return !inverted;
        }
        let seen = match text(config, "Type") {
            "CALCULATED" => self.children(config, depth),
            "CLOUDWATCH_METRIC" | "RECOVERY_CONTROL" => {
                let known = check.get("_up").and_then(Value::as_bool);
                known.unwrap_or(text(config, "InsufficientDataHealthStatus") != "Unhealthy")
            }
            _ => self.answers_checkers(check),
        };
        seen != inverted
    }

    /// Says whether as many children are healthy as a calculated check wants.
    fn children(self, config: &Value, depth: usize) -> bool {
        let wanted = config.get("HealthThreshold").and_then(Value::as_u64).unwrap_or(0);
        let children = config.get("ChildHealthChecks").and_then(Value::as_array);
        let healthy = children.into_iter().flatten().filter_map(Value::as_str);
        let healthy = healthy.filter(|id| self.healthy_check(id, depth + 1)).count();
        u64::try_from(healthy).unwrap_or(u64::MAX) >= wanted
    }

    /// Says whether what a health check looks at answers its checkers.
    pub(in crate::sandbox) fn answers_checkers(self, check: &Value) -> bool {
        let config = &check["HealthCheckConfig"];
        let host = plain(text(config, "FullyQualifiedDomainName"));
        let address = text(config, "IPAddress");
        if let Some(up) = check.get("_up").and_then(Value::as_bool) {
            return up;
        }
        if let Some((bucket, key)) = watched(config) {
            let id = format!("{bucket}/{key}");
            let objects = &self.objects;
            let mut homes = objects.everywhere(Kind::Bucket).filter(|(key, _)| key.id == bucket);
            return homes.any(|(key, _)| objects.get(Kind::S3Object, &key.region, &id).is_some());
        }
        let mut endpoints = self.objects.everywhere(Kind::Endpoint);
        endpoints.any(|(key, body)| {
            let named = endpoint(body).is_some_and(|found| {
                found.status < 400
                    && (found.address == address
                        || found.hosts.iter().any(|name| plain(name) == host))
            });
            named && !self.dark.contains_key(&key.region)
        })
    }
}

/// Returns the bucket and key of an object a health check looks at.
pub(in crate::sandbox) fn watched(config: &Value) -> Option<(String, String)> {
    let host = text(config, "FullyQualifiedDomainName");
    let (bucket, rest) = host.split_once(".s3.")?;
    rest.ends_with("amazonaws.com").then(|| {
        (bucket.to_owned(), text(config, "ResourcePath").trim_start_matches('/').to_owned())
    })
}
