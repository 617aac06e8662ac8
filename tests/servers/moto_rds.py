"""The moto server as RDS, in a process of its own: `python -m servers.moto_rds PORT CONTROL_PORT HOOK_URL`.

moto answers; this module only closes the gaps in which a failover would be tested wrongly (moto 5.2.5):

* every change is instant in moto. Here an instance passes through its stages (creating, backing-up, modifying ...) in
  seconds that can be set, and becomes `available` only when PostgreSQL behind it has followed;
* promotion leaves the replica's source in place, and promoting a primary succeeds;
* a replica shares its source's resource id and tags, and deleting a cross-region one fails;
* replicated automated backups are not known, nor restoring from one, nor that their window stands still without
  their source;
* a security group lets everybody in, whatever its rules;
* a restore to a time outside the window succeeds; ModifyDBInstance ignores ApplyImmediately; a snapshot is taken of an
  instance that is busy;
* the endpoint's host is a dead name.
"""

import json
import secrets
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from moto.ec2.models import ec2_backends
from moto.rds import exceptions, models, responses
from moto.rds.models import DBInstance, DBSnapshot, RDSBackend

from . import moto_backups
from .moto_seed import ACCOUNT, seed
from .moto_transition import SETTINGS, Status, endpoint, pass_through, tell

AVAILABLE = "available"


def find(backend, name):
    """The instance, or the error RDS gives; one whose deletion has ended is gone."""
    purge(backend)
    return backend.describe_db_instances(name)[0]


def require_available(instance, verb):
    if instance.status != AVAILABLE:
        raise exceptions.RDSClientError(
            "InvalidDBInstanceState", f"DB instance {instance.db_instance_identifier} is not in available state: it is "
                                      f"{instance.status} and cannot be asked to {verb}.")


def purge(backend):
    now = time.monotonic()
    for name in [name for name, item in backend.databases.items() if now > item.__dict__.get("_gone_at", now)]:
        backend.databases.pop(name, None)


original = {name: getattr(RDSBackend, name) for name in (
    "describe_db_instances", "create_db_instance", "create_db_instance_read_replica", "promote_read_replica",
    "modify_db_instance", "delete_db_instance", "stop_db_instance", "start_db_instance", "reboot_db_instance",
    "create_db_snapshot", "copy_db_snapshot", "restore_db_instance_from_db_snapshot", "add_tags_to_resource")}


def add_tags_to_resource(self, arn, tags):
    """Also of an automated backup, which moto knows no tags of."""
    if ":auto-backup:" in arn:
        return moto_backups.add_tags(arn, tags)
    return original["add_tags_to_resource"](self, arn, tags)


def describe_db_instances(self, *args, **options):
    purge(self)
    return original["describe_db_instances"](self, *args, **options)


def create_db_instance(self, wanted):
    """Also the end of every restore: either way a server is started from the prepared base backup."""
    if wanted.get("db_instance_identifier", "").lower() in self.databases:
        raise exceptions.DBInstanceAlreadyExists()
    instance = original["create_db_instance"](self, wanted)
    instance.dbi_resource_id = unique_resource_id()
    pass_through(instance, "creating", "backing-up", event="restore")
    return instance


def restore_db_instance_from_db_snapshot(self, snapshot, wanted):
    restored = original["restore_db_instance_from_db_snapshot"](self, snapshot, wanted)
    moto_backups.own_settings(restored, wanted)
    return restored


def create_db_snapshot(self, db_instance_identifier, *args, **options):
    # the name comes first: RDS says that a snapshot is there whatever the instance is at
    snapshot = args[0] if args else options.get("db_snapshot_identifier")
    if snapshot not in self.database_snapshots:
        require_available(find(self, db_instance_identifier), "be kept as a snapshot")
    snapshot = original["create_db_snapshot"](self, db_instance_identifier, *args, **options)
    pass_through(snapshot, "creating")
    return snapshot


def copy_db_snapshot(self, *args, **options):
    snapshot = original["copy_db_snapshot"](self, *args, **options)
    pass_through(snapshot, "creating")
    return snapshot


def create_db_instance_read_replica(self, wanted):
    if wanted["db_instance_identifier"].lower() in self.databases:
        raise exceptions.DBInstanceAlreadyExists()
    tags = wanted.pop("tags", None)
    source = self.find_db_from_id(wanted["source_db_instance_identifier"])
    replica = original["create_db_instance_read_replica"](self, wanted)
    # moto's replica is a copy of its source's attributes: what identifies it must be its own
    replica.backend, replica.tags = self, tags or []
    replica.dbi_resource_id, replica.created = unique_resource_id(), models.utcnow()
    replica.availability_zone, replica.backup_retention_period = f"{self.region_name}a", 0
    replica.deletion_protection, replica.multi_az = False, bool(wanted.get("multi_az"))
    if source.region != self.region_name:
        replica.source_db_instance_identifier = source.db_instance_arn
    replica.status = AVAILABLE
    pass_through(replica, "creating")
    return replica


def promote_read_replica(self, wanted):
    name = wanted["db_instance_identifier"]
    replica = find(self, name)
    if not replica.is_replica:
        raise exceptions.RDSClientError("InvalidDBInstanceState", f"DB Instance is not a read replica: {name}")
    require_available(replica, "become a primary")
    source = replica.source_db_instance_identifier
    promoted = original["promote_read_replica"](self, wanted)
    promoted.source_db_instance_identifier = None
    detach(self, source, promoted)
    promoted.status = AVAILABLE
    pass_through(promoted, "modifying", event="promote")
    return promoted


