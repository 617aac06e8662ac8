"""Replicated automated backups for moto's RDS: listed in the other region, and restored from.

moto 5.2.5 knows only the automated snapshots of a region's own instances. What AWS shows for a replicated backup (the
source's ARN and region, a restore window whose end moves, status `replicating`) is kept here.
"""

import datetime

from moto.core.responses import ActionResult
from moto.rds import exceptions, models

# AWS ships transaction logs every five minutes and copies them to the other region after that.
BEHIND = datetime.timedelta(minutes=6)
BEHIND_PRIMARY = datetime.timedelta(minutes=5)
KEPT = datetime.timedelta(days=7)

REPLICATED = {}  # region -> {ARN: backup}
TAGS = {}  # ARN of a backup -> its tags
# when the source's region went dark: nothing has been copied from it since
DARK = {"since": None}


def source_is_dark(dark):
    """Says so from now on; a region that is dark already has been so since it went dark."""
    DARK["since"] = (DARK["since"] or models.utcnow()) if dark else None


def latest_restorable_time(instance):
    if not instance.backup_retention_period:
        return None
    return models.utcnow() - BEHIND_PRIMARY


class Backup:
    """What DescribeDBInstanceAutomatedBackups shows; attribute names are the members' names in snake case."""

    def __init__(self, source, region):
        self.source, self.backup_region = source, region
        self.began = models.utcnow()

    def __getattr__(self, name):
        # everything that is the instance's own: engine, class, storage, identifiers
        if name in ("db_instance_identifier", "dbi_resource_id", "db_instance_arn", "region", "allocated_storage",
                    "port", "availability_zone", "instance_create_time", "master_username", "engine",
                    "engine_version", "license_model", "option_group_name", "storage_type", "kms_key_id",
                    "backup_retention_period"):
            return getattr(self.source, name)
        raise AttributeError(name)

    @property
    def tag_list(self):
        return TAGS.get(self.db_instance_automated_backups_arn, [])

    @property
    def encrypted(self):
        return self.source.storage_encrypted

    @property
    def status(self):
        return "active" if self.backup_region == self.source.region else "replicating"

    @property
    def db_instance_automated_backups_arn(self):
        own = self.source.dbi_resource_id.removeprefix("db-").lower()
        return f"arn:aws:rds:{self.backup_region}:{self.source.account_id}:auto-backup:ab-{own}"

    @property
    def db_instance_automated_backups_replications(self):
        if self.backup_region != self.source.region:
            return []
        return [{"DBInstanceAutomatedBackupsArn": arn} for kept in REPLICATED.values()
                for arn, backup in kept.items() if backup.source is self.source]

    @property
    def restore_window(self):
        now = models.utcnow()
        if self.backup_region == self.source.region:
            return {"EarliestTime": now - KEPT, "LatestTime": now - BEHIND_PRIMARY}
        return {"EarliestTime": now - KEPT, "LatestTime": (DARK["since"] or now) - BEHIND}


def add_tags(arn, tags):
    kept = {tag["Key"]: tag for tag in [*TAGS.get(arn, []), *tags]}
    TAGS[arn] = list(kept.values())
    return TAGS[arn]


def error(code, message):
    return exceptions.RDSClientError(code, message)


def describe(self, db_instance_identifier=None, dbi_resource_id=None, db_instance_automated_backups_arn=None,
             filters=None, **_):
    """Of the region's own instances and of those replicated to it."""
    own = [Backup(item, self.region_name) for item in self.databases.values()
           if item.backup_retention_period and not item.is_replica and item.status != "creating"]
    found = own + list(REPLICATED.get(self.region_name, {}).values())
    if db_instance_identifier:
        found = [item for item in found if item.db_instance_identifier == db_instance_identifier]
    if dbi_resource_id:
        found = [item for item in found if item.dbi_resource_id == dbi_resource_id]
    if db_instance_automated_backups_arn:
        found = [item for item in found
                 if item.db_instance_automated_backups_arn == db_instance_automated_backups_arn]
        if not found:
            raise error("DBInstanceAutomatedBackupNotFound",
                        f"{db_instance_automated_backups_arn} does not refer to an existing automated backup.")
    attribute = {"status": "status", "db-instance-id": "db_instance_identifier", "dbi-resource-id": "dbi_resource_id"}
    for wanted in filters or []:
        found = [item for item in found if getattr(item, attribute[wanted["Name"]]) in wanted["Values"]]
    return found


