//! Proves by reads alone that the failover object would move traffic.
//!
//! The record set of the primary region must hang on an inverted health check that asks for the object: Route 53 takes
//! the record away when the object is there. Anything else is found out while the record sets can still be moved.

use aws_sdk_route53::types::{HealthCheckConfig, HealthCheckType};
use http::Uri;

use crate::actions::s3;
use crate::clients::Clients;
use crate::clients::aws::error::{Nature, failure};
use crate::clients::aws::records::{self, RecordSet};
use crate::outcome::ActionError;

/// What is known of the failover object's way to the record sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wiring {
    Proved(String),
    /// It would move nothing
    Broken(String),
    /// It could not be read, or what was read does not tell
    Unproved(String),
}

/// Looks at the record set and its health check; `None` where the estate has no failover object.
pub(crate) async fn wiring(clients: &Clients) -> Option<Wiring> {
    let dns = clients.estate.dns.as_ref()?;
    let object = dns.failover_object.as_ref()?;
    let url = s3::url(clients, object);
    let found = async {
        let aws = clients.aws.region(&object.region).await?;
        let sets = records::read(&aws, &dns.zone, &dns.name, &dns.record_type).await?;
        let own = dns.records.get(&clients.estate.primary.region);
        let set = sets.into_iter().find(|set| set.set_identifier.as_ref() == own);
        let check = match attached(set.as_ref(), own.map_or("?", String::as_str)) {
            Ok(check) => check,
            Err(broken) => return Ok(broken),
        };
        if object.health_check.as_deref().is_some_and(|named| named != check) {
            return Ok(Wiring::Broken(format!(
                "the record set has health check {check}, not the estate's {}",
                object.health_check.as_deref().unwrap_or_default()
            )));
        }
        let answer = aws.route53.get_health_check().health_check_id(check).send().await;
        let answer = answer.map_err(|error| {
            failure(Nature::Read, "route53:GetHealthCheck", &object.region, &error)
        })?;
        let config = answer.health_check().and_then(|check| check.health_check_config());
        Ok(match config {
            Some(config) => judged(check, config, &url),
            None => Wiring::Unproved(format!("health check {check} came without its settings")),
        })
    };
    let found: Result<Wiring, ActionError> = found.await;
    Some(found.unwrap_or_else(|error| Wiring::Unproved(error.to_string())))
}

/// Returns the health check the primary's record set hangs on.
fn attached<'a>(set: Option<&'a RecordSet>, own: &str) -> Result<&'a str, Wiring> {
    let Some(set) = set else {
        return Err(Wiring::Broken(format!("there is no record set `{own}`")));
    };
    set.health_check_id
        .as_deref()
        .ok_or_else(|| Wiring::Broken(format!("record set `{own}` has no health check")))
}

fn judged(check: &str, config: &HealthCheckConfig, url: &str) -> Wiring {
    let broken = |why: &str| Wiring::Broken(format!("health check {check} {why}"));
    match config.r#type() {
        HealthCheckType::Http
        | HealthCheckType::Https
        | HealthCheckType::HttpStrMatch
        | HealthCheckType::HttpsStrMatch => {}
        other => {
            let kind = other.as_str();
            let why = format!("health check {check} is {kind}: what it asks cannot be told");
            return Wiring::Unproved(why);
        }
    }
    if config.disabled().unwrap_or(false) {
        return broken("is disabled");
    }
    if !config.inverted().unwrap_or(false) {
        return broken("is not inverted: an object that is there would count as healthy");
    }
    let Ok(uri) = url.parse::<Uri>() else {
        return Wiring::Unproved(format!("`{url}` is no URL"));
    };
    let hosts = [config.fully_qualified_domain_name(), config.ip_address()];
    let path = config.resource_path().unwrap_or("/");
    if !hosts.contains(&uri.host()) || path != uri.path() {
        let host = hosts.into_iter().flatten().next().unwrap_or("?");
        return broken(&format!("asks {host}{path}, not {url}"));
    }
    Wiring::Proved(format!("health check {check}, inverted, asks {url}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl FnOnce(&mut HealthCheckConfig)) -> HealthCheckConfig {
        let mut config = HealthCheckConfig::builder()
            .r#type(HealthCheckType::Https)
            .fully_qualified_domain_name("switch.s3.us-west-2.amazonaws.com")
            .resource_path("/failed-over")
            .inverted(true)
            .build()
            .expect("a type");
        change(&mut config);
        config
    }

    #[test]
    fn only_an_inverted_check_of_the_object_moves_traffic() {
        type Change = fn(&mut HealthCheckConfig);
        let url = "https://switch.s3.us-west-2.amazonaws.com/failed-over";
        let judge = |change: Change| judged("abc", &config(change), url);
        assert!(matches!(judge(|_| {}), Wiring::Proved(said) if said.contains(url)));
        let by_address = |config: &mut HealthCheckConfig| {
            config.ip_address = config.fully_qualified_domain_name.take();
        };
        assert!(matches!(judge(by_address), Wiring::Proved(_)));
        let wrong: [(Change, &str); 5] = [
            (|config| config.inverted = None, "not inverted"),
            (|config| config.disabled = Some(true), "is disabled"),
            (|config| config.resource_path = Some("/other".to_owned()), "amazonaws.com/other"),
            (|config| config.resource_path = None, "amazonaws.com/, not"),
            (|config| config.fully_qualified_domain_name = Some("x.example".to_owned()), "asks x."),
        ];
        for (change, said) in wrong {
            let found = judge(change);
            assert!(matches!(&found, Wiring::Broken(why) if why.contains(said)), "{found:?}");
        }
        let other = judge(|config| config.r#type = HealthCheckType::Calculated);
        assert!(matches!(&other, Wiring::Unproved(why) if why.contains("CALCULATED")), "{other:?}");
    }

    #[test]
    fn a_record_set_without_a_check_is_told() {
        let told = |set: Option<&RecordSet>| attached(set, "use1").expect_err("broken");
        assert_eq!(told(None), Wiring::Broken("there is no record set `use1`".to_owned()));
    }
}
