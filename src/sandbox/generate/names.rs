//! Hosts of an estate, and giving regions that share one a name each: in a world a host is in one region.

use std::collections::BTreeMap;
use std::net::IpAddr;

use http::Uri;

use crate::estate::types::Estate;

/// Returns host and port of an address, or of a host alone.
pub(in crate::sandbox) fn split(address: &str, usual: u16) -> (String, u16) {
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, port.parse().unwrap_or(usual))
        }
        _ => (address, usual),
    };
    (host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase(), port)
}

/// Returns host and port of a URL.
pub(in crate::sandbox) fn place(url: &str) -> Option<(String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let usual = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    let host = uri.host()?.trim_matches(['[', ']']).to_ascii_lowercase();
    Some((host, uri.port_u16().unwrap_or(usual)))
}

pub(super) fn is_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

/// Returns a name of a region that is nobody's.
pub(super) fn made(what: &str, region: &str) -> String {
    format!("{what}.{region}.rehearsal.invalid")
}

/// Gives a region another name where one before it is reached by the same host; returns which, and what is said of it.
pub(super) fn apart(estate: &mut Estate) -> Vec<(String, String)> {
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    let mut renamed = Vec::new();
    for (name, region) in &mut estate.regions {
        let taken = |host: &str, owners: &mut BTreeMap<String, String>| {
            owners.entry(host.to_owned()).or_insert_with(|| name.clone()) != name
        };
        if let Some((host, _)) = place(&region.api)
            && taken(&host, &mut owners)
        {
            region.api = format!("https://{}", made("api", name));
            renamed.push((name.clone(), format!("its API is {} in place of {host}", region.api)));
        }
        let balancer = region.load_balancer.as_deref().map(|known| split(known, 443));
        if let Some((host, port)) = balancer
            && taken(&host, &mut owners)
        {
            let own = format!("{}:{port}", made("load-balancer", name));
            renamed.push((name.clone(), format!("its load balancer is {own} in place of {host}")));
            region.load_balancer = Some(own);
        }
    }
    renamed
}
