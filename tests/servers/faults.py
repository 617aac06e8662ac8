"""Faults a test switches on: which requests they meet, how often, and what the caller then sees.

A fault is a dictionary: `service`, `operation`, `region`, `target` (shell patterns, all optional) choose requests;
`after` lets that many through first, `times` ends it after so many, `follows` (the number of another fault) lets
everything through until that one has been met; `action` is one of

* `drop`: the request vanishes, nothing answers (the connection stays open until the caller gives up);
* `reset`: the connection is reset before anything is forwarded;
* `lost`: the request is carried out and its answer is cut off;
* `hold`: the request is carried out and its answer never comes (the connection stays open until the caller is gone);
* `throttle`: the service's own refusal of too many requests;
* `error`: `status`, `code` and `message` in the service's own shape (500 InternalFailure when left out);
* `delay`: `seconds` pass before the request is forwarded.
"""

import fnmatch
import itertools
import json
import uuid

ACTIONS = ("drop", "reset", "lost", "hold", "throttle", "error", "delay")
THROTTLES = {"s3": (503, "SlowDown"), "kubernetes": (429, "TooManyRequests"), "health": (400, "ThrottlingException")}
KUBERNETES_REASONS = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 422: "Invalid",
                      429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}
NAMESPACES = {"rds": "http://rds.amazonaws.com/doc/2014-10-31/", "sts": "https://sts.amazonaws.com/doc/2011-06-15/",
              "route53": "https://route53.amazonaws.com/doc/2013-04-01/"}


class Faults:
    def __init__(self):
        self.active, self.numbers = [], itertools.count(1)

    def add(self, wanted):
        unknown = set(wanted) - {"service", "operation", "region", "target", "after", "times", "follows", "action",
                                 "status", "code", "message", "seconds"}
        if unknown or wanted.get("action") not in ACTIONS:
            raise ValueError(f"unknown keys {sorted(unknown)} or action {wanted.get('action')!r}; actions: {ACTIONS}")
        fault = {"id": next(self.numbers), "seen": 0, "fired": 0, **wanted}
        self.active.append(fault)
        return fault

    def clear(self):
        self.active = []

    def meet(self, facts):
        """The first fault that applies to this request, counted."""
        for fault in self.active:
            if not all(matches(fault.get(key), facts.get(name)) for key, name in (
                    ("service", "service"), ("operation", "action"), ("region", "region"), ("target", "target"))):
                continue
            if "follows" in fault and not any(
                    other["id"] == fault["follows"] and other["fired"] for other in self.active):
                continue
            fault["seen"] += 1
            if fault["seen"] <= fault.get("after", 0):
                continue
            if "times" in fault and fault["fired"] >= fault["times"]:
                continue
            fault["fired"] += 1
            return fault
        return None


def matches(pattern, value):
    return pattern is None or fnmatch.fnmatchcase(value or "", pattern)


def refusal(service, fault):
    """Status and code of a throttle or an error."""
    if fault["action"] == "throttle":
        status, code = THROTTLES.get(service, (400, "Throttling"))
        return status, code, fault.get("message", "Rate exceeded")
    status = fault.get("status", 500)
    if service == "kubernetes":
        return status, fault.get("code", KUBERNETES_REASONS.get(status, "InternalError")), fault.get("message", "fault")
    return status, fault.get("code", "InternalFailure"), fault.get("message", "The request processing has failed.")


def answer(service, status, code, message):
    """The HTTP answer in the shape the service's clients parse."""
    request, extra = str(uuid.uuid4()), ""
    if service == "kubernetes":
        kind = "application/json"
        text = json.dumps({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                           "message": message, "reason": code, "code": status})
        extra = "Retry-After: 1\r\n" if status == 429 else ""
    elif service == "health":
        kind, text = "application/x-amz-json-1.1", json.dumps({"__type": code, "message": message})
    elif service == "s3":
        kind = "application/xml"
        text = (f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>'
                f"<RequestId>{request}</RequestId><HostId>test</HostId></Error>")
    elif service in NAMESPACES:
        kind, sender = "text/xml", "Sender" if status < 500 else "Receiver"
        text = (f'<?xml version="1.0"?>\n<ErrorResponse xmlns="{NAMESPACES[service]}"><Error><Type>{sender}</Type>'
                f"<Code>{code}</Code><Message>{message}</Message></Error><RequestId>{request}</RequestId>"
                "</ErrorResponse>")
    else:
        kind, text = "text/plain", f"{code}: {message}\n"
    body = text.encode()
    head = (f"HTTP/1.1 {status} {code}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n"
            f"x-amzn-requestid: {request}\r\n{extra}connection: close\r\n\r\n")
    return head.encode() + body
