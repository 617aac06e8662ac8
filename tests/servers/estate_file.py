"""Writes the estate's `phoenix-dr.yaml`: the systems as the program is told about them."""

import yaml

from . import aws_seed, kube_seed
from .postgres_template import APPLICATION, DATABASE, OPERATOR

PRIMARY_REGION, REGION = "us-east-1", "us-west-2"
PRIMARY, REPLICA, RECOVERED = "phoenix-prod", "phoenix-dr-replica", "phoenix-recovered"
PASSWORD_VARIABLE = "PHOENIX_DB_PASSWORD"
CONTEXTS = {PRIMARY_REGION: "eks-us-east-1", REGION: "eks-us-west-2"}

HEADER = """\
# The throw-away estate of tests/estate: every address is on loopback and ends with it.
"""


def write(path, estate):
    """`estate` is the running Estate: its endpoints, options and what the seeding made up."""
    path.write_text(HEADER + yaml.safe_dump(content(estate), sort_keys=False, width=110))


def content(estate):
    return {
        "estate": "phoenix",
        "primary": {"region": PRIMARY_REGION},
        "regions": {name: region(estate, name) for name in (PRIMARY_REGION, REGION)},
        "state": {"s3": {"bucket": aws_seed.STATE_BUCKET, "region": REGION, "prefix": "phoenix-dr"}},
        "credentials": [{"name": "environment"}],
        "dns": dns(estate),
        "database": database(estate),
        "clusters": {name: {"context": context, "kubeconfig": str(estate.kubeconfig)}
                     for name, context in CONTEXTS.items()},
        "buckets": {"state": {"bucket": aws_seed.STATE_BUCKET, "region": REGION},
                    "switch": {"bucket": aws_seed.SWITCH_BUCKET, "region": REGION}},
        "services": services(),
        "contacts": [
            {"role": "Incident Commander", "name": "On-call SRE lead", "phone": "+1-555-0100"},
            {"role": "VP Engineering", "name": "Escalation", "phone": "+1-555-0101", "severities": ["SEV1"]},
            {"role": "Database lead", "email": "database-oncall@phoenix.example"}],
    }


def region(estate, name):
    made = estate.network_names[name]
    endpoints = {service: estate.url(f"{name}.{service}") for service in ("rds", "s3", "sts")}
    # One control plane for both: Route 53 and AWS Health live in us-east-1 whatever region is asked about.
    endpoints |= {"route53": estate.url("global.route53"), "health": estate.url("global.health")}
    return {"api": estate.url(f"{name}.api"), "load_balancer": estate.address(f"{name}.api"), **made,
            "endpoints": endpoints}


def dns(estate):
    _, port = estate.address(f"{REGION}.api").rsplit(":", 1)
    place = aws_seed.NAME if port == "80" else f"{aws_seed.NAME}:{port}"
    found = {"zone": estate.aws.zone, "name": aws_seed.NAME, "type": "A", "shape": "weighted",
             # No certificates here; a real estate is asked by https.
             "url": f"http://{place}/",
             "records": {PRIMARY_REGION: "use1", REGION: "usw2"}, "resolvers": [estate.resolver_address]}
    if estate.aws.health_check:
        found["failover_object"] = {
            "bucket": aws_seed.SWITCH_BUCKET, "region": REGION, "key": aws_seed.SWITCH_KEY,
            "health_check": estate.aws.health_check,
            "url": f"{estate.url(f'{REGION}.s3')}/{aws_seed.SWITCH_BUCKET}/{aws_seed.SWITCH_KEY}"}
    return found


def database(estate):
    found = {"name": DATABASE,
             "primary": {"id": PRIMARY, "region": PRIMARY_REGION,
                         "address": estate.address(f"{PRIMARY_REGION}.database")}}
    if not estate.options.restore_only:
        found["replica"] = {"id": REPLICA, "region": REGION}
    users = [f"{kube_seed.NAMESPACE}/{name}" for name, _, _, _, connects in kube_seed.WORKLOADS if connects]
    label, value = next(iter(kube_seed.LABEL.items()))
    return found | {
        "automated_backup": {"region": REGION},
        "recovered": {"id": RECOVERED, "class": "db.r6g.xlarge"},
        "connection": {"user": OPERATOR, "password_from": {"env": PASSWORD_VARIABLE}, "tls": "disable",
                       "application_roles": [APPLICATION]},
        "application": {
            "secret": {"namespace": kube_seed.NAMESPACE, "name": kube_seed.SECRET, "host_key": "host",
                       "port_key": "port"},
            "restart": users, "pods": {"namespace": kube_seed.NAMESPACE, "selector": f"{label}={value}"}}}


def services():
    found = [{"name": "PostgreSQL", "priority": "P0"}]
    for name, priority, _, replicas, _ in kube_seed.WORKLOADS:
        found.append({"name": name, "priority": priority, "workload": f"{kube_seed.NAMESPACE}/{name}",
                      "replicas": replicas})
    return found