def detach(backend, source, replica):
    """Takes the replica off its source's list; the source may be gone, as in a lost region."""
    try:
        primary = backend.find_db_from_id(source)
    except exceptions.RDSClientError:
        return
    mine = (replica.db_instance_identifier, replica.db_instance_arn)
    primary.replicas = [item for item in primary.replicas if item not in mine]


def modify_db_instance(self, name, wanted):
    instance = find(self, name)
    require_available(instance, "change")
    pending = {}
    if not wanted.get("apply_immediately"):
        # kept for the maintenance window by RDS; the retention period and the protection are not among them
        for field, shown in (("multi_az", "MultiAZ"), ("db_instance_class", "DBInstanceClass"),
                             ("allocated_storage", "AllocatedStorage"), ("engine_version", "EngineVersion")):
            if wanted.get(field) is not None:
                pending[shown] = wanted.pop(field)
    renamed = wanted.get("new_db_instance_identifier")
    if renamed is not None:
        if renamed.lower() in self.databases:
            raise exceptions.DBInstanceAlreadyExists()
        if not wanted.get("apply_immediately"):
            raise exceptions.RDSClientError("InvalidParameterCombination", "Names are changed at once here.")
    changed = original["modify_db_instance"](self, name, wanted)
    if renamed is not None:
        changed.status = AVAILABLE
        changed.pending_modified_values = {}
        pass_through(changed, "renaming", event="rename", was=name)
        return changed
    groups = wanted.get("vpc_security_group_ids")
    event = None if not groups else "shut" if lets_nobody_in(self.region_name, groups) else "open"
    changed.pending_modified_values = {**getattr(changed, "pending_modified_values", {}), **pending}
    changed.status = AVAILABLE
    if wanted.get("apply_immediately"):
        changed.pending_modified_values = {}
        pass_through(changed, "modifying", event=event)
    return changed


def lets_nobody_in(region, groups):
    known = ec2_backends[ACCOUNT][region]
    return not any(known.get_security_group_from_id(group).ingress_rules for group in groups)


def delete_db_instance(self, db_instance_identifier, **options):
    instance = find(self, db_instance_identifier)
    if instance.status == "deleting":
        raise exceptions.RDSClientError("InvalidDBInstanceState",
                                        f"Instance {db_instance_identifier} is already being deleted.")
    deleted = original["delete_db_instance"](self, db_instance_identifier, **options)
    self.databases[db_instance_identifier] = deleted
    deleted.__dict__["_gone_at"] = time.monotonic() + SETTINGS["seconds"]
    if SETTINGS["hook"] is not None:
        threading.Thread(target=tell, args=("delete", db_instance_identifier), daemon=True).start()
    return deleted


def stop_db_instance(self, name, *args, **options):
    stopped = original["stop_db_instance"](self, name, *args, **options)
    pass_through(stopped, "stopping", event="stop")
    return stopped


def start_db_instance(self, name, *args, **options):
    started = original["start_db_instance"](self, name, *args, **options)
    pass_through(started, "starting", event="start")
    return started


def reboot_db_instance(self, name):
    instance = find(self, name)
    require_available(instance, "reboot")
    instance.status = AVAILABLE
    pass_through(instance, "rebooting", event="reboot")
    return instance


def remove_replica(self, replica):
    mine = (replica.db_instance_identifier, replica.db_instance_arn)
    self.replicas = [item for item in self.replicas if item not in mine]


def unique_resource_id():
    return f"db-{secrets.token_hex(13).upper()}"


def install():
    """Puts everything above in place of moto's own."""
    DBInstance.status = DBSnapshot.status = Status()
    DBInstance.endpoint = property(endpoint)
    DBInstance.remove_replica = remove_replica
    DBInstance.pending_modified_values = {}
    DBInstance.latest_restorable_time = property(moto_backups.latest_restorable_time)
    for function in (describe_db_instances, create_db_instance, create_db_instance_read_replica, promote_read_replica,
                     modify_db_instance, delete_db_instance, stop_db_instance, start_db_instance, reboot_db_instance,
                     create_db_snapshot, copy_db_snapshot, restore_db_instance_from_db_snapshot, add_tags_to_resource):
        setattr(RDSBackend, function.__name__, function)
    moto_backups.install(RDSBackend, responses.RDSResponse)


class Control(BaseHTTPRequestHandler):
    """For the estate only: POST /settings changes seconds, hook and addresses; /dark; POST /seed starts over."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
        if self.path == "/settings":
            SETTINGS.update(body)
            answer = SETTINGS
        elif self.path == "/dark":
            moto_backups.source_is_dark(body["dark"])
            answer = {}
        elif self.path == "/seed":
            # nothing of the seeding takes time or moves PostgreSQL
            kept = dict(SETTINGS)
            SETTINGS.update(seconds=0.0, hook=None)
            try:
                answer = seed(body)
            finally:
                SETTINGS.update(kept, addresses={**body["addresses"]})
        else:
            self.send_error(404)
            return
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        """moto's own log is enough."""


def main():
    port, control, hook = sys.argv[1:4]
    install()
    SETTINGS["hook"] = hook
    server = ThreadingHTTPServer(("127.0.0.1", int(control)), Control)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    from moto.server import main as serve
    serve(["-H", "127.0.0.1", "-p", port])


if __name__ == "__main__":
    main()
