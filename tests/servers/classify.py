"""What a request asks for: service, region, action, and whether it changes anything.

The one place that decides what counts as a mutating request, for the log that tests assert on and for choosing the
requests a fault applies to.
"""

import hashlib
import re
import urllib.parse

READ_PREFIXES = ("Describe", "List", "Get", "Download", "Test")

ROUTE53 = (
    ("POST", r"/hostedzone/[^/]+/rrset/?$", "ChangeResourceRecordSets"),
    ("GET", r"/hostedzone/[^/]+/rrset/?$", "ListResourceRecordSets"),
    ("GET", r"/hostedzone/[^/]+$", "GetHostedZone"), ("GET", r"/hostedzone$", "ListHostedZones"),
    ("GET", r"/hostedzonesbyname$", "ListHostedZonesByName"), ("POST", r"/hostedzone$", "CreateHostedZone"),
    ("DELETE", r"/hostedzone/[^/]+$", "DeleteHostedZone"), ("GET", r"/change/", "GetChange"),
    ("GET", r"/testdnsanswer", "TestDNSAnswer"), ("GET", r"/healthcheck/[^/]+/status", "GetHealthCheckStatus"),
    ("GET", r"/healthcheck/[^/]+$", "GetHealthCheck"), ("GET", r"/healthcheck$", "ListHealthChecks"),
    ("POST", r"/healthcheck$", "CreateHealthCheck"), ("POST", r"/healthcheck/[^/]+$", "UpdateHealthCheck"),
)
VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
# Asking who one is or what one may do is a POST that stores nothing.
REVIEWS = ("selfsubjectaccessreviews", "selfsubjectrulesreviews", "subjectaccessreviews", "localsubjectaccessreviews",
           "tokenreviews", "selfsubjectreviews")


def classify(service, region, method, target, headers, body):
    """The facts of one request as a dictionary for the log."""
    path, _, query = target.partition("?")
    arguments = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    signed = re.search(r"Credential=[^/]*/[^/]*/([^/]+)/([^/]+)/", headers.get("authorization", ""))
    digest = hashlib.sha256(target.encode() + b"\0" + body).hexdigest()[:16]
    facts = {"service": service, "region": region, "signed_for": signed.group(1) if signed else None,
             "method": method, "path": target, "dry_run": False, "digest": digest}
    found = SERVICES.get(service, plain)(method, path, arguments, headers, body)
    facts.update(zip(("action", "target", "mutating"), found))
    if service == "kubernetes" and arguments.get("dryRun") == "All":
        facts.update(dry_run=True, mutating=False)
    return facts


def query_protocol(method, path, arguments, headers, body):
    """RDS and STS: the action is a form field."""
    form = dict(urllib.parse.parse_qsl(body.decode(errors="replace"))) | arguments
    action = form.get("Action", f"{method} {path}")
    names = ("TargetDBInstanceIdentifier", "DBInstanceIdentifier", "DBSnapshotIdentifier", "SourceDBInstanceArn",
             "ResourceName", "DBInstanceAutomatedBackupsArn")
    target = next((form[name] for name in names if name in form), None)
    return action, target, not action.startswith(READ_PREFIXES) and not action.startswith("AssumeRole")


def route53(method, path, arguments, headers, body):
    for verb, pattern, action in ROUTE53:
        if verb == method and re.search(pattern, path):
            return action, path.rsplit("/", 1)[-1], method != "GET"
    return f"{method} {path}", path, method != "GET"


def s3(method, path, arguments, headers, body):
    bucket, _, key = path.lstrip("/").partition("/")
    thing = "Object" if key else "Bucket"
    if not bucket:
        action = "ListBuckets"
    elif method == "GET" and not key:
        action = "ListObjectsV2" if "list-type" in arguments else "GetBucket" + "".join(
            name.capitalize() for name in list(arguments)[:1])
    elif method == "POST" and "delete" in arguments:
        action = "DeleteObjects"
    else:
        action = {"GET": "Get", "HEAD": "Head", "PUT": "Put", "DELETE": "Delete", "POST": "Post"}.get(
            method, method) + thing
    return action, path.lstrip("/"), method not in ("GET", "HEAD")


def kubernetes(method, path, arguments, headers, body):
    """`verb resource[/subresource]`, with the object as `namespace/name`."""
    words = [word for word in path.split("/") if word]
    words = words[2:] if words[:1] == ["api"] else words[3:] if words[:1] == ["apis"] else words
    namespace = None
    if words[:1] == ["namespaces"] and len(words) > 2:
        namespace, words = words[1], words[2:]
    resource, name, part = (words + [None, None, None])[:3]
    verb = VERBS.get(method, method.lower())
    if method == "GET" and name is None:
        verb = "watch" if arguments.get("watch") in ("1", "true") else "list"
    if method == "PATCH" and "apply-patch" in headers.get("content-type", ""):
        verb = "apply"
    action = f"{verb} {resource or path}" + (f"/{part}" if part else "")
    return action, "/".join(filter(None, (namespace, name))) or None, method != "GET" and resource not in REVIEWS


def plain(method, path, arguments, headers, body):
    return f"{method} {path}", headers.get("host"), method not in ("GET", "HEAD", "OPTIONS")


def health(method, path, arguments, headers, body):
    # Smithy RPC v2 names the operation in the path, the older JSON protocol in a header.
    named = path.rsplit("/", 1)[-1] if "/operation/" in path else f"{method} {path}"
    action = headers.get("x-amz-target", named).rsplit(".", 1)[-1]
    return action, None, not action.startswith(READ_PREFIXES)


SERVICES = {"rds": query_protocol, "sts": query_protocol, "route53": route53, "s3": s3, "kubernetes": kubernetes,
            "health": health}
