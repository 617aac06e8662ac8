"""Route 53 and S3 as they are when the estate begins, through boto3 straight at ministack (past proxy and log)."""

import urllib.request

import boto3
from botocore.config import Config

ZONE, NAME, TTL = "phoenix.example", "app.phoenix.example", 60
STATE_BUCKET, SWITCH_BUCKET, SWITCH_KEY = "phoenix-dr-state", "phoenix-dr-switch", "failover/us-east-1"
KEY_ID, SECRET_KEY = "AKIAPHOENIXDRTESTS00", "not-a-secret-just-a-test"


def client(service, port, region):
    return boto3.client(service, region_name=region, endpoint_url=f"http://127.0.0.1:{port}",
                        aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET_KEY,
                        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}))


class Aws:
    def __init__(self, port, region):
        self.port = port
        self.route53, self.s3 = client("route53", port, region), client("s3", port, region)
        self.region, self.zone, self.health_check = region, None, None

    def seed(self, addresses, switch=None):
        """Starts over. `addresses` are the load balancers of the failed and the surviving region; `switch`, the host
        and port at which a health check looks for the failover object, is given when the estate has one."""
        reset = urllib.request.Request(f"http://127.0.0.1:{self.port}/_ministack/reset", b"", method="POST")
        urllib.request.urlopen(reset, timeout=10).read()
        self.zone = self.route53.create_hosted_zone(
            Name=ZONE, CallerReference="phoenix-dr-tests")["HostedZone"]["Id"].removeprefix("/hostedzone/")
        self.health_check = self.create_health_check(*switch) if switch else None
        east, west = addresses
        attached = {"HealthCheckId": self.health_check} if self.health_check else {}
        self.change(record("use1", 100, east, **attached), record("usw2", 0, west))
        # Names that sort around the one that moves: a listing that starts at a name goes on into the next ones.
        self.change(simple("api.phoenix.example", east), simple("app2.phoenix.example", east))
        for bucket in (STATE_BUCKET, SWITCH_BUCKET):
            self.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": self.region})

    def create_health_check(self, host, port):
        """Inverted: healthy while the object is absent, so that creating it takes the primary's record away."""
        made = self.route53.create_health_check(CallerReference="phoenix-dr-tests", HealthCheckConfig={
            "Type": "HTTP", "IPAddress": host, "Port": port, "ResourcePath": f"/{SWITCH_BUCKET}/{SWITCH_KEY}",
            "RequestInterval": 10, "FailureThreshold": 3, "Inverted": True})
        return made["HealthCheck"]["Id"]

    def change(self, *records):
        self.route53.change_resource_record_sets(HostedZoneId=self.zone, ChangeBatch={
            "Changes": [{"Action": "CREATE", "ResourceRecordSet": item} for item in records]})

    def records(self):
        return self.route53.list_resource_record_sets(HostedZoneId=self.zone, MaxItems="300")["ResourceRecordSets"]

    def health_check_config(self, identifier):
        return self.route53.get_health_check(HealthCheckId=identifier)["HealthCheck"]["HealthCheckConfig"]

    def weights(self):
        return {item["SetIdentifier"]: item.get("Weight", item.get("Failover")) for item in self.records()
                if item["Name"] == f"{NAME}." and "SetIdentifier" in item}

    def switch_present(self):
        listing = self.s3.list_objects_v2(Bucket=SWITCH_BUCKET, Prefix=SWITCH_KEY)
        return any(item["Key"] == SWITCH_KEY for item in listing.get("Contents", ()))


def record(identifier, weight, address, **more):
    return {"Name": NAME, "Type": "A", "SetIdentifier": identifier, "Weight": weight, "TTL": TTL,
            "ResourceRecords": [{"Value": address}], **more}


def simple(name, address):
    return {"Name": name, "Type": "A", "TTL": TTL, "ResourceRecords": [{"Value": address}]}
