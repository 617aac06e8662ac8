//! What a person types to see what a check sees, and what it must say.

use serde_json::{Map, Value};

use super::{With, database, kubernetes};
use crate::estate::types::Estate;
use crate::runbook::catalogue::checks::CheckName;
use crate::shell;
use crate::span::Span;

/// Seconds a look takes at most, where the check does not say.
const PATIENCE: &str = "3";

/// Returns the commands that show what a check looks at, each with what it must say.
pub(crate) fn check(estate: &Estate, check: CheckName, with: &Map<String, Value>) -> Vec<String> {
    let with = With(with);
    let mut lines = match check {
        CheckName::AwsHealth => aws_health(with),
        CheckName::Command => {
            vec![format!("{} # must end with 0", shell::line(&with.texts("argv")))]
        }
        CheckName::Dns => dns(with),
        CheckName::Http => vec![http(with)],
        CheckName::KubernetesPods => vec![format!(
            "{} -n {} get pods -l {} # at least {} ready",
            kubernetes::kubectl(estate, &with.text("region")),
            with.text("namespace"),
            shell::word(&with.text("selector")),
            with.0.get("ready").and_then(Value::as_u64).unwrap_or(1)
        )],
        CheckName::KubernetesRollout => rollout(estate, with),
        CheckName::PostgresConnections => connections(estate, with),
        CheckName::PostgresEssentials => essentials(estate, with),
        CheckName::PostgresQuery => query(estate, with),
        CheckName::Quorum => quorum(estate, with),
        CheckName::RdsStatus => vec![status(with)],
        CheckName::Route53Answer => answer(estate, &with.text("region")),
        CheckName::S3Object => vec![object(with)],
        CheckName::Tcp => vec![tcp(estate, with)],
    };
    if check != CheckName::Quorum {
        lines.extend(with.maybe("control").map(control));
    }
    lines
}

/// What cannot be reached from here may be this host's own fault: the control tells.
fn control(url: &str) -> String {
    format!(
        "curl -fsS -m {PATIENCE} -o /dev/null {} # the control: must answer from here",
        shell::word(url)
    )
}

fn dark(with: With<'_>) -> bool {
    with.maybe("expect") == Some("unreachable")
}

fn patience(with: With<'_>) -> String {
    let span = with.maybe("timeout").and_then(|text| text.parse::<Span>().ok());
    span.map_or(PATIENCE.to_owned(), |span| span.duration().as_secs().max(1).to_string())
}

fn http(with: With<'_>) -> String {
    let mut line = format!("curl -sS -m {}", patience(with));
    if let Some(address) = with.maybe("connect_to") {
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
            Some(_) | None => (address, ""),
        };
        line += &format!(" --connect-to {}", shell::word(&format!("::{host}:{port}")));
    }
    line += &format!(" -w '%{{http_code}}\\n' {}", shell::word(&with.text("url")));
    if dark(with) {
        return format!("{line} # must not answer");
    }
    let status = with.0.get("status").and_then(Value::as_u64);
    let status = status.map_or("2xx".to_owned(), |status| status.to_string());
    let contains = with.maybe("contains").filter(|text| !text.is_empty());
    let contains = contains.map(|text| format!(" and contain {text}")).unwrap_or_default();
    format!("{line} # must answer {status}{contains}")
}

fn tcp(estate: &Estate, with: With<'_>) -> String {
    let (host, port) = match (with.maybe("address"), with.maybe("instance")) {
        (Some(address), _) => database::parts(address),
        (None, Some(instance)) => database::address(estate, instance),
        (None, None) => ("HOST".to_owned(), "PORT".to_owned()),
    };
    let must = if dark(with) { "must not connect" } else { "must connect" };
    format!("nc -vz -w {} {} {port} # {must}", patience(with), shell::word(&host))
}

fn dig(name: &str, kind: &str, resolver: Option<&str>) -> String {
    let at = resolver.map(|resolver| match resolver.rsplit_once(':') {
        Some((host, "53")) => format!(" @{host}"),
        Some((host, port)) => format!(" @{host} -p {port}"),
        None => format!(" @{resolver}"),
    });
    format!("dig +short {} {kind}{}", shell::word(name), at.unwrap_or_default())
}

fn dns(with: With<'_>) -> Vec<String> {
    let line = dig(&with.text("name"), with.maybe("type").unwrap_or("A"), with.maybe("resolver"));
    let (only, never) = (with.texts("only"), with.texts("never"));
    let mut must = Vec::new();
    if !only.is_empty() {
        must.push(format!("only {}", only.join(", ")));
    }
    if !never.is_empty() {
        must.push(format!("never {}", never.join(", ")));
    }
    if must.is_empty() {
        must.push("an answer".to_owned());
    }
    vec![format!("{line} # {}", must.join("; "))]
}

fn aws_health(with: With<'_>) -> Vec<String> {
    let services = with.texts("services");
    let services = match services.as_slice() {
        [] => String::new(),
        some => format!(",services={}", some.join(",services=")),
    };
    vec![format!(
        "aws health describe-events --region us-east-1 --filter regions={},eventStatusCodes=open{services} \
         # an open issue; tells nothing without a support plan",
        with.text("region")
    )]
}

