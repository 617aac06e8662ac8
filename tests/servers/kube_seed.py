"""The workloads of the warm region as they are when the estate begins."""

import base64

from .common import wait_for

NAMESPACE = "phoenix-system"
SECRET = "phoenix-db"

# name, priority, replicas now, replicas the region needs when it takes over, connects to the database
WORKLOADS = (
    ("phoenix-api", "P0", 1, 5, True),
    ("api-gateway", "P0", 1, 3, False),
    ("experiment-controller", "P0", 1, 2, True),
    ("config-generator", "P1", 1, 2, False),
    ("pipeline-operator", "P1", 1, 2, True),
    ("dashboard", "P2", 0, 1, False),
    ("monitoring", "P2", 1, 1, False),
    ("process-simulator", "P3", 0, 2, False),
    ("analytics", "P3", 0, 1, True),
)
# An autoscaler owns this one: its replicas follow minReplicas, and setting them on the Deployment does not last.
AUTOSCALED, MAXIMUM = "phoenix-api", 10
LABEL = {"database": "phoenix"}

APPS, CORE, SCALING = "/apis/apps/v1", "/api/v1", "/apis/autoscaling/v1"


def deployment(name, replicas, database):
    labels = {"app": name, **(LABEL if database else {})}
    variables = [{"name": "AWS_REGION", "value": "us-west-2"}]
    if database:
        # as in a real manifest, and so that only a restart makes a pod see a new endpoint
        variables += [{"name": f"DATABASE_{key.upper()}", "valueFrom": {"secretKeyRef": {"name": SECRET, "key": key}}}
                      for key in ("host", "port", "user", "password")]
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
                 # no surge: a region that is full must still be able to restart its pods
                 "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
                 "progressDeadlineSeconds": 60,
                 "template": {"metadata": {"labels": labels}, "spec": {
                     "terminationGracePeriodSeconds": 5,
                     "containers": [{"name": "app", "image": f"phoenix.example/{name}:1.4.2", "env": variables}]}}}}


def secret(host, port, user, password):
    values = {"host": host, "port": str(port), "user": user, "password": password}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "type": "Opaque",
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}}


def autoscaler(replicas):
    return {"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": AUTOSCALED},
            "spec": {"minReplicas": replicas, "maxReplicas": MAXIMUM, "targetCPUUtilizationPercentage": 70,
                     "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": AUTOSCALED}}}


def collections():
    return (f"{SCALING}/namespaces/{NAMESPACE}/horizontalpodautoscalers", f"{APPS}/namespaces/{NAMESPACE}/deployments",
            f"{APPS}/namespaces/{NAMESPACE}/replicasets", f"{CORE}/namespaces/{NAMESPACE}/pods",
            f"{CORE}/namespaces/{NAMESPACE}/events", f"{CORE}/namespaces/{NAMESPACE}/secrets",
            f"{CORE}/namespaces/{NAMESPACE}/configmaps")


def clear(api):
    """Empties the namespace, owners before what they own, so that nothing is made again."""
    for path in collections():
        api.call("DELETE", path, missing_ok=True)
    wait_for("the pods of the last test gone",
             lambda: not api.call("GET", f"{CORE}/namespaces/{NAMESPACE}/pods")["items"], 30)


def seed(api, host, port, user, password):
    """Everything as at the start; the pods' readiness is the kubelet's affair and awaited by `settled`."""
    if api.call("GET", f"{CORE}/namespaces/{NAMESPACE}", missing_ok=True) is None:
        api.call("POST", f"{CORE}/namespaces",
                 {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    else:
        clear(api)
    api.call("POST", f"{CORE}/namespaces/{NAMESPACE}/secrets", secret(host, port, user, password))
    for name, _, replicas, _, database in WORKLOADS:
        api.call("POST", f"{APPS}/namespaces/{NAMESPACE}/deployments", deployment(name, replicas, database))
    replicas = next(item[2] for item in WORKLOADS if item[0] == AUTOSCALED)
    api.call("POST", f"{SCALING}/namespaces/{NAMESPACE}/horizontalpodautoscalers", autoscaler(replicas))


def settled(api):
    """True once every Deployment shows, for its present generation, the replicas it asks for as ready."""
    items = api.call("GET", f"{APPS}/namespaces/{NAMESPACE}/deployments")["items"]
    return len(items) == len(WORKLOADS) and all(
        item["status"].get("observedGeneration") == item["metadata"]["generation"]
        and item["status"].get("readyReplicas", 0) == item["spec"]["replicas"] for item in items)


def workloads(api):
    """For tests: what each Deployment asks for and has."""
    items = api.call("GET", f"{APPS}/namespaces/{NAMESPACE}/deployments")["items"]
    return {item["metadata"]["name"]: {
        "replicas": item["spec"]["replicas"], "ready": item["status"].get("readyReplicas", 0),
        "generation": item["metadata"]["generation"]} for item in items}


def autoscalers(api):
    """For tests: the least replicas each autoscaler keeps."""
    items = api.call("GET", f"{SCALING}/namespaces/{NAMESPACE}/horizontalpodautoscalers")["items"]
    return {item["metadata"]["name"]: item["spec"]["minReplicas"] for item in items}


def endpoint(api):
    """For tests: where the Secret sends the application now."""
    found = api.call("GET", f"{CORE}/namespaces/{NAMESPACE}/secrets/{SECRET}", missing_ok=True)
    return found and {key: base64.b64decode(found["data"][key]).decode() for key in ("host", "port")}
