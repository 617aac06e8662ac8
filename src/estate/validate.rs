//! What an estate must be beyond its types: references that lead somewhere, places that survive, one way to say it.

mod database;
mod dns;
mod dumps;
mod essentials;
mod experiments;
mod tables;

use std::net::IpAddr;

use super::types::{Estate, Via};
use crate::runbook::near;
use crate::runbook::path::Path;
use crate::runbook::problem::{Gravity, Problem};
use crate::runbook::yaml::Index;

/// Returns everything that is wrong with an estate, and what deserves a look.
pub(super) fn check(estate: &Estate, places: &Index) -> Vec<Problem> {
    let mut checks = Checks { estate, places, problems: Vec::new() };
    checks.names();
    checks.regions();
    checks.state();
    checks.before_images();
    checks.credentials();
    checks.dns();
    checks.database();
    checks.clusters();
    checks.services();
    checks.people();
    checks.problems
}

/// Returns what deserves a look in an estate whose file was sound, each with what to do about it.
///
/// Whether there is a place for a shared lease is left to whoever needs one.
pub(crate) fn doubts(estate: &Estate) -> Vec<(String, Option<String>)> {
    let places = Index::default();
    let mut found = check(estate, &places);
    found.retain(|problem| problem.gravity == Gravity::Warning);
    let words = found.into_iter().map(|problem| (problem.message, problem.help));
    words.filter(|(message, _)| message != NO_STATE).collect()
}

/// What is said of an estate whose lease has no place.
const NO_STATE: &str = "the estate has no `state:` section";

struct Checks<'a> {
    estate: &'a Estate,
    places: &'a Index,
    problems: Vec<Problem>,
}

