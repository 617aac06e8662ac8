"""Proves that the estate behaves as the tests that use it assume: `tests/estate --no-build tests/servers/selfcheck.py`.

Run by `tests/run` before the program's own tests: a test server that answers wrongly would make them worthless.
"""

import json
import sys
import time
import urllib.error
import urllib.request

from botocore.exceptions import BotoCoreError, ClientError

from servers.asking import client, control, estate, hangs, http, kubernetes, query, raises, resolve, until

EAST, WEST = estate()["regions"]["us-east-1"], estate()["regions"]["us-west-2"]
REPLICA, RECOVERED = "phoenix-dr-replica", "phoenix-recovered"
NAMESPACE = "/namespaces/phoenix-system"


def dark_region_swallows_packets():
    for url in (EAST["api"], EAST["endpoints"]["rds"], EAST["endpoints"]["health"]):
        assert hangs(url.removeprefix("http://")), url
    assert hangs(estate()["database"]["primary"]["address"])
    raises(BotoCoreError, lambda: client("rds", "us-east-1").describe_db_instances())
    assert http(WEST["api"] + "/healthz")[0] == 200
    status, body = http(f"http://{WEST['load_balancer']}/", "app.phoenix.example")
    assert status == 503 and "not connected" in body["reasons"][0], body