fn status(with: With<'_>) -> String {
    let line = format!(
        "aws rds describe-db-instances --region {} --db-instance-identifier {} --query 'DBInstances[0].DBInstanceStatus' --output text",
        with.text("region"),
        shell::word(&with.text("instance"))
    );
    let states = with.texts("states");
    match (dark(with), states.is_empty()) {
        (true, _) => format!("{line} # must not answer"),
        (false, true) => format!("{line} # available"),
        (false, false) => format!("{line} # {}", states.join(" or ")),
    }
}

/// Route 53 and the public resolvers, asked for the public record.
fn answer(estate: &Estate, region: &str) -> Vec<String> {
    let Some(dns) = &estate.dns else {
        return vec!["# the estate names no public record".to_owned()];
    };
    let balancer = estate.regions.get(region).and_then(|found| found.load_balancer.as_deref());
    let host = balancer.and_then(|balancer| balancer.split(':').next());
    let must = format!("# only {region}: {}", host.unwrap_or("its load balancer"));
    let mut lines = vec![format!(
        "aws route53 test-dns-answer --hosted-zone-id {} --record-name {} --record-type {} {must}",
        dns.zone, dns.name, dns.record_type
    )];
    let asked = dns
        .resolvers
        .iter()
        .map(|resolver| format!("{} {must}", dig(&dns.name, &dns.record_type, Some(resolver))));
    lines.extend(asked);
    lines
}

fn object(with: With<'_>) -> String {
    let exists = with.0.get("exists").and_then(Value::as_bool).unwrap_or(true);
    format!(
        "aws s3api head-object --region {} --bucket {} --key {} # {}",
        with.text("region"),
        with.text("bucket"),
        shell::word(&with.text("key")),
        if exists { "must be there" } else { "must not be there" }
    )
}

fn rollout(estate: &Estate, with: With<'_>) -> Vec<String> {
    let kubectl = kubernetes::kubectl(estate, &with.text("region"));
    let lines = with.texts("workloads").into_iter().map(|workload| {
        let (namespace, name) = workload.split_once('/').unwrap_or(("NAMESPACE", &workload));
        kubernetes::rollout(&kubectl, namespace, name, "10m")
    });
    lines.collect()
}

fn query(estate: &Estate, with: With<'_>) -> Vec<String> {
    let instance = with.text("instance");
    let mut lines: Vec<String> =
        database::find(estate, &with.text("region"), &instance).into_iter().collect();
    lines.push(format!(
        "{} -Atc {} # must be t, or what the check names",
        database::psql(estate, &instance),
        shell::word(&with.text("sql"))
    ));
    if let Some(other) = with.maybe("other_than") {
        lines.push(format!(
            "{} -Atc 'select inet_server_addr(), pg_postmaster_start_time()' # must not be {other}",
            database::psql(estate, &instance)
        ));
    }
    lines
}

fn essentials(estate: &Estate, with: With<'_>) -> Vec<String> {
    let instance = with.text("instance");
    let mut lines: Vec<String> =
        database::find(estate, &with.text("region"), &instance).into_iter().collect();
    let psql = match with.maybe("database") {
        Some(name) => database::psql_to(estate, &instance, name),
        None => database::psql(estate, &instance),
    };
    let queries = estate.database.iter().flat_map(|found| &found.essentials.queries);
    let asked = queries.map(|query| {
        format!("{psql} -Atc {} # must be t: {}", shell::word(&query.sql), query.title)
    });
    let before = lines.len();
    lines.extend(asked);
    if lines.len() == before {
        let none = "the estate names no `database.essentials.queries`: it need only answer";
        lines.push(format!("{psql} -Atc 'select true' # {none}"));
    }
    lines
}

fn connections(estate: &Estate, with: With<'_>) -> Vec<String> {
    let (instance, region) = (with.text("instance"), with.text("region"));
    let mut lines: Vec<String> = Vec::new();
    let application = estate.database.as_ref().and_then(|found| found.application.as_ref());
    if let Some(pods) = application.and_then(|application| application.pods.as_ref()) {
        lines.push(format!(
            "{} -n {} get pods -o wide -l {} # their addresses",
            kubernetes::kubectl(estate, &region),
            pods.namespace,
            shell::word(&pods.selector)
        ));
    }
    lines.extend(database::find(estate, &region, &instance));
    lines.push(format!(
        "{} -c {} # must show them",
        database::psql(estate, &instance),
        shell::word("select client_addr, application_name, count(*) from pg_stat_activity where backend_type = 'client backend' group by 1, 2")
    ));
    lines
}

fn quorum(estate: &Estate, with: With<'_>) -> Vec<String> {
    let votes = with.0.get("of").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let holds = with.0.get("holds").and_then(Value::as_u64).unwrap_or_default();
    let mut lines = vec![format!("# at least {holds} of these must hold:")];
    for vote in votes {
        let name = vote.get("check").and_then(Value::as_str).unwrap_or_default();
        let empty = Map::new();
        let arguments = vote.get("with").and_then(Value::as_object).unwrap_or(&empty);
        match CheckName::parse(name) {
            Some(CheckName::Quorum) | None => lines.push(format!("# {name}")),
            Some(found) => lines.extend(check(estate, found, arguments)),
        }
    }
    lines.extend(with.maybe("control").map(control));
    lines
}
