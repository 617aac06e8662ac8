"""What RDS holds at the start: made inside moto, since snapshots two hours old cannot be made from outside."""

import datetime
import itertools

from moto.core.base_backend import BackendDict
from moto.ec2.models import ec2_backends
from moto.rds.models import rds_backends, utcnow

from . import moto_backups

ACCOUNT = "123456789012"
AGE = datetime.timedelta(hours=2, minutes=10)


def seed(wanted):
    """Starts over; `wanted` names regions and instances, the replica or none. Answers what was made up."""
    BackendDict.reset()
    moto_backups.REPLICATED.clear()
    moto_backups.source_is_dark(False)
    made = {}
    for region in (wanted["primary_region"], wanted["region"]):
        made[region] = network(region)
    primary = rds_backends[ACCOUNT][wanted["primary_region"]].create_db_instance(
        instance(wanted["primary"], made[wanted["primary_region"]]))
    primary.created = primary.instance_create_time = utcnow() - datetime.timedelta(days=400)
    other = rds_backends[ACCOUNT][wanted["region"]]
    if wanted.get("replica"):
        other.create_db_instance_read_replica({
            "db_instance_identifier": wanted["replica"], "source_db_instance_identifier": primary.db_instance_arn,
            "db_instance_class": "db.r6g.xlarge", "tags": [{"Key": "estate", "Value": "phoenix"}]})
        settle(other.databases[wanted["replica"]], made[wanted["region"]])
    made["backup_arn"] = moto_backups.replicate(primary, wanted["region"]).db_instance_automated_backups_arn
    made["snapshots"] = snapshots(other, primary, wanted["primary"])
    return made


def network(region):
    """Subnet group, security groups and parameter group an instance of this region is put in."""
    compute, database = ec2_backends[ACCOUNT][region], rds_backends[ACCOUNT][region]
    vpc = compute.default_vpc
    subnets = list(itertools.chain.from_iterable(group.values() for group in compute.subnets.values()))
    database.create_subnet_group("phoenix-db-subnets", "private subnets of the platform", subnets[:3], [])
    groups = [compute.create_security_group(name, f"{name} of {region}", vpc_id=vpc.id).id
              for name in ("phoenix-db", "phoenix-db-operators")]
    for group in groups:
        compute.authorize_security_group_ingress(group, "tcp", "5432", "5432", [{"CidrIp": "10.0.0.0/8"}], [])
    nobody = compute.create_security_group("phoenix-db-nobody", f"lets nothing in, {region}", vpc_id=vpc.id).id
    database.create_db_parameter_group({
        "db_parameter_group_name": "phoenix-postgres15", "db_parameter_group_family": "postgres15",
        "description": "settings of the platform's database", "tags": []})
    return {"subnet_group": "phoenix-db-subnets", "security_groups": groups, "parameter_group": "phoenix-postgres15",
            "nobody": nobody}


def instance(name, placed):
    return {
        "db_instance_identifier": name, "db_instance_class": "db.r6g.xlarge", "engine": "postgres",
        "engine_version": "15.8", "allocated_storage": 100, "storage_type": "gp3", "master_username": "phoenix_dr",
        "master_user_password": "kept-by-postgresql", "db_name": "phoenix", "port": 5432, "multi_az": True,
        "backup_retention_period": 7, "deletion_protection": True, "copy_tags_to_snapshot": True,
        "db_subnet_group_name": placed["subnet_group"], "vpc_security_group_ids": placed["security_groups"],
        "db_parameter_group_name": placed["parameter_group"], "tags": [{"Key": "estate", "Value": "phoenix"}]}


def settle(replica, placed):
    """The replica's own network, where moto's copy still names its source's region."""
    replica.db_subnet_group_name = placed["subnet_group"]
    replica.vpc_security_group_ids = list(placed["security_groups"])


def snapshots(backend, primary, name):
    """One copied by hand and one made automatically, both about two hours old, of a database that lives elsewhere."""
    made, taken = [], utcnow() - AGE
    for kind, identifier in (("manual", f"{name}-copy-{taken:%Y%m%d%H%M}"),
                             ("automated", f"rds:{name}-{taken:%Y-%m-%d-%H-%M}")):
        backend.databases[name] = primary  # CreateDBSnapshot takes an instance of its own region only
        try:
            snapshot = backend.create_db_snapshot(name, identifier, snapshot_type=kind)
        finally:
            del backend.databases[name]
        snapshot.created = snapshot.original_snapshot_create_time = taken
        taken += datetime.timedelta(minutes=5)
        made.append(snapshot.db_snapshot_identifier)
    return made