def requests_are_counted():
    control("DELETE", "/requests")
    client("rds").describe_db_instances()
    client("sts").get_caller_identity()
    kubernetes("GET", f"/apis/apps/v1{NAMESPACE}/deployments")
    kubernetes("PATCH", f"/apis/apps/v1{NAMESPACE}/deployments/api-gateway?dryRun=All", {"spec": {"replicas": 2}})
    kubernetes("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}})
    seen = control("GET", "/requests")
    assert [entry["action"] for entry in seen] == [
        "DescribeDBInstances", "GetCallerIdentity", "list deployments", "patch deployments",
        "create selfsubjectaccessreviews"], seen
    assert not control("GET", "/requests?mutating=1") and seen[3]["dry_run"]
    client("s3").put_object(Bucket="phoenix-dr-state", Key="x", Body=b"y")
    assert [entry["action"] for entry in control("GET", "/requests?mutating=1")] == ["PutObject"]


def faults_reach_their_target():
    rds = client("rds")
    control("POST", "/faults", {"service": "rds", "operation": "Describe*", "action": "throttle", "times": 1})
    error = raises(ClientError, lambda: rds.describe_db_instances())
    assert error.response["Error"]["Code"] == "Throttling", error
    rds.describe_db_instances()
    control("POST", "/faults", {"service": "rds", "operation": "AddTagsToResource", "action": "lost", "times": 1})
    arn = rds.describe_db_instances()["DBInstances"][0]["DBInstanceArn"]
    raises(BotoCoreError, lambda: rds.add_tags_to_resource(ResourceName=arn, Tags=[{"Key": "lost", "Value": "1"}]))
    assert {"Key": "lost", "Value": "1"} in rds.list_tags_for_resource(ResourceName=arn)["TagList"]
    control("POST", "/faults", {"service": "route53", "action": "drop", "times": 1})
    raises(BotoCoreError, lambda: client("route53").list_hosted_zones())
    control("POST", "/faults", {"service": "kubernetes", "operation": "list pods", "action": "error", "status": 503})
    error = raises(urllib.error.HTTPError, lambda: kubernetes("GET", f"/api/v1{NAMESPACE}/pods"))
    assert error.code == 503 and json.loads(error.read())["kind"] == "Status"
    assert [fault["fired"] for fault in control("GET", "/faults")] == [1, 1, 1, 1]
    control("DELETE", "/faults")


def capacity_limits_pods():
    control("POST", "/options", {"capacity": 7})
    kubernetes("PATCH", f"/apis/apps/v1{NAMESPACE}/deployments/api-gateway/scale", {"spec": {"replicas": 3}})

    def unschedulable():
        return [pod for pod in kubernetes("GET", f"/api/v1{NAMESPACE}/pods")["items"] for condition in
                pod["status"].get("conditions", ()) if condition.get("reason") == "Unschedulable"]

    until("one pod unschedulable", lambda: len(unschedulable()) == 1)
    events = kubernetes("GET", f"/api/v1{NAMESPACE}/events")["items"]
    assert any(event["reason"] == "FailedScheduling" for event in events), events
    control("POST", "/options", {"capacity": None})
    until("room again", lambda: control("GET", "/state")["workloads"]["api-gateway"]["ready"] == 3)


def autoscaler_owns_its_workload():
    path = f"/apis/autoscaling/v1{NAMESPACE}/horizontalpodautoscalers/phoenix-api"
    kubernetes("PATCH", f"/apis/apps/v1{NAMESPACE}/deployments/phoenix-api/scale", {"spec": {"replicas": 4}})
    until("replicas put back", lambda: control("GET", "/state")["workloads"]["phoenix-api"]["replicas"] == 1)
    kubernetes("PATCH", path, {"spec": {"minReplicas": 3}})
    until("replicas raised", lambda: control("GET", "/state")["workloads"]["phoenix-api"]["ready"] == 3)


def promotion_moves_postgresql_and_the_application():
    rds = client("rds")
    facts = control("GET", "/state")["databases"][REPLICA]
    assert facts["in_recovery"], facts
    rds.promote_read_replica(DBInstanceIdentifier=REPLICA)

    def instance():
        return rds.describe_db_instances(DBInstanceIdentifier=REPLICA)["DBInstances"][0]

    assert instance()["DBInstanceStatus"] == "modifying"
    until("available", lambda: instance()["DBInstanceStatus"] == "available")
    assert "ReadReplicaSourceDBInstanceIdentifier" not in instance() or not instance()[
        "ReadReplicaSourceDBInstanceIdentifier"]
    assert not control("GET", "/state")["databases"][REPLICA]["in_recovery"]
    endpoint = instance()["Endpoint"]
    repoint(endpoint["Address"], endpoint["Port"])
    status, body = until("the application answers", served)
    assert (body["database"]["address"], body["database"]["port"]) == (endpoint["Address"], endpoint["Port"]), body
    connected = query(endpoint["Address"], endpoint["Port"],
                      "select count(distinct client_addr) from pg_stat_activity where usename = 'phoenix_app'")
    assert connected >= 1, connected


def served():
    answer = http(f"http://{WEST['load_balancer']}/", "app.phoenix.example")
    return answer if answer[0] == 200 else None


def repoint(host, port):
    """The Secret alone changes nothing for running pods; the restart does."""
    kubernetes("PATCH", f"/api/v1{NAMESPACE}/secrets/phoenix-db", {"stringData": {"host": host, "port": str(port)}})
    time.sleep(1)
    assert served() is None
    for name in ("phoenix-api", "experiment-controller", "pipeline-operator"):
        kubernetes("PATCH", f"/apis/apps/v1{NAMESPACE}/deployments/{name}", {"spec": {"template": {"metadata": {
            "annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}})


def operator_can_fence():
    """What the fence of the runbook needs of the operator's role, tried on the promoted server."""
    server = control("GET", "/state")["databases"][REPLICA]
    for sql in ("alter role phoenix_app nologin", "alter database phoenix set default_transaction_read_only = true",
                "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'phoenix_app'"):
        query(server["host"], server["port"], sql)
    until("the application is shut out", lambda: served() is None)
    # from another database: in the fenced one every transaction is read-only
    for sql in ("alter database phoenix reset default_transaction_read_only", "alter role phoenix_app login"):
        query(server["host"], server["port"], sql, "postgres")
    until("the application is let in again", served)


def resolver_follows_route53():
    east, west = (region["load_balancer"].split(":")[0] for region in (EAST, WEST))
    assert {resolve() for _ in range(10)} == {east}
    zone, route53 = estate()["dns"]["zone"], client("route53")
    records = [item for item in route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
               if item.get("SetIdentifier")]
    changes = [{"Action": "UPSERT", "ResourceRecordSet": {**item, "Weight": 0 if item["Weight"] else 100}}
               for item in records]
    change = route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})["ChangeInfo"]
    assert change["Status"] == "PENDING"
    until("INSYNC", lambda: route53.get_change(Id=change["Id"])["ChangeInfo"]["Status"] == "INSYNC")
    assert {resolve() for _ in range(10)} == {west}


def backups_stand_still_without_their_source():
    def latest():
        backup = client("rds").describe_db_instance_automated_backups()["DBInstanceAutomatedBackups"][0]
        return backup["RestoreWindow"]["LatestTime"]

    dark = latest()
    time.sleep(1.1)
    assert latest() == dark, (latest(), dark)
    control("POST", "/dark", {"endpoint": "us-east-1.database", "dark": False})
    until("the window moving on", lambda: latest() > dark)
    control("POST", "/dark", {"endpoint": "us-east-1.database", "dark": True})


def restore_brings_a_server():
    began = time.monotonic()
    options = control("POST", "/reset", {"restore_only": True, "control_plane_dark": True})
    print(f"    reset took {time.monotonic() - began:.1f} s")
    assert options["options"]["restore_only"]
    assert "replica" not in estate()["database"] and "failover_object" in estate()["dns"]
    rds = client("rds")
    backup = rds.describe_db_instance_automated_backups()["DBInstanceAutomatedBackups"][0]
    rds.restore_db_instance_to_point_in_time(
        TargetDBInstanceIdentifier=RECOVERED, UseLatestRestorableTime=True,
        SourceDBInstanceAutomatedBackupsArn=backup["DBInstanceAutomatedBackupsArn"],
        DBSubnetGroupName=WEST["subnet_group"], DBParameterGroupName=WEST["parameter_group"])

    def instance():
        return rds.describe_db_instances(DBInstanceIdentifier=RECOVERED)["DBInstances"][0]

    assert "Endpoint" not in instance()
    until("available", lambda: instance()["DBInstanceStatus"] == "available")
    endpoint = instance()["Endpoint"]
    assert query(endpoint["Address"], endpoint["Port"], "select not pg_is_in_recovery()")


def failover_object_moves_answers_without_route53():
    east, west = (region["load_balancer"].split(":")[0] for region in (EAST, WEST))
    assert hangs(WEST["endpoints"]["route53"].removeprefix("http://"))
    switch = estate()["dns"]["failover_object"]
    assert resolve() == east
    client("s3").put_object(Bucket=switch["bucket"], Key=switch["key"], Body=b"")
    assert urllib.request.urlopen(switch["url"], timeout=5).status == 200
    assert resolve() == west


def region_comes_back():
    control("POST", "/reset", {"primary_up": True})
    assert http(EAST["api"] + "/healthz")[0] == 200
    assert http(f"http://{EAST['load_balancer']}/", "app.phoenix.example")[0] == 200
    instances = client("rds", "us-east-1").describe_db_instances()["DBInstances"]
    assert [item["DBInstanceIdentifier"] for item in instances] == ["phoenix-prod"]
    host, port = estate()["database"]["primary"]["address"].split(":")
    assert query(host, int(port), "select not pg_is_in_recovery()")
    control("POST", "/dark", {"endpoint": "us-east-1.*", "dark": True})
    assert hangs(estate()["database"]["primary"]["address"])


CHECKS = (dark_region_swallows_packets, requests_are_counted, faults_reach_their_target, capacity_limits_pods,
          autoscaler_owns_its_workload, promotion_moves_postgresql_and_the_application, operator_can_fence,
          resolver_follows_route53, backups_stand_still_without_their_source, restore_brings_a_server,
          failover_object_moves_answers_without_route53, region_comes_back)


def main():
    for check in CHECKS:
        began = time.monotonic()
        check()
        print(f"ok  {check.__name__.replace('_', ' ')} ({time.monotonic() - began:.1f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