impl Checks<'_> {
    /// Reports an error at a value and returns it for more words.
    fn wrong(&mut self, path: &Path, message: impl Into<String>) {
        self.problems.push(Problem::at(self.places.at(path), message));
    }

    fn wrong_with_help(
        &mut self,
        path: &Path,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems.push(Problem::at(self.places.at(path), message).help(help));
    }

    fn doubtful(&mut self, path: &Path, message: impl Into<String>, help: impl Into<String>) {
        let problem = Problem::at(self.places.key_or(path), message).help(help);
        self.problems.push(problem.warning());
    }

    /// Holds a region's name against the estate's regions.
    fn region(&mut self, path: &Path, name: &str) -> bool {
        if self.estate.regions.contains_key(name) {
            return true;
        }
        let names = self.estate.regions.keys().map(String::as_str);
        let help = near::hint(name, names.clone()).unwrap_or_else(|| {
            format!(
                "add it under `regions:`, or use one of {}",
                names.collect::<Vec<_>>().join(", ")
            )
        });
        self.wrong_with_help(path, format!("`{name}` is not among the estate's regions"), help);
        false
    }

    /// Refuses the primary region where something must survive its loss.
    fn survives(&mut self, path: &Path, name: &str, what: &str) {
        if self.region(path, name) && name == self.estate.primary.region {
            let message = format!("{what} is in the primary region, and lost with it");
            self.wrong_with_help(path, message, "put it in a region that takes over");
        }
    }

    /// Refuses a way in that leads through the region whose loss it is needed for.
    fn via(&mut self, path: &Path, via: &Via, primary_itself: bool) {
        let Some(command) = &via.command else {
            if via.ready.is_some() {
                self.wrong(&path.key("ready"), "`ready` says when a command is, and there is none");
            }
            return;
        };
        if command.is_empty() || command[0].is_empty() {
            self.wrong(&path.key("command"), "the command names no program");
        }
        match &via.ready {
            Some(ready) => self.address(&path.key("ready"), ready),
            None => self.wrong_with_help(
                path,
                "`ready` is missing",
                "give the host:port that answers once the command is ready",
            ),
        }
        let primary = &self.estate.primary.region;
        if !primary_itself && command.iter().any(|word| word.contains(primary.as_str())) {
            let message = format!("the way in leads through {primary}, and is lost with it");
            self.wrong_with_help(
                &path.key("command"),
                message,
                "go through a region that takes over",
            );
        }
    }

    fn address(&mut self, path: &Path, text: &str) {
        if !is_address(text) {
            self.wrong_with_help(path, format!("`{text}` is not an address"), "write host:port");
        }
    }

    fn url(&mut self, path: &Path, text: &str) {
        let sound = text.parse::<http::Uri>().is_ok_and(|uri| {
            let scheme = uri.scheme_str();
            matches!(scheme, Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
                && !uri.authority().is_some_and(|authority| authority.as_str().contains('@'))
                && uri.query().is_none()
        });
        if !sound {
            let message = format!("`{text}` is not the URL of a server");
            self.wrong_with_help(
                path,
                message,
                "write it like https://api.us-west-2.phoenix.example",
            );
        }
    }

    fn workload(&mut self, path: &Path, text: &str) {
        if !is_workload(text) {
            let message = format!("`{text}` is not a workload");
            self.wrong_with_help(path, message, "write namespace/name of the Deployment");
        }
    }

    fn names(&mut self) {
        let name = &self.estate.estate;
        let sound = !name.is_empty()
            && name.len() <= 63
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'.');
        if !sound {
            self.wrong_with_help(
                &Path::root().key("estate"),
                format!("`{name}` cannot name an estate"),
                "use letters, digits, dots, dashes and underscores: it becomes part of file names",
            );
        }
    }

    fn regions(&mut self) {
        let root = Path::root().key("regions");
        self.region(&Path::root().keys(&["primary", "region"]), &self.estate.primary.region);
        if self.estate.regions.len() == 1 {
            self.doubtful(
                &root,
                "the estate has one region",
                "nothing can take over when it is lost",
            );
        }
        for (name, region) in &self.estate.regions {
            let path = root.key(name);
            self.url(&path.key("api"), &region.api);
            if let Some(address) = &region.load_balancer
                && !is_address(address)
                && !is_host(address)
            {
                let message = format!("`{address}` is not an address");
                self.wrong_with_help(
                    &path.key("load_balancer"),
                    message,
                    "write host or host:port",
                );
            }
            let endpoints = &region.endpoints;
            for (service, url) in [
                ("rds", &endpoints.rds),
                ("route53", &endpoints.route53),
                ("s3", &endpoints.s3),
                ("sts", &endpoints.sts),
                ("health", &endpoints.health),
            ] {
                if let Some(url) = url {
                    self.url(&path.key("endpoints").key(service), url);
                }
            }
        }
    }

    fn before_images(&mut self) {
        if let Some(kept) = &self.estate.before_images {
            let path = Path::root().keys(&["before_images", "password_from"]);
            self.secret(&path, &kept.password_from);
        }
    }

    fn state(&mut self) {
        let path = Path::root().keys(&["state", "s3"]);
        let Some(state) = &self.estate.state else {
            self.problems.push(
                Problem::at(
                    self.places.at(&Path::root().key("estate")),
                    NO_STATE,
                )
                .warning()
                .help("without a bucket for the lease, two people can start two runs from two machines"),
            );
            return;
        };
        self.survives(&path.key("region"), &state.s3.region, "the lease's bucket");
        self.bucket(&path.key("bucket"), &state.s3.bucket);
        self.prefix(&path.key("prefix"), &state.s3.prefix);
    }

    fn prefix(&mut self, path: &Path, prefix: &str) {
        if prefix.is_empty() || prefix.starts_with('/') || prefix.ends_with('/') {
            let message = format!("`{prefix}` is not a prefix");
            self.wrong_with_help(path, message, "write it without a slash at either end");
        }
    }

    fn bucket(&mut self, path: &Path, name: &str) {
        let sound = (3..=63).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
            && !name.starts_with(['-', '.'])
            && !name.ends_with(['-', '.']);
        if !sound {
            let help = "give its name alone: 3 to 63 small letters, digits, dots and dashes";
            self.wrong_with_help(path, format!("`{name}` is not a bucket's name"), help);
        }
    }
}

/// Says whether a text is `host:port`.
fn is_address(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| port.parse::<u16>().is_ok_and(|port| port > 0) && is_host(host))
}

/// Says whether a text is a host's name or address; an IPv6 address stands in brackets.
fn is_host(text: &str) -> bool {
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6());
    }
    !text.is_empty()
        && text.len() <= 253
        && text.trim_end_matches('.').split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// Says whether a text is `namespace/name`.
fn is_workload(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
    };
    text.split_once('/').is_some_and(|(namespace, name)| part(namespace) && part(name))
}