def start_replication(response):
    """StartDBInstanceAutomatedBackupsReplication: sent to the region that keeps the copy."""
    backend, source_arn = response.backend, response.params["SourceDBInstanceArn"]
    source = backend.find_db_from_id(source_arn)
    if source.region == backend.region_name:
        raise error("InvalidParameterValue", "The source region must not be the region of the request.")
    if not source.backup_retention_period:
        raise error("InvalidDBInstanceState", "Automated backups are not enabled on the source.")
    backup = replicate(source, backend.region_name)
    return ActionResult({"DBInstanceAutomatedBackup": backup})


def replicate(source, region):
    backup = Backup(source, region)
    return REPLICATED.setdefault(region, {}).setdefault(backup.db_instance_automated_backups_arn, backup)


def stop_replication(response):
    source_arn, kept = response.params["SourceDBInstanceArn"], REPLICATED.get(response.backend.region_name, {})
    for arn, backup in list(kept.items()):
        if backup.db_instance_arn == source_arn:
            return ActionResult({"DBInstanceAutomatedBackup": kept.pop(arn)})
    raise error("DBInstanceNotFound", f"No automated backup of {source_arn} is replicated here.")


def restore(response):
    """RestoreDBInstanceToPointInTime from an instance of the region or from a backup replicated to it."""
    backend, wanted = response.backend, response.params
    target = wanted["TargetDBInstanceIdentifier"]
    backup = source_backup(backend, wanted)
    when, latest = wanted.get("RestoreTime"), wanted.get("UseLatestRestorableTime")
    if bool(when) == bool(latest):
        raise error("InvalidParameterCombination", "Specify either RestoreTime or UseLatestRestorableTime.")
    window = backup.restore_window
    if when and not window["EarliestTime"] <= when.replace(tzinfo=None) <= window["LatestTime"]:
        raise error("InvalidRestoreFault", f"The restore time is outside the window that ends {window['LatestTime']}Z.")
    source = backup.source
    props = {name: getattr(source, name) for name in (
        "engine", "engine_version", "db_instance_class", "allocated_storage", "storage_type", "master_username",
        "db_name", "license_model", "storage_encrypted", "kms_key_id", "copy_tags_to_snapshot",
        "backup_retention_period")}
    props["port"] = source.port
    for name in ("db_instance_class", "db_subnet_group_name", "db_parameter_group_name", "vpc_security_group_ids",
                 "port", "storage_type", "availability_zone", "publicly_accessible"):
        if wanted.get(name):
            props[name] = wanted[name]
    props["db_instance_identifier"] = target
    restored = backend.create_db_instance(props)
    own_settings(restored, wanted)
    return ActionResult({"DBInstance": restored})


def own_settings(restored, wanted):
    """moto lets the source's settings win over `false` and over tags that were not given; RDS does not."""
    restored.deletion_protection = bool(wanted.get("deletion_protection"))
    restored.multi_az = bool(wanted.get("multi_az"))
    restored.tags = wanted.get("tags") or []
    restored.replicas, restored.source_db_instance_identifier = [], None


def source_backup(backend, wanted):
    arn = wanted.get("SourceDBInstanceAutomatedBackupsArn")
    if arn:
        return describe(backend, db_instance_automated_backups_arn=arn)[0]
    resource, name = wanted.get("SourceDbiResourceId"), wanted.get("SourceDBInstanceIdentifier")
    found = describe(backend, db_instance_identifier=name, dbi_resource_id=resource)
    if not found:
        raise error("DBInstanceNotFound", f"DBInstance {name or resource} not found.")
    return found[0]


def install(backend, response):
    backend.describe_db_instance_automated_backups = describe
    response.start_db_instance_automated_backups_replication = start_replication
    response.stop_db_instance_automated_backups_replication = stop_replication
    response.restore_db_instance_to_point_in_time = restore
