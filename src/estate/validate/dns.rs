//! The public record.

use std::collections::BTreeMap;

use super::{Checks, is_host};
use crate::estate::types::{Dns, RecordShape};
use crate::runbook::near;
use crate::runbook::path::Path;

impl Checks<'_> {
    pub(super) fn dns(&mut self) {
        let Some(dns) = &self.estate.dns else { return };
        let path = Path::root().key("dns");
        if !is_host(dns.name.strip_prefix("*.").unwrap_or(&dns.name)) {
            let message = format!("`{}` is not a record's name", dns.name);
            self.wrong(&path.key("name"), message);
        }
        if dns.zone.is_empty() || !dns.zone.bytes().all(|b| b.is_ascii_alphanumeric()) {
            self.wrong_with_help(
                &path.key("zone"),
                format!("`{}` is not a hosted zone's id", dns.zone),
                "give the id alone, like Z0123456789ABCDEFGHIJ",
            );
        }
        let types = ["A", "AAAA", "CNAME"];
        if !types.contains(&dns.record_type.as_str()) {
            let upper = dns.record_type.to_uppercase();
            let help = near::hint(&upper, types.into_iter())
                .unwrap_or_else(|| "A, AAAA and CNAME records can be moved".to_owned());
            let message = format!("`{}` records cannot be moved", dns.record_type);
            self.wrong_with_help(&path.key("type"), message, help);
        }
        self.service_url(dns, &path.key("url"));
        self.records(dns, &path.key("records"));
        for (i, resolver) in dns.resolvers.iter().enumerate() {
            self.address(&path.key("resolvers").item(i), resolver);
        }
        if let Some(object) = &dns.failover_object {
            let path = path.key("failover_object");
            self.survives(&path.key("region"), &object.region, "the failover object");
            self.bucket(&path.key("bucket"), &object.bucket);
            if object.key.is_empty() || object.key.starts_with('/') {
                let message = format!("`{}` is not an object's key", object.key);
                self.wrong(&path.key("key"), message);
            }
            if let Some(url) = &object.url {
                self.url(&path.key("url"), url);
            }
        }
    }

    /// The URL that proves the service must be asked of the record that moves: another name proves nothing of it.
    fn service_url(&mut self, dns: &Dns, path: &Path) {
        let covered = |host: &str| match dns.name.strip_prefix('*') {
            Some(rest) => host.len() > rest.len() && host.ends_with(rest),
            None => host == dns.name,
        };
        match &dns.url {
            Some(url) => {
                self.url(path, url);
                let uri = url.parse::<http::Uri>().ok();
                let host = uri.as_ref().and_then(http::Uri::host).unwrap_or_default();
                if !host.is_empty() && !covered(&host.to_ascii_lowercase()) {
                    let message = format!("`{host}` is not {}", dns.name);
                    let help = "the service is asked by the name whose answers move";
                    self.wrong_with_help(path, message, help);
                }
            }
            None if dns.name.starts_with('*') => {
                let message = "a wildcard is no name to ask";
                let help = "give the URL of one name it covers, like https://app.phoenix.example/";
                self.wrong_with_help(path, message, help);
            }
            None => {}
        }
    }

    fn records(&mut self, dns: &Dns, path: &Path) {
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        for (region, identifier) in &dns.records {
            self.region(&path.key(region), region);
            if identifier.is_empty() {
                self.wrong(&path.key(region), "a set identifier is not empty");
            }
            if let Some(other) = seen.insert(identifier, region) {
                let message = format!("`{identifier}` is {other}'s record already");
                self.wrong(&path.key(region), message);
            }
        }
        for region in self.estate.regions.keys() {
            if !dns.records.contains_key(region) {
                let message = format!("{region} has no record");
                let help =
                    "give the set identifier of its record: traffic cannot move there without";
                self.wrong_with_help(path, message, help);
            }
        }
        match dns.shape {
            RecordShape::Weighted => {}
            RecordShape::Failover => {
                if dns.records.len() != 2 {
                    let message = format!("{} records in a failover pair", dns.records.len());
                    self.wrong_with_help(
                        path,
                        message,
                        "a PRIMARY and a SECONDARY record, no more",
                    );
                }
            }
        }
    }
}
